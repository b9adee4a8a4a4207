"""Certified accuracy over the radius, from certificates, and beside it what an attack reached in the same balls."""
from math import log10
from pathlib import Path
from statistics import median
from typing import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...errors import InputError, shown
from ...evaluation import certificates, empirical
from ..style import MARKERS, legend_below, look, new_figure, percent, short

FILE = "certificates.jsonl"


def certified(folder: Path) -> Figure:
    """The share of clips that are right, and proven to stay so, within a radius; with 95 % Wilson intervals and the ceiling of the method.

    The ceiling is the largest radius that n draws at level alpha can prove at all: a curve that ends there says nothing about what lies beyond. Where
    empirical.jsonl lies beside the certificates, the accuracy of the vote under attack stands at the radii that were tried, and the curve of the attacked clips alone. The upper axis is the SNR of
    a perturbation of that length against a clip of median energy.
    """
    lines = certificates.read(folder / FILE)
    if not lines:
        raise InputError(f"'{shown(folder)}': a certified curve needs {FILE}, from `speechadv certify`; there is none with whole lines")
    groups: dict[tuple, list[certificates.Line]] = {}
    for line in lines:
        groups.setdefault((line["model"], line["sigma"], line["n"], line["alpha"]), []).append(line)
    tried = empirical.read(folder / empirical.EMPIRICAL)
    figure = new_figure(6.5, 3.8 + 0.1 * len(groups) + 0.2 * bool(tried))
    axis = figure.subplots()
    for number, ((model, sigma, n, alpha), members) in enumerate(groups.items()):
        points, style = certificates.certified_curve(members), look(number)
        x = [point["radius"] for point in points]
        axis.plot(x, [point["certified"] for point in points], label=f"{short(str(model))}, σ {sigma:g}, n {n:,}, α {alpha:g}, {len(members)} clips",
                  color=style["color"], linestyle=style["linestyle"], marker=MARKERS[number % len(MARKERS)], markevery=8)
        axis.fill_between(x, [point["certified_low"] for point in points], [point["certified_high"] for point in points], color=style["color"], alpha=0.15,
                          linewidth=0)
        _draw_attacked(axis, members, tried, style["color"])
        axis.axvline(members[0]["ceiling"], color=style["color"], linestyle=":", linewidth=1.2, label=f"ceiling for n {n:,}: {members[0]['ceiling']:.4g}")
    _draw_tried(axis, tried, len(groups))
    axis.set(xlabel="certified radius (L2 norm of the change, full scale = 1)", ylabel="right within the radius (of all clips)", ylim=(-0.02, 1.02),
             xlim=(0, None))
    percent(axis)
    _as_snr(axis, lines)
    legend_below(figure, *axis.get_legend_handles_labels(), columns=1)
    return figure


def _draw_attacked(axis: Axes, members: Sequence[certificates.Line], tried: Sequence[empirical.Line], color: str) -> None:
    """The curve of those clips alone that were attacked, where they are fewer: accuracy under attack may fall below that of all, never below this one."""
    clips = {line["clip"] for line in tried}
    attacked = [line for line in members if line["clip"] in clips]
    if attacked and len(attacked) < len(members):
        points = certificates.certified_curve(attacked)
        axis.plot([point["radius"] for point in points], [point["certified"] for point in points], color=color, linestyle="--", linewidth=1,
                  label=f"certified, the {len(attacked)} attacked clips")


def _draw_tried(axis: Axes, tried: Sequence[empirical.Line], begin: int) -> None:
    """Accuracy under attack, one series an attack and sigma."""
    for number, (attack, sigma) in enumerate(dict.fromkeys((line["attack"], line["sigma"]) for line in tried), begin):
        points, style = empirical.points([line for line in tried if (line["attack"], line["sigma"]) == (attack, sigma)]), look(number)
        errors = [[max(0.0, point["accuracy"] - point["accuracy_low"]) for point in points], [max(0.0, point["accuracy_high"] - point["accuracy"]) for point in points]]
        axis.errorbar([point["radius"] for point in points], [point["accuracy"] for point in points], yerr=errors, color=style["color"], linestyle="none",
                      marker=MARKERS[number % len(MARKERS)], elinewidth=1, capsize=2, label=f"under attack: {short(attack, 60)}, {points[0]['clips']} clips")


def _as_snr(axis: Axes, lines: Sequence[certificates.Line]) -> None:
    """The upper axis: radii as the SNR against the clip of median energy; none where no certificate has an SNR."""
    energies = [line["snr_db"] + 20 * log10(line["radius"]) for line in lines if line["snr_db"] is not None and line["radius"]]
    right = axis.get_xlim()[1]
    if not energies:
        return
    places = [share * right for share in (0.1, 0.25, 0.5, 0.75, 1.0)]
    upper = axis.secondary_xaxis("top")
    upper.set_xticks(places, [f"{median(energies) - 20 * log10(place):.0f}" for place in places])
    upper.set_xlabel("the same as SNR, dB, for the clip of median energy")
