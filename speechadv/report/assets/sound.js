// From base64 to samples. The sound of a clip is a classic script beside the page, or an element of it: pages opened from disk may not fetch.

const THRESHOLD_STEP_DB = 0.5, THRESHOLD_FLOOR_DB = -20; // as speechadv/report/sounds.py packs them

function bytesOf(base64) { return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)); }

// 16-bit samples, little-endian, as fractions of full scale: exact, unlike decodeAudioData.
function samplesOf(base64) {
  const bytes = bytesOf(base64), view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length >> 1 }, (_, i) => view.getInt16(2 * i, true) / 32768);
}

// dB SPL (frames x BINS)
function thresholdOf(base64) { return Float32Array.from(bytesOf(base64), (byte) => byte * THRESHOLD_STEP_DB + THRESHOLD_FLOOR_DB); }

function unpacked({ versions, samples, threshold }) {
  const found = versions.map((version, i) => ({ ...version, samples: samplesOf(samples[i]) }));
  return { versions: found, threshold: threshold === null ? null : thresholdOf(threshold) };
}

const loading = new Map(); // ID -> promise; the last few clips stay in memory
const REMEMBERED = 40;

// The versions of a clip with their samples, and the threshold of the clean one.
function loadSound(id) {
  if (!loading.has(id)) {
    if (loading.size >= REMEMBERED) loading.delete(loading.keys().next().value);
    const inside = document.getElementById(`sound-${id}`);
    loading.set(id, inside ? Promise.resolve().then(() => unpacked(JSON.parse(inside.textContent))) : loadScript(id).then(unpacked));
  }
  return loading.get(id);
}

function loadScript(id) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `page/${encodeURIComponent(id)}.js`;
    script.onload = () => { resolve(window.speechadv[id]); delete window.speechadv[id]; script.remove(); };
    script.onerror = () => { loading.delete(id); script.remove(); reject(new Error(`page/${id}.js cannot be read`)); };
    document.head.append(script);
  });
}
