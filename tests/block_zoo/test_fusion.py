from typing import Any

import pytest
import torch
import torch.nn.functional as F

from block_zoo import Fusion
from core.types import Features, Spec


def test_fusion_equals_the_equations():
    text = Spec("BTD", {"D": 4})
    block: Any = Fusion.Conf(hidden_dim=3).build(text, text)
    x, y = torch.randn(2, 5, 4), torch.randn(2, 5, 4)
    (w1, b1), (w2, b2), (w3, b3) = ((layer.weight, layer.bias) for layer in block.compare)
    joined = torch.cat(
        [
            F.gelu(x @ w1[:, :4].T + y @ w1[:, 4:].T + b1),
            F.gelu(x @ w2[:, :4].T + (x - y) @ w2[:, 4:].T + b2),
            F.gelu(x @ w3[:, :4].T + (x * y) @ w3[:, 4:].T + b3),
        ],
        -1,
    )
    expected = F.gelu(joined @ block.join.weight.T + block.join.bias)
    torch.testing.assert_close(block(Features(x), Features(y)).values, expected)


def test_fusion_refuses_inputs_of_different_size():
    with pytest.raises(ValueError, match="same size D, but they are B x T x 4 and B x T x 5"):
        Fusion.Conf().output_spec(Spec("BTD", {"D": 4}), Spec("BTD", {"D": 5}))
