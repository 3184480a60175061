from typing import Any

import pytest
import torch

from block_zoo import BiQRNN
from block_zoo.masking import length_mask
from block_zoo.scan import linear_scan
from core.types import Features, Spec

SPEC = Spec("BTD", {"D": 4})
LENGTHS = torch.tensor([3, 5, 1])


def loop(decay_BTD: torch.Tensor, inputs_BTD: torch.Tensor, backward: bool = False) -> torch.Tensor:
    """The recurrence, one token after the other."""
    size = inputs_BTD.shape[1]
    state, states = torch.zeros_like(inputs_BTD[:, 0]), {}
    for t in reversed(range(size)) if backward else range(size):
        state = states[t] = decay_BTD[:, t] * state + inputs_BTD[:, t]
    return torch.stack([states[t] for t in range(size)], 1)


def texts() -> Features:
    return Features(torch.randn(3, 5, 4), length_mask(LENGTHS, 5), LENGTHS)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 32, 33])
def test_scan_and_its_gradients_equal_a_loop(size, backward):
    decay = torch.rand(2, size, 3, dtype=torch.float64, requires_grad=True)
    inputs = torch.randn(2, size, 3, dtype=torch.float64, requires_grad=True)
    scanned, looped = linear_scan(decay, inputs, backward), loop(decay, inputs, backward)
    torch.testing.assert_close(scanned, looped)
    weights = torch.randn_like(scanned)
    for ours, theirs in zip(
        torch.autograd.grad(scanned, (decay, inputs), weights),
        torch.autograd.grad(looped, (decay, inputs), weights),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_scan_is_exact_for_decays_at_the_ends_of_their_range():
    inputs = torch.randn(1, 50, 2)
    torch.testing.assert_close(linear_scan(torch.ones_like(inputs), inputs), inputs.cumsum(1))
    assert torch.equal(linear_scan(torch.zeros_like(inputs), inputs), inputs)


@pytest.mark.parametrize("size", [32, 256])
def test_scan_takes_steps_that_grow_with_the_logarithm_of_the_length(size):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        linear_scan(torch.rand(1, size, 1), torch.rand(1, size, 1))
    steps = sum(event.count for event in profile.key_averages() if event.key in ("aten::addcmul_", "aten::mul"))
    assert steps <= 3 * (size - 1).bit_length()


def qrnn(gates: Any, text_TD: torch.Tensor) -> torch.Tensor:
    """Equations 1 and 4 of the paper for one text, one token after the other."""
    window, hidden = gates.kernel_size[0], gates.out_channels // 3
    state, states = torch.zeros(hidden), []
    for t in range(len(text_TD)):
        made = gates.bias.clone()
        for place in range(window):
            if t - place >= 0:
                made = made + gates.weight[:, :, window - 1 - place] @ text_TD[t - place]
        z, f, o = made.split(hidden)
        state = f.sigmoid() * state + (1 - f.sigmoid()) * z.tanh()
        states.append(o.sigmoid() * state)
    return torch.stack(states)


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("window", [1, 2])
def test_states_equal_the_equations_on_each_text_unpadded(window, num_layers):
    block: Any = BiQRNN.Conf(hidden_dim=3, window=window, num_layers=num_layers).build(SPEC).eval()
    inputs = texts()
    output = block(inputs)
    assert output.mask is inputs.mask and output.lengths is inputs.lengths
    for row, length in enumerate(LENGTHS.tolist()):
        text = inputs.values[row, :length]
        for layer in block.layers:
            backward, mirrored = layer.backward_gates, torch.nn.Conv1d(text.shape[1], 9, window)
            mirrored.load_state_dict({"weight": backward.weight.flip(-1), "bias": backward.bias})
            text = torch.cat([qrnn(layer.forward_gates, text), qrnn(mirrored, text.flip(0)).flip(0)], 1)
        torch.testing.assert_close(output.values[row, :length], text)
        assert not output.values[row, length:].any()


def test_zoneout_keeps_states_while_training_and_in_the_mean_afterwards():
    """With z = 1 and f = 0 every unit is 1 at once, but where it is zoned out it stays 0 for a token."""
    block: Any = BiQRNN.Conf(hidden_dim=2000, zoneout=0.3).build(SPEC)
    gates = block.layers[0].forward_gates
    torch.nn.init.zeros_(gates.weight)
    gates.bias.data.copy_(torch.tensor([50.0, -50.0, 50.0]).repeat_interleave(2000))
    one = Features(torch.randn(1, 2, 4))
    trained = block.train()(one).values[0, :, :2000]
    assert set(trained.unique().tolist()) == {0.0, 1.0}
    assert (trained[0] == 0).float().mean() == pytest.approx(0.3, abs=0.05)
    assert (trained[1] == 0).float().mean() == pytest.approx(0.09, abs=0.03)
    torch.testing.assert_close(block.eval()(one).values[0, :, 0], torch.tensor([0.7, 0.91]))


def test_dropout_of_one_layer_is_on_its_states_and_of_two_between_them():
    one: Any = BiQRNN.Conf(hidden_dim=50, dropout=0.5).build(SPEC).train()
    two: Any = BiQRNN.Conf(hidden_dim=50, dropout=0.5, num_layers=2).build(SPEC).train()
    inputs = Features(torch.randn(4, 5, 4))
    assert (one(inputs).values == 0).float().mean() == pytest.approx(0.5, abs=0.1)
    assert not (two(inputs).values == 0).any()
    assert not torch.equal(two(inputs).values, two(inputs).values)
