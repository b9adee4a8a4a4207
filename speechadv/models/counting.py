"""How large a network is, and how much work one second of sound is for it."""
import torch
from torch import nn

from .deployed import Deployed
from .layers import count_parameters


def parameters(model: nn.Module) -> int:
    """Trained parameters; of a deployed file the float constants of its rebuilding. 0 where nothing is known of the inside."""
    return count_parameters(rebuilt(model))


def multiply_adds(model: nn.Module) -> int:
    """Multiply-adds of one second of sound: those of all convolutions and matrix products, front end included.

    Fourier transforms, normalisation and activations are not counted, as papers on small networks do not count them either.

    Args:
        model: waveforms (batch, time) -> logits (batch, classes), with `.sample_rate`.
    """
    from torch.utils.flop_counter import FlopCounterMode

    network = rebuilt(model)
    parameter = next(network.parameters(), None)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, network.sample_rate, device=None if parameter is None else parameter.device))
    return counter.get_total_flops() // 2


def rebuilt(model: nn.Module) -> nn.Module:
    """The network itself; of a deployed file, whose runtime shows nothing of its inside, the float rebuilding where it has one."""
    return model.trainable().eval() if isinstance(model, Deployed) and model.surrogate is not None else model
