"""Losses on where a transformer looks, and on how the states of its tokens are related.

Attention is compared as `attention.i` of an encoder gives it: probabilities, and while the student trains behind its
dropout. Student and teacher must read the same pieces of text.
"""

import math

from torch import Tensor

from core.conf import PositiveInt
from core.types import Features, Spec
from losses.base import LOSSES, Loss
from losses.soft_target import kl
from losses.teacher_loss import LOWEST, Both, TeacherLoss, mean_of_real, same_tokens

SMALLEST = 1e-6
"""The least attention that has a logarithm: dropout leaves zeros."""


class AttentionConf(Loss.Conf):
    """The Conf of a loss on attention."""

    def check(self, student: Spec, teacher: Spec) -> None:
        check_attention(student, teacher)


def check_attention(student: Spec, teacher: Spec) -> None:
    """ValueError unless both are attention."""
    student.expect("BATS")
    teacher.expect("BATS")


def attention_maps(student: Features, teacher: Features) -> Both:
    """What each token pays to those that both read, B x T x A x T, with one head, their mean, where A differs."""
    by_token = _by_token(student), _by_token(teacher)
    mask_BT = same_tokens(*by_token)
    tokens = mask_BT.shape[1]
    ours, theirs = (f.values[:, :tokens, :, :tokens].float() * mask_BT[:, None, None] for f in by_token)
    if ours.shape[2] != theirs.shape[2]:
        ours, theirs = ours.mean(2, keepdim=True), theirs.mean(2, keepdim=True)
    return Both(ours, theirs, mask_BT)


def _by_token(attention: Features) -> Features:
    """B x A x T x S as B x T x A x S, where those tokens are real that pay attention to anything."""
    pays_BT = attention.values.sum((1, 3)) > 0
    mask_BT = pays_BT if attention.mask is None else pays_BT & attention.mask
    return Features(attention.values.transpose(1, 2), mask_BT, attention.lengths)


def attention_kl(student: Features, teacher: Features) -> Tensor:
    """losses_B, KL(teacher | student) of the attention of a token, the mean over heads and tokens."""
    both = attention_maps(student, teacher)
    ours, theirs = (m / m.sum(-1, keepdim=True).clamp(min=SMALLEST) for m in (both.student, both.teacher))
    losses = theirs * (theirs.clamp(min=SMALLEST).log() - ours.clamp(min=SMALLEST).log())
    return both.per_row(losses.sum(-1).mean(-1))


def relation_kl(student: Features, teacher: Features, heads: int) -> Tensor:
    """losses_B, KL(teacher | student) of softmax(H H' / sqrt(d)), H the states of all tokens in a head of d features,
    the mean over heads and tokens.
    """
    mask_BT = same_tokens(student, teacher)
    ours, theirs = (_relations(states.values, heads, mask_BT) for states in (student, teacher))
    return mean_of_real(kl(theirs, ours).mean(1), mask_BT)


def _relations(states_BTD: Tensor, heads: int, mask_BT: Tensor) -> Tensor:
    """Log-probabilities B x A x T x T."""
    states_BTD = states_BTD[:, : mask_BT.shape[1]].float()
    split_BATD = states_BTD.reshape(*states_BTD.shape[:2], heads, -1).transpose(1, 2)
    scores_BATT = split_BATD @ split_BATD.transpose(2, 3) / math.sqrt(split_BATD.shape[-1])
    return scores_BATT.masked_fill(~mask_BT[:, None, None], LOWEST).log_softmax(-1)


class RelationsConf(Loss.Conf):
    """The Conf of a loss on the relations of states."""

    relation_heads: PositiveInt = 8
    """Parts of equal size that states are split into, of which each has its own relations."""

    def check_states(self, student: Spec, teacher: Spec) -> None:
        """ValueError unless both are states of tokens that can be split."""
        for whose, spec in (("the layer's", student), ("the teacher's", teacher)):
            if spec.expect("BTD").size("D") % self.relation_heads:
                size = spec.size("D")
                raise ValueError(f"cannot split {whose} {size} features into {self.relation_heads} relation_heads.")


