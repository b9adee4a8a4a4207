"""Rows as one file for other programs, and the table made from it again."""
import csv
import json
import re
import sys
from pathlib import Path

import pytest

from speechadv.errors import ConfigError, DataError, InputError
from speechadv.evaluation import rows as row_files
from speechadv.report import export_rows as exporting
from speechadv.report.export_rows import export_rows

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
KEYS = ("model", "defense", "attack", "threat", "budget", "seed")


@pytest.fixture(scope="module")
def a_run(tmp_path_factory):
    """A run of rows made by hand: two attacks, oblivious rows without adaptive ones, nulls, a clip that one attack lacks."""
    run = tmp_path_factory.mktemp("rows") / "run"
    run.mkdir()
    (run / "config.toml").write_text('attacks = ["pgd", "noise"]\nbudgets = ["linf:0.002", "linf:0.005"]\ngoal = "targeted"\n')
    base = {"model": "m", "defense": "none", "attack": "pgd", "threat": "adaptive", "adaptive": True, "budget": "linf:0.002", "seed": 0, "clip": "", "label": "yes",
            "target": "no", "clean_prediction": "yes", "adversarial_prediction": "yes", "linf": 0.002, "snr_db": 30.0, "masking_excess_db": -1.0, "passes": 10,
            "queries": 0, "clean_audio": None, "adversarial_audio": None, "perturbation_audio": None, "defended_audio": None, "perturbation_gain_db": None,
            "reached": False, "clean_probabilities": {"yes": 0.9, "no": 0.1}, "adversarial_probabilities": None, "segmental_snr_db": 1.5, "quality_gaps": None}
    rows = []
    for place, (defense, threat, adaptive, attack, queries) in enumerate([("none", "adaptive", True, "pgd", 0), ("none", "adaptive", True, "noise", 3),
                                                                           ("mp3:32", "oblivious", False, "pgd", 0)]):
        for number in range(7 - (attack == "noise")):
            rows.append(base | {"defense": defense, "threat": threat, "adaptive": adaptive, "attack": attack, "clip": f"yes/{number}_nohash_0.wav", "queries": queries,
                                "clean_prediction": "go" if number == 3 else "yes", "passes": number + place,
                                "adversarial_prediction": ["no", "yes", "go", "no", "yes", "no", "go"][(number + 2 * place) % 7],
                                "snr_db": None if number == 1 else 30.0 + (number * 7 + place * 3) % 5, "linf": number / 32768})
    row_files.rewrite(run / "rows.jsonl", rows)
    return run


def test_the_query_in_the_docs_makes_the_table_again(a_run, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    from speechadv.report.tables import write_tables

    query = re.search(r"```sql\n(.*?)```", PAGE.read_text("utf-8"), re.S)[1]
    assert export_rows(a_run, tmp_path / "rows.parquet", "parquet") == 20
    answer = duckdb.sql(query.replace("'rows.parquet'", f"'{tmp_path / 'rows.parquet'}'"))
    made = {tuple(line[key] for key in KEYS): line for line in (dict(zip(answer.columns, values)) for values in answer.fetchall())}
    table = {tuple(line[key] for key in KEYS): line for line in write_tables(a_run)["cells"]}
    assert made.keys() == table.keys() and any(key[2] == "worst-of" for key in made)
    for key, line in made.items():
        for column, value in line.items():
            assert value == (pytest.approx(table[key][column]) if isinstance(value, float) else table[key][column]), (key, column)


def test_parquet_in_groups(a_run, tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(exporting, "GROUP", 6)
    export_rows(a_run, tmp_path / "new" / "rows.parquet", "parquet")
    file = parquet.ParquetFile(tmp_path / "new" / "rows.parquet")
    assert file.metadata.num_row_groups == 4 and [path.name for path in (tmp_path / "new").iterdir()] == ["rows.parquet"]
    back = file.read().to_pylist()
    for row, before in zip(back, row_files.read_finished(a_run / "rows.jsonl"), strict=True):
        maps = {name: None if row[name] is None else dict(row[name]) for name in ("clean_probabilities", "adversarial_probabilities")}
        assert row | maps == before


def test_csv(a_run, tmp_path, run):
    status, out, err = run("export-rows", a_run, "--format", "csv", "--out", tmp_path / "rows.csv", "--json")
    assert status == 0 and json.loads(out)["rows"] == 20, err
    with open(tmp_path / "rows.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    first = row_files.read_finished(a_run / "rows.jsonl")[0]
    assert list(rows[0]) == list(first) and rows[0]["adaptive"] == "true" and json.loads(rows[0]["clean_probabilities"]) == first["clean_probabilities"]
    assert rows[1]["snr_db"] == "" and float(rows[0]["snr_db"]) == first["snr_db"] and rows[0]["adversarial_probabilities"] == ""


def test_a_broken_row_is_named_and_a_torn_last_one_left_out(a_run, tmp_path):
    copy = tmp_path / "run"
    copy.mkdir()
    (copy / "config.toml").write_bytes((a_run / "config.toml").read_bytes())
    lines = (a_run / "rows.jsonl").read_bytes().splitlines(keepends=True)
    (copy / "rows.jsonl").write_bytes(b"".join(lines)[:-9])
    assert export_rows(copy, tmp_path / "rows.csv", "csv") == 19
    before = (tmp_path / "rows.csv").read_bytes()
    (copy / "rows.jsonl").write_bytes(b"".join([lines[0], lines[1].replace(b"yes", b"nay"), *lines[2:]]))
    with pytest.raises(DataError, match="line 2 is broken"):
        export_rows(copy, tmp_path / "rows.csv", "csv")
    assert (tmp_path / "rows.csv").read_bytes() == before and len(list(tmp_path.iterdir())) == 2
    (copy / "rows.jsonl").write_bytes(b"")
    with pytest.raises(InputError, match="no rows yet"):
        export_rows(copy, tmp_path / "rows.csv", "csv")


def test_without_pyarrow(a_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=re.escape("pip install 'speechadv[parquet]'")):
        export_rows(a_run, tmp_path / "rows.parquet", "parquet")
    assert not list(tmp_path.iterdir())
