"""Intervals by simulation and exactly, paired tests against SciPy, and comparisons of cells."""
import numpy as np
import pytest
from scipy import stats

from benchmarks.coverage_of_intervals import bound_coverage, exact_coverage, paired_coverage, simulated_coverage
from speechadv.evaluation.comparison import Paired, Side, compare, paired
from speechadv.evaluation.metrics import right_before, robust, succeeded, summary
from speechadv.evaluation.rows import rewrite
from speechadv.evaluation.smoothing import lower_bound
from speechadv.evaluation.statistics import Z, mcnemar, paired_bootstrap, sign_test, wilson
from speechadv.errors import ConfigError, InputError

SIZES = (44, 48, 100, 200, 400, 960)  # clips of our tables


@pytest.mark.parametrize("trials", SIZES)
def test_wilson_covers_95_percent_on_average_and_everywhere_but_at_the_edges(trials):
    """Exact, over a fine grid of rates: 93 to 97 % wherever at least ten clips of either kind are expected; nearer to 0 and 1 it dips, but on average
    over all rates it covers 95 %."""
    rates = np.linspace(0, 1, 1001)[1:-1]
    coverage = exact_coverage(trials, rates)
    inner = np.minimum(rates, 1 - rates) * trials >= 10
    assert 0.93 <= coverage[inner].min() and coverage[inner].max() <= 0.97
    assert 0.95 <= coverage.mean() <= 0.953 and coverage.min() > 0.83


@pytest.mark.parametrize("trials, rate", [(48, 0.5), (100, 0.9), (400, 0.968), (400, 0.05), (960, 0.882), (960, 0.031)])
def test_wilson_covers_in_simulated_runs(trials, rate):
    """4,000 runs with fixed seeds: between 93 and 97 of 100 intervals hold the rate that the clips were drawn with."""
    assert 0.93 <= simulated_coverage(trials, rate, runs=4000, seed=7) <= 0.97


def test_the_tables_own_interval_covers(row):
    """The whole way from rows to `robust_accuracy_low` and `_high`, 300 simulated cells of 48 clips."""
    draw, rate, held = np.random.default_rng(3), 0.7, 0
    for _ in range(300):
        cell = [row(str(number), after=None if robust_ else "no") for number, robust_ in enumerate(draw.random(48) < rate)]
        line = summary(cell, targeted=False, attacked_adaptively=True)
        held += line["robust_accuracy_low"] <= rate <= line["robust_accuracy_high"]
    assert 0.93 <= held / 300 <= 0.97


@pytest.mark.parametrize("successes, trials", [(0, 10), (3, 10), (10, 10), (57, 60), (847, 960)])
def test_wilson_is_scipys(successes, trials):
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-7)
    assert Z == pytest.approx(stats.norm.ppf(0.975), abs=1e-6)


@pytest.mark.parametrize("trials", [100, 1000])
@pytest.mark.parametrize("alpha", [0.001, 0.05])
def test_the_certificates_bound_holds_at_least_as_often_as_it_says(trials, alpha):
    """Clopper-Pearson is exact from below: whatever the rate, the bound is above it with a chance of at most alpha."""
    coverage = bound_coverage(trials, alpha, np.linspace(0, 1, 401)[1:-1])
    assert coverage.min() >= 1 - alpha - 1e-12
    expected = stats.binomtest(trials - 3, trials, alternative="greater").proportion_ci(1 - alpha, method="exact").low
    assert lower_bound(trials - 3, trials, alpha) == pytest.approx(expected) and lower_bound(0, trials, alpha) == 0


@pytest.mark.parametrize("one, other", [(0, 0), (1, 0), (0, 6), (1, 9), (9, 1), (7, 7), (40, 12), (300, 250)])
def test_mcnemar_is_scipys_two_sided_binomial_test(one, other):
    expected = stats.binomtest(one, one + other).pvalue if one + other else 1
    assert mcnemar(one, other) == pytest.approx(expected) and mcnemar(other, one) == mcnemar(one, other)


