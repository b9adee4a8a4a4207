"""Which gradient breaks MP3: the codec's own gain in each bin (the surrogate), the identity, or none.

    python -m benchmarks.mp3_gradients --clips 24 --steps 30

Targeted PGD with the whole budget spent, scored through the real codec, on validation clips that are right behind it. Writes results/mp3_gradients.csv.
"""
from pathlib import Path

import click

from .rows import keep


@click.command()
@click.option("--model", default="resnet", show_default=True)
@click.option("--clips", default=24, show_default=True, type=click.IntRange(2), help="Validation clips, evenly over the labels.")
@click.option("--steps", default=30, show_default=True, type=click.IntRange(1))
@click.option("--budget", default="linf:0.002", show_default=True)
@click.option("--bitrates", default="16,32,64", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/mp3_gradients.csv"), show_default=True)
def main(model, clips, steps, budget, bitrates, seed, out):
    """Compare the three gradients through MP3 at equal steps."""
    import torch

    import speechadv
    from speechadv.budgets import parse_budget
    from speechadv.defenses import Defended, parse_defense
    from speechadv.evaluation.clips import load_clips
    from speechadv.evaluation.settings import EvaluationConfig
    from speechadv.goals import Target
    from speechadv.randomness import clip_generators

    network = speechadv.load_model(model)
    chosen = load_clips(EvaluationConfig(attacks=["pgd"], budgets=[budget], split="validation", clips=clips), network.sample_rate)
    waveforms = torch.from_numpy(chosen.pcm.astype("float32") / 32768)
    place = {label: i for i, label in enumerate(network.labels)}
    right = torch.tensor([place[label] for label in chosen.labels])
    wanted = torch.tensor([place[chosen.target(i, seed)] for i in range(len(chosen.labels))])
    attack = speechadv.create_attack("pgd", steps=steps, full=True)
    rows = []
    for bitrate in bitrates.split(","):
        for gradient in ("surrogate", "identity", "none"):
            defended = Defended(network, *parse_defense(f"mp3:{bitrate}"), gradient=gradient).eval()
            with torch.no_grad():
                heard = defended(waveforms).argmax(1) == right
            result = attack(defended, waveforms[heard], Target(wanted[heard]), parse_budget(budget),
                            generators=clip_generators(seed, f"mp3:{bitrate}", [name for name, kept in zip(chosen.names, heard) if kept]))
            rows.append({"model": model, "kbps": bitrate, "gradient": gradient, "steps": steps, "budget": budget, "clips_right": int(heard.sum()),
                         "targeted_success": float(result.reached.float().mean())})
    keep(rows, out)


if __name__ == "__main__":
    main()
