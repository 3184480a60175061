"""PretrainedEncoder: a transformer encoder of the transformers library, read like any other block."""

import inspect
from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

import core.conf
import core.schema
from block_zoo.attentive_pooling import AttentivePooling
from block_zoo.base import BLOCKS, Block
from block_zoo.masking import POOLS, zero_padding
from core.conf import NonNegativeInt, PositiveInt, Rate
from core.errors import UserError, did_you_mean
from core.framing import Cut, first_pieces, frame, kept_lengths, states_at
from core.pretrained import (
    ANY,
    WEIGHTS,
    encoder_config,
    first_line,
    knows_segments,
    loaded,
    positions,
    pretrained_folder,
    transformers_config,
)
from core.run_encoder import RunEncoder
from core.types import Features, Spec

NEEDED = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
"""What the settings of every encoder of texts say."""
HEADS = ("classifier", "qa", "seq_classif", "summary", "pooler")
"""What the names of settings begin with that concern no layer of the encoder."""
PADDED = 128
"""To a multiple of how many the number of pieces is rounded up, at most."""


@BLOCKS.register
class PretrainedEncoder(Block):
    """A pretrained transformer encoder over the pieces of one text, or of two that it reads as one.

    Its inputs are branches of one column each, which its own tokenizer splits. `[CLS] first [SEP] second [SEP]`, or
    what the encoder has in their place, is put together here; texts that are too long together are cut by `cut`.

    Shape: B x T -> B x T x D without pooling: the pieces of the text, or its words where the problem tags words; of two
    texts all pieces with those around them. B x D with pooling.
    Parts: `first`, `second` the states of each text without the pieces around it; `tokens` those of all pieces;
    `pooled` B x D; `hidden.i` B x T x D after layer i of those kept (0 = the embeddings); `attention.i` B x A x T x T
    of layer i from 1. Only parts that somebody reads are computed.
    Masking: padding gets no attention; states are zero at padding and at what was cut.
    Errors: UserError where the model cannot be had, ValueError where its config or tokenizer does not fit.
    `{"layer": "PretrainedEncoder", "conf": {"model": "sentence-transformers/all-MiniLM-L6-v2"}, "inputs": ["text"]}`
    Reference: Devlin et al. 2019, BERT; layer mix: Peters et al. 2018, Deep contextualized word representations,
    equation 1.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "encoder"

        reads_pieces = True
        model: str | None = None
        """The encoder whose weights are taken: a local folder, a name on the Hugging Face hub, or a run that has
        trained one (runs/teacher, or runs/teacher/LAYER of several)."""
        config: dict[str, Any] | None = None
        """Its settings, as in config.json of transformers; by default those of the model. Without model the weights
        are random."""
        tokenizer: str | None = None
        """The folder, hub name or run that its tokenizer comes from; by default the model."""
        max_length: PositiveInt | None = None
        """Pieces at most, those around the texts included; by default what the encoder can take."""
        cut: Cut = "longest_first"
        """Which of two texts is cut where they are too long: the longer one, piece by piece, or always the same."""
        layers: PositiveInt | list[PositiveInt] | Literal["every_other"] | None = None
        """The layers to keep: the first n, a list of them (from 1), or every other one from the second. Of a run they
        are those that it has itself."""
        freeze: NonNegativeInt | Literal["all"] | None = None
        """What is not trained: the embeddings and the first n of the layers kept, or everything."""
        pooling: Literal["cls", "mean", "max", "attentive", "pretrained"] | None = None
        """One vector for each row: the first piece, mean or max over the pieces, attention of a learnt query, or the
        pooler that the encoder has."""
        layer_mix: bool = False
        """Whether the states are a learnt weighted sum of all layers instead of the last."""
        words: Literal["first", "mean"] = "first"
        """Where the problem tags words: what stands for a word, its first piece or the mean of its pieces."""
        dropout: Rate | None = None
        """Every dropout inside the encoder; by default as its config says."""
        gradient_checkpointing: bool = False
        """Whether layers are computed twice to save memory."""
        attention: Literal["eager", "sdpa", "flash_attention_2"] | None = None
        """The implementation of attention; by default the best one that the encoder has. eager where `attention.i` is
        read, since the others do not know its weights."""
        trust_remote_code: bool = False
        """Whether the code that the model brings along may run, where transformers does not know its architecture."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.model is None and self.config is None:
                raise ValueError("names no encoder: set model, or config and tokenizer for random weights.")
            if self.config is None:
                try:
                    self._look_up(str(self.model))
                except UserError as error:
                    raise ValueError(f"model {error}") from error
            elif "model_type" not in self.config:
                raise ValueError("config names no model_type, such as bert; it stands in the place of a config.json.")
            if self.trust_remote_code and (self.model is None or "auto_map" not in (self.config or {})):
                raise ValueError("brings no code of its own: leave out trust_remote_code.")
            if self.tokenizer is None:
                if self.model is None:
                    raise ValueError("names no tokenizer, and no model whose tokenizer it could be.")
                object.__setattr__(self, "tokenizer", self.model)
            if self.layer_mix and self.pooling == "pretrained":
                raise ValueError(
                    "has a pooler that reads the last layer alone (pooling pretrained): leave out layer_mix."
                )
            settings, kept = self.settings, self.kept
            if self.pooling == "pretrained" and "add_pooling_layer" not in _arguments(settings):
                raise ValueError(
                    f"has no pooler of its own (pooling pretrained): a {settings.model_type} comes without."
                )
            if self.gradient_checkpointing and not _class_of(settings).supports_gradient_checkpointing:
                raise ValueError(f"is of type {settings.model_type}, which has no gradient_checkpointing.")
            if isinstance(self.freeze, int) and self.freeze > len(kept):
                raise ValueError(f"freezes {self.freeze} layers, but {len(kept)} are kept.")

        def _look_up(self, model: str) -> None:
            """Fill in what the model says of itself. UserError where it says nothing, or lacks what is asked for."""
            run = RunEncoder.named(model)
            if run is None:
                object.__setattr__(self, "config", encoder_config(model))
                if Path(model).expanduser().is_dir():  # those of the hub come when they are needed
                    pretrained_folder(model, WEIGHTS)
                return
            if self.trust_remote_code or run.conf.get("trust_remote_code"):
                raise UserError(f"{model}: code of a model's own is not taken from a run. Name the model itself.")
            run.refuse_if_untrained()
            its = _conf_of(run)
            if self.pooling == "pretrained" != its.pooling:
                raise UserError(f"{model}: this run has learnt without the pooler (pooling pretrained).")
            object.__setattr__(self, "config", its.config)
            if its.layers is not None:  # by their numbers in the config
                kept = [its.kept[place] + 1 for place in _places(self.layers, len(its.kept))]
                object.__setattr__(self, "layers", kept)

        @cached_property
        def settings(self) -> Any:
            """The config as transformers reads it, all layers in it. ValueError where it cannot be."""
            from transformers import MODEL_MAPPING  # late: costs seconds

            assert self.config is not None
            try:
                if self.trust_remote_code:
                    _register_code(str(self.model), self.config)
                settings = transformers_config(self.config)
            except Exception as error:  # what code of one's own raises can be anything
                own = "auto_map" in self.config and not self.trust_remote_code
                hint = " The model brings code of its own, which trust_remote_code lets run." if own else ""
                raise ValueError(f"config is refused by transformers: {first_line(error)}.{hint}") from error
            is_of_texts = type(settings) in MODEL_MAPPING and all(hasattr(settings, name) for name in NEEDED)
            if not is_of_texts or settings.is_encoder_decoder:
                raise ValueError(f"config describes a {settings.model_type}, which is no encoder of texts.")
            if self.model is None and "transformers_version" not in self.config:  # not as some version wrote it
                usual = type(settings)()
                names = {*inspect.signature(type(settings).__init__).parameters, *settings.attribute_map}
                unknown = [key for key in self.config if not hasattr(usual, key) and "attn_implementation" not in key]
                said = [f"'{key}' is unknown to a {settings.model_type}.{did_you_mean(key, names)}" for key in unknown]
                if said:
                    raise ValueError(f"config: {' '.join(said)}")
            return settings

        @cached_property
        def kept(self) -> list[int]:
            """The layers that are kept, from 0. ValueError where the encoder does not have them."""
            return _places(self.layers, self.settings.num_hidden_layers)

        def output_spec(self, first: Spec, second: Spec | None = None) -> Spec:
            settings, texts = self.settings, [text for text in (first, second) if text is not None]
            for text in texts:
                if text.frames is None:
                    raise ValueError("reads branches (the name of one of model_inputs), whose pieces it knows.")
                if text.sizes.get("V", 0) > settings.vocab_size:
                    raise ValueError(
                        f"has a tokenizer with {text.size('V'):,} pieces, but its weights know "
                        f"{settings.vocab_size:,}: one does not belong to the other."
                    )
            if "words" in (second.parts if second is not None else {}):
                raise ValueError("reads tagged words as its first input.")
            if self.room(*texts) < len(texts):
                raise ValueError(f"max_length {self.max_length} leaves no room for texts.")
            states, vector = Spec("BTD", {"D": settings.hidden_size}), Spec("BD", {"D": settings.hidden_size})
            names = [
                *(("first", "second")[: len(texts)]),
                "tokens",
                *(f"hidden.{i}" for i in range(len(self.kept) + 1)),
            ]
            attention = Spec("BATS", {"A": settings.num_attention_heads})
            read = " and ".join(", ".join(sorted(text.texts)) for text in texts)
            framed = f"{read} with the pieces around (an encoder gives those of one text as 'first' or 'second')"
            states = replace(states, texts=frozenset([framed]))
            parts = dict.fromkeys(names, states) | {"pooled": vector}
            parts |= {name: replace(states, texts=text.texts) for name, text in zip(names, texts, strict=False)}
            parts |= {f"attention.{i}": attention for i in range(1, len(self.kept) + 1)}
            whole = vector if self.pooling is not None else states if len(texts) == 2 else parts["first"]
            return replace(whole, parts=parts)

        def notices(self, is_output: bool, *inputs: Spec) -> dict[str, str]:
            said = {}
            if self.cut != type(self).cut and len(inputs) == 1:
                said["cut"] = "has no effect. A text alone is cut at its end."
            if self.words != type(self).words and "words" not in inputs[0].parts:
                said["words"] = "has no effect. The problem tags no words of this text."
            if self.max_length is not None and self.max_length > self.positions:
                said["max_length"] = f"has no effect. The encoder takes {self.positions} pieces at most."
            if self.pooling == "cls" and _reads_forward(self.settings):
                model = self.settings.model_type
                said["pooling"] = f"takes a piece that has seen no other: a {model} reads from left to right."
            return said

        def about_part(self, name: str) -> str:
            kind, _, number = name.partition(".")
            if kind not in ("hidden", "attention") or not number.isdigit():
                return ""
            kept = f"{len(self.kept)} of {self.settings.num_hidden_layers} layers are kept"
            return f" {kept}: it has {kind}.{int(kind == 'attention')} to {kind}.{len(self.kept)}."

        @property
        def positions(self) -> int:
            """How many pieces the encoder can take."""
            return positions(self.settings)

        def room(self, *texts: Spec) -> int:
            """How many pieces one text has, or two have together, at most."""
            return min(self.positions, self.max_length or ANY) - self.around(*texts)

        def around(self, *texts: Spec) -> int:
            """How many pieces stand around one text, or around two."""
            assert texts[0].frames is not None
            return sum(map(len, texts[0].frames.two if len(texts) == 2 else texts[0].frames.one))

        def kept_lengths(self, room: int, lengths: Sequence[Tensor]) -> list[Tensor]:
            """How many pieces stay of one text, or of each of two, where there is room for so many."""
            return kept_lengths(lengths, room, self.cut)

    around: Tensor
    """The ids that stand around the texts, one after the other."""

    def __init__(self, conf: Conf, first: Spec, second: Spec | None = None) -> None:
        super().__init__()
        texts = [text for text in (first, second) if text is not None]
        assert first.frames is not None
        frame = first.frames.one if second is None else first.frames.two
        self.conf = conf
        self.frame_sizes = [len(ids) for ids in frame]
        self.register_buffer("around", torch.tensor([*sum(frame, ())], dtype=torch.int64), persistent=False)
        self.room = conf.room(*texts)
        self.longest = self.room + conf.around(*texts)
        """Pieces that are read at most, those around the texts included."""
        self.pieces = first.sizes.get("V", conf.settings.vocab_size)
        self.parts = frozenset(conf.output_spec(*texts).parts)
        self.encoder = _made(conf)
        layers = _layers(self.encoder)
        self.stack = next((name for name, module in self.encoder.named_modules() if module is layers), "")
        self.above = _above(self.encoder)
        size = Spec("BTD", {"D": conf.settings.hidden_size})
        self.attentive = AttentivePooling.Conf().build(size) if conf.pooling == "attentive" else None
        self.mix = nn.Parameter(torch.zeros(len(conf.kept) + 1)) if conf.layer_mix else None
        self.has_segments = second is not None and knows_segments(conf.settings)

    def vectors(self) -> list[nn.Parameter]:
        return list(self.encoder.get_input_embeddings().parameters())

    def depth(self, weight: str) -> int:
        """1 for the last layer, 2 for the one below, ..., one more for the embeddings; 0 for what stands above.

        Always 0 where all layers share their weights.
        """
        room, _, inside = weight.partition(".")
        if room != "encoder" or not self.stack or inside.partition(".")[0] in self.above:
            return 0
        count = len(self.conf.kept)
        if not inside.startswith(f"{self.stack}."):
            return count + 1
        return count - int(inside.removeprefix(f"{self.stack}.").partition(".")[0])

    def load_pretrained(self) -> str | None:
        """Take over the weights of the model that the Conf names; a sentence that says so.

        UserError where the weights are missing, damaged or do not fit the config.
        """
        conf = self.conf
        if conf.model is None:
            return None
        has = list(range(conf.settings.num_hidden_layers))
        if (run := RunEncoder.named(conf.model)) is None:
            whole = loaded(type(self.encoder), conf.model, conf.settings, **_pooler(conf))
        else:
            has = _conf_of(run).kept
            if lacking := [number + 1 for number in conf.kept if number not in has]:
                raise UserError(f"{conf.model}: this run has not kept layers {lacking} of its config.")
            whole = _of_run(run, conf)
        _keep_layers(whole, [has.index(number) for number in conf.kept])
        for name, weight in whole.named_parameters():
            if not weight.isfinite().all():
                raise UserError(f"{conf.model}: {name} of the checkpoint has values that are no finite numbers.")
        self.encoder.load_state_dict(whole.state_dict())
        said = f"weights of {conf.model}: {len(conf.kept)} of {len(has)} layers"
        known = conf.settings.vocab_size
        if self.pieces < 0.9 * known and known - self.pieces >= PADDED:
            said += f"; they know {known:,} pieces, the tokenizer {self.pieces:,}: does it belong to them?"
        return said

    def has_places_of(self, run: RunEncoder) -> bool:
        """Whether its layers have the numbers that those in their places have in a run."""
        return self.conf.kept == _conf_of(run).kept[: len(self.conf.kept)]

    def forward(self, first: Features, second: Features | None = None) -> Features:
        texts = [text for text in (first, second) if text is not None]
        wanted = self.parts if self.wanted is None else self.wanted
        framed, places = self.framed(texts)
        output = self._run(framed, wanted)
        states = output.last_hidden_state
        if self.mix is not None:
            states = sum(
                weight * state for weight, state in zip(self.mix.softmax(0), output.hidden_states, strict=True)
            )

        def over_pieces(values: Tensor) -> Features:
            return Features(zero_padding(values, framed.mask), framed.mask, framed.lengths)

        inner: dict[str, Features] = {"tokens": (tokens := over_pieces(states))}
        whole = "pooled" if self.conf.pooling is not None else "tokens" if len(texts) == 2 else "first"
        for name in {*wanted, whole} - {"tokens"}:
            kind, _, number = name.partition(".")
            if kind == "hidden":
                inner[name] = over_pieces(output.hidden_states[int(number)])
            elif kind == "attention":
                read_BATS = output.attentions[int(number) - 1]
                if framed.mask is not None:
                    read_BATS = read_BATS * framed.mask[:, None, :, None]
                inner[name] = tokens.with_values(read_BATS)
            elif kind == "pooled":
                inner[name] = Features(self._pooled(tokens, output))
            else:
                at = ("first", "second").index(name)
                inner[name] = self._of_text(states, *places[at])
        return replace(inner[whole], parts={}, inner={name: inner[name] for name in wanted})

    def framed(self, texts: Sequence[Features]) -> tuple[Features, list[tuple[Features, Tensor]]]:
        """All pieces as the encoder reads them, and each text as it is read, with its places there: core.framing."""
        around = torch.split(self.around, self.frame_sizes)
        return frame(texts, around, self.room, self.conf.settings.pad_token_id or 0, self.conf.cut)

    def _run(self, framed: Features, wanted: frozenset[str]) -> Any:
        """The encoder's output, with its inner states where somebody reads them."""
        kinds = {name.partition(".")[0] for name in wanted}
        if "attention" in kinds and self.encoder.config._attn_implementation != "eager":
            self.encoder.set_attn_implementation("eager")
        segments = {"token_type_ids": framed.parts["segments"]} if self.has_segments else {}
        return self.encoder(
            input_ids=framed.values,
            attention_mask=framed.mask,
            output_hidden_states=self.mix is not None or "hidden" in kinds,
            output_attentions="attention" in kinds,
            **segments,
        )

    def _pooled(self, tokens: Features, output: Any) -> Tensor:
        pooling = self.conf.pooling or "cls"
        if pooling == "pretrained":
            return output.pooler_output
        if pooling == "cls":
            return tokens.values[:, 0]
        if self.attentive is not None:
            return self.attentive(tokens).values
        return POOLS[pooling](tokens.values, tokens.mask)

    def _of_text(self, states_BSD: Tensor, text: Features, place_BT: Tensor) -> Features:
        """The states of the pieces of one text, or of its words; words that are cut are there, with zeros."""
        kept_BT = text.real_mask()
        states_BTD = zero_padding(states_at(states_BSD, place_BT), text.mask)
        if "words" not in text.parts:
            return text.with_values(states_BTD)
        place_BW, kept_BW, mask_BW = first_pieces(text, place_BT)
        if self.conf.words == "first":
            states_BWD = zero_padding(states_at(states_BSD, place_BW), kept_BW)
        else:
            first_BW, behind_BW = text.parts["words"].unbind(-1)
            steps = torch.arange(kept_BT.shape[1], device=kept_BT.device)
            within_BWT = (steps >= first_BW.unsqueeze(2)) & (steps < behind_BW.unsqueeze(2)) & kept_BT.unsqueeze(1)
            states_BWD = within_BWT.to(states_BTD) @ states_BTD / within_BWT.sum(2, keepdim=True).clamp(min=1)
        return Features(zero_padding(states_BWD, mask_BW), mask_BW)


