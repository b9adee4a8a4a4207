"""Thresholds, ROC curves and their area against SciPy, by hand and by simulation."""
import numpy as np
import pytest
from scipy import stats

from speechadv.evaluation.separation import auc, auc_interval, roc, threshold_for


def drawn(clean, adversarial, shift, seed):
    generator = np.random.default_rng(seed)
    return [{f"{kind}{i}": float(score) for i, score in enumerate(generator.normal(centre, 1, count))} for kind, count, centre in (("c", clean, 0), ("a", adversarial, shift))]


def test_a_threshold_keeps_its_false_alarms():
    scores = [float(value) for value in range(100)]
    assert threshold_for(scores, 0.05) == 94 and sum(score > 94 for score in scores) == 5
    assert threshold_for(scores, 0.0) == 99 and threshold_for(scores, 0.049) == 95 and threshold_for([1.0], 0.05) == 1
    assert threshold_for([2.0] * 50, 0.05) == 2  # all alike: none is above
    generator = np.random.default_rng(0)
    for rate in (0.01, 0.05, 0.07, 0.29):
        for count in (19, 20, 100, 400):
            scores = generator.normal(size=count).round(1).tolist()
            threshold = threshold_for(scores, rate)
            assert sum(score > threshold for score in scores) <= rate * count < sum(score >= threshold for score in scores)
    with pytest.raises(ValueError, match="got none"):
        threshold_for([], 0.05)


def test_roc_by_hand():
    assert roc([0, 1, 2, 3], [2, 3, 4]) == [(0, 0), (0, pytest.approx(1 / 3)), (0.25, pytest.approx(2 / 3)), (0.5, 1), (0.75, 1), (1, 1)]
    assert roc([0, 0], [0, 0]) == [(0, 0), (1, 1)]


@pytest.mark.parametrize("seed", range(4))
def test_auc_is_the_area_and_mann_and_whitneys(seed):
    clean, adversarial = (list(part.values()) for part in drawn(40, 23, 0.8, seed))
    clean, adversarial = np.round(clean, 1), np.round(adversarial, 1)  # with ties
    expected = stats.mannwhitneyu(adversarial, clean).statistic / (40 * 23)
    points = np.array(roc(clean, adversarial))
    assert auc(clean, adversarial) == pytest.approx(expected) == pytest.approx(np.trapezoid(points[:, 1], points[:, 0]))
    assert auc(adversarial, clean) == pytest.approx(1 - expected)


def test_the_ends():
    apart, same = ({"a": 0.0, "b": 1.0}, {"a": 2.0, "c": 3.0}), ({"a": 1.0, "b": 1.0}, {"c": 1.0})
    low, high = auc_interval(*apart)
    assert auc([0, 1], [2, 3]) == 1 and high == 1 and low < 0.7  # two clips prove little
    assert auc([1, 1], [1]) == 0.5 and auc_interval(*same)[0] < 0.5 < auc_interval(*same)[1]
    many = [{f"{i}": float(i < 100 if kind else i + 1000) for i in range(100)} for kind in (1, 0)]
    low, high = auc_interval(*many)
    assert high == 1 and 0.9 < low < 0.99
    assert auc_interval(*many[::-1])[0] == 0 and 0.01 < auc_interval(*many[::-1])[1] < 0.1
    assert auc_interval(*many, seed=1) != (low, high) == auc_interval(*many, seed=0)


@pytest.mark.parametrize("clean, adversarial, shift", [(200, 40, 0.0), (100, 20, 1.0), (200, 60, 2.5)])
def test_the_interval_holds_the_area(clean, adversarial, shift):
    """120 simulated runs with fixed seeds of independent normal scores, whose true area is known: at least 93 of 100 intervals hold it (99 are no fault)."""
    area = stats.norm.cdf(shift / 2**0.5)
    intervals = [auc_interval(*drawn(clean, adversarial, shift, seed), draws=200, seed=seed) for seed in range(120)]
    assert np.mean([low <= area <= high for low, high in intervals]) >= 0.93


def test_clips_are_drawn_with_all_their_scores():
    """Scores of a clip before and after that go together tell the groups apart more surely than strangers' scores would."""
    clean, _ = drawn(100, 1, 0, 1)
    paired = {name: score + 1 for name, score in clean.items()}
    strangers = {f"other {name}": score for name, score in paired.items()}
    widths = [np.subtract(*auc_interval(clean, other)[::-1]) for other in (paired, strangers)]
    assert widths[0] < 0.8 * widths[1]
