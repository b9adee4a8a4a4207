"""`make cluster-demo`: a small evaluation on two nodes of this machine, one of which is lost on the way, beside the same without a cluster."""
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Callable

import click

from speechadv.evaluation.cluster import OnRay
from speechadv.evaluation.folder import ROWS
from speechadv.evaluation.run import evaluate
from speechadv.evaluation.settings import EvaluationConfig

SAME = ("rows.jsonl", "table.csv", "table.md", "table.tex", "result.json")
STORE = 100 << 20  # bytes of a node's object store


def lose_a_node(config: EvaluationConfig, out: Path, engine: OnRay, lose: Callable[[], None], alone: Path | None = None) -> list[str]:
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
    watch = threading.Thread(target=_once_there, args=(out / "cluster" / ROWS, lose), daemon=True)
    watch.start()
    result = evaluate(config, out / "cluster", engine=engine)
    watch.join()
    mine, theirs = contents(out / "cluster"), contents(alone)
    failed = [f"{result['failed']} rows failed"] if "failed" in result else []
    return failed + sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))


def _once_there(file: Path, then: Callable[[], None]) -> None:
    while not file.exists() or not file.stat().st_size:
        time.sleep(0.05)
    then()


def contents(run: Path) -> dict[str, bytes]:
    """All of a run that must not depend on where it was made, by relative paths."""
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in sorted(run.rglob("*")) if path.suffix == ".wav" or path.name in SAME}


@click.command()
@click.option("--clips", default=60, show_default=True, type=click.IntRange(2))
def main(clips):
    """Start the cluster, run, compare, stop it. Exit status 1 where anything differs."""
    import ray
    from ray.cluster_utils import Cluster

    config = EvaluationConfig(attacks=[{"name": "pgd", "steps": 20, "full": True}], budgets=["linf:0.001", "linf:0.002"], models=["resnet"],
                              defenses=["none", "bandpass:100-7000"], data=["bundled"], clips=clips, batch_size=4, audio="all")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False})
    try:
        _, second = (cluster.add_node(wait=False, num_cpus=1, object_store_memory=STORE) for _ in range(2))
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        click.echo("a head and two nodes are there")
        engine = OnRay(notice=lambda line: click.echo(f"note: {line}"))

        def lose() -> None:
            click.echo("the first rows are there: one node is killed")
            cluster.remove_node(second, allow_graceful=False)

        with tempfile.TemporaryDirectory() as folder:
            differ = lose_a_node(config, Path(folder), engine, lose)
            click.echo((Path(folder) / "cluster" / "table.md").read_text("utf-8"))
        click.echo(f"done on the cluster: {engine.status()}")
    finally:
        ray.shutdown()
        cluster.shutdown()
    click.echo("; ".join(differ) + " differ" if differ else "rows, tables and sound are the same as without a cluster, byte for byte")
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
