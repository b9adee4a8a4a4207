"""How far the stand-ins for MP3 are from LAME, and which gradient breaks it best at equal cost.

    python -m benchmarks.mp3_gradients --clips 48 --steps 20

Validation clips that are right behind the codec; targeted PGD with the margin loss and the whole budget spent, always scored through the real codec. A row
a bitrate and gradient:

- `error_db`: level of LAME's output over its difference to the stand-in (median over clips; the identity's is LAME's own change).
- `cosine`: between the stand-in's gradient and a finite-difference estimate through the real codec, in the span of random directions of `--step-lsb` LSB a
  sample (median over clips). `cosine_repeat` is that of two such estimates at places at most two LSB apart: how far the estimate repeats.
- `targeted_success`, and `margin`, the mean margin at the end: it tells gradients apart where the counts do not.

Writes results/mp3_gradients.csv.
"""
from pathlib import Path

import click

from .rows import keep

GRADIENTS = ("mdct", "gain", "identity", "none")
NOTHING = ""  # the gradient "none" has no direction


@click.command()
@click.option("--model", default="resnet", show_default=True)
@click.option("--clips", default=48, show_default=True, type=click.IntRange(2), help="Validation clips, evenly over the labels.")
@click.option("--steps", default=20, show_default=True, type=click.IntRange(1))
@click.option("--budget", default="linf:0.001", show_default=True)
@click.option("--bitrates", default="8,16,32,64", show_default=True)
@click.option("--directions", default=128, show_default=True, type=click.IntRange(2), help="Of the finite differences.")
@click.option("--compared", default=12, show_default=True, type=click.IntRange(1), help="Clips whose gradients are compared.")
@click.option("--step-lsb", default=16, show_default=True, type=click.IntRange(1), help="Of the finite differences, in LSB.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/mp3_gradients.csv"), show_default=True)
def main(model, clips, steps, budget, bitrates, directions, compared, step_lsb, seed, out):
    """Compare the gradients through MP3 with LAME itself, and at equal steps with each other."""
    import torch

    import speechadv
    from speechadv.defenses import Defended, parse_defense
    from speechadv.evaluation.clips import load_clips
    from speechadv.evaluation.settings import EvaluationConfig

    network = speechadv.load_model(model).eval().requires_grad_(False)
    chosen = load_clips(EvaluationConfig(attacks=["pgd"], budgets=[budget], split="validation", clips=clips), network.sample_rate)
    waveforms = torch.from_numpy(chosen.pcm.astype("float32") / 32768)
    place = {label: i for i, label in enumerate(network.labels)}
    right = torch.tensor([place[label] for label in chosen.labels])
    wanted = torch.tensor([place[chosen.target(i, seed)] for i in range(len(chosen.labels))])
    rows = []
    for kbps in map(int, bitrates.split(",")):
        codec = parse_defense(f"mp3:{kbps}")[0]
        with torch.no_grad():
            heard = (network(codec(waveforms)).argmax(1) == right).nonzero().squeeze(1)
        some, kept = heard[:: max(1, len(heard) // compared)][:compared], [chosen.names[i] for i in heard.tolist()]
        truth = differences(network, codec, waveforms[some], wanted[some], directions, step_lsb / 32768, seed)
        for gradient in GRADIENTS:
            defended = Defended(network, codec, gradient=gradient).eval()
            rows.append({"model": model, "kbps": kbps, "gradient": gradient, **closeness(defended, waveforms, gradient),
                         **cosines(defended, waveforms[some], wanted[some], truth), "steps": steps, "budget": budget,
                         **attacked(defended, waveforms[heard], wanted[heard], kept, steps, budget, seed)})
    keep(rows, out)


def closeness(defended, waveforms, gradient) -> dict:
    """How near the stand-in is to the codec's output."""
    import torch

    codec, exact = defended.defenses[0], defended.defend(waveforms)
    known = {"identity": waveforms, "none": torch.zeros_like(waveforms)}
    stand_in = known[gradient] if gradient in known else codec.fitted_surrogate(waveforms, exact, gradient)
    level = 10 * torch.log10(exact.square().sum(1) / (exact - stand_in).square().sum(1))
    return {"error_db": round(float(level.nanmedian()), 2)}


def differences(network, codec, waveforms, wanted, directions, size, seed):
    """(directions (count, batch, time), central differences of the margin along them (count, batch), the same at a place at most two LSB away)."""
    import torch

    from speechadv.goals import Target

    generator, found = torch.Generator().manual_seed(seed), []
    for _ in range(directions):
        along = (torch.randint(0, 2, waveforms.shape, generator=generator) * 2.0 - 1) * size
        moved = waveforms + torch.randint(-2, 3, waveforms.shape, generator=generator) / 32768
        with torch.no_grad():
            ends = [Target(wanted).loss(network(codec(place + sign * along)), "margin") for place in (waveforms, moved) for sign in (1, -1)]
        found.append((along, ends[0] - ends[1], ends[2] - ends[3]))
    return tuple(torch.stack(column) for column in zip(*found))


def cosines(defended, waveforms, wanted, truth) -> dict:
    """Medians over clips."""
    import torch
    from torch.nn.functional import cosine_similarity

    from speechadv.goals import Target

    along, measured, again = truth
    place = waveforms.clone().requires_grad_()
    (slope,) = torch.autograd.grad(Target(wanted).loss(defended(place), "margin").sum(), place)
    repeat = {"cosine_repeat": round(float(cosine_similarity(measured, again, dim=0).median()), 3)}
    if not slope.any():
        return {"cosine": NOTHING} | repeat
    return {"cosine": round(float(cosine_similarity((along * slope).sum(2), measured, dim=0).median()), 3)} | repeat


def attacked(defended, waveforms, wanted, names, steps, budget, seed) -> dict:
    """What targeted PGD reaches."""
    import speechadv
    from speechadv.budgets import parse_budget
    from speechadv.goals import Target
    from speechadv.randomness import clip_generators

    attack = speechadv.create_attack("pgd", steps=steps, loss="margin", full=True)
    result = attack(defended, waveforms, Target(wanted), parse_budget(budget), generators=clip_generators(seed, defended.defenses[0].name, names))
    margin = Target(wanted).loss(defended(result.adversarial), "margin").mean()
    return {"clips_right": len(names), "targeted_success": round(float(result.reached.float().mean()), 4), "margin": round(float(margin), 3)}


if __name__ == "__main__":
    main()