def _register_code(model: str, config: dict[str, Any]) -> None:
    """Run the code that a model brings along, so that transformers knows its architecture."""
    from transformers import AutoConfig, AutoModel
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    settings, encoder = (
        get_class_from_dynamic_module(config["auto_map"][name], model) for name in ("AutoConfig", "AutoModel")
    )
    AutoConfig.register(config["model_type"], settings, exist_ok=True)
    AutoModel.register(settings, encoder, exist_ok=True)


def _made(conf: PretrainedEncoder.Conf) -> Any:
    """The encoder with random weights."""
    settings = deepcopy(conf.settings)
    if conf.dropout is not None:
        for name in settings.to_dict():
            if "drop" in name and not name.startswith(HEADS):
                setattr(settings, name, conf.dropout)
    implementation = {"attn_implementation": conf.attention} if conf.attention else {}
    try:
        encoder = _class_of(settings)._from_config(settings, dtype=torch.float32, **implementation, **_pooler(conf))
    except Exception as error:  # an attention that is not there, sizes that do not fit: all kinds of errors
        sentence = f"transformers cannot make a {settings.model_type} of these settings ({first_line(error)})."
        raise UserError(f"PretrainedEncoder: {sentence}") from error
    if not len(_layers(encoder)) and (conf.layers is not None or conf.freeze not in (None, "all")):
        raise UserError(f"PretrainedEncoder: a {settings.model_type} has no layers of its own to keep or freeze.")
    _keep_layers(encoder, conf.kept)
    if conf.gradient_checkpointing:
        newer = getattr(encoder, "activation_checkpointing_enable", None)  # its name in later versions of transformers
        (newer or encoder.gradient_checkpointing_enable)({"use_reentrant": False})
    if conf.freeze is not None:
        frozen = len(conf.kept) if conf.freeze == "all" else conf.freeze
        encoder.requires_grad_(False)
        for layer in _layers(encoder)[frozen:]:
            layer.requires_grad_(True)
        for name in _above(encoder) if conf.freeze != "all" else ():
            encoder.get_submodule(name).requires_grad_(True)
    return encoder


