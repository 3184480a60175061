import math

import pytest
import torch

from block_zoo import Interaction, KernelPooling
from block_zoo.masking import length_mask
from core.types import Features, Spec

LENGTHS_T, LENGTHS_S = torch.tensor([3, 5, 1]), torch.tensor([2, 1, 6])
MASK_BTS = length_mask(LENGTHS_T, 5)[:, :, None] & length_mask(LENGTHS_S, 6)[:, None]
SCORES = Spec("BTS")


def test_kernels_equal_the_equations_on_each_pair_of_texts():
    cosines = torch.rand(3, 5, 6) * 2 - 1
    values = KernelPooling.Conf(scale=1.0).build(SCORES)(Features(cosines, MASK_BTS)).values
    means = [1.0, 0.9, 0.7, 0.5, 0.3, 0.1, -0.1, -0.3, -0.5, -0.7, -0.9]
    for row, (t, s) in enumerate(zip(LENGTHS_T.tolist(), LENGTHS_S.tolist(), strict=True)):
        for kernel, mean in enumerate(means):
            sigma = 0.001 if kernel == 0 else 0.1
            expected = 0.0
            for i in range(t):
                count = sum(math.exp(-((float(cosines[row, i, j]) - mean) ** 2) / (2 * sigma**2)) for j in range(s))
                expected += math.log(max(count, 1e-10))
            assert values[row, kernel].item() == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_the_first_kernel_counts_equal_tokens():
    words = torch.eye(4)
    x, y = Features(words[None, [0, 1, 1]]), Features(words[None, [0, 1, 1, 2]])
    text = Spec("BTD", {"D": 4})
    for dtype in (torch.float32, torch.bfloat16):
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
            grid = Interaction.Conf(matching_type="cos").build(text, text)(x, y)
            values = KernelPooling.Conf(scale=1.0).build(Spec("BTSD", {"D": 1}))(grid).values
        assert values[0, 0].item() == pytest.approx(math.log(1) + 2 * math.log(2))


def test_equal_tokens_have_the_cosine_1_in_mixed_precision():
    text = Spec("BTD", {"D": 50})
    x = Features(torch.randn(2, 3, 50))
    with torch.autocast("cpu", torch.bfloat16):
        grid = Interaction.Conf(matching_type="cos").build(text, text)(x, x).values
    torch.testing.assert_close(grid[..., 0].diagonal(dim1=1, dim2=2), torch.ones(2, 3))


def test_zero_vectors_have_the_cosine_0_and_no_gradient():
    text = Spec("BTD", {"D": 4})
    x = torch.zeros(1, 2, 4, requires_grad=True)
    grid = Interaction.Conf(matching_type="cos").build(text, text)(Features(x), Features(torch.randn(1, 3, 4))).values
    grid.sum().backward()
    assert x.grad is not None and not x.grad.any() and not grid.any()


def test_more_than_one_feature_is_refused():
    with pytest.raises(ValueError, match="one similarity for each pair of tokens, but the input is B x T x S x 3"):
        KernelPooling.Conf().output_spec(Spec("BTSD", {"D": 3}))
