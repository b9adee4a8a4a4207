"""Memory that tensors free stays with the process."""
import subprocess
import sys

import pytest

PASSES = """
import resource, sys
import torch
from speechadv import load_model
from speechadv.memory import keep_freed
from speechadv.models.layers import folded

if sys.argv[1] == "kept" and not keep_freed():
    sys.exit("not glibc")
torch.set_num_threads(2)
model, clips = folded(load_model("resnet")), torch.zeros(64, 16000)

def one_pass():
    heard = clips.clone().requires_grad_()
    torch.autograd.grad(model(heard).sum(), heard)

for _ in range(5):
    one_pass()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    one_pass()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 5)
"""


def faults(way: str) -> int:
    """Page faults a pass, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", PASSES, way], capture_output=True, text=True, timeout=120)
    if "not glibc" in done.stderr:
        pytest.skip("not glibc")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_passes_of_a_network_fault_no_pages_in_again():
    kept, plain = faults("kept"), faults("plain")
    assert kept < 1000, f"{plain} without keep_freed"  # a clip is 16 pages, what a network makes of 64 of them thousands
