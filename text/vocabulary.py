"""Words to ids: which words get an id of their own, and which id."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, Self

import numpy as np

from core.types import SPECIAL_IDS
from text.tokens import Tokens

PAD, START, EOS, UNK = range(4)
SPECIALS = ("<pad>", "<start>", "<eos>", "<unk>")
assert len(SPECIALS) == SPECIAL_IDS


class Vocabulary:
    """Words in the order of their ids, the special ones first: 0 is padding, 3 stands for every unknown word.

    A special word that occurs in a text is an unknown word there: no text can bring padding in.
    """

    def __init__(self, words: Iterable[str], specials: Sequence[str] = SPECIALS) -> None:
        """words: without the special ones."""
        self.words = [*specials, *words]
        """Every entry in the order of ids."""
        self.specials = tuple(specials)
        self._ids = {word: number for number, word in enumerate(self.words) if number >= len(specials)}

    def __len__(self) -> int:
        return len(self.words)

    def add(self, words: Iterable[str]) -> None:
        """More words, with the next ids; no special ones."""
        for word in words:
            self._ids[word] = len(self.words)
            self.words.append(word)

    def unknown(self, words: Iterable[str]) -> list[str]:
        """Those of the words that have no id."""
        return [word for word in words if word not in self._ids and word not in self.specials]

    def lookup(self, words: Sequence[str]) -> np.ndarray:
        """int32 ids."""
        return np.fromiter(map(self._ids.get, words, repeat(UNK)), np.int32, len(words))

    def state(self) -> dict[str, Any]:
        """As JSON."""
        return {"specials": list(self.specials), "words": self.words[len(self.specials) :]}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The vocabulary whose `state` this was."""
        return cls(state["words"], state["specials"])


class VocabularyBuilder:
    """A vocabulary that grows: words get provisional ids as they come, `finish` says what these become."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._counts = np.zeros(1024, np.int64)

    def add(self, columns: Sequence[Tokens]) -> None:
        """Read documents: document i is text i of each column."""
        words = [word for tokens in columns for word in tokens.words]
        first = np.concatenate([tokens.first_texts() for tokens in columns])
        ids = self._ids
        for at in np.argsort(first, kind="stable").tolist():  # as if read document by document
            ids.setdefault(words[at], len(SPECIALS) + len(ids))
        size = len(SPECIALS) + len(ids)
        if size > len(self._counts):
            self._counts = np.concatenate([self._counts, np.zeros(size, np.int64)])
        documents = [np.repeat(np.arange(len(t.index)), t.index.lengths) * size + self._ids_of(t) for t in columns]
        self._counts[:size] += np.bincount(np.unique(np.concatenate(documents)) % size, minlength=size)

    def lookup(self, words: Sequence[str]) -> np.ndarray:
        """int32 provisional ids of words that were read; the ids of the special words are not among them."""
        return np.fromiter(map(self._ids.__getitem__, words), np.int32, len(words))

    def finish(
        self, min_frequency: int, max_words: int, extra_words: Iterable[str] = ()
    ) -> tuple[Vocabulary, np.ndarray]:
        """The vocabulary, and the final id of each provisional one.

        Words of at least `min_frequency` documents by descending number of documents (ties: first occurrence), at most
        `max_words` of them; then the extra words that are not among them.
        """
        words = list(self._ids)
        counts = self._counts[len(SPECIALS) : len(SPECIALS) + len(words)]
        order = np.argsort(-counts, kind="stable")
        frequent = (words[at] for at in order[counts[order] >= min_frequency].tolist())
        kept = [word for word in frequent if word not in SPECIALS][:max_words]
        extra = (word for word in extra_words if word not in SPECIALS)
        vocabulary = Vocabulary(dict.fromkeys([*kept, *extra]))
        return vocabulary, np.concatenate([np.arange(len(SPECIALS), dtype=np.int32), vocabulary.lookup(words)])

    def _ids_of(self, tokens: Tokens) -> np.ndarray:
        return self.lookup(tokens.words)[tokens.index.values]
