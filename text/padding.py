"""Lists of different length to rectangles: the only place that pads, always on the right, always with 0."""

import numpy as np

from text.ragged import Ragged

Part = tuple[np.ndarray, int]
"""Of each row the first item, and how many items at most."""


def pad(
    ragged: Ragged, rows: np.ndarray, size: int | None = None, part: Part | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """int64 ids B x T and the mask (True = real) of these rows; T = the longest, or `size` by cutting and padding."""
    starts, lengths = _spans(ragged, rows)
    if part is not None:
        firsts, limit = part
        starts, lengths = starts + firsts, np.minimum(lengths - firsts, limit)
    return _rectangle(ragged, starts, lengths, size)


def pad_inner(
    ragged: Ragged,
    rows: np.ndarray,
    size: int | None = None,
    inner_size: int | None = None,
    part: Part | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """int64 ids B x T x K of the inner lists of these rows, and their mask; padding items have no inner list."""
    assert ragged.inner is not None
    items_BT, mask_BT = pad(ragged, rows, size, part)
    starts_BT, lengths_BT = _spans(ragged.inner, items_BT)
    return _rectangle(ragged.inner, starts_BT, lengths_BT * mask_BT, inner_size)


def pad_vectors(values: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """B x T x ... and the mask (True = real) of these rows, whose items begin at `offsets` of `values`."""
    starts, lengths = offsets[rows], offsets[rows + 1] - offsets[rows]
    steps = np.arange(lengths.max(initial=0))
    mask = steps < lengths[:, None]
    padded = np.zeros((*mask.shape, *values.shape[1:]), values.dtype)
    padded[mask] = values[(starts[:, None] + steps)[mask]]
    return padded, mask


def pad_maps(values: np.ndarray, offsets: np.ndarray, heads: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """B x A x T x T of these rows, whose A maps of L x L begin at `offsets` of `values`; the mask of their tokens."""
    starts, sizes = offsets[rows], offsets[rows + 1] - offsets[rows]
    lengths = np.sqrt(sizes // heads).round().astype(np.int64)
    steps = np.arange(lengths.max(initial=0))
    mask = steps < lengths[:, None]
    real = np.broadcast_to((mask[:, :, None] & mask[:, None])[:, None], (len(rows), heads, len(steps), len(steps)))
    head, token = np.arange(heads)[:, None, None], steps[:, None]
    lengths = lengths[:, None, None, None]
    index = starts[:, None, None, None] + (head * lengths + token) * lengths + steps
    padded = np.zeros(real.shape, values.dtype)
    padded[real] = values[index[real]]
    return padded, mask


def _spans(ragged: Ragged, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    starts = ragged.offsets[rows]
    return starts, ragged.offsets[rows + 1] - starts


def _rectangle(
    ragged: Ragged, starts: np.ndarray, lengths: np.ndarray, size: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """The spans as one more axis."""
    steps = np.arange(lengths.max(initial=0) if size is None else size)
    mask = steps < lengths[..., None]
    if not len(ragged.values):
        return np.zeros(mask.shape, np.int64), mask
    index = (starts[..., None] + steps) * mask
    return ragged.values[index] * mask.astype(np.int64), mask
