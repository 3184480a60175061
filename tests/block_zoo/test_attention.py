from typing import Any

import pytest
import torch

from block_zoo import Attention, LinearAttention, MatchAttention
from block_zoo.masking import length_mask
from core.types import Features, Spec

SPEC = Spec("BTD", {"D": 4})
LENGTHS_T, LENGTHS_S = torch.tensor([3, 5, 1]), torch.tensor([2, 1, 6])


def pair() -> tuple[Features, Features]:
    x = Features(torch.randn(3, 5, 4), length_mask(LENGTHS_T, 5), LENGTHS_T)
    return x, Features(torch.randn(3, 6, 4), length_mask(LENGTHS_S, 6), LENGTHS_S)


@pytest.mark.parametrize("conf", [Attention.Conf(), MatchAttention.Conf(), MatchAttention.Conf(activation=None)])
def test_attention_equals_a_loop_over_tokens(conf):
    block: Any = conf.build(SPEC, SPEC)
    x, y = pair()
    project = getattr(block, "project", torch.nn.Identity())
    output = block(x, y)
    assert output.mask is x.mask and output.lengths is x.lengths
    for row in range(3):
        for t in range(int(LENGTHS_T[row])):
            theirs = y.values[row, : int(LENGTHS_S[row])]
            scores = torch.stack([project(x.values[row, t]) @ project(token) for token in theirs])
            torch.testing.assert_close(output.values[row, t], scores.softmax(0) @ theirs)


def test_attention_to_other_states_of_a_text_has_the_weights_of_its_own():
    x, y = pair()
    z = y.with_values(torch.randn(3, 6, 2))
    block = Attention.Conf().build(SPEC, SPEC, Spec("BTD", {"D": 2}))
    weights = Attention.Conf().build(SPEC, SPEC)(x, y).parts["attention"]
    torch.testing.assert_close(block(x, y, z).values, weights @ z.values)


def test_match_attention_projects_both_texts_with_one_activation():
    block: Any = MatchAttention.Conf().build(SPEC, SPEC)
    x = torch.randn(2, 4)
    torch.testing.assert_close(block.project(x), (x @ block.project[0].weight.T + block.project[0].bias).relu())


@pytest.mark.parametrize("hidden", [None, 3])
@pytest.mark.parametrize("keep_dim", [False, True])
def test_linear_attention_equals_a_loop_over_texts(hidden, keep_dim):
    block: Any = LinearAttention.Conf(attention_weight_dim=hidden, keep_dim=keep_dim).build(SPEC)
    x, _ = pair()
    output = block(x)
    for row, length in enumerate(LENGTHS_T.tolist()):
        text = x.values[row, :length]
        if hidden is None:
            scores = text @ block.score[0].weight[0]
        else:
            scores = (text @ block.score[0].weight.T + block.score[0].bias).tanh() @ block.score[2].weight[0]
        weighted = text * scores.softmax(0)[:, None]
        torch.testing.assert_close(
            output.values[row, :length] if keep_dim else output.values[row], weighted if keep_dim else weighted.sum(0)
        )
        assert output.parts["attention"][row].sum().item() == pytest.approx(1)


def test_attention_refuses_texts_of_different_size():
    with pytest.raises(ValueError, match="same size D, but they are B x T x 4 and B x T x 5"):
        Attention.Conf().output_spec(SPEC, Spec("BTD", {"D": 5}))
