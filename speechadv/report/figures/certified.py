"""Certified accuracy over the radius, from certificates."""
from pathlib import Path

from matplotlib.figure import Figure

from ...errors import InputError, shown
from ...evaluation import certificates
from ..style import MARKERS, legend_below, look, new_figure, percent, short

FILE = "certificates.jsonl"


def certified(folder: Path) -> Figure:
    """The share of clips that are right, and proven to stay so, within a radius; with 95 % Wilson intervals and the ceiling of the method.

    The ceiling is the largest radius that n draws at level alpha can prove at all: a curve that ends there says nothing about what lies beyond.
    """
    lines = certificates.read(folder / FILE)
    if not lines:
        raise InputError(f"'{shown(folder)}': a certified curve needs {FILE}, from `speechadv certify`; there is none with whole lines")
    groups: dict[tuple, list[certificates.Line]] = {}
    for line in lines:
        groups.setdefault((line["model"], line["sigma"], line["n"], line["alpha"]), []).append(line)
    figure = new_figure(6.5, 3.6 + 0.1 * len(groups))
    axis = figure.subplots()
    for number, ((model, sigma, n, alpha), members) in enumerate(groups.items()):
        points, style = certificates.certified_curve(members), look(number)
        x = [point["radius"] for point in points]
        axis.plot(x, [point["certified"] for point in points], label=f"{short(str(model))}, σ {sigma:g}, n {n:,}, α {alpha:g}, {len(members)} clips",
                  color=style["color"], linestyle=style["linestyle"], marker=MARKERS[number % len(MARKERS)], markevery=8)
        axis.fill_between(x, [point["certified_low"] for point in points], [point["certified_high"] for point in points], color=style["color"], alpha=0.15,
                          linewidth=0)
        axis.axvline(members[0]["ceiling"], color=style["color"], linestyle=":", linewidth=1.2, label=f"ceiling for n {n:,}: {members[0]['ceiling']:.4g}")
    axis.set(xlabel="certified radius (L2 norm of the change, full scale = 1)", ylabel="right within the radius (of all clips)", ylim=(-0.02, 1.02),
             xlim=(0, None))
    percent(axis)
    legend_below(figure, *axis.get_legend_handles_labels(), columns=1)
    return figure
