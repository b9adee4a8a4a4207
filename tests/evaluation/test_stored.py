"""A run's rows as they are read by cell, and what stands for them in memory: the same as all of them at once."""
import random

import pytest

from speechadv.errors import DataError
from speechadv.evaluation import rows as row_files
from speechadv.evaluation import run as engine_run
from speechadv.evaluation.aggregate import by_cell
from speechadv.evaluation.places import Names, Places
from speechadv.evaluation.run import evaluate
from speechadv.evaluation.stored import Stored


@pytest.fixture
def shuffled(finished, tmp_path):
    """The rows of a run in any order, some twice, the last line torn; and what `read` makes of it."""
    lines = (finished / "rows.jsonl").read_bytes().splitlines(keepends=True)
    random.Random(0).shuffle(lines)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"".join([*lines, *lines[:7], lines[3][:-20]]))
    return path, row_files.read(path)[0]


def test_stored_rows_are_those_that_are_read_at_once(shuffled):
    path, rows = shuffled
    stored, expected = Stored(path), by_cell(rows)
    assert list(stored) == list(expected) and len(stored) == len(expected) and stored.rows == len(rows)
    assert all(stored[key] == those for key, those in expected.items())
    assert {key: those[0]["adaptive"] for key, those in expected.items() if key in stored.adaptive} == stored.adaptive


def test_a_broken_line_before_the_last_is_an_error(shuffled, tmp_path):
    path, _ = shuffled
    path.write_bytes(path.read_bytes() + b"\n" + path.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(DataError, match=r"line \d+ is broken or was changed"):
        Stored(path)


def test_each_row_has_its_place(finished, settings, tmp_path):
    plan = engine_run.prepare(settings(), tmp_path / "run")
    rows = row_files.read_finished(finished / "rows.jsonl")
    places = Places(plan.grid, plan.clips.names)
    assert [cell * len(places.names) + clip for cell, clip in map(places.of, rows)] == list(range(len(places))) == list(range(len(rows)))
    assert places.of(rows[0] | {"clip": "none.wav"}) is None and places.of(rows[0] | {"seed": 7}) is None
    assert places.filled(-1).shape == (len(plan.grid), len(plan.clips))


def test_names_are_known_again():
    names = Names()
    assert "a" not in names
    for number in range(1000):
        names.add(f"clip {number}")
        assert number % 100 or f"clip {number}" in names
    assert all(f"clip {number}" in names for number in range(1000)) and not any(f"clip {number}" in names for number in range(1000, 2000))


def test_work_is_made_as_it_is_asked_for(settings, tmp_path, monkeypatch, no_page):
    """No list of what is left: a block is made when the one before it is done."""
    made, done = [], []
    whole, item = engine_run._blocks, engine_run.Worker.do

    def blocks(*words):
        for block in whole(*words):
            made.append(block)
            yield block

    def do(self, block):
        done.append(block)
        assert len(made) == len(done) + before
        return item(self, block)

    monkeypatch.setattr(engine_run, "_blocks", blocks)
    monkeypatch.setattr(engine_run.Worker, "do", do)
    plan = engine_run.prepare(settings(defenses=["none"]), tmp_path / "run")
    before = sum(1 for _ in engine_run.missing_items(plan, plan.places.filled(False)))  # as the look for what attacks have to learn makes them
    made.clear()
    evaluate(settings(defenses=["none"]), tmp_path / "run")
    assert len(done) == before > 3


def test_a_page_that_no_browser_could_hold_is_left_out(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(engine_run, "PAGE_ROWS", 4)
    told = []
    result = evaluate(settings(defenses=["none"], attacks=["noise"]), tmp_path / "run", notice=told.append)
    assert result["finished"] and told == ["no page: it would hold 5 rows, more than 4 (docs/scale.md)"]
    assert (tmp_path / "run" / "table.md").exists() and not (tmp_path / "run" / "index.html").exists()
