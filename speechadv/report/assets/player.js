// Plays the versions of one clip on one clock: all of them run, one is loud. Switching is a cross-fade, so nothing is lost or repeated.

const FADE = 0.008; // s
const LEAD = 0.02; // s between the call and the first sample

let context = null; // one for the page, made at the first key or click: before that browsers refuse sound
function audioContext() {
  if (!context) context = new AudioContext({ sampleRate: RATE });
  context.resume();
  return context;
}

class Player {
  constructor(changed) {
    this.changed = changed; // called after every change of state
    this.versions = []; // {samples, …}
    this.voices = [];
    this.current = 0;
    this.offset = 0; // s, where playing goes on
    this.repeat = true;
  }

  get context() { return context; }
  get playing() { return this.voices.length > 0; }
  get version() { return this.versions[this.current]; }
  get duration() { return this.versions.length ? this.versions[0].samples.length / RATE : 0; }

  load(versions) {
    this.stop();
    this.versions = versions;
    this.current = Math.min(this.current, Math.max(0, versions.length - 1));
    this.offset = 0;
    this.changed();
  }

  play() {
    if (!this.versions.length || this.playing) return;
    const when = audioContext().currentTime + LEAD;
    this.began = when - this.offset;
    this.voices = this.versions.map((version, number) => this.voice(bufferOf(version), number === this.current, when));
    this.voices[0].source.onended = () => { this.voices = []; this.offset = 0; this.changed(); };
    this.changed();
  }

  voice(buffer, loud, when) {
    const source = new AudioBufferSourceNode(context, { buffer, loop: this.repeat });
    const gain = new GainNode(context, { gain: loud ? 1 : 0 });
    source.connect(gain).connect(context.destination);
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
      source.stop(context.currentTime + FADE);
    }
    this.voices = [];
  }

  toggle() { this.playing ? this.pause() : this.play(); }

  seek(seconds) {
    const on = this.playing;
    this.stop();
    this.offset = Math.max(0, Math.min(seconds, this.duration - 0.001));
    if (on) this.play();
    else this.changed();
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
    const now = context.currentTime;
    gain.gain.cancelScheduledValues(now);
    gain.gain.setValueAtTime(gain.gain.value, now);
    gain.gain.linearRampToValueAtTime(value, now + FADE);
  }

  position() {
    if (!this.playing) return this.offset;
    return Math.max(0, context.currentTime - this.began) % this.duration;
  }
}

function bufferOf(version) {
  if (!version.buffer) {
    version.buffer = new AudioBuffer({ length: Math.max(1, version.samples.length), numberOfChannels: 1, sampleRate: RATE });
    version.buffer.copyToChannel(version.samples, 0);
  }
  return version.buffer;
}
