"""Memory that tensors free stays with the process."""
import click
import pytest

from benchmarks.kept_memory import of_process


def test_passes_of_a_network_fault_no_pages_in_again():
    try:
        kept = of_process("kept")
    except click.ClickException as problem:
        if "not glibc" not in problem.message:
            raise
        pytest.skip("not glibc")
    assert kept["faults"] < 1000, f"{of_process('as it comes')['faults']} without keep_freed"  # a clip is 16 pages, what a network makes of 64 of them thousands
