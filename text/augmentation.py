"""Rows made of others, which teachers answer: words masked or replaced, a few words in a row, other pairs of texts."""

import json
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from itertools import pairwise
from pathlib import Path

import numpy as np

import core.conf
from core.config import AugmentationConf
from core.errors import UserError
from core.files import written_aside
from core.seeding import generator
from text import store
from text.alignment import character_spans
from text.ragged import Ragged
from text.readers import RowFile
from text.tokenizers import Split, tokenizer, versions

CHUNK = 2_000
"""Rows of which others are made at a time."""
TAGGER = "textblob>=0.19,<1"


def augmented_file(
    conf: AugmentationConf,
    sources: Sequence[tuple[RowFile, np.ndarray]],
    held_out: Sequence[RowFile],
    columns: Sequence[str],
    split: str,
    cache_dir: Path | None,
) -> RowFile:
    """A file with the rows that are made of others: found, or made now.

    No row stands twice among them and the sources, nor in `held_out`, letter case and space aside; of a source that
    stands there nothing is made.
    sources    files, each with the lines of those of its rows that are used
    held_out   files that nobody may learn from
    columns    those of the texts
    split      the tokenizer that says what a word is
    cache_dir  where the file is kept; None: in a temporary folder, as long as it is used

    UserError where no row can be made, and where the parts of speech are not known.
    """
    of_sources = [[_key(file), sha256(lines.tobytes()).hexdigest()] for file, lines in sources]
    settings = [core.conf.to_json(conf), split, versions(), list(columns)]
    name = f"{store.key('augmented', settings, of_sources, [_key(file) for file in held_out])}.jsonl"
    folder = cache_dir or Path(tempfile.mkdtemp(prefix="blocksmith-"))
    path = folder / name
    try:
        if not path.exists():
            _write(path, conf, sources, held_out, columns, tokenizer(split))
        made = RowFile(path, {}, format="jsonl")
    except BaseException:
        if cache_dir is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if cache_dir is None:
        weakref.finalize(made, shutil.rmtree, folder, True)
    return made


def _key(file: RowFile) -> list[object]:
    return [store.content_key(file.path), file.settings()]


def _write(
    path: Path,
    conf: AugmentationConf,
    sources: Sequence[tuple[RowFile, np.ndarray]],
    held_out: Sequence[RowFile],
    columns: Sequence[str],
    split: Split,
) -> None:
    """Write the rows that are made, each once."""
    forbidden = {_hash(texts) for file in held_out for _, texts in _texts(file, columns)}
    rows = []
    for file, lines in sources:
        used = set(lines.tolist())
        rows += [texts for line, texts in _texts(file, columns) if line in used]
    seen = forbidden | {_hash(texts) for texts in rows}
    alike = _alike(rows, columns)
    words = Words()
    split_texts = [words.of(split, [row[places[0]] for row in rows]) for places in alike]
    is_source = np.array([_hash(texts) not in forbidden for texts in rows])
    for column in split_texts:
        is_source &= column.ids.lengths > 0
    maker = Maker(conf, words, split_texts, np.flatnonzero(is_source))
    with written_aside(path) as aside, aside.open("w", encoding="utf-8") as out:
        count = len(seen)
        for made in maker.rows():
            texts = [""] * len(columns)
            for text, places in zip(made, alike, strict=True):
                for place in places:
                    texts[place] = text
            if (key := _hash(texts)) not in seen:
                seen.add(key)
                out.write(f"{json.dumps(dict(zip(columns, texts, strict=True)), ensure_ascii=False)}\n")
        if len(seen) == count:
            raise UserError(
                "inputs.augmentation: makes no row that is not there already. Raise mask, replace or ngram."
            )


