"""Which hides better at equal success: the hard projection onto the masking threshold, or Qin et al.'s two-stage penalty.

    python -m benchmarks.hiding            # 44 test clips of SPEECHADV_DATA; writes results/hiding.csv
    python -m benchmarks.hiding --quick    # a few bundled clips

Targeted. Every way attacks the same clips towards the same words; then only the clips on which all ways succeeded are compared, so that none looks
quieter because it gave up on the hard ones. All figures are of the clips rounded to 16 bit: medians of the masking excess of the loudest bin, of the share of
audible bins (above the threshold), of SNR and of PESQ (extra `quality`).
"""
from pathlib import Path

import click

from .rows import keep

WAYS = (
    ("projection", "pgd", {}, "masking"),
    ("penalty (Qin et al.)", "qin", {}, "linf:0.02"),
    ("neither: minimum norm in SNR", "ddn", {}, "snr:10"),
    ("neither: PGD", "pgd", {}, "linf:0.002"),
)
SHORT = {"steps": 15, "hiding": 40}


@click.command()
@click.option("--model", default="resnet", show_default=True)
@click.option("--clips", default=44, show_default=True, type=click.IntRange(2), help="Test clips, evenly over the labels.")
@click.option("--seed", default=0, show_default=True)
@click.option("--quick", is_flag=True, help="Six bundled clips and few steps: a rehearsal.")
@click.option("--out", type=click.Path(path_type=Path), help="The CSV file.  [default: results/hiding.csv; with --quick runs/hiding.csv]")
def main(model, clips, seed, quick, out):
    """Compare the ways to hide at equal success."""
    import torch

    import speechadv
    from speechadv.budgets import parse_budget
    from speechadv.evaluation.clips import load_clips
    from speechadv.evaluation.settings import EvaluationConfig
    from speechadv.goals import Target
    from speechadv.randomness import clip_generators
    from speechadv.registry import keywords

    network = speechadv.load_model(model)
    settings = EvaluationConfig(attacks=["qin"], budgets=["masking"], clips=6 if quick else clips, data=["bundled"] if quick else [])
    chosen = load_clips(settings, network.sample_rate)
    waveforms = torch.from_numpy(chosen.pcm.astype("float32") / 32768)
    place = {label: index for index, label in enumerate(network.labels)}
    goal = Target(torch.tensor([place[chosen.target(row, seed)] for row in range(len(chosen))]))
    results = []
    for name, attack, options, budget in WAYS:
        options = {key: value for key, value in (SHORT if quick else {}).items() if key in keywords("attack", attack)} | options
        found = speechadv.create_attack(attack, **options)(network, waveforms, goal, parse_budget(budget), generators=clip_generators(seed, name, chosen.names))
        results.append((name, attack, budget, found))
        click.echo(f"{name}: {int(found.reached.sum())} of {len(chosen)}", err=True)
    equal = torch.stack([found.reached & ~found.already for *_, found in results]).all(0)
    keep([row(name, attack, budget, found, waveforms, equal, network.sample_rate) for name, attack, budget, found in results],
         out or Path("runs/hiding.csv" if quick else "results/hiding.csv"))


def row(name, attack, budget, found, waveforms, equal, rate) -> dict:
    """The figures of one way over the clips on which all ways succeed."""
    from speechadv.evaluation.quality import measure
    from speechadv.evaluation.sounds import levels

    clean, heard = waveforms[equal], found.adversarial[equal]
    columns = levels(clean, heard, rate) | measure(["pesq"], clean, heard, rate)
    return {"way": name, "attack": attack, "budget": budget, "clips": len(waveforms),
            "success": round(float(found.reached.float().mean()), 4), "compared": int(equal.sum()),
            "masking_excess_db": middle(columns["masking_excess_db"], 1), "audible_bins": middle(audible(clean, heard, rate), 4),
            "snr_db": middle(columns["snr_db"], 1), "pesq": middle(columns["pesq"], 2), "passes": round(float(found.passes[equal].float().mean()), 1)}


def audible(clean, heard, rate) -> list[float]:
    """The share of bins in which the perturbation stands above the clip's masking threshold, one a clip."""
    from speechadv.masking import MaskingModel

    model = MaskingModel(rate)
    return (model.spectrum.level_db(heard - clean) > model.threshold_db(clean)).float().mean((1, 2)).tolist()


def middle(values, digits: int) -> float | None:
    """The median of those that are defined."""
    from statistics import median

    defined = [value for value in values if value is not None]
    return round(median(defined), digits) if defined else None


if __name__ == "__main__":
    main()
