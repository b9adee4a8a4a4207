"""Figures from saved rows: each kind is drawn, says its units, and comes out the same twice."""
import json
import shutil

import pytest

from speechadv.errors import ConfigError, InputError
from speechadv.report.figures import AXES, draw, series, value_of
from speechadv.report.figures.rates import line_names
from speechadv.report.style import save


def words(figure):
    """All texts of a figure's axes, and its legends."""
    return [text for axis in figure.axes for text in (axis.get_xlabel(), axis.get_ylabel(), axis.get_title())], [
        text.get_text() for legend in figure.legends for text in legend.get_texts()]


@pytest.mark.parametrize("kind,unit,suffix", [("spectrograms", "(dB re full scale)", ".png"), ("masking", "dB SPL", ".pdf"), ("matrix", "of clips right", ".png"),
                                              ("security", "fraction of full scale", ".svg"), ("success", "target word heard", ".svg")])
def test_each_kind(saved_run, tmp_path, kind, unit, suffix, recwarn):
    figure = draw(kind, saved_run)
    assert any(unit in text for text in words(figure)[0])
    first = save(figure, tmp_path / f"a{suffix}").read_bytes()
    assert first == save(draw(kind, saved_run), tmp_path / f"b{suffix}").read_bytes() and len(first) > 2000
    assert b"<script" not in first and not recwarn.list


def test_security_curve_has_a_line_a_threat_with_its_interval(saved_run):
    figure = draw("security", saved_run)
    (axis,) = figure.axes
    cells = json.loads((saved_run / "result.json").read_text())["cells"]
    assert len(axis.lines) == 3 and len(axis.collections) == 3
    undefended = [cell["targeted_success"] for cell in cells if cell["defense"] == "none"]
    assert list(axis.lines[0].get_xdata()) == [0.001, 0.002] and list(axis.lines[0].get_ydata()) == undefended
    assert sum(text.endswith("oblivious") for text in words(figure)[1]) == 1
    assert [line.get_linestyle() for line in axis.lines].count("--") == 1


@pytest.mark.parametrize("budget,defense,over,value", [
    ("linf:0.002", "none", "eps", 0.002), ("masking+linf:0.005", "none", "eps", 0.005), ("snr:30", "none", "snr", 30), ("snr:30", "none", "eps", None),
    ("masking", "none", "margin", 0), ("masking:-6:tonal", "none", "margin", -6), ("linf:0.1", "bandpass:300-3400+mp3:32", "bitrate", 32),
    ("linf:0.1", "bandpass:300-3400", "bitrate", None)])
def test_values_on_the_axes(budget, defense, over, value):
    assert value_of({"budget": budget, "defense": defense}, over) == value


def test_lines_are_named_by_what_differs():
    cells = [{"model": model, "defense": f"mp3:{rate}", "attack": "pgd", "threat": "adaptive", "budget": "snr:30", "seed": 0} for model in "ab" for rate in (8, 16)]
    assert {name: len(members) for name, members in series(cells, "bitrate").items()} == {"a": 2, "b": 2}


def test_many_lines_are_spread_over_panels():
    from speechadv.report.figures.rates import panel_axes, panels, taken
    from speechadv.report.style import handles_of, legend_below, styled

    keys = [(model, defense, attack, "adaptive", "linf", 0) for model in ("a", "b") for defense in ("none", "mp3:32") for attack in ("pgd", "fgsm", "square", "nes")]
    found, within = panels(keys)
    assert [panel.title for panel in found] == ["a, none", "a, mp3:32", "b, none", "b, mp3:32"] and "model" not in within and sum((p.lines for p in found), []) == list(range(16))
    assert [panel.title for panel in panels(keys[:6])[0]] == [""] and [panel.title for panel in panels(keys[4:10])[0]] == [""]
    names = [taken(key, within)[0] for key in keys]
    with styled():
        figure, axes = panel_axes(found, names, "rate (of clips)", "budget (dB)")
        for axis, panel in zip(axes, found):
            for place in panel.lines:
                axis.plot([0, 1], [0, 1], label=names[place])
        legend_below(figure, *handles_of(axes))
    assert words(figure)[1] == ["pgd", "fgsm", "square", "nes"] and [axis.get_xlabel() for axis in axes] == ["", "budget (dB)", "budget (dB)", "budget (dB)"]
    assert_nothing_covers(figure)


def test_training_curves(tmp_path):
    history = [{"epoch": e, "loss": 2 / e, "accuracy": 1 - 1 / (e + 1), "robust_accuracy": 0.5, "score": 0.5} for e in (1, 2, 3)]
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history))
    figure = draw("training", tmp_path)
    assert words(figure)[1] == ["training loss", "validation accuracy", "validation robust accuracy"]
    assert any("nats" in text for text in words(figure)[0])
    for broken in ("", '{"loss": 1.0}\n', '{"epoch": 1, "loss": "x"}\n'):
        (tmp_path / "history.jsonl").write_text(broken)
        with pytest.raises(InputError, match="expected a line an epoch"):
            draw("training", tmp_path)


