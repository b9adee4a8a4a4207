"""The one table of this recipe, from the files of a finished run: the attacks in the order of their strength, over all networks and defenses."""
from collections import defaultdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from speechadv.attacks.offered import needs
from speechadv.evaluation.aggregate import by_cell
from speechadv.evaluation.cells import WORST, Cell, cells
from speechadv.evaluation.folder import TIMING, read_config
from speechadv.evaluation.metrics import asked, mean, rate, right_before, robust, succeeded
from speechadv.registry import lookup
from speechadv.report.saved import SavedRun, read_lines
from speechadv.report.style import COLOURS, MARKERS, legend_below, new_figure, percent
from speechadv.report.tables import NOTHING, csv_text, markdown_table, number
from speechadv.report.tables import percent as percent_of

COLUMNS = ("rank", "model", "defense", "attack", "threat", "access", "clips", "clips_right", "success", "success_low", "success_high", "robust_accuracy",
           "robust_accuracy_low", "robust_accuracy_high", "passes_mean", "queries_mean", "cpu_seconds", "seconds")
ACCESS = {"gradient": "gradients", "scores": "scores", "label": "labels"}
ELSEWHERE = "gradients of the bare network"  # what an oblivious attack knows
ALL_OF = {"oblivious": "all of these, oblivious", "adaptive": "all with gradients", "black-box": "all black boxes"}
NOTES = """\
Success: heard wrong after, of the clips heard right before, behind the same defense; in brackets 95 % Wilson intervals. The attacks stand in the order of the mean of
their six successes, of equal ones the one with fewer passes and queries first. Passes, queries and seconds are means over the six. A pass is one forward and backward of one clip, a query one
forward alone; seconds are processor time on one thread, a clip, codec and filter included, and for `universal` its share of the fit. The lines "all …" take for each clip the attack that did
worst to it."""
Line = dict[str, Any]


def lines(run: Path) -> list[Line]:
    """A line each cell of a run, the strongest attack first, with the keys `COLUMNS`.

    An attack's rank is that of its mean success over all models and defenses under one threat; among equals the one that asks less is first.
    """
    config, grouped = read_config(run), by_cell(SavedRun(run).rows)
    times = seconds(run, cells(config))
    found = [_line(key, rows, times) for key, rows in grouped.items()]
    by_attack = defaultdict(list)
    for line in found:
        by_attack[line["attack"], line["threat"]].append(line)
    order = sorted(by_attack, key=lambda name: (-average(by_attack[name], "success"), cost(by_attack[name])))
    return [{"rank": rank} | line for rank, name in enumerate(order, 1) for line in by_attack[name]]


def _line(key: tuple, rows: list[dict], times: dict[tuple, tuple[float, float]]) -> Line:
    model, defense, attack, threat, *_ = key
    right = [row for row in rows if right_before(row)]
    busy, clock = times[key] if key in times else (sum(values) for values in zip(*(times[other] for other in times if other[:2] + other[3:] == key[:2] + key[3:])))
    return {"model": model, "defense": defense, "attack": attack, "threat": threat, "access": access(attack, threat), "clips": len(rows), "clips_right": len(right),
            **rate("success", sum(map(succeeded, right)), len(right)), **rate("robust_accuracy", sum(map(robust, rows)), len(rows)),
            "passes_mean": mean(right, "passes"), "queries_mean": asked(right), "cpu_seconds": busy, "seconds": clock}


def access(attack: str, threat: str) -> str:
    """What an attack, by its label in rows, asks the network for under a threat."""
    if threat == "oblivious":
        return ELSEWHERE
    return ACCESS["gradient" if threat == "adaptive" else "scores"] if attack == WORST else ACCESS[needs(lookup("attack", attack.split()[0]))]


def seconds(run: Path, grid: list[Cell]) -> dict[tuple, tuple[float, float]]:
    """(processor, clock) seconds a clip of each cell's attack, by the cell's key; what was fitted first counts in full."""
    spent = defaultdict(lambda: [0, 0.0, 0.0])
    for item in read_lines(run / TIMING):
        entry = spent[tuple(item[name] for name in ("model", "defense", "attack", "budget", "seed"))]
        for place, name in enumerate(("clips", "attack_cpu_seconds", "attack_seconds")):
            entry[place] += item[name]
    found = {}
    for cell in grid:
        craft = cell.craft
        clips, busy, clock = spent[craft.model, craft.defense, str(craft.attack), craft.budget, craft.seed]
        found[cell.key] = (busy / max(1, clips), clock / max(1, clips))
    return found


