"""Attention: one text reads another."""

from torch import Tensor

from block_zoo.base import BLOCKS, Block
from block_zoo.masking import masked_softmax, zero_padding
from core.types import Features, Spec


def attend(scores_BTS: Tensor, x: Features, y: Features) -> Features:
    """For every token of x the mean of y, weighted by the softmax of the scores over the real tokens of y."""
    mask_BTS = None
    if x.mask is not None or y.mask is not None:
        mask_BTS = x.real_mask()[:, :, None] & y.real_mask()[:, None]
    attention_BTS = masked_softmax(scores_BTS, mask_BTS)
    theirs_BSD = zero_padding(y.values, y.mask).to(attention_BTS.dtype)
    return x.with_values(attention_BTS @ theirs_BSD, attention=attention_BTS)


def attended_spec(x: Spec, y: Spec) -> Spec:
    """What `attend` gives for texts of the same size of features."""
    x.expect("BTD")
    y.expect("BTD")
    if x.size("D") != y.size("D"):
        raise ValueError(f"needs inputs of the same size D, but they are {x} and {y}.")
    tokens = {axis: spec.sizes["T"] for axis, spec in (("T", x), ("S", y)) if "T" in spec.sizes}
    return Spec("BTD", x.resized().sizes, {"attention": Spec("BTS", tokens)})


@BLOCKS.register
class Attention(Block):
    """Dot-product attention: softmax(X Y') Y.

    Shape: x B x T x D, y B x S x D -> B x T x D; part `attention`: B x T x S.
    Masking: padding of y gets no attention; the output has the mask of x and is zero at its padding.
    `{"layer_id": "read", "layer": "Attention", "inputs": ["question", "answer"]}`
    Reference: Luong et al. 2015, Effective Approaches to Attention-based NMT, equation 8 (dot).
    """

    class Conf(Block.Conf):
        def output_spec(self, x: Spec, y: Spec) -> Spec:
            return attended_spec(x, y)

    def __init__(self, conf: Conf, x: Spec, y: Spec) -> None:
        super().__init__()

    def forward(self, x: Features, y: Features) -> Features:
        return attend(x.values @ y.values.transpose(1, 2), x, y)
