"""Parts that the networks share, and the frozen fast copy that attacks run on."""
import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def conv_norm(inputs: int, outputs: int, kernel, *, stride=1, padding=None, dilation=1, groups: int = 1, dimensions: int = 2) -> nn.Sequential:
    """A convolution without bias and its batch normalisation, as the pair that `folded` knows how to merge.

    `padding=None` keeps the size at stride 1 (odd kernels).
    """
    if padding is None:
        kernels = kernel if isinstance(kernel, tuple) else (kernel,) * dimensions
        dilations = dilation if isinstance(dilation, tuple) else (dilation,) * dimensions
        padding = tuple(d * (k // 2) for k, d in zip(kernels, dilations))
    conv, norm = {1: (nn.Conv1d, nn.BatchNorm1d), 2: (nn.Conv2d, nn.BatchNorm2d)}[dimensions]
    return nn.Sequential(conv(inputs, outputs, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups, bias=False), norm(outputs))


def folded(model: nn.Module) -> nn.Module:
    """A frozen copy in evaluation mode with each batch normalisation merged into the convolution before it, weights channels-last, and the gradient of
    convolutions over a single channel computed another way.

    The logits are the same up to rounding; forward and input gradient take about half the time.
    """
    fast = copy.deepcopy(model).eval().requires_grad_(False)
    for module in list(fast.modules()):
        if isinstance(module, nn.Sequential):
            _fold_pairs(module)
            _swap_stems(module)
    return fast.to(memory_format=torch.channels_last)


def _fold_pairs(chain: nn.Sequential) -> None:
    for i in range(len(chain) - 1):
        # Their subclasses do something of their own with the weights.
        if type(chain[i]) in (nn.Conv1d, nn.Conv2d) and type(chain[i + 1]) in (nn.BatchNorm1d, nn.BatchNorm2d):
            chain[i], chain[i + 1] = fuse_conv_bn_eval(chain[i], chain[i + 1]), nn.Identity()


def _swap_stems(chain: nn.Sequential) -> None:
    for i, module in enumerate(chain):
        if type(module) is nn.Conv2d and module.in_channels == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str):
            chain[i] = Stem(module)


class StemConvolution(torch.autograd.Function):
    """A convolution over one channel whose input gradient is a matrix product and a sum of overlapping patches (col2im). Libraries lay convolutions out for many
    input channels: with one, their gradient takes several times as long as the convolution. The weights get no gradient.

    Shapes: (batch, 1, height, width) and the convolution -> (batch, channels, height', width').
    """

    @staticmethod
    def forward(ctx, x: Tensor, conv: nn.Conv2d) -> Tensor:
        ctx.conv, ctx.size, ctx.dtype = conv, x.shape[2:], x.dtype
        return conv(x)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        conv = ctx.conv
        weight = conv.weight.flatten(1).t().to(gradient.dtype)
        patches = (weight @ gradient.permute(0, 2, 3, 1).flatten(1, 2).transpose(1, 2)).to(conv.weight.dtype)  # sums of patches are slow in bfloat16
        return nn.functional.fold(patches, ctx.size, conv.kernel_size, conv.dilation, conv.padding, conv.stride).to(ctx.dtype), None


class Stem(nn.Module):
    """A frozen convolution over one channel, see `StemConvolution`. Shapes as of `conv`."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        return StemConvolution.apply(x, self.conv) if x.requires_grad else self.conv(x)


class Rough(nn.Module):
    """A network whose convolutions and matrix products are computed in bfloat16: a rough gradient in about two thirds of the time, where a processor has the
    instructions for it (AVX-512 BF16, AMX). Front ends and what is not a product stay in float32.

    Args:
        network: a classifier.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network, self.labels, self.sample_rate = network, network.labels, network.sample_rate
        self.training = network.training

    def forward(self, waveforms: Tensor) -> Tensor:
        with torch.autocast(waveforms.device.type, dtype=torch.bfloat16):
            return self.network(waveforms).float()


class StraightThrough(torch.autograd.Function):
    """The value of one tensor with the gradient of another of the same shape.

    `s + (f - s).detach()` has the same gradient but may miss f by one rounding; here the forward value is f, bit for bit.
    """

    @staticmethod
    def forward(ctx, exact: Tensor, surrogate: Tensor) -> Tensor:
        return exact.view_as(exact)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return None, gradient


def straight_through(exact: Tensor, surrogate: Tensor) -> Tensor:
    """`exact` going forward, `surrogate` going backward (Athalye et al. 2018, arXiv:1802.00420, section 4.1: BPDA).

    Shapes: both alike, and so is the result.
    """
    return StraightThrough.apply(exact.detach(), surrogate)


def count_parameters(model: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(p.numel() for p in model.parameters())
