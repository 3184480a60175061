from typing import Any

import pytest
import torch

from block_zoo import BLOCKS, BiAttFlow, BilinearAttention, FullAttention, MatrixMultiply, Seq2SeqAttention
from block_zoo.masking import length_mask
from core.errors import UserError
from core.types import Features, Spec

TEXT = Spec("BTD", {"D": 4})
LENGTHS_T, LENGTHS_S = torch.tensor([3, 5, 1]), torch.tensor([2, 1, 6])
MASK_T, MASK_S = length_mask(LENGTHS_T, 5), length_mask(LENGTHS_S, 6)


def x_text(dim: int = 4) -> Features:
    return Features(torch.randn(3, 5, dim), MASK_T, LENGTHS_T)


def y_text(dim: int = 4) -> Features:
    return Features(torch.randn(3, 6, dim), MASK_S, LENGTHS_S)


def rows() -> list[tuple[int, int, int]]:
    """Row and its real lengths."""
    return list(zip(range(3), LENGTHS_T.tolist(), LENGTHS_S.tolist(), strict=True))


def test_bilinear_attention_equals_a_loop_over_tokens():
    block: Any = BilinearAttention.Conf().build(TEXT, Spec("BD", {"D": 3}))
    x, vector = x_text(), torch.randn(3, 3)
    output = block(x, Features(vector))
    assert output.mask is x.mask and output.lengths is x.lengths
    for row, t, _ in rows():
        scores = torch.stack([token @ block.project.weight @ vector[row] for token in x.values[row, :t]])
        torch.testing.assert_close(output.values[row, :t, 0], scores)
        torch.testing.assert_close(output.parts["attention"][row, :t], scores.softmax(0))


@pytest.mark.parametrize("activation", ["ReLU", None])
def test_full_attention_equals_a_loop_over_tokens(activation):
    conf = FullAttention.Conf(hidden_dim=6, activation=activation)
    block: Any = conf.build(TEXT, Spec("BTD", {"D": 2}), Spec("BTD", {"D": 7}), Spec("BTD", {"D": 7}))
    torch.nn.init.normal_(block.diagonal)
    x, y, x_history, y_history = x_text(), y_text(2), x_text(7), y_text(7)
    output = block(x, y, x_history, y_history)
    weight = block.project[0].weight

    def key(token: torch.Tensor) -> torch.Tensor:
        return (weight @ token).relu() if activation else weight @ token

    for row, t, s in rows():
        for i in range(t):
            ours = key(x_history.values[row, i])
            scores = [ours @ block.diagonal.diag() @ key(token) for token in y_history.values[row, :s]]
            attention = torch.stack(scores).softmax(0)
            torch.testing.assert_close(output.values[row, i], attention @ y.values[row, :s])


def test_full_attention_is_symmetric_in_the_histories():
    block: Any = FullAttention.Conf(hidden_dim=6).build(TEXT, TEXT, TEXT, TEXT)
    torch.nn.init.normal_(block.diagonal)
    x, y = Features(torch.randn(2, 3, 4)), Features(torch.randn(2, 5, 4))
    # A softmax hides what a whole row has in common; once centred on both axes, the scores are the same both ways.
    forth = block(x, y, x, y).parts["attention"].log()
    back = block(y, x, y, x).parts["attention"].log().transpose(1, 2)

    def doubly_centred(scores: torch.Tensor) -> torch.Tensor:
        return scores - scores.mean(1, keepdim=True) - scores.mean(2, keepdim=True) + scores.mean((1, 2), keepdim=True)

    torch.testing.assert_close(doubly_centred(forth), doubly_centred(back))


def test_full_attention_refuses_histories_that_do_not_fit():
    other = Spec("BTD", {"D": 5})
    with pytest.raises(ValueError, match="same size D, but they are B x T x 4 and B x T x 5"):
        FullAttention.Conf().output_spec(TEXT, TEXT, TEXT, other)
    with pytest.raises(ValueError, match="same axes and tokens"):
        FullAttention.Conf().output_spec(TEXT, TEXT, Spec("BD", {"D": 4}), TEXT)
    block = FullAttention.Conf().build(TEXT, TEXT, TEXT, TEXT)
    with pytest.raises(UserError, match="FullAttention: its inputs have 5 and 6 tokens"):
        block(x_text(), y_text(), y_text(), y_text())


