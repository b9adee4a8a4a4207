"""What a terminal shows: plain where nobody looks, bars with rate and time left, one JSON document, advice, completion."""
import contextlib
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from types import SimpleNamespace

import click
import pytest

from speechadv.cli import COMMANDS, group, terminal
from speechadv.cli.common import Voice


def leaves():
    """(words, command) of every command that does something."""
    found = []
    for name in COMMANDS:
        command = importlib.import_module(f"speechadv.cli.{name.replace('-', '_')}").command
        found += [((name, sub), child) for sub, child in command.commands.items()] if isinstance(command, click.Group) else [((name,), command)]
    return found


LEAVES = leaves()
each_leaf = pytest.mark.parametrize("words, command", LEAVES, ids=[" ".join(words) for words, _ in LEAVES])


@each_leaf
def test_every_command_can_be_quiet_and_speak_json(words, command):
    options = {option for parameter in command.params for option in parameter.opts}
    assert {"--json", "--quiet"} <= options


@each_leaf
def test_every_example_is_a_command_line_of_today(words, command):
    lines = re.findall(r"speechadv [^\n]+", (command.epilog or command.help).split("Example", 1)[1])
    own = [line for line in lines if line.split()[1 : 1 + len(words)] == list(words)]
    assert own
    for line in own:
        with contextlib.suppress(click.exceptions.Exit):
            command.make_context(words[-1], shlex.split(line)[1 + len(words) :])  # raises UsageError for an option or a value that there is not


@pytest.mark.parametrize("words", [("models", "list"), ("models", "describe", "resnet"), ("models", "download")], ids=" ".join)
def test_one_json_document(words, run):
    status, out, err = run(*words, "--json")
    assert status == 0 and err == "" and json.loads(out)


@pytest.fixture
def screen(monkeypatch):
    """`screen(tty, **environment)`: whether standard output and error claim to be a terminal."""

    def make(tty, width=80, **environment):
        for name in ("NO_COLOR", "TERM", "FORCE_COLOR"):
            monkeypatch.delenv(name, raising=False)
        for name, value in ({"TERM": "xterm-256color", "COLUMNS": str(width)} | environment).items():
            monkeypatch.setenv(name, value)
        for stream in (sys.stdout, sys.stderr):
            monkeypatch.setattr(stream, "isatty", lambda: tty, raising=False)

    return make


HEADS, LINES = ["model", "budget", "rate"], [["resnet" * 9, "snr:30", "10.0 [1.0, 20.0]"], ["resnet" * 9, "linf:[red]", "9.0 [1.0, 20.0]"]]


