"""Pieces: the tokenizer of a pretrained encoder, which splits texts into pieces of words that have ids already."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from core.conf import JSON
from core.errors import UserError
from core.pretrained import TOKENIZER, TOKENIZER_CONFIG, pretrained_folder, read_foreign_json
from core.run_encoder import RunEncoder
from core.run_folder import PROBLEM
from core.types import Frames
from text.ragged import Ragged

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Pieces:
    """A fast tokenizer (tokenizer.json) with its settings (tokenizer_config.json), as JSON."""

    def __init__(self, tokenizer: JSON, settings: JSON) -> None:
        self.tokenizer = tokenizer
        self.settings = settings

    @classmethod
    def load(cls, name: str) -> Self:
        """That of a folder, a hub name or a run. UserError where there is none."""
        if (run := RunEncoder.named(name)) is not None:
            source, state = run.run / PROBLEM, run.tokenizer()
        else:
            folder = pretrained_folder(name, TOKENIZER, [TOKENIZER_CONFIG])
            settings = read_foreign_json(folder / TOKENIZER_CONFIG) if (folder / TOKENIZER_CONFIG).exists() else {}
            source = folder / TOKENIZER
            state = {"tokenizer": read_foreign_json(source), "settings": settings}
        try:
            return cls.from_state(state)
        except ValueError as error:
            raise UserError(f"{source}: {error}") from error

    def state(self) -> dict[str, JSON]:
        """As JSON."""
        return {"tokenizer": self.tokenizer, "settings": self.settings}

    @classmethod
    def from_state(cls, state: Mapping[str, JSON]) -> Self:
        """Those whose `state` this was. ValueError where the tokenizers library cannot read it."""
        pieces = cls(state["tokenizer"], state["settings"])
        try:
            pieces._splits  # noqa: B018
        except Exception as error:  # the library raises bare Exceptions
            raise ValueError(f"is not a tokenizer that can be read here ({error}).") from error
        return pieces

    @cached_property
    def key(self) -> str:
        """What its ids depend on, in short."""
        return blake2b(json.dumps(self.tokenizer).encode(), digest_size=16).hexdigest()

    def __len__(self) -> int:
        """One more than the largest id."""
        return max(self._splits.get_vocab(with_added_tokens=True).values()) + 1

    def names(self, ids: Sequence[int]) -> list[str]:
        """The pieces with these ids."""
        return [self._splits.id_to_token(number) or "?" for number in ids]

    def disagreement(self, other: Self) -> float:
        """The share of its pieces that have another id there, or none."""
        own, theirs = (pieces._splits.get_vocab(with_added_tokens=True) for pieces in (self, other))
        return sum(theirs.get(piece) != number for piece, number in own.items()) / len(own)

    @cached_property
    def frames(self) -> Frames:
        """The ids around one text and around two."""

        def around(first: str, second: str | None = None) -> tuple[tuple[int, ...], ...]:
            framed = self._splits.encode(first, second)
            found: list[list[int]] = [[] for _ in range(2 if second is None else 3)]
            place = 0
            for piece, text in zip(framed.ids, framed.sequence_ids, strict=True):
                if text is None:
                    found[place].append(piece)
                else:
                    place = text + 1
            return tuple(map(tuple, found))

        return Frames(around("a"), around("a", "a"))

    def of_texts(self, texts: Sequence[str]) -> Ragged:
        """The ids of texts."""
        encodings = self._splits.encode_batch_fast(_encodable(texts), add_special_tokens=False)
        return _ragged([encoding.ids for encoding in encodings])

    def with_spans(self, texts: Sequence[str]) -> tuple[Ragged, np.ndarray]:
        """The ids of texts, and int32 of (number of pieces) x 2: each one's first character, and the one after it.

        The space before a word is left out, also where it belongs to the word's first piece.
        """
        encodings = self._splits.encode_batch(_encodable(texts), add_special_tokens=False)
        ids = _ragged([encoding.ids for encoding in encodings])
        offsets = np.array([*chain.from_iterable(encoding.offsets for encoding in encodings)], np.int32)
        spans = offsets.reshape(-1, 2)
        signs = np.frombuffer(f"{''.join(texts)}.".encode("utf-32-le", "surrogatepass"), np.uint32)
        before = np.cumsum([0, *map(len, texts)])[:-1]  # of each text, the signs of those before it
        is_space = signs[np.repeat(before, ids.lengths) + spans[:, 0]] == ord(" ")
        spans[:, 0] += is_space & (spans[:, 1] - spans[:, 0] > 1)
        return ids, spans

    def of_words(self, words: Sequence[str]) -> Ragged:
        """The ids of each word as it would be within a text, one at least."""
        words = _encodable(words)
        if self._marks_spaces:
            encodings = self._splits.encode_batch_fast([f" {word}" for word in words], add_special_tokens=False)
        else:
            split = [[word] for word in words]
            encodings = self._splits.encode_batch_fast(split, is_pretokenized=True, add_special_tokens=False)
        return _ragged([encoding.ids or [self._unknown] for encoding in encodings])

    @cached_property
    def _splits(self) -> "Tokenizer":
        from tokenizers import Tokenizer  # late: costs a tenth of a second

        tokenizer = Tokenizer.from_str(json.dumps(self.tokenizer))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _marks_spaces(self) -> bool:
        """Whether a word has other ids behind a space than at the start of a text (byte-level pieces)."""
        whole, apart = (
            self._splits.encode("x x", add_special_tokens=False),
            self._splits.encode(["x", "x"], is_pretokenized=True, add_special_tokens=False),
        )
        return whole.ids != apart.ids

    @cached_property
    def _unknown(self) -> int:
        """The id for a word without any piece."""
        named: Any = self.settings.get("unk_token", "")
        name = named.get("content", "") if isinstance(named, Mapping) else named
        return self._splits.token_to_id(str(name)) or 0


def _encodable(texts: Sequence[str]) -> list[str]:
    """The texts without the halves of surrogate pairs that JSON lets through: a sign for what is broken instead."""
    return [_LONE_SURROGATE.sub("\ufffd", text) for text in texts]


def _ragged(ids: Sequence[Sequence[int]]) -> Ragged:
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    return Ragged.of_lengths(np.fromiter(chain.from_iterable(ids), np.int32, int(lengths.sum())), lengths)
