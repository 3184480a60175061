"""The catalogue of losses: importing it registers them all."""

from losses.attention import AttentionKLLoss, AttentionMSELoss, MiniLMLoss, MiniLMv2Loss
from losses.base import LOSSES, Loss
from losses.binary import BCELoss, BCEWithLogitsLoss, SoftMarginLoss
from losses.crf import CRFLoss
from losses.cross_entropy import CrossEntropyLoss, NLLLoss
from losses.decoupled import DecoupledLoss
from losses.dist import DISTLoss
from losses.focal import FocalLoss
from losses.hidden import HiddenCosineLoss, HiddenMSELoss, PKDLoss
from losses.margin import MultiMarginLoss
from losses.multi_label import MultiLabelMarginLoss, MultiLabelSoftMarginLoss
from losses.ranking import LambdaLoss, ListNetLoss, PairwiseHingeLoss, RankNetLoss
from losses.regression import HuberLoss, L1Loss, MSELoss, PoissonNLLLoss, SmoothL1Loss
from losses.relations import ContrastiveLoss, GramLoss, NSTLoss, RKDLoss, SimilarityLoss
from losses.soft_target import SoftTargetLoss
from losses.teacher_ranking import ListKLLoss, MarginMSELoss
from losses.teacher_scores import LogitCosineLoss, LogitMSELoss, ScoreMSELoss

__all__ = [
    "LOSSES",
    "AttentionKLLoss",
    "AttentionMSELoss",
    "BCELoss",
    "BCEWithLogitsLoss",
    "CRFLoss",
    "ContrastiveLoss",
    "CrossEntropyLoss",
    "DISTLoss",
    "DecoupledLoss",
    "FocalLoss",
    "GramLoss",
    "HiddenCosineLoss",
    "HiddenMSELoss",
    "HuberLoss",
    "L1Loss",
    "LambdaLoss",
    "ListKLLoss",
    "ListNetLoss",
    "LogitCosineLoss",
    "LogitMSELoss",
    "Loss",
    "MSELoss",
    "MarginMSELoss",
    "MiniLMLoss",
    "MiniLMv2Loss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "NSTLoss",
    "PKDLoss",
    "PairwiseHingeLoss",
    "PoissonNLLLoss",
    "RKDLoss",
    "RankNetLoss",
    "ScoreMSELoss",
    "SimilarityLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "SoftTargetLoss",
]
