"""The networks against what their papers say of them."""
import pytest
import torch

from speechadv import load_model
from speechadv.errors import ConfigError
from speechadv.models.bc_resnet import SubSpectralNorm
from speechadv.models.layers import Rough, count_parameters
from speechadv.registry import create

TWELVE = tuple(f"label{i}" for i in range(12))


# Published sizes: Choi et al. 2019 table 1 (66 K), Kim et al. 2021 table 2 (9.2 K, 321 K). The issue asks for 200 to 500 K for the resnet.
@pytest.mark.parametrize(("name", "low", "high"), [("tc_resnet8", 65_000, 67_000), ("bc_resnet1", 9_150, 9_250), ("bc_resnet8", 320_500, 321_500),
                                                   ("ds_cnn", 20_000, 25_000), ("m5", 500_000, 600_000), ("resnet", 200_000, 500_000)])
def test_size(name, low, high):
    assert low <= count_parameters(create("model", name, TWELVE)) <= high


@pytest.mark.parametrize("options", [{"width": 172, "stem_stride": (2, 1), "strides": (2, 1, 1, 1)}, {"width": 276, "stem_stride": (2, 1), "strides": (2, 1, 1, 1, 1)}])
def test_larger_ds_cnn(options):
    model = create("model", "ds_cnn", TWELVE, **options).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 16000)).shape == (1, 12)


def test_sub_spectral_norm_is_a_batch_norm_in_each_band():
    x = torch.randn(4, 3, 20, 7, generator=torch.Generator().manual_seed(0))
    norm = SubSpectralNorm(3).train()
    bands = [(b - b.mean((0, 2, 3), keepdim=True)) / (b.var((0, 2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt() for b in x.split(4, 2)]
    torch.testing.assert_close(norm(x), torch.cat(bands, 2), atol=1e-5, rtol=1e-5)


def test_eight_kilohertz_is_heard_too():
    model = create("model", "m5", TWELVE, sample_rate=8000, kernel=80, stride=4).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, 8000)).shape == (2, 12)


def test_a_rough_network_hears_about_the_same_and_its_front_end_exactly():
    network = load_model("resnet").eval()
    waveforms = 0.1 * torch.randn(4, 16000, generator=torch.Generator().manual_seed(3))
    seen = []
    network.frontend.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        exact, rough = network(waveforms), Rough(network)(waveforms)
    assert rough.dtype == torch.float32 and torch.equal(*seen) and not torch.equal(exact, rough)
    assert (exact - rough).abs().max() < 0.05 * exact.abs().max()


def test_on_a_gpu_convolutions_are_float32(monkeypatch):
    from speechadv.models.resolve import resolve_model

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *args, **kwargs: self)
    resolve_model("bc_resnet", device="cpu")
    assert torch.backends.cudnn.allow_tf32
    resolve_model("bc_resnet", device="cuda:0")
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("name", ["resnet", "tc_resnet8", "bc_resnet1"])
def test_a_front_end_with_energy_normalised_hears_loudness_no_more(name):
    plain, normalised = (create("model", name, TWELVE, offset=1e-9, energy_share=share).eval().frontend for share in (0.0, 0.01))
    quiet = 0.01 * torch.randn(2, 16000, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(normalised(quiet), normalised(20 * quiet), rtol=1e-3, atol=1e-4)
        assert (plain(20 * quiet) - plain(quiet)).mean() > 1
        assert normalised(torch.zeros(1, 16000)).abs().max() == 0  # silence stays silence, and its gradient a number
    silent = torch.zeros(1, 16000, requires_grad=True)
    normalised(silent).sum().backward()
    assert silent.grad.isfinite().all()


@pytest.mark.parametrize("name", ["resnet", "tc_resnet8", "bc_resnet1"])
def test_trained_filters_begin_as_triangles_and_learn(name, tmp_path):
    torch.manual_seed(0)
    network = create("model", name, TWELVE, trained_filters=True).eval()
    waveforms = 0.1 * torch.randn(2, 16000, generator=torch.Generator().manual_seed(3))
    plain = create("model", name, TWELVE).eval()
    assert torch.equal(network.frontend(waveforms), plain.frontend(waveforms))
    assert count_parameters(network) - count_parameters(plain) == network.frontend.bank.numel() and "frontend.bank" not in plain.state_dict()
    network(waveforms).square().sum().backward()
    bank = network.frontend.bank
    assert torch.equal(bank.grad != 0, bank > 0)  # a filter learns its shape within its triangle
    with torch.no_grad():
        network.frontend.bank -= 0.5  # what is negative counts as nothing: powers stay powers
    assert (network.frontend.mel(waveforms) >= 0).all()
    again = create("model", name, TWELVE, trained_filters=True).eval()
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(again(waveforms), network(waveforms))


def test_a_front_end_refuses_a_share_below_nothing():
    with pytest.raises(ConfigError, match="energy_share: expected 0 or more"):
        create("model", "resnet", TWELVE, energy_share=-0.1)