def _texts(file: RowFile, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Line and texts of each good row."""
    return ((row.number, [row.cells.get(column, "") for column in columns]) for row in file if not row.error)


def _alike(rows: Sequence[Sequence[str]], columns: Sequence[str]) -> list[list[int]]:
    """The places of the columns, those together whose texts are the same in every row: one may be a copy."""
    places: list[list[int]] = []
    for place in range(len(columns)):
        twin = next((known for known in places if all(row[known[0]] == row[place] for row in rows)), None)
        if twin is None:
            places.append([place])
        else:
            twin.append(place)
    return places


def _hash(texts: Sequence[str]) -> int:
    """A number for the texts of a row, without letter case and space."""
    plain = "\n".join("".join(text.split()).casefold() for text in texts)
    return int.from_bytes(blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


@dataclass(frozen=True)
class SplitTexts:
    """N texts as words: their ids, and for each word whether a space stands before it."""

    ids: Ragged
    spaced: np.ndarray

    def taken(self, rows: np.ndarray) -> "SplitTexts":
        """These texts, in this order."""
        return SplitTexts(self.ids.taken(rows), self.ids.with_values(self.spaced).taken(rows).values)


class Words:
    """Words with ids in the order in which they came."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}

    def of(self, split: Split, texts: Iterable[str]) -> SplitTexts:
        """Texts as words, spelled as they stand there; a text that cannot be split has none."""
        ids, spaced, lengths = [], [], []
        for text in texts:
            try:
                starts, ends = character_spans(text, text, split(text))
            except ValueError:
                starts, ends = np.zeros((2, 0), np.int32)
            found = [text[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
            ids += [self.ids.setdefault(word, len(self.ids)) for word in found]
            spaced.append(np.append(True, starts[1:] > ends[:-1])[: len(found)])
            lengths.append(len(found))
        return SplitTexts(Ragged.of_lengths(np.array(ids, np.int32), np.array(lengths)), np.concatenate(spaced))


class Maker:
    """Makes rows of others.

    texts    of each column
    sources  the rows that may be used
    """

    def __init__(self, conf: AugmentationConf, words: Words, texts: Sequence[SplitTexts], sources: np.ndarray) -> None:
        self.conf, self.texts, self.sources = conf, texts, sources
        self.random = generator(conf.seed)
        counts_V = np.zeros(len(words.ids), np.int64)
        for text in texts:
            counts_V += np.bincount(text.taken(sources).ids.values, minlength=len(counts_V))
        self.draw = _substitutes(list(words.ids), counts_V, self.random) if conf.replace else None
        self.mask = words.ids.setdefault(conf.mask_word, len(words.ids))
        self.forms = [*words.ids, *(f" {word}" for word in words.ids)]

    def rows(self) -> Iterator[tuple[str, ...]]:
        """The texts of each row that is made; some come twice."""
        count, copies = len(self.texts), self.conf.copies
        for start in range(0, len(self.sources), CHUNK):
            rows_M = np.repeat(self.sources[start : start + CHUNK], copies)
            turn_M = np.tile(np.arange(copies) % (count + 1), len(rows_M) // copies)
            columns = []
            for place, text in enumerate(self.texts):
                rows = rows_M
                if count > 1 and place == count - 1 and self.conf.recombine:
                    others_M = self.random.choice(self.sources, len(rows))
                    rows = np.where(self.random.random(len(rows)) < self.conf.recombine, others_M, rows)
                is_changed_M = np.isin(turn_M, (place, count)) if count > 1 else np.ones(len(rows), bool)
                columns.append(self._joined(self._cut(self._changed(text.taken(rows), is_changed_M), is_changed_M)))
            yield from zip(*columns, strict=True)

    def _changed(self, text: SplitTexts, is_changed_M: np.ndarray) -> SplitTexts:
        """Words masked or replaced, with a space on both sides of them."""
        ids = text.ids.values.copy()
        chance = np.where(np.repeat(is_changed_M, text.ids.lengths), self.random.random(len(ids)), 1.0)
        masked, touched = chance < self.conf.mask, chance < self.conf.mask + self.conf.replace
        ids[masked] = self.mask
        if self.draw is not None:
            ids[touched & ~masked] = self.draw(ids[touched & ~masked])
        return SplitTexts(text.ids.with_values(ids), text.spaced | touched | np.append(False, touched[:-1]))

    def _cut(self, text: SplitTexts, is_changed_M: np.ndarray) -> SplitTexts:
        """Of some texts only a few words in a row."""
        lengths, random = text.ids.lengths, self.random
        is_cut_M = is_changed_M & (random.random(len(lengths)) < self.conf.ngram)
        kept_M = np.minimum(lengths, random.integers(1, self.conf.longest_ngram + 1, len(lengths)))
        first_M = random.integers(0, lengths - kept_M + 1)
        first_M, kept_M = np.where(is_cut_M, first_M, 0), np.where(is_cut_M, kept_M, lengths)
        steps = np.arange(len(text.spaced)) - np.repeat(text.ids.offsets[:-1] + first_M, lengths)
        kept = (steps >= 0) & (steps < np.repeat(kept_M, lengths))
        return SplitTexts(Ragged.of_lengths(text.ids.values[kept], kept_M), text.spaced[kept])

    def _joined(self, text: SplitTexts) -> list[str]:
        spaced = text.spaced & ~text.ids.firsts
        forms = [self.forms[form] for form in (text.ids.values + spaced * (len(self.forms) // 2)).tolist()]
        return ["".join(forms[start:end]) for start, end in pairwise(text.ids.offsets.tolist())]


def _substitutes(
    words: Sequence[str], counts_V: np.ndarray, random: np.random.Generator
) -> Callable[[np.ndarray], np.ndarray]:
    """What draws for each of some words one of the same part of speech, by how often words stand in the rows."""
    tags = _parts_of_speech(words)
    numbers: Mapping[str, int] = {tag: number for number, tag in enumerate(dict.fromkeys(tags))}
    tags_V = np.array([numbers[tag] for tag in tags])
    order_V = np.argsort(tags_V, kind="stable")
    ends_V = np.cumsum(counts_V[order_V])
    totals = np.bincount(tags_V, counts_V, len(numbers))
    last = np.cumsum(totals)

    def draw(ids: np.ndarray) -> np.ndarray:
        tag = tags_V[ids]
        at = (last - totals)[tag] + random.random(len(ids)) * totals[tag]
        drawn: np.ndarray = order_V[np.searchsorted(ends_V, np.floor(at), side="right")]
        return drawn

    return draw


def _parts_of_speech(words: Sequence[str]) -> list[str]:
    """The most frequent part of speech of each English word, as a tag of the Penn Treebank."""
    try:
        from textblob.en import parser  # late: only who asks for it pays
    except ImportError:
        sentence = f"the parts of speech of textblob are not installed. Use: pip install '{TAGGER}', or set it to 0."
        raise UserError(f"inputs.augmentation.replace: {sentence}") from None
    return [parser.find_tags([word])[0][1] for word in words]