@LOSSES.register
class AttentionMSELoss(TeacherLoss):
    """The mean squared difference between the attention of student and teacher, over heads and pairs of tokens.

    The paper compares the scores before the softmax, which encoders do not give. Where the numbers of heads differ, the
    mean over the heads is compared.

    Shape: B x A x T x T over the same pieces of text, and the same of the teacher -> scalar.

        {"type": "AttentionMSELoss", "inputs": ["encoder.attention.2", "big.encoder.attention.4"]}

    Reference: Jiao et al. 2020, TinyBERT, equation 7.
    """

    class Conf(AttentionConf):
        pass

    def rows(self, student: Features, teacher: Features) -> Tensor:
        both = attention_maps(student, teacher)
        assert both.mask is not None
        read_B1 = both.mask.sum(1, keepdim=True).clamp(min=1)
        return both.per_row((both.student - both.teacher).square().mean(2).sum(-1) / read_B1)


@LOSSES.register
class AttentionKLLoss(TeacherLoss):
    """KL(teacher | student) of the attention of a token, the mean over heads and tokens.

    Where the numbers of heads differ, the mean over the heads is compared.

    Shape: B x A x T x T over the same pieces of text, and the same of the teacher -> scalar.

        {"type": "AttentionKLLoss", "inputs": ["encoder.attention.2", "big.encoder.attention.4"]}

    Reference: Sun et al. 2020, MobileBERT, its attention transfer.
    """

    class Conf(AttentionConf):
        pass

    def rows(self, student: Features, teacher: Features) -> Tensor:
        return attention_kl(student, teacher)


@LOSSES.register
class MiniLMLoss(TeacherLoss):
    """AttentionKLLoss of the last layer + MiniLMv2Loss of its states.

    The paper relates the values of attention, which encoders do not give; here it is the states of the layer.

    Shape: B x A x T x T, the same of the teacher, B x T x D, the same of the teacher, all over the same pieces of text
    -> scalar.

        {"type": "MiniLMLoss", "inputs": ["bert.attention.3", "big.bert.attention.6", "bert", "big.bert.hidden.6"]}

    Reference: Wang et al. 2020, MiniLM: Deep Self-Attention Distillation, section 3.
    """

    class Conf(RelationsConf):
        def check(self, student: Spec, teacher: Spec, student_states: Spec, teacher_states: Spec) -> None:
            check_attention(student, teacher)
            self.check_states(student_states, teacher_states)

    conf: Conf

    def rows(self, student: Features, teacher: Features, student_states: Features, teacher_states: Features) -> Tensor:
        related_B = relation_kl(student_states, teacher_states, self.conf.relation_heads)
        return attention_kl(student, teacher) + related_B


@LOSSES.register
class MiniLMv2Loss(TeacherLoss):
    """KL(teacher | student) of how the states of the tokens are related: softmax(H H' / sqrt(d)) in each relation head.

    The paper relates the queries, keys and values of attention, which encoders do not give; here it is the states of a
    layer. Sizes and heads of student and teacher may differ.

    Shape: B x T x D over the same pieces of text, and the same of the teacher -> scalar.

        {"type": "MiniLMv2Loss", "conf": {"relation_heads": 12}, "inputs": ["encoder", "big.encoder.hidden.10"]}

    Reference: Wang et al. 2021, MiniLMv2: Multi-Head Self-Attention Relation Distillation, section 3.
    """

    class Conf(RelationsConf):
        def check(self, student: Spec, teacher: Spec) -> None:
            self.check_states(student, teacher)

    conf: Conf

    def rows(self, student: Features, teacher: Features) -> Tensor:
        return relation_kl(student, teacher, self.conf.relation_heads)
