"""The leaderboard's tables, from rows made by hand, and what a network costs."""
import csv
import json

import pytest
import torch
from torch import nn

from speechadv import config as configs
from speechadv.errors import InputError
from speechadv.evaluation.rows import encode
from speechadv.evaluation.settings import EvaluationConfig
from speechadv.models.counting import multiply_adds, parameters
from speechadv.report.leaderboard import COLUMNS, write_leaderboard

BUDGETS = ["linf:0.001", "linf:0.005"]
GOALS = {"clean": ("untargeted", ["noise"], ["black-box"]), "untargeted": ("untargeted", ["ensemble"], ["adaptive"]), "targeted": ("targeted", ["pgd"], ["adaptive"])}


@pytest.fixture
def board(tmp_path, row):
    """`board(name, broken)`: an entry with ten clips, two of them `on` and one of those never heard right; `broken` fall at 0.005, none at 0.001."""

    def rows_of(run, budget, broken):
        made = []
        for i in range(10):
            label, before = ("on", "off" if i == 9 else "on") if i > 7 else ("yes", "yes")
            fell = budget == "linf:0.005" and i < broken
            target = "stop" if run == "targeted" else None
            after = before if run == "clean" or not fell else "stop" if i % 2 == 0 or run != "targeted" else "go"
            keys = {"attack": GOALS[run][1][0], "threat": GOALS[run][2][0], "budget": budget, "target": target}
            made.append(row(f"{label}/{i}_nohash_0.wav", label=label, before=before, after=after, **keys))
        return made

    def make(name, broken, speed=None, runs=GOALS):
        for run in runs:
            folder, (goal, attacks, threats) = tmp_path / name / run, GOALS[run]
            folder.mkdir(parents=True)
            config = EvaluationConfig(attacks=attacks, budgets=BUDGETS, goal=goal, threats=threats)
            (folder / "config.toml").write_text(configs.dumps(config))
            (folder / "rows.jsonl").write_text("".join(encode(each) for budget in BUDGETS[: 1 if run == "clean" else 2] for each in rows_of(run, budget, broken)))
        about = {"name": name, "model": name, "defense": "none", "who": "w", "source": "s", "about": "a | b", "parameters": 1234, "multiply_adds": 5_600_000}
        (tmp_path / name / "about.json").write_text(json.dumps(about))
        if speed:
            (tmp_path / name / "speed.json").write_text(json.dumps({"clips_a_second": speed, "batch": 32, "processor": "P"}))
        return tmp_path

    return make


def test_lines_are_those_of_the_rows(board):
    lines = write_leaderboard(board("m", 4))
    assert [line["budget"] for line in lines] == BUDGETS
    small, large = lines
    assert (small["clips"], small["clips_right"], small["clean_accuracy"], small["robust_accuracy"], small["targeted_success"]) == (10, 9, 0.9, 0.9, 0.0)
    assert large["robust_accuracy"] == 0.5 and large["targeted_success"] == 2 / 9 and large["targeted_clips_right"] == 9
    assert large["robust_accuracy_balanced"] == pytest.approx((4 / 8 + 1 / 2) / 2) and large["clean_accuracy_balanced"] == pytest.approx((1 + 1 / 2) / 2)
    assert large["robust_accuracy_low"] < 0.5 < large["robust_accuracy_high"] and large["test_clips"] == 10 and large["test_accuracy"] == 0.9


def test_the_best_entry_is_first_and_the_same_rows_give_the_same_bytes(board):
    board("weak", 8, speed=100.0)
    folder = board("strong", 1, speed=50.0)
    lines = write_leaderboard(folder)
    assert [line["model"] for line in lines] == ["strong", "strong", "weak", "weak"]
    names = ("leaderboard.csv", "leaderboard-classes.csv", "leaderboard.md")
    before = {name: (folder / name).read_bytes() for name in names}
    (folder / "weak" / "speed.json").write_text(json.dumps({"clips_a_second": 999.0, "batch": 32, "processor": "P"}))
    write_leaderboard(folder)
    after = {name: (folder / name).read_bytes() for name in names}
    assert [name for name in names if before[name] != after[name]] == ["leaderboard.md"]  # a measurement of speed is in no csv of rates
    with open(folder / "leaderboard.csv", newline="") as file:
        assert tuple(next(csv.reader(file))) == COLUMNS
    assert "a \\| b" in before["leaderboard.md"].decode() and "5.6 M" in before["leaderboard.md"].decode()


