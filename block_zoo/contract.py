"""The contract that every block keeps: `check_contract(conf, specs)` for blocks of ours and of anyone else.

    check_contract(MyBlock.Conf(hidden_dim=4), [Spec("BTD", {"D": 5})])

An AssertionError says in one sentence what is broken. It runs on the CPU in about a tenth of a second.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from block_zoo.base import Block
from block_zoo.masking import broadcast_mask, length_mask, zero_padding
from core.types import Features, Spec

LENGTHS = {"T": (3, 7, 0, 1, 5), "S": (4, 1, 6, 0, 2), "K": (2, 5, 1, 3, 4)}
"""Real places of every row: several inputs get them rotated. One text is empty, and so is one of its partners."""
ROWS = len(LENGTHS["T"])
GARBAGE = 1e3


def check_contract(
    conf: Block.Conf,
    specs: Sequence[Spec],
    *,
    same_tokens: bool | Sequence[int] = False,
    tolerance: float = 1e-5,
    seed: int = 0,
) -> None:
    """Hold the block of `conf`, built for inputs with `specs`, to everything that blocks promise.

    same_tokens  sequences among the inputs run over the same tokens; a list says over which text each input runs
    tolerance    of float32 results that must be equal

    AssertionError where the block does not keep the contract.
    """
    torch.manual_seed(seed)
    inputs = sample_inputs(specs, same_tokens=same_tokens)
    block = conf.build(*specs).eval()
    trial = _Trial(conf, tuple(specs), block, inputs, tolerance)
    trial.spec_is_real()
    trial.masks_are_right()
    trial.inputs_stay()
    trial.eval_is_deterministic()
    trial.rows_stand_alone()
    trial.order_does_not_matter()
    trial.padding_does_not_matter()
    trial.full_texts_need_no_mask()
    trial.weights_save_and_load()
    trial.runs_in_bf16()
    trial.parameters_get_gradients()
    trial.trains_on_any_batch()


def sample_inputs(specs: Sequence[Spec], *, same_tokens: bool | Sequence[int] = False) -> list[Features]:
    """Random right-padded Features for specs, with garbage where values are padded; the rows include an empty text."""
    if isinstance(same_tokens, bool):
        same_tokens = [0] * len(specs) if same_tokens else range(len(specs))
    return [_sample(spec, text) for spec, text in zip(specs, same_tokens, strict=True)]


@dataclass(frozen=True)
class _Trial:
    conf: Block.Conf
    specs: tuple[Spec, ...]
    block: Block
    inputs: list[Features]
    tolerance: float

    def run(self, inputs: Sequence[Features], block: Block | None = None) -> Features:
        with torch.no_grad():
            return _flat((block or self.block)(*inputs))

    def spec_is_real(self) -> None:
        output, spec = self.run(self.inputs), self.conf.output_spec(*self.specs)
        _compare_shape("the output", output.values, spec)
        assert set(output.parts) == set(spec.parts), (
            f"output_spec promises parts {sorted(spec.parts)}, but there are {sorted(output.parts)}."
        )
        for name, part in spec.parts.items():
            _compare_shape(f"part '{name}'", output.parts[name], part)

    def masks_are_right(self) -> None:
        output = self.run(self.inputs)
        assert torch.isfinite(output.values.float()).all(), "the output is not finite."
        if output.lengths is not None:
            assert output.lengths.device.type == "cpu", "lengths must lie in host memory."
            assert output.lengths.dtype == torch.int64, f"lengths must be int64, but they are {output.lengths.dtype}."
        if output.mask is None:
            spec = self.conf.output_spec(*self.specs)
            varying = [axis for axis in "TS" if axis in spec.axes and axis not in spec.sizes]
            assert not varying, f"the output ({spec}) has texts of several lengths, but it has no mask."
            return
        mask, values = output.mask, output.values
        assert mask.dtype == torch.bool, f"the mask must be bool, but it is {mask.dtype}."
        assert mask.shape == values.shape[: mask.ndim], (
            f"the mask is {tuple(mask.shape)}, but the values are {tuple(values.shape)}."
        )
        for axis in range(1, mask.ndim):
            gaps = mask.narrow(axis, 1, mask.shape[axis] - 1) & ~mask.narrow(axis, 0, mask.shape[axis] - 1)
            assert not gaps.any(), "the mask is not right-padded: a real token stands behind padding."
        if mask.ndim == 2 and output.lengths is not None:
            assert torch.equal(output.lengths, mask.sum(1).cpu()), (
                f"lengths are {output.lengths.tolist()}, but the mask has {mask.sum(1).tolist()} tokens."
            )
        assert not values.masked_select(~broadcast_mask(mask, values)).any(), "the output is not zero at padding."

    def inputs_stay(self) -> None:
        before = [features.values.clone() for features in self.inputs]
        self.run(self.inputs)
        assert all(torch.equal(old, new.values) for old, new in zip(before, self.inputs, strict=True)), (
            "the block changes its inputs in place."
        )

    def eval_is_deterministic(self) -> None:
        self._equal(self.run(self.inputs), self.run(self.inputs), "eval is not deterministic", tolerance=0.0)

    def rows_stand_alone(self) -> None:
        together = self.run(self.inputs)
        for row in range(ROWS):
            inputs = [_row(features, spec, row) for features, spec in zip(self.inputs, self.specs, strict=True)]
            expected = _select(together, torch.tensor([row]), self._batched_parts())
            self._equal(self.run(inputs), expected, f"row {row} of a batch differs from the same row alone")

    def order_does_not_matter(self) -> None:
        order = torch.randperm(ROWS)
        shuffled = self.run([_select(features, order, features.parts) for features in self.inputs])
        expected = _select(self.run(self.inputs), order, self._batched_parts())
        self._equal(shuffled, expected, "the order of the rows changes their results")

    def padding_does_not_matter(self) -> None:
        wider = [_wider(features, spec) for features, spec in zip(self.inputs, self.specs, strict=True)]
        self._equal(self.run(wider), self.run(self.inputs), "more padding changes the result")
        other = [_with_garbage(features, -2 * GARBAGE) for features in self.inputs]
        self._equal(self.run(other), self.run(self.inputs), "the values at padding change the result")

    def full_texts_need_no_mask(self) -> None:
        full = [_full(features) for features in self.inputs]
        without, masked = self.run([replace(features, mask=None) for features in full]), self.run(full)
        self._equal(without, masked, "texts without padding give another result when their mask is left out")
        if without.mask is None and without.lengths is not None:
            assert (without.lengths == without.values.shape[1]).all(), (
                f"lengths are {without.lengths.tolist()}, but all {without.values.shape[1]} tokens are real."
            )

    def weights_save_and_load(self) -> None:
        fresh = self.conf.build(*self.specs).eval()
        fresh.load_state_dict({name: tensor.clone() for name, tensor in self.block.state_dict().items()})
        self._equal(
            self.run(self.inputs, fresh), self.run(self.inputs), "a block with loaded weights answers otherwise", 0.0
        )

    def runs_in_bf16(self) -> None:
        exact = self.run(self.inputs).values.float()
        halves = [
            replace(features, values=features.values.bfloat16()) if features.values.is_floating_point() else features
            for features in self.inputs
        ]
        with torch.autocast("cpu", torch.bfloat16):
            for inputs in (self.inputs, halves):
                rounded = self.run(inputs).values.float()
                assert torch.isfinite(rounded).all(), "bf16 gives values that are not finite."
                error, scale = (rounded - exact).abs().max().item(), exact.abs().max().item()
                assert error <= 0.05 + 0.1 * scale, f"bf16 is off by {error:g} where values reach {scale:g}."

    def parameters_get_gradients(self) -> None:
        self.block.zero_grad()
        _backward(self.block(*self.inputs))
        for name, parameter in self.block.named_parameters():
            if not parameter.requires_grad:
                continue
            assert parameter.grad is not None and parameter.grad.any(), f"parameter '{name}' gets no gradient."
            assert torch.isfinite(parameter.grad).all(), f"the gradient of parameter '{name}' is not finite."
        self.block.zero_grad()

    def trains_on_any_batch(self) -> None:
        block = self.conf.build(*self.specs).train()
        one = [_row(features, spec, 0) for features, spec in zip(self.inputs, self.specs, strict=True)]
        for inputs in (self.inputs, one):
            output = block(*inputs)
            values = output.values
            assert torch.isfinite(values).all(), f"training gives values that are not finite for {len(values)} rows."
            _backward(output)
        for name, parameter in block.named_parameters():
            assert parameter.grad is None or torch.isfinite(parameter.grad).all(), (
                f"training gives parameter '{name}' a gradient that is not finite."
            )

    def _batched_parts(self) -> set[str]:
        return {name for name, part in self.conf.output_spec(*self.specs).parts.items() if part.axes[:1] == "B"}

    def _equal(self, came: Features, expected: Features, claim: str, tolerance: float | None = None) -> None:
        tolerance = self.tolerance if tolerance is None else tolerance
        pairs = {"the output": (came.values, expected.values)}
        pairs |= {f"part '{name}'": (came.parts[name], expected.parts[name]) for name in sorted(self._batched_parts())}
        for name, (a, b) in pairs.items():
            error = _difference(a.float(), b.float())
            assert error <= tolerance, f"{claim}: {name} is off by {error:g}."
        if came.mask is not None and expected.mask is not None:
            assert _difference(came.mask.float(), expected.mask.float()) == 0, f"{claim}: the mask is another one."


def _sample(spec: Spec, place: int) -> Features:
    sizes = {axis: spec.sizes.get(axis, max(lengths)) for axis, lengths in LENGTHS.items()}
    lengths = {axis: torch.tensor(LENGTHS[axis]).roll(place).clamp(max=sizes[axis]) for axis in "TS"}
    if "T" not in spec.axes:
        return Features(torch.randn(_shape(spec, sizes)))
    mask = length_mask(lengths["T"], sizes["T"])
    if spec.ids:
        sampled = _every_piece_a_word if spec.frames is not None else _sample_ids
        parts = {name: sampled(part, sizes, mask) for name, part in spec.parts.items()}
        return Features(_sample_ids(spec, sizes, mask), mask, lengths["T"], parts)
    if "S" in spec.axes:
        mask = mask[:, :, None] & length_mask(lengths["S"], sizes["S"])[:, None]
    return _with_garbage(Features(torch.randn(_shape(spec, sizes)), mask, lengths["T"]), GARBAGE)


def _every_piece_a_word(_: Spec, __: Mapping[str, int], mask_BT: Tensor) -> Tensor:
    """Where each piece begins and ends as a word of its own."""
    ends_BT = mask_BT.cumsum(1)
    return torch.stack([ends_BT - mask_BT.long(), ends_BT], 2)


def _sample_ids(spec: Spec, sizes: Mapping[str, int], mask_BT: Tensor) -> Tensor:
    ids = zero_padding(torch.randint(1, spec.sizes.get("V", 2), _shape(spec, sizes)), mask_BT)
    if "K" not in spec.axes:
        return ids
    characters = torch.tensor(LENGTHS["K"])[torch.arange(mask_BT.numel()) % ROWS].reshape(mask_BT.shape)
    return zero_padding(ids, length_mask(characters, sizes["K"]))


def _shape(spec: Spec, sizes: Mapping[str, int]) -> list[int]:
    return [ROWS, *(sizes[axis] if axis in sizes else spec.size(axis) for axis in spec.axes[1:])]


def _with_garbage(features: Features, garbage: float) -> Features:
    if features.mask is None or not features.values.is_floating_point():
        return features
    padding = ~broadcast_mask(features.mask, features.values)
    return replace(features, values=features.values.masked_fill(padding, garbage))


def _row(features: Features, spec: Spec, row: int) -> Features:
    """One row without its padding; axes of a fixed size keep it, an empty text keeps one place."""
    alone = _select(features, torch.tensor([row]), features.parts)
    if alone.mask is None:
        return alone
    real = alone.mask[0]
    axes = spec.axes[1 : alone.mask.ndim]
    sizes = {axis: int(real.any(1 - place).sum() if len(axes) == 2 else real.sum()) for place, axis in enumerate(axes)}
    return _resized(alone, spec, {axis: max(1, size) for axis, size in sizes.items() if axis not in spec.sizes})


def _wider(features: Features, spec: Spec) -> Features:
    """Three more places of padding, with garbage in them, on every axis that varies."""
    sizes = {axis: max(LENGTHS[axis]) + 3 for axis in LENGTHS if axis not in spec.sizes}
    return _with_garbage(_resized(features, spec, sizes), GARBAGE)


def _resized(features: Features, spec: Spec, sizes: Mapping[str, int]) -> Features:
    def resized(tensor: Tensor, axes: str) -> Tensor:
        return _to_shape(tensor, [sizes.get(axis, size) for axis, size in zip(axes, tensor.shape, strict=True)])

    return replace(
        features,
        values=resized(features.values, spec.axes),
        mask=None if features.mask is None else resized(features.mask, spec.axes[: features.mask.ndim]),
        parts={name: resized(part, spec.parts[name].axes) for name, part in features.parts.items()},
    )


def _full(features: Features) -> Features:
    """The same rows with something real at every place."""
    if features.mask is None:
        return features

    def filled(tensor: Tensor) -> Tensor:
        fill = torch.randn_like(tensor) if tensor.is_floating_point() else torch.ones_like(tensor)
        return torch.where(broadcast_mask(features.mask, tensor), tensor, fill)  # type: ignore[arg-type]

    parts = {name: filled(part) for name, part in features.parts.items()}
    lengths = torch.full((ROWS,), features.mask.shape[1])
    return Features(filled(features.values), torch.ones_like(features.mask), lengths, parts)


def _select(features: Features, rows: Tensor, parts: Iterable[str]) -> Features:
    """Some rows, with those of the parts that are named."""
    return Features(
        features.values[rows],
        None if features.mask is None else features.mask[rows],
        None if features.lengths is None else features.lengths[rows],
        {name: features.parts[name][rows] for name in parts},
    )


def _to_shape(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """The tensor cut, or filled up with zeros, to a shape."""
    for axis, size in enumerate(shape):
        tensor = tensor.narrow(axis, 0, min(size, tensor.shape[axis]))
    missing = [size - came for size, came in zip(shape, tensor.shape, strict=True)]
    return F.pad(tensor, [edge for size in reversed(missing) for edge in (0, size)])


def _difference(a: Tensor, b: Tensor) -> float:
    """The largest difference, where one tensor may have more padding (zeros) than the other."""
    shape = [max(sizes) for sizes in zip(a.shape, b.shape, strict=True)]
    return (_to_shape(a, shape) - _to_shape(b, shape)).abs().max().item()


def _flat(output: Features) -> Features:
    """The output with all inner states among its parts."""
    return replace(output, parts={**output.parts, **{name: inner.values for name, inner in output.inner.items()}})


def _compare_shape(name: str, tensor: Tensor, spec: Spec) -> None:
    sizes = dict(zip(spec.axes, tensor.shape, strict=False))
    fits = tensor.ndim == len(spec.axes) and all(
        sizes[axis] == size for axis, size in spec.sizes.items() if axis in spec.axes
    )
    assert fits, f"output_spec promises {spec} for {name}, but it is {' x '.join(map(str, tensor.shape))}."


def _backward(output: Features) -> None:
    """Gradients of a random weighted sum of the values and parts, if anything among them is trained."""
    trained = [tensor for tensor in (output.values, *_flat(output).parts.values()) if tensor.requires_grad]
    if trained:
        torch.autograd.backward([(tensor * torch.randn_like(tensor)).sum() for tensor in trained])
