"""Losses on inner states: the student's vectors of rows or tokens should be those of the teacher."""

from torch import Tensor, nn
from torch.nn import functional as F

from core.types import Features, Spec
from losses.base import LOSSES, Loss
from losses.teacher_loss import Both, TeacherLoss, same_tokens


class VectorsConf(Loss.Conf):
    """The Conf of a loss on vectors of rows, or of tokens, of which both must read the same pieces of text."""

    projection: bool = True
    """Whether the student's vectors go through a learnt linear map where the teacher's have another size."""

    def check(self, student: Spec, teacher: Spec) -> None:
        teacher.expect("BD", "BTD")
        student.expect(teacher.axes)
        ours, theirs = student.size("D"), teacher.size("D")
        if ours != theirs and not self.projection:
            sentence = f"but the layer gives {ours} numbers and the teacher {theirs}. Set projection."
            raise ValueError(f"needs vectors of one size, {sentence}")


class VectorsLoss(TeacherLoss):
    """A loss on vectors of rows, or of tokens, of which those count that both read."""

    conf: VectorsConf

    def __init__(self, conf: VectorsConf, student: Spec, teacher: Spec) -> None:
        super().__init__(conf, student, teacher)
        ours, theirs = student.size("D"), teacher.size("D")
        self.projection = nn.Linear(ours, theirs) if ours != theirs else nn.Identity()

    def vectors(self, student: Features, teacher: Features) -> Both:
        """Those of both in the teacher's size."""
        if student.values.dim() == 2:
            return Both(self.projection(student.values.float()), teacher.values.float(), None)
        mask_BT = same_tokens(student, teacher)
        ours, theirs = (states.values[:, : mask_BT.shape[1]].float() for states in (student, teacher))
        return Both(self.projection(ours), theirs, mask_BT)


@LOSSES.register
class HiddenMSELoss(VectorsLoss):
    """The mean squared difference between the vectors of student and teacher.

    Shape: B x D, or B x T x D over the same pieces of text, and the same of the teacher -> scalar. Sizes may differ.

        {"type": "HiddenMSELoss", "inputs": ["encoder.hidden.2", "big.encoder.hidden.4"]}

    Reference: Jiao et al. 2020, TinyBERT, equation 8; Romero et al. 2015, FitNets, equation 3.
    """

    class Conf(VectorsConf):
        pass

    def rows(self, student: Features, teacher: Features) -> Tensor:
        both = self.vectors(student, teacher)
        return both.per_row((both.student - both.teacher).square().mean(-1))


@LOSSES.register
class HiddenCosineLoss(VectorsLoss):
    """One minus the cosine between the vectors of student and teacher.

    Shape: B x D, or B x T x D over the same pieces of text, and the same of the teacher -> scalar. Sizes may differ.

        {"type": "HiddenCosineLoss", "inputs": ["encoder", "big.encoder"]}

    Reference: Sanh et al. 2019, DistilBERT, section 2.
    """

    class Conf(VectorsConf):
        pass

    def rows(self, student: Features, teacher: Features) -> Tensor:
        both = self.vectors(student, teacher)
        return both.per_row(1 - F.cosine_similarity(both.student, both.teacher, dim=-1))


@LOSSES.register
class PKDLoss(VectorsLoss):
    """The squared distance between the vectors of student and teacher at length 1.

    The paper takes the first piece of each layer (`pooling` cls of an encoder gives that of the last).

    Shape: B x D, or B x T x D over the same pieces of text, and the same of the teacher -> scalar. Sizes may differ.

        {"type": "PKDLoss", "inputs": ["encoder.hidden.1", "big.encoder.hidden.2"]}

    Reference: Sun et al. 2019, Patient Knowledge Distillation for BERT Model Compression, equation 7.
    """

    class Conf(VectorsConf):
        pass

    def rows(self, student: Features, teacher: Features) -> Tensor:
        both = self.vectors(student, teacher)
        ours, theirs = F.normalize(both.student, dim=-1), F.normalize(both.teacher, dim=-1)
        return both.per_row((ours - theirs).square().sum(-1))
