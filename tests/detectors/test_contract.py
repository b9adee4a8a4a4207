"""What every registered detector must hold. A newcomer is tested as soon as its file exists, with its default configuration."""
import inspect

import pytest
import torch

from speechadv import registry
from speechadv.attacks.base import fast_copy
from speechadv.detectors import Detector, Watched, parse_detector
from speechadv.errors import ConfigError, InputError
from speechadv.randomness import clip_generators, drawing

NAMES = registry.names("detector")
FURTHER = ["margin:sure", "margin:softmax", "margin:noise=0.01,copies=2", "temporal:shift=10,parts=0", "temporal:shift=0,parts=2", "disagreement:bandpass:200-3000"]


@pytest.fixture(params=[*NAMES, *FURTHER])
def detector(request):
    return parse_detector(request.param)


def scored(detector, model, waveforms, first=0):
    """Scores of clips whose generators are passed in, clip i drawing from generator first + i: random or not, they repeat."""
    with drawing(detector, clip_generators(0, "contract", [str(first + i) for i in range(len(waveforms))])):
        return detector(model, waveforms)


def test_there_are_detectors():
    assert {"disagreement", "margin", "temporal"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_documented_detector(name):
    made = registry.create("detector", name)
    assert isinstance(made, Detector) and isinstance(made.stochastic, bool) and isinstance(made.sample_rate, int)
    assert {"Args", "Raises"} <= {line.strip().rstrip(":") for line in inspect.getdoc(type(made)).splitlines()}
    assert made.name == parse_detector(name).name


def test_its_name_makes_it_again(detector, linear, waveforms):
    again = parse_detector(detector.name)
    assert again.name == detector.name and not again.training
    assert torch.equal(scored(again, linear(), waveforms), scored(detector, linear(), waveforms))


def test_a_score_a_clip(detector, linear, waveforms):
    scores = scored(detector, linear(), waveforms)
    assert scores.shape == (4,) and scores.dtype == torch.float32 and scores.isfinite().all() and len(scores.unique()) == 4
    extremes = torch.stack([torch.zeros(1600), torch.sign(waveforms[0]).clamp(max=1 - 2**-15)])
    assert scored(detector, linear(), extremes).isfinite().all()


def test_logits_that_are_there_are_not_asked_for_again(detector, linear, waveforms):
    model, asked = linear(), []
    model.register_forward_hook(lambda *_: asked.append(1))
    with drawing(detector, clip_generators(0, "contract", "0123")):
        given = detector(model, waveforms, logits=model(waveforms))
    spent = len(asked)
    assert torch.equal(given, scored(detector, model, waveforms)) and len(asked) == 2 * spent


def test_nothing_else_is_changed(detector, linear, waveforms):
    model, before = linear(), waveforms.clone()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    scored(detector, model, waveforms)
    assert torch.equal(waveforms, before) and not model.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_it_repeats_and_a_batch_equals_its_clips(detector, linear, waveforms):
    model = linear()
    scores = scored(detector, model, waveforms)
    assert torch.equal(scored(detector, model, waveforms), scores)
    for i in range(4):
        assert scored(detector, model, waveforms[i : i + 1], first=i) == pytest.approx(float(scores[i]), rel=1e-4, abs=1e-5)
    assert detector.stochastic != torch.equal(scored(detector, model, waveforms, first=4), scores)


def test_an_attacker_gets_a_gradient(detector, linear, waveforms):
    waveforms, model = waveforms.requires_grad_(), linear(curved=True)  # of a linear network noise takes the same everywhere
    scores = scored(detector, model, waveforms)
    slope = torch.autograd.grad(scores.sum(), waveforms)[0]
    assert slope.isfinite().all() and (slope.abs().amax(1) > 0).all()
    with torch.no_grad():
        step = 0.003 * slope / slope.norm(dim=1, keepdim=True)
        assert (scored(detector, model, waveforms + step) > scored(detector, model, waveforms - step)).all()


def test_it_is_copied_with_its_model(detector, linear, waveforms):
    watched = Watched(linear(), detector).eval()
    with drawing(watched, clip_generators(0, "contract", "0123")):
        outputs = watched(waveforms)
    copy = fast_copy(watched)
    assert copy is not watched and outputs.shape == (4, 4)
    with drawing(copy, clip_generators(0, "contract", "0123")):
        assert torch.allclose(copy(waveforms), outputs, atol=1e-5)


def test_what_cannot_be_scored_is_refused(detector, linear, waveforms):
    for wrong in (waveforms[0], waveforms[:, None], waveforms[:, :0]):
        with pytest.raises(InputError, match=r"\(batch, time\)"):
            detector(linear(), wrong)
    with pytest.raises(InputError, match="two labels or more"):
        detector(linear(("yes",)), waveforms)


def test_as_many_generators_as_clips(detector, linear, waveforms):
    if detector.stochastic:
        with drawing(detector, clip_generators(0, "contract", "01")), pytest.raises(InputError, match="expected 4 generators, one a clip, got 2"):
            detector(linear(), waveforms)
    assert detector(linear(), waveforms).isfinite().all()  # without any it draws its own


@pytest.mark.parametrize("name", NAMES)
def test_unknown_keywords_and_arguments_are_errors(name):
    with pytest.raises(ConfigError, match="has no option 'no_such_option'"):
        registry.create("detector", name, no_such_option=1)
    with pytest.raises(ConfigError) as problem:
        parse_detector(f"{name}:no such\nargument")
    assert "no such\\nargument" in str(problem.value) and len(str(problem.value).splitlines()) == 1


def test_an_unknown_name():
    with pytest.raises(ConfigError, match="unknown detector 'margn', did you mean 'margin'"):
        parse_detector("margn:gap")
