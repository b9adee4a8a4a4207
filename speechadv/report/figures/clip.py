"""Figures of one clip: its spectrograms, and its perturbation against the masking threshold."""
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ...errors import InputError, shown
from ..saved import SAMPLE_RATE, SavedRun, first_shown, has_sound
from ..style import COLOURS, LEVELS, legend_below, new_figure

FLOOR_DB = 80  # of a spectrogram's colours, below its loudest point


def spectrograms(folder: Path, row: int | None = None) -> Figure:
    """Clean, adversarial and their difference, on one colour scale."""
    run = SavedRun(folder)
    chosen = chosen_row(run, row)
    clean, adversarial = run.pair(chosen)
    parts = [("clean", clean), ("adversarial", adversarial), ("difference", adversarial - clean)]
    levels = [level_db(wave) for _, wave in parts]
    top = max(float(level.max()) for level in levels[:2])
    figure = new_figure(9, 3)
    axes = figure.subplots(1, 3, sharey=True)
    for axis, (name, wave), level in zip(axes, parts, levels):
        image = axis.imshow(level, origin="lower", aspect="auto", extent=(0, len(wave) / SAMPLE_RATE, 0, SAMPLE_RATE / 2000), cmap=LEVELS,
                            vmin=top - FLOOR_DB, vmax=top)
        axis.set(title=name, xlabel="time (s)")
        axis.grid(False)
    axes[0].set_ylabel("frequency (kHz)")
    figure.colorbar(image, ax=axes, label="level (dB re full scale)", pad=0.01)
    figure.suptitle(clip_title(chosen), fontsize=9)
    return figure


def level_db(wave: np.ndarray, n_fft: int = 512, hop: int = 64) -> np.ndarray:
    """(bins, frames) levels in dB; a full-scale sine reads 0 dB."""
    padded = np.pad(wave.astype(np.float64), n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop] * np.hanning(n_fft + 1)[:-1]
    return 20 * np.log10(np.abs(np.fft.rfft(frames)).T * 4 / n_fft + 1e-10)


def masking(folder: Path, row: int | None = None) -> Figure:
    """The perturbation's spectrum beside the clip's and its masking threshold, in the frame where it comes nearest to it."""
    import torch

    from ...masking import MaskingModel

    run = SavedRun(folder)
    chosen = chosen_row(run, row)
    clean, adversarial = (torch.from_numpy(wave.astype(np.float64))[None] for wave in run.pair(chosen))
    model = MaskingModel(SAMPLE_RATE)
    threshold = model.threshold_db(clean)[0]
    perturbation, speech = model.spectrum.level_db(adversarial - clean)[0], model.spectrum.level_db(clean)[0]
    loud = speech.amax(1) > speech.max() - 30  # frames with speech in them
    excess = (perturbation - threshold).amax(1)
    frame = int(torch.where(loud, excess, -torch.inf).argmax())
    kilohertz = np.arange(model.spectrum.bins) * SAMPLE_RATE / model.spectrum.n_fft / 1000
    figure = new_figure(6.5, 3.6)
    axis = figure.subplots()
    axis.plot(kilohertz, speech[frame], color=COLOURS[5], label="clean clip")
    axis.plot(kilohertz, threshold[frame], color=COLOURS[6], linestyle="--", label="masking threshold")
    axis.plot(kilohertz, perturbation[frame], color=COLOURS[1], label="perturbation")
    seconds = max(0.0, (frame * model.spectrum.hop + model.spectrum.hop - model.spectrum.n_fft / 2) / SAMPLE_RATE)
    lowest = float(torch.minimum(threshold[frame], speech[frame]).min())
    axis.set(xlabel="frequency (kHz)", ylabel="level (dB SPL, full scale = 96 dB)", xlim=(0, SAMPLE_RATE / 2000), ylim=(max(lowest, -40) - 5, None),
             title=f"{clip_title(chosen)}\nat {seconds:.2f} s, {excess[frame]:+.1f} dB against the threshold")
    legend_below(figure, *axis.get_legend_handles_labels())
    return figure


def chosen_row(run: SavedRun, number: int | None) -> dict[str, Any]:
    """The row of a figure about one clip. Raises InputError where it has no sound."""
    if number is not None:
        if not 1 <= number <= len(run.rows):
            raise InputError(f"--row {number}: expected a line of rows.jsonl, 1 to {len(run.rows)}")
        if not has_sound(run.rows[number - 1]):
            raise InputError(f"--row {number}: this row's sound was not saved")
        return run.rows[number - 1]
    heard = [row for row in run.rows if has_sound(row)]
    if not heard:
        raise InputError(f"'{shown(run.folder)}': no row of this run has sound saved")
    return heard[first_shown(heard)]


def clip_title(row: dict[str, Any]) -> str:
    """What a figure about one clip is about."""
    wanted = f" → {row['target']}" if row["target"] is not None else ""
    snr = f", SNR {row['snr_db']:.1f} dB" if row.get("snr_db") is not None else ""
    return shown(f"{row['clip']}: {row['label']}{wanted}, budget {row['budget']}{snr}")
