"""The one table of this recipe: a line a defense, from the rows of the finished runs, and what each costs in time on this machine."""
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from speechadv.evaluation.metrics import rate, right_before, robust
from speechadv.report.saved import SavedRun
from speechadv.report.tables import NOTHING, csv_text, markdown_table
from speechadv.report.tables import percent as percent_of

NONE = "none"
TIMED = 20  # clips, one at a time
RATES = ("clean_accuracy", "oblivious", "adaptive", "ensemble", "adam", "all_attacks")
COLUMNS = ("defense", "model", "clips", *(name + end for name in RATES for end in ("", "_low", "_high")), "verdict", "ms_a_clip", "ms_a_gradient")
FALLEN, ABOVE = "fallen", "above none"
NOTES = """\
Percent of all clips, in brackets 95 % Wilson intervals, on the saved 16-bit files. Clean: right behind the defense, unattacked. Oblivious, adaptive: right before and after PGD of 20 steps that
did not know the defense, and through it. Ensemble, Adam: where they were run, the ensemble (100 steps, three targets, 250 queries) and PGD of 300 steps with Adam, both through it. All: right in every one of these at once, each with draws of its own where the defense is random.
"Above none" where the interval of "all" lies above that of the same network without a defense; "fallen" where it does not. Time: processor time of a clip of one second alone on one thread, median
of {timed}; forward, and forward with the gradient."""
Line = dict[str, Any]


def write(run: Path, ensemble: Path | None = None) -> str:
    """defenses.md and defenses.csv in the first run; returns the former. Without a run of the stronger attacks their columns are empty."""
    lines = lines_of(run, ensemble)
    (run / "defenses.csv").write_text(as_csv(lines), encoding="utf-8")
    (run / "defenses.md").write_text(text := as_markdown(lines), encoding="utf-8")
    return text


def lines_of(run: Path, ensemble: Path | None) -> list[Line]:
    """A line each defense and model, in the order of the config, with the keys `COLUMNS`."""
    heard: dict[tuple[str, str], dict[str, dict[str, dict]]] = defaultdict(lambda: defaultdict(dict))
    for row in SavedRun(run).rows:
        heard[row["defense"], row["model"]][row["threat"]][row["clip"]] = row
    for row in SavedRun(ensemble).rows if ensemble else ():
        heard[row["defense"], row["model"]]["ensemble" if row["attack"] == "ensemble" else "adam"][row["clip"]] = row
    spent = {defense: milliseconds(defense) for defense in dict.fromkeys(defense for defense, _ in heard)}
    bare = {model: _line(NONE, model, rows) for (defense, model), rows in heard.items() if defense == NONE}
    lines = [_line(defense, model, by_attack) for (defense, model), by_attack in heard.items()]
    for line in lines:
        forward, gradient = spent[line["defense"]]
        alone = bare.get(line["model"])
        above = alone and line["all_attacks_low"] > alone["all_attacks_high"]
        line |= {"verdict": NOTHING if line["defense"] == NONE or not alone else ABOVE if above else FALLEN, "ms_a_clip": forward, "ms_a_gradient": gradient}
    order = list(spent)
    return sorted(lines, key=lambda line: order.index(line["defense"]))


def _line(defense: str, model: str, by_attack: dict[str, dict[str, dict]]) -> Line:
    """The rates of one defense in front of one model, of rows by attack and clip."""
    clips = list(by_attack["adaptive"])
    counts = {"clean_accuracy": sum(map(right_before, by_attack["adaptive"].values()))}
    counts |= {attack: sum(map(robust, rows.values())) for attack, rows in by_attack.items()}
    counts["all_attacks"] = sum(all(robust(rows[clip]) for rows in by_attack.values()) for clip in clips)
    rates = {name: rate(name, counts[name], len(clips)) if name in counts else dict.fromkeys((name, f"{name}_low", f"{name}_high")) for name in RATES}
    return {"defense": defense, "model": model, "clips": len(clips)} | {key: value for each in rates.values() for key, value in each.items()}


def milliseconds(defense: str) -> tuple[float, float]:
    """Processor time of one clip of one second through a defense, and there and back with the gradient of its surrogate: medians, on one thread."""
    import torch

    from speechadv.data.samples import load_bundled
    from speechadv.defenses import Defended, parse_defense

    class Ear(torch.nn.Module):
        """Hears nothing: what is timed is the defense."""

        labels, sample_rate = ("sound",), 16000

        def forward(self, waveforms):
            return waveforms

    clips = torch.from_numpy(load_bundled()[0])[: TIMED + 1]  # the first one warms up
    defended = Defended(Ear(), *parse_defense(defense)).eval()
    found = []
    for wanted in (False, True):
        spent = []
        for clip in clips:
            before, entering = time.process_time(), clip[None].clone().requires_grad_(wanted)
            heard = defended(entering)
            if wanted:
                torch.autograd.grad(heard.sum(), entering)
            spent.append(time.process_time() - before)
        found.append(round(1000 * sorted(spent[1:])[TIMED // 2], 2))
    return found[0], found[1]


def as_csv(lines: list[Line]) -> str:
    """All lines at full precision, empty where undefined."""
    return csv_text(COLUMNS, lines)


def as_markdown(lines: list[Line]) -> str:
    """A table a model, and what the columns mean."""
    parts = []
    for model in dict.fromkeys(line["model"] for line in lines):
        those = [line for line in lines if line["model"] == model]
        body = [[f"`{line['defense']}`", *(percent_of(line, name) for name in RATES), line["verdict"], f"{line['ms_a_clip']:.2f}", f"{line['ms_a_gradient']:.2f}"] for line in those]
        head = ["defense", "clean %", "oblivious %", "adaptive %", "ensemble %", "Adam %", "all %", "", "ms a clip", "with gradient"]
        parts.append(f"`{model}`, {those[0]['clips']} clips:\n\n{markdown_table(head, body)}")
    return "\n\n".join([*parts, NOTES.format(timed=TIMED)]) + "\n"