@pytest.mark.parametrize("cls", [BiAttFlow, Seq2SeqAttention])
def test_bidirectional_attention_equals_the_equations_on_each_pair_of_texts(cls):
    block: Any = cls.Conf(attention_dropout=0.5).build(TEXT, TEXT).eval()
    x, y = x_text(), y_text()
    output = block(x, y)
    assert output.mask is x.mask and output.lengths is x.lengths
    for row, t, s in rows():
        h, u = x.values[row, :t], y.values[row, :s]
        pairs = [[torch.cat([a, b, a * b]) for b in u] for a in h]
        scores = torch.stack([torch.cat([block.attention.similarity(pair) for pair in line]) for line in pairs])
        read = scores.softmax(1) @ u
        noticed = scores.amax(1).softmax(0)
        torch.testing.assert_close(output.parts["attention"][row, :t, :s], scores.softmax(1))
        if cls is BiAttFlow:
            expected = torch.cat([h, read, h * read, h * (noticed @ h)], 1)
        else:
            expected = torch.cat([noticed[:, None] * h, read], 1)
        torch.testing.assert_close(output.values[row, :t], expected)
        assert not output.values[row, t:].any()


def test_bidirectional_attention_drops_weights_out_while_it_trains():
    block: Any = BiAttFlow.Conf(attention_dropout=0.9).build(TEXT, TEXT)
    x, y = x_text(), y_text()
    assert not torch.equal(block.train()(x, y).values, block(x, y).values)
    assert torch.equal(block.eval()(x, y).values, block(x, y).values)


def product(operation: str, x: Features, y: Features) -> Features:
    spec = {axes: Spec(axes, dict(zip(axes[1:], x.values.shape[1:], strict=True))) for axes in ("BTD", "BTS")}
    left = spec["BTS" if operation == "common" else "BTD"]
    right = Spec("BTD", {"D": y.values.shape[2]})
    return MatrixMultiply.Conf(operation=operation).build(left, right)(x, y)  # type: ignore[arg-type]


def test_matrix_products_of_each_pair_of_texts():
    x, y, other = x_text(), y_text(), x_text(2)
    scores = product("dim_based", x, y)
    sums = product("seq_based", x, other)
    read = product("common", scores, y)
    assert sums.mask is None and scores.mask is not None and read.mask is not None
    assert torch.equal(scores.mask, MASK_T[:, :, None] & MASK_S[:, None])
    assert torch.equal(read.mask, MASK_T)
    for row, t, s in rows():
        h, u = x.values[row, :t], y.values[row, :s]
        torch.testing.assert_close(scores.values[row, :t, :s], h @ u.T)
        torch.testing.assert_close(sums.values[row], h.T @ other.values[row, :t])
        torch.testing.assert_close(read.values[row, :t], h @ u.T @ u)
        assert not read.values[row, t:].any()


def test_matrix_products_say_what_comes_out_and_what_does_not_fit():
    fixed, grid = Spec("BTD", {"T": 7, "D": 3}), Spec("BTS", {"T": 2, "S": 7})
    assert str(MatrixMultiply.Conf().output_spec(fixed, Spec("BTD", {"D": 3}))) == "B x 7 x S"
    assert str(MatrixMultiply.Conf(operation="seq_based").output_spec(fixed, TEXT)) == "B x 3 x 4"
    assert str(MatrixMultiply.Conf(operation="common").output_spec(grid, fixed)) == "B x 2 x 3"
    with pytest.raises(ValueError, match="same size D"):
        MatrixMultiply.Conf().output_spec(fixed, TEXT)
    with pytest.raises(ValueError, match="last axis of x with the tokens of y, but they are B x T x 4 and B x 7 x 3"):
        MatrixMultiply.Conf(operation="common").output_spec(TEXT, fixed)
    with pytest.raises(ValueError, match="size of axis T must be known"):
        MatrixMultiply.Conf(operation="common").output_spec(TEXT, TEXT)
    with pytest.raises(UserError, match="6 columns meet 5 tokens"):
        product("common", Features(torch.randn(3, 5, 6)), x_text())


@pytest.mark.parametrize("operands", [("BD", "BTD"), ("BTD", "BD"), ("BTD", "BTSD")])
@pytest.mark.parametrize(
    "name",
    [
        "Attention",
        "MatchAttention",
        "BiAttFlow",
        "Seq2SeqAttention",
        "Interaction",
        "Match",
        "Expand_plus",
        "MatrixMultiply",
    ],
)
def test_blocks_of_two_texts_refuse_what_is_no_text(name, operands):
    conf: Any = BLOCKS[name].Conf()  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="expects B x T x D, but the input is B x (T x S x )?4"):
        conf.output_spec(*(Spec(axes, {"D": 4}) for axes in operands))
