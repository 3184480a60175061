from typing import Any

import pytest
import torch
from torch_twins import recurrent_twin

from block_zoo import BiGRU, BiGRULast, BiLSTM, BiLSTMAtt, BiLSTMLast
from block_zoo.masking import length_mask
from core.types import Features, Spec

SPEC = Spec("BTD", {"D": 4})
LENGTHS = torch.tensor([3, 5, 1])


def texts() -> Features:
    return Features(torch.randn(3, 5, 4), length_mask(LENGTHS, 5), LENGTHS)


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cls", [BiLSTM, BiLSTMLast, BiGRU, BiGRULast])
def test_states_equal_those_of_torch_run_on_each_text_unpadded(cls, num_layers):
    block: Any = cls.Conf(hidden_dim=3, num_layers=num_layers).build(SPEC).eval()
    rnn, inputs = recurrent_twin(block.recurrent.layers), texts()
    values = block(inputs).values
    for row, length in enumerate(LENGTHS.tolist()):
        states, hidden = rnn(inputs.values[row : row + 1, :length])
        if cls in (BiLSTM, BiGRU):
            torch.testing.assert_close(values[row, :length], states[0])
            assert not values[row, length:].any()
        else:
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
            forward, backward = hidden.view(num_layers, 2, 3)[-1]
            torch.testing.assert_close(values[row], torch.cat([forward, backward]))


@pytest.mark.parametrize(("cls", "partner"), [(BiLSTMLast, BiLSTM), (BiGRULast, BiGRU)])
def test_last_states_are_the_ends_of_the_states_at_every_token(cls, partner):
    last = cls.Conf(hidden_dim=3, num_layers=2).build(SPEC).eval()
    every = partner.Conf(hidden_dim=3, num_layers=2).build(SPEC).eval()
    every.load_state_dict(last.state_dict())
    inputs = texts()
    states = every(inputs).values
    ends = torch.cat([states[torch.arange(3), LENGTHS - 1, :3], states[:, 0, 3:]], 1)
    torch.testing.assert_close(last(inputs).values, ends)


def test_unmasked_texts_equal_texts_of_full_length():
    block: Any = BiLSTM.Conf(hidden_dim=3).build(SPEC).eval()
    values, full = torch.randn(2, 5, 4), torch.tensor([5, 5])
    masked = block(Features(values, length_mask(full, 5), full)).values
    torch.testing.assert_close(block(Features(values)).values, masked)


def test_dropout_of_one_layer_is_on_its_states_and_makes_no_warning(recwarn):
    block: Any = BiLSTM.Conf(hidden_dim=50, dropout=0.5).build(SPEC)
    inputs = Features(torch.randn(4, 5, 4))
    assert (block.train()(inputs).values == 0).float().mean() == pytest.approx(0.5, abs=0.1)
    assert not (block.eval()(inputs).values == 0).any()
    assert not recwarn


def test_dropout_of_two_layers_is_between_them():
    block: Any = BiLSTM.Conf(hidden_dim=5, num_layers=2, dropout=0.5).build(SPEC).train()
    assert not (block(Features(torch.randn(4, 5, 4))).values == 0).any()
    second = block.recurrent.layers[1]
    zeros = []
    second.register_forward_pre_hook(lambda _, inputs: zeros.append((inputs[0] == 0).float().mean().item()))
    block(Features(torch.randn(20, 5, 4)))
    assert zeros[0] == pytest.approx(0.5, abs=0.1)


def test_self_attention_equals_a_loop_over_tokens():
    block: Any = BiLSTMAtt.Conf(hidden_dim=3).build(SPEC).eval()
    inputs = texts()
    output = block(inputs)
    hidden, _ = block.recurrent(inputs)
    for row, length in enumerate(LENGTHS.tolist()):
        for t in range(length):
            scores = torch.stack([hidden[row, t] @ block.weight @ hidden[row, s] for s in range(length)])
            weights = scores.softmax(0)
            torch.testing.assert_close(output.parts["attention"][row, t, :length], weights)
            torch.testing.assert_close(output.values[row, t], weights @ hidden[row, :length])


def test_recurrent_blocks_refuse_vectors():
    with pytest.raises(ValueError, match="expects B x T x D, but the input is B x 4"):
        BiLSTM.Conf().output_spec(Spec("BD", {"D": 4}))
