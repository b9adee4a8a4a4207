"""The simulated cluster of docs/scale.md: what must hold whatever the item times are."""
from dataclasses import replace

import pytest

pytest.importorskip("simpy")
simulation = pytest.importorskip("benchmarks.simulation")
CALM = simulation.Machine(4, a_node=2, start=0.0, issue=0.0, row=0.0, failures_a_day=0.0, slow_share=0.0, spread=0.0)


def test_without_trouble_it_is_division():
    found = simulation.simulate([(10.0, 1)] * 40, CALM)
    assert found.seconds == pytest.approx(100.0) and (found.failures, found.again, found.twice) == (0, 0, 0)


def test_the_driver_is_the_limit_where_rows_come_faster_than_it_writes():
    found = simulation.simulate([(1.0, 100)] * 40, replace(CALM, row=0.01))
    assert found.seconds >= 40 and found.driver_busy == pytest.approx(40.0)


def test_failures_cost_time_and_lose_nothing():
    stormy = replace(CALM, failures_a_day=800.0, down=20.0)
    found = simulation.simulate([(10.0, 1)] * 40, stormy, seed=1)
    assert found.failures and found.again and found.seconds > 100 and len(found.took) >= 40
    assert simulation.simulate([(10.0, 1)] * 40, stormy, seed=1) == found


def test_a_late_task_is_issued_once_more():
    found = simulation.simulate([(10.0, 1)] * 20 + [(500.0, 1)], CALM)
    assert found.twice == 1
