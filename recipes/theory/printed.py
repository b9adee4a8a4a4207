"""The passages that docs/theory.md quotes, each made from what was measured alone."""
from statistics import NormalDist
from typing import Callable, Sequence

import numpy as np
from measure import DOUBLINGS, DRAWS, SIGMAS, STEPS

from speechadv.evaluation.metrics import rate, right_before, robust
from speechadv.report.tables import markdown_table, percent

SAMPLES = 16000  # a second at 16 kHz
CERTIFICATE = {"n": 10_000, "alpha": 0.001}  # of the ceiling that is printed


def passages(rows: Sequence[dict], clips: Sequence[dict], sounds: Sequence[dict], models: Sequence[str]) -> dict[str, str]:
    """Name of a passage -> Markdown.

    Args:
        rows: of the run.
        clips: what `measure.of_clips` gave, for all models.
        sounds: what `measure.of_sounds` gave.
        models: in the order of the config.
    """
    of = {model: with_found([clip for clip in clips if clip["model"] == model], rows) for model in models}
    return {"dimension": dimension(of), "linear": linear(of), "distance": distance(of), "codec": codec(rows, sounds), "training": training(of, rows),
            "certificate": certificate(of)}


def with_found(clips: Sequence[dict], rows: Sequence[dict]) -> list[dict]:
    """The clips that are heard right, with the smallest perturbation that the minimum-norm attack found (None: none inside the budget)."""
    found: dict[tuple, dict] = {}
    for row in rows:
        if row["attack"] == "fmn":
            found[row["model"], row["budget"].split(":")[0], row["clip"]] = row
    kept = []
    for clip in clips:
        peak, energy = (found[clip["model"], kind, clip["clip"]] for kind in ("linf", "snr"))
        if right_before(peak):
            l2 = clip["norm"] * 10 ** (-energy["snr_db"] / 20) if energy["reached"] and energy["snr_db"] is not None else None
            kept.append(clip | {"found_linf": peak["linf"] if peak["reached"] else None, "found_l2": l2})
    return kept


def middle(values: Sequence[float | None], missing: float = np.inf) -> float:
    """The median, where what is missing counts as larger than anything."""
    return float(np.median([missing if value is None else value for value in values]))


def quartiles(values: Sequence[float], form: str = ".2f") -> str:
    """"0.50 (0.41 to 0.62)": median and quartiles."""
    low, mid, high = np.percentile(values, [25, 50, 75])
    return f"{mid:{form}} ({low:{form}} to {high:{form}})"


def size(value: float) -> str:
    """A peak as a fraction of full scale; what was never reached is said so."""
    return f"{value:.2g}" if np.isfinite(value) else "none up to full scale"


def table_of(models: dict[str, list[dict]], columns: dict[str, Callable[[list[dict]], str]]) -> str:
    """A table with a line a model."""
    lines = [[model, str(len(clips)), *(make(clips) for make in columns.values())] for model, clips in models.items()]
    return markdown_table(["network", "clips heard right", *columns], lines)


def dimension(of: dict[str, list[dict]]) -> str:
    """Why many samples help the attack."""
    columns = {
        "(L1 / L2 of the gradient)²": lambda clips: quartiles([(clip["l1"] / clip["l2"]) ** 2 for clip in clips], ".0f"),
        "L1 / L2": lambda clips: quartiles([clip["l1"] / clip["l2"] for clip in clips], ".0f"),
        "peak of the smallest attack found": lambda clips: size(middle([clip["found_linf"] for clip in clips])),
        "peak of random signs": lambda clips: size(middle([clip["noise_linf"] for clip in clips])),
    }
    return table_of(of, columns) + (f"\n\nL1 / L2 could be at most √{SAMPLES} = {SAMPLES**0.5:.0f}. Columns two and three: median (quartiles) over clips; "
                                    f"the last two: median over clips; random signs in steps of a factor 2 from {DOUBLINGS[0]:.2g} to {DOUBLINGS[-1]:.2g}.")


def linear(of: dict[str, list[dict]]) -> str:
    """How linear the networks are along the gradient's sign."""
    columns = {f"step {eps:g}": (lambda clips, k=k: quartiles([clip["drops"][k] for clip in clips])) for k, eps in enumerate(STEPS)}
    columns |= {f"wrong after one step of {eps:g}, %": (lambda clips, k=k: percent(rate("wrong", sum(clip["wrong"][k] for clip in clips), len(clips)), "wrong"))
                for k, eps in list(enumerate(STEPS))[1:]}
    return table_of(of, columns) + ("\n\nStep: the fall of the margin as a share of what a linear network's would be (1: linear; below 0: it rose); "
                                    "median (quartiles) over clips. Wrong: share of the clips heard "
                                    "right, with Wilson intervals.")


def distance(of: dict[str, list[dict]]) -> str:
    """The estimate margin over dual norm beside the smallest perturbation that an attack found."""
    columns: dict[str, Callable[[list[dict]], str]] = {}
    for name, key in (("peak", "linf"), ("energy", "l2")):
        columns |= {
            f"{name}: estimate": lambda clips, key=key: f"{middle([clip[f'estimate_{key}'] for clip in clips]):.2g}",
            f"{name}: found": lambda clips, key=key: size(middle([clip[f"found_{key}"] for clip in clips])),
            f"{name}: found / estimate": lambda clips, key=key: quartiles([clip[f"found_{key}"] / clip[f"estimate_{key}"] for clip in both(clips, key)]),
            f"{name}: rank correlation": lambda clips, key=key: f"{ranks(both(clips, key), f'estimate_{key}', f'found_{key}'):.2f}",
        }
    missing = {model: sum(clip["found_linf"] is None or clip["found_l2"] is None for clip in clips) for model, clips in of.items()}
    lines = markdown_table(["", *of], [[name, *(make(clips) for clips in of.values())] for name, make in columns.items()])
    none = "; ".join(f"{model}: {count} of {len(of[model])}" for model, count in missing.items())
    return lines + ("\n\nMedians over the clips heard right (ratio: with quartiles); peak as a fraction of full scale, energy as the L2 norm of "
                    "the perturbation. Found: FMN, 100 steps, "
                    f"on the 16-bit grid, where one LSB is 0.000031. Clips without a success inside both budgets: {none}.")


