"""What a written report compares: verdicts, paired differences, what failed."""
import pytest

from speechadv.evaluation import rows as row_files
from speechadv.report.findings import Difference, Findings, Subject

ALONE, BEHIND = "none", "mp3:32"


@pytest.fixture
def found(make_run):
    """`found({(defense, threat, budget, clip number): columns})`: findings of the small run with some rows changed."""

    def make(changes=(), **choices):
        run = make_run(sound=False, model="net", **choices)
        rows = row_files.read_finished(run / "rows.jsonl")
        for (defense, threat, budget, clip), columns in dict(changes).items():
            for row in rows:
                if (row["defense"], row["threat"], row["budget"]) == (defense, threat, budget) and row["clip"].endswith(f"_{clip}.wav"):
                    row |= columns
        row_files.rewrite(run / "rows.jsonl", rows)
        return Findings(run)

    return make


def test_a_verdict_is_the_worst_of_all_attacks_and_needs_an_adaptive_one(found):
    run = found()
    behind = Subject("net", BEHIND)
    assert run.verdict(behind, "linf:0.002")["threat"] == "adaptive" and run.verdict(behind, "linf:0.002")["targeted_success"] == 1
    assert run.oblivious(behind, "linf:0.002")["targeted_success"] == pytest.approx(1 / 3)
    worse = found({(BEHIND, "oblivious", "linf:0.001", clip): {"adversarial_prediction": "no"} for clip in range(3)}, name="other")
    assert worse.verdict(behind, "linf:0.001")["threat"] == "oblivious" and worse.not_adaptive(behind) == ["linf:0.001"]
    rows = [row for row in row_files.read_finished(run.folder / "rows.jsonl") if row["threat"] != "adaptive" or row["defense"] == ALONE]
    row_files.rewrite(run.folder / "rows.jsonl", rows)
    assert Findings(run.folder).verdict(behind, "linf:0.001") is None


def test_what_an_unknowing_attack_flatters_is_told(found):
    ((subject, budget, seen, real),) = found().misleading()
    assert (str(subject), budget) == ("net behind mp3:32", "linf:0.002")
    assert seen["targeted_success"] == pytest.approx(1 / 3) and real["targeted_success"] == 1


def test_differences_are_paired_and_two_sided(found):
    run = found({(ALONE, "adaptive", "linf:0.002", clip): {"adversarial_prediction": "yes"} for clip in range(1, 12)}, clips=12)
    difference = run.difference(Subject("net", BEHIND), run.base, "linf:0.002")
    assert (difference.better, difference.worse, difference.word) == (0, 11, "worse") and difference.p == 2 * 0.5**11
    (compared,) = run.compared
    assert not compared.helped and compared.least[0] == "linf:0.002"
    assert Difference(3, 3).word == Difference(0, 0).word == Difference(5, 0).word == "no difference" and Difference(0, 0).p == 1
    assert Difference(6, 0).word == "better" and Difference(0, 6).word == "worse"


def test_a_clip_that_is_wrong_anyway_is_no_merit_of_a_defense(found):
    wrong = {(BEHIND, threat, "linf:0.001", 0): {"clean_prediction": "go", "adversarial_prediction": "go"} for threat in ("oblivious", "adaptive")}
    run = found(wrong)
    difference = run.difference(Subject("net", BEHIND), run.base, "linf:0.001")
    assert (difference.better, difference.worse) == (0, 0)
    price = run.price(Subject("net", BEHIND), run.base)
    assert (price.better, price.worse) == (0, 1)


def test_where_it_fails(found):
    run = found(clips=12)
    assert run.hardest(Subject("net", BEHIND)) == "linf:0.002"
    (weak,) = run.weak_labels(Subject("net", BEHIND), "linf:0.002")
    assert weak["label"] == "yes" and weak["clips"] == 12 and weak["robust_accuracy"] == 0
    assert run.confusions(Subject("net", BEHIND), "linf:0.002") == [("yes", "no", 12)]
    assert [budget for budget, _ in run.over_size(run.base)[0]] == ["linf:0.001", "linf:0.002"]
    assert run.speakers == 1 and run.labels == {"yes": 12}
