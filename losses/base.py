"""What every loss is: a module with a typed Conf that checks its inputs before anything is built."""

from typing import Any, ClassVar

from torch import nn

import core.conf
from core.registry import Registry
from core.types import Spec

LOSSES = Registry("loss")


class Loss(nn.Module):
    """A loss block: `__init__(conf, *input_specs)`, `forward(*inputs) -> scalar`.

    An input is what its address names: Features for a layer, a tensor for a target column.
    """

    class Conf(core.conf.Conf):
        """Subclasses add fields and define `check` with one named parameter for each input."""

        reads_logits: ClassVar[bool] = False
        """Whether a layer that ends in softmax or sigmoid is read before it."""
        reads_groups: ClassVar[bool] = False
        """Whether `forward` gets one input more, groups_B: equal numbers for rows that belong together."""

        def check(self, *inputs: Any, **_: Any) -> None:
            """A ValueError says what does not fit in inputs with these specs. Pure."""
            raise AssertionError(f"{type(self).__qualname__} does not define check")

        @property
        def is_sum(self) -> bool:
            """Whether it adds up rows, so that more rows are more loss."""
            return False

        def notices(self, *inputs: Spec) -> dict[str, str]:
            """Place (`conf.weight`, `inputs[0]`) -> what a user should know about it, for inputs with these specs."""
            return {}

        def build(self, *inputs: Spec) -> "Loss":
            """The loss for inputs with these specs."""
            loss: Loss = self.owner(self, *inputs)
            return loss
