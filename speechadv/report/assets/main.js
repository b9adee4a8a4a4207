// The page: rows into the grid, a chosen row into the player.

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const rows = unpackedRows(data);
const bySound = grouped(rows);
const fixed = (value, digits, unit = "") => value === null ? "–" : value.toFixed(digits).replace(/^-(?=[0.]*$)/, "") + unit; // no "-0.0"

function grouped(list) {
  const found = new Map(list.map(({ sound }) => [sound, []]));
  for (const row of list) found.get(row.sound).push(row);
  return found;
}

// Objects from columns; see speechadv/report/listing.py.
function unpackedRows({ count, columns, probabilities }) {
  const values = Object.entries(columns).map(([key, column]) => [key, Array.isArray(column) ? (i) => column[i] : (i) => column.words[column.at[i]] ?? null]);
  const likeliest = Object.entries(probabilities).map(([key, { words, at }]) => [key, (i) => at[i] && pairs(at[i]).map(([word, share]) => [words[word], share / 1000])]);
  return Array.from({ length: count }, (_, i) => Object.fromEntries([...values, ...likeliest].map(([key, value]) => [key, value(i)])));
}

function pairs(flat) { return Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]); }

const word = (key, label, more = {}) => ({ key, label, value: (row) => row[key], text: (row) => row[key] === null ? "–" : String(row[key]), ...more });
const number = (key, label, digits, factor = 1) => ({ key, label, number: true, value: (row) => row[key], show: key === "snr_db" ? "" : "wide",
  text: (row) => fixed(row[key] === null ? null : row[key] * factor, digits) });
const ALWAYS = ["label", "target", "outcome", "snr_db", "clip"]; // columns that stay though all rows agree
const lsb = (row) => row.linf === null ? null : row.linf * 32768;
const columns = [
  word("label", "word"),
  word("target", "target"),
  { key: "outcome", label: "outcome", value: (row) => row.outcome, text: outcomeText, mark: outcomeClass },
  word("adversarial_prediction", "heard after", { show: "wide" }),
  word("model", "network", { show: "wide" }),
  word("defense", "defense"),
  word("attack", "attack", { show: "wide" }),
  word("threat", "threat", { show: "wide" }),
  word("budget", "budget"),
  word("seed", "seed", { number: true, show: "wide" }),
  number("snr_db", "SNR (dB)", 1),
  number("linf", "L∞ (LSB)", 0, 32768),
  number("masking_excess_db", "masking excess (dB)", 1),
  ...data.measures.map(([key, head, digits]) => number(key, head, digits)),
  number("passes", "passes", 0),
  number("queries", "queries", 0),
  { key: "silent", label: "sound", value: (row) => row.silent, text: (row) => row.silent ?? "kept" },
  word("clip", "clip"),
].filter(({ key }) => new Set(rows.map((row) => row[key])).size > 1 || (ALWAYS.includes(key) && rows.some((row) => row[key] !== null)));

const player = new Player(showPlayer);
let wanted = -1; // the row whose sound is asked for: a slower answer for an earlier one is dropped
let spectra = null; // of the chosen clip

// The rows that score the same sound with the same attack, each network and defense once.
function siblings(row) { return row.sound === null ? [row] : bySound.get(row.sound).filter((other) => other.attack === row.attack); }

async function pick(index, play) {
  wanted = index;
  const row = rows[index], on = player.playing;
  showClip(row);
  if (row.sound === null) {
    showSound(row, { versions: [], threshold: null });
    $("status").textContent = `Nothing to play: sound ${row.silent}.`;
    return;
  }
  $("status").textContent = "Loading …";
  try {
    const sound = await loadSound(row.sound);
    if (wanted !== index) return;
    showSound(row, sound);
    if (play || on) player.play();
  } catch (problem) {
    if (wanted !== index) return;
    showSound(row, { versions: [], threshold: null });
    $("status").textContent = `${problem.message}: \`speechadv report\` makes it again.`;
  }
}

function showClip(row) {
  $("clip-title").textContent = row.label === null ? row.clip : `“${row.label}”` + (row.target === null ? "" : ` → “${row.target}”`);
  const facts = [row.label === null ? null : row.clip, row.budget && `budget ${row.budget}`, row.attack && `${row.attack}, ${row.threat}`, `SNR ${fixed(row.snr_db, 1, " dB")}`,
    row.linf === null ? null : `L∞ ${fixed(lsb(row), 0, " LSB")}`, row.masking_excess_db === null ? null : `masking excess ${fixed(row.masking_excess_db, 1, " dB")}`,
    ...data.measures.map(([key, head, digits]) => head.endsWith(" dB") ? `${head.slice(0, -3)} ${fixed(row[key], digits)} dB` : `${head} ${fixed(row[key], digits)}`), row.quality_gaps];
  $("clip-facts").textContent = facts.filter(Boolean).join(" · ");
  $("hearing").hidden = row.outcome === null;
  if (row.outcome !== null) showHeard($("heard"), siblings(row));
  $("weights").textContent = row.outcome !== null && row.defense === "none"
    ? `Nothing stands before ${row.model}: it hears the clip as it is. A network that was trained adversarially changes no sound, so there is nothing more to play.` : "";
}

function showSound(row, sound) {
  const { versions } = sound;
  for (const version of versions) {
    version.mel ??= logMel(version.samples);
    version.peak ??= version.samples.reduce((most, x) => Math.max(most, Math.abs(x)), 0.01);
  }
  const loudest = Math.max(...versions.filter(({ kind }) => kind !== "perturbation").map(({ peak }) => peak)); // one scale, but for what is amplified
  for (const version of versions) {
    if (version.kind !== "perturbation") version.peak = loudest;
    version.loudest = versions[0].mel.reduce((a, b) => Math.max(a, b));
  }
  if (sound.threshold) sound.spectra ??= spectraOf(sound);
  spectra = sound.spectra || null;
  $("masked").hidden = !spectra;
  player.load(versions);
  showVersions(row);
  showFiles(versions);
  showPlayer();
}

