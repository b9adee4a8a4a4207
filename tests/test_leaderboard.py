"""The entries of the leaderboard: their files, their clips, and a floor for each of them."""
import importlib
import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from speechadv.errors import ConfigError, InputError

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "leaderboard"
NAMES = [path.stem for path in sorted((RECIPE / "entries").glob("*.toml"))]
DATA = os.environ.get("SPEECHADV_DATA")
GOOD = {"model": "resnet", "who": "me", "source": "here"}


@pytest.fixture
def module(monkeypatch):
    """`module(name)` of the recipe; other recipes have modules of these names."""
    own = {path.stem for path in RECIPE.glob("*.py")}
    kept = {name: sys.modules.pop(name) for name in own & set(sys.modules)}
    monkeypatch.syspath_prepend(str(RECIPE))
    monkeypatch.syspath_prepend(str(RECIPE.parent))
    yield importlib.import_module
    for name in own & set(sys.modules):
        del sys.modules[name]
    sys.modules.update(kept)


@pytest.fixture
def folder(tmp_path):
    """`folder(NAME={...})`: entries' files."""
    import tomli_w

    def make(**entries):
        for name, content in entries.items():
            (tmp_path / f"{name}.toml").write_text(tomli_w.dumps(content) if isinstance(content, dict) else content)
        return tmp_path

    return make


def test_the_configs_differ_in_goal_alone_where_they_must(module):
    from speechadv import config as configs
    from speechadv.evaluation.cells import cells
    from speechadv.evaluation.settings import EvaluationConfig

    clean, untargeted, targeted = (configs.load(EvaluationConfig, RECIPE / name) for name in ("clean.toml", "config.toml", "targeted.toml"))
    assert untargeted.budgets == targeted.budgets and len(cells(untargeted)) == len(cells(targeted)) == 7
    assert untargeted.attacks == [{"name": "ensemble"}] and {config.split for config in (clean, untargeted, targeted)} == {"test"}
    assert all(cell.adaptive for cell in cells(untargeted) + cells(targeted))


def test_the_list_of_clips_is_stratified_at_every_length():
    names = [line for line in (ROOT / "data" / "leaderboard_clips.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    words = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "_silence_")
    labels = [word if word in words else "_unknown_" for word in (name.split("/")[0] for name in names)]
    total = Counter(labels)
    assert len(names) == len(set(names)) == 400 and (total["on"], total["off"]) == (6, 3) and len(total) == 12
    for length in (25, 50, 100, 200):
        assert all(abs(Counter(labels[:length])[label] - length * total[label] / 400) <= 1 for label in total)


@pytest.mark.skipif(not DATA, reason="SPEECHADV_DATA names no recordings")
def test_the_list_is_what_its_script_makes(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "data"))
    script = importlib.import_module("make_leaderboard_clips")
    assert script.FILE.read_text(encoding="utf-8") == script.text_of(*script.of_split())


def test_shares_take_all_of_a_rare_label(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "data"))
    script = importlib.import_module("make_leaderboard_clips")
    assert script.shares({"a": 100, "b": 50, "c": 3}, 33) == {"a": 20, "b": 10, "c": 3}
    names = [f"{label}/{i}" for label in "ab" for i in range(10)]
    assert script.chosen(names, [name[0] for name in names], 99, seed=1) != script.chosen(names, [name[0] for name in names], 99, seed=2)
    assert sorted(script.chosen(names, [name[0] for name in names], 99)) == names


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_whole(name, module):
    entry = module("entered").read_entry(RECIPE / "entries" / f"{name}.toml")
    assert entry.about and not Path(entry.model.rpartition(":")[2]).is_absolute()
    assert name in module("floors").recorded(), "python recipes/leaderboard/floors.py measures its floor"


@pytest.mark.parametrize("of", ["bundled", *(["data"] if DATA else [])])
@pytest.mark.parametrize("name", NAMES)
def test_an_entry_keeps_its_floor(name, of, module):
    """Clean accuracy does not fall, and what a short attack leaves neither falls nor rises: a rise would be a gradient that has broken."""
    entered, floors = module("entered"), module("floors")
    entry = entered.read_entry(RECIPE / "entries" / f"{name}.toml")
    try:
        entered.file_of(entry, RECIPE / "entries")
    except entered.Missing:
        pytest.skip("its file is not here (SPEECHADV_MODELS)")
    expected, found = floors.recorded()[name][of], floors.measure(entry, of, RECIPE / "entries")
    assert found["clips"] == expected["clips"] and found["right"] >= expected["right"] - floors.SLACK
    assert abs(found["robust"] - expected["robust"]) <= floors.SLACK


