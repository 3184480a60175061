"""Transformers: a fine-tuned checkpoint of the transformers library as a teacher."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from core.conf import JSON, PositiveInt
from core.errors import UserError, known_names
from core.framing import Cut, first_pieces, frame, states_at
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
from distillation.places import Reading
from distillation.untargeted import Untargeted
from losses.teacher_loss import two_sided
from problems.reading_comprehension import END, PASSAGE, START
from text import store
from text.encoded import EncodedRows, encode_file
from text.encoder import InputEncoder, InputPlan
from text.readers import RowFile

FILES = (WEIGHTS, CONFIG, TOKENIZER, TOKENIZER_CONFIG)
"""What a checkpoint consists of."""


class Head(NamedTuple):
    """What stands on an encoder: its name in transformers, and what a model with it does."""

    name: str
    does: str


HEADS = {
    "BD": Head("SEQUENCE_CLASSIFICATION", "gives labels to texts"),
    "BTD": Head("TOKEN_CLASSIFICATION", "gives labels to words"),
    "BT": Head("QUESTION_ANSWERING", "finds answers in passages"),
}
"""Axes of an answer -> the head that gives it; to all others that of `BD`."""


@TEACHERS.register
class Transformers(RowTeacher):
    """A checkpoint of Hugging Face transformers with a head for texts, for the words of a text, or for answers in a
    passage: a local folder, or a name on the hub. None of its code runs, and only safetensors are read.

    It answers with the scores of its labels, of a word those of its first piece; with a single score for two labels, or
    for a number; in a passage, at `start` and `end`, with the scores of the pieces where answers begin and end, and
    with those of the first piece of all for no answer. `hidden.i` B x T x D are the states of all pieces after layer i
    (0 = the embeddings), `attention.i` B x A x T x T the attention of layer i from 1, `pooled` B x D the last state of
    the first piece.

        {"big": {"type": "Transformers", "conf": {"model": "checkpoints/sst2", "labels": ["negative", "positive"]}}}
    """

    class Conf(RowTeacher.Conf):
        model: str
        """A local folder or a name on the Hugging Face hub."""
        inputs: list[str] | None = None
        """The text, or the two in their order, that it reads: branches, or columns of the file; null = the branches of
        this config, the passage last."""
        labels: dict[str, str] | list[str] | None = None
        """Label of the checkpoint -> label here, where they are called otherwise; or the labels here in the order of
        its scores, of a single score the one that it speaks for."""
        max_length: PositiveInt | None = None
        """Pieces at most, those around the texts included; the longer of two texts is cut first. null = what the
        checkpoint can take."""
        window_size: PositiveInt | None = None
        """Pieces of a passage that are read at once; longer passages are read in windows. null = what there is room
        for beside the question; of longer passages the rest has no score."""
        window_stride: PositiveInt | None = None
        """Pieces from the start of a window to that of the next. null = half of window_size."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.window_stride is not None and (self.window_size is None or self.window_stride > self.window_size):
                raise ValueError("window_stride must be window_size at most, so that windows leave nothing out.")

    def __init__(self, conf: Conf, classroom: Classroom) -> None:
        self.conf, self.device = conf, classroom.device
        self.target = next(iter(classroom.targets.values()))
        spec = answer_spec(self.target)
        self.passage = classroom.columns.get(PASSAGE) if spec.places else None
        self.has_null = PASSAGE in classroom.begun
        config = encoder_config(conf.model)
        try:
            self.settings = transformers_config(config)
        except Exception as error:  # its checks raise all kinds of errors
            raise ValueError(f"config of {conf.model} is refused by transformers: {first_line(error)}.") from error
        self.kind = _class_with_head(self.settings, HEADS.get(spec.axes, HEADS["BD"]))
        made = config.get("architectures") or [self.kind.__name__]
        if self.kind.__name__ not in made:
            raise ValueError(f"{conf.model} is a {made[0]}, but to answer here it must be a {self.kind.__name__}.")
        self.answers = {START: "start", END: "end"} if spec.places else dict.fromkeys([*classroom.targets][:1], "")
        self.order = self._order(spec, classroom)
        self.plan = self._plan(classroom, is_tagged=spec.axes == "BTD")
        self.specs = {**dict.fromkeys(self.answers.values(), spec), **_inner(self.settings)}
        self.encoder: InputEncoder | None = None
        self.model: Any = None

    def key(self) -> JSON:
        """The files of the checkpoint, how its labels meet ours, and how long texts may be."""
        folder = pretrained_folder(self.conf.model, WEIGHTS, [WEIGHTS_INDEX, CONFIG])
        files = [file for pattern in FILES for file in sorted(folder.glob(pattern))]
        content = [store.content_key(file) for file in files]
        return ["transformers", content, self.order, self.conf.max_length, self.plan.state(), self.has_null]

    def read(self, file: RowFile, cache_dir: Path | None, is_training: bool = False) -> EncodedRows:
        """The rows as the checkpoint's own tokenizer splits them."""
        return encode_file(file, self._encoder(), Untargeted(passage=self.passage), cache_dir, "skip")

    def reading(self, rows: EncodedRows) -> Reading:
        """That of its pieces."""
        return Reading.of(rows, self.has_null)

    def answer(self, rows: EncodedRows, places: np.ndarray, addresses: Sequence[str]) -> dict[str, Features]:
        """The scores in our order, and the inner states that are asked for."""
        model, device = self._model(), self.device()
        batch = rows.batch(places).to(device)
        texts = [batch.inputs[branch] for branch in self.plan.branches]
        around = [torch.tensor(ids, dtype=torch.int64, device=device) for ids in self._around()]
        read, at = frame(texts, around, self._room(), self.settings.pad_token_id or 0, self.cut)
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
        answered = at[self.columns.index(self.passage)] if self.passage is not None else at[0]
        return {address: self._at(address, output, read, *answered) for address in addresses}

    def _at(self, address: str, output: Any, read: Features, text: Features, place_BT: torch.Tensor) -> Features:
        """What stands at an address; the pieces of the first text, or of the passage, stand at these places."""
        kind, _, number = address.partition(".")
        if kind == "pooled":
            return Features(output.hidden_states[-1][:, 0])
        if kind == "hidden":
            return read.with_values(output.hidden_states[int(number)])
        if kind == "attention":
            return read.with_values(output.attentions[int(number) - 1])
        if kind in ("start", "end"):
            scores_BS, mask_BT = getattr(output, f"{kind}_logits").float(), text.real_mask()
            if self.has_null:
                place_BT, mask_BT = F.pad(place_BT, (1, 0)), F.pad(mask_BT, (1, 0), value=True)
            return Features(scores_BS.gather(1, place_BT.clamp(0, scores_BS.shape[1] - 1)), mask_BT)
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

    def _order(self, spec: Spec, classroom: Classroom) -> list[int]:
        """For each of our labels its place among the scores. ValueError where these are not the same labels."""
        conf, count = self.conf, self.settings.num_labels
        if spec.places:
            if conf.labels is not None:
                raise ValueError("labels has no place where answers are parts of a passage.")
            if count != 2:
                raise ValueError(f"{conf.model} has {count} scores, but a start and an end have one each.")
            return []
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
        if ours is None and count == 1:
            return []
        if ours is not None and count == 1 and spec.axes == "BD" and len(ours) == 2:
            positive = names[0] if translated is not None else self.target.positive or ours[-1]
            if positive not in ours:
                raise ValueError(f"labels: no label here is called '{positive}'.{known_names(ours)}")
            return [int(label == positive) for label in ours]
        try:
            classroom.refuse_other_labels(names, next(iter(classroom.targets)))
            return label_order(names, ours)
        except ValueError as error:
            hint = "" if translated is not None else " Say in labels which is which."
            raise ValueError(f"{error}{hint}") from error

    def _plan(self, classroom: Classroom, is_tagged: bool) -> InputPlan:
        """How its texts are read."""
        known, conf = classroom.columns, self.conf
        usual = sorted(known, key=lambda branch: known[branch] == self.passage)
        named = [known.get(name, name) for name in conf.inputs or usual]
        columns = list(dict.fromkeys(named))
        if not 1 <= len(columns) <= 2 or (self.conf.inputs and len(columns) < len(named)):
            raise ValueError(
                f"reads one text or two, but inputs are {', '.join(named) or 'none'}. Name them in inputs."
            )
        branches = dict(zip(("first", "second"), [[column] for column in columns], strict=False))
        plan = InputPlan(
            branches=branches,
            kinds=dict.fromkeys(columns, "piece"),
            clusters=dict.fromkeys(columns, conf.model),
            tagged=columns[:1] if is_tagged else [],
            joined=[list(branches)],
        )
        size, room = conf.window_size, min(positions(self.settings), conf.max_length or ANY)
        if self.passage is None:
            if size is not None:
                raise ValueError("window_size has no place where answers are no parts of a passage.")
            return plan
        if self.passage not in columns:
            raise ValueError(f"inputs must name the passage, column '{self.passage}', got {', '.join(named)}.")
        if size is not None and size >= room:
            raise ValueError(f"window_size is {size}, but of all pieces it reads {room} at once.")
        branch = list(branches)[columns.index(self.passage)]
        return replace(
            plan,
            placed=[self.passage],
            positions={START: branch, END: branch},
            windows={branch: [size, conf.window_stride or max(1, size // 2)]} if size is not None else {},
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
            if self.has_null and not self._around()[0]:
                sentence = "its tokenizer puts nothing before a text, where the place of no answer could be."
                raise UserError(f"{self.conf.model}: {sentence}")
            if self.conf.window_size is not None and self.conf.window_size > self._room():
                sentence = f"window_size is {self.conf.window_size}, but there is room for {self._room()} pieces."
                raise UserError(f"{self.conf.model}: {sentence}")
        return self.encoder

    def _around(self) -> tuple[tuple[int, ...], ...]:
        """The ids before the first text and behind each."""
        frames = self._encoder().pieces[self.conf.model].frames
        return frames.two if len(self.plan.branches) == 2 else frames.one

    def _room(self) -> int:
        """How many pieces its texts have together at most."""
        return min(positions(self.settings), self.conf.max_length or ANY) - sum(map(len, self._around()))

    @property
    def cut(self) -> Cut:
        """Which text is cut: of a passage a window stays whole, and beside a whole one the question."""
        if self.passage is None or len(self.plan.branches) == 1:
            return "longest_first"
        is_first, is_whole = self.columns[0] == self.passage, self.conf.window_size is not None
        return "first" if is_first != is_whole else "second"

    @property
    def columns(self) -> list[str]:
        """The columns of the texts in their order."""
        return [column for (column,) in self.plan.branches.values()]

    @property
    def _has_segments(self) -> bool:
        return len(self.plan.branches) == 2 and knows_segments(self.settings)

    def release(self) -> None:
        """Let go of the model."""
        self.model = None

    def _model(self) -> Any:
        if self.model is None:
            with torch.random.fork_rng():  # a training takes the same random numbers where answers are in the store
                model = loaded(self.kind, self.conf.model, self.settings)
            self.model = model.eval().requires_grad_(False).to(self.device())
        return self.model


def _class_with_head(settings: Any, head: Head) -> Any:
    """The class of transformers for these settings with this head."""
    import transformers  # late: costs seconds

    mapping = getattr(transformers, f"MODEL_FOR_{head.name}_MAPPING")
    if type(settings) not in mapping:
        raise ValueError(f"transformers has no {settings.model_type} that {head.does}.")
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
