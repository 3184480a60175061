"""What losses share: how their inputs are checked and read, how rows are reduced, weights by label."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from core.conf import NonNegativeFloat
from core.errors import UserError, did_you_mean
from core.types import NO_TARGET, Features, Spec
from losses.base import Loss

LabelWeights = list[NonNegativeFloat] | dict[str, NonNegativeFloat] | None
"""One weight for each label: by name, or a list in the order of ids (the most frequent label of train first)."""


class ReducedConf(Loss.Conf):
    """The Conf of a loss that reduces the losses of rows to one number."""

    reduction: Literal["mean", "sum"] = "mean"
    """How the losses of the rows become one number."""
    size_average: bool | None = None
    """Old name of reduction: true is mean, false is sum."""

    ignored = {"reduce": "A loss is always one number."}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size_average is not None:
            object.__setattr__(self, "reduction", "mean" if self.size_average else "sum")

    @property
    def is_sum(self) -> bool:
        return self.reduction == "sum"


class RowLoss(Loss):
    """A loss of one layer and one target column that keeps its Conf and has no weights to learn."""

    conf: ReducedConf

    def __init__(self, conf: ReducedConf, output: Spec, target: Spec) -> None:
        super().__init__()
        conf.check(output, target)
        self.conf = conf


class RangedLoss(RowLoss):
    """A loss that is defined for values in a range only.

    Others are a UserError in the first batch, and on a CPU in every batch. On a GPU a look would hold up each step:
    there the loss of a wrong row becomes NaN, which training reports with the lines of the batch.
    """

    looked = False

    def wrong_rows(self, values_B: Tensor, sentence: str, highest: float = torch.inf) -> Tensor:
        """Which values are not from 0 to `highest`; NaN is wrong, but no UserError: training has its own for that."""
        if not self.looked or values_B.device.type == "cpu":
            refuse_values((values_B < 0) | (values_B > highest), values_B, sentence)
        return ~((values_B >= 0) & (values_B <= highest))

    def as_number(self, losses_B: Tensor, wrong_B: Tensor) -> Tensor:
        """The losses of rows as one number, NaN where one is wrong."""
        self.looked = True
        return reduced(losses_B.masked_fill(wrong_B, torch.nan), self.conf.reduction)


class WeightedConf(ReducedConf):
    """The Conf of a loss on the scores of all labels, with a weight for each."""

    reads_logits: ClassVar = True

    weight: LabelWeights = None
    """Weight of each label: by name ({"0": 0.1, "1": 0.9}) or a list in the order of ids. null = 1."""

    takes_tokens: ClassVar[bool] = False
    """Whether the loss also takes one target for each token, or the place of a token."""

    def check(self, output: Spec, target: Spec) -> None:
        check_class_scores(output, target, self.takes_tokens)
        check_label_weights("weight", self.weight, output, target)

    def notices(self, output: Spec, target: Spec) -> dict[str, str]:  # type: ignore[override]
        return order_notice("weight", self.weight, target)


class WeightedLoss(RowLoss):
    """A loss on the scores of all labels, with a weight for each."""

    weight: Tensor | None

    def __init__(self, conf: WeightedConf, output: Spec, target: Spec) -> None:
        super().__init__(conf, output, target)
        self.register_buffer("weight", label_weights(conf.weight, target), persistent=False)


def logits_of(features: Features) -> Tensor:
    """The scores of a layer before softmax or sigmoid, in float32: its part `logits`, else its values."""
    return features.parts.get("logits", features.values).float()


def class_scores(output: Features, target: Tensor, of_places: bool = False) -> tuple[Tensor, Tensor]:
    """Logits N x C in float32 and target ids of N: of rows, or of all tokens with NO_TARGET where they do not count.

    of_places  the classes of a row are its tokens; a place that is not read, as it was cut, does not count
    """
    logits = logits_of(output)
    if not of_places:
        return logits.flatten(0, -2), target.flatten()
    logits_BT = logits.squeeze(-1) if logits.dim() == 3 else logits
    if output.mask is None:
        return logits_BT, target
    is_read_B = output.mask.gather(1, target.clamp(min=0).unsqueeze(1)).squeeze(1)
    return logits_BT.masked_fill(~output.mask, -torch.inf), target.masked_fill(~is_read_B, NO_TARGET)


def one_per_row(tensor: Tensor, target_B: Tensor) -> Tensor:
    """`tensor` of B or B x 1 as float32 of B: without the trailing 1, which would broadcast to B x B."""
    values_B = tensor.float().squeeze(-1) if tensor.dim() == 2 else tensor.float()
    assert values_B.shape == target_B.shape, f"{tuple(tensor.shape)} for targets of {tuple(target_B.shape)}"
    return values_B


def reduced(losses_B: Tensor, reduction: str, weights_B: Tensor | None = None) -> Tensor:
    """The mean or the sum of the losses of rows; weights_B are in them, and the mean divides by their sum.

    The mean of rows that all have no weight is 0, not the 0 / 0 of torch.
    """
    if reduction == "sum":
        return losses_B.sum()
    if weights_B is None:
        return losses_B.mean()
    total = weights_B.sum()
    return losses_B.sum() / total.masked_fill(total == 0, torch.inf)


def refuse_values(refused_B: Tensor, values_B: Tensor, sentence: str) -> None:
    """UserError if any value is refused. Waits for the device."""
    if bool(refused_B.any()):
        lowest, highest = values_B.detach().aminmax()
        raise UserError(f"{sentence}, but its input runs from {float(lowest):g} to {float(highest):g}.")


def check_one_target(target: Spec) -> None:
    """ValueError unless there is one target for each row."""
    if target.axes == "BT":
        raise ValueError("needs one target for each row, but this one has one for each token. Take CrossEntropyLoss.")
    if target.axes == "BC":
        raise ValueError(
            "needs one target for each row, but this one holds any number of labels. Take BCEWithLogitsLoss."
        )
    target.expect("B")


def check_label_target(target: Spec, takes_tokens: bool = False) -> None:
    """ValueError unless the target is a column of labels, one for each row.

    takes_tokens  one for each token, or the place of a token, is right too
    """
    if not (takes_tokens and target.axes == "BT"):
        check_one_target(target)
    if not target.ids:
        raise ValueError("needs a target of labels, but this one holds numbers (dataset_type regression).")
    if target.places and not takes_tokens:
        raise ValueError("needs a target of labels, but this one holds places of tokens. Take CrossEntropyLoss.")


def check_class_scores(output: Spec, target: Spec, takes_tokens: bool = False) -> None:
    """ValueError unless the layer gives one score for each label (or for each token, of which one is the target)."""
    check_label_target(target, takes_tokens)
    if target.places:
        if output.expect("BTD", "BT").sizes.get("D", 1) != 1:
            raise ValueError(f"needs one score for each token, but the layer gives {output}.")
        return
    _check_one_per_label(output.expect("BTD" if target.axes == "BT" else "BD"), target)


def check_label_scores(output: Spec, target: Spec) -> None:
    """ValueError unless the target is any number of labels for each row, and the layer gives one score for each."""
    if target.axes != "BC":
        hint = " Take CrossEntropyLoss." if target.ids else ""
        raise ValueError(f"needs a target of any number of labels for each row (dataset_type multi_label).{hint}")
    _check_one_per_label(output.expect("BD"), target)


def _check_one_per_label(output: Spec, target: Spec) -> None:
    given, labels = output.sizes.get("D"), target.labels
    if given is not None and labels is not None and given != len(labels):
        is_single = target.ids and (given, len(labels)) == (1, 2)
        hint = " For a single score of two labels take BCEWithLogitsLoss." if is_single else ""
        raise ValueError(f"needs one score for each of the {len(labels)} labels, but the layer gives {given}.{hint}")


def check_one_per_row(output: Spec, hint: str = "") -> None:
    """ValueError unless the layer gives one number for each row; `hint` says what suits more."""
    output.expect("BD", "B")
    if output.sizes.get("D", 1) != 1:
        raise ValueError(f"needs one number for each row (B x 1), but the layer gives {output}.{hint}")


def check_two_labels(target: Spec, hint: str = "Take CrossEntropyLoss.") -> None:
    """ValueError unless the target is a column of two labels; `hint` says what suits more."""
    check_label_target(target)
    if target.labels is not None and len(target.labels) != 2:
        raise ValueError(f"needs a target of 2 labels, but this one has {len(target.labels)}. {hint}")


def check_values(output: Spec, target: Spec) -> None:
    """ValueError unless the layer gives one number for each row and the target is numbers."""
    check_one_target(target)
    check_one_per_row(output)
    if target.ids:
        raise ValueError("needs a target of numbers (dataset_type regression), but this one holds labels.")


def check_label_weights(field: str, weights: LabelWeights, output: Spec, target: Spec) -> None:
    """ValueError unless there is one weight for each label, as far as the labels are known yet."""
    if weights is None:
        return
    if target.places:
        raise ValueError(f"{field} belongs to labels, but this target holds places of tokens.")
    labels = target.labels
    if isinstance(weights, dict):
        negative = [label for label, weight in weights.items() if weight < 0]
        if negative:
            raise ValueError(f"{field} of label '{negative[0]}' must be at least 0, got {weights[negative[0]]:g}.")
        if labels is None:
            return
        for label in weights:
            if label not in labels:
                hint = did_you_mean(label, labels) or f" Known: {', '.join(labels)}."
                raise ValueError(f"{field} names '{label}', which is no label.{hint}")
        missing = [label for label in labels if label not in weights]
        if missing:
            raise ValueError(f"{field} must name every label; missing: {', '.join(missing)}.")
        return
    count = output.sizes.get("D") if labels is None else len(labels)
    if count is not None and len(weights) != count:
        named = f": {', '.join(labels)}" if labels else ""
        raise ValueError(f"{field} has {len(weights)} entries, but there are {count} labels{named}.")


def order_notice(field: str, weights: LabelWeights | float, target: Spec) -> dict[str, str]:
    """What is to say about weights that belong to labels whose order only the data tells."""
    if not isinstance(weights, list) or target.labels is not None:
        return {}
    sentence = "goes by how often labels occur in train, the most frequent first."
    return {f"conf.{field}": f'{sentence} {{"label": weight}} does not depend on that.'}


def label_weights(weights: LabelWeights | float, target: Spec) -> Tensor | None:
    """weights_C in float32, in the order of label ids; a number stays one."""
    if isinstance(weights, dict):
        assert target.labels is not None, "a loss is built after the labels are known"
        weights = [weights[label] for label in target.labels]
    return None if weights is None else torch.tensor(weights, dtype=torch.float32)