@pytest.mark.parametrize("more, fewer", [(0, 0), (5, 0), (3, 4), (12, 40)])
def test_sign_test_is_scipys_one_sided_binomial_test(more, fewer):
    expected = stats.binomtest(more, more + fewer, alternative="greater").pvalue if more + fewer else 1
    assert sign_test(more, fewer) == pytest.approx(expected)


def test_mcnemar_seldom_cries_wolf():
    """Two equal networks, 400 simulated comparisons on 100 clips: p is below 5 % at most 5 times in 100, as the exact test promises."""
    draw = np.random.default_rng(5)
    ps = [mcnemar(*draw.multinomial(100, [0.1, 0.1, 0.8])[:2]) for _ in range(400)]
    assert np.mean(np.array(ps) < 0.05) <= 0.05


@pytest.mark.parametrize("more, fewer, same", [(9, 1, 38), (30, 20, 50), (0, 0, 48), (90, 0, 6)])
def test_the_paired_bootstrap_is_scipys(more, fewer, same):
    differences = np.repeat([1, -1, 0], [more + 1, fewer + 1, same])
    expected = stats.bootstrap((differences,), np.mean, method="percentile", n_resamples=9999, random_state=np.random.default_rng(1)).confidence_interval
    assert paired_bootstrap(more, fewer, same) == pytest.approx((expected.low, expected.high), abs=1.5 / len(differences))
    assert paired_bootstrap(more, fewer, same) == paired_bootstrap(more, fewer, same), "the same seed"


def test_the_paired_bootstrap_is_antisymmetric_and_needs_clips():
    low, high = paired_bootstrap(12, 3, 85)
    assert paired_bootstrap(3, 12, 85) == pytest.approx((-high, -low), abs=0.011)
    assert low < 0.09 < high and paired_bootstrap(0, 0, 0) is None


@pytest.mark.parametrize("clips, better, worse", [(48, 0.2, 0.05), (100, 0.1, 0.1), (400, 0.05, 0.01), (400, 0.9, 0.0)])
def test_the_paired_bootstrap_covers_in_simulated_runs(clips, better, worse):
    assert 0.92 <= paired_coverage(clips, better, worse, runs=300, seed=2) <= 1


def test_clips_are_paired_by_name(row):
    a = [row("1"), row("2"), row("3", after="no"), row("4", after="no"), row("5", after="no"), row("6")]
    b = [row("6", after="no"), row("5"), row("4"), row("3", after="no"), row("2"), row("7")]
    found = paired(a, b, robust)
    assert found == Paired(both=1, only_a=1, only_b=2, neither=1) and found.clips == 5
    figures = found.figures()
    assert (figures["a"], figures["b"], figures["clips"], figures["difference"]) == (2, 3, 5, 0.2) and figures["p"] == mcnemar(1, 2)
    assert (figures["difference_low"], figures["difference_high"]) == paired_bootstrap(2, 1, 2)


def test_success_is_compared_over_clips_that_both_hear_right(row):
    a, b = [row("1", target="go", after="go"), row("2", target="go", before="no", after="go")], [row("1", target="go"), row("2", target="go")]
    assert paired(a, b, succeeded, right_before) == Paired(0, 1, 0, 0)
    nothing = paired(a[1:], b[1:], succeeded, right_before).figures()
    assert nothing["clips"] == 0 and nothing["difference"] is nothing["difference_low"] is None and nothing["p"] == 1


@pytest.fixture
def folder(tmp_path, cell):
    """`folder(rows...)`: a run with these rows."""
    def make(*cells, name="run", goal="untargeted"):
        run = tmp_path / name
        run.mkdir()
        (run / "config.toml").write_text(f'attacks = ["pgd"]\nbudgets = ["linf:0.002"]\ngoal = "{goal}"\n')
        rewrite(run / "rows.jsonl", [row for part in cells for row in part])
        return run

    return make


