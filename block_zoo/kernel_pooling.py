"""KernelPooling: how many tokens match, counted softly at several levels of similarity."""

from typing import ClassVar

import torch
from torch import Tensor

from block_zoo.base import BLOCKS, Block
from block_zoo.grid import grid_mask
from block_zoo.masking import zero_padding
from core.conf import PositiveFloat, PositiveInt
from core.types import Features, Spec


@BLOCKS.register
class KernelPooling(Block):
    """RBF kernels over the cosines M of two texts.

    phi_k = sum over T of log K_k, K_k = sum over S of exp(-(M - mu_k)^2 / (2 sigma_k^2)). One kernel is for
    exact matches (mu = 1), the others lie evenly between 1 and -1. There is nothing to learn here.

    Shape: B x T x S (or B x T x S x 1) -> B x D, D = num_kernels.
    Masking: only real pairs are counted; a pair of texts without any gives zeros.
    `{"layer_id": "matches", "layer": "KernelPooling", "conf": {"num_kernels": 11}, "inputs": ["cosines"]}`
    Reference: Xiong et al. 2017, End-to-End Neural Ad-hoc Ranking with Kernel Pooling, section 3 (K-NRM).
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "pooling"

        num_kernels: PositiveInt = 11
        """Kernels, with the one for exact matches."""
        sigma: PositiveFloat = 0.1
        """Width of the kernels."""
        exact_sigma: PositiveFloat = 0.001
        """Width of the kernel for exact matches."""
        scale: PositiveFloat = 0.01
        """Factor of the logarithms, which are large for whole texts; 1 = the bare equation."""

        def output_spec(self, grid: Spec) -> Spec:
            if grid.expect("BTS", "BTSD").sizes.get("D", 1) != 1:
                raise ValueError(f"takes one similarity for each pair of tokens, but the input is {grid}.")
            return Spec("BD", {"D": self.num_kernels})

    means: Tensor
    widths: Tensor

    def __init__(self, conf: Conf, grid: Spec) -> None:
        super().__init__()
        self.scale = conf.scale
        soft = conf.num_kernels - 1
        means = [1.0, *(1 - (2 * place + 1) / soft for place in range(soft))]
        self.register_buffer("means", torch.tensor(means), persistent=False)
        self.register_buffer("widths", torch.tensor([conf.exact_sigma] + [conf.sigma] * soft), persistent=False)

    def forward(self, grid: Features) -> Features:
        mask_BTS = grid_mask(grid)
        cosines_BTS = grid.values.float() if grid.values.ndim == 3 else grid.values.float().squeeze(-1)
        deviations_BTSD = (cosines_BTS.unsqueeze(-1) - self.means) / self.widths
        counts_BTD = zero_padding((-deviations_BTSD.square() / 2).exp(), mask_BTS).sum(2)
        # A token without any match has no logarithm: the floor is that of the authors' code.
        logs_BTD = zero_padding(counts_BTD.clamp(min=1e-10).log(), None if mask_BTS is None else mask_BTS.any(2))
        return Features(self.scale * logs_BTD.sum(1))
