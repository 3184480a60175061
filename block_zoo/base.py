"""What every block is: a module with a typed Conf that knows, before anything is built, what comes out of it."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from torch import nn

import core.conf
from core.registry import Registry
from core.types import Spec

BLOCKS = Registry("block")
CHAR_EMBEDDINGS = Registry("character embedding")


class Block(nn.Module):
    """A layer: `__init__(conf, *input_specs)`, `forward(*inputs: Features) -> Features`. Masks are its own duty."""

    wanted: frozenset[str] | None = None
    """The parts of its output that somebody reads; None = all of them."""

    class Conf(core.conf.Conf):
        """Subclasses add fields and define `output_spec` with one named parameter for each input (or `*inputs`)."""

        family: ClassVar[str] = "other"
        """Its kind in pictures: embedding, recurrent, convolution, attention, encoder, pooling, dense, combination,
        labels.
        """
        reads_branches: ClassVar[bool] = False
        """Whether this is the layer that turns the ids of every branch into features (it has no id and no inputs)."""
        reads_pieces: ClassVar[bool] = False
        """Whether its inputs are branches as its own `tokenizer` splits them, not embedded."""

        def output_spec(self, *inputs: Any, **_: Any) -> Spec:
            """What comes out of inputs with these specs; a ValueError says what does not fit. Pure."""
            raise AssertionError(f"{type(self).__qualname__} does not define output_spec")

        def resolved(self, sizes: Mapping[str, int], is_output: bool) -> Self:
            """This Conf with what only the graph knows filled in: whether it is an output, and the sizes of answers.

            sizes  "#column#" -> the number of labels of this target column; "#target#" = that of the column which the
                   layer answers, or of the only one
            """
            return self

        def check_target(self, target: Spec) -> None:
            """ValueError where an output layer with these settings cannot answer this target; its sizes fit."""

        def notices(self, is_output: bool, *inputs: Spec) -> dict[str, str]:
            """Field -> what a user should know about it, such as that it has no effect beside the others, or for inputs
            with these specs.
            """
            return {}

        def about_part(self, name: str) -> str:
            """A sentence for somebody who asks for an inner state that there is not; "" where the usual one does."""
            return ""

        def build(self, *inputs: Spec) -> "Block":
            """The block with fresh weights for inputs with these specs."""
            block: Block = self.owner(self, *inputs)
            return block

    def vectors(self) -> list[nn.Parameter]:
        """The vectors of words or pieces that the block looks up."""
        return []

    def depth(self, weight: str) -> int:
        """How far below the top of a deep block a weight is, from 1; 0 where depth says nothing."""
        return 0

    def load_pretrained(self) -> str | None:
        """Take over pretrained weights, if the Conf names some; a sentence that says which."""
        return None
