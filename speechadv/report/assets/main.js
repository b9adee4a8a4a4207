// The page: rows into the grid, a chosen row into the player.

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const rows = data.rows.map((values) => Object.fromEntries(data.keys.map((key, i) => [key, values[i]])));
const fixed = (value, digits, unit) => value === null ? "–" : value.toFixed(digits).replace(/^-(?=[0.]*$)/, "") + unit; // no "-0.0"
const FOOLED = ["target heard", "other word heard"];
const sign = { "target heard": "✗ ", "other word heard": "✗ ", "still right": "✓ ", "wrong before": "– " };

const word = (key, label, more = {}) => ({ key, label, value: (row) => row[key], text: (row) => row[key] === null ? "–" : String(row[key]), ...more });
const columns = [
  word("label", "word"),
  word("target", "target"),
  { key: "outcome", label: "outcome", value: (row) => row.outcome, text: (row) => sign[row.outcome] + row.outcome,
    mark: (row) => FOOLED.includes(row.outcome) ? "fooled" : row.outcome === "still right" ? "held" : "" },
  word("adversarial_prediction", "heard after", { show: "widest" }),
  word("model", "network", { show: "wide" }),
  word("defense", "defense"),
  word("attack", "attack", { show: "wide" }),
  word("threat", "threat", { show: "wide" }),
  word("budget", "budget"),
  word("seed", "seed", { number: true, show: "wide" }),
  { key: "snr_db", label: "SNR (dB)", number: true, value: (row) => row.snr_db, text: (row) => fixed(row.snr_db, 1, "") },
  { key: "linf", label: "L∞ (LSB)", number: true, show: "widest", value: (row) => row.linf, text: (row) => fixed(row.linf === null ? null : row.linf * 32768, 0, "") },
  word("clip", "clip", { show: "widest" }),
].filter((column) => column.key === "label" || !data.constant.includes(column.key));

const player = new Player(showPlayer);
let wanted = -1; // the row whose sound is asked for: a slower answer for an earlier one is dropped

function soundsOf(row) { return row.sound === null ? [] : data.sounds[row.sound]; }

async function pick(index, play) {
  wanted = index;
  const row = rows[index], on = player.playing;
  $("clip-title").textContent = `“${row.label}”` + (row.target === null ? "" : ` → “${row.target}”`);
  $("clip-facts").textContent = [row.clip, `budget ${row.budget}`, `${row.attack}, ${row.threat}`, `SNR ${fixed(row.snr_db, 1, " dB")}`,
    `L∞ ${fixed(row.linf === null ? null : row.linf * 32768, 0, " LSB")}`, `masking excess ${fixed(row.masking_excess_db, 1, " dB")}`].join(" · ");
  showHeard(row);
  if (row.sound === null) {
    player.load([]);
    showVersions(row);
    $("status").textContent = "The sound of this row was not kept.";
    return;
  }
  $("status").textContent = "Loading …";
  try {
    const buffers = await loadSounds(row.sound);
    if (wanted !== index) return;
    const versions = soundsOf(row).map((version, i) => ({ ...version, buffer: buffers[i] }));
    const peaks = versions.map(({ buffer }) => buffer.getChannelData(0).reduce((most, x) => Math.max(most, Math.abs(x)), 0.01));
    const loudest = Math.max(...peaks.filter((_, i) => versions[i].kind !== "perturbation")); // one scale, but for what is amplified
    versions.forEach((version, i) => { version.peak = version.kind === "perturbation" ? peaks[i] : loudest; });
    player.load(versions);
    showVersions(row);
    if (play || on) player.play();
    else showPlayer();
  } catch (problem) {
    if (wanted === index) { player.load([]); $("status").textContent = `${problem.message}: \`speechadv report\` makes it again.`; }
  }
}

function showVersions(row) {
  const set = $("versions");
  set.replaceChildren(set.querySelector("legend"));
  player.versions.forEach((version, number) => {
    const input = make("input", { type: "radio", name: "version", value: number });
    input.checked = number === player.current;
    input.addEventListener("change", () => player.choose(number));
    const name = version.gain === null ? version.name : `${version.name}, amplified by ${version.gain} dB`;
    const said = heardAs(row, version);
    set.append(make("label", { class: "version" }, input, make("span", { class: "name" }, name), make("span", { class: "said" }, said && `heard: ${said}`),
      number < 9 ? make("kbd", { "aria-hidden": "true" }, String(number + 1)) : ""));
  });
}

