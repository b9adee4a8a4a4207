"""docs/theory.md quotes what recipes/theory printed, and nothing else."""
from pathlib import Path

from speechadv.report import theory

ROOT = Path(__file__).parents[1]


def test_theory_quotes_what_the_command_printed():
    printed = theory.passages((ROOT / "results/theory/theory.md").read_text("utf-8"), theory.MEASURED)
    assert printed and theory.passages(theory.theory_text(), theory.MEASURED) == printed
