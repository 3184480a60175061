"""Linear: a stack of fully connected layers."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from torch import Tensor, nn

from block_zoo.activation import activation
from block_zoo.base import BLOCKS, Block
from block_zoo.convolution import MaskedBatchNorm
from block_zoo.masking import zero_padding
from core.conf import Activation, PositiveInt
from core.types import Features, Spec

TARGET = "#target#"
"""Stands for the number of labels."""
RANGED = ("Sigmoid", "Tanh", "Softplus")
"""Activations that give the answer of a model a range."""
Width = Literal[-1] | PositiveInt | str


def filled_in(width: Any, sizes: Mapping[str, int], is_output: bool) -> Any:
    """The width of a layer, with the number of labels where it stands for that."""
    return sizes.get(TARGET if width == -1 and is_output else width, width)


def check_filled_in(widths: list[Any]) -> None:
    """ValueError for a width that still stands for the number of labels."""
    for width in widths:
        if isinstance(width, str):
            raise ValueError(
                f"has hidden_dim '{width}'. Take a number, \"{TARGET}\" for the number of labels of the target, or the "
                "name of a target column between two #."
            )
        if width < 1:
            raise ValueError(f'may have hidden_dim -1 as the output layer only; write "{TARGET}" elsewhere.')


@BLOCKS.register
class Linear(Block):
    """Fully connected layers, each followed by batch norm and an activation where the settings ask for them.

    Shape: B x ... x D -> B x ... x D', D' the last hidden_dim; with keep_dim false a D' of 1 is dropped.
    Part `logits`, where the last layer ends in softmax or sigmoid: what that was taken of.
    Masking: every token for itself; the output is zero at padding.
    `{"layer_id": "output", "layer": "Linear", "conf": {"hidden_dim": [64, 2]}, "inputs": ["question_vector"]}`
    Reference: He et al. 2015, Delving Deep into Rectifiers, equation 1 (PReLU); Ioffe and Szegedy 2015 (batch norm).
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "dense"

        hidden_dim: Width | list[Width] = 128
        """Features of the layer, or of each layer of a stack; "#target#", or -1 at the end = the number of labels;
        "#column#" = that of the target column of this name, where there are several."""
        batch_norm: bool = True
        """Batch norm before every activation, for inputs of B x D."""
        activation: Activation | None = "PReLU"
        """Activation after every layer; null = none."""
        last_hidden_activation: bool | None = None
        """Whether the last layer has the activation too; null = yes, but in the output of the model only Sigmoid, and
        where it is the only layer Tanh and Softplus."""
        last_hidden_softmax: bool = False
        """Whether the output is a softmax over the features."""
        keep_dim: bool = True
        """Whether a single feature keeps its axis."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not self.widths:
                raise ValueError("hidden_dim is empty.")
            if -1 in self.widths[:-1]:
                raise ValueError(f'hidden_dim is -1 before the last place; write "{TARGET}" for the number of labels.')

        @property
        def widths(self) -> list[Any]:
            """hidden_dim of every layer of the stack."""
            return list(self.hidden_dim) if isinstance(self.hidden_dim, list) else [self.hidden_dim]

        def resolved(self, sizes: Mapping[str, int], is_output: bool) -> Self:
            activated = self.last_hidden_activation
            if activated is None:
                is_ranged = self.activation == "Sigmoid" or (self.activation in RANGED and len(self.widths) == 1)
                activated = not is_output or is_ranged
            return dataclasses.replace(
                self,
                hidden_dim=[filled_in(width, sizes, is_output) for width in self.widths],
                last_hidden_activation=activated,
            )

        def notices(self, is_output: bool, *inputs: Spec) -> dict[str, str]:
            said = {}
            if is_output and self.last_hidden_activation and self.activation not in (None, *RANGED):
                sentence = f"puts {self.activation} on the answer of the model, which needs no activation."
                said["last_hidden_activation"] = sentence
            is_bare = len(self.widths) == 1 and self.last_hidden_activation is False
            if is_bare and self.activation not in (None, type(self).activation):
                said["activation"] = "has no effect. The only layer is the last one, which has no activation."
            if not self.keep_dim and self.widths[-1] != 1:
                said["keep_dim"] = "has no effect. Only a single feature can go without its axis."
            return said

        @property
        def drops_axis(self) -> bool:
            """Whether the output has no axis of features."""
            return not self.keep_dim and self.widths[-1] == 1

        @property
        def ends_in_sigmoid(self) -> bool:
            """Whether the output is the sigmoid of the last layer."""
            return self.activation == "Sigmoid" and self.last_hidden_activation is not False

        def output_spec(self, states: Spec) -> Spec:
            states.expect("BD", "BTD", "BTSD").size("D")
            check_filled_in(self.widths)
            spec = states.resized(states.axes[:-1]) if self.drops_axis else states.resized(D=self.widths[-1])
            squashed = self.last_hidden_softmax or self.ends_in_sigmoid
            return dataclasses.replace(spec, parts={"logits": spec}) if squashed else spec

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        self.conf = conf
        layers: list[nn.Module] = []
        dim = states.size("D")
        for place, width in enumerate(conf.widths, start=1):
            layers.append(nn.Linear(dim, width))
            if conf.activation is not None and (place < len(conf.widths) or conf.last_hidden_activation is not False):
                if conf.batch_norm and states.axes == "BD":
                    layers.append(MaskedBatchNorm(width))
                layers.append(activation(conf.activation))
            dim = width
        squash = layers.pop() if conf.ends_in_sigmoid and not conf.last_hidden_softmax else nn.Identity()
        self.layers = nn.Sequential(*layers)
        self.squash = nn.Softmax(-1) if conf.last_hidden_softmax else squash

    def forward(self, states: Features) -> Features:
        logits = zero_padding(self.layers(zero_padding(states.values, states.mask)), states.mask)
        if isinstance(self.squash, nn.Identity):
            return states.with_values(self._kept(logits))
        probabilities = zero_padding(self.squash(logits.float()), states.mask)
        return states.with_values(self._kept(probabilities), logits=self._kept(logits))

    def _kept(self, values: Tensor) -> Tensor:
        return values.squeeze(-1) if self.conf.drops_axis else values
