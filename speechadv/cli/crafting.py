"""What `speechadv attack` searches on: the network itself, other networks that it is to be carried over from, and clips that an attack learns from."""
from pathlib import Path
from typing import Any, Sequence

from ..errors import ConfigError, shown

LEARNED = "universal.wav"  # in the output folder: the one waveform that was fitted


def sent_on(attack: Any, sources: Sequence[str], model: str, defense: str) -> str | None:
    """The threat of clips that are made on something else than what hears them, None where they are made on that. Raises ConfigError."""
    for word in sources:
        if word == model or list(sources).count(word) > 1:
            raise ConfigError(f"--source: expected other networks than --model, each one once, got '{shown(word)}' twice")
    if sources and attack.at_edge:
        name = type(attack).__name__.lower()
        raise ConfigError(f"--source: attack '{name}' stands at the edge of the decision by design: its clips are not made for another network")
    if sources and not attack.white_box:
        raise ConfigError("--source: expected an attack that asks for gradients; others ask the network itself")
    return "transfer" if sources else "oblivious" if attack.sent and defense != "none" else None


def searched_on(attack: Any, sources: Sequence[str], model: Any, defended: Any, network: dict[str, Any]) -> Any:
    """The classifier that the attack searches on. Raises SpeechAdvError: a source that cannot be loaded or hears other words."""
    from .. import load_model
    from ..defenses import Defended
    from ..models.averaged import Averaged

    if not sources:
        return Defended(model).to(network["device"]).eval() if attack.sent else defended
    loaded = [load_model(word, trust=network["trust"], device=network["device"]) for word in sources]
    together = Averaged(loaded).eval()
    if sorted(together.labels) != sorted(model.labels) or together.sample_rate != model.sample_rate:
        raise ConfigError(f"--source: expected networks of the words and rate of --model, got {shown(', '.join(together.labels))} at {together.sample_rate} Hz")
    return together


def learn(job: Any, files: Sequence[Path]) -> str | None:
    """Fit an attack that learns, on bundled or SPEECHADV_DATA's clips of other speakers than the files'.

    Returns what to say, None where nothing is to be learned.
    """
    import torch

    from ..data.speech_commands import normal_name, speaker_of
    from ..evaluation import fitting
    from ..evaluation.settings import EvaluationConfig
    from ..randomness import derived_seed

    if not job.attack.learns or job.attack.given is not None:
        return None
    config = EvaluationConfig(attacks=[job.name], budgets=[job.budget.name], task=list(job.model.labels), split="test")
    speakers = frozenset(speaker_of(f"_/{normal_name(file.name)}") for file in files)
    clips = fitting.training_clips(config, job.attack, job.model.sample_rate, speakers)
    generator = torch.Generator().manual_seed(derived_seed(job.seed, job.name, "fit", job.target or ""))
    about = fitting.fit(job.attack, job.searched, clips, job.target, job.budget, generator, job.device)
    where = "the bundled set" if clips.source == "bundled" else f"split {job.attack.split}"
    return f"fitted on {about['clips']} clips of {about['speakers']} other speakers ({where}), {about['passes']} passes"


def save_learned(job: Any, out: Path) -> None:
    """The fitted waveform as a file of the output folder; `--set perturbation=FILE` applies it again."""
    from ..audio import write_pcm16
    from ..evaluation.fitting import fitted_waveform

    if job.attack.learns and job.attack.fits:
        write_pcm16(out / LEARNED, fitted_waveform(job.attack), job.model.sample_rate)