def _places(layers: int | list[int] | str | None, count: int) -> list[int]:
    """What `layers` keeps of so many, from 0. ValueError where they are not there."""
    if isinstance(layers, list):
        kept = [number - 1 for number in layers]
    elif layers == "every_other":
        kept = list(range(1, count, 2))
    else:
        kept = list(range(count if layers is None else int(layers)))
    if not kept or max(kept) >= count or len(set(kept)) < len(kept):
        raise ValueError(f"keeps layers {layers}, but the encoder has 1 to {count}, each once.")
    return kept


def _conf_of(run: RunEncoder) -> PretrainedEncoder.Conf:
    """The settings of an encoder in its run; code that they name does not run. UserError where they are damaged."""
    fields = {**run.conf, "trust_remote_code": False}
    try:
        for problem in core.schema.problems(fields, core.schema.definition(PretrainedEncoder.Conf, {})):
            raise ValueError(str(problem))
        conf: PretrainedEncoder.Conf = core.conf.read(PretrainedEncoder.Conf, fields)
    except ValueError as error:
        raise UserError(f"{run.run.path}: the settings of layer '{run.layer}' are damaged ({error})") from error
    return conf


def _of_run(run: RunEncoder, conf: PretrainedEncoder.Conf) -> Any:
    """The encoder of a run with all layers that it has. UserError where its weights are damaged."""
    whole = _made(replace(conf, layers=_conf_of(run).layers, freeze=None))
    weights = {name.removeprefix("encoder."): weight for name, weight in run.weights().items()}
    if missing := whole.state_dict().keys() - weights.keys():
        raise UserError(f"{run.run.path}: the weights lack {run.layer}.encoder.{min(missing)}.")
    try:
        whole.load_state_dict(weights, strict=False)  # heads of its layer may stand beside it
    except RuntimeError as error:
        raise UserError(f"{run.run.path}: the weights do not fit the config ({first_line(error)}).") from error
    return whole


