// How often each word was heard as each other one, counted over the rows that the filter shows.

// Counts of the rows whose clip was heard right before: `lines` and `heads` are words, `cells` a Map from "line\nhead" to {hits, all}.
// In a targeted run a head is the target and a hit a success; without targets a head is what was heard, out of all rows of the line's word.
function wordMatrix(rows) {
  const right = rows.filter((row) => row.outcome !== null && row.outcome !== "wrong before"), cells = new Map(), totals = new Map();
  for (const row of right) {
    const key = `${row.label}\n${row.target ?? row.adversarial_prediction}`, cell = cells.get(key) || { hits: 0, all: 0 };
    cell.all += row.target === null ? 0 : 1;
    cell.hits += row.target === null || row.outcome === "target heard" ? 1 : 0;
    cells.set(key, cell);
    totals.set(row.label, (totals.get(row.label) || 0) + 1);
  }
  for (const row of right) if (row.target === null) cells.get(`${row.label}\n${row.adversarial_prediction}`).all = totals.get(row.label);
  const words = (part) => [...new Set([...cells.keys()].map((key) => key.split("\n")[part]))].sort();
  return { lines: words(0), heads: words(1), cells, rows: right.length };
}

function showMatrix(section, table, about, rows) {
  const { lines, heads, cells, rows: counted } = wordMatrix(rows), targeted = rows.some((row) => row.target !== null);
  section.hidden = !rows.some((row) => row.outcome !== null);
  about.textContent = `Of the ${counted} rows that the filter above shows and whose clip was heard right before: how often a word (line) was heard as ` +
    (targeted ? "the target (column), out of the rows with that target." : "the word in the column, out of the word's rows.");
  const head = make("tr", {}, make("th", { scope: "col" }, targeted ? "word → target" : "word → heard"), ...heads.map((word) => make("th", { scope: "col" }, word)));
  const body = lines.map((line) => make("tr", {}, make("th", { scope: "row" }, line), ...heads.map((word) => matrixCell(cells.get(`${line}\n${word}`)))));
  table.replaceChildren(make("thead", {}, head), make("tbody", {}, ...body));
}

function matrixCell(cell) {
  if (!cell) return make("td", { class: "empty" }, "·");
  const found = make("td", {}, `${cell.hits}/${cell.all}`);
  found.style.setProperty("--share", `${Math.round(45 * cell.hits / cell.all)}%`);
  return found;
}
