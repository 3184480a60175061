"""Dropout on a CPU, where torch draws masks number by number, in an eighth of the time that an encoder trains."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

CHANCES = 1 << 16
"""Probabilities are multiples of 1 / CHANCES."""


class QuickDropout(TorchFunctionMode):
    """Within it, dropout of tensors on a CPU draws the masks of four numbers at once, as one integer of 64 bits.

    So does that of attention, which is computed in its parts, as torch does there too. Other devices go their own way.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        own: Callable[..., Any] = func
        if func is F.dropout:
            own = dropout
        elif func is F.scaled_dot_product_attention:
            own = attention
        return own(*args, **(kwargs or {}))


def dropout(values: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """F.dropout. What is kept is divided by the probability of it, as rounded, so that the mean stays."""
    dropped, size = round(p * CHANCES), values.numel()
    if not training or inplace or not 0 < dropped < CHANCES or values.device.type != "cpu":
        return F.dropout(values, p, training, inplace)
    drawn = torch.empty(-(-size // 4), dtype=torch.int64).random_(-(1 << 63), None).view(torch.int16)
    kept = torch.empty(values.shape, dtype=values.dtype)
    torch.ge(drawn[:size].view(values.shape), dropped - CHANCES // 2, out=kept)  # no mask of bool in between
    return values * kept.mul_(CHANCES / (CHANCES - dropped))


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """F.scaled_dot_product_attention; a query that may attend to nothing attends to all alike."""
    if not dropout_p or is_causal or enable_gqa or query.device.type != "cpu":
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.transpose(-1, -2)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, torch.finfo(scores.dtype).min)
    elif attn_mask is not None:
        scores = scores + attn_mask
    return dropout(scores.softmax(-1), dropout_p) @ value
