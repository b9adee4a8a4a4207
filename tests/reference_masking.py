"""A slow masking threshold in plain loops, straight from the equations, for the tests alone. It shares no code with the package."""
import math

import numpy as np

N_FFT, HOP = 512, 128


def hertz_to_bark(hertz):
    return 13.0 * math.atan(0.00076 * hertz) + 3.5 * math.atan((hertz / 7500.0) ** 2)


def quiet_db(hertz):
    f = hertz / 1000.0
    return 3.64 * f ** (-0.8) - 6.5 * math.exp(-0.6 * (f - 3.3) ** 2) + 0.001 * f**4


def frames_db(clip):
    """List of frames, each a list of levels in dB; a full-scale sine reads 96 dB."""
    padded = [0.0] * (N_FFT - HOP) + [float(s) for s in clip]
    count = math.ceil(len(clip) / HOP) + N_FFT // HOP - 1
    padded += [0.0] * ((count - 1) * HOP + N_FFT - len(padded))
    window = np.array([0.5 - 0.5 * math.cos(2 * math.pi * n / N_FFT) for n in range(N_FFT)])
    n = np.arange(N_FFT)
    dft = np.array([np.exp(-2j * math.pi * k * n / N_FFT) for k in range(N_FFT // 2 + 1)])
    result = []
    for m in range(count):
        spectrum = dft @ (window * np.array(padded[m * HOP : m * HOP + N_FFT]))
        result.append([10 * math.log10(max(abs(z / (window.sum() / 2)) ** 2, 1e-20)) + 96.0 for z in spectrum])
    return result


def tonal_maskers(level, rate):
    """{bin: dB} and the bins that tones occupy."""
    last = len(level) - 1
    tones, occupied = {}, set()
    for k in range(3, last):
        hertz = k * rate / N_FFT
        reach = 2 if hertz < 5500 else 3 if hertz < 11000 else 6
        if k + reach > last:
            continue
        if not (level[k] > level[k - 1] and level[k] > level[k + 1]):
            continue
        if all(level[k] - level[k + side * d] > 7.0 for d in range(2, reach + 1) for side in (-1, 1)):
            tones[k] = 10 * math.log10(sum(10 ** (level[k + j] / 10) for j in (-1, 0, 1)))
            occupied.update(range(k - reach, k + reach + 1))
    return tones, occupied


def noise_maskers(level, rate, occupied):
    """{bin: dB}: one a critical band."""
    bands = {}
    for k in range(1, len(level)):
        bands.setdefault(math.floor(hertz_to_bark(k * rate / N_FFT)), []).append(k)
    maskers = {}
    for members in bands.values():
        free = [k for k in members if k not in occupied]
        if free:
            place = round(math.exp(sum(math.log(k) for k in members) / len(members)))
            maskers[place] = 10 * math.log10(sum(10 ** (level[k] / 10) for k in free))
    return maskers


def decimated(maskers, rate):
    """Maskers (kind, bin, dB) above the threshold in quiet and the strongest within half a Bark."""
    audible = [m for m in maskers if m[2] >= quiet_db(m[1] * rate / N_FFT)]
    kept = []
    for kind, k, db in audible:
        z = hertz_to_bark(k * rate / N_FFT)
        rivals = [m for m in audible if m != (kind, k, db) and abs(hertz_to_bark(m[1] * rate / N_FFT) - z) < 0.5]
        if all(db > rival[2] for rival in rivals):
            kept.append((kind, k, db))
    return kept


def threshold_of_frame(level, rate, kinds=("tonal", "noise")):
    tones, occupied = tonal_maskers(level, rate)
    maskers = [("tonal", k, db) for k, db in tones.items()]
    if "noise" in kinds:
        maskers += [("noise", k, db) for k, db in noise_maskers(level, rate, occupied).items()]
    maskers = decimated(maskers, rate)
    result = []
    for i in range(len(level)):
        hertz = max(i, 1) * rate / N_FFT
        total = 10 ** (quiet_db(hertz) / 10)
        for kind, j, db in maskers:
            z = hertz_to_bark(j * rate / N_FFT)
            dz = hertz_to_bark(i * rate / N_FFT) - z
            offset = -6.025 - 0.275 * z if kind == "tonal" else -2.025 - 0.175 * z
            slope = 27.0 * dz if dz <= 0 else (-27.0 + 0.37 * max(db - 40.0, 0.0)) * dz
            total += 10 ** ((db + offset + slope) / 10)
        result.append(10 * math.log10(total))
    return result


def threshold_db(clip, rate=16000, clip_peak=False, kinds=("tonal", "noise"), frames=None):
    """(frames, bins) on the full-scale scale; `frames` picks some, for speed."""
    levels = frames_db(clip)
    shift = 96.0 - max(max(frame) for frame in levels) if clip_peak else 0.0
    chosen = range(len(levels)) if frames is None else frames
    return np.array([[t - shift for t in threshold_of_frame([db + shift for db in levels[m]], rate, kinds)] for m in chosen])
