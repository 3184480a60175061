"""Pooling: the largest, the mean, or the sum of the values along an axis."""

from typing import ClassVar, Literal

from block_zoo.base import BLOCKS, Block
from block_zoo.masking import POOLS, zero_padding
from core.types import Features, Spec


def pooled_spec(states: Spec, axis: int) -> Spec:
    """What is left without an axis; once T is gone, S takes its place. Tokens alone, if fixed, are a vector."""
    axes, pooled = states.axes, states.axes[axis]
    left = states.resized(axes.replace(pooled, ""))
    if pooled == "T" and "S" in axes:
        sizes = {"T" if axis == "S" else axis: size for axis, size in left.sizes.items()}
        left = Spec(left.axes.replace("S", "T"), sizes)
    return Spec("BD", {"D": left.sizes["T"]}) if left.axes == "BT" and "T" in left.sizes else left


@BLOCKS.register
class Pooling(Block):
    """The largest, the mean, or the sum of the values along one axis, usually over the tokens of a text.

    Shape: B x T x D -> B x D (pool_axis 1) or B x T (2); B x T x S x D -> B x T x D, T being what is left of T and S
    (1 or 2), or B x T x S (3); B x T x S -> B x T. Where T is fixed, B x T is a vector: B x D.
    Masking: only real tokens are pooled; a text without any gives zeros.
    `{"layer_id": "question_vector", "layer": "Pooling", "conf": {"pool_type": "mean"}, "inputs": ["question"]}`
    Reference: Collobert et al. 2011, Natural Language Processing (Almost) from Scratch, equation 7.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "pooling"

        pool_type: Literal["max", "mean", "sum"] = "max"
        """The largest value, the mean, or the sum."""
        pool_axis: Literal[1, 2, 3] = 1
        """The axis that goes, counted from 0 = rows; 1 = tokens."""

        def output_spec(self, states: Spec) -> Spec:
            if self.pool_axis >= len(states.expect("BTD", "BTS", "BTSD").axes):
                raise ValueError(f"pools over axis {self.pool_axis} (pool_axis), but the input is {states}.")
            return pooled_spec(states, self.pool_axis)

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        self.conf = conf
        self.gives_vector = conf.output_spec(states).axes == "BD"

    def forward(self, states: Features) -> Features:
        pooled = self._pooled(states)
        return Features(pooled.values) if self.gives_vector else pooled

    def _pooled(self, states: Features) -> Features:
        axis, pool, mask = self.conf.pool_axis, POOLS[self.conf.pool_type], states.mask
        if mask is None or axis >= mask.ndim:
            values = zero_padding(pool(states.values, None, axis), mask)
            return Features(values, mask, states.lengths if axis > 1 else None)
        values = pool(states.values, mask, axis)
        if mask.ndim == 2:
            return Features(values)
        return Features(values, mask.any(axis))
