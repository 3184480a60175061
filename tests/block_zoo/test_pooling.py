from typing import Any

import pytest
import torch

from block_zoo import Pooling
from block_zoo.masking import length_mask, masked_softmax
from core.types import Features, Spec

LENGTHS = torch.tensor([3, 5, 1])


@pytest.mark.parametrize("pool_type", ["max", "mean", "sum"])
def test_pooling_over_tokens_equals_a_loop_over_texts(pool_type):
    # All negative: a zero of the padding would win every maximum.
    values = -torch.rand(3, 5, 4) - 1
    block = Pooling.Conf(pool_type=pool_type).build(Spec("BTD", {"D": 4}))
    texts = [values[row, :length] for row, length in enumerate(LENGTHS.tolist())]
    pool: Any = {"max": torch.amax, "mean": torch.mean, "sum": torch.sum}[pool_type]
    expected = torch.stack([pool(text, 0) for text in texts])
    torch.testing.assert_close(block(Features(values, length_mask(LENGTHS, 5), LENGTHS)).values, expected)


@pytest.mark.parametrize("axis", [1, 2])
def test_pooling_of_a_matrix_sees_real_pairs_only(axis):
    lengths_S = torch.tensor([2, 4, 3])
    mask_BTS = length_mask(LENGTHS, 5)[:, :, None] & length_mask(lengths_S, 4)[:, None]
    values = -torch.rand(3, 5, 4, 2) - 1
    spec = Spec("BTSD", {"D": 2})
    output = Pooling.Conf(pool_axis=axis).build(spec)(Features(values, mask_BTS, LENGTHS))
    for row, (t, s) in enumerate(zip(LENGTHS.tolist(), lengths_S.tolist(), strict=True)):
        expected = values[row, :t, :s].amax(axis - 1)
        torch.testing.assert_close(output.values[row, : len(expected)], expected)
        assert output.mask is not None and output.mask[row].sum() == len(expected)


def test_pooling_over_an_axis_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"axis 3 .* but the input is B x T x 4"):
        Pooling.Conf(pool_axis=3).output_spec(Spec("BTD", {"D": 4}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_masked_softmax_adds_up_to_one_over_what_is_real_and_is_zero_where_nothing_is(dtype):
    mask = torch.tensor([[True, True, False], [False, False, False]])
    weights = masked_softmax(torch.tensor([[1.0, 1.0, 9.0], [1.0, 2.0, 3.0]], dtype=dtype), mask)
    assert weights.dtype == dtype
    assert weights.tolist() == [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]
