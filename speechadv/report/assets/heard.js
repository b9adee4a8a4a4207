// What the networks heard: beside the player, before and after, with probabilities where the run has them.

const FOOLED = ["target heard", "other word heard"];
const SIGNS = { "target heard": "✗ ", "other word heard": "✗ ", "still right": "✓ ", "wrong before": "– " };

const outcomeText = (row) => row.outcome === null ? "–" : SIGNS[row.outcome] + row.outcome;
const outcomeClass = (row) => FOOLED.includes(row.outcome) ? "fooled" : row.outcome === "still right" ? "held" : "";
const percent = (share) => share >= 0.9995 ? "100\u00a0%" : share < 0.0005 ? "0\u00a0%" : `${(100 * share).toFixed(1)}\u00a0%`;

// A word with its probability, a bar, and the runners-up. `likeliest` is [[word, probability], …] or null.
function heardCell(word, likeliest) {
  const cell = make("td", {}, make("strong", {}, word));
  if (!likeliest) return cell;
  const own = likeliest.find(([other]) => other === word);
  if (own) {
    const bar = make("span", { class: "bar", "aria-hidden": "true" }, make("span"));
    bar.firstChild.style.width = `${100 * own[1]}%`;
    cell.append(` ${percent(own[1])}`, bar);
  }
  const others = likeliest.filter(([other, share]) => other !== word && share >= 0.0005);
  if (others.length) cell.append(make("small", {}, others.map(([other, share]) => `${other} ${percent(share)}`).join(", ")));
  return cell;
}

function showHeard(table, those) {
  const head = ["network", "before", "after"].map((text) => make("th", { scope: "col" }, text));
  const lines = those.map((row) => make("tr", {},
    make("th", { scope: "row" }, row.model + (row.defense === "none" ? "" : ` behind ${row.defense}`), make("span", { class: `verdict ${outcomeClass(row)}` }, outcomeText(row))),
    heardCell(row.clean_prediction, row.clean_probabilities), heardCell(row.adversarial_prediction, row.adversarial_probabilities)));
  table.replaceChildren(make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...lines));
}

// What the network of the chosen row, or the first one, heard in a version.
function heardAs(row, those, version) {
  if (row.outcome === null || version.kind === "perturbation") return "";
  if (version.kind === "clean") return row.clean_prediction;
  const fitting = those.filter((other) => other.defense === (version.kind === "defended" ? version.defense : "none"));
  const found = fitting.find((other) => other.model === row.model) || fitting[0];
  return found ? found.adversarial_prediction : "";
}
