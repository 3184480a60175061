"""Files to ids, kept on disc: each file is tokenised once, later runs map what they find."""

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from core.conf import JSON
from core.config import OnBadRow
from core.errors import UserError
from core.types import Row, Spec
from text import store
from text.encoded_rows import EncodedRows
from text.encoder import InputEncoder, InputPlan
from text.ragged import Ragged, taken
from text.readers import SHOWN_BAD_ROWS, RowFile, bad_rows_error, without_blank_end
from text.token_splitter import TokenSplitter
from text.tokenizers import versions
from text.tokens import Tokens

__all__ = ["EncodedRows", "TargetEncoder", "encode_file", "encode_training_file"]

CHUNK = 10_000
"""Rows that are encoded at a time."""
_BLOCK = 1 << 20


class TargetEncoder(Protocol):
    """What encodes the target columns, as one value or one list for each row: a problem."""

    target_columns: list[str]
    group_by: str | None

    def encode(
        self, rows: Sequence[Row], growing: bool, tokens: Mapping[str, Tokens]
    ) -> tuple[dict[str, Any], list[str]]:
        """The values of each column, and one error per row ("" = none), that of the row itself included."""

    def finish(self) -> Mapping[str, np.ndarray]:
        """End of growing: column -> the final id of each provisional one; columns that keep their values are absent."""

    def target_specs(self) -> Mapping[str, Spec]:
        """The spec of each target column, whole once fitted."""

    def state(self) -> Mapping[str, JSON]:
        """What was fitted, as JSON."""

    def restore(self, state: Mapping[str, JSON]) -> None:
        """Fitted as the encoder whose `state` this was."""


def encode_training_file(
    file: RowFile,
    plan: InputPlan,
    target: TargetEncoder,
    cache_dir: Path | None,
    on_bad_row: OnBadRow = "error",
    also: Sequence[RowFile] = (),
) -> tuple[EncodedRows, InputEncoder]:
    """The training rows as ids; vocabularies and `target` are fitted on them in the same pass.

    also        files whose words belong to the vocabularies, too
    cache_dir   where encoded files are kept; None: in a temporary folder, as long as the rows are used
    on_bad_row  "error": a UserError that lists bad rows; "skip": leave them out and count them

    UserError for a file without good rows, and for a disc that does not take the data.
    """
    encoder = InputEncoder(plan)
    _require(file, encoder, target)
    pieces = {cluster: pieces.key for cluster, pieces in encoder.pieces.items()}
    others = [[store.content_key(other.path), other.settings()] for other in also]
    name = _key(file, [plan.state(), plan.extra_words, pieces, *others], target, on_bad_row, cache_dir)
    found = None if cache_dir is None else store.open_store(cache_dir / name)
    if found is not None:
        encoder = InputEncoder.from_state(found.extra["encoder"])
        target.restore(found.extra["target"])
        return _rows(encoder.plan, target, found), encoder
    return _encode(file, encoder, target, cache_dir, name, on_bad_row, growing=True, also=also), encoder


def encode_file(
    file: RowFile,
    encoder: InputEncoder,
    target: TargetEncoder,
    cache_dir: Path | None,
    on_bad_row: OnBadRow = "error",
) -> EncodedRows:
    """The rows of a file as ids, by what was fitted before; arguments and errors as for the training file."""
    _require(file, encoder, target)
    name = _key(file, [encoder.state(), encoder.learn is not None], target, on_bad_row, cache_dir)
    found = None if cache_dir is None else store.open_store(cache_dir / name)
    if found is not None:
        if found.extra["learnt"]:
            assert encoder.learn is not None
            encoder.learn(found.extra["learnt"])
        return _rows(encoder.plan, target, found)
    return _encode(file, encoder, target, cache_dir, name, on_bad_row, growing=False)


def _require(file: RowFile, encoder: InputEncoder, target: TargetEncoder) -> None:
    file.require([*encoder.text_columns, *target.target_columns, *([target.group_by] if target.group_by else [])])


def _key(file: RowFile, inputs: JSON, target: TargetEncoder, on_bad_row: str, cache_dir: Path | None) -> str:
    """Everything that the encoded rows depend on; where nothing is kept, any name does."""
    if cache_dir is None:
        return "encoded"
    kind = type(target)
    wanted = [f"{kind.__module__}.{kind.__qualname__}", target.target_columns, target.group_by, dict(target.state())]
    return store.key("rows", versions(), store.content_key(file.path), file.settings(), inputs, wanted, on_bad_row)


def _encode(
    file: RowFile,
    encoder: InputEncoder,
    target: TargetEncoder,
    cache_dir: Path | None,
    name: str,
    on_bad_row: OnBadRow,
    growing: bool,
    also: Sequence[RowFile] = (),
) -> EncodedRows:
    """Encode into the folder `name` of the cache, or of a temporary folder that goes with the rows."""
    folder = cache_dir or Path(tempfile.mkdtemp(prefix="blocksmith-"))
    try:
        with store.StoreWriter(folder / name) as writer:
            known = 0 if growing or encoder.learn is None else len(encoder.vocabularies["word"])
            skipped = _write(writer, file, encoder, target, on_bad_row, growing)
            if growing:
                for other in also:
                    for _, tokens, errors in _split(other, encoder.splitter):
                        good = np.flatnonzero([not error for error in errors])
                        encoder.ids({column: part.taken(good) for column, part in tokens.items()})
                _finish(writer, file, encoder, target)
            fitted = {"encoder": encoder.state(), "target": dict(target.state())} if growing else {}
            learnt = encoder.vocabularies["word"].words[known:] if known else []
            encoded = _rows(encoder.plan, target, writer.finish({"skipped": skipped, "learnt": learnt, **fitted}))
    except BaseException:
        if cache_dir is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if cache_dir is None:
        weakref.finalize(encoded, shutil.rmtree, folder, True)
    return encoded