def both(clips: list[dict], key: str) -> list[dict]:
    """The clips for which an attack found something."""
    return [clip for clip in clips if clip[f"found_{key}"] is not None]


def ranks(clips: Sequence[dict], a: str, b: str) -> float:
    """Spearman's rank correlation of two columns."""
    from scipy.stats import spearmanr

    return float(spearmanr([clip[a] for clip in clips], [clip[b] for clip in clips]).statistic)


def codec(rows: Sequence[dict], sounds: Sequence[dict]) -> str:
    """What passes a defense, and what the attacker who knows it makes of that."""
    attacked = [row for row in rows if row["attack"] == "ensemble"]
    defended = {row["model"] for row in attacked if row["defense"] != "none"}
    budgets = list(dict.fromkeys(row["budget"] for row in attacked))
    lines = []
    for model, defense, threat in dict.fromkeys((row["model"], row["defense"], row["threat"]) for row in attacked if row["model"] in defended):
        of = [[row for row in attacked if (row["model"], row["defense"], row["threat"], row["budget"]) == (model, defense, threat, budget)] for budget in budgets]
        kept = [percent(rate("kept", sum(map(robust, members)), len(members)), "kept") for members in of]
        heard = [sound for sound in sounds if (sound["model"], sound["defense"], sound["threat"], sound["budget"]) == (model, defense, threat, budgets[0])]
        lines.append([defense, threat, percent(rate("right", sum(map(right_before, of[0])), len(of[0])), "right"), *kept, *passing(heard)])
    head = ["in front", "attack", "right before, %", *(f"right after, {budget}, %" for budget in budgets), "passes", "of it along δ", "own change"]
    heard_clips = len({sound["clip"] for sound in sounds})
    return markdown_table(head, lines) + (
        f"\n\nThe ensemble (APGD, APGD towards three labels, FMN, 300 queries of Square), untargeted, on {len(of[0])} clips. Oblivious: made without the defense; adaptive: through it. The last three columns are "
        f"medians over {heard_clips} "
        f"clips under {budgets[0]}: energy of D(x + δ) − D(x) over that of δ; its part along δ; and the energy of D(x) − x over that of δ.")


def passing(sounds: Sequence[dict]) -> list[str]:
    """The medians of what passes a defense; dashes where there is none."""
    if not sounds:
        return ["–"] * 3
    passed, along, own = (np.median([sound[name] for sound in sounds]) for name in ("passed", "along", "own_db"))
    return [f"{100 * passed:.0f} %", f"{100 * along:.0f} %", f"{own:+.0f} dB"]


def training(of: dict[str, list[dict]], rows: Sequence[dict]) -> str:
    """What adversarial training changes: margin and gradient, and its price."""
    counts = {model: rate("right", sum(map(right_before, those)), len(those))
              for model in of if (those := [row for row in rows if row["model"] == model and row["attack"] == "fmn" and row["budget"].startswith("linf")])}
    lines = [[model, percent(counts[model], "right"), f"{middle([clip['margin'] for clip in clips]):.2f}", f"{middle([clip['l1'] for clip in clips]):.0f}",
              f"{middle([clip['l2'] for clip in clips]):.1f}", size(middle([clip["found_linf"] for clip in clips]))] for model, clips in of.items()]
    table = markdown_table(["network", "right, %", "margin", "L1 of its gradient", "L2 of its gradient", "smallest peak found"], lines)
    return table + ("\n\nMedians over the clips heard right. The margin is that to the class whose boundary is nearest by the linear estimate, in logits; "
                    "gradients per unit of full scale.")


def ceiling(n: int, alpha: float) -> float:
    """The largest radius, in units of sigma, that n noisy answers can certify: all of them agree (Cohen et al. 2019, arXiv:1902.02918, section 3.2.2)."""
    return NormalDist().inv_cdf(alpha ** (1 / n))


def certificate(of: dict[str, list[dict]]) -> str:
    """What Gaussian noise costs, and what radius it could certify."""
    top = ceiling(**CERTIFICATE)
    lines = []
    for k, sigma in enumerate(SIGMAS):
        radius = sigma * top
        right = [f"{100 * np.mean([clip['right_under_noise'][k] for clip in clips]):.1f} %" for clips in of.values()]
        lines.append([f"{sigma:g}", f"{radius:.3g}", f"{radius / SAMPLES**0.5:.2g}", *right])
    table = markdown_table(["sigma", "largest L2 radius", "as a peak, in any direction", *(f"{model}: right under noise" for model in of)], lines)
    corner = 0.002 * SAMPLES**0.5
    return table + (f"\n\nThe largest radius that n = {CERTIFICATE['n']:,} answers can certify at alpha = {CERTIFICATE['alpha']} is {top:.2f} sigma. "
                    f"A peak of 0.002 in every sample is an L2 norm of {corner:.3f}: "
                    f"to certify that ball whole, sigma must be {corner / top:.3f}. "
                    f"Right under noise: share of {DRAWS} draws a clip, over the clips heard right without noise.")
