"""The masking threshold against a slow reference, and the masking budget on audio as it is saved."""
import importlib.util
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechadv.budgets import parse_budget
from speechadv.budgets.base import LSB
from speechadv.budgets.masking import TOLERANCE_DB, Masking
from speechadv.errors import ConfigError
from speechadv.masking import MaskingModel, Spectrum, compiled, threshold

RATE = 16000
_found = importlib.util.spec_from_file_location("reference_masking", Path(__file__).with_name("reference_masking.py"))
reference = importlib.util.module_from_spec(_found)
_found.loader.exec_module(reference)


def spoken(seed: int, seconds: float = 0.25, level: float = 0.3) -> np.ndarray:
    """A made-up syllable on the 16-bit grid: digital silence, a hiss, a voiced part with two resonances, and silence with a faint hum."""
    rng = np.random.default_rng(seed)
    n = int(seconds * RATE)
    t = np.arange(n) / RATE
    pitch = 110 + 40 * rng.random() + 30 * t
    voice = sum(np.sin(h * 2 * np.pi * np.cumsum(pitch) / RATE) / (1 + ((h * 130 - 600) / 300) ** 2) for h in range(1, 40))
    hiss = np.diff(rng.standard_normal(n), prepend=0)
    envelope = [np.interp(t / seconds, [0.3, 0.4, 0.8, 0.85], [0, 1, 0.7, 0]), np.interp(t / seconds, [0.15, 0.2, 0.3, 0.35], [0, 1, 0.5, 0])]
    clip = envelope[0] * voice + 0.2 * envelope[1] * hiss + 1e-3 * (t / seconds > 0.9) * np.sin(2 * np.pi * 50 * t)
    clip *= level / np.abs(clip).max()
    return np.round(clip / LSB).clip(-32768, 32767).astype(np.float32) * np.float32(LSB)


@pytest.fixture(scope="module")
def clips() -> torch.Tensor:
    return torch.tensor(np.stack([spoken(0), spoken(1, level=0.01), spoken(2, level=0.9)]))


def gaussian(like: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))


# The threshold


@pytest.mark.parametrize("calibration", ["full-scale", "clip-peak"])
@pytest.mark.parametrize("maskers", ["both", "tonal"])
def test_threshold_agrees_with_reference(clips, calibration, maskers):
    model, frames = MaskingModel(RATE, calibration, maskers), list(range(0, 34, 3))
    kinds = ("tonal", "noise") if maskers == "both" else ("tonal",)
    for clip in clips[:2]:
        expected = reference.threshold_db(clip.tolist(), RATE, calibration == "clip-peak", kinds, frames)
        double, single = (model.threshold_db(clip[None].to(dtype))[0, frames].numpy() for dtype in (torch.float64, torch.float32))
        assert np.abs(double - expected).max() < 1e-8
        assert np.abs(single - expected).max() < 0.01


@pytest.mark.parametrize("rate", [8000, 44100])
def test_threshold_agrees_with_reference_at_other_rates(clips, rate):
    frames = [6, 13, 20]
    expected = reference.threshold_db(clips[0].tolist(), rate, frames=frames)
    assert np.abs(MaskingModel(rate).threshold_db(clips[:1].double())[0, frames].numpy() - expected).max() < 1e-8


@pytest.mark.skipif(not os.environ.get("SPEECHADV_DATA"), reason="needs real recordings: set SPEECHADV_DATA")
def test_threshold_and_budget_on_real_speech():
    root = Path(os.environ["SPEECHADV_DATA"].split(os.pathsep)[0])
    files = [min(p for p in (root / word).iterdir() if p.suffix in (".wav", ".flac", ".ogg")) for word in ("yes", "stop")]
    real = torch.tensor(np.stack([np.pad(x := soundfile.read(f, dtype="float32")[0][:RATE], (0, RATE - len(x))) for f in files]))
    frames = list(range(1, 128, 16))
    for clip in real:
        expected = reference.threshold_db(clip.tolist(), RATE, frames=frames)
        assert np.abs(MaskingModel().threshold_db(clip[None])[0, frames].numpy() - expected).max() < 0.01
    budget = parse_budget("masking")
    found = budget.quantise(real, 0.002 * gaussian(real).sign())
    assert budget.satisfied(real, real + found).all() and found.abs().amax(1).min() > 0


