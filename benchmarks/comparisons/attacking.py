"""Attacks beside other libraries, and beside the bare passes of the network."""
import torch
from torch.nn.functional import cross_entropy

from .. import peers
from ..clips import network, waveforms
from ..timing import Comparison, seconds

EPS, STEPS = 0.002, 100
STEP = EPS / 20
MOMENTUM = 0.5  # of a second time of ours; peers take all their steps in any case
SIZES = (32, 64, 256)


def time_to_success(quick: bool) -> Comparison:
    """Targeted PGD until each clip is broken, at most 100 steps of one size from the clean clip, against the fastest of the peers on the
    clips that it breaks."""
    import speechadv
    from speechadv.budgets import parse_budget
    from speechadv.goals import Target

    count = 8 if quick else 256
    model = network()
    clean, labels, source = waveforms(count + count // 8)
    targets = (labels + 1 + torch.arange(len(labels), device=labels.device) % (len(model.labels) - 1)) % len(model.labels)
    name, size, peer = _fastest(model, clean[:count], targets[:count])
    heard = _heard(model, peer(clean, targets))
    fell = heard == targets
    clean, targets = clean[fell][:count], targets[fell][:count]
    attack = speechadv.create_attack("pgd", steps=STEPS, step_size=STEP / EPS, random_start=False)
    hurried = speechadv.create_attack("pgd", steps=STEPS, step_size=STEP / EPS, random_start=False, momentum=MOMENTUM)
    budget, rates = parse_budget(f"linf:{EPS}"), {}

    def ours(attack=attack, name="ours"):
        parts = [attack(model, w, Target(t), budget, generators=torch.Generator().manual_seed(0))
                 for w, t in zip(clean.split(best_size), targets.split(best_size))]
        rates[name] = torch.cat([part.reached for part in parts]).float().mean().item()

    def theirs():
        rates["theirs"] = (_heard(model, peer(clean, targets)) == targets).float().mean().item()

    best_size = len(clean)
    times = {}
    for best_size in SIZES:
        times[best_size] = seconds(ours)
    best_size = min(times, key=times.get)
    notes = [f"{fell.sum()} of {len(fell)} {source} fell to {name} in {STEPS} steps; timed on {len(clean)} of them",
             f"fastest peer: {name} in batches of {size}; ours in batches of {best_size}; all from the clean clip"]

    def after() -> list[str]:
        taken = sorted(seconds(lambda: ours(hurried, "hurried")) for _ in range(5))[2]
        return [f"reached on the 16-bit grid: ours {rates['ours']:.1%}, theirs {rates['theirs']:.1%}",
                f"with momentum {MOMENTUM} ours takes {taken:.2f} s and reaches {rates['hurried']:.1%}"]

    return Comparison("time_to_success", ours, theirs, "s", name, 10, notes=notes, warm=False, after=after)


def _fastest(model, clean, targets):
    """(name, batch size, peer) of the fastest over a few steps on all of the clips, after a first call of each."""
    times = {}
    for name, make in peers.PGD.items():
        for size in SIZES if len(clean) >= min(SIZES) else (len(clean),):
            peer = peers.in_batches(make(model, EPS, STEP, 5), size)
            peer(clean[:2], targets[:2])
            times[name, size] = min(seconds(lambda: peer(clean, targets)) for _ in range(3))
    name, size = min(times, key=times.get)
    return name, size, peers.in_batches(peers.PGD[name](model, EPS, STEP, STEPS), size)


def _heard(model, adversarial):
    """Labels of what a 16-bit file of it holds."""
    from speechadv.audio import to_grid

    with torch.no_grad():
        return torch.cat([model(part).argmax(1) for part in to_grid(adversarial).split(64)])


def step_overhead(quick: bool) -> Comparison:
    """The whole gradient loop with every clip active, against the same number of bare forward and backward passes of the same fast copy."""
    from speechadv.models.layers import folded

    return _beside_bare_passes("step_overhead", quick, folded(network()), "bare forward and backward passes of the same copy, as many")


def step_overhead_unfolded(quick: bool) -> Comparison:
    """The same, which includes that attacks run on a copy with folded normalisation, against bare passes of the network as it was handed over."""
    return _beside_bare_passes("step_overhead_unfolded", quick, network(), "bare forward and backward passes of the network as handed over, as many")


def _beside_bare_passes(name: str, quick: bool, bare, against: str) -> Comparison:
    from speechadv.attacks.base import Problem
    from speechadv.attacks.gradient import Best, ascend
    from speechadv.attacks.steps import Plain
    from speechadv.budgets import parse_budget
    from speechadv.goals import Misclassify
    from speechadv.models.layers import folded

    steps, size = (2, 4) if quick else (20, 64)
    model = folded(network())
    bare.eval().requires_grad_(False)
    clean, labels, source = waveforms(size)
    bound, goal = parse_budget(f"linf:{EPS}").bind(clean), Misclassify(labels)
    generators = [torch.Generator().manual_seed(0)] * size
    start = bound.random_start(generators)

    def ours():
        problem = Problem(model, clean, goal, bound, generators)
        ascend(problem, start, steps=steps, rule=Plain(0.05), loss="cross_entropy", full=True, best=Best(problem))

    def theirs():
        for _ in range(steps):
            heard = clean.clone().requires_grad_()
            torch.autograd.grad(cross_entropy(bare(heard), labels, reduction="sum"), heard)
        with torch.no_grad():  # the look at the last iterate
            bare(clean)

    return Comparison(name, ours, theirs, "ms a step", against, 1 / 1.05, work=steps, notes=[f"{size} {source}, {steps} steps and the look at the last iterate"])