def test_cells_that_differ_in_what_was_named(folder, cell):
    run = folder(cell(30), cell(4, model="n"), cell(20, model="n", budget="snr:30"), cell(25, budget="snr:30"))
    clean, *attacked = compare(Side(run, ["model=m"]), Side(run, ["model=n"]))
    assert clean["measure"] == "clean_accuracy" and (clean["a"], clean["b"], clean["p"]) == (40, 40, 1)
    assert [(entry["measure"], entry["a_cell"]["budget"], entry["a"], entry["b"], entry["clips"]) for entry in attacked] == [
        ("robust_accuracy", "linf:0.002", 10, 36, 40), ("robust_accuracy", "snr:30", 15, 20, 40)]
    assert attacked[0]["only_b"] == 26 and attacked[0]["p"] == mcnemar(26, 0) and attacked[0]["difference"] == 26 / 40
    assert {entry["b_cell"]["model"] for entry in attacked} == {"n"} and all(e["a_cell"]["budget"] == e["b_cell"]["budget"] for e in attacked)


def test_no_robust_accuracy_is_compared_that_no_adaptive_attack_measured(folder, cell):
    run = folder(cell(3), cell(1, defense="mp3:32", threat="oblivious", adaptive=False), cell(2, defense="mp3:16"))
    sent = Side(run, ["defense=mp3:32", "threat=oblivious"])
    assert [e["measure"] for e in compare(Side(run, ["defense=none", "threat=adaptive"]), sent)] == ["clean_accuracy"]
    assert [e["measure"] for e in compare(Side(run, ["defense=none"]), Side(run, ["defense=mp3:16"]))] == ["clean_accuracy", "robust_accuracy"]


def test_the_command_tells_its_lines_apart(folder, cell, run):
    made = folder(*(cell(20, model=model, defense=defense) for model in "mn" for defense in ("none", "mp3:32")))
    status, printed, _ = run("compare", made, "--a", "model=m", "--b", "model=n")
    lines = [line.split() for line in printed.splitlines() if line.startswith(("clean", "robust"))]
    assert status == 0 and len(lines) == 4
    assert [line[1:5] for line in lines] == [["m", ":", "n", defense] for defense in ("none", "none", "mp3:32", "mp3:32")]


def test_two_runs(folder, cell):
    a, b = folder(cell(5, target="no"), goal="targeted"), folder(cell(9, target="no", clips=30), name="other", goal="targeted")
    entries = {entry["measure"]: entry for entry in compare(Side(a, []), Side(b, []))}
    assert set(entries) == {"clean_accuracy", "robust_accuracy", "targeted_success"}
    assert (entries["targeted_success"]["a"], entries["targeted_success"]["b"], entries["targeted_success"]["clips"]) == (5, 9, 30)


def test_what_cannot_be_compared(folder, cell):
    run = folder(cell(3), cell(4, model="n", budget="snr:30"))
    side = Side(run, ["model=m"])
    with pytest.raises(ConfigError, match="same keys on both sides, got model and none"):
        compare(side, Side(run, []))
    for chosen in (["model=m"], []):
        with pytest.raises(ConfigError, match="two sides that differ"):
            compare(Side(run, chosen), Side(run, chosen))
    with pytest.raises(InputError, match="no cell on the same clips"):
        compare(side, Side(run, ["model=n"]))
    with pytest.raises(InputError, match="no cell has model=x"):
        Side(run, ["model=x"])
    with pytest.raises(ConfigError, match="each key once"):
        Side(run, ["model=m", "model=n"])
    for word in ("modle=m", "model", "", "a\nb=3"):
        with pytest.raises(ConfigError, match="expected KEY=VALUE") as problem:
            Side(run, [word])
        assert len(str(problem.value).splitlines()) == 1


def test_the_command(folder, cell, run):
    made = folder(cell(30), cell(4, model="n"))
    status, printed, err = run("compare", made, "--a", "model=m", "--b", "model=n")
    assert status == 0 and "10 of 40" in printed and "36 of 40" in printed and "+65.0 [" in printed and "not corrected" in err
    status, printed, _ = run("compare", made, "--a", "model=m", "--b", "model=n", "--json", "--quiet")
    assert status == 0 and '"only_b": 26' in printed
    status, _, err = run("compare", made)
    assert status == 2 and len(err.splitlines()) == 1
