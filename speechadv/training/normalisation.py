"""Batch normalisation over the clips of all processes: a batch that is shared out is normalised as one process would have normalised it.

torch's own `SyncBatchNorm` works on GPUs alone; this one works wherever the processes can add tensors.
"""
import torch
import torch.distributed as distributed
from torch import Tensor, nn


class Added(torch.autograd.Function):
    """The sum of a tensor over the processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


class _Synchronised:
    """Mean and variance are those of the clips of all processes (Ioffe and Szegedy 2015, algorithm 1, with the whole batch); in evaluation nothing differs."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        axes, shape = [axis for axis in range(x.ndim) if axis != 1], (1, -1, *(1,) * (x.ndim - 2))
        sums = Added.apply(torch.cat([x.sum(axes), x.new_tensor([x.numel() / x.shape[1]])]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = x - mean.view(shape)
        variance = Added.apply(centred.square().sum(axes)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        out = centred * (variance + self.eps).rsqrt().view(shape)
        return out * self.weight.view(shape) + self.bias.view(shape) if self.affine else out

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if not self.track_running_stats:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class Synchronised1d(_Synchronised, nn.BatchNorm1d):
    """(batch, channels) or (batch, channels, time)"""


class Synchronised2d(_Synchronised, nn.BatchNorm2d):
    """(batch, channels, height, width)"""


KINDS = {nn.BatchNorm1d: Synchronised1d, nn.BatchNorm2d: Synchronised2d}


def synchronise(model: nn.Module) -> nn.Module:
    """Replace each batch normalisation inside the model by one over all processes, with the same parameters, buffers and names."""
    for name, child in model.named_children():
        kind = KINDS.get(type(child))
        if kind is None:
            synchronise(child)
            continue
        shared = kind(child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats)
        shared._parameters, shared._buffers = child._parameters, child._buffers
        setattr(model, name, shared.train(child.training))
    return model
