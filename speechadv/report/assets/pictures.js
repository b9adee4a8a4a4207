// What is drawn of the chosen version: waveform and log-mel spectrogram with the playhead, and the perturbation's spectrum against the threshold.
// Canvases keep their colours when the scheme changes: everything is drawn anew from CSS variables.

const RANGE_DB = 80; // of the spectrogram's colours, below the loudest point
const MOST_COLUMNS = 4000; // of its picture: browsers' canvases have an end
const VIRIDIS = [[68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142], [31, 158, 137], [53, 183, 121], [110, 206, 88], [181, 222, 43], [253, 231, 37]];
const SPECTRUM_DB = [-20, 100]; // dB SPL of the spectrum's axis

function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim(); }

// The pen of a canvas as many pixels large as the screen shows of it.
function penOf(canvas) {
  const ratio = window.devicePixelRatio || 1, width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, width, height);
  return { pen, width, height, ratio };
}

function drawWave(canvas, version, share) {
  const { pen, width, height, ratio } = penOf(canvas);
  if (!version || !width) return;
  const { samples } = version, middle = height / 2, scale = 0.95 * middle / version.peak;
  pen.fillStyle = colour("accent");
  for (let x = 0; x < width; x++) {
    const from = Math.floor(x * samples.length / width), to = Math.max(from + 1, Math.floor((x + 1) * samples.length / width));
    let low = Infinity, high = -Infinity;
    for (let i = from; i < to; i++) { low = Math.min(low, samples[i]); high = Math.max(high, samples[i]); }
    pen.fillRect(x, middle - high * scale, 1, Math.max(1, (high - low) * scale));
  }
  playhead(pen, share * width, height, ratio, colour("bad"));
}

function playhead(pen, x, height, ratio, ink) {
  pen.fillStyle = ink;
  pen.fillRect(x - ratio, 0, 2 * ratio, height);
}

function drawMel(canvas, version, share) {
  const { pen, width, height, ratio } = penOf(canvas);
  if (!version || !width) return;
  version.picture ??= melPicture(version.mel, version.loudest);
  pen.imageSmoothingEnabled = false;
  // Frames stand on a grid that begins before the clip and ends behind it; half a frame lies before the middle of the first.
  const { canvas: picture, step } = version.picture, begin = frameAt(0, Infinity) + 0.5, shown = version.samples.length / HOP;
  pen.drawImage(picture, begin / step, 0, shown / step, MELS, 0, 0, width, height);
  playhead(pen, share * width, height, ratio, "#ffffff");
}

// A canvas of one pixel a band and frame of a log-mel spectrogram, of long clips every `step`th frame; `loudest` (dB) has the brightest colour.
function melPicture(level, loudest) {
  const frames = level.length / MELS, step = Math.ceil(frames / MOST_COLUMNS), canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.ceil(frames / step), MELS];
  const pen = canvas.getContext("2d"), image = pen.createImageData(canvas.width, MELS);
  for (let column = 0; column < canvas.width; column++) {
    for (let band = 0; band < MELS; band++) {
      image.data.set([...viridis(1 + (level[column * step * MELS + band] - loudest) / RANGE_DB), 255], 4 * ((MELS - 1 - band) * canvas.width + column));
    }
  }
  pen.putImageData(image, 0, 0);
  return { canvas, step };
}

// The colour of a share from 0 to 1.
function viridis(share) {
  const place = Math.max(0, Math.min(1, share)) * (VIRIDIS.length - 1), left = Math.min(VIRIDIS.length - 2, Math.floor(place)), part = place - left;
  return VIRIDIS[left].map((value, i) => Math.round(value + (VIRIDIS[left + 1][i] - value) * part));
}

// Levels of the clean clip and of the perturbation as it was added, beside the threshold; each (frames x BINS).
function spectraOf(sound) {
  const [clean, adversarial] = sound.versions;
  const clip = levels(clean.samples), change = levels(adversarial.samples.map((value, i) => value - clean.samples[i]));
  const excess = excesses(change, sound.threshold), speech = speechFrames(clip);
  let loudest = 0; // the frame of speech in which the perturbation exceeds the threshold most
  for (let frame = 1; frame < excess.length; frame++) if (speech[frame] && (!speech[loudest] || excess[frame] > excess[loudest])) loudest = frame;
  return { clip, change, threshold: sound.threshold, excess, loudest };
}

// Which frames hold something within 30 dB of the loudest bin.
function speechFrames(level) {
  const most = Array.from({ length: level.length / BINS }, (_, frame) => level.subarray(frame * BINS, (frame + 1) * BINS).reduce((a, b) => Math.max(a, b)));
  const loudest = most.reduce((a, b) => Math.max(a, b));
  return most.map((value) => value > loudest - 30);
}

function drawSpectrum(canvas, spectra, frame) {
  const { pen, width, height, ratio } = penOf(canvas);
  if (!spectra || !width) return;
  const left = 30 * ratio, bottom = 18 * ratio, [low, high] = SPECTRUM_DB;
  const place = { x: (bin) => left + bin / (BINS - 1) * (width - left - 2 * ratio), y: (level) => (1 - (level - low) / (high - low)) * (height - bottom) };
  axes(pen, place, width, height, ratio);
  const line = (values, ink, dash, thick) => {
    pen.beginPath();
    pen.strokeStyle = colour(ink);
    pen.setLineDash(dash.map((length) => length * ratio));
    pen.lineWidth = thick * ratio;
    for (let bin = 0; bin < BINS; bin++) pen.lineTo(place.x(bin), place.y(Math.max(low, values[frame * BINS + bin])));
    pen.stroke();
  };
  line(spectra.clip, "clip", [], 1);
  line(spectra.threshold, "ink", [5, 3], 1.6);
  line(spectra.change, "bad", [], 1.8);
  pen.setLineDash([]);
}

function axes(pen, place, width, height, ratio) {
  pen.font = `${11 * ratio}px system-ui, sans-serif`;
  pen.lineWidth = ratio;
  pen.strokeStyle = colour("line");
  pen.fillStyle = colour("soft");
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (let level = 0; level <= 80; level += 40) {
    pen.beginPath();
    pen.moveTo(place.x(0), place.y(level));
    pen.lineTo(width, place.y(level));
    pen.stroke();
    pen.fillText(`${level}`, place.x(0) - 4 * ratio, place.y(level));
  }
  pen.textAlign = "left";
  pen.fillText("dB", 2 * ratio, 8 * ratio);
  pen.textBaseline = "bottom";
  pen.textAlign = "center";
  for (let kilohertz = 0; kilohertz <= 6; kilohertz += 2) pen.fillText(`${kilohertz}`, place.x(kilohertz * 1000 * SIZE / RATE), height);
  pen.textAlign = "right";
  pen.fillText("8 kHz", width, height);
}
