"""How texts become what a pretrained encoder reads: cut to its room, with the pieces around them that it expects."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from core.types import Features

Cut = Literal["longest_first", "first", "second"]
"""Which of two texts is cut where they are too long: the longer one, piece by piece, or always the same."""


def frame(
    texts: Sequence[Features], around: Sequence[Tensor], room: int, padding: int, cut: Cut = "longest_first"
) -> tuple[Features, list[tuple[Features, Tensor]]]:
    """All pieces as the encoder reads them, with the number of the text of each (part `segments`); and each text
    without what is cut of it, with the places where its pieces stand there.

    around   the ids before the first text and behind each
    room     pieces that one text has, or two have together, at most
    padding  the id of padding
    """
    rows = len(texts[0].values)
    masks = [text.real_mask() for text in texts]
    host = kept_lengths([text.host_lengths() for text in texts], room, cut)
    kept = [
        mask & (torch.arange(mask.shape[1], device=mask.device) < length.unsqueeze(-1))
        for mask, length in zip(masks, kept_lengths([mask.sum(1) for mask in masks], room, cut), strict=True)
    ]
    beside = [ids.expand(rows, -1) for ids in around]
    columns, real = [beside[0]], [torch.ones_like(beside[0], dtype=torch.bool)]
    for text, mask, ids in zip(texts, kept, beside[1:], strict=True):
        columns += [text.values, ids]
        real += [mask, torch.ones_like(ids, dtype=torch.bool)]
    segments = [torch.full_like(ids, at > 2) for at, ids in enumerate(columns)]
    lengths = sum(host) + sum(map(len, around))
    assert isinstance(lengths, Tensor)
    size = int(lengths.max())
    real_BS = torch.cat(real, 1)
    order_BT = (~real_BS).to(torch.uint8).argsort(dim=1, stable=True)[:, :size]
    mask_BT = None if bool((lengths == size).all()) else real_BS.gather(1, order_BT)
    ids_BT = torch.cat(columns, 1).gather(1, order_BT)
    if mask_BT is not None:
        ids_BT = ids_BT.masked_fill(~mask_BT, padding)
    place_BS = real_BS.cumsum(1) - 1
    sizes = [ids.shape[1] for ids in columns]
    read = [
        text if torch.equal(length, text.host_lengths()) else replace(text, mask=mask, lengths=length)
        for text, mask, length in zip(texts, kept, host, strict=True)
    ]
    places = list(zip(read, torch.split(place_BS, sizes, 1)[1::2], strict=True))
    return Features(ids_BT, mask_BT, lengths, {"segments": torch.cat(segments, 1).gather(1, order_BT)}), places


def kept_lengths(lengths: Sequence[Tensor], room: int, cut: Cut) -> list[Tensor]:
    """How many pieces stay of one text, or of each of two, where there is room for so many."""
    if len(lengths) == 1:
        return [lengths[0].clamp(max=room)]
    first_B, second_B = lengths
    stays = {"first": room, "second": 0}.get(cut, room // 2)  # at least of the second, if long
    first_B = torch.minimum(first_B, room - second_B.clamp(max=stays))
    return [first_B, torch.minimum(second_B, room - first_B)]


def first_pieces(text: Features, place_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each word of a text (part `words`) where its first piece stands, whether that was not cut, and its mask_BW."""
    kept_BT = text.real_mask()
    first_BW, behind_BW = text.parts["words"].unbind(-1)
    at_BW = first_BW.clamp(max=kept_BT.shape[1] - 1)
    return place_BT.gather(1, at_BW), kept_BT.gather(1, at_BW), behind_BW > first_BW


def states_at(states_BSD: Tensor, place_BT: Tensor) -> Tensor:
    """The states at these places (B x T x D); any where a place is not one.

    A look-up, since it copies whole vectors where `gather` walks over their numbers.
    """
    rows, size = states_BSD.shape[:2]
    firsts_B1 = torch.arange(rows, device=states_BSD.device).unsqueeze(1) * size
    return F.embedding(firsts_B1 + place_BT.clamp(0, size - 1), states_BSD.flatten(0, 1))
