"""Work that another process does when it is told to, with the C library's memory as a process comes: `keep_freed` holds for a whole process."""
import multiprocessing
from typing import Callable

from . import timing


class Elsewhere:
    """Callable; a call returns when the other process has done its work once. That process ends with this one.

    Args:
        make: a function of a module, of `arguments`; returns what is done at each call.
    """

    def __init__(self, make: Callable[..., Callable[[], object]], *arguments):
        import torch

        start = multiprocessing.get_context("spawn")
        self.line, other = start.Pipe()
        self.process = start.Process(target=_serve, args=(other, timing.device(), torch.get_num_threads(), make, arguments), daemon=True)
        self.process.start()
        other.close()
        self.line.recv()  # ready; EOFError: it died

    def __call__(self) -> None:
        self.line.send(None)
        self.line.recv()


def _serve(line, device: str, threads: int, make: Callable[..., Callable[[], object]], arguments: tuple) -> None:
    import torch

    timing.use(device)
    torch.set_num_threads(threads)
    work = make(*arguments)
    line.send(None)
    while True:
        try:
            line.recv()
        except EOFError:
            return
        timing.seconds(work)  # with everything that it began on a GPU
        line.send(None)
