// A table of which only the lines in sight exist, with filters and sorting. `pick(row, play)` is called with the index of a chosen row,
// `changed()` whenever other rows are shown.

const MARGIN = 8; // lines kept above and below what is in sight

class Grid {
  constructor(rows, columns, elements, pick, changed) {
    Object.assign(this, { rows, columns, pick, changed, ...elements });
    this.view = rows.map((_, index) => index);
    this.chosen = -1;
    this.sort = { column: null, down: false };
    this.filters = [];
    this.head();
    this.table.addEventListener("keydown", (event) => this.key(event));
    this.body.addEventListener("click", (event) => this.click(event));
    this.scroller.addEventListener("scroll", () => this.draw());
    window.addEventListener("resize", () => this.draw());
  }

  get rowHeight() { return 2.25 * parseFloat(getComputedStyle(document.documentElement).fontSize); }

  head() {
    const line = make("tr", { "aria-rowindex": 1 });
    for (const column of this.columns) {
      const button = make("button", { type: "button" }, column.label);
      button.addEventListener("click", () => this.sortBy(column));
      column.cell = make("th", { scope: "col", class: classes(column) }, button);
      column.cell.dataset.label = column.label;
      line.append(column.cell);
    }
    this.table.querySelector("thead").append(line);
  }

  sortBy(column) {
    const down = this.sort.column === column ? !this.sort.down : false;
    this.sort = { column, down };
    for (const other of this.columns) {
      const on = other === column;
      on ? other.cell.setAttribute("aria-sort", down ? "descending" : "ascending") : other.cell.removeAttribute("aria-sort");
      other.cell.firstChild.textContent = other.label + (on ? (down ? " ▼" : " ▲") : "");
    }
    this.update();
  }

  update() {
    this.view = [];
    this.rows.forEach((row, index) => { if (this.filters.every((passes) => passes(row))) this.view.push(index); });
    const { column, down } = this.sort;
    if (column) {
      const values = this.rows.map((row) => column.value(row));
      this.view.sort((a, b) => compare(values[a], values[b], down) || a - b);
    }
    this.scroller.scrollTop = 0;
    this.count.textContent = `${this.view.length} of ${this.rows.length} rows`;
    this.draw();
    this.changed();
  }

  draw() {
    const height = this.rowHeight, count = this.view.length;
    const first = Math.max(0, Math.min(count - 1, Math.floor(this.scroller.scrollTop / height)) - MARGIN);
    const last = Math.min(count, first + Math.ceil(this.scroller.clientHeight / height) + 2 * MARGIN);
    const lines = [];
    for (let place = first; place < last; place++) lines.push(this.line(place));
    this.body.replaceChildren(this.space(first * height), ...lines, this.space((count - last) * height));
    this.table.setAttribute("aria-rowcount", count + 1);
    const shown = this.body.querySelector("[aria-selected=true]");
    shown ? this.table.setAttribute("aria-activedescendant", shown.id) : this.table.removeAttribute("aria-activedescendant");
  }

  space(height) {
    const cell = make("td", { colspan: this.columns.length });
    cell.style.height = `${Math.max(0, height)}px`;
    return make("tr", { class: "space", role: "presentation" }, cell);
  }

  line(place) {
    const index = this.view[place], row = this.rows[index];
    const line = make("tr", { id: `row-${index}`, "aria-rowindex": place + 2, "aria-selected": index === this.chosen });
    line.dataset.index = index;
    for (const column of this.columns) {
      const text = column.text(row);
      line.append(make("td", { class: classes(column, row), title: text }, text));
    }
    return line;
  }

  choose(index, play) {
    this.chosen = index;
    const place = this.view.indexOf(index), height = this.rowHeight;
    const header = this.table.querySelector("thead").offsetHeight;
    if (place >= 0) {
      const top = place * height, bottom = top + height + header;
      if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
      else if (bottom > this.scroller.scrollTop + this.scroller.clientHeight) this.scroller.scrollTop = bottom - this.scroller.clientHeight;
    }
    this.draw();
    this.pick(index, play);
  }

  click(event) {
    const line = event.target.closest("tr[data-index]");
    if (line) this.choose(Number(line.dataset.index), true);
  }

  key(event) {
    if (event.target !== this.table || event.ctrlKey || event.metaKey || event.altKey || !this.view.length) return;
    const place = this.view.indexOf(this.chosen), page = Math.max(1, Math.floor(this.scroller.clientHeight / this.rowHeight) - 2), end = this.view.length - 1;
    const to = { ArrowDown: place + 1, ArrowUp: place - 1, PageDown: place + page, PageUp: place - page, Home: 0, End: end, Enter: place }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.choose(this.view[Math.max(0, Math.min(end, to))], event.key === "Enter");
  }
}

function compare(a, b, down) {
  if (a === null || b === null) return (a === null) - (b === null); // what is undefined comes last either way
  const order = typeof a === "number" ? a - b : a < b ? -1 : a > b ? 1 : 0;
  return down ? -order : order;
}

function classes(column, row) {
  return [column.number && "number", column.show, row && column.mark && column.mark(row)].filter(Boolean).join(" ");
}

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== "") element.setAttribute(key, value);
  element.append(...children);
  return element;
}
