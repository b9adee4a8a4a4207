"use strict";
// Plays the versions of one clip on one clock: all of them run, one is loud. Switching is a cross-fade, so nothing is lost or repeated.

const RATE = 16000;
const FADE = 0.008; // s
const LEAD = 0.02; // s between the call and the first sample

class Player {
  constructor(changed) {
    this.changed = changed; // called after every change of state
    this.context = null; // one for the page, made at the first key or click: before that browsers refuse sound
    this.versions = [];
    this.voices = [];
    this.current = 0;
    this.offset = 0; // s, where playing goes on
    this.repeat = true;
  }

  get playing() { return this.voices.length > 0; }
  get duration() { return this.versions.length ? this.versions[0].buffer.duration : 0; }

  load(versions) {
    this.stop();
    this.versions = versions;
    this.current = Math.min(this.current, Math.max(0, versions.length - 1));
    this.offset = 0;
    this.changed();
  }

  play() {
    if (!this.versions.length || this.playing) return;
    if (!this.context) this.context = new AudioContext({ sampleRate: RATE });
    this.context.resume();
    const when = this.context.currentTime + LEAD;
    this.began = when - this.offset;
    this.voices = this.versions.map((version, number) => this.voice(version.buffer, number === this.current, when));
    this.voices[0].source.onended = () => { this.voices = []; this.offset = 0; this.changed(); };
    this.changed();
  }

  voice(buffer, loud, when) {
    const source = new AudioBufferSourceNode(this.context, { buffer, loop: this.repeat });
    const gain = new GainNode(this.context, { gain: loud ? 1 : 0 });
    source.connect(gain).connect(this.context.destination);
    source.start(when, this.offset);
    return { source, gain };
  }

  pause() {
    const at = this.position();
    this.stop();
    this.offset = at;
    this.changed();
  }

  stop() {
    for (const { source, gain } of this.voices) {
      source.onended = null;
      this.fade(gain, 0);
      source.stop(this.context.currentTime + FADE);
    }
    this.voices = [];
  }

  toggle() { this.playing ? this.pause() : this.play(); }

  seek(seconds) {
    const on = this.playing;
    this.stop();
    this.offset = Math.max(0, Math.min(seconds, this.duration - 0.001));
    if (on) this.play();
    this.changed();
  }

  choose(number) {
    if (number < 0 || number >= this.versions.length || number === this.current) return;
    if (this.playing) {
      this.fade(this.voices[this.current].gain, 0);
      this.fade(this.voices[number].gain, 1);
    }
    this.current = number;
    this.changed();
  }

  setRepeat(on) {
    this.repeat = on;
    for (const { source } of this.voices) source.loop = on;
  }

  fade(gain, value) {
    const now = this.context.currentTime;
    gain.gain.cancelScheduledValues(now);
    gain.gain.setValueAtTime(gain.gain.value, now);
    gain.gain.linearRampToValueAtTime(value, now + FADE);
  }

  position() {
    if (!this.playing) return this.offset;
    return Math.max(0, this.context.currentTime - this.began) % this.duration;
  }
}

function decoded(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const samples = new DataView(bytes.buffer);
  const buffer = new AudioBuffer({ length: Math.max(1, bytes.length >> 1), numberOfChannels: 1, sampleRate: RATE });
  const channel = buffer.getChannelData(0);
  for (let i = 0; i < bytes.length >> 1; i++) channel[i] = samples.getInt16(2 * i, true) / 32768; // exact, unlike decodeAudioData
  return buffer;
}

// The sound of a clip is a classic script: pages opened from disk may not fetch anything else.
const loading = new Map();
function loadSounds(id) {
  if (!loading.has(id)) {
    loading.set(id, new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `page/${encodeURIComponent(id)}.js`;
      script.onload = () => { resolve(window.speechadv[id].map(decoded)); delete window.speechadv[id]; };
      script.onerror = () => { loading.delete(id); reject(new Error(`page/${id}.js cannot be read`)); };
      document.head.append(script);
    }));
  }
  return loading.get(id);
}

function drawWave(canvas, version, position) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const pen = canvas.getContext("2d"), colours = getComputedStyle(document.documentElement);
  pen.clearRect(0, 0, width, height);
  if (!version) return;
  const samples = version.buffer.getChannelData(0), middle = height / 2, scale = 0.95 * middle / version.peak;
  pen.fillStyle = colours.getPropertyValue("--accent");
  for (let x = 0; x < width; x++) {
    const from = Math.floor(x * samples.length / width), to = Math.max(from + 1, Math.floor((x + 1) * samples.length / width));
    let low = Infinity, high = -Infinity;
    for (let i = from; i < to; i++) { low = Math.min(low, samples[i]); high = Math.max(high, samples[i]); }
    pen.fillRect(x, middle - high * scale, 1, Math.max(1, (high - low) * scale));
  }
  pen.fillStyle = colours.getPropertyValue("--bad");
  pen.fillRect(position / version.buffer.duration * width - ratio, 0, 2 * ratio, height);
}
