"""What every registered network and every pretrained model must hold."""
import copy

import pytest
import torch
from torch import nn

from speechadv import list_models, load_model
from speechadv.models.layers import folded
from speechadv.models.pretrained import load_checkpoint, save_model
from speechadv.registry import create, keywords, names

LABELS = ("yes", "no", "stop", "_unknown_")


def fresh(name: str) -> nn.Module:
    """A network with random weights and with normalisation statistics that are far from the initial ones."""
    generator = torch.Generator().manual_seed(7)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = create("model", name, LABELS).eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.copy_(0.1 * torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=generator))
            module.weight.data.copy_(0.5 + torch.rand(module.num_features, generator=generator))
            module.bias.data.copy_(0.1 * torch.randn(module.num_features, generator=generator))
    return model


@pytest.fixture(scope="module", params=[("fresh", n) for n in names("model")] + [("pretrained", n) for n in list_models()], ids=lambda p: "-".join(p))
def model(request):
    kind, name = request.param
    return fresh(name) if kind == "fresh" else load_model(name)


@pytest.fixture(scope="module")
def clips():
    """Noise, a tone and silence of one second, on the 16-bit grid."""
    noise = 0.1 * torch.randn(16000, generator=torch.Generator().manual_seed(1))
    tone = 0.3 * torch.sin(2 * torch.pi * 440 * torch.arange(16000) / 16000)
    return (torch.stack([noise, tone, torch.zeros(16000)]) * 32768).round() / 32768


def test_it_says_labels_and_sample_rate(model):
    assert isinstance(model.labels, tuple) and all(isinstance(label, str) for label in model.labels)
    assert isinstance(model.sample_rate, int)


def test_waveforms_in_logits_out(model, clips):
    before = clips.clone()
    with torch.no_grad():
        logits = model(clips)
    assert logits.shape == (3, len(model.labels)) and logits.dtype == torch.float32
    assert logits.isfinite().all()
    assert torch.equal(clips, before)


def test_a_batch_equals_its_clips(model, clips):
    with torch.no_grad():
        torch.testing.assert_close(model(clips), torch.cat([model(clip[None]) for clip in clips]), atol=1e-4, rtol=1e-4)


def test_other_lengths_are_heard(model):
    with torch.no_grad():
        for length in (8000, 16001, 24000):
            assert model(torch.zeros(1, length)).shape == (1, len(model.labels))


def test_the_input_gradient_is_finite_even_for_silence(model, clips):
    waveforms = clips.clone().requires_grad_()
    model(waveforms).logsumexp(1).sum().backward()
    assert waveforms.grad.isfinite().all()
    assert (waveforms.grad[:2].abs().amax(1) > 0).all()


def test_the_input_gradient_agrees_with_finite_differences(model, clips):
    exact, generator = copy.deepcopy(model).double(), torch.Generator().manual_seed(3)
    waveforms = clips[:1].double().requires_grad_()
    direction = torch.randn(1, 16000, generator=generator, dtype=torch.float64)
    exact(waveforms)[0, 0].backward()
    with torch.no_grad():
        step = 1e-8
        slope = (exact(waveforms + step * direction)[0, 0] - exact(waveforms - step * direction)[0, 0]) / (2 * step)
    torch.testing.assert_close((waveforms.grad * direction).sum(), slope, rtol=1e-3, atol=1e-6)


def test_folding_keeps_the_logits(model, clips):
    was_training = model.training
    fast = folded(model)
    with torch.no_grad():
        torch.testing.assert_close(fast(clips), model(clips), atol=1e-4, rtol=1e-4)
    assert not any(p.requires_grad for p in fast.parameters())
    assert all(p.requires_grad for p in model.parameters()) and model.training == was_training


def test_folding_keeps_the_input_gradient(model, clips):
    def gradient(network):
        heard = clips[:2].double().requires_grad_()  # in silence all that a pool sees is alike, and rounding chooses
        return torch.autograd.grad(network(heard)[:, 0].sum(), heard)[0]

    exact = copy.deepcopy(model).double().eval()  # in float32 the rounding of folding may move the largest of a pool to its neighbour
    torch.testing.assert_close(gradient(folded(exact)), gradient(exact))


def test_folding_leaves_no_pair(model):
    def norms(network):
        return sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())

    # Sub-spectral norms scale by frequency: no convolution can take them in.
    stay = sum(type(m).__name__ == "SubSpectralNorm" for m in model.modules())
    assert norms(folded(model)) == stay < norms(model)


def test_training_reaches_every_parameter(model, clips):
    learner = copy.deepcopy(model).train()
    nn.functional.cross_entropy(learner(clips), torch.tensor([0, 1, 2])).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learner.parameters())


@pytest.mark.parametrize("name", names("model"))
def test_saved_and_loaded_it_is_the_same(name, clips, tmp_path):
    model = fresh(name)
    loaded = load_checkpoint(save_model(model, {"name": "mine", "architecture": name, "configuration": {}}, tmp_path))
    with torch.no_grad():
        assert torch.equal(loaded(clips), model(clips))
    assert loaded.labels == LABELS and not loaded.training


@pytest.mark.parametrize("name", names("model"))
def test_constructor_keywords_are_its_configuration(name):
    assert keywords("model", name)[:2] == ["labels", "sample_rate"]


def test_what_only_looks_like_a_convolution_is_not_folded():
    class Standardised(torch.nn.Conv2d):
        """Weights of mean 0 and deviation 1 (Qiao et al. 2019): merged with a scale they would lose it again."""

        def forward(self, x):
            weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            return self._conv_forward(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias)

    model = torch.nn.Sequential(Standardised(2, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 4, 3), torch.nn.BatchNorm2d(4))
    x = torch.randn(8, 2, 12, 12, generator=torch.Generator().manual_seed(0))
    for _ in range(20):
        model.train()(3 * x + 1)
    model.eval()
    torch.testing.assert_close(folded(model)(x), model(x), rtol=1e-4, atol=1e-5)
