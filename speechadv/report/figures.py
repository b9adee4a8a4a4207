"""Figures of a run, each from its saved files alone: `draw(kind, run)`."""
from pathlib import Path
from typing import Any, Callable

import numpy as np
from matplotlib.figure import Figure

from ..errors import ConfigError, InputError, shown
from ..registry import closest
from .saved import SAMPLE_RATE, SavedRun, has_sound, outcome, read_lines
from .style import COLOURS, HATCHES, LEVELS, MARKERS, legend_below, new_figure, short, styled

WORST = "worst-of"  # the attack of the cells that take the worst of several for each clip
FLOOR_DB = 80  # of a spectrogram's colours, below its loudest point


def draw(kind: str, folder: Path, *, row: int | None = None, over: str | None = None) -> Figure:
    """Draw one figure.

    Args:
        kind: one of `KINDS`.
        folder: of a run (of a training run for "training").
        row: for the figures of one clip: its line in rows.jsonl, counted from 1; by default the first that was fooled.
        over: for "security": eps, snr, margin or bitrate; by default the one with most values.

    Raises:
        ConfigError: an unknown kind. InputError: the run lacks what the figure needs.
    """
    if kind not in KINDS:
        raise ConfigError(f"unknown figure '{shown(kind)}'{closest(kind, KINDS)} (known: {', '.join(KINDS)})")
    choices = {"row": row, "over": over}
    with styled():
        return KINDS[kind](folder, **{key: choices[key] for key in TAKES.get(kind, ())})


def spectrograms(folder: Path, row: int | None = None) -> Figure:
    """Clean, adversarial and their difference, on one colour scale."""
    run = SavedRun(folder)
    chosen = chosen_row(run, row)
    clean, adversarial = run.pair(chosen)
    parts = [("clean", clean), ("adversarial", adversarial), ("difference", adversarial - clean)]
    levels = [level_db(wave) for _, wave in parts]
    top = max(float(level.max()) for level in levels[:2])
    figure = new_figure(9, 3)
    axes = figure.subplots(1, 3, sharey=True)
    for axis, (name, wave), level in zip(axes, parts, levels):
        image = axis.imshow(level, origin="lower", aspect="auto", extent=(0, len(wave) / SAMPLE_RATE, 0, SAMPLE_RATE / 2000), cmap=LEVELS,
                            vmin=top - FLOOR_DB, vmax=top)
        axis.set(title=name, xlabel="time (s)")
        axis.grid(False)
    axes[0].set_ylabel("frequency (kHz)")
    figure.colorbar(image, ax=axes, label="level (dB re full scale)", pad=0.01)
    figure.suptitle(clip_title(chosen), fontsize=9)
    return figure


def level_db(wave: np.ndarray, n_fft: int = 512, hop: int = 64) -> np.ndarray:
    """(bins, frames) levels in dB; a full-scale sine reads 0 dB."""
    padded = np.pad(wave.astype(np.float64), n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop] * np.hanning(n_fft + 1)[:-1]
    return 20 * np.log10(np.abs(np.fft.rfft(frames)).T * 4 / n_fft + 1e-10)


def masking(folder: Path, row: int | None = None) -> Figure:
    """The perturbation's spectrum beside the clip's and its masking threshold, in the frame where it comes nearest to it."""
    import torch

    from ..masking import MaskingModel

    run = SavedRun(folder)
    chosen = chosen_row(run, row)
    clean, adversarial = (torch.from_numpy(wave.astype(np.float64))[None] for wave in run.pair(chosen))
    model = MaskingModel(SAMPLE_RATE)
    threshold = model.threshold_db(clean)[0]
    perturbation, speech = model.spectrum.level_db(adversarial - clean)[0], model.spectrum.level_db(clean)[0]
    loud = speech.amax(1) > speech.max() - 30  # frames with speech in them
    excess = (perturbation - threshold).amax(1)
    frame = int(torch.where(loud, excess, -torch.inf).argmax())
    kilohertz = np.arange(model.spectrum.bins) * SAMPLE_RATE / model.spectrum.n_fft / 1000
    figure = new_figure(6.5, 3.6)
    axis = figure.subplots()
    axis.plot(kilohertz, speech[frame], color=COLOURS[5], label="clean clip")
    axis.plot(kilohertz, threshold[frame], color=COLOURS[6], linestyle="--", label="masking threshold")
    axis.plot(kilohertz, perturbation[frame], color=COLOURS[1], label="perturbation")
    seconds = max(0.0, (frame * model.spectrum.hop + model.spectrum.hop - model.spectrum.n_fft / 2) / SAMPLE_RATE)
    lowest = float(torch.minimum(threshold[frame], speech[frame]).min())
    axis.set(xlabel="frequency (kHz)", ylabel="level (dB SPL, full scale = 96 dB)", xlim=(0, SAMPLE_RATE / 2000), ylim=(max(lowest, -40) - 5, None),
             title=f"{clip_title(chosen)}\nat {seconds:.2f} s, {excess[frame]:+.1f} dB against the threshold")
    legend_below(figure, *axis.get_legend_handles_labels(), columns=3)
    return figure