def test_full_scale_sine_reads_96_db_and_masks_as_the_equations_say():
    t = torch.arange(4096, dtype=torch.float64)
    sine = torch.sin(2 * math.pi * 1000 / RATE * t)[None]
    middle = 16
    assert Spectrum().level_db(sine)[0, middle, 32].item() == pytest.approx(96, abs=1e-6)
    # Three bins of a Hann window: 1 + 2 / 4 of the power. Only the tone is there to mask.
    tone = 96 + 10 * math.log10(1.5)
    z, above = (reference.hertz_to_bark(f) for f in (1000, 2000))
    threshold = MaskingModel().threshold_db(sine)[0, middle]
    assert threshold[32].item() == pytest.approx(tone - 6.025 - 0.275 * z, abs=1e-3)
    assert threshold[64].item() == pytest.approx(tone - 6.025 - 0.275 * z + (-27 + 0.37 * (tone - 40)) * (above - z), abs=1e-3)


def test_silence_has_the_threshold_in_quiet():
    silence = torch.zeros(1, 2000)
    for calibration in ("full-scale", "clip-peak"):
        threshold = MaskingModel(calibration=calibration).threshold_db(silence)
        expected = [reference.quiet_db(max(k, 1) * RATE / 512) for k in range(257)]
        assert np.allclose(threshold.numpy(), np.array(expected), atol=1e-4)


def test_threshold_is_finite_and_so_is_its_gradient(clips):
    waveforms = torch.cat([clips, torch.zeros_like(clips[:1])]).requires_grad_()
    threshold = MaskingModel().threshold_db(waveforms)
    (gradient,) = torch.autograd.grad(threshold.sum(), waveforms)
    assert threshold.isfinite().all() and gradient.isfinite().all()
    assert (gradient[:3].abs().amax(1) > 0).all() and (gradient[3] == 0).all()


def test_gradient_of_the_threshold_agrees_with_differences():
    waveform = torch.tensor(spoken(3, seconds=0.05)).double()[None].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: MaskingModel().threshold_db(x)[:, 4:8, 40:44], waveform, eps=1e-7, atol=1e-2, rtol=1e-3, fast_mode=True)


def test_batch_equals_single_clips(clips):
    model = MaskingModel()
    assert torch.allclose(model.threshold_db(clips), torch.cat([model.threshold_db(clip[None]) for clip in clips]), atol=1e-3)


def test_full_scale_calibration_does_not_depend_on_the_rest_of_the_clip(clips):
    longer = torch.cat([clips[1:2], clips[2:3]], dim=1)
    frames = Spectrum().frames(clips.shape[1]) - 6
    alone, beside = (MaskingModel().threshold_db(x)[0, :frames] for x in (clips[1:2], longer))
    assert torch.allclose(alone, beside, atol=1e-3)


@pytest.mark.parametrize("time", [1, 127, 512, 1000])
def test_synthesis_inverts_analysis(time):
    noise = gaussian(torch.empty(2, time))
    spectra = Spectrum().analyse(noise)
    assert spectra.shape == (2, Spectrum().frames(time), 257)
    assert torch.allclose(Spectrum().synthesise(spectra, time), noise, atol=1e-5)


def test_wrong_shape_and_options_are_refused():
    with pytest.raises(ValueError, match="shape"):
        MaskingModel().threshold_db(torch.zeros(100))
    with pytest.raises(ConfigError, match="calibration"):
        MaskingModel(calibration="loud")


# The threshold in compiled loops


