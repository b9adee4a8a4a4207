"""How many clips at a time are fastest on this machine, within a bound of memory."""
import time

import torch
from torch import Tensor, nn

from ..attacks.base import FULL_CALL

SIZES = (16, 32, 64, 128, 256)
USUAL = 32  # without a measurement
FROM = 2 * USUAL  # clips; for fewer a measurement takes longer than it saves
BLOCK = 4 * FULL_CALL  # clips that an attack gets which asks one question a clip at a time: its calls are full until three of four clips have left
COPIES = 16  # of a clip that such an attack holds, about
SHARE = 4  # of the memory that is free, one part in so many
SLOWER = 1.1  # than the best so far: larger sizes are not tried


def best_batch_size(model: nn.Module, clips: Tensor, memory: int | None = None) -> int:
    """The fastest of SIZES for a forward pass and an input gradient of a network.

    Args:
        model: a frozen classifier on the device of the clips.
        clips: (batch, time); at least two, of which as many as needed are repeated.
        memory: bytes that the values kept for the gradient may take; None stands for a quarter of what is free.

    Returns:
        A size whose values fit into `memory`; at least 1. The choice changes speed alone.
    """
    bound = free_memory(clips.device) // SHARE if memory is None else memory
    most = max(1, bound // max(1, bytes_of_a_clip(model, clips)))
    sizes = [size for size in SIZES if size <= most] or [min(most, SIZES[0])]
    best, fastest = sizes[0], float("inf")
    for size in sizes:
        seconds = _seconds_a_clip(model, clips, size)
        if seconds < fastest:
            best, fastest = size, seconds
        if seconds > SLOWER * fastest:
            break
    return best


def block_of_questions(samples: int, device: torch.device) -> int:
    """Clips at a time for an attack that asks one question a clip at a time, each of so many samples: BLOCK, or what fits into a quarter of the free memory."""
    return max(USUAL, min(BLOCK, free_memory(device) // SHARE // (4 * COPIES * samples)))


def bytes_of_a_clip(model: nn.Module, clips: Tensor) -> int:
    """Bytes of the values that autograd keeps for one clip, from a pass over two. Weights are counted by nobody twice: views of them share storage."""
    kept: dict[int, int] = {}
    weights = {weight.untyped_storage().data_ptr() for weight in (*model.parameters(), *model.buffers())}

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in weights:
            kept[place] = max(kept.get(place, 0), tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _pass(model, clips, 2)
    return sum(kept.values()) // 2


def free_memory(device: torch.device) -> int:
    """Bytes that are free on the device; on the CPU what Linux calls available, elsewhere 2 GiB."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return 2 * 2**30


def _seconds_a_clip(model: nn.Module, clips: Tensor, size: int) -> float:
    """The faster of two passes."""
    times = []
    for _ in range(2):
        started = time.perf_counter()
        _pass(model, clips, size)
        if clips.device.type == "cuda":
            torch.cuda.synchronize(clips.device)
        times.append(time.perf_counter() - started)
    return min(times) / size


def _pass(model: nn.Module, clips: Tensor, size: int) -> None:
    with torch.enable_grad():
        heard = clips[torch.arange(size, device=clips.device) % len(clips)].detach().requires_grad_()
        total = model(heard).sum()
        if total.requires_grad:
            torch.autograd.grad(total, heard, allow_unused=True)
