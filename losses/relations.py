"""Losses on relations: between the features of a text, between two layers, between the rows of a batch."""

import torch
from torch import Tensor
from torch.nn import functional as F

from core.conf import NonNegativeFloat, PositiveFloat
from core.ramp import Ramp, number
from core.types import Features, Spec
from losses.base import LOSSES, Loss
from losses.hidden import VectorsConf, VectorsLoss
from losses.teacher_loss import LOWEST, TeacherLoss, answered, mean_of_real, same_tokens

SMALLEST = 1e-6
"""The least mean distance that distances are divided by."""
NEAR = 1e-3
"""The share of the mean distance below which two rows count as one place, without a direction from one to the other:
the gradient of a direction grows with the inverse of the distance."""


def shared_states(student: Features, teacher: Features, *more: Features) -> tuple[Tensor, ...]:
    """The states of all in float32, B x T x D with zeros where not both read a token; and how many they do, B."""
    mask_BT = same_tokens(student, teacher)
    cut = (features.values[:, : mask_BT.shape[1]].float() for features in (student, teacher, *more))
    return *(states.masked_fill(~mask_BT[..., None], 0) for states in cut), mask_BT.sum(1)


def row_vectors(features: Features) -> Tensor:
    """B x D in float32: of a text the mean over its tokens."""
    values = features.values.float()
    return values if values.dim() == 2 else mean_of_real(values, features.mask)


@LOSSES.register
class NSTLoss(TeacherLoss):
    """Squared maximum mean discrepancy of the features of student and teacher, with the kernel (x'y)^2.

    A feature is the vector of its values over the tokens of a text, at length 1. With this kernel it is the squared
    distance between the mean outer products of the features of both, so sizes may differ.

    Shape: B x T x D over the same pieces of text, and the same of the teacher -> scalar.

        {"type": "NSTLoss", "inputs": ["encoder.hidden.2", "big.encoder.hidden.4"]}

    Reference: Huang and Wang 2017, Like What You Like: Knowledge Distill via Neuron Selectivity Transfer, section 4.
    """

    class Conf(Loss.Conf):
        def check(self, student: Spec, teacher: Spec) -> None:
            student.expect("BTD")
            teacher.expect("BTD")

    def rows(self, student: Features, teacher: Features) -> Tensor:
        ours_BTD, theirs_BTD, _ = shared_states(student, teacher)
        return (_mean_product(ours_BTD) - _mean_product(theirs_BTD)).square().sum((1, 2))


def _mean_product(states_BTD: Tensor) -> Tensor:
    """The mean over the features of the outer product of each with itself, B x T x T."""
    features_BTD = F.normalize(states_BTD, dim=1)
    return features_BTD @ features_BTD.transpose(1, 2) / states_BTD.shape[2]


@LOSSES.register
class GramLoss(TeacherLoss):
    """The mean squared difference between the matrices F' G / T of student and teacher: the way from layer F to G.

    F and G are the states of the T tokens of a text in two layers (flow of the solution procedure, FSP).

    Shape: B x T x D, the same of the teacher, B x T x E, the same of the teacher, all over the same pieces of text
    -> scalar. The sizes of student and teacher must be equal.

        {"type": "GramLoss", "inputs": ["bert.hidden.1", "big.bert.hidden.2", "bert.hidden.3", "big.bert.hidden.6"]}

    Reference: Yim et al. 2017, A Gift from Knowledge Distillation, equations 1 and 2, with the mean in place of the sum
    over the entries of a matrix.
    """

    class Conf(Loss.Conf):
        def check(self, student: Spec, teacher: Spec, student_end: Spec, teacher_end: Spec) -> None:
            for ours, theirs in ((student, teacher), (student_end, teacher_end)):
                if ours.expect("BTD").size("D") != theirs.expect("BTD").size("D"):
                    raise ValueError(
                        f"needs states of one size, but the layer gives {ours} and the teacher {theirs}. "
                        "MiniLMv2Loss and NSTLoss compare states of two sizes."
                    )

    def rows(self, student: Features, teacher: Features, student_end: Features, teacher_end: Features) -> Tensor:
        ours, theirs, ours_end, theirs_end, read_B = shared_states(student, teacher, student_end, teacher_end)
        apart_BDE = ours.transpose(1, 2) @ ours_end - theirs.transpose(1, 2) @ theirs_end
        return (apart_BDE / read_B.clamp(min=1)[:, None, None]).square().mean((1, 2))


class RowsConf(Loss.Conf):
    """The Conf of a loss on how the rows of a batch are related; a text counts by the mean over its tokens."""

    def check(self, student: Spec, teacher: Spec) -> None:
        student.expect("BD", "BTD")
        teacher.expect("BD", "BTD")