@pytest.fixture(scope="module")
def many() -> torch.Tensor:
    """40 clips of 150 frames, more than the loops take at a time: syllables, noise of all levels, one tone, two equal tones near each other, clicks, silence."""
    time = 18816
    t = torch.arange(time) / RATE
    rows = [torch.tensor(np.pad(spoken(seed, seconds=1.1, level=level), (0, time - 17600))) for seed, level in enumerate((1.0, 0.3, 0.03, 0.003))]
    rows += [10.0**-power * gaussian(t, power).clip(-4, 4) / 4 for power in range(8)]
    rows += [level * torch.sin(2 * math.pi * hertz * t) for hertz in (50.0, 1000.0, 1015.6, 7900.0) for level in (1.0, 1e-2, 1e-4)]
    pairs = [(2 * math.pi * 31.25 * low, 2 * math.pi * 31.25 * (low + apart)) for low in (10, 60, 120) for apart in (1, 3, 8, 20)]
    rows += [0.3 * torch.sin(a * t) + 0.3 * torch.sin(b * t) for a, b in pairs]
    rows += [torch.zeros(time), torch.zeros(time).index_fill(0, torch.tensor([0, 700, time - 1]), 1.0), -torch.ones(time), gaussian(t).sign()]
    return torch.stack(rows)


@pytest.mark.parametrize("calibration", ["full-scale", "clip-peak"])
@pytest.mark.parametrize("maskers, rate", [("both", RATE), ("tonal", RATE), ("both", 8000), ("both", 44100)])
def test_loops_agree_with_tensors(many, calibration, maskers, rate, monkeypatch):
    model = MaskingModel(rate, calibration, maskers)
    looped = model.threshold_db(many)
    monkeypatch.setattr(MaskingModel, "_compiled", staticmethod(lambda waveforms: None))
    assert (looped - model.threshold_db(many)).abs().max() < 1e-4


def test_loops_agree_with_reference(clips):
    frames = list(range(0, 34, 3))
    for clip in clips:
        found = compiled.threshold_db(clip[None].numpy(), RATE, Spectrum())[0, frames]
        assert np.abs(found - reference.threshold_db(clip.tolist(), RATE, frames=frames)).max() < 1e-4


def test_loops_give_a_clip_the_same_in_any_batch_on_any_number_of_threads(many):
    together = compiled.threshold_db(many.numpy(), RATE, Spectrum(), clip_peak=True, threads=3)
    assert all(np.array_equal(compiled.threshold_db(clip[None].numpy(), RATE, Spectrum(), clip_peak=True)[0], row) for clip, row in zip(many, together))


def test_loops_are_for_clips_without_a_gradient_where_numba_runs(many, monkeypatch):
    uses = MaskingModel._compiled
    assert uses(many) is compiled and uses(many.detach().requires_grad_()) is uses(many.double()) is uses(many / 0) is None and uses(many[:1]) is compiled
    with torch.no_grad():
        assert uses(many.detach().requires_grad_()) is compiled
    threshold._loops.cache_clear()
    monkeypatch.setitem(sys.modules, "speechadv.masking.compiled", None)
    monkeypatch.delattr("speechadv.masking.compiled")
    without = MaskingModel().threshold_db(many)
    threshold._loops.cache_clear()
    assert (without - torch.from_numpy(compiled.threshold_db(many.numpy(), RATE, Spectrum()))).abs().max() < 1e-4