def _reads_forward(settings: Any) -> bool:
    """Whether each piece sees only those before it, as far as transformers tells: such models fill no masks."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

    is_generator = type(settings) in MODEL_FOR_CAUSAL_LM_MAPPING and type(settings) not in MODEL_FOR_MASKED_LM_MAPPING
    return is_generator and settings.model_type not in ("xlnet", "bert-generation")


def _pooler(conf: PretrainedEncoder.Conf) -> dict[str, bool]:
    """The argument that leaves out the pooler where nobody reads it."""
    return (
        {"add_pooling_layer": conf.pooling == "pretrained"} if "add_pooling_layer" in _arguments(conf.settings) else {}
    )


def _arguments(settings: Any) -> Collection[str]:
    """The names of what the class of an encoder with these settings is made from."""
    return inspect.signature(_class_of(settings).__init__).parameters


def _class_of(settings: Any) -> Any:
    """The class of an encoder with these settings."""
    from transformers import MODEL_MAPPING

    found = MODEL_MAPPING[type(settings)]
    return found[0] if isinstance(found, tuple) else found


def _keep_layers(encoder: Any, kept: list[int]) -> None:
    """Drop the other layers; those that are kept come in this order."""
    layers = _layers(encoder)
    if len(layers) and kept != list(range(len(layers))):
        chosen = [layers[at] for at in kept]
        del layers[:]
        layers.extend(chosen)
        encoder.config.num_hidden_layers = len(chosen)


def _layers(encoder: Any) -> nn.ModuleList:
    """The layers of an encoder."""
    count = encoder.config.num_hidden_layers
    lists = [module for module in encoder.modules() if isinstance(module, nn.ModuleList) and len(module) == count]
    return lists[0] if lists else nn.ModuleList()


def _above(encoder: Any) -> list[str]:
    """The names of what stands above the layers of an encoder: a pooler, a last norm."""
    layers = _layers(encoder)
    holds = [any(module is layers for module in part.modules()) for part in encoder.children()]
    return [name for at, (name, _) in enumerate(encoder.named_children()) if any(holds[:at])]
