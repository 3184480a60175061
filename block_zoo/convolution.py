"""What the convolving blocks share: windows over real tokens, and batch norm that no padding takes part in."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from block_zoo.masking import length_mask, real_index, scatter_real, zero_padding
from core.types import Features


def window_count(length: int, window: int, stride: int, padding: int = 0) -> int:
    """How many windows fit into `length` places with `padding` zeros at both ends; at least one."""
    return max(1, (length + 2 * padding - window) // stride + 1)


def window_counts(lengths: Tensor, window: int, stride: int, padding: int = 0) -> Tensor:
    """`window_count` of many lengths; no window where there is no text."""
    counts = torch.div(lengths + 2 * padding - window, stride, rounding_mode="floor") + 1
    return counts.clamp(min=1).masked_fill(lengths == 0, 0)


def over_windows(tokens: Features, values_BTD: Tensor, window: int, stride: int, padding: int = 0) -> Features:
    """Values over the windows of texts; mask and lengths count the windows that lie in each text."""
    if tokens.mask is None:
        return Features(values_BTD)
    lengths = window_counts(tokens.host_lengths(), window, stride, padding)
    return Features(
        values_BTD, length_mask(lengths.to(values_BTD.device, non_blocking=True), values_BTD.shape[1]), lengths
    )


def around_token(window: int) -> tuple[int, int]:
    """The zeros left and right of a text that give one window around every token; of even windows one more right."""
    return (window - 1) // 2, window // 2


def padding_notice(padding: int | list[int], padding_type: str) -> dict[str, str]:
    """What is to say about a padding that its type does not use."""
    idle = padding_type == "SAME" and padding not in (0, [0, 0])
    return {"padding": "has no effect. padding_type SAME pads by itself."} if idle else {}


def convolve(conv: nn.Conv1d, states_BTD: Tensor, left: int, right: int) -> Tensor:
    """The convolution over T with `left` and `right` zeros around it; short texts get zeros up to one window.

    As an image of height 1 the features stay last in memory; conv1d would copy them to B x D x T and back.
    """
    right += max(0, conv.kernel_size[0] - (left + states_BTD.shape[1] + right))
    both = min(left, right)
    if left != right:
        states_BTD = F.pad(states_BTD, (0, 0, left - both, right - both))
    images_BDHT = states_BTD.transpose(1, 2).unsqueeze(2)
    convolved_BDHT = F.conv2d(
        images_BDHT,
        conv.weight.unsqueeze(2),
        conv.bias,
        stride=(1, conv.stride[0]),
        padding=(0, both),
        groups=conv.groups,
    )
    return convolved_BDHT.squeeze(2).transpose(1, 2)


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch norm over the last axis whose statistics know real values only, and that takes a batch of one row.

    One value has no variance: it is normalised by the running statistics, as in evaluation.
    Reference: Ioffe and Szegedy 2015, Batch Normalization, algorithm 1.
    """

    def forward(self, values: Tensor) -> Tensor:
        """Normalise N x D."""
        return F.batch_norm(
            values,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training and len(values) > 1,
            momentum=self.momentum or 0.0,
            eps=self.eps,
        )

    def over_tokens(self, tokens: Features) -> Tensor:
        """Normalise the real tokens of B x T x D; zeros at padding."""
        values = tokens.values
        if not self.training:
            return zero_padding(self(values.flatten(0, 1)).view_as(values), tokens.mask)
        flat_ND, index_N = values.flatten(0, 1), real_index(tokens)
        real_ND = self(flat_ND if index_N is None else flat_ND[index_N])
        return scatter_real(real_ND, index_N, *values.shape[:2])

    def over_grid(self, values: Tensor, mask: Tensor | None) -> Tensor:
        """Normalise the real places of B x T x S x D; zeros elsewhere.

        A mask over two texts has no lengths in host memory, so the moments are taken without picking places out.
        """
        if mask is None or not self.training:
            return zero_padding(self(values.flatten(0, -2)).view_as(values), mask)
        assert self.running_mean is not None and self.running_var is not None
        axes, count = tuple(range(values.ndim - 1)), mask.sum()
        real = zero_padding(values.float(), mask)
        mean = real.sum(axes) / count.clamp(min=1)
        variance = zero_padding(real - mean, mask).square().sum(axes) / count.clamp(min=1)
        many = count > 1
        scale = self.weight * torch.where(many, variance, self.running_var).add(self.eps).rsqrt()
        normed = (real - torch.where(many, mean, self.running_mean)) * scale + self.bias
        with torch.no_grad():
            momentum = many * (self.momentum or 0.0)
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * count / (count - 1).clamp(min=1), momentum)
        return zero_padding(normed, mask).to(values.dtype)