@pytest.mark.parametrize("content, message", [
    ({"model": "resnet", "who": "me"}, "entry 'x.toml': key 'source' is missing"),
    (GOOD | {"defence": "mp3:32"}, "entry 'x.toml': unknown key 'defence', did you mean 'defense'"),
    (GOOD | {"who": " "}, "entry 'x.toml': who: expected a text"),
    (GOOD | {"model": 3}, "entry 'x.toml': model: expected a text"),
    (GOOD | {"defense": "mp3:33"}, "entry 'x.toml': defense"),
    ("model = ", "entry 'x.toml': expected TOML"),
    ("", "entry 'x.toml' is empty: expected model, who, source")], ids=lambda value: str(value)[:20])
def test_a_broken_entry_is_refused_in_a_line(content, message, folder, module):
    with pytest.raises(ConfigError) as problem:
        module("entered").read_entry(folder(x=content) / "x.toml")
    assert message in str(problem.value) and "\n" not in str(problem.value)


def test_entries_whose_file_is_missing_are_left_out_unless_they_were_asked_for(folder, module, monkeypatch):
    monkeypatch.delenv("SPEECHADV_MODELS", raising=False)
    entries, said = folder(here=GOOD, there=GOOD | {"model": "tflite:far/away.tflite"}), []
    assert list(module("entered").entries_of(entries, (), said.append)) == ["here"] and "'there' is left out" in said[0]
    with pytest.raises(InputError, match="SPEECHADV_MODELS is not set"):
        module("entered").entries_of(entries, ("there",), said.append)
    with pytest.raises(ConfigError, match="no such entry.*did you mean 'there'"):
        module("entered").entries_of(entries, ("their",), said.append)
    with pytest.raises(ConfigError, match="found none"):
        module("entered").entries_of(entries / "empty", (), said.append)


def test_a_file_goes_into_the_board_with_its_card(folder, module, tiny_weights, tmp_path):
    import shutil

    entries, board = folder(mine=GOOD | {"model": "tiny.safetensors"}), tmp_path / "board"
    for path in (tiny_weights, tiny_weights.with_suffix(".json")):
        shutil.copy(path, entries)
    entered = module("entered")
    word = entered.brought(entered.read_entry(entries / "mine.toml"), entries, board)
    assert word == "models/tiny.safetensors" and {path.name for path in (board / "models").iterdir()} == {"tiny.safetensors", "tiny.json"}


def test_costs_are_those_of_the_attacks(module):
    from speechadv.registry import create

    of_attack = module("cost").of_attack
    assert of_attack(create("attack", "ensemble")) == (350, 1000) and of_attack(create("attack", "ensemble", full_recipe=True)) == (1900, 5000)
    assert of_attack(create("attack", "pgd", steps=7, restarts=3)) == (21, 0) and of_attack(create("attack", "noise")) == (0, 1)


def test_more_clips_extend_a_board(module, folder, tiny_weights, data_root, tmp_path, monkeypatch):
    """Two clips, then four: the first two are not attacked again, and the end is that of four at once."""
    monkeypatch.setattr("speechadv.report.page.write_page", lambda run: None)  # most of the time of a small run
    run, entered = module("run"), module("entered")
    monkeypatch.setenv("SPEECHADV_DATA", str(data_root))
    entries = folder(tiny=GOOD | {"model": str(tiny_weights)})
    entry = entered.read_entry(entries / "tiny.toml")
    small = ("task='yes,no,stop,go,_silence_'", "budgets=['linf:0.005']", "attacks=[{name='pgd', steps=3}]")
    monkeypatch.setattr(run, "QUICK", {"untargeted": small})
    monkeypatch.setattr(run.Work, "shard", lambda self, name: self.chosen.shard())
    names = [f"{word}/{path.name}" for word in ("yes", "no") for path in sorted((data_root / word).iterdir())]
    from speechadv.data import official_split

    test = [name for name in names if official_split(name) == "test"]
    boards = {}
    for board, parts in (("grown", (2, 4)), ("whole", (4,))):
        (tmp_path / board).mkdir()
        monkeypatch.chdir(tmp_path / board)
        for part in parts:
            work = run.Work("tiny", str(tiny_weights), entry, True, run.Chosen(frozenset(test[:part])))
            work.do(["untargeted"], 1, "cpu", lambda line: None)
            boards[board, part] = Path("tiny/untargeted/rows.jsonl").read_text()
    assert len(boards["grown", 2].splitlines()) == 2 and boards["grown", 4] == boards["whole", 4]
    assert json.loads(Path("tiny/about.json").read_text())["parameters"] > 1000 and work.cost("untargeted").clips == 0
