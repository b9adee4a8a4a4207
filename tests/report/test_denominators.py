"""No rate stands alone: every table, page, figure and report says of how many clips it is."""
import json
import re

import pytest

from speechadv.report.document import percent_words
from speechadv.report.figures import draw
from speechadv.report.figures.rates import counted, rate_of
from speechadv.report.tables import cells_of_line, heads

CELL = {"clips": 3, "clips_right": 3}


def test_tables_have_both_denominators(saved_run):
    lines = (saved_run / "table.md").read_text("utf-8").splitlines()
    head, *body = [line.strip("| ").split(" | ") for line in lines[: 2 + len(json.loads((saved_run / "result.json").read_text())["cells"])]]
    for name, number in (("clips", "3"), ("right", "3")):
        assert {row[head.index(name)] for row in body[1:]} == {number}
    assert (saved_run / "table.csv").read_text().split("\n")[0].split(",")[7:9] == ["clips", "clips_right"]
    assert "Accuracy in percent by label (with the number of clips)" in "\n".join(lines) and "yes (3)" in "\n".join(lines)


def test_the_page_has_both(saved_run):
    page = (saved_run / "index.html").read_text("utf-8")
    assert re.search(r"<th scope=\"col\" class=\"number\">right</th>", page) and ("In all lines" in page and "clips 3" in page or ">clips</th>" in page)


@pytest.mark.parametrize("kind", ["success", "security"])
def test_figures_name_the_denominator(saved_run, kind):
    assert any("(of 3 clips right before)" in axis.get_ylabel() + axis.get_xlabel() for axis in draw(kind, saved_run).axes)


def test_denominators_that_differ_are_a_range():
    cells = [{"targeted_success": None, "clips": 960, "clips_right": 900}, {"targeted_success": None, "clips": 1200, "clips_right": 900}]
    assert rate_of(cells)[1] == "right before and after (of 960 to 1,200 clips)" and counted([4, 4]) == "4"


def test_a_report_says_of_how_many():
    line = CELL | {f"{name}{end}": 1 / 3 for name in ("clean_accuracy", "targeted_success") for end in ("", "_low", "_high")}
    assert percent_words(line | {"clips_right": 2}, "targeted_success") == "33.3 % [33.3, 33.3] of 2"
    assert percent_words(line, "clean_accuracy") == "33.3 % [33.3, 33.3] of 3" and percent_words(line | {"clean_accuracy": None}, "clean_accuracy") == "–"
    assert heads(True)[6:8] == ["clips", "right"]


def test_small_rates_are_not_rounded_to_none():
    """One clip of 960 is 0.1 %, and the counts stand beside it; full precision is in table.csv."""
    line = dict.fromkeys(("model", "defense", "attack", "threat", "budget"), "x") | {"seed": 0, "clips": 960, "clips_right": 960, "robust_accuracy": 1 / 960, "clean_accuracy": 1.0}
    line |= {f"{name}{end}": 1 / 960 for name in ("clean_accuracy", "robust_accuracy", "targeted_success") for end in ("_low", "_high")} | {"targeted_success": None}
    line |= dict.fromkeys(("snr_db_median", "linf_median", "masking_excess_db_median", "passes_mean", "queries_mean"))
    assert cells_of_line(line)[6:10] == ["960", "960", "100.0 [0.1, 0.1]", "0.1 [0.1, 0.1]"]
