"""ExactMatch: whether a token of one text stands in another."""

from typing import ClassVar

from block_zoo.base import BLOCKS, Block
from core.types import SPECIAL_IDS, Features, Spec


@BLOCKS.register
class ExactMatch(Block):
    """1 for each token of x that also stands in y, else 0. It reads ids, so both columns must share a vocabulary.

    Shape: ids x B x T, y B x S -> B x T x 1.
    Masking: padding matches nothing, and neither do unknown words, <start> and <eos>; the output has the mask of x.
    `{"layer_id": "same", "layer": "ExactMatch", "inputs": ["passage.passage_text", "question.question_text"]}`
    Reference: Chen et al. 2017, Reading Wikipedia to Answer Open-Domain Questions, section 3.2 (f_exact_match).
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "attention"

        def output_spec(self, x: Spec, y: Spec) -> Spec:
            for spec in (x, y):
                if not spec.expect("BT").ids:
                    raise ValueError('needs ids: take a column of a branch, such as "passage.passage_text".')
            if x.sizes.get("V") != y.sizes.get("V"):
                raise ValueError(
                    "needs two columns of one cluster: ids of different vocabularies mean nothing together."
                )
            return x.resized("BTD", D=1)

    def __init__(self, conf: Conf, x: Spec, y: Spec) -> None:
        super().__init__()

    def forward(self, x: Features, y: Features) -> Features:
        same_BTS = (x.values.unsqueeze(2) == y.values.unsqueeze(1)) & (x.values >= SPECIAL_IDS).unsqueeze(2)
        return x.with_values(same_BTS.any(2, keepdim=True).float())