def test_a_table_in_a_pipe_is_whole_and_plain(screen, capsys):
    screen(False)
    Voice().table(HEADS, LINES, numbers_from=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[0].split() == HEADS and lines[2].split()[1] == "linf:[red]" and not any("\x1b" in line or line.endswith(" ") for line in lines)
    assert lines[1].endswith("10.0 [1.0, 20.0]") and lines[2].endswith(" 9.0 [1.0, 20.0]"), "numbers stand right"


def test_a_table_in_a_narrow_terminal(screen, capsys):
    screen(True, width=60)
    Voice().table(HEADS, LINES, numbers_from=2)
    out = capsys.readouterr().out
    assert f"In all lines: model {'resnet' * 9}." in out and max(map(len, re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines()[:-1])) <= 60


GRID = [[model, defense, threat, budget, clean, f"{len(budget)}.0 [1.0, 20.0]", "30.1"] for model, clean in (("net", "90.0 [80.0, 95.0]"), ("net-at", "85.0 [75.0, 90.0]"))
        for defense in ("none", "mp3:32") for threat in ("oblivious", "adaptive") for budget in ("snr:9", "linf:0.002")]
GRID_HEADS = ["model", "defense", "threat", "budget", "clean %", "robust %", "SNR dB"]


def test_a_grid_in_a_narrow_terminal_stands_in_groups(screen, capsys):
    screen(True, width=36)
    Voice().table(GRID_HEADS, [[*line[:6], f"{place}.5"] for place, line in enumerate(GRID)], numbers_from=4, whole="run/table.md")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert "net, none, adaptive: clean % 90.0 [80.0, 95.0]" in lines and "net-at, mp3:32, oblivious: clean % 85.0 [75.0, 90.0]" in lines, "what is the same stands in the head"
    assert lines[-1] == "Too wide for here: SNR dB; see run/table.md." and max(len(line) for line in lines if line.startswith(" ")) <= 36
    assert sum(line.startswith((" snr:9", " linf:0.002")) and line.endswith(".0 [1.0, 20.0]") for line in lines) == len(GRID)


def test_one_line_in_a_narrow_terminal_is_a_line_a_column(screen, capsys):
    screen(True, width=30)
    Voice().table(GRID_HEADS, GRID[:1], numbers_from=4)
    assert capsys.readouterr().out.splitlines()[:2] == ["model     net", "defense   none"]


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_no_escape_sequence_where_it_is_not_wanted(environment, screen, capfd):
    screen(True, **environment)
    Voice().table(HEADS, LINES)
    with Voice().bar(3, "attacking") as advance:
        advance(2)
    captured = capfd.readouterr()
    assert "\x1b" not in captured.out + captured.err


def test_a_bar_says_rate_and_time_left(screen, monkeypatch):
    columns = []
    monkeypatch.setattr("rich.progress.Progress.__init__", lambda self, *given, **options: columns.extend(given))
    monkeypatch.setattr("rich.progress.Progress.__enter__", lambda self: SimpleNamespace(add_task=lambda *a, **k: 0))
    monkeypatch.setattr("rich.progress.Progress.__exit__", lambda self, *a: None)
    screen(True)
    with terminal.bar(3, "attacking"):
        pass
    names = [type(column).__name__ for column in columns]
    assert "Rate" in names and "TimeRemainingColumn" in names and "MofNCompleteColumn" in names
    rate = columns[names.index("Rate")]
    assert str(rate.render(SimpleNamespace(finished_speed=None, speed=12.34))) == "12.3/s"
    assert str(rate.render(SimpleNamespace(finished_speed=None, speed=0.25))) == "15.0/min" and str(rate.render(SimpleNamespace(finished_speed=None, speed=None))) == ""


def test_a_log_gets_a_line_a_minute(screen, capsys, monkeypatch):
    screen(False)
    now = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    with Voice().bar(1000, "attacking") as advance:
        advance(100)  # finished by an earlier process: no part of the rate
        for second in range(1, 100):
            now[0] = float(second)
            advance(2)
    err = capsys.readouterr().err
    assert err == "attacking: 220 of 1,000, 2.0/s, 6 min 30 s left\n"
    with Voice(quiet=True).bar(10, "attacking") as advance:
        now[0] = 500.0
        advance(1)
    assert capsys.readouterr().err == ""


def test_advice_is_no_part_of_the_result(capsys):
    Voice().advise(("a figure", ("plot", "success", "my run")), ("again", ("report", "x")))
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == "next:\n  a figure  speechadv plot success 'my run'\n  again     speechadv report x\n"
    for voice in (Voice(quiet=True), Voice(as_json=True)):
        voice.advise(("a figure", ("plot",)))
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_a_wrong_option_names_the_help(run):
    status, out, err = run("plot", "pie", "run")
    assert (status, out) == (2, "") and err.endswith("(see `speechadv plot --help`)\n") and len(err.splitlines()) == 1
    assert "\\t" not in run("plot")[2]


def test_exit_statuses_are_told(run):
    out = run("--help")[1]
    assert "Exit status:" in out and all(f"    {status} " in out for status in (0, 1, 2, 130))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell):
    environment = {**os.environ, "_SPEECHADV_COMPLETE": f"{shell}_complete", "COMP_WORDS": "speechadv plot se", "COMP_CWORD": "se" if shell == "fish" else "2"}
    done = subprocess.run([sys.executable, "-c", "from speechadv.cli import main; main()"], env=environment, capture_output=True, text=True, timeout=60)
    assert "security" in done.stdout and "success" not in done.stdout and "Traceback" not in done.stderr
    assert group.list_commands(None) == list(COMMANDS)
