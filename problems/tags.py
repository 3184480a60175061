"""Tags that mark spans (B-PER I-PER O): what they mark, and the same spans in another scheme.

Many texts lie one after the other in flat arrays of N tokens; `firsts` is True where a text begins. A tag is a prefix
and a type: `B-PER` is B and PER, a tag without a dash is a prefix alone.

Schemes, with the tags of a span of one, two, three tokens:

    IOB    I, II, III    a span that touches one of the same type before it begins with B (Ramshaw and Marcus 1995)
    BIO    B, BI, BII    also called IOB2
    BIOES  S, BE, BIE    also called BILOU, with L for E and U for S
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Scheme = Literal["IOB", "BIO", "BIOES"]
PREFIXES = "OBIES"
_CODES = {prefix: code for code, prefix in enumerate(PREFIXES)} | {"L": PREFIXES.index("E"), "U": PREFIXES.index("S")}
O, B, I, E, S = range(5)  # noqa: E741

_STARTS = np.zeros((5, 5), bool)
"""Whether a span starts at a token, by the prefix before it and its own."""
_STARTS[:, [B, S]] = True
_STARTS[np.ix_([O, E, S], [I, E])] = True
_ENDS = np.zeros((5, 5), bool)
"""Whether a span ends before a token, by the prefix before it and its own."""
_ENDS[[E, S]] = True
_ENDS[np.ix_([B, I], [O, B, S])] = True


@dataclass(frozen=True)
class Tags:
    """Tags of N tokens: prefix codes (places in PREFIXES), type codes (-1 for none), where texts begin."""

    prefixes: np.ndarray
    types: np.ndarray
    firsts: np.ndarray

    @classmethod
    def of(cls, ids_N: np.ndarray, labels: Sequence[str], types: Sequence[str], first_N: np.ndarray) -> "Tags":
        """Tags by their label ids; `types` are those of the labels, see `types_of`."""
        parsed = [parse(label) for label in labels]
        prefix_C = np.array([prefix for prefix, _ in parsed] or [O])
        type_C = np.array([types.index(kind) if prefix != O else -1 for prefix, kind in parsed] or [-1])
        return cls(prefix_C[ids_N], type_C[ids_N], first_N)

    def texts(self, types: Sequence[str]) -> list[str]:
        """The tags as they are written."""
        names = [*types, ""]
        return [
            PREFIXES[prefix] + (f"-{names[kind]}" if names[kind] else "")
            for prefix, kind in zip(self.prefixes.tolist(), self.types.tolist(), strict=True)
        ]


@dataclass(frozen=True)
class Spans:
    """Spans in the order of the tokens: first token, the token after the last, type."""

    starts: np.ndarray
    ends: np.ndarray
    types: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def of_type(self, kind: int) -> "Spans":
        """Those of one type."""
        kept = self.types == kind
        return Spans(self.starts[kept], self.ends[kept], self.types[kept])

    def in_common(self, other: "Spans") -> int:
        """How many spans both have."""
        _, mine, theirs = np.intersect1d(self.starts, other.starts, assume_unique=True, return_indices=True)
        same = (self.ends[mine] == other.ends[theirs]) & (self.types[mine] == other.types[theirs])
        return int(same.sum())


def parse(label: str) -> tuple[int, str]:
    """Prefix code and type of a tag. What has no known prefix marks no span."""
    prefix, dash, kind = label.partition("-")
    return (_CODES[prefix], kind) if prefix in _CODES and (dash or prefix != "O") else (O, "")


def types_of(labels: Sequence[str]) -> list[str]:
    """The types of spans among tags, in alphabetical order."""
    return sorted({kind for prefix, kind in map(parse, labels) if prefix != O})


def spans(tags: Tags) -> Spans:
    """The spans that tags mark, by the rules of conlleval: also tags that break their scheme mark something."""
    prefix_N, type_N, first_N = tags.prefixes, tags.types, tags.firsts
    before_N, before_type_N = np.roll(prefix_N, 1), np.roll(type_N, 1)
    before_N[first_N], before_type_N[first_N] = O, -1
    changed_N = type_N != before_type_N
    starts_N = _STARTS[before_N, prefix_N] | ((prefix_N != O) & changed_N)
    ends_N = first_N | _ENDS[before_N, prefix_N] | ((before_N != O) & changed_N)
    starts = np.flatnonzero(starts_N)
    ends = np.append(np.flatnonzero(ends_N), len(prefix_N))
    return Spans(starts, ends[np.searchsorted(ends, starts, side="right")], type_N[starts])


def retagged(tags: Tags, scheme: Scheme) -> Tags:
    """The same spans in another scheme."""
    found = spans(tags)
    prefix_N, type_N = np.full(len(tags.prefixes), O), np.full(len(tags.prefixes), -1)
    lengths = found.ends - found.starts
    within = np.repeat(found.starts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
    prefix_N[within], type_N[within] = I, np.repeat(found.types, lengths)
    if scheme == "IOB":
        touching = (found.starts[1:] == found.ends[:-1]) & (found.types[1:] == found.types[:-1])
        prefix_N[found.starts[1:][touching & ~tags.firsts[found.starts[1:]]]] = B
    else:
        prefix_N[found.starts] = B
    if scheme == "BIOES":
        prefix_N[found.ends - 1] = np.where(lengths == 1, S, E)
    return Tags(prefix_N, type_N, tags.firsts)
