"""Statistics, metrics, aggregation and the table's text, on rows made by hand."""
import csv
import io
import json
from math import comb

import pytest

from speechadv.evaluation import rows as row_files
from speechadv.evaluation.aggregate import by_cell, classes, table, worst_rows
from speechadv.evaluation.metrics import by_label, mean, middle, quality_medians, robust, succeeded, summary
from speechadv.evaluation.statistics import sign_test, wilson
from speechadv.report.tables import COLUMNS, as_csv, as_latex, as_markdown, cells_of_line, heads, latex


@pytest.mark.parametrize("successes, trials, expected", [(8, 10, (0.490162, 0.943318)), (0, 10, (0.0, 0.277533)), (10, 10, (0.722467, 1.0)), (50, 100, (0.403832, 0.596168))])
def test_wilson(successes, trials, expected):
    assert wilson(successes, trials) == pytest.approx(expected, abs=2e-6)


def test_wilson_covers():
    """Exact coverage over the binomial distribution, averaged over rates; the interval is for 95 %."""
    trials, coverages = 60, []
    inside = [wilson(k, trials) for k in range(trials + 1)]
    for percent in range(2, 99, 2):
        rate = percent / 100
        chances = [comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(trials + 1)]
        coverages.append(sum(chance for chance, (low, high) in zip(chances, inside) if low <= rate <= high))
    assert 0.93 <= sum(coverages) / len(coverages) <= 0.97
    assert min(coverages) > 0.88


def test_wilson_without_trials_and_with_nonsense():
    assert wilson(0, 0) is None
    with pytest.raises(ValueError, match="expected 0 to 3"):
        wilson(4, 3)


def test_sign_test():
    assert sign_test(0, 0) == 1 and sign_test(5, 0) == 1 / 32 and sign_test(1, 1) == 0.75


def test_what_a_row_says(row):
    assert robust(row()) and not robust(row(before="no")) and not robust(row(after="no"))
    assert succeeded(row(after="no")) and not succeeded(row())
    assert not succeeded(row(before="no", after="no")), "a clip that was wrong before is nobody's success"
    assert succeeded(row(after="go", target="go")) and not succeeded(row(after="no", target="go"))


def test_denominators(row):
    rows = [row("1", after="go", target="go", snr_db=20.0), row("2", target="go", snr_db=None), row("3", after="up", target="go", snr_db=40.0),
            row("4", before="no", after="go", target="go", snr_db=90.0, passes=99)]
    line = summary(rows, targeted=True, attacked_adaptively=True)
    assert (line["clips"], line["clips_right"]) == (4, 3)
    assert line["clean_accuracy"] == 3 / 4 and line["robust_accuracy"] == 1 / 4 and line["targeted_success"] == 1 / 3
    assert (line["targeted_success_low"], line["targeted_success_high"]) == wilson(1, 3)
    assert line["snr_db_median"] == 30 and line["passes_mean"] == 10, "over the clips that were right, nulls left out"
    assert middle([row(snr_db=None)], "snr_db") is mean([row(snr_db=None)], "snr_db") is None
    assert line["linf_median"] == 0.002 and line["masking_excess_db_median"] == -1
    untargeted = summary(rows[:1], targeted=False, attacked_adaptively=False)
    assert untargeted["targeted_success"] is untargeted["robust_accuracy"] is untargeted["robust_accuracy_high"] is None
    assert [summary([row(queries=n) for n in asked], True, True)["queries_mean"] for asked in ((3, 0), (0, 0))] == [1.5, None], "null where none was asked"
    nothing = summary([row(before="no", target="go")], targeted=True, attacked_adaptively=True)
    assert nothing["targeted_success"] is nothing["targeted_success_low"] is None


def test_no_robust_accuracy_without_an_adaptive_attack(cell):
    oblivious = dict(defense="mp3:32", threat="oblivious", adaptive=False)
    lines = table(cell(3, **oblivious), targeted=False)
    assert lines[0]["robust_accuracy"] is None and lines[0]["clean_accuracy"] == 1
    assert cells_of_line(lines[0])[heads(False).index("robust %")] == "not attacked adaptively"
    lines = table(cell(3, **oblivious) + cell(9, defense="mp3:32"), targeted=False)
    assert [line["robust_accuracy"] for line in lines] == [37 / 40, 31 / 40]
    other_budget = table(cell(3, **oblivious) + cell(9, defense="mp3:32", budget="linf:0.001"), targeted=False)
    assert other_budget[0]["robust_accuracy"] is None


def test_worst_of_several_attacks(cell):
    rows = cell({0, 1}, clips=4, attack="pgd", passes=5) + cell({1, 2}, clips=4, attack="pgd loss=margin", passes=7, snr_db=35.0)
    cells = by_cell(rows)
    assert [key[2] for key in cells] == ["pgd", "pgd loss=margin", "worst-of"]
    worst = cells["m", "none", "worst-of", "adaptive", "linf:0.002", 0]
    assert [succeeded(r) for r in worst] == [True, True, True, False]
    assert {r["passes"] for r in worst} == {12} and worst[1]["snr_db"] == 35, "of two successes the quieter one"
    assert [key[2] for key in by_cell(cell(1))] == ["pgd"]