def test_names_that_read_alike_when_shortened_are_not():
    alike = [(f"x/{size}_standard/tc_resnet8.safetensors",) for size in ("small", "large")]
    assert line_names(alike, ("model",)) == [name for name, in alike]
    assert line_names([*alike, ("resnet",)], ("model",))[2] == "resnet"


def test_errors_name_what_is_missing(saved_run, make_run, tmp_path):
    for call, message in [
        (lambda: draw("succes", saved_run), "did you mean 'success'"), (lambda: draw("security", saved_run, over="bitrate"), "two or more values of it"),
        (lambda: draw("training", saved_run), "no history.jsonl"), (lambda: draw("masking", saved_run, row=19), "1 to 18"),
        (lambda: draw("spectrograms", make_run(sound=False)), "no row of this run has sound"), (lambda: draw("success", tmp_path), "no rows.jsonl"),
        (lambda: draw("queries", saved_run), "need rows of an attack that spends queries"), (lambda: draw("minimum", saved_run), "minimum-norm attack"),
        (lambda: draw("certified", saved_run), "needs certificates.jsonl"), (lambda: draw("roc", saved_run), "need detection.jsonl"), (lambda: draw("leaderboard", saved_run), "untargeted attack"),
        (lambda: draw("leaderboard", tmp_path), "needs leaderboard.csv or table.csv"), (lambda: draw("matrix", saved_run, cell=7), "1 to 6"),
        (lambda: save(draw("success", saved_run), tmp_path / "a.gif"), "ends in .png")]:
        with pytest.raises((ConfigError, InputError), match=message):
            call()


def test_the_matrix_of_a_cell(saved_run):
    assert "oblivious" in draw("matrix", saved_run, cell=3).axes[0].get_title() and "adaptive" in draw("matrix", saved_run).axes[0].get_title()


def test_certified_curve(tmp_path):
    from speechadv.evaluation.certificates import encode

    line = {"clip": "a", "label": "yes", "model": "m", "predicted": "yes", "radius": 0.004, "sigma": 0.0025, "n": 1000, "n0": 100, "alpha": 0.001,
            "ceiling": 0.006, "votes": 990, "snr_db": 40.0}
    lines = [line, line | {"clip": "b", "radius": 0.006}, line | {"clip": "c", "predicted": "no"}, line | {"clip": "d", "predicted": None, "radius": None}]
    (tmp_path / "certificates.jsonl").write_text("".join(map(encode, lines)))
    figure = draw("certified", tmp_path)
    curve, ceiling = figure.axes[0].lines
    assert curve.get_ydata()[0] == 0.5 and curve.get_ydata()[-1] == 0.25 and curve.get_xdata()[-1] == 0.006 and set(ceiling.get_xdata()) == {0.006}
    assert "L2 norm" in figure.axes[0].get_xlabel() and "ceiling" in words(figure)[1][1]


@pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
@pytest.mark.parametrize("kind", ["security", "success", "masking"])
def test_no_legend_lies_on_the_data(saved_run, kind):
    assert_nothing_covers(draw(kind, saved_run))


def assert_nothing_covers(figure):
    """No legend lies on an axis, its labels, or over the figure's edge."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [legend.get_window_extent() for legend in figure.legends]
    assert boxes and not any(box.overlaps(axis.get_tightbbox()) for box in boxes for axis in figure.axes)
    assert all(box.x0 >= 0 and box.x1 <= canvas.get_width_height()[0] for box in boxes)


def test_lines_differ_in_more_than_colour():
    from speechadv.report.style import COLOURS, ink_on, look

    looks = [tuple(look(number).values()) for number in range(28)]
    assert len(set(looks)) == 28 and len(set(COLOURS)) == 7
    assert ink_on("cividis", 0.0) == "white" and ink_on("cividis", 1.0) == "black"


def test_the_command(run, saved_run, tmp_path):
    status, out, err = run("plot", "success", saved_run, "--out", tmp_path / "s.png", "--json")
    assert (status, err) == (0, "") and json.loads(out)["out"] == str(tmp_path / "s.png") and (tmp_path / "s.png").stat().st_size > 2000
    folder = tmp_path / "copy"
    shutil.copytree(saved_run, folder)
    status, out, err = run("plot", "matrix", folder, "--cell", 1, "--format", "pdf", "--format", "png")
    assert (status, err) == (0, "") and {path.name for path in (folder / "figures").glob("matrix*")} == {"matrix.pdf", "matrix.png"}
    for arguments in (["success", saved_run, "--out", "a.png", "--format", "png"], ["success", saved_run, "--cell", 1], ["pie", saved_run], ["success", saved_run, "--row", 1], ["success", tmp_path], ["success", saved_run, "--out", tmp_path / "s.gif"]):
        status, out, err = run("plot", *arguments)
        assert status == 2 and len(err.strip().splitlines()) == 1 and not out


def test_command_and_figures_agree():
    from speechadv.cli import plot
    from speechadv.report.figures import KINDS

    assert set(plot.KINDS) == set(KINDS)
    assert {choice for option in plot.command.params if option.name == "over" for choice in option.type.choices} == set(AXES)
