"""Transformers: a fine-tuned checkpoint of the transformers library as a teacher."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.conf import JSON, PositiveInt
from core.errors import UserError, known_names
from core.framing import first_pieces, frame, states_at
from core.pretrained import (
    ANY,
    CONFIG,
    TOKENIZER,
    TOKENIZER_CONFIG,
    WEIGHTS,
    WEIGHTS_INDEX,
    encoder_config,
    first_line,
    knows_segments,
    loaded,
    positions,
    pretrained_folder,
    transformers_config,
)
from core.types import Features, Spec
from distillation.base import TEACHERS, Classroom, RowTeacher, answer_spec, label_order
from distillation.untargeted import Untargeted
from losses.teacher_loss import two_sided
from text import store
from text.encoded import EncodedRows, encode_file
from text.encoder import InputEncoder, InputPlan
from text.readers import RowFile

FILES = (WEIGHTS, CONFIG, TOKENIZER, TOKENIZER_CONFIG)
"""What a checkpoint consists of."""


@TEACHERS.register
class Transformers(RowTeacher):
    """A checkpoint of Hugging Face transformers with a head for texts, or for the words of a text: a local folder, or
    a name on the hub. None of its code runs, and only safetensors are read.

    It answers with the scores of its labels, of a word those of its first piece; with a single score for two labels, or
    for a number. `hidden.i` B x T x D are the states of all pieces after layer i (0 = the embeddings), `attention.i`
    B x A x T x T the attention of layer i from 1, `pooled` B x D the last state of the first piece.

        {"big": {"type": "Transformers", "conf": {"model": "checkpoints/sst2", "labels": ["negative", "positive"]}}}
    """

    class Conf(RowTeacher.Conf):
        model: str
        """A local folder or a name on the Hugging Face hub."""
        inputs: list[str] | None = None
        """The text, or the two in their order, that it reads: branches, or columns of the file; null = the branches of
        this config."""
        labels: dict[str, str] | list[str] | None = None
        """Label of the checkpoint -> label here, where they are called otherwise; or the labels here in the order of
        its scores, of a single score the one that it speaks for."""
        max_length: PositiveInt | None = None
        """Pieces at most, those around the texts included; the longer of two texts is cut first. null = what the
        checkpoint can take."""

    def __init__(self, conf: Conf, classroom: Classroom) -> None:
        self.conf, self.device = conf, classroom.device
        self.target = next(iter(classroom.targets.values()))
        spec = answer_spec(self.target)
        if spec.places:
            raise ValueError("answers with labels or a number, but the target here is a place in a text.")
        config = encoder_config(conf.model)
        try:
            self.settings = transformers_config(config)
        except Exception as error:  # its checks raise all kinds of errors
            raise ValueError(f"config of {conf.model} is refused by transformers: {first_line(error)}.") from error
        self.kind = _class_with_head(self.settings, "TOKEN" if spec.axes == "BTD" else "SEQUENCE")
        made = config.get("architectures") or [self.kind.__name__]
        if self.kind.__name__ not in made:
            raise ValueError(f"{conf.model} is a {made[0]}, but to answer here it must be a {self.kind.__name__}.")
        self.order = self._order(spec)
        self.plan = self._plan(classroom, is_tagged=spec.axes == "BTD")
        self.specs = {"": spec, **_inner(self.settings)}
        self.encoder: InputEncoder | None = None
        self.model: Any = None

    def key(self) -> JSON:
        """The files of the checkpoint, how its labels meet ours, and how long texts may be."""
        folder = pretrained_folder(self.conf.model, WEIGHTS, [WEIGHTS_INDEX, CONFIG])
        files = [file for pattern in FILES for file in sorted(folder.glob(pattern))]
        content = [store.content_key(file) for file in files]
        return ["transformers", content, self.order, self.conf.max_length, self.plan.state()]

    def read(self, file: RowFile, cache_dir: Path | None, is_training: bool = False) -> EncodedRows:
        """The rows as the checkpoint's own tokenizer splits them."""
        return encode_file(file, self._encoder(), Untargeted(), cache_dir, "skip")

    def answer(self, rows: EncodedRows, places: np.ndarray, addresses: Sequence[str]) -> dict[str, Features]:
        """The scores in our order, and the inner states that are asked for."""
        model, device = self._model(), self.device()
        batch = rows.batch(places).to(device)
        texts = [batch.inputs[branch] for branch in self.plan.branches]
        around = [torch.tensor(ids, dtype=torch.int64, device=device) for ids in self._around()]
        read, at = frame(texts, around, self._room(), self.settings.pad_token_id or 0)
        kinds = {address.partition(".")[0] for address in addresses}
        if "attention" in kinds and model.config._attn_implementation != "eager":
            model.set_attn_implementation("eager")  # the others do not know the weights
        segments = {"token_type_ids": read.parts["segments"]} if self._has_segments else {}
        with torch.no_grad():
            output = model(
                input_ids=read.values,
                attention_mask=read.mask,
                output_hidden_states=not kinds.isdisjoint({"hidden", "pooled"}),
                output_attentions="attention" in kinds,
                **segments,
            )
        return {address: self._at(address, output, read, *at[0]) for address in addresses}

    def _at(self, address: str, output: Any, read: Features, text: Features, place_BT: torch.Tensor) -> Features:
        """What stands at an address; the pieces of the first text stand at these places."""
        kind, _, number = address.partition(".")
        if kind == "pooled":
            return Features(output.hidden_states[-1][:, 0])
        if kind == "hidden":
            return read.with_values(output.hidden_states[int(number)])
        if kind == "attention":
            return read.with_values(output.attentions[int(number) - 1])
        scores = output.logits.float()
        axes = self.specs[""].axes
        if axes == "B":
            return Features(scores.reshape(-1))
        scores = two_sided(scores) if axes == "BD" else scores
        scores = scores[..., self.order] if self.order else scores
        if axes != "BTD":
            return Features(scores)
        place_BW, kept_BW, mask_BW = first_pieces(text, place_BT)
        mask_BW = mask_BW & kept_BW
        return Features(states_at(scores, place_BW), mask_BW)

    def _order(self, spec: Spec) -> list[int]:
        """For each of our labels its place among the scores. ValueError where these are not the same labels."""
        conf, count = self.conf, self.settings.num_labels
        names = [str(self.settings.id2label[number]) for number in range(count)]
        if spec.axes == "B":
            if count > 1:
                raise ValueError(f"{conf.model} has {count} scores, but the target here is a number.")
            if conf.labels is not None:
                raise ValueError("labels has no place where the target is a number.")
            return []
        ours, translated = self.target.labels, conf.labels
        if isinstance(translated, dict):
            for name in translated:
                if name not in names:
                    raise ValueError(f"labels: the checkpoint has no '{name}'.{known_names(names)}")
            names = [translated.get(name, name) for name in names]
        elif translated is not None:
            if len(translated) != count:
                raise ValueError(f"labels names {len(translated)}, but the checkpoint has {count} scores.")
            names = translated
        if len(set(names)) < len(names):
            raise ValueError(f"labels names one of them twice: {', '.join(names)}.")
        if ours is None:
            return []
        if count == 1 and spec.axes == "BD" and len(ours) == 2:
            positive = names[0] if translated is not None else self.target.positive or ours[-1]
            if positive not in ours:
                raise ValueError(f"labels: no label here is called '{positive}'.{known_names(ours)}")
            return [int(label == positive) for label in ours]
        try:
            return label_order(names, ours)
        except ValueError as error:
            hint = "" if translated is not None else " Say in labels which is which."
            raise ValueError(f"{error}{hint}") from error

    def _plan(self, classroom: Classroom, is_tagged: bool) -> InputPlan:
        """How its texts are read."""
        known = classroom.columns
        named = [known.get(name, name) for name in self.conf.inputs or known]
        columns = list(dict.fromkeys(named))
        if not 1 <= len(columns) <= 2 or (self.conf.inputs and len(columns) < len(named)):
            raise ValueError(
                f"reads one text or two, but inputs are {', '.join(named) or 'none'}. Name them in inputs."
            )
        branches = dict(zip(("first", "second"), [[column] for column in columns], strict=False))
        return InputPlan(
            branches=branches,
            kinds=dict.fromkeys(columns, "piece"),
            clusters=dict.fromkeys(columns, self.conf.model),
            tagged=columns[:1] if is_tagged else [],
            joined=[list(branches)],
        )

    def _encoder(self) -> InputEncoder:
        """The encoder of its inputs. UserError where it has no tokenizer that fits."""
        if self.encoder is None:
            self.encoder = InputEncoder(self.plan)
            pieces, known = len(self.encoder.pieces[self.conf.model]), getattr(self.settings, "vocab_size", ANY)
            if pieces > known:
                sentence = f"its tokenizer has {pieces:,} pieces, but its weights know {known:,}"
                raise UserError(f"{self.conf.model}: {sentence}: one does not belong to the other.")
            if self._room() < len(self.plan.branches):
                raise UserError(f"{self.conf.model}: max_length {self.conf.max_length} leaves no room for texts.")
        return self.encoder

    def _around(self) -> tuple[tuple[int, ...], ...]:
        """The ids before the first text and behind each."""
        frames = self._encoder().pieces[self.conf.model].frames
        return frames.two if len(self.plan.branches) == 2 else frames.one

    def _room(self) -> int:
        """How many pieces its texts have together at most."""
        return min(positions(self.settings), self.conf.max_length or ANY) - sum(map(len, self._around()))

    @property
    def _has_segments(self) -> bool:
        return len(self.plan.branches) == 2 and knows_segments(self.settings)

    def _model(self) -> Any:
        if self.model is None:
            with torch.random.fork_rng():  # a training takes the same random numbers where answers are in the store
                model = loaded(self.kind, self.conf.model, self.settings)
            self.model = model.eval().requires_grad_(False).to(self.device())
        return self.model


def _class_with_head(settings: Any, head: str) -> Any:
    """The class of transformers for these settings with a head for a sequence or for its tokens."""
    import transformers  # late: costs seconds

    mapping = getattr(transformers, f"MODEL_FOR_{head}_CLASSIFICATION_MAPPING")
    if type(settings) not in mapping:
        what = "texts" if head == "SEQUENCE" else "words"
        raise ValueError(f"transformers has no {settings.model_type} that gives labels to {what}.")
    found = mapping[type(settings)]
    return found[0] if isinstance(found, tuple) else found


def _inner(settings: Any) -> dict[str, Spec]:
    """The inner states that a model with these settings gives: none where it is not one stack of layers."""
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads")
    if settings.is_encoder_decoder or not all(hasattr(settings, size) for size in sizes):
        return {}
    states, count = {"D": settings.hidden_size}, settings.num_hidden_layers
    attention = Spec("BATS", {"A": settings.num_attention_heads})
    inner = {"pooled": Spec("BD", states)}
    inner |= {f"hidden.{number}": Spec("BTD", states) for number in range(count + 1)}
    return inner | {f"attention.{number}": attention for number in range(1, count + 1)}