@LOSSES.register
class RKDLoss(TeacherLoss):
    """Huber losses of the distances between the rows of a batch and of the angles that they form, student to teacher.

    Distances count as shares of their mean, over all pairs of rows; angles by their cosines, over all triples of rows
    that are apart from each other. Sizes may differ. The memory that it takes grows with the third power of the rows.

    Shape: B x D, or B x T x D by the mean over tokens, and either of the teacher -> scalar.

        {"type": "RKDLoss", "conf": {"angle": 0.0}, "inputs": ["pooled", "big.pooled"]}

    Reference: Park et al. 2019, Relational Knowledge Distillation, sections 3.2.1 and 3.2.2.
    """

    class Conf(RowsConf):
        distance: NonNegativeFloat | Ramp = 1.0
        """Weight of the distances."""
        angle: NonNegativeFloat | Ramp = 2.0
        """Weight of the angles."""

    conf: Conf

    def rows(self, student: Features, teacher: Features) -> Tensor:
        counted_B = answered(teacher)
        pairs_BB = (counted_B & counted_B[:, None]).fill_diagonal_(False)
        ours_BBD, theirs_BBD = (_differences(row_vectors(vectors)) for vectors in (student, teacher))
        ours_BB, theirs_BB = (_distances(apart_BBD, pairs_BB) for apart_BBD in (ours_BBD, theirs_BBD))
        of_pairs_BB = F.smooth_l1_loss(ours_BB, theirs_BB, reduction="none")
        apart_BB = pairs_BB & (ours_BB > NEAR) & (theirs_BB > NEAR)
        triples_BBB = apart_BB[:, :, None] & apart_BB[:, None] & pairs_BB
        ours_BBB, theirs_BBB = (_cosines(apart_BBD, apart_BB) for apart_BBD in (ours_BBD, theirs_BBD))
        of_triples_BBB = F.smooth_l1_loss(ours_BBB, theirs_BBB, reduction="none")
        distance_B = mean_of_real(of_pairs_BB, pairs_BB)
        angle_B = mean_of_real(of_triples_BBB.flatten(1), triples_BBB.flatten(1))
        return number(self.conf.distance) * distance_B + number(self.conf.angle) * angle_B


def _differences(vectors_BD: Tensor) -> Tensor:
    """The vector of row i less that of row j."""
    return vectors_BD[:, None] - vectors_BD


def _distances(differences_BBD: Tensor, pairs_BB: Tensor) -> Tensor:
    """The distances of two rows, divided by the mean over the pairs."""
    distances_BB = torch.linalg.vector_norm(differences_BBD, dim=-1)
    mean = (distances_BB * pairs_BB).sum() / pairs_BB.sum().clamp(min=1)
    return distances_BB / mean.clamp(min=SMALLEST)


def _cosines(differences_BBD: Tensor, apart_BB: Tensor) -> Tensor:
    """The cosine of the angle at row i between rows j and k; 0 where one of them is not apart from it."""
    directions_BBD = F.normalize(torch.where(apart_BB[..., None], differences_BBD, 0), dim=-1)
    return directions_BBD @ directions_BBD.transpose(1, 2)


@LOSSES.register
class SimilarityLoss(TeacherLoss):
    """The squared difference between the similarities of the rows of a batch to student and to teacher.

    These are the dot products of a row with all rows, at length 1. Sizes may differ.

    Shape: B x D, or B x T x D by the mean over tokens, and either of the teacher -> scalar.

        {"type": "SimilarityLoss", "inputs": ["pooled", "big.pooled"]}

    Reference: Tung and Mori 2019, Similarity-Preserving Knowledge Distillation, equations 1 to 3.
    """

    class Conf(RowsConf):
        pass

    def rows(self, student: Features, teacher: Features) -> Tensor:
        counted_B = answered(teacher)
        ours_BB, theirs_BB = (_similarities(row_vectors(vectors), counted_B) for vectors in (student, teacher))
        return (ours_BB - theirs_BB).square().sum(1) / counted_B.sum().clamp(min=1)


def _similarities(vectors_BD: Tensor, counted_B: Tensor) -> Tensor:
    products_BB = vectors_BD @ vectors_BD.T
    return F.normalize(products_BB.masked_fill(~counted_B, 0), dim=1)


@LOSSES.register
class ContrastiveLoss(VectorsLoss):
    """Cross-entropy of which vector of the teacher belongs to a row, among those of all rows of the batch.

    What counts for one is its cosine with the student's vector, divided by a temperature.

    Shape: B x D, or B x T x D by the mean over tokens, and the same of the teacher -> scalar. Sizes may differ.

        {"type": "ContrastiveLoss", "conf": {"temperature": 0.1}, "inputs": ["pooled", "big.pooled"]}

    Reference: Tian et al. 2020, Contrastive Representation Distillation, and Sun et al. 2020, Contrastive Distillation
    on Intermediate Representations for Language Model Compression, with the loss of van den Oord et al. 2018 (InfoNCE)
    over the batch in place of a memory.
    """

    class Conf(VectorsConf):
        temperature: PositiveFloat | Ramp = 0.07
        """What all cosines are divided by: the smaller, the more the nearest wrong rows count."""

    conf: Conf

    def rows(self, student: Features, teacher: Features) -> Tensor:
        ours_BD = F.normalize(self.projection(row_vectors(student)), dim=-1)
        theirs_BD = F.normalize(row_vectors(teacher), dim=-1)
        scores_BB = ours_BD @ theirs_BD.T / number(self.conf.temperature)
        right_B = torch.arange(len(scores_BB), device=scores_BB.device)
        return F.cross_entropy(scores_BB.masked_fill(~answered(teacher), LOWEST), right_B, reduction="none")
