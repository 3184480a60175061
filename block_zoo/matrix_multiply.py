"""MatrixMultiply: the product of two matrices for every row."""

from typing import ClassVar, Literal

from block_zoo.base import BLOCKS, Block
from block_zoo.grid import grid_spec, over_pairs
from block_zoo.masking import over_same_tokens, same_size, same_tokens, zero_padding
from core.errors import UserError
from core.types import Features, Spec


@BLOCKS.register
class MatrixMultiply(Block):
    """The matrix product of two inputs.

    Shape: dim_based, X Y': x B x T x D, y B x S x D -> B x T x S.
    seq_based, X' Y: x B x T x D, y B x T x E -> B x T' x E with T' = D.
    common, X Y: x B x T x S (or B x T x D), y B x S x E (S = D) -> B x T x E.
    Masking: padding counts as zeros. dim_based: the output has a mask of B x T x S; seq_based: both run over the same
    tokens, the output has none; common: the output has the tokens of x. It is zero at padding.
    `{"layer_id": "scores", "layer": "MatrixMultiply", "inputs": ["question", "answer"]}`
    Reference: torch.matmul.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "combination"

        operation: Literal["dim_based", "seq_based", "common"] = "dim_based"
        """dim_based = X Y', summed over the features; seq_based = X' Y, over the tokens; common = X Y."""

        def output_spec(self, x: Spec, y: Spec) -> Spec:
            y.expect("BTD").size("D")
            if self.operation == "common":
                inner = x.expect("BTS", "BTD").axes[-1]
                theirs = y.sizes.get("T") if inner == "S" else y.size("T")
                if theirs is not None and x.sizes.get(inner, theirs) != theirs:
                    raise ValueError(f"multiplies the last axis of x with the tokens of y, but they are {x} and {y}.")
                return x.resized("BTD", D=y.size("D"))
            x.expect("BTD").size("D")
            if self.operation == "seq_based":
                same_tokens(x, y)
                return Spec("BTD", {"T": x.size("D"), "D": y.size("D")})
            same_size(x, y)
            return grid_spec(x, y)

    def __init__(self, conf: Conf, x: Spec, y: Spec) -> None:
        super().__init__()
        self.operation = conf.operation

    def forward(self, x: Features, y: Features) -> Features:
        if self.operation == "dim_based":
            return over_pairs(x.values @ y.values.transpose(1, 2), x, y)
        if self.operation == "seq_based":
            (x_BTD, y_BTE), _ = over_same_tokens("MatrixMultiply", x, y)
            return Features(x_BTD.transpose(1, 2) @ y_BTE)
        inner, theirs = x.values.shape[2], y.values.shape[1]
        if inner != theirs:
            raise UserError(
                f"MatrixMultiply: {inner} columns meet {theirs} tokens in one batch. Multiply with the text that the "
                "second axis of the first input runs over."
            )
        product_BTE = zero_padding(x.values, x.mask) @ zero_padding(y.values, y.mask)
        if x.mask is not None and x.mask.ndim == 3:
            return Features(zero_padding(product_BTE, x.mask.any(2)), x.mask.any(2))
        return x.with_values(product_BTE)
