"""Concat3D: sequences side by side, or one after the other."""

from typing import ClassVar, Literal

import torch

from block_zoo.base import BLOCKS, Block
from block_zoo.masking import over_same_tokens, same_tokens, zero_padding
from core.framing import states_at
from core.types import Features, Spec


@BLOCKS.register
class Concat3D(Block):
    """Sequences side by side (axis 2), or one after the other (axis 1).

    Shape: n times B x T x D -> B x T x (sum of D), or B x (sum of T) x D.
    Masking: axis 2: the sequences run over the same tokens. Axis 1: the real tokens of a row follow each other without
    gaps, its padding moves to the end, lengths add up. The output is zero at padding.
    `{"layer_id": "both", "layer": "Concat3D", "conf": {"concat3D_axis": 1}, "inputs": ["question", "answer"]}`
    Reference: torch.cat.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "combination"

        concat3D_axis: Literal[1, 2] = 2
        """The axis that grows: 1 = tokens, 2 = features."""

        def output_spec(self, *inputs: Spec) -> Spec:
            if not inputs:
                raise ValueError("expects one input or more.")
            dims = [states.expect("BTD").size("D") for states in inputs]
            lengths = [states.sizes.get("T") for states in inputs]
            if self.concat3D_axis == 2:
                return same_tokens(*inputs).resized(D=sum(dims))
            if len(set(dims)) > 1:
                came = " and ".join(map(str, inputs))
                raise ValueError(f"needs inputs of the same size D for concat3D_axis 1, but they are {came}.")
            known = {} if None in lengths else {"T": sum(length or 0 for length in lengths)}
            return Spec("BTD", {"D": dims[0], **known})

    def __init__(self, conf: Conf, *inputs: Spec) -> None:
        super().__init__()
        self.conf = conf

    def forward(self, *inputs: Features) -> Features:
        if self.conf.concat3D_axis == 2:
            values, tokens = over_same_tokens("Concat3D", *inputs)
            return tokens.with_values(torch.cat(values, 2))
        values_BTD = torch.cat([features.values for features in inputs], 1)
        if all(features.mask is None for features in inputs):
            return Features(values_BTD)
        mask_BT = torch.cat([features.real_mask() for features in inputs], 1)
        order_BT = mask_BT.byte().argsort(dim=1, descending=True, stable=True)
        mask_BT = mask_BT.gather(1, order_BT)
        lengths = torch.stack([features.host_lengths() for features in inputs]).sum(0)
        return Features(zero_padding(states_at(values_BTD, order_BT), mask_BT), mask_BT, lengths)
