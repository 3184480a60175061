"""Sums, differences and products of two inputs of the same shape, for vectors (2D) and for sequences (3D)."""

from typing import ClassVar

from block_zoo.base import BLOCKS, Block
from block_zoo.masking import over_same_tokens, same_size, same_tokens
from core.types import Features, Spec


class VectorsConf(Block.Conf):
    """Two vectors of the same size."""

    family: ClassVar[str] = "combination"

    kind: ClassVar = "BD"

    def output_spec(self, x: Spec, y: Spec) -> Spec:
        x.expect(self.kind)
        y.expect(self.kind)
        same_size(x, y)
        return same_tokens(x, y)


class SequencesConf(VectorsConf):
    """Two sequences of the same size."""

    kind: ClassVar = "BTD"


@BLOCKS.register
class Add2D(Block):
    """The sum x + y of two vectors.

    Shape: B x D, B x D -> B x D.
    Masking: none needed.
    `{"layer_id": "sum", "layer": "Add2D", "inputs": ["left", "right"]}`
    Reference: elementwise arithmetic.
    """

    class Conf(VectorsConf):
        pass

    def __init__(self, conf: Conf, x: Spec, y: Spec) -> None:
        super().__init__()

    def forward(self, x: Features, y: Features) -> Features:
        (a, b), tokens = over_same_tokens(type(self).__name__, x, y)
        return tokens.with_values(a + b)


@BLOCKS.register
class Minus2D(Block):
    """The difference x - y of two vectors, or |x - y|.

    Shape: B x D, B x D -> B x D.
    Masking: none needed.
    `{"layer_id": "difference", "layer": "Minus2D", "conf": {"abs_flag": true}, "inputs": ["left", "right"]}`
    Reference: elementwise arithmetic.
    """

    class Conf(VectorsConf):
        abs_flag: bool = False
        """Whether the sign is dropped: |x - y|."""

    def __init__(self, conf: Conf, x: Spec, y: Spec) -> None:
        super().__init__()
        self.conf = conf

    def forward(self, x: Features, y: Features) -> Features:
        (a, b), tokens = over_same_tokens(type(self).__name__, x, y)
        difference = a - b
        return tokens.with_values(difference.abs() if self.conf.abs_flag else difference)


@BLOCKS.register
class ElementWisedMultiply2D(Block):
    """The elementwise product of two vectors.

    Shape: B x D, B x D -> B x D.
    Masking: none needed.
    `{"layer_id": "product", "layer": "ElementWisedMultiply2D", "inputs": ["left", "right"]}`
    Reference: elementwise arithmetic.
    """

    class Conf(VectorsConf):
        pass

    def __init__(self, conf: Conf, x: Spec, y: Spec) -> None:
        super().__init__()

    def forward(self, x: Features, y: Features) -> Features:
        (a, b), tokens = over_same_tokens(type(self).__name__, x, y)
        return tokens.with_values(a * b)


@BLOCKS.register
class Add3D(Add2D):
    """The sum x + y of two sequences.

    Shape: B x T x D, B x T x D -> B x T x D.
    Masking: both run over the same tokens; the output is zero at padding.
    `{"layer_id": "sum", "layer": "Add3D", "inputs": ["question", "matched"]}`
    Reference: elementwise arithmetic.
    """

    class Conf(SequencesConf):
        pass


@BLOCKS.register
class Minus3D(Minus2D):
    """The difference x - y of two sequences, or |x - y|.

    Shape: B x T x D, B x T x D -> B x T x D.
    Masking: both run over the same tokens; the output is zero at padding.
    `{"layer_id": "difference", "layer": "Minus3D", "conf": {"abs_flag": true}, "inputs": ["question", "matched"]}`
    Reference: elementwise arithmetic.
    """

    class Conf(Minus2D.Conf, SequencesConf):
        pass


@BLOCKS.register
class ElementWisedMultiply3D(ElementWisedMultiply2D):
    """The elementwise product of two sequences.

    Shape: B x T x D, B x T x D -> B x T x D.
    Masking: both run over the same tokens; the output is zero at padding.
    `{"layer_id": "product", "layer": "ElementWisedMultiply3D", "inputs": ["question", "matched"]}`
    Reference: elementwise arithmetic.
    """

    class Conf(SequencesConf):
        pass
