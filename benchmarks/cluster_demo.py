"""`make cluster-demo`: a small evaluation on two nodes of this machine, one of which is lost on the way, beside the same without a cluster."""
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator
from unittest import mock

import click

from speechadv.evaluation.blocks import Block, Doing, Done
from speechadv.evaluation.cluster import OnRay
from speechadv.evaluation.engine import Engine
from speechadv.evaluation.run import evaluate
from speechadv.evaluation.settings import EvaluationConfig

SAME = ("rows.jsonl", "table.csv", "table.md", "table.tex", "result.json")
SMALL = {"object_store_memory": 100 << 20, "include_log_monitor": False}
HEAD = {"num_cpus": 0, "include_dashboard": False, "no_monitor": True} | SMALL
NOT_STARTED = 3  # exit status


class NotStarted(Exception):
    """Ray did not begin within its time: the machine is too busy."""


class Nodes:
    """A head without cores, and nodes of one core each, on this machine; a context manager that stops them all. Nodes are added in the main thread.

    Args:
        within: seconds that the machine may take for each step before NotStarted is raised; Ray itself gives up after half a minute.
    """

    def __init__(self, within: float = 120.0):
        self.within, self.cluster = within, None
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> "Nodes":
        import ray
        from ray.cluster_utils import Cluster

        # Workers at the niceness of 15 that Ray gives them take minutes beside other work; its own processes are slow to answer each other then.
        settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "RAY_agent_register_timeout_ms": f"{1000 * self.within:.0f}"}
        self._undo.enter_context(mock.patch.dict(os.environ, settings))
        self._undo.enter_context(mock.patch("ray._private.services.get_node", self._patient(ray._private.services.get_node)))
        self._undo.callback(self._stop)
        with self._starting():
            self.cluster = Cluster(initialize_head=True, head_node_args=HEAD)
            ray.init(address=self.cluster.address, log_to_driver=False, logging_level="ERROR")
        return self

    def __exit__(self, *problem: object) -> None:
        self._undo.close()

    @property
    def address(self) -> str:
        """HOST:PORT of the head."""
        return self.cluster.address

    def add(self, **options: Any) -> Any:
        """One more node. Raises NotStarted."""
        with self._starting():
            return self.cluster.add_node(wait=False, num_cpus=1, **SMALL, **options)

    def lose(self, node: Any) -> None:
        """Kill all processes of a node."""
        self.cluster.remove_node(node, allow_graceful=False)

    def wait_for(self, cores: int) -> None:
        """Until there are so many. Raises NotStarted."""
        import ray

        end = time.monotonic() + self.within
        while ray.cluster_resources().get("CPU", 0) != cores:
            if time.monotonic() > end:
                raise NotStarted(f"a cluster of {cores} cores was not there after {self.within:g} s")
            time.sleep(0.1)

    def _patient(self, get_node: Callable) -> Callable:
        def get(*words: Any) -> Any:
            end = time.monotonic() + self.within
            while True:
                try:
                    return get_node(*words)
                except RuntimeError:  # not there yet
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.5)

        return get

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        try:
            yield
        except Exception as problem:  # Ray raises whatever it likes where a process does not begin
            raise NotStarted(f"Ray did not begin ({type(problem).__name__})") from problem

    def _stop(self) -> None:
        import ray

        ray.shutdown()
        if self.cluster is not None:
            self.cluster.shutdown()


class Losing:
    """An engine that loses something once the first rows are written."""

    def __init__(self, engine: Engine, lose: Callable[[], None]):
        self.engine, self.lose = engine, lose
        self.ready, self.status = engine.ready, engine.status

    def run(self, items: Iterable[Block], worker: Doing) -> Iterator[Done]:
        """What the engine does."""
        with contextlib.closing(self.engine.run(items, worker)) as outcomes:
            for number, done in enumerate(outcomes):
                yield done
                if number == 0:
                    self.lose()


def lose_a_node(config: EvaluationConfig, out: Path, engine: Engine, lose: Callable[[], None], alone: Path | None = None) -> list[str]:
    """Run a config on a cluster, take a node away once the first rows are there, and compare with the same run in this process.

    Args:
        config: what to run.
        out: folder for both runs.
        engine: on the cluster.
        lose: takes the node away.
        alone: the run of this process, where it was made before.

    Returns:
        The files that differ, rows, tables and sound; none, if all is well. With rows that failed the first entry says how many.
    """
    if alone is None:
        alone = out / "alone"
        evaluate(config, alone)
    result = evaluate(config, out / "cluster", engine=Losing(engine, lose))
    mine, theirs = contents(out / "cluster"), contents(alone)
    failed = [f"{result['failed']} rows failed"] if "failed" in result else []
    return failed + sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))


def contents(run: Path) -> dict[str, bytes]:
    """All of a run that must not depend on where it was made, by relative paths."""
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in sorted(run.rglob("*")) if path.suffix == ".wav" or path.name in SAME}


@click.command()
@click.option("--clips", default=60, show_default=True, type=click.IntRange(2))
@click.option("--steps", default=20, show_default=True, type=click.IntRange(1), help="Of PGD.")
@click.option("--batch-size", default=4, show_default=True, type=click.IntRange(1))
@click.option("--within", default=120.0, show_default=True, help="Seconds that Ray may take for each step of its start.")
def main(clips, steps, batch_size, within):
    """Start the cluster, run, compare, stop it. Exit status 1 where anything differs, 3 where Ray does not start."""
    config = EvaluationConfig(attacks=[{"name": "pgd", "steps": steps, "full": True}], budgets=["linf:0.001", "linf:0.002"], models=["resnet"],
                              defenses=["none", "bandpass:100-7000"], data=["bundled"], clips=clips, batch_size=batch_size, audio="all")
    try:
        with Nodes(within) as nodes:
            _, second = (nodes.add() for _ in range(2))
            nodes.wait_for(2)
            click.echo("a head and two nodes are there")
            engine = OnRay(nodes.address, notice=lambda line: click.echo(f"note: {line}"))

            def lose() -> None:
                click.echo("the first rows are there: one node is killed")
                nodes.lose(second)

            with tempfile.TemporaryDirectory() as folder:
                differ = lose_a_node(config, Path(folder), engine, lose)
                click.echo((Path(folder) / "cluster" / "table.md").read_text("utf-8"))
            click.echo(f"done on the cluster: {engine.status()}")
    except NotStarted as problem:
        click.echo(f"error: {problem}", err=True)
        sys.exit(NOT_STARTED)
    click.echo("; ".join(differ) + " differ" if differ else "rows, tables and sound are the same as without a cluster, byte for byte")
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
