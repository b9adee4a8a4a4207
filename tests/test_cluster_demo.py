"""`make cluster-demo` in small: a real cluster of two nodes on this machine, one of which is killed on the way; the same files byte for byte."""
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cluster_demo import NOT_STARTED

pytest.importorskip("ray")
LONGEST = 700  # seconds; 20 on two idle cores, some minutes where a twentieth of a core is left


@pytest.mark.timeout(LONGEST + 200)
def test_a_cluster_that_loses_a_node_gives_the_same_files():
    words = [sys.executable, "-m", "benchmarks.cluster_demo", "--clips", "4", "--steps", "2", "--batch-size", "1", "--within", "120"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=Path(__file__).parents[1],
                               env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        out, err = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        if "two nodes are there" not in out:
            pytest.skip(f"Ray did not start within {LONGEST} s on this machine")
        raise
    if process.returncode == NOT_STARTED:
        pytest.skip(f"Ray did not start on this machine: {err.splitlines()[-1]}")
    assert process.returncode == 0, out + err
    assert "one node is killed" in out and out.endswith("byte for byte\n")
