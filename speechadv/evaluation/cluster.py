"""The engine on Ray: one machine, a Slurm allocation, Kubernetes. Ray moves bytes and starts processes; nothing of that is ours.

Models and the set's sound go once to each node's object store. A worker needs neither the data set nor a shared file system: what it would have written into
the run's folder comes back as bytes, and this process alone writes.
"""
import os
import re
import socket
import time
from collections import Counter
from typing import Callable, Iterable, Iterator

from ..audio import silent
from ..errors import ConfigError, SpeechAdvError, shown
from .remote import check_version, installed_version
from .blocks import Block, Doing, Done

ANSWER_WITHIN = 60.0  # seconds: a node that says nothing about its version until then is asked again by its first task
CONNECT_WITHIN = 5.0  # seconds; Ray itself tries for minutes
SHOWN_NODES = 4  # by name in the progress bar


class OnRay:
    """The engine.

    Args:
        address: "auto" for the cluster that this machine belongs to, HOST:PORT, or None for this machine's cores alone.
        cores: of each task.
        gpus: of each task; fractions share a GPU. Where there are some, tasks work on "cuda".
        notice: is told one line about what the user should know.

    Raises:
        ConfigError: no such address.
    """

    def __init__(self, address: str | None = None, cores: float = 1, gpus: float = 0, notice: Callable[[str], None] = silent):
        if address not in (None, "auto") and not re.fullmatch(r"[^\s/]+:[0-9]{1,5}", address):
            raise ConfigError(f"--address '{shown(address)}': expected auto or HOST:PORT")
        for name, number in (("cores", cores), ("gpus", gpus)):
            if not (0 < number <= 1 or number >= 0 and number == int(number) < 10_000) or name == "cores" and not number:
                raise ConfigError(f"--{name}: expected a fraction of one or a whole number, got {number}")
        self.address, self.cores, self.gpus, self.notice = address, cores, gpus, notice
        self.clips_of: Counter[str] = Counter()  # done, by node
        self._since: dict[str, float] = {}
        self._mine = False

    def ready(self) -> None:
        """Join the cluster or start one on this machine, and ask each node for its version.

        Raises SpeechAdvError: Ray is not installed, no cluster answers, or a node has another speechadv.
        """
        ray = imported()
        if not ray.is_initialized():
            self._connect(ray)
        self._check_versions(ray)

    def run(self, items: Iterable[Block], worker: Doing) -> Iterator[Done]:
        """Do the blocks, in any order. Raises SpeechAdvError: a node has another version, or a block is an error by itself."""
        from .running import Running

        ray = imported()
        if not ray.is_initialized():
            self.ready()
        try:
            yield from Running(ray, self, worker).all(items)
        finally:
            if self._mine:
                self._mine = False
                ray.shutdown()

    def count(self, node: str, clips: int, seconds: float) -> None:
        """A node has done so many clips, in so many seconds of one of its processes."""
        self._since.setdefault(node, time.monotonic() - seconds)
        self.clips_of[node] += clips

    def status(self) -> str:
        """Clips a second by node, for the progress bar."""
        now = time.monotonic()
        rates = {node: clips / max(1e-9, now - self._since[node]) for node, clips in sorted(self.clips_of.items())}
        if len(rates) > SHOWN_NODES:
            slowest = min(rates, key=rates.get)
            return f"{len(rates)} nodes, {sum(rates.values()):.1f}/s, slowest {slowest} {rates[slowest]:.1f}/s"
        return ", ".join(f"{node} {rate:.1f}/s" for node, rate in rates.items())

    def _connect(self, ray) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anyone
        try:
            if self.address not in (None, "auto"):
                host, _, port = self.address.rpartition(":")
                socket.create_connection((host.strip("[]"), int(port)), CONNECT_WITHIN).close()
            alone = {"include_dashboard": False} if self.address is None else {}
            ray.init(address=self.address or "local", log_to_driver=False, logging_level="ERROR", **alone)
        except Exception as problem:  # Ray raises whatever it likes, a bare Exception where a node does not begin in half a minute
            if self.address is None:
                raise SpeechAdvError(f"--engine ray: Ray did not begin on this machine ({type(problem).__name__}); is it busy?") from None
            raise ConfigError(f"--address {shown(self.address)}: expected a Ray cluster there ({type(problem).__name__}): "
                              "begin one with `ray start --head`") from None
        self._mine = True

    def _check_versions(self, ray) -> None:
        """Raise SpeechAdvError where a node that can work has another speechadv, or none."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ask, asked = ray.remote(max_retries=0, num_cpus=0)(check_version), {}
        for node in ray.nodes():
            if node["Alive"] and node["Resources"].get("CPU", 0) > 0:
                here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                asked[ask.options(scheduling_strategy=here).remote(installed_version())] = node
        answered = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_WITHIN)[0] if asked else []
        for reference in answered:
            try:
                ray.get(reference)
            except ray.exceptions.RayTaskError as problem:
                if isinstance(problem.cause, SpeechAdvError):
                    raise problem.cause from None
                raise SpeechAdvError(f"--engine ray: node {asked[reference]['NodeID'][:6]} ({shown(asked[reference]['NodeManagerHostname'])}) has no speechadv "
                                     f"that works ({type(problem.cause).__name__}); this process has {installed_version()}") from None
            except ray.exceptions.RayError:  # it left; whoever takes its place is asked by its first task
                continue


def imported():
    """Ray, or ConfigError naming the extra."""
    try:
        import ray
    except ImportError:
        raise ConfigError("--engine ray: needs Ray: pip install 'speechadv[ray]'") from None
    return ray
