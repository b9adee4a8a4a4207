"""What every registered attack must hold under every kind of budget. A newcomer is tested as soon as its file exists."""
import inspect
import re

import pytest
import soundfile
import torch
from torch import nn

from speechadv.attacks.base import Attack
from speechadv.audio import read, write_pcm16
from speechadv.budgets import parse_budget
from speechadv.errors import ConfigError, InputError
from speechadv.goals import Misclassify, Target
from speechadv.randomness import clip_generators
from speechadv.registry import create, keywords, names

NAMES = names("attack")
BUDGETS = ["linf:0.002", "snr:30", "masking", "snr:25+linf:0.005"]
QUICK = {"steps": 3, "queries": 6, "draws": 2, "targets": 2, "hiding": 3}  # keywords that attacks share, turned down


def made(name: str, **options) -> Attack:
    """An attack that is quick."""
    return create("attack", name, **{key: value for key, value in QUICK.items() if key in keywords("attack", name)} | options)


class Small(nn.Module):
    """A quick network with what attacks must leave alone: batch normalisation, dropout, parameters that learn."""

    labels, sample_rate = ("yes", "no", "stop"), 16000

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(4)
        self.conv, self.norm, self.drop, self.head = nn.Conv1d(1, 6, 32, stride=16, bias=False), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def forward(self, waveforms):
        return self.head(self.drop(self.norm(self.conv(waveforms[:, None])).square().mean(2).log1p()))


@pytest.fixture
def model():
    return Small().eval()


@pytest.fixture
def clips():
    generator = torch.Generator().manual_seed(6)
    envelope = torch.sin(torch.arange(1600) * 0.002).clamp(min=0)
    loud = torch.tensor([0.3, 0.1, 0.02, 0.9, 0.0])[:, None]
    return ((loud * envelope * torch.randn(5, 1600, generator=generator)).clamp(-1, 1 - 2**-15) * 32768).round() / 32768


def goal_for(model, clips, targeted):
    with torch.no_grad():
        heard = model(clips).argmax(1)
    return Target((heard + 1) % 3) if targeted else Misclassify(heard)


def attack(name, model, clips, targeted=True, spec="linf:0.002", seed=0, **options):
    generators = clip_generators(seed, "cell", [str(i) for i in range(len(clips))])
    return made(name, **options)(model, clips, goal_for(model, clips, targeted), parse_budget(spec), generators=generators)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_documented_and_has_defaults(name):
    assert isinstance(create("attack", name), Attack)
    text = inspect.getdoc(type(create("attack", name)))
    assert all(re.search(rf"\b{keyword}\b", text) for keyword in keywords("attack", name)), text
    with pytest.raises(ConfigError, match="has no option 'no_such_option'"):
        create("attack", name, no_such_option=1)


