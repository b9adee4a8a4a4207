// The blind test: A and B are two versions of a clip, X is one of them again. Nothing tells which until all trials are answered.

// The chance of at least `correct` right of `trials` by guessing: exact, one-sided binomial.
function guessChance(correct, trials) {
  let term = 0.5 ** trials, sum = 0; // C(trials, k) / 2^trials, from k = trials down
  for (let k = trials; k >= correct; k--) {
    sum += term;
    term *= k / (trials - k + 1);
  }
  return Math.min(1, sum);
}

const coin = () => crypto.getRandomValues(new Uint8Array(1))[0] & 1;
const drawn = (list) => list[Math.floor(crypto.getRandomValues(new Uint32Array(1))[0] / 2 ** 32 * list.length)];

// A field of a CSV file (RFC 4180).
const csvField = (value) => /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : String(value);

class AbxTest {
  // `clips`: IDs to draw from. Which version is A, and which one X is, is drawn for each trial.
  constructor(number, clips) {
    this.trials = Array.from({ length: number }, () => ({ clip: drawn(clips), swapped: coin(), x: "ab"[coin()], answer: null, names: null }));
    this.at = 0;
  }

  get trial() { return this.trials[this.at]; }
  get done() { return this.at === this.trials.length; }
  get correct() { return this.trials.filter(({ x, answer }) => x === answer).length; }
  get chance() { return guessChance(this.correct, this.trials.length); }

  answer(letter) {
    this.trial.answer = letter;
    this.at++;
  }

  csv() {
    const lines = this.trials.map(({ names: [a, b], x, answer }, i) => [String(i + 1), a, b, x, answer, String(x === answer)]);
    return [["trial", "a", "b", "x", "answer", "correct"], ...lines].map((line) => line.map(csvField).join(",") + "\r\n").join("");
  }
}

// Which two versions can be compared, and for which rows: {name, of: the two tests of a version, rows}.
function abxPairs(rows) {
  const clean = (version) => version.kind === "clean", adversarial = (version) => version.kind === "adversarial";
  const audible = rows.filter((row) => row.sound !== null && row.linf !== 0); // an attack that changed nothing leaves nothing to hear
  const pairs = [{ name: "clean and adversarial", of: [clean, adversarial], fits: (row) => row.outcome !== null }];
  for (const defense of new Set(audible.map((row) => row.defense))) {
    if (defense === "none") continue;
    const after = (version) => version.kind === "defended" && version.defense === defense, fits = (row) => row.defense === defense;
    pairs.push({ name: `clean and after ${defense}`, of: [clean, after], fits });
    pairs.push({ name: `adversarial and after ${defense}`, of: [adversarial, after], fits: (row) => fits(row) && row.outcome !== null });
  }
  return pairs.filter(({ fits }) => audible.some(fits)).map((pair) => ({ ...pair, fits: (row) => row.sound !== null && row.linf !== 0 && pair.fits(row) }));
}

// The form, the trials and the result. `shown()` gives the rows of the filter, `chosen()` the chosen row; `begun()` is called when a test begins.
class AbxRoom {
  constructor(rows, { shown, chosen, begun }) {
    Object.assign(this, { shown, chosen, begun, test: null, pairs: abxPairs(rows) });
    this.player = new Player(() => this.draw());
    $("abx").hidden = !this.pairs.length;
    $("abx-pair").replaceChildren(...this.pairs.map(({ name }, i) => new Option(name, i)));
    $("abx-choices").addEventListener("submit", (event) => { event.preventDefault(); this.start(); });
    $("abx-play").addEventListener("click", () => this.player.toggle());
    $("abx-is-a").addEventListener("click", () => this.answer("a"));
    $("abx-is-b").addEventListener("click", () => this.answer("b"));
    $("abx-stop").addEventListener("click", () => this.stop("Given up: no result. A test that is stopped when it suits proves nothing."));
    this.voices = ["A", "B", "X"].map((name, i) => {
      const input = make("input", { type: "radio", name: "abx-voice", value: i });
      input.addEventListener("change", () => this.player.choose(i));
      $("abx-voices").append(make("label", { class: "version" }, input, name));
      return input;
    });
  }

  get running() { return this.test !== null; }

  start() {
    const pair = this.pairs[$("abx-pair").value], from = $("abx-clips").value === "chosen" ? [this.chosen()].filter(Boolean) : this.shown();
    const clips = [...new Set(from.filter(pair.fits).map((row) => row.sound))];
    $("abx-result").hidden = true;
    if (!clips.length) { $("abx-status").textContent = "None of these rows has both versions, different ones: choose other clips or another pair."; return; }
    this.begun();
    this.pair = pair;
    this.test = new AbxTest($("abx-trials").valueAsNumber, clips);
    $("abx-run").hidden = false;
    $("abx-start").disabled = true;
    this.next(true);
  }

  async next(first) {
    const { test, pair } = this, trial = test.trial;
    $("abx-title").textContent = `Trial ${test.at + 1} of ${test.trials.length}`;
    this.enable(false);
    try {
      const { versions } = await loadSound(trial.clip), two = pair.of.map((fits) => versions.find(fits));
      if (this.test !== test) return; // given up meanwhile
      if (trial.swapped) two.reverse();
      trial.names = two.map(({ path }) => path);
      this.player.current = 0;
      this.player.load([...two, two["ab".indexOf(trial.x)]].map(({ samples, buffer }) => ({ samples, buffer })));
      this.enable(true);
      $("abx-status").textContent = "";
      first ? $("abx-title").focus() : this.player.play();
    } catch (problem) {
      this.stop(`${problem.message}: the test ends without a result.`);
    }
  }

  answer(letter) {
    if (!this.running || $("abx-is-a").disabled) return;
    this.test.answer(letter);
    this.test.done ? this.finish() : this.next(false);
  }

  finish() {
    const { test } = this, number = test.trials.length;
    this.stop("");
    $("abx-verdict").textContent = `${test.correct} of ${number} right, p = ${test.chance.toPrecision(2)}`;
    $("abx-meaning").textContent = `Who only guesses has ${test.correct} or more of ${number} right with a probability of ${test.chance.toPrecision(2)} ` +
      "(exact one-sided binomial). " + (test.chance < 0.05 ? "That is unlikely: you hear a difference." : "That is no sign of a difference, and no proof that there is none.");
    URL.revokeObjectURL($("abx-download").href);
    $("abx-download").href = URL.createObjectURL(new Blob([test.csv()], { type: "text/csv" }));
    $("abx-download").download = `abx-${new Date().toISOString().slice(0, 19).replaceAll(/[^0-9T]/g, "")}.csv`;
    $("abx-result").hidden = false;
    $("abx-verdict").focus();
  }

  stop(message) {
    this.test = null;
    this.player.load([]);
    $("abx-run").hidden = true;
    $("abx-start").disabled = false;
    $("abx-status").textContent = message;
  }

  enable(on) { for (const id of ["abx-play", "abx-is-a", "abx-is-b"]) $(id).disabled = !on; }

  // Keys of a running test; whether one was meant for it.
  key(key) {
    const voice = "abx".indexOf(key.toLowerCase()), answer = "12".indexOf(key);
    if (voice >= 0) this.player.choose(voice);
    else if (answer >= 0) this.answer("ab"[answer]);
    return voice >= 0 || answer >= 0;
  }

  draw() {
    $("abx-play").textContent = this.player.playing ? "Pause" : "Play";
    this.voices.forEach((input, i) => { input.checked = i === this.player.current; });
  }
}
