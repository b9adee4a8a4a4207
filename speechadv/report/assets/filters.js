// The fields above the table: each adds a test that a row must pass.

const CHOICES = ["label", "target", "outcome", "adversarial_prediction", "model", "defense", "attack", "threat", "budget", "seed", "silent"];

function fillFilters(form, grid) {
  const field = (label, input) => {
    form.append(make("label", {}, label, input));
    input.addEventListener("input", () => grid.update());
    return input;
  };
  const search = field("search", make("input", { type: "search", autocomplete: "off" }));
  grid.filters = [(row) => search.value.trim().toLowerCase().split(/\s+/).every((word) => textOf(row).includes(word))];
  for (const column of grid.columns.filter(({ key }) => CHOICES.includes(key))) {
    const texts = [...new Set(grid.rows.map((row) => column.text(row)))].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    const select = field(column.label, make("select", {}, new Option("all", ""), ...texts.map((text) => new Option(text, text))));
    grid.filters.push((row) => !select.value || column.text(row) === select.value);
  }
  const bound = (label, passes) => {
    const input = field(label, make("input", { type: "number", step: "any" }));
    grid.filters.push((row) => input.value === "" || Number.isNaN(input.valueAsNumber) || (row.snr_db !== null && passes(row.snr_db, input.valueAsNumber)));
  };
  bound("SNR at least (dB)", (value, least) => value >= least);
  bound("SNR at most (dB)", (value, most) => value <= most);
  form.addEventListener("submit", (event) => event.preventDefault());
}

// All words of a row, made when somebody searches for the first time.
function textOf(row) {
  row.text ??= Object.values(row).filter((value) => typeof value === "string").join(" ").toLowerCase();
  return row.text;
}
