"""CalculateDistance: how far two vectors are apart."""

import dataclasses
from typing import Literal

import torch
from torch import Tensor

from block_zoo.base import BLOCKS, Block
from block_zoo.math_ops import VectorsConf
from core.types import Features, Spec


def directions(values: Tensor) -> Tensor:
    """The values divided by their length over the last axis, in float32. Zero vectors stay zero and get no gradient.

    F.normalize would give them one of 1e12.
    """
    values = values.float()
    length = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    return values / length.masked_fill(length < 1e-8, torch.inf)


@BLOCKS.register
class CalculateDistance(Block):
    """Distances of two vectors, in the order of `operations`; cos is their cosine, which is large for near ones.

    Shape: B x D, B x D -> B x (number of operations).
    Masking: none needed. Where two vectors are equal, distances have no gradient; a zero vector has the cosine 0.
    `{"layer_id": "far", "layer": "CalculateDistance", "conf": {"operations": ["cos"]}, "inputs": ["left", "right"]}`
    Reference: scipy.spatial.distance.
    """

    class Conf(VectorsConf):
        operations: list[Literal["cos", "euclidean", "manhattan", "chebyshev"]] = dataclasses.field(
            default_factory=lambda: ["cos", "euclidean", "manhattan", "chebyshev"]
        )
        """The distances; cos = the cosine, euclidean = the root of the sum of squares of x - y, manhattan = the sum of
        |x - y|, chebyshev = the largest |x - y|."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not self.operations:
                raise ValueError("operations is empty.")

        def output_spec(self, x: Spec, y: Spec) -> Spec:
            return super().output_spec(x, y).resized(D=len(self.operations))

    def __init__(self, conf: Conf, x: Spec, y: Spec) -> None:
        super().__init__()
        self.operations = conf.operations

    def forward(self, x: Features, y: Features) -> Features:
        distances = [self._distance(name, x.values.float(), y.values.float()) for name in self.operations]
        return Features(torch.stack(distances, -1).to(x.values.dtype))

    def _distance(self, name: str, x_BD: Tensor, y_BD: Tensor) -> Tensor:
        match name:
            case "cos":
                return (directions(x_BD) * directions(y_BD)).sum(-1)
            case "euclidean":
                return torch.linalg.vector_norm(x_BD - y_BD, dim=-1)
            case "manhattan":
                return (x_BD - y_BD).abs().sum(-1)
        return (x_BD - y_BD).abs().amax(-1)
