import pytest
import torch

from block_zoo import Add2D, Add3D, Combination, Concat2D, Concat3D, ElementWisedMultiply2D, Flatten, Minus2D
from block_zoo.masking import length_mask
from core.errors import UserError
from core.types import Features, Spec

VECTOR = Spec("BD", {"D": 2})
SEQUENCE = Spec("BTD", {"D": 2})
A, B = torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0, 5.0]])


def text(values: list[list[float]], length: int) -> Features:
    lengths = torch.tensor([length])
    return Features(torch.tensor([values]), length_mask(lengths, len(values)), lengths)


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        (["origin", "difference", "dot_multiply"], [1, -2, 3, 5, 2, 7, 3, -10]),
        (["dot_multiply", "origin"], [1, -2, 3, 5, 3, -10]),
        (["difference"], [2, 7]),
    ],
)
def test_combination_by_hand(operations, expected):
    conf = Combination.Conf(operations=operations)
    assert conf.build(VECTOR, VECTOR)(Features(A), Features(B)).values.tolist() == [expected]
    assert conf.output_spec(VECTOR, VECTOR).sizes["D"] == len(expected)


def test_combination_multiplies_any_number_of_inputs():
    conf = Combination.Conf(operations=["dot_multiply"])
    assert conf.build(*[VECTOR] * 3)(Features(A), Features(B), Features(B)).values.tolist() == [[9, -50]]


@pytest.mark.parametrize(
    ("operations", "inputs", "complaint"),
    [
        (["difference"], [VECTOR] * 3, "needs two inputs for difference, but there are 3"),
        (["origin", "dot_multiply"], [VECTOR, Spec("BD", {"D": 3})], "same size for dot_multiply"),
        (["origin"], [VECTOR, SEQUENCE], "same axes"),
        (["origin"], [Spec("BTD", {"T": 4, "D": 2}), Spec("BTD", {"T": 5, "D": 2})], "same axes and tokens"),
    ],
)
def test_combination_refuses_inputs_that_do_not_fit(operations, inputs, complaint):
    with pytest.raises(ValueError, match=complaint):
        Combination.Conf(operations=operations).output_spec(*inputs)


def test_sequences_of_different_texts_are_refused_when_they_meet():
    block = Combination.Conf(operations=["origin"]).build(SEQUENCE, SEQUENCE)
    with pytest.raises(UserError, match="Combination: its inputs have 4 and 5 tokens"):
        block(Features(torch.randn(2, 4, 2)), Features(torch.randn(2, 5, 2)))


def test_arithmetic_by_hand():
    def result(conf):
        return conf.build(VECTOR, VECTOR)(Features(A), Features(B)).values.tolist()[0]

    assert result(Add2D.Conf()) == [4, 3]
    assert result(Minus2D.Conf()) == [-2, -7]
    assert result(Minus2D.Conf(abs_flag=True)) == [2, 7]
    assert result(ElementWisedMultiply2D.Conf()) == [3, -10]


def test_texts_cut_to_one_length_are_real_where_either_is():
    x, y = text([[1, 1], [2, 2], [9, 9]], 2), text([[5, 5], [9, 9], [9, 9]], 1)
    output = Add3D.Conf().build(SEQUENCE, SEQUENCE)(x, y)
    assert output.values.tolist() == [[[6, 6], [2, 2], [0, 0]]]
    assert output.lengths is not None and output.lengths.tolist() == [2]


def test_concat_of_vectors():
    block = Concat2D.Conf().build(VECTOR, VECTOR)
    assert block(Features(A), Features(B)).values.tolist() == [[1, -2, 3, 5]]


def test_concat_over_tokens_leaves_no_gap():
    x, y = text([[1, 1], [2, 2], [9, 9]], 2), text([[5, 5], [6, 6], [7, 7], [9, 9]], 3)
    output = Concat3D.Conf(concat3D_axis=1).build(SEQUENCE, SEQUENCE)(x, y)
    assert output.values[0, :, 0].tolist() == [1, 2, 5, 6, 7, 0, 0]
    assert output.mask is not None and output.mask.tolist() == [[True] * 5 + [False] * 2]
    assert output.lengths is not None and output.lengths.tolist() == [5]


def test_concat_over_tokens_adds_known_lengths():
    four, five = Spec("BTD", {"T": 4, "D": 2}), Spec("BTD", {"T": 5, "D": 2})
    assert Concat3D.Conf(concat3D_axis=1).output_spec(four, five).sizes == {"T": 9, "D": 2}
    assert Concat3D.Conf(concat3D_axis=1).output_spec(four, SEQUENCE).sizes == {"D": 2}


def test_flatten_needs_known_sizes():
    assert Flatten.Conf().output_spec(Spec("BTSD", {"T": 3, "S": 4, "D": 2})).sizes == {"D": 24}
    with pytest.raises(ValueError, match="known size of T"):
        Flatten.Conf().output_spec(SEQUENCE)


def test_flatten_takes_padding_as_zeros():
    spec = Spec("BTD", {"T": 2, "D": 2})
    assert Flatten.Conf().build(spec)(text([[1, 2], [9, 9]], 1)).values.tolist() == [[1, 2, 0, 0]]
