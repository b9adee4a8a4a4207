"""One row of the table: a training of `speechadv train` whose teacher may hear the clip as it was recorded instead of what the student hears."""
from dataclasses import replace
from pathlib import Path
from typing import Callable

from speechadv.data import task as named_task
from speechadv.models.pretrained import save_model
from speechadv.training.loop import Trainer
from speechadv.training.run import card, check_folder, claimed, gather, make_targets, new_model, new_teachers
from speechadv.training.settings import Augmentation, TrainingConfig
from speechadv.training.validation import Validator
from speechadv.training.views import Views

AS_RECORDED = Augmentation(shift_ms=0.0, gain_db=[0.0, 0.0], noise_share=0.0, mix_share=0.0)


def learn(config: TrainingConfig, out: Path, *, share: float = 1.0, hears: str = "view", device: str = "cpu", command: str = "", progress: Callable,
          say: Callable[[str], None]) -> Path:
    """Train as the config says and write weights and card into `out`. A killed run goes on when it is called again.

    Args:
        config: the run.
        out: its folder.
        share: of the training clips, a fixed random part.
        hears: "view": the teacher's labels are for the very waveform that the student hears; "clip": for the clip as it was recorded, whatever the
            student hears of it (what Beyer et al. 2022, arXiv:2106.05237, call fixed teaching).
        device: torch device.
        command: what to print in the card to make it again.
        progress: wraps an iterable with a bar.
        say: prints a line.

    Returns:
        The path of the weights.
    """
    check_folder(out, config)
    task = named_task(config.task)
    model = new_model(config, task.labels).to(device)
    material = gather(config, task, model.sample_rate)
    train_set = material.train.first(round(share * len(material.train.clips)), config.seed)
    sound = (train_set.clips, material.noises, train_set.silence)
    views = Views(*sound, config.augmentation, config.seed, model.sample_rate)
    teachers = new_teachers(config, train_set.labels, model.sample_rate, device)
    validator = Validator(material.validation, config.adversary.budget if config.adversary else None, config.validation_clips, seed=config.seed)
    with claimed(out, config):
        if hears == "clip" and teachers is not None:
            fixed = replace(config, augmentation=AS_RECORDED, views=1)
            heard = make_targets(fixed, teachers, train_set, Views(*sound, AS_RECORDED, config.seed, model.sample_rate), device, progress)

            def targets(indices, view, waveforms):
                return heard(indices, 0, waveforms)
        else:
            targets = make_targets(config, teachers, train_set, views, device, progress)
        trainer = Trainer(config, model, views, targets, train_set, validator, out, progress, say)
        best = trainer.run()
        return save_model(best, card(config, best, trainer, command), out)