def test_worst_leaves_out_clips_that_an_attack_lacks(cell):
    assert len(worst_rows([cell(1, clips=4), cell(1, clips=3)])) == 3
    assert {row["adaptive"] for row in worst_rows([cell(0, clips=4), cell(3, clips=4, adaptive=False)])} == {True}, "of a line that an adaptive attack is in"


def test_worst_prefers_a_target_and_then_any_wrong_word(row):
    hit, wrong, right = (row(target="go", after=word) for word in ("go", "up", None))
    assert worst_rows([[wrong], [hit], [right]])[0]["adversarial_prediction"] == "go"
    assert worst_rows([[right], [wrong]])[0]["adversarial_prediction"] == "up"


def test_balanced_mean(row):
    rows = [row("1"), row("2"), row("3", after="no"), row("4", label="no", before="yes", after="yes")]
    entry = classes(rows)[0]
    assert [(e["label"], e["clips"], e["clean_accuracy"], e["robust_accuracy"]) for e in entry["labels"]] == [("no", 1, 0, 0), ("yes", 3, 1, 2 / 3)]
    assert entry["clean_accuracy_balanced"] == 0.5 and entry["robust_accuracy_balanced"] == pytest.approx(1 / 3)


def test_accuracies_by_label_without_an_adaptive_attack_and_without_rows(row):
    entry = by_label([row("1"), row("2", before="no")], attacked_adaptively=False)
    assert entry["labels"] == [{"label": "yes", "clips": 2, "clips_right": 1, "clean_accuracy": 0.5, "robust_accuracy": None}]
    assert entry["clean_accuracy_balanced"] == 0.5 and entry["robust_accuracy_balanced"] is None
    assert by_label([], attacked_adaptively=True) == {"labels": [], "clean_accuracy_balanced": None, "robust_accuracy_balanced": None}


def test_medians_of_quality_are_over_clips_heard_right(row):
    rows = [row("1") | {"pesq": 2.0}, row("2") | {"pesq": 4.0}, row("3") | {"pesq": None}, row("4", before="no") | {"pesq": 1.0}]
    assert quality_medians(rows) == {"pesq_median": 3.0} and quality_medians([row()]) == quality_medians([]) == {}
    assert quality_medians([row(before="no") | {"pesq": 1.0}]) == {"pesq_median": None}


def test_csv_is_exact(cell):
    lines = table(cell(1, clips=3), targeted=False)
    (line,) = csv.DictReader(io.StringIO(as_csv(lines)))
    assert tuple(line) == COLUMNS and line["adaptive"] == "true" and line["targeted_success"] == ""
    assert float(line["robust_accuracy"]) == 2 / 3 and float(line["robust_accuracy_low"]) == wilson(2, 3)[0]


def test_markdown_and_latex_escape(cell):
    rows = cell(1, clips=3, model="a|b<i>_&%")
    lines = table(rows, targeted=True)
    result = {"goal": "targeted", "finished": True, "cells": lines, "flags": [], "classes": classes(rows), "corruptions": [], "corruption_reference": None}
    text = as_markdown(result)
    assert "a\\|b&lt;i>_&%" in text and "robust % (targeted run)" in text and "No sanity flag" in text
    assert r"a|b<i>\_\&\%" in as_latex(lines, True) and latex("–\\") == r"--\textbackslash{}"
    assert "not finished" in as_markdown(result | {"finished": False})


def test_a_row_survives_as_a_line(row):
    content = row("ja/\udcff\n \"'.wav", snr_db=None)
    line = row_files.encode(content)
    assert line.count("\n") == 1 and row_files.decode(line) == content
    json.loads(line)


@pytest.mark.parametrize("change", [lambda s: s[:-1], lambda s: s[: len(s) // 2], lambda s: s.replace("30.0", "31.0"), lambda s: "", lambda s: "[]\n", lambda s: "{}\n",
                                    lambda s: s.replace("30.0", "NaN"), lambda s: s.replace('"seed"', '"sead"'), lambda s: "[" * 100_000])
def test_a_torn_or_changed_line_is_seen(change, row):
    assert row_files.decode(change(row_files.encode(row()))) is None


def test_rows_cannot_hold_nan(row):
    with pytest.raises(ValueError):
        row_files.encode(row(snr_db=float("nan")))


def test_reading_rows(tmp_path, cell):
    path = tmp_path / "rows.jsonl"
    assert row_files.read(path) == ([], [])
    rows = cell(1, clips=3)
    row_files.append(path, rows)
    row_files.append(path, rows[:1])
    with open(path, "ab") as file:
        file.write(b'{"model": "m\xff')
    assert row_files.read(path) == (rows, [5]), "a key counts once"
    assert row_files.read_finished(path) == rows
    row_files.rewrite(path, rows)
    path.write_bytes(path.read_bytes().replace(b"30.0", b"99.0", 1))
    with pytest.raises(Exception, match="line 1 is broken or was changed"):
        row_files.read_finished(path)


def test_no_minus_zero():
    from speechadv.report.tables import number

    assert number(-0.04, ".1f") == "0.0" == number(0.0, ".1f") and number(-0.06, ".1f") == "-0.1" and number(None, ".1f") == "–"


def test_wilson_ends_at_0_and_1_exactly():
    """Whatever floating point makes of the formula."""
    for trials in range(1, 200):
        assert wilson(0, trials)[0] == 0.0 and wilson(trials, trials)[1] == 1.0