def test_loops_are_compiled_where_nothing_can_be_kept(monkeypatch):
    def no_folder(function, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return function

    monkeypatch.setattr(compiled.numba, "njit", no_folder)
    assert compiled.compiled(nogil=True)(gaussian) is gaussian


# The budget


def loud(kind: str, clips: torch.Tensor) -> torch.Tensor:
    noise = gaussian(clips, seed=7)
    return {"sign": 0.002 * noise.sign(), "noise": 0.3 * noise, "click": torch.zeros_like(clips).index_fill(1, torch.tensor([5, 1500]), 0.9)}[kind]


@pytest.mark.parametrize("spec", ["masking", "masking:-12", "masking:clip-peak"])
@pytest.mark.parametrize("kind", ["sign", "noise", "click"])
def test_saved_file_stays_under_the_threshold(clips, spec, kind, tmp_path):
    budget = parse_budget(spec)
    clean = torch.cat([clips, torch.zeros_like(clips[:1])])
    adversarial = clean + budget.quantise(clean, loud(kind, clean))
    assert budget.satisfied(clean, adversarial).all()
    for i, (before, after) in enumerate(zip(clean, adversarial)):
        read = []
        for name, waveform in (("clean", before), ("adversarial", after)):
            soundfile.write(tmp_path / f"{name}{i}.wav", waveform.numpy(), RATE, subtype="PCM_16")
            read.append(torch.tensor(soundfile.read(tmp_path / f"{name}{i}.wav", dtype="float32")[0]))
        assert torch.equal(read[0], before) and torch.equal(read[1], after)
    # One of them measured by the independent reference.
    row = {"sign": 0, "noise": 1, "click": 2}[kind]
    levels = np.array(reference.frames_db((adversarial - clean)[row].double().tolist()))
    frames = levels.max(1).argsort()[-4:].tolist()
    threshold = reference.threshold_db(clean[row].tolist(), RATE, "clip-peak" in spec, frames=frames)
    assert (levels[frames] - threshold).max() <= budget.margin_db + TOLERANCE_DB


def test_what_is_allowed_stays_and_what_was_rounded_is_not_touched_again(clips):
    bound = parse_budget("masking").bind(clips)
    found = bound.quantise(loud("sign", clips))
    assert torch.equal(bound.quantise(found), found)
    assert torch.equal(found / LSB, (found / LSB).round())
    assert torch.equal(bound.quantise(torch.zeros_like(clips)), torch.zeros_like(clips))


def test_projection_settles(clips):
    bound = parse_budget("masking").bind(clips)
    once = bound.project(loud("sign", clips))
    for _ in range(60):
        settled, once = once, bound.project(once)
    assert ((once - settled).norm(dim=1) < 1e-3 * settled.norm(dim=1)).all()
    assert bound.satisfied(once).all()


def test_most_of_the_allowed_energy_is_kept(clips):
    """The nearest allowed point, by accelerated dual ascent (slow, exact), has hardly more energy than what the budget returns."""
    bound = parse_budget("masking").bind(clips)
    wanted = loud("sign", clips)
    spectrum, caps, time = bound.capped.spectrum, bound.capped.caps, clips.shape[1]
    dual = ahead = torch.zeros_like(spectrum.analyse(wanted))
    t = 1.0
    for _ in range(150):
        step = ahead + spectrum.analyse(wanted - spectrum.synthesise(ahead, time))
        following = step - step * (caps / step.abs().clamp(min=1e-20)).clamp(max=1)
        t, before = (1 + math.sqrt(1 + 4 * t * t)) / 2, t
        dual, ahead = following, following + (before - 1) / t * (following - dual)
    nearest = wanted - spectrum.synthesise(dual, time)
    kept = 10 * torch.log10(bound.quantise(wanted).square().sum(1) / nearest.square().sum(1))
    assert (kept[[0, 2]] > -1.5).all()  # the quiet clip's caps lie near the noise of rounding


def test_perturbed_clips_stay_inside_16_bit():
    clean = torch.ones(1, 4000) * (1 - LSB)
    clean[:, ::2] = -1
    budget = parse_budget("masking:30")
    adversarial = clean + budget.quantise(clean, 0.3 * gaussian(clean))
    assert adversarial.min() >= -1 and adversarial.max() <= 1 - LSB and budget.satisfied(clean, adversarial).all()


def test_only_clips_near_full_scale_are_turned_down(clips):
    bound = parse_budget("masking").bind(torch.cat([clips, torch.ones_like(clips[:1]) * (1 - LSB)]))
    perturbation = 0.05 * gaussian(bound.clean).clip(-1, 1)
    changed = bound.storable(perturbation)
    assert (changed != perturbation).any(1).tolist() == [False, False, False, True]
    assert (bound.clean + changed).max() <= 1 - LSB and all(
        torch.equal(bound.select(slice(i, i + 1)).storable(perturbation[i : i + 1])[0], changed[i]) for i in range(4))
    loud = bound.storable(20 * perturbation)
    assert torch.equal(bound.inside(loud), loud) and (loud != 20 * perturbation).any(1).all()


def test_a_perturbation_is_turned_down_smoothly_before_full_scale():
    clean = (0.95 * torch.sin(0.3 * torch.arange(4000)) / LSB).round()[None] * LSB
    bound = parse_budget("masking").bind(clean)
    perturbation = bound.size() * bound.steepest(gaussian(clean))
    assert (clean + perturbation).abs().max() > 1
    gentle, cut = bound.storable(perturbation), bound.inside(perturbation)
    assert (clean + gentle).abs().max() < 1 + 1e-6 and bound.distance(gentle) < bound.distance(cut) - 6
    quiet = 0.01 * perturbation
    assert torch.equal(bound.storable(quiet), quiet)


def test_distance_is_the_excess_over_the_threshold(clips):
    bound, lower = parse_budget("masking").bind(clips), parse_budget("masking:-6").bind(clips)
    perturbation = loud("sign", clips)
    expected = (Spectrum().level_db(perturbation) - MaskingModel().threshold_db(clips)).amax((1, 2))
    assert torch.allclose(bound.distance(perturbation), expected, atol=1e-3)
    assert torch.allclose(lower.distance(perturbation), expected, atol=1e-3)
    assert torch.allclose(bound.distance(2 * perturbation), expected + 20 * math.log10(2), atol=1e-3)
    assert (bound.distance(torch.zeros_like(clips)) == -torch.inf).all() and bound.satisfied(torch.zeros_like(clips)).all()


def test_selected_rows_are_the_same_budget(clips):
    bound, index = parse_budget("masking").bind(clips), torch.tensor([2, 0])
    perturbation = loud("noise", clips)
    assert torch.equal(bound.select(index).quantise(perturbation[index]), bound.quantise(perturbation)[index])
    alone = parse_budget("masking").bind(clips[2:])
    assert torch.equal(alone.quantise(perturbation[2:]), bound.quantise(perturbation)[2:])


def test_steepest_fills_the_threshold_and_ascends(clips):
    bound = parse_budget("masking").bind(clips)
    gradient = 1e-9 * gaussian(clips)
    step = bound.steepest(gradient)
    assert ((step * gradient).sum(1) > 0).all() and torch.allclose(step, bound.steepest(1e12 * gradient), atol=1e-3)
    assert (bound.distance(bound.size() * step).abs() < 12).all()
    assert ((step.square().mean(1).sqrt() - 1).abs() < 0.5).all()
    assert (bound.steepest(torch.zeros_like(clips)) == 0).all()


def test_random_starts_depend_on_the_clips_generator_alone(clips):
    def generators(*seeds):
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    bound = parse_budget("masking").bind(clips)
    start = bound.random_start(generators(5, 6, 7))
    assert torch.allclose(start[1:2], bound.select(torch.tensor([1])).random_start(generators(6)), atol=1e-7)
    assert (start.abs().amax(1) > 0).all() and (bound.distance(start) < 6).all()


@pytest.mark.parametrize("spec, name", [("masking", "masking"), ("masking:0", "masking"), ("masking:-6dB", "masking:-6"),
                                        ("masking:-3:clip-peak", "masking:-3:clip-peak"), ("masking:clip-peak:tonal", "masking:clip-peak:tonal")])
def test_names_make_the_same_budget_again(spec, name):
    budget = parse_budget(spec)
    assert budget.name == name and parse_budget(name).name == name


@pytest.mark.parametrize("spec", ["masking:loud", "masking:nan", "masking:-1000", "masking:1:2"])
def test_wrong_words_are_refused_by_name(spec):
    with pytest.raises(ConfigError, match="masking"):
        parse_budget(spec)


def test_wrong_options_are_refused():
    with pytest.raises(ConfigError, match="maskers"):
        Masking(maskers="noise")
