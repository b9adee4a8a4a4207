"""Fixtures that several tests share: speech-like clips, a small network that was really trained on them, and a data folder of them.

Everything is made from fixed seeds in a second or two; no test depends on downloaded data or on the weights in the package.
"""
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

RATE = 16000
WORDS = {"yes": (350, 2300), "no": (500, 900), "stop": (750, 1300), "go": (300, 700)}  # Hz, two formants of a vowel
LABELS = (*WORDS, "_silence_")


def spoken(word: str, rng: np.random.Generator) -> np.ndarray:
    """One second: a buzzing voice through two resonances, with a syllable's envelope, on the 16-bit grid; `_silence_` is noise."""
    noise = rng.normal(0, 10 ** rng.uniform(-4, -2.5), RATE)
    if word == "_silence_":
        return on_grid(noise)
    harmonics = np.arange(1, 26) * int(rng.uniform(95, 260))
    shift, spectrum, time = rng.uniform(0.95, 1.05), np.zeros(RATE // 2 + 1, complex), np.arange(RATE) / RATE
    gains = sum(1 / (1 + ((harmonics - shift * formant) / 90) ** 2) for formant in WORDS[word])
    spectrum[harmonics] = gains * np.exp(2j * np.pi * rng.random(len(harmonics)))
    voice = np.fft.irfft(spectrum)
    start, length = rng.uniform(0.1, 0.4), rng.uniform(0.3, 0.5)
    envelope = np.clip(np.minimum(time - start, start + length - time) / 0.05, 0, 1)
    voice *= envelope * rng.uniform(0.1, 0.5) / np.abs(voice).max()
    return on_grid(voice + noise)


def on_grid(samples: np.ndarray) -> np.ndarray:
    """float32 k/32768 in [-1, 1 - 2**-15]."""
    return (np.round(samples * 32768).clip(-32768, 32767) / 32768).astype(np.float32)


def several(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` clips of each label: waveforms (n, 16000), classes (n,)."""
    rng = np.random.default_rng(seed)
    pairs = [(spoken(word, rng), index) for _ in range(count) for index, word in enumerate(LABELS)]
    return torch.from_numpy(np.stack([clip for clip, _ in pairs])), torch.tensor([index for _, index in pairs])


def fitted(model: torch.nn.Module, waveforms: torch.Tensor, classes: torch.Tensor, steps: int = 40) -> torch.nn.Module:
    """The model after some steps of Adam on random parts of the clips; ends in evaluation mode."""
    optimizer, generator = torch.optim.Adam(model.parameters(), 0.01), torch.Generator().manual_seed(0)
    model.train()
    for _ in range(steps):
        rows = torch.randperm(len(waveforms), generator=generator)[:24]
        loss = torch.nn.functional.cross_entropy(model(waveforms[rows]), classes[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def tiny_model(folder):
    """A .safetensors file with its card in a folder: a TC-ResNet8 of a few thousand weights that hears the words above."""
    from speechadv.models.pretrained import save_model
    from speechadv.registry import create

    configuration = {"widths": [8, 8, 12], "n_mels": 20, "dropout": 0.0, "n_fft": 512, "hop_length": 512}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = fitted(create("model", "tc_resnet8", LABELS, **configuration), *several(12, seed=1))
    card = {"name": "tiny", "architecture": "tc_resnet8", "configuration": configuration, "task": list(LABELS)}
    return save_model(model, card, folder)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    """See `tiny_model`."""
    return tiny_model(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def tiny(tiny_weights):
    """The small network, a fresh copy for each test."""
    from speechadv import load_model

    return load_model(str(tiny_weights))


@pytest.fixture(scope="session")
def heard(tiny_weights):
    """Clips that the small network hears right, most of them: `.waveforms` (15, 16000), `.classes` (15,), `.labels`."""
    waveforms, classes = several(3, seed=2)
    return SimpleNamespace(waveforms=waveforms, classes=classes, labels=LABELS)


@pytest.fixture(scope="session")
def speakers():
    """Further clips, of other voices than those in `heard`: waveforms (30, 16000), classes (30,)."""
    return several(6, seed=9)


@pytest.fixture
def speak():
    """`speak(word, seed)`: one clip, numpy float32 (16000,)."""
    return lambda word, seed=0: spoken(word, np.random.default_rng(seed))


@pytest.fixture
def write_clip(speak):
    """`write_clip(path, word="yes", seed=0)`: a WAV file of one clip; returns the path."""

    def write(path, word="yes", seed=0, rate=RATE, **options):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:  # soundfile itself cannot write to names that are no UTF-8
            soundfile.write(file, speak(word, seed), rate, format="WAV", **({"subtype": "PCM_16"} | options))
        return path

    return write


@pytest.fixture
def run(capsys):
    """`run("attack", file, "--target", "stop")` -> exit status, standard output, standard error."""
    from speechadv.cli import main

    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return leaving.value.code, printed.out, printed.err

    return call


def small_data(root):
    """A folder in Speech Commands' layout: each word by speakers of every split (the official hash decides), and a background recording."""
    from speechadv.data import official_split

    rng = np.random.default_rng(3)
    wanted = {"train": 8, "validation": 3, "test": 3}
    for number in range(1000):
        speaker = f"{number:08x}"
        split = official_split(f"yes/{speaker}_nohash_0.wav")
        if wanted[split]:
            wanted[split] -= 1
            for word in WORDS:
                (root / word).mkdir(exist_ok=True)
                soundfile.write(root / word / f"{speaker}_nohash_0.wav", spoken(word, rng), RATE, subtype="PCM_16")
    (root / "_background_noise_").mkdir()
    noise = on_grid(rng.normal(0, 0.003, 15 * RATE))
    soundfile.write(root / "_background_noise_" / "hum.wav", noise, RATE, subtype="PCM_16")
    return root


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    """See `small_data`."""
    return small_data(tmp_path_factory.mktemp("speech_commands"))
