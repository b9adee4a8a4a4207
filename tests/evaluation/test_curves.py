"""Curves and figures that come from rows: what a success costs, which words give way, who is most robust."""
import pytest

from speechadv import config as configs
from speechadv.errors import InputError
from speechadv.evaluation import rows as row_files
from speechadv.evaluation.curves import success_over_queries, success_over_snr
from speechadv.evaluation.settings import EvaluationConfig
from speechadv.evaluation.statistics import wilson
from speechadv.report.figures import draw
from speechadv.report.tables import write_tables


def legend(figure):
    """The names of a figure's lines."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def costly(cell, **others):
    """The rows of one cell of five clips, of which three fall after 10, 40 and 40 queries, at 30, 40 and 50 dB; one was wrong before."""
    rows = cell({0, 1, 2}, clips=4, **others) + cell(1, clips=1, before="no", **others)
    for row, queries, snr in zip(rows, (10, 40, 40, 90, 5), (30.0, 40.0, 50.0, 20.0, 60.0)):
        row |= {"queries": queries, "snr_db": snr, "passes": 0}
    return rows


@pytest.fixture
def rows_run(tmp_path):
    """`rows_run(rows)`: a folder with these rows, tables and a config."""
    def make(rows):
        row_files.rewrite(tmp_path / "rows.jsonl", rows)
        settings = EvaluationConfig(attacks=["pgd"], budgets=["linf:0.002"])
        (tmp_path / "config.toml").write_text(configs.dumps(settings))
        write_tables(tmp_path)
        return tmp_path

    return make


def test_curves_by_hand(cell):
    rows = costly(cell)
    points = success_over_queries(rows)
    assert [(p["queries"], p["success"]) for p in points] == [(0, 0), (10, 0.25), (40, 0.75), (90, 0.75)]
    assert (points[1]["success_low"], points[1]["success_high"]) == wilson(1, 4) and points[0]["clips"] == 4
    assert [(p["snr_db"], p["success"]) for p in success_over_snr(rows)] == [(30, 0.75), (40, 0.5), (50, 0.25)]
    assert success_over_queries([]) == success_over_snr([]) == []


def test_query_curves(cell, rows_run):
    run = rows_run(costly(cell, attack="square", threat="black-box") + costly(cell, attack="nes", threat="black-box") + cell(2, clips=5))
    figure = draw("queries", run)
    (axis,) = figure.axes
    assert axis.get_xlabel() == "queries spent on a clip" and legend(figure) == ["square", "nes"], "an attack with gradients has no query curve"
    assert list(axis.lines[0].get_xdata()) == [0, 10, 40, 90] and list(axis.lines[0].get_ydata()) == [0, 0.25, 0.75, 0.75]
    assert len(axis.collections) == 2 and axis.lines[0].get_linestyle() != axis.lines[1].get_linestyle()


def test_minimum_norm_curves(cell, rows_run):
    weak = [row | {"adversarial_prediction": "yes"} for row in costly(cell, attack="fmn", budget="linf:0.001")]
    figure = draw("minimum", rows_run(costly(cell, attack="fmn") + weak + cell(2, clips=5)))
    (axis,) = figure.axes
    assert "(dB)" in axis.get_xlabel() and legend(figure) == ["m"], "the budget that allowed most stands for all"
    heights = dict(zip(axis.lines[0].get_xdata(), axis.lines[0].get_ydata()))
    assert heights[30] == 0.75 and heights[40] == 0.5 and heights[50] == 0.25 and heights[51] == 0


def test_success_matrix(row, rows_run):
    rows = [row("1", label="yes", target="no", after="no"), row("2", label="yes", target="no"), row("3", label="go", target="yes", after="yes"),
            row("4", label="go", before="no", target="no", after="no")]
    figure = draw("matrix", rows_run(rows))
    axis = figure.axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["go", "no", "yes"]
    assert sorted(text.get_text() for text in axis.texts) == ["1/1", "1/2"] and "linf:0.002" in axis.get_title()
    figure = draw("matrix", rows_run([row("1", after="no"), row("2", after="go"), row("3")]))
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["1/3", "1/3"] and "heard instead" in figure.axes[0].get_xlabel()


def test_leaderboard(cell, rows_run):
    run = rows_run(cell(30, model="plain") + cell(5, model="trained") + cell(20, model="plain", defense="mp3:32", threat="oblivious", adaptive=False))
    (axis,) = draw("leaderboard", run).axes
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["trained", "plain"], "what was not attacked adaptively is not ranked"
    assert axis.get_ylim()[0] > axis.get_ylim()[1] and "%" in axis.xaxis.get_major_formatter()(0.5)
    (run / "leaderboard.csv").write_text((run / "table.csv").read_text().replace("trained", "first"))
    assert draw("leaderboard", run).axes[0].get_yticklabels()[0].get_text() == "first"
    (run / "leaderboard.csv").write_text("model,budget\nm,b\n")
    with pytest.raises(InputError, match="leaderboard.csv': expected a column 'defense'"):
        draw("leaderboard", run)


def test_a_curves_points_lie_beside_its_figure(cell, rows_run, run):
    folder = rows_run(costly(cell, attack="fmn") + cell(2, clips=5))
    status, printed, _ = run("plot", "minimum", folder)
    assert status == 0 and printed.splitlines()[1].endswith("minimum.csv")
    lines = (folder / "figures" / "minimum.csv").read_text().splitlines()
    assert lines[0] == "model,defense,attack,threat,budget,seed,snr_db,success,success_low,success_high,clips"
    assert [line.split(",")[6:8] for line in lines[1:]] == [["30.0", "0.75"], ["40.0", "0.5"], ["50.0", "0.25"]]
