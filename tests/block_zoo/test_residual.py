from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from block_zoo import Gate, Residual
from block_zoo.masking import length_mask
from core.types import Features, Spec

VECTOR = Spec("BD", {"D": 6})
TEXT = Spec("BTD", {"D": 6})
LENGTHS = torch.tensor([3, 5, 1])
MASK = length_mask(LENGTHS, 5)


def text() -> Features:
    return Features(torch.randn(3, 5, 6), MASK, LENGTHS)


def test_residual_adds_what_came_in():
    x, f = text(), text()
    output = Residual.Conf().build(TEXT, TEXT)(x, f)
    torch.testing.assert_close(output.values[MASK], (x.values + f.values)[MASK])
    assert output.mask is x.mask and not output.values[~MASK].any()


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_residual_with_projection_and_layer_norm(norm):
    block: Any = Residual.Conf(projection=True, layer_norm=norm).build(Spec("BD", {"D": 4}), VECTOR)
    x, f = torch.randn(3, 4), torch.randn(3, 6)
    output = block(Features(x), Features(f)).values
    projected = x @ block.project.weight.T
    expected = projected + F.layer_norm(f, (6,)) if norm == "pre" else F.layer_norm(projected + f, (6,))
    torch.testing.assert_close(output, expected)


def test_residual_refuses_inputs_of_different_size_without_a_projection():
    with pytest.raises(ValueError, match="or projection true, but they are B x 4 and B x 6"):
        Residual.Conf().output_spec(Spec("BD", {"D": 4}), VECTOR)


def test_gate_mixes_its_inputs():
    block: Any = Gate.Conf().build(VECTOR, VECTOR)
    x, y = torch.randn(3, 6), torch.randn(3, 6)
    gate = F.linear(torch.cat([x, y], 1), block.gate.weight, block.gate.bias).sigmoid()
    torch.testing.assert_close(block(Features(x), Features(y)).values, gate * x + (1 - gate) * y)
    nn.init.constant_(block.gate.bias, 50.0)
    torch.testing.assert_close(block(Features(x), Features(y)).values, x)
    nn.init.constant_(block.gate.bias, -50.0)
    torch.testing.assert_close(block(Features(x), Features(y)).values, y)