function showVersions(row) {
  const set = $("versions"), those = siblings(row);
  set.replaceChildren(set.querySelector("legend"));
  player.versions.forEach((version, i) => {
    const input = make("input", { type: "radio", name: "version", value: i });
    input.checked = i === player.current;
    input.addEventListener("change", () => player.choose(i));
    const name = version.gain === null ? version.name : `${version.name}, amplified by ${version.gain} dB`, said = heardAs(row, those, version);
    set.append(make("label", { class: "version" }, input, make("span", { class: "name" }, name), make("span", { class: "said" }, said && `heard: ${said}`),
      i < 9 ? make("kbd", { "aria-hidden": "true" }, String(i + 1)) : ""));
  });
}

// Links to the files; a single file stands alone and only names them.
function showFiles(versions) {
  const entries = versions.flatMap(({ name, path, href }, i) => [i ? " · " : "", data.single ? `${name} ${path}` : make("a", { href }, name)]);
  $("files").replaceChildren(...(versions.length ? ["Files: "] : []), ...entries);
}

function showPlayer() {
  const { version, playing } = player;
  $("play").disabled = $("seek").disabled = !version;
  $("play-sign").textContent = playing ? "❚❚" : "▶";
  $("play-word").textContent = playing ? "Pause" : "Play";
  const input = document.querySelectorAll("#versions input")[player.current];
  if (input) input.checked = true;
  if (version) $("status").textContent = `${playing ? "Playing" : "Ready"}: ${version.name}`;
  follow();
}

let following = false; // one frame at a time is asked for
function follow() {
  showPosition();
  if (!player.playing || following) return;
  following = true;
  requestAnimationFrame(() => { following = false; follow(); });
}

function showPosition() {
  const at = player.position(), share = player.duration ? at / player.duration : 0;
  $("clock").textContent = player.version ? `${at.toFixed(2)} of ${player.duration.toFixed(2)} s` : "";
  $("seek").max = player.duration || 1;
  if (document.activeElement !== $("seek") || player.playing) $("seek").value = at;
  drawWave($("wave"), player.version, share);
  drawMel($("mel"), player.version, share);
  showSpectrum(at);
}

function showSpectrum(at) {
  if (!spectra || !$("masked").open) return;
  const frame = $("frame").value === "loudest" ? spectra.loudest : frameAt(at, spectra.excess.length), over = spectra.excess[frame];
  drawSpectrum($("spectrum"), spectra, frame);
  $("excess").textContent = `At ${frameTime(frame).toFixed(2)} s the loudest bin of the perturbation, as it was added, lies ${Math.abs(over).toFixed(1)} dB ` +
    `${over > 0 ? "above" : "below"} the masking threshold (full scale at 96 dB SPL).`;
}

function drawScale() {
  $("mel-scale").style.background = `linear-gradient(to right, ${[0, 0.25, 0.5, 0.75, 1].map((share) => `rgb(${viridis(share).join(" ")})`).join(", ")})`;
}

// Space belongs to the player, but not where it types or presses something else.
function typesOrPresses(element) {
  return element.closest("select, textarea, button, summary, input:not([type=radio]):not([type=range])") !== null;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const element = event.target instanceof Element ? event.target : document.body;
  const types = element.closest("select, textarea, input:not([type=radio]):not([type=checkbox]):not([type=range])");
  if (event.key === " " && !typesOrPresses(element)) {
    event.preventDefault();
    if (!event.repeat) (abx.running ? abx.player : player).toggle();
  } else if (types) {
    return;
  } else if (abx.running) {
    if (!event.repeat && abx.key(event.key)) event.preventDefault();
  } else if (/^[1-9]$/.test(event.key)) {
    player.choose(Number(event.key) - 1);
  }
});

$("play").addEventListener("click", () => player.toggle());
$("repeat").addEventListener("change", (event) => player.setRepeat(event.target.checked));
$("seek").addEventListener("input", (event) => player.seek(event.target.valueAsNumber));
for (const id of ["wave", "mel"]) $(id).addEventListener("click", (event) => player.seek(event.offsetX / event.target.clientWidth * player.duration));
$("frame").addEventListener("change", showPosition);
$("masked").addEventListener("toggle", showPosition);
$("expand").addEventListener("click", () => {
  const on = document.querySelector(".player").classList.toggle("expanded");
  $("expand").setAttribute("aria-expanded", on);
  $("expand").textContent = on ? "Less" : "More";
  showPosition();
});
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showPosition);
window.addEventListener("resize", showPosition);
if (window.matchMedia("(max-width: 45rem)").matches) $("filtering").open = false;
const grid = new Grid(rows, columns, { table: $("grid"), body: $("grid").querySelector("tbody"), scroller: $("scroller"), count: $("count") }, pick,
  () => showMatrix($("words"), $("matrix"), $("words-about"), grid.view.map((index) => rows[index])));
const abx = new AbxRoom(rows, { shown: () => grid.view.map((index) => rows[index]), chosen: () => rows[grid.chosen], begun: () => player.playing && player.pause() });
fillFilters($("filters"), grid);
grid.update();
drawScale();
for (const head of document.querySelectorAll("main h2")) {
  if (!head.parentElement.hidden) $("parts").append(make("a", { href: `#${head.parentElement.id || head.id}` }, head.textContent));
}
if (rows.length) grid.choose(data.first, false);
performance.mark("opened"); // what a test measures
