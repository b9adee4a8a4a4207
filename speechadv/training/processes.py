"""Several processes that train one network together, begun by `torchrun`; or one process alone, for which nothing here does anything.

Each process holds a replica and computes its share of every batch. The gradients are averaged (DistributedDataParallel), so that all replicas take the step
that one process would have taken with the whole batch.
"""
import contextlib
import datetime
import gc
import hashlib
import os
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Sequence, TypeVar

from ..errors import ConfigError, SpeechAdvError, shown

T = TypeVar("T")
LONGEST_WAIT = datetime.timedelta(hours=12)  # for the others, such as for a teacher's answers: `torchrun` itself notices a process that died


@dataclass(frozen=True)
class Group:
    """The processes of a run, seen by one of them.

    Attributes:
        rank: of this process, from 0.
        size: number of processes.
        joined: whether `torchrun` began them.
        local: rank among those of this machine.
    """

    rank: int = 0
    size: int = 1
    joined: bool = False
    local: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def mine(self, batch: Sequence[T]) -> Sequence[T]:
        """This process's share of a batch: each `size`-th, so that the shares are alike in length and in kind."""
        return batch[self.rank :: self.size]

    def mine_of_first(self, count: int) -> int:
        """How many of the first `count` of a batch are this process's."""
        return len(range(self.rank, count, self.size))

    def replica(self, model: Any) -> Any:
        """The model to call in training: its gradients will be averaged over the processes."""
        if not self.joined:
            return model
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(model)

    def gathered(self, thing: T) -> list[T]:
        """What each process has, in the order of their ranks. All must call it."""
        if not self.joined:
            return [thing]
        import torch.distributed as distributed

        things: list = [None] * self.size
        distributed.all_gather_object(things, thing)
        return things

    def sent(self, thing: T) -> T:
        """What the first process has. All must call it."""
        if not self.joined:
            return thing
        import torch.distributed as distributed

        things = [thing]
        distributed.broadcast_object_list(things)
        return things[0]

    def one_a_machine(self, make: Callable[[], T]) -> T:
        """Something that is made once and kept on disk: the first process of each machine makes it, then the others find it. All must call it."""
        try:
            made = make() if self.local == 0 else None
        finally:  # those who wait find out for themselves
            self.gathered(None)
        return made if self.local == 0 else make()

    @contextlib.contextmanager
    def agreeing(self) -> Iterator[None]:
        """Work that may be refused, in all processes: where it is in any, the first process raises the error and the others leave with status 2 in silence."""
        problem = None
        try:
            yield
        except SpeechAdvError as refusal:
            problem = refusal
        problems = [(rank, found) for rank, found in enumerate(self.gathered(problem)) if found is not None]
        if problems and not self.leads:
            raise SystemExit(2)
        if problems:
            rank, found = problems[0]
            raise found if rank == 0 else type(found)(f"process {rank} of {self.size}: {found}")

    def check_alike(self, tensors: Sequence[Any], when: str) -> None:
        """Raise SpeechAdvError where the processes hold other numbers."""
        if self.size == 1:
            return
        digest = hashlib.blake2b()
        for tensor in tensors:
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        if len(set(self.gathered(digest.hexdigest()))) > 1:
            raise SpeechAdvError(f"{when}: the replicas of the {self.size} processes have drifted apart; are they of one kind of machine?")


ALONE = Group()


@contextlib.contextmanager
def joined(device: str) -> Iterator[Group]:
    """The group that `torchrun` began this process in, left at the end; `ALONE` where it did not.

    Args:
        device: what the user asked for; decides how the processes talk: gloo for the CPU, nccl for GPUs.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield ALONE
        return
    import torch
    import torch.distributed as distributed

    own = device_of(device)
    if own.startswith("cuda") and torch.cuda.is_available():
        torch.cuda.set_device(own)
    store, rank, size = next(distributed.rendezvous("env://", timeout=LONGEST_WAIT))
    if size == int(os.environ["LOCAL_WORLD_SIZE"]):  # the launcher's store outlives the processes: those of a restart must not call those that died
        store = distributed.PrefixStore(f"attempt-{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    distributed.init_process_group("nccl" if own.startswith("cuda") else "gloo", store=store, rank=rank, world_size=size, timeout=LONGEST_WAIT)
    try:
        yield Group(rank, size, True, int(os.environ["LOCAL_RANK"]))
    except RuntimeError as problem:
        if not isinstance(problem, distributed.DistBackendError) and "gloo" not in str(problem):
            raise
        raise SpeechAdvError(f"process {rank} of {size}: another process of this run is gone; what is finished is kept") from None
    finally:
        # Replicas refer to the group and, in circles, to themselves: left to the interpreter's end, a thread of the group's that still lets go of a Python object then aborts the process.
        gc.collect()
        distributed.destroy_process_group()


def device_of(word: str) -> str:
    """The device of this process: each one of a machine has its own GPU. Raises ConfigError: a certain GPU is asked for."""
    local = os.environ.get("LOCAL_RANK") if "TORCHELASTIC_RUN_ID" in os.environ else None
    if local is None or not word.startswith("cuda"):
        return word
    if word != "cuda":
        raise ConfigError(f"--device '{shown(word)}': under torchrun each process takes its own: expected cpu or cuda")
    return f"cuda:{local}"


def command_line(words: str) -> str:
    """A command as it was begun: with `torchrun` and its number of processes in front where that is so."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return words
    each, size = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    nodes = f"--nnodes {size // each} " if size > each else ""
    return f"torchrun {nodes}--nproc-per-node {each} -m {words}"
