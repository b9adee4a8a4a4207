"use strict";
// Short-time spectra of a clip: pure functions of samples, the same frames as speechadv/masking/spectrum.py (a full-scale sine reads 96 dB SPL).

const RATE = 16000; // Hz, of all sound of the page
const SIZE = 512; // samples of a frame
const HOP = 128; // samples between frames
const BINS = SIZE / 2 + 1;
const FULL_SCALE_DB = 96;
const SILENCE = 1e-20; // power that stands for digital silence
const MELS = 64;

const HANN = Float64Array.from({ length: SIZE }, (_, i) => 0.5 - 0.5 * Math.cos(2 * Math.PI * i / SIZE));

// In place, radix 2: `real` and `imaginary` hold a power of two of values.
function fft(real, imaginary) {
  const n = real.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j |= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let length = 2; length <= n; length *= 2) {
    const half = length / 2;
    for (let k = 0; k < half; k++) {
      const cosine = Math.cos(-2 * Math.PI * k / length), sine = Math.sin(-2 * Math.PI * k / length);
      for (let i = k; i < n; i += length) {
        const j = i + half, a = real[j] * cosine - imaginary[j] * sine, b = real[j] * sine + imaginary[j] * cosine;
        real[j] = real[i] - a;
        imaginary[j] = imaginary[i] - b;
        real[i] += a;
        imaginary[i] += b;
      }
    }
  }
}

// The clip is surrounded by zeros, so that its ends are seen by as many frames as its middle.
function frameCount(samples) { return Math.ceil(samples.length / HOP) + SIZE / HOP - 1; }

// Seconds of a frame's middle.
function frameTime(frame) { return Math.max(0, (frame * HOP + HOP - SIZE / 2) / RATE); }
function frameAt(seconds, frames) { return Math.max(0, Math.min(frames - 1, Math.round((seconds * RATE + SIZE / 2 - HOP) / HOP))); }

// Powers (frames x BINS), one row after the other; a sine of amplitude A at a bin's centre reads A squared.
function powers(samples) {
  const frames = frameCount(samples), found = new Float64Array(frames * BINS), real = new Float64Array(SIZE), imaginary = new Float64Array(SIZE);
  for (let frame = 0; frame < frames; frame++) {
    const start = frame * HOP - (SIZE - HOP);
    for (let i = 0; i < SIZE; i++) {
      real[i] = (start + i >= 0 && start + i < samples.length ? samples[start + i] : 0) * HANN[i] * 4 / SIZE;
      imaginary[i] = 0;
    }
    fft(real, imaginary);
    for (let bin = 0; bin < BINS; bin++) found[frame * BINS + bin] = real[bin] ** 2 + imaginary[bin] ** 2;
  }
  return found;
}

// Levels in dB SPL (frames x BINS).
function levels(samples) { return powers(samples).map((power) => 10 * Math.log10(Math.max(power, SILENCE)) + FULL_SCALE_DB); }

const toMel = (hertz) => 2595 * Math.log10(1 + hertz / 700); // O'Shaughnessy 1987
const fromMel = (mel) => 700 * (10 ** (mel / 2595) - 1);

// Triangles of height 1 between 0 Hz and half the rate: for each band its first bin and its weights.
const MEL_FILTERS = (() => {
  const edges = Array.from({ length: MELS + 2 }, (_, i) => fromMel(toMel(RATE / 2) * i / (MELS + 1)));
  return Array.from({ length: MELS }, (_, band) => {
    const [low, middle, high] = edges.slice(band, band + 3);
    const weights = Array.from({ length: BINS }, (_, bin) => {
      const hertz = bin * RATE / SIZE;
      return Math.max(0, Math.min((hertz - low) / (middle - low), (high - hertz) / (high - middle)));
    });
    const first = Math.max(0, weights.findIndex((weight) => weight > 0));
    return { first, weights: weights.slice(first, weights.findLastIndex((weight) => weight > 0) + 1) };
  });
})();

// The log-mel spectrogram in dB (frames x MELS).
function logMel(samples) {
  const power = powers(samples), frames = power.length / BINS, found = new Float64Array(frames * MELS);
  for (let frame = 0; frame < frames; frame++) {
    for (let band = 0; band < MELS; band++) {
      const { first, weights } = MEL_FILTERS[band];
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * power[frame * BINS + first + i];
      found[frame * MELS + band] = 10 * Math.log10(Math.max(sum, SILENCE));
    }
  }
  return found;
}

// By how many dB each frame's loudest bin lies above the threshold. `level` and `threshold` are (frames x BINS).
function excesses(level, threshold) {
  return Float64Array.from({ length: level.length / BINS }, (_, frame) => {
    let most = -Infinity;
    for (let i = frame * BINS; i < (frame + 1) * BINS; i++) most = Math.max(most, level[i] - threshold[i]);
    return most;
  });
}