def test_labels_stand_with_their_counts_the_rare_ones_last(board):
    text = (board("m", 4) / "leaderboard.md")
    write_leaderboard(text.parent)
    rows = [line.strip("| ").split(" | ") for line in text.read_text().splitlines() if line.startswith("| m |")]
    head = next(line.strip("| ").split(" | ") for line in text.read_text().splitlines() if line.startswith("| entry | under"))
    assert head == ["entry", "under", "mean", "balanced", "yes", "on"]
    assert ["m", "clean", "90.0", "75.0", "100.0 (8)", "50.0 (2)"] in rows and ["m", "linf:0.005", "50.0", "50.0", "50.0 (8)", "50.0 (2)"] in rows
    with open(text.parent / "leaderboard-classes.csv", newline="") as file:
        found = [line for line in csv.DictReader(file) if line["label"] == "on"]
    assert [(line["budget"], line["clips"], line["clips_right"], line["clips_robust"]) for line in found] == [
        ("none", "2", "1", ""), ("linf:0.001", "2", "1", "1"), ("linf:0.005", "2", "1", "1")]


def test_of_a_run_that_was_stopped_only_the_beginning_of_the_list_counts(board, row):
    """Clips are attacked in the order of their names, which says nothing of their place in the list."""
    folder = board("m", 4)
    listed = [f"yes/{i}_nohash_0.wav" for i in (0, 5, 1, 2, 3)]
    rows = [row(name, attack="ensemble", budget=BUDGETS[0]) for name in sorted(listed[:1] + listed[2:])]
    (folder / "m" / "untargeted" / "rows.jsonl").write_text("".join(map(encode, rows)))
    (folder / "leaderboard-clips.txt").write_text("# a head\n" + "\n".join(listed))
    assert [line["clips"] for line in write_leaderboard(folder)] == [1]
    (folder / "m" / "untargeted" / "rows.jsonl").write_text("".join(map(encode, [*rows, row(listed[1], attack="ensemble", budget=BUDGETS[0])])))
    assert [line["clips"] for line in write_leaderboard(folder)] == [5]
    (folder / "m" / "untargeted" / "rows.jsonl").write_text("".join(map(encode, rows)))
    (folder / "m" / "untargeted" / "environment.json").write_text(json.dumps({"clips": {"number": 4}}))
    assert [line["clips"] for line in write_leaderboard(folder)] == [4]  # these are the whole split


def test_a_figure_can_be_drawn_of_it(board):
    from speechadv.report.figures import draw

    folder = board("m", 4)
    write_leaderboard(folder)
    assert [axis.get_title() for axis in draw("leaderboard", folder).axes] == [f"budget {budget}" for budget in BUDGETS]


def test_what_is_no_board_is_refused_in_a_line(board, tmp_path):
    with pytest.raises(InputError, match="expected folders of entries"):
        write_leaderboard(tmp_path)
    folder = board("m", 4, runs=["clean"])
    with pytest.raises(InputError, match="expected folders of entries"):
        write_leaderboard(folder)
    (folder / "m" / "about.json").write_text("{}")
    with pytest.raises(InputError, match="about.json.*expected name, model"):
        write_leaderboard(folder)


def test_rows_of_an_attack_that_did_not_know_the_defense_do_not_count(board, row):
    folder = board("m", 4)
    path = folder / "m" / "untargeted" / "rows.jsonl"
    path.write_text(encode(row(attack="ensemble", budget=BUDGETS[0], adaptive=False)))
    with pytest.raises(InputError, match="adaptive attack"):
        write_leaderboard(folder)


class Small(nn.Module):
    """One convolution of known size and one matrix product."""

    labels, sample_rate = ("yes", "no"), 1600

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv1d(1, 4, 16, stride=16, bias=False), nn.Linear(4, 2)

    def forward(self, waveforms):
        return self.last(self.conv(waveforms[:, None]).mean(2))


def test_multiply_adds_and_parameters_of_a_known_network():
    assert multiply_adds(Small()) == 100 * 4 * 16 + 4 * 2 and parameters(Small()) == 4 * 16 + 4 * 2 + 2


def test_multiply_adds_hold_the_front_end(tiny):
    with torch.no_grad():
        frames = tiny.frontend(torch.zeros(1, 16000)).shape[2]
    bank = frames * 20 * tiny.frontend.bins
    shapes, inside = [], 0
    hooks = [module.register_forward_hook(lambda module, _, out: shapes.append((module, out))) for module in tiny.modules() if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        tiny(torch.zeros(1, 16000))
    for hook in hooks:
        hook.remove()
    for module, out in shapes:
        inside += out[0].numel() * module.weight[0].numel()
    assert multiply_adds(tiny) == bank + inside