def security(folder: Path, over: str | None = None) -> Figure:
    """How a rate moves with the size of the budget or with the bitrate, with its 95 % Wilson interval."""
    cells = SavedRun(folder).cells
    if over is not None and over not in AXES:
        raise ConfigError(f"--over '{shown(over)}': expected one of {', '.join(AXES)}")
    rate, label = rate_of(cells)
    drawable = [cell for cell in cells if cell.get(rate) is not None]
    lines = {key: series(drawable, key) for key in ([over] if over else AXES)}
    over = max(lines, key=lambda key: max(map(len, lines[key].values()), default=0))
    if not lines[over]:
        raise InputError(f"'{shown(folder)}': a security curve over {over} needs a run with two or more values of it and all else equal")
    figure = new_figure(6.5, 3.6 + 0.1 * len(lines[over]))  # the legend takes its height below the axes
    axis = figure.subplots()
    looks: dict[tuple, int] = {}  # lines that differ in the threat alone have one colour; the oblivious one is dashed
    for name, members in lines[over].items():
        look = tuple(without(members[0], key, over) for key in ("model", "defense", "attack", "budget", "seed"))
        curve(axis, members, over, rate, looks.setdefault(look, len(looks)), name)
    axis.set(xlabel=AXES[over][1], ylabel=label, ylim=(-0.02, 1.02))
    percent(axis)
    legend_below(figure, *axis.get_legend_handles_labels())
    return figure


def curve(axis, members: list[dict], over: str, rate: str, number: int, name: str) -> None:
    """One line with a band for its interval."""
    members = sorted(members, key=lambda cell: value_of(cell, over))
    x = [value_of(cell, over) for cell in members]
    colour = COLOURS[number % len(COLOURS)]
    axis.plot(x, [cell[rate] for cell in members], color=colour, marker=MARKERS[number % len(MARKERS)], label=name,
              linestyle="--" if members[0]["threat"] == "oblivious" else "-")
    axis.fill_between(x, [cell[f"{rate}_low"] for cell in members], [cell[f"{rate}_high"] for cell in members], color=colour, alpha=0.15, linewidth=0)


def series(cells: list[dict], over: str) -> dict[str, list[dict]]:
    """Two or more cells that differ in the x axis alone, under a name made of the keys that differ between lines."""
    keys = ("model", "defense", "attack", "threat", "budget", "seed")
    groups: dict[tuple, list[dict]] = {}
    for cell in cells:
        if value_of(cell, over) is not None:
            groups.setdefault(tuple(without(cell, key, over) for key in keys), []).append(cell)
    groups = {group: members for group, members in groups.items() if len(members) > 1}
    varied = [i for i in range(len(keys)) if len({group[i] for group in groups}) > 1] or [0]
    return {", ".join(f"seed {group[i]}" if keys[i] == "seed" else short(str(group[i])) for i in varied): members for group, members in groups.items()}


def without(cell: dict, key: str, over: str) -> Any:
    """A cell's key with the x axis's value taken out of it."""
    column, _, prefix = AXES[over]
    return "+".join(prefix if part.startswith(prefix) else part for part in str(cell[key]).split("+")) if key == column else cell[key]


def value_of(cell: dict, over: str) -> float | None:
    """A cell's value on an x axis, or None where it has none."""
    column, _, prefix = AXES[over]
    for part in str(cell[column]).split("+"):
        if part == "masking" and over == "margin":
            return 0.0
        if part.startswith(prefix + ":"):
            try:
                return float(part.split(":")[1])
            except ValueError:
                return None
    return None


# What a security curve can run over: the column that holds it, the axis's name with its unit, and the word before the value.
AXES = {
    "eps": ("budget", "L-infinity budget (fraction of full scale)", "linf"),
    "snr": ("budget", "least signal-to-noise ratio (dB)", "snr"),
    "margin": ("budget", "margin over the masking threshold (dB)", "masking"),
    "bitrate": ("defense", "MP3 bitrate (kbit/s)", "mp3"),
}


def success(folder: Path) -> Figure:
    """How often each defended network was fooled, attacked obliviously and adaptively; a panel for each budget."""
    cells = one_attack(SavedRun(folder).cells)
    rate, label = rate_of(cells)
    budgets = list(dict.fromkeys(cell["budget"] for cell in cells))
    names = list(dict.fromkeys(defended_name(cell, cells) for cell in cells))
    threats = list(dict.fromkeys(cell["threat"] for cell in cells))
    figure = new_figure(max(5.0, 1.1 + 0.75 * len(names) * len(budgets)), 4.2)
    axes = np.atleast_1d(figure.subplots(1, len(budgets), sharey=True))
    for axis, budget in zip(axes, budgets):
        here = [cell for cell in cells if cell["budget"] == budget and cell.get(rate) is not None]
        beside = {name: [t for t in threats if any(c["threat"] == t and defended_name(c, cells) == name for c in here)] for name in names}
        width = 0.8 / max(1, *map(len, beside.values()))
        for number, threat in enumerate(threats):
            chosen = [cell for cell in here if cell["threat"] == threat]
            groups = [(names.index(name), beside[name]) for name in (defended_name(cell, cells) for cell in chosen)]
            bars(axis, chosen, [place + (group.index(threat) - (len(group) - 1) / 2) * width for place, group in groups], rate, number, width, threat)
        axis.set(title=budget, ylim=(0, 1.02))
        axis.set_xticks(range(len(names)), [short(name) for name in names], rotation=35, ha="right", rotation_mode="anchor")
        axis.grid(False, axis="x")
        percent(axis)
    axes[0].set_ylabel(label)
    handles, labels = axes[0].get_legend_handles_labels()
    legend_below(figure, handles, labels, columns=4)
    return figure