def average(those: list[Line], column: str) -> float:
    """The mean over models and defenses; what is undefined counts as nothing."""
    return sum(line[column] or 0.0 for line in those) / len(those)


def cost(those: list[Line]) -> float:
    """Passes and queries together."""
    return average(those, "passes_mean") + average(those, "queries_mean")


def ranked(found: list[Line]) -> list[list[Line]]:
    """The lines of each attack, the strongest first."""
    by_rank = defaultdict(list)
    for line in found:
        by_rank[line["rank"]].append(line)
    return list(by_rank.values())


def title(line: Line) -> str:
    """An attack's name for people; an oblivious one says so."""
    if line["attack"] == WORST:
        return ALL_OF[line["threat"]]
    return f"{line['attack']}, oblivious" if line["threat"] == "oblivious" else line["attack"]


def places(found: list[Line]) -> list[tuple[str, str]]:
    """(model, defense), each once."""
    return list(dict.fromkeys((line["model"], line["defense"]) for line in found))


def as_csv(found: list[Line]) -> str:
    """All lines at full precision, empty where undefined."""
    return csv_text(COLUMNS, found)


def as_markdown(found: list[Line]) -> str:
    """The attacks, the strongest first, with their success in each network and defense; then the same order with robust accuracy."""
    return "\n\n".join([_table(found, "success"), NOTES, "Robust accuracy in percent (right before and after, over all clips), in the same order:", _table(found, "robust_accuracy")]) + "\n"


def _table(found: list[Line], rate_name: str) -> str:
    where = places(found)
    head = ["", "attack", "access", *(f"{model}, {defense} ({_clips(found, model, defense, rate_name)})" for model, defense in where), "passes", "queries", "s"]
    body = []
    for those in ranked(found):
        cells_of = {(line["model"], line["defense"]): percent_of(line, rate_name) for line in those}
        body.append([str(those[0]["rank"]), title(those[0]), those[0]["access"], *(cells_of.get(place, NOTHING) for place in where),
                     number(average(those, "passes_mean"), ".1f"), number(average(those, "queries_mean") or None, ".1f"), number(average(those, "cpu_seconds"), ".2f")])
    return markdown_table(head, body)


def _clips(found: list[Line], model: str, defense: str, rate_name: str) -> str:
    """The number of clips that a column's rates are over."""
    name = "clips_right" if rate_name == "success" else "clips"
    return "n = " + "/".join(dict.fromkeys(str(line[name]) for line in found if (line["model"], line["defense"]) == (model, defense)))


def figure(found: list[Line]) -> Figure:
    """A panel for each network and defense: the attacks from the strongest down, with their success and its interval, marked by what they ask for."""
    attacks, where = ranked(found), places(found)
    drawn = new_figure(2.2 + 1.9 * len(where), 1.4 + 0.17 * len(attacks))
    axes = drawn.subplots(1, len(where), sharey=True, squeeze=False)[0]
    kinds = list(dict.fromkeys(line["access"] for line in found))
    for axis, place in zip(axes, where):
        for kind, colour, marker in zip(kinds, COLOURS, MARKERS):
            here = [line for line in found if (line["model"], line["defense"]) == place and line["access"] == kind and line["success"] is not None]
            errors = [[max(0.0, line["success"] - line["success_low"]) for line in here], [max(0.0, line["success_high"] - line["success"]) for line in here]]
            axis.errorbar([line["success"] for line in here], [line["rank"] for line in here], xerr=errors if here else None, color=colour, marker=marker, linestyle="",
                          markersize=4, elinewidth=1, label=kind)
        axis.set(title="\n".join(place), xlim=(-0.03, 1.03), ylim=(len(attacks) + 0.7, 0.3))
        percent(axis, "x")
    axes[0].set_yticks(range(1, len(attacks) + 1), [title(those[0]) for those in attacks])
    legend_below(drawn, *axes[0].get_legend_handles_labels(), columns=4)
    return drawn