// What the network of the chosen row, or the only one, heard in a version.
function heardAs(row, version) {
  const those = siblings(row), own = (list) => list.find((other) => other.model === row.model) || list[0];
  if (version.kind === "clean") return row.clean_prediction;
  const found = own(those.filter((other) => other.defense === (version.kind === "defended" ? version.defense : "none")));
  return version.kind === "perturbation" || !found ? "" : found.adversarial_prediction;
}

function siblings(row) {
  return row.sound === null ? [row] : rows.filter((other) => other.sound === row.sound && other.attack === row.attack);
}

function showHeard(row) {
  const head = ["network", "before", "after", "outcome"].map((text) => make("th", { scope: "col" }, text));
  const lines = siblings(row).map((other) => make("tr", {}, make("td", {}, other.model + (other.defense === "none" ? "" : ` behind ${other.defense}`)),
    make("td", {}, other.clean_prediction), make("td", {}, other.adversarial_prediction),
    make("td", { class: FOOLED.includes(other.outcome) ? "fooled" : "held" }, sign[other.outcome] + other.outcome)));
  $("heard").replaceChildren(make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...lines));
  const address = (path) => path.split("/").map(encodeURIComponent).join("/");
  $("files").replaceChildren(...(row.sound === null ? [] : ["Files: "]), ...soundsOf(row).flatMap((version, i) =>
    [i ? " · " : "", make("a", { href: address(version.path) }, version.name)]));
}

function showPlayer() {
  const version = player.versions[player.current];
  $("play").disabled = !version;
  $("play-sign").textContent = player.playing ? "❚❚" : "▶";
  $("play-word").textContent = player.playing ? "Pause" : "Play";
  const input = document.querySelectorAll("#versions input")[player.current];
  if (input) input.checked = true;
  if (version) $("status").textContent = `${player.playing ? "Playing" : "Ready"}: ${version.name}`;
  showPosition();
  if (player.playing) requestAnimationFrame(follow);
}

function follow() {
  showPosition();
  if (player.playing) requestAnimationFrame(follow);
}

function showPosition() {
  const at = player.position();
  $("clock").textContent = player.versions.length ? `${at.toFixed(2)} of ${player.duration.toFixed(2)} s` : "";
  drawWave($("wave"), player.versions[player.current], at);
}

function fillFilters(grid) {
  const values = {}, form = $("filters");
  const field = (label, input) => { form.append(make("label", {}, label, input)); input.addEventListener("input", () => grid.update()); return input; };
  const search = field("search", make("input", { type: "search", autocomplete: "off" }));
  for (const column of columns.filter(({ key }) => ["label", "target", "model", "defense", "threat", "budget", "outcome"].includes(key))) {
    const words = [...new Set(rows.map((row) => row[column.key]))].filter((value) => value !== null).sort();
    const select = make("select", {}, new Option("all", ""), ...words.map((value) => new Option(value, value)));
    values[column.key] = field(column.label, select);
  }
  const least = field("SNR at least (dB)", make("input", { type: "number", step: "any" }));
  grid.filters = [
    (row) => Object.entries(values).every(([key, select]) => !select.value || row[key] === select.value),
    (row) => least.value === "" || Number.isNaN(least.valueAsNumber) || (row.snr_db !== null && row.snr_db >= least.valueAsNumber),
    (row) => { const text = search.value.trim().toLowerCase(); return !text || row.text.includes(text); },
  ];
  form.addEventListener("submit", (event) => event.preventDefault());
}

// Space belongs to the player, but not where it types or presses something else.
function typesOrPresses(element) {
  return element.closest("select, textarea, button, a, summary, input:not([type=radio])") !== null;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const element = event.target instanceof Element ? event.target : document.body;
  if (event.key === " " && !typesOrPresses(element)) {
    event.preventDefault();
    if (!event.repeat) player.toggle();
  } else if (/^[1-9]$/.test(event.key) && !element.closest("select, textarea, input:not([type=radio]):not([type=checkbox])")) {
    player.choose(Number(event.key) - 1);
  }
});

for (const row of rows) row.text = data.keys.map((key) => key === "sound" ? "" : row[key]).join(" ").toLowerCase();
$("play").addEventListener("click", () => player.toggle());
$("repeat").addEventListener("change", (event) => player.setRepeat(event.target.checked));
$("wave").addEventListener("click", (event) => player.seek(event.offsetX / event.target.clientWidth * player.duration));
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showPosition);
window.addEventListener("resize", showPosition);
if (window.matchMedia("(max-width: 45rem)").matches) $("more").open = $("filtering").open = false;
const grid = new Grid(rows, columns, { table: $("grid"), body: $("grid").querySelector("tbody"), scroller: $("scroller"), count: $("count") }, pick);
fillFilters(grid);
grid.update();
if (rows.length) grid.choose(data.first, false);