def one_attack(cells: list[dict]) -> list[dict]:
    """The cells of the first seed, and of several attacks on the same thing the one that takes the worst of them."""
    cells = [cell for cell in cells if cell["seed"] == cells[0]["seed"]]
    place = lambda cell: tuple(cell[key] for key in ("model", "defense", "threat", "budget"))
    worst = {place(cell) for cell in cells if cell["attack"] == WORST}
    return [cell for cell in cells if cell["attack"] == WORST or place(cell) not in worst]


def bars(axis, cells: list[dict], x: list[float], rate: str, number: int, width: float, name: str) -> None:
    """The bars of one threat at their places, with Wilson intervals."""
    errors = [[max(0.0, c[rate] - c[f"{rate}_low"]) for c in cells], [max(0.0, c[f"{rate}_high"] - c[rate]) for c in cells]]
    axis.bar(x, [cell[rate] for cell in cells], width * 0.92, color=COLOURS[number], hatch=HATCHES[number % len(HATCHES)], edgecolor="white", label=name,
             yerr=errors if cells else None, error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "#333333"})


def defended_name(cell: dict, cells: list[dict]) -> str:
    """The defense, or the model where there is none; both where that would not tell two cells apart."""
    if cell["defense"] == "none":
        return cell["model"]
    several = len({c["model"] for c in cells if c["defense"] == cell["defense"]}) > 1
    return f"{cell['model']}, {cell['defense']}" if several else cell["defense"]


def training(folder: Path) -> Figure:
    """Loss and accuracies over the epochs of a training run."""
    path = folder / "history.jsonl"
    if not path.is_file():
        raise InputError(f"'{shown(folder)}': expected a training run, there is no history.jsonl in it")
    history = read_lines(path)
    names = [key for key in dict.fromkeys(key for row in history for key in row) if key not in ("epoch", "loss", "score")]
    figure = new_figure(6.5, 4.2)
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot([row["epoch"] for row in history], [row["loss"] for row in history], color=COLOURS[6], label="training loss")
    upper.set_ylabel("cross-entropy (nats)")
    for number, name in enumerate(names):
        points = [(row["epoch"], row[name]) for row in history if name in row]
        lower.plot(*zip(*points), color=COLOURS[number % len(COLOURS)], marker=MARKERS[number % len(MARKERS)], markersize=3, label=f"validation {name.replace('_', ' ')}")
    lower.set(xlabel="epoch", ylabel="share of clips right")
    percent(lower)
    handles = [axis.get_legend_handles_labels() for axis in (upper, lower)]
    legend_below(figure, handles[0][0] + handles[1][0], handles[0][1] + handles[1][1], columns=3)
    return figure


def percent(axis) -> None:
    from matplotlib.ticker import PercentFormatter

    axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))


def rate_of(cells: list[dict]) -> tuple[str, str]:
    """The rate that a figure shows, and its name: targeted success where the run was targeted, else robust accuracy."""
    if not cells:
        raise InputError("this run has no cells to draw")
    if any(cell.get("targeted_success") is not None for cell in cells):
        return "targeted_success", "target word heard (of clips right before)"
    return "robust_accuracy", "right before and after (of all clips)"


def chosen_row(run: SavedRun, number: int | None) -> dict[str, Any]:
    """The row of a figure about one clip. Raises InputError where it has no sound."""
    if number is not None:
        if not 1 <= number <= len(run.rows):
            raise InputError(f"--row {number}: expected a line of rows.jsonl, 1 to {len(run.rows)}")
        if not has_sound(run.rows[number - 1]):
            raise InputError(f"--row {number}: this row's sound was not saved")
        return run.rows[number - 1]
    heard = [row for row in run.rows if has_sound(row)]
    if not heard:
        raise InputError(f"'{shown(run.folder)}': no row of this run has sound saved")
    return next((row for row in heard if outcome(row) in ("target heard", "other word heard")), heard[0])


def clip_title(row: dict[str, Any]) -> str:
    """What a figure about one clip is about."""
    wanted = f" → {row['target']}" if row["target"] is not None else ""
    snr = f", SNR {row['snr_db']:.1f} dB" if row.get("snr_db") is not None else ""
    return f"{row['clip']}: {row['label']}{wanted}, budget {row['budget']}{snr}"


KINDS: dict[str, Callable[..., Figure]] = {"spectrograms": spectrograms, "masking": masking, "security": security, "success": success, "training": training}
TAKES = {"spectrograms": ("row",), "masking": ("row",), "security": ("over",)}