def _write(
    writer: store.StoreWriter,
    file: RowFile,
    encoder: InputEncoder,
    target: TargetEncoder,
    on_bad_row: OnBadRow,
    growing: bool,
) -> int:
    """Write the good rows of a file; the number of bad ones."""
    plan = encoder.plan
    bad = done = 0
    first_bad: list[tuple[int, str]] = []
    ends: dict[str, int] = {}
    for rows, tokens, errors in _split(file, encoder.splitter):
        marked = [row._replace(error=error) if error else row for row, error in zip(rows, errors, strict=True)]
        targets, errors = target.encode(marked, growing, tokens)
        good = np.flatnonzero([not error for error in errors])
        lines = np.fromiter((row.number for row in rows), np.int64, len(rows))
        if len(good) < len(rows):
            bad += len(rows) - len(good)
            first_bad += [(row.number, error) for row, error in zip(rows, errors, strict=True) if error]
            del first_bad[SHOWN_BAD_ROWS:]
            tokens = {column: part.taken(good) for column, part in tokens.items()}
            targets = {column: taken(values, good) for column, values in targets.items()}
            lines = lines[good]
        if len(good):
            _append(writer, plan, encoder.ids(tokens), ends)
            writer.append("lines", lines)
            for column, values in targets.items():
                if isinstance(values, Ragged):
                    _append_offsets(writer, f"offsets of target {column}", values, ends)
                    values = values.values
                writer.append(f"target {column}", values)
        done += len(rows)
    if bad and (on_bad_row == "error" or bad == done):
        raise bad_rows_error(file.path, first_bad, bad, bad < done)
    if not done:
        raise UserError(f"{file.path}: has no rows.")
    return bad


def _finish(writer: store.StoreWriter, file: RowFile, encoder: InputEncoder, target: TargetEncoder) -> None:
    """End of growing: final ids in the place of provisional ones."""
    for column, remap in encoder.finish().items():
        _replace(writer, f"{'characters' if encoder.plan.kinds[column] == 'char' else 'values'} {column}", remap)
    try:
        final = target.finish()
    except UserError as error:
        raise UserError(f"{file.path}: {error}") from error
    for column, remap in final.items():
        _replace(writer, f"target {column}", remap)


def _split(file: RowFile, splitter: TokenSplitter) -> Iterator[tuple[list[Row], dict[str, Tokens], list[str]]]:
    """Chunks of rows with their tokens and errors."""
    rows = without_blank_end(file)
    while chunk := list(islice(rows, CHUNK)):
        yield chunk, *splitter.split(chunk)


def _append(writer: store.StoreWriter, plan: InputPlan, columns: Mapping[str, Ragged], ends: dict[str, int]) -> None:
    """Add lists to those already written; `ends` is where each flat array ends so far."""

    for column, ragged in columns.items():
        if plan.words_of[column] == column:
            _append_offsets(writer, f"offsets {column}", ragged, ends)
        if ragged.inner is None:
            writer.append(f"values {column}", ragged.values)
            continue
        words = ends.get(f"number of {column}", 0)
        writer.append(f"values {column}", ragged.values + np.int32(words))
        ends[f"number of {column}"] = words + len(ragged.inner)
        writer.append(f"characters {column}", ragged.inner.values)
        _append_offsets(writer, f"words {column}", ragged.inner, ends)


def _append_offsets(writer: store.StoreWriter, name: str, ragged: Ragged, ends: dict[str, int]) -> None:
    if name not in ends:
        writer.append(name, np.zeros(1, np.int64))
    writer.append(name, ragged.offsets[1:] + ends.get(name, 0))
    ends[name] = ends.get(name, 0) + int(ragged.offsets[-1])


def _replace(writer: store.StoreWriter, name: str, remap: np.ndarray) -> None:
    """Put final ids in the place of provisional ones."""
    values = writer.writable(name)
    for start in range(0, len(values), _BLOCK):
        values[start : start + _BLOCK] = remap[values[start : start + _BLOCK]]


def _rows(plan: InputPlan, target: TargetEncoder, stored: store.Stored) -> EncodedRows:
    arrays = stored.arrays
    columns = {}
    for column, words in plan.words_of.items():
        inner = None
        if f"characters {column}" in arrays:
            inner = Ragged(arrays[f"characters {column}"], arrays[f"words {column}"])
        columns[column] = Ragged(arrays[f"values {column}"], arrays[f"offsets {words}"], inner)
    targets: dict[str, Any] = {}
    for name, values in arrays.items():
        if name.startswith("target "):
            offsets = arrays.get(f"offsets of {name}")
            targets[name.removeprefix("target ")] = values if offsets is None else Ragged(values, offsets)
    skipped, specs = stored.extra["skipped"], target.target_specs()
    return EncodedRows(plan, columns, targets, arrays["lines"], skipped, specs=specs)