@pytest.mark.parametrize("spec", BUDGETS)
@pytest.mark.parametrize("targeted", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_the_budget_holds_on_the_saved_file(name, targeted, spec, model, clips, tmp_path):
    result = attack(name, model, clips, targeted, spec)
    saved = []
    for number, waveform in enumerate(result.adversarial):
        write_pcm16(tmp_path / f"{number}.wav", waveform)  # refuses what lies off the grid
        saved.append(torch.from_numpy(read(tmp_path / f"{number}.wav")))
    saved = torch.stack(saved)
    assert torch.equal(saved, result.adversarial)
    assert parse_budget(spec).satisfied(clips, saved).all()
    with torch.no_grad():
        assert torch.equal(goal_for(model, clips, targeted).reached(model(saved)), result.reached)
    assert soundfile.info(tmp_path / "0.wav").subtype == "PCM_16"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_comes_in_is_changed(name, clips):
    model = Small().eval()
    goal = goal_for(model, clips, True)
    model.train().head.bias.requires_grad_(False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    waveforms, state = clips.clone(), torch.random.get_rng_state()
    made(name)(model, waveforms, goal, parse_budget("linf:0.002"), generators=clip_generators(0, "cell", "abcde"))
    assert torch.equal(waveforms, clips) and torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())
    assert model.training and all(module.training for module in model.modules())
    assert [p.requires_grad for p in model.parameters()] == [p is not model.head.bias for p in model.parameters()]
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_modes_are_restored_when_it_fails(name, clips):
    class Failing(Small):
        def forward(self, waveforms):
            raise RuntimeError("out of order")

    model = Failing().train()
    with pytest.raises(RuntimeError, match="out of order"):
        made(name)(model, clips, Misclassify(torch.zeros(5, dtype=torch.int64)), parse_budget("snr:30"), generators=torch.Generator())
    assert model.training and all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("spec", BUDGETS)
@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_bytes_in_any_batch(name, spec, model, clips):
    clips = clips[:4]
    result = attack(name, model, clips, spec=spec)
    assert torch.equal(attack(name, model, clips, spec=spec).adversarial, result.adversarial)
    goal, budget = goal_for(model, clips, True), parse_budget(spec)
    for rows in ([0, 1], [3, 2], [2]):
        generators = clip_generators(0, "cell", [str(row) for row in rows])
        part = made(name)(model, clips[rows], goal.select(torch.tensor(rows)), budget, generators=generators)
        assert torch.equal(part.reached, result.reached[rows])
        # A batch of one may differ in a few samples: matrix products round otherwise.
        assert (part.adversarial - result.adversarial[rows]).ne(0).float().mean() < 0.02


@pytest.mark.parametrize("name", NAMES)
def test_what_meets_the_goal_already_is_left_alone(name, model, clips):
    with torch.no_grad():
        heard = model(clips).argmax(1)
    result = made(name)(model, clips, Target(heard), parse_budget("linf:0.01"), generators=torch.Generator().manual_seed(0))
    assert result.already.all() and result.reached.all()
    assert torch.equal(result.adversarial, clips) and not result.passes.any() and not result.queries.any()


@pytest.mark.parametrize("name", NAMES)
def test_silence_in_a_relative_budget_stays_silent(name, model, clips):
    result = attack(name, model, clips, spec="snr:20")
    assert not result.adversarial[4].any() and not result.reached[4]


@pytest.mark.parametrize("name", NAMES)
def test_progress_tells_of_every_clip_once(name, model, clips):
    told = []
    goal = Target(torch.tensor([0, 1, 2, 0, 1]))
    made(name)(model, clips, goal, parse_budget("linf:0.05"), generators=torch.Generator().manual_seed(0), progress=told.append)
    assert sum(told) == 5 and min(told) > 0


@pytest.mark.parametrize("name", NAMES)
def test_effort_is_counted(name, model, clips):
    result = attack(name, model, clips, spec="linf:1lsb")
    assert result.passes.dtype == result.queries.dtype == torch.int64
    assert ((result.passes + result.queries)[~result.already] > 0).all()
    assert made(name).white_box == bool(result.passes.any())


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_batch(name, model):
    result = made(name)(model, torch.zeros(0, 1600), Target(torch.zeros(0, dtype=torch.int64)), parse_budget("linf:0.01"), generators=[])
    assert result.adversarial.shape == (0, 1600) and len(result.reached) == len(result.distance) == 0


@pytest.mark.parametrize("change, message", [
    (lambda w: w[0], r"\(batch, time\), got \(1600,\)"),
    (lambda w: w[:, None], r"\(batch, time\), got \(5, 1, 1600\)"),
    (lambda w: w[:2], "a goal for each of 2 clips, got 5"),
    (lambda w: (w * 32768).short(), "floats"),
    (lambda w: w * float("nan"), "finite"),
    (lambda w: w * 32768, "16-bit integers are divided by 32768"),
    (lambda w: 0.5 * w + 1e-6, "16-bit grid"),
])
def test_wrong_waveforms_are_refused(change, message, model, clips):
    with pytest.raises(InputError, match=message):
        made("fgsm")(model, change(clips), Misclassify(torch.zeros(5, dtype=torch.int64)), parse_budget("snr:30"), generators=torch.Generator())
