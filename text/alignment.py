"""Where tokens stand in the text that they come from, which may have been changed before it was split.

Texts are compared by their folded characters: without case, width, white space and the form of quotes. So a text, what
the steps of text/tokenizers make of it, and its tokens one after the other are the same, also where nltk writes `` for
a double quote or lowercase makes two characters of one. Only what unicode_fix mends beyond that (&amp;, sÃ©) needs a
diff.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from functools import cache, lru_cache
from itertools import accumulate

import numpy as np

_RECENT = 8
"""Texts that are remembered: questions about one passage follow each other."""
_QUOTES = str.maketrans(
    {**dict.fromkeys("`\u02bc\u2018\u2019\u201a\u201b", "'"), **dict.fromkeys('"\u201c\u201d\u201e\u201f', "''")}
)


def character_spans(text: str, prepared: str, tokens: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(starts, ends) of tokens in `text`: int32, both rising; an end is one past the last character.

    prepared  the text after the steps on texts: what the tokenizer split
    tokens    all of its tokens, none left out

    Tokens made of one character have the same span, as have tokens whose characters were mended together.
    ValueError where a token cannot be placed, such as after stop words were removed.
    """
    folded, places = _folded("".join(tokens))
    offsets = np.cumsum(np.fromiter(map(len, tokens), np.int64, len(tokens)))
    lasts = np.searchsorted(places, offsets) - 1
    firsts = np.append(0, lasts + 1)[:-1]
    _refuse(firsts > lasts, tokens)
    whole, origins = _folded(text)
    if whole == folded:
        starts, ends = origins[firsts], origins[lasts] + 1
    elif _folded(prepared)[0] == folded:
        starts_K, ends_K = _origins(text, prepared)
        starts, ends = starts_K[firsts], ends_K[lasts]
    else:
        raise ValueError(_difference(prepared, tokens, lasts))
    _refuse(starts >= ends, tokens)
    return starts, ends


def _refuse(empty: np.ndarray, tokens: Sequence[str]) -> None:
    if empty.any():
        raise ValueError(f"token '{tokens[int(empty.argmax())]}' cannot be placed, no character became it.")


@lru_cache(_RECENT)
def _folded(text: str, space: str = "") -> tuple[str, np.ndarray]:
    """The folded characters of a text, and for each the place of the character that it comes from (int32)."""
    parts = [_fold(character) or space for character in text]
    lengths = np.fromiter(map(len, parts), np.int64, len(parts))
    return "".join(parts), np.repeat(np.arange(len(parts), dtype=np.int32), lengths)


@cache
def _fold(character: str) -> str:
    """What all forms of a character have in common; nothing of white space."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(decomposed.translate(_QUOTES).split())


@lru_cache(_RECENT)
def _origins(text: str, prepared: str) -> tuple[np.ndarray, np.ndarray]:
    """For each folded character of `prepared`, start and end in `text` of what became it (equal: nothing), int32."""
    (before, places), (after, _) = _folded(text + " ", " "), _folded(prepared + " ", " ")
    start_of, end_of = np.append(places, np.int32(len(text))), np.append(np.int32(0), places + 1)
    starts, ends = np.zeros((2, len(after)), np.int32)
    for change, first, end, at, until in _changes(before, after):
        if change == "equal":
            starts[at:until], ends[at:until] = start_of[first:end], end_of[first + 1 : end + 1]
        else:
            starts[at:until], ends[at:until] = start_of[first], end_of[end]
    kept = np.array(list(after)) != " "
    return starts[kept], ends[kept]


def _changes(before: str, after: str) -> Iterator[tuple[str, int, int, int, int]]:
    """What difflib finds between texts that end in a space: first by words, then by characters where words differ."""
    words, others = before[:-1].split(" "), after[:-1].split(" ")
    places, targets = ([0, *accumulate(len(word) + 1 for word in listed)] for listed in (words, others))
    for change, i, j, k, m in SequenceMatcher(None, words, others, autojunk=False).get_opcodes():
        first, end, at, until = places[i], places[j], targets[k], targets[m]
        if change == "equal":
            yield change, first, end, at, until
            continue
        for kind, i, j, k, m in SequenceMatcher(None, before[first:end], after[at:until], autojunk=False).get_opcodes():
            yield kind, first + i, first + j, at + k, at + m


def _difference(prepared: str, tokens: Sequence[str], lasts: np.ndarray) -> str:
    """Where tokens leave the text that they should come from."""
    (wanted, _), (after, places) = _folded("".join(tokens)), _folded(prepared)
    same = min(len(wanted), len(after))
    at = next((at for at in range(same) if wanted[at] != after[at]), same)
    token = tokens[int(np.searchsorted(lasts, at))] if at < len(wanted) else ""
    rest = prepared[places[at] :] if at < len(after) else ""
    return f"token '{token}' cannot be placed, the text goes on with '{rest:.20}'."
