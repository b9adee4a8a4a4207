"""Memory that tensors free stays with the process."""
import subprocess
import sys

import pytest

PASSES = """
import resource, sys
import torch
from speechadv.memory import keep_freed

if sys.argv[1] == "kept" and not keep_freed():
    sys.exit("not glibc")

def one_pass():  # layers of a network, as memory sees them: together more than the C library keeps by itself
    layers = [torch.ones(2_000_000) for _ in range(8)]

one_pass()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    one_pass()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 20)
"""


def faults(way: str) -> int:
    """Page faults a pass, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", PASSES, way], capture_output=True, text=True, timeout=120)
    if "not glibc" in done.stderr:
        pytest.skip("not glibc")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_passes_of_a_network_fault_no_pages_in_again():
    plain, kept = faults("plain"), faults("kept")
    assert plain > 5_000, "64 MB a pass are 16,000 pages: this test measures nothing"
    assert kept < plain / 10
