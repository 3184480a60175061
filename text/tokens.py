"""Tokens: the tokens of texts, each different one kept once."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from text.ragged import Ragged


@dataclass(frozen=True)
class Tokens:
    """The tokens of N texts: `words` are the different ones by first occurrence, `index` says which stand where.

    words  none where the tokens have ids already, which `index` holds
    spans  int32 of (number of tokens) x 2, the first character of each token in its text and the one after its last;
           None where nobody asks
    """

    words: list[str]
    index: Ragged
    spans: np.ndarray | None = None

    @classmethod
    def of_lists(cls, lists: Sequence[list[str]], spans: np.ndarray | None = None) -> "Tokens":
        """The tokens of texts as they come from a tokenizer."""
        flat = list(chain.from_iterable(lists))
        words = list(dict.fromkeys(flat))
        numbers = {word: number for number, word in enumerate(words)}
        values = np.fromiter(map(numbers.__getitem__, flat), np.int32, len(flat))
        return cls(words, Ragged.of_lengths(values, np.fromiter(map(len, lists), np.int64, len(lists))), spans)

    def taken(self, texts: np.ndarray) -> "Tokens":
        """The tokens of these texts only."""
        index = self.index.taken(texts)
        spans = None if self.spans is None else self.index.with_values(self.spans).taken(texts).values
        if not self.words:
            return Tokens([], index, spans)
        numbers, values = _by_first_occurrence(index.values)
        return Tokens([self.words[number] for number in numbers], index.with_values(values), spans)

    def characters(self) -> "Tokens":
        """The characters of each of the different words."""
        codes = np.frombuffer("".join(self.words).encode("utf-32-le", "surrogatepass"), np.uint32)
        different, values = _by_first_occurrence(codes)
        lengths = np.fromiter(map(len, self.words), np.int64, len(self.words))
        return Tokens([chr(code) for code in different], Ragged.of_lengths(values, lengths))

    def with_characters(self, characters: "Tokens") -> "Tokens":
        """The characters of each text, where `characters` are those of the words."""
        spread = characters.index.taken(self.index.values)
        return Tokens(characters.words, Ragged(spread.values, spread.offsets[self.index.offsets]))

    def first_texts(self) -> np.ndarray:
        """int64, for each of the words the first text that has it."""
        texts = np.repeat(np.arange(len(self.index)), self.index.lengths)
        first = np.zeros(len(self.words), np.int64)
        first[self.index.values[::-1]] = texts[::-1]  # the last assignment stays
        return first


def _by_first_occurrence(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different values in the order of their first occurrence, and for each value its place among them (int32)."""
    found, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    places = np.empty(len(order), np.int32)
    places[order] = np.arange(len(order))
    return found[order], places[inverse]
