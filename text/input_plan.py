"""What the branches of a model read, and how it becomes ids."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Self

from core.types import Frames, Spec


@dataclass(frozen=True, kw_only=True)
class InputPlan:
    """How the columns of a file become the inputs of a model.

    A branch has one column of words; its other columns are views of these words: their characters, or features that a
    column of the file gives for each of them. Or it has one column of pieces, which a pretrained encoder reads.

    branches       branch -> its columns
    kinds          column -> "word", "char", "feature" or "piece"
    sources        column of characters -> the column of words that they belong to
    clusters       column -> its cluster; the columns of a cluster share a vocabulary (of pieces: whose encoder's it is)
    max_lengths    branch or column -> tokens at most (<start> and <eos> come on top)
    fixed_lengths  branch or column -> tokens exactly, by cutting and padding; "word" -> characters of a word exactly
    joined         groups of branches that an encoder reads as one text
    extra_words    words that get an id however rare they are; a sequence, or what has a `key` for the cache
    tagged         columns of words that have one tag each: split at spaces
    placed         columns of words that keep where each token stands in its text, so that parts of it can be answers
    begun          branches whose texts begin with <start>, every window of them too
    starts         branch -> its id of <start>, where an encoder's tokenizer has another
    windows        branch -> tokens of a window at most, and tokens from the start of one to that of the next
    positions      target column that holds a token's place -> the branch whose text it is in
    """

    branches: Mapping[str, Sequence[str]]
    kinds: Mapping[str, str]
    sources: Mapping[str, str] = field(default_factory=dict)
    clusters: Mapping[str, str] = field(default_factory=dict)
    tokenizer: str = "whitespace"
    preprocessing: Sequence[str] = ()
    max_lengths: Mapping[str, int] = field(default_factory=dict)
    fixed_lengths: Mapping[str, int] = field(default_factory=dict)
    add_start_end: bool = False
    min_word_frequency: int = 1
    max_vocabulary: int = 800000
    extra_words: Iterable[str] = ()
    tagged: Sequence[str] = ()
    placed: Sequence[str] = ()
    begun: Sequence[str] = ()
    starts: Mapping[str, int] = field(default_factory=dict)
    windows: Mapping[str, Sequence[int]] = field(default_factory=dict)
    positions: Mapping[str, str] = field(default_factory=dict)
    joined: Sequence[Sequence[str]] = ()

    def complaints(self) -> dict[str, str]:
        """Branch -> what is wrong with its columns, in one sentence."""
        found: dict[str, str] = {}
        cuts: dict[str, tuple[int | None, int | None]] = {}
        owners: dict[str, str] = {}
        for branch, columns in self.branches.items():
            words = self._texts(branch)
            if self._of_kind(branch, "piece") and len(columns) > 1:
                found[branch] = f"a pretrained encoder reads a branch of one column, but this one has {len(columns)}."
                continue
            if len(words) != 1:
                said = f"has {len(words)} ({', '.join(words)})" if words else "has none"
                found[branch] = f"a branch needs one column of words, but this one {said}."
                continue
            for column in self._of_kind(branch, "char"):
                if self.sources.get(column) != words[0]:
                    found[branch] = f"column '{column}' must hold the characters of '{words[0]}', the words here."
            for column in columns:
                if owners.setdefault(column, words[0]) != words[0]:
                    found[branch] = f"column '{column}' belongs to the words '{owners[column]}' of another branch."
                lengths = (self.max_length(branch), self.fixed_length(branch))
                if cuts.setdefault(column, lengths) != lengths:
                    found[branch] = f"column '{column}' stands in two branches of different length."
        return found

    @cached_property
    def words_of(self) -> dict[str, str]:
        """Column -> the column of words that it is a view of; columns in the order of the branches."""
        return {c: self._texts(b)[0] for b, columns in self.branches.items() for c in columns}

    @property
    def text_columns(self) -> list[str]:
        """The columns of the file that are read: words and features."""
        columns = (column for columns in self.branches.values() for column in columns)
        return [column for column in dict.fromkeys(columns) if self.kinds[column] != "char"]

    @property
    def aligned(self) -> set[str]:
        """The columns of words to which features or tags belong: split at spaces, so that each token has its own."""
        return {*self.tagged, *(self.words_of[column] for column in self.words_of if self.kinds[column] == "feature")}

    @property
    def passage(self) -> str | None:
        """The column of words whose tokens are places of answers, where there is one."""
        return next((self._texts(branch)[0] for branch in self.positions.values()), None)

    @property
    def word_length(self) -> int | None:
        """Characters of a word, where fixed."""
        return self.fixed_lengths.get("word")

    def cluster(self, column: str) -> str:
        """The cluster of a column."""
        return self.clusters.get(column, self.kinds[column])

    def max_length(self, branch: str) -> int | None:
        """Tokens of a text of this branch at most, before <start> and <eos>; None = any number."""
        return _first(self.max_lengths, (branch, *self.branches[branch]))

    def fixed_length(self, branch: str) -> int | None:
        """Tokens of a text of this branch exactly, before <start> and <eos>; None = any number."""
        lengths = {name: length for name, length in self.fixed_lengths.items() if name != "word"}
        return _first(lengths, (branch, *self.branches[branch]))

    def cut(self, words: str) -> int | None:
        """At how many tokens the texts of a column of words are cut."""
        branch = next(branch for branch, columns in self.branches.items() if words in columns)
        limits = [limit for limit in (self.max_length(branch), self.fixed_length(branch)) if limit is not None]
        return min(limits, default=None)

    def size(self, branch: str) -> int | None:
        """The size of axis T, where fixed."""
        fixed = self.fixed_length(branch)
        return None if fixed is None else fixed + 2 * self.add_start_end + (branch in self.begun)

    def specs(self, sizes: Mapping[str, int], frames: Mapping[str, Frames] | None = None) -> dict[str, Spec]:
        """The spec of each branch for vocabularies of these sizes by cluster; frames of those of pieces."""
        return {branch: self._spec(branch, sizes, frames or {}) for branch in self.branches}

    def _spec(self, branch: str, sizes: Mapping[str, int], frames: Mapping[str, Frames]) -> Spec:
        length = self.size(branch)
        fixed = {} if length is None else {"T": length}
        parts = {}
        if pieces := self._of_kind(branch, "piece"):
            cluster = self.cluster(pieces[0])
            known = {"V": sizes[cluster]} if cluster in sizes else {}
            parts = {"words": Spec("BTS", {"S": 2}, ids=True)} if pieces[0] in self.tagged else {}
            return Spec("BT", known, parts, ids=True, frames=frames.get(cluster, Frames()))
        for column in self.branches[branch]:
            known = {**fixed, "V": sizes[self.cluster(column)]} if self.cluster(column) in sizes else dict(fixed)
            if self.kinds[column] == "char" and self.word_length is not None:
                known["K"] = self.word_length
            parts[column] = Spec("BTK" if self.kinds[column] == "char" else "BT", known, ids=True)
        return Spec("BT", fixed, parts, ids=True)

    def state(self) -> dict[str, Any]:
        """As JSON, without the extra words: they are in the vocabulary."""
        state = asdict(self)
        del state["extra_words"]
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The plan whose `state` this was."""
        return cls(**state)

    def _texts(self, branch: str) -> list[str]:
        """Its columns of words or pieces: one, where the plan is sound."""
        return [*self._of_kind(branch, "word"), *self._of_kind(branch, "piece")]

    def _of_kind(self, branch: str, kind: str) -> list[str]:
        return [column for column in self.branches[branch] if self.kinds[column] == kind]


def _first(lengths: Mapping[str, int], names: Sequence[str]) -> int | None:
    return next((lengths[name] for name in names if name in lengths), None)
