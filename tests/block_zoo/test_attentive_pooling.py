from typing import Any

import pytest
import torch
from torch import nn

from block_zoo import AttentivePooling
from block_zoo.masking import length_mask
from core.types import Features, Spec

TEXT = Spec("BTD", {"D": 6})
LENGTHS_T, LENGTHS_S = torch.tensor([3, 5, 1]), torch.tensor([2, 1, 6])
MASK_T = length_mask(LENGTHS_T, 5)
MASK_BTS = MASK_T[:, :, None] & length_mask(LENGTHS_S, 6)[:, None]


def text() -> Features:
    return Features(torch.randn(3, 5, 6), MASK_T, LENGTHS_T)


@pytest.mark.parametrize("heads", [1, 2, 6])
def test_attentive_pooling_equals_the_attention_of_torch_to_one_query(heads):
    block: Any = AttentivePooling.Conf(num_heads=heads).build(TEXT)
    inputs, query = text(), torch.randn(6)
    theirs = nn.MultiheadAttention(6, heads, batch_first=True)
    with torch.no_grad():
        (q, k, v), eye = theirs.in_proj_weight.chunk(3), torch.eye(6)
        q.copy_(eye)
        v.copy_(block.value.weight)
        theirs.in_proj_bias.zero_()
        theirs.in_proj_bias[12:].copy_(block.value.bias)
        theirs.out_proj.weight.copy_(eye)
        theirs.out_proj.bias.zero_()
        # The query of each head reads its share of the projected keys.
        block.query.weight.copy_(
            torch.stack([part @ w for part, w in zip(query.chunk(heads), k.chunk(heads), strict=True)])
        )
    expected, _ = theirs(query.expand(3, 1, 6), inputs.values, inputs.values, key_padding_mask=~MASK_T)
    torch.testing.assert_close(block(inputs).values, expected[:, 0])


@pytest.mark.parametrize("axis", [1, 2])
def test_attentive_pooling_of_a_grid_pools_each_of_its_texts(axis):
    spec = Spec("BTSD", {"D": 6})
    values = torch.randn(3, 5, 6, 6)
    block: Any = AttentivePooling.Conf(num_heads=3, pool_axis=axis).build(spec)
    line: Any = AttentivePooling.Conf(num_heads=3).build(TEXT)
    line.load_state_dict(block.state_dict())
    output = block(Features(values, MASK_BTS))
    for row, (t, s) in enumerate(zip(LENGTHS_T.tolist(), LENGTHS_S.tolist(), strict=True)):
        real = values[row, :t, :s]
        expected = line(Features(real if axis == 2 else real.transpose(0, 1))).values
        torch.testing.assert_close(output.values[row, : len(expected)], expected)
        assert output.mask[row].sum() == len(expected)


def test_attentive_pooling_refuses_what_it_cannot_pool():
    with pytest.raises(ValueError, match="axis 2 .* must hold tokens in B x T x 6"):
        AttentivePooling.Conf(pool_axis=2).output_spec(TEXT)
    with pytest.raises(ValueError, match="6 features among 4 heads"):
        AttentivePooling.Conf(num_heads=4).output_spec(TEXT)
