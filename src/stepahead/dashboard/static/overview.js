// All series: one page of the table, sorted and filtered where the data are.

import { element, setClass, setText } from "./element.js";
import { age, count, decimal, signed, skillClass } from "./format.js";

// Text, name to sort by, class, and what it means.
const HEADS = [
  ["", "", "", ""], ["series", "name", "text", ""], ["last value", "observed", "", "The newest reading"],
  ["", "", "text unit minor", "Its unit, where messages or settings tell it"],
  ["forecast", "forecast", "", "Of the next reading"], ["±", "width", "minor", "Half the width of the interval around the forecast"],
  ["in its interval", "", "text minor", "Where the newest reading fell in the interval published for it; the line is the forecast"],
  ["latest", "", "text minor", "The latest readings"], ["flags 1 h", "anomalies", "", "Readings flagged as improbable in the last hour"],
  ["skill", "skill", "", "The share of the last value's error that the forecast saves; below 0 it adds to it"],
  ["age", "age", "minor", "Time since a reading came"],
];
const HOLD_MS = 4000;
const DESCENDING_FIRST = new Set(["anomalies", "width", "age"]);
const CHIPS = [["all", "all"], ["flagged", "flagged in the last hour"], ["silent", "silent"], ["worse", "worse than last value"]];
const BAR = { width: 118, height: 14, from: 26, to: 92 };
const TRACE = { width: 110, height: 20 };

export class Overview {
  constructor(app) {
    this.app = app;
    this.query = { view: "overview", sort: "attention", order: "asc", text: "", only: "all", page: 0, size: 50, ...app.kept };
    this.keys = [];
    this.heldMs = 0;
    this.search = element("input", {
      type: "search", placeholder: "Filter by name", "aria-label": "Filter by name", value: this.query.text,
      oninput: () => this.ask({ text: this.search.value, page: 0 }),
    });
    this.chips = CHIPS.map(([name, text]) => element("button", {
      type: "button", "data-only": name, onclick: () => this.ask({ only: name, page: 0 }),
    }, text));
    this.attention = element("button", {
      type: "button", title: "Flagged first, then silent, then most anomalies",
      onclick: () => this.ask({ sort: "attention", order: "asc", page: 0 }),
    }, "attention first");
    this.where = element("span", { "aria-live": "off" });
    this.before = element("button", { type: "button", "aria-label": "Page before", onclick: () => this.turn(-1) }, "‹");
    this.after = element("button", { type: "button", "aria-label": "Next page", onclick: () => this.turn(1) }, "›");
    this.held = element("span", { class: "soft held" }, "order held");
    this.heads = HEADS.map(([text, sort, kind, title]) => element("th", { scope: "col", class: kind, "data-sort": sort, title: title || null },
      sort ? element("button", { type: "button", onclick: () => this.sortBy(sort) }, text) : text));
    const hold = () => { this.heldMs = Date.now() + HOLD_MS; };
    this.body = element("tbody", { onfocusin: hold, onpointermove: (event) => event.pointerType === "mouse" && hold() });
    this.empty = element("p", { class: "empty", hidden: true });
    this.element = element("div", {},
      element("div", { class: "tools" }, this.search, element("span", { class: "chips", role: "group" }, ...this.chips),
        element("span", { class: "chips" }, this.attention),
        element("span", { class: "pager" }, this.held, this.where, this.before, this.after)),
      element("div", { class: "panel" }, element("div", { class: "scroll flush" },
        element("table", { id: "series", "aria-label": "All series" },
          element("thead", {}, element("tr", {}, ...this.heads)), this.body)), this.empty));
    this.mark();
  }

  ask(change) {
    this.query = { ...this.query, ...change };
    this.heldMs = 0;
    this.app.kept = this.query;
    this.mark();
    clearTimeout(this.asking);
    this.asking = setTimeout(() => this.app.open(this.query), "text" in change ? 150 : 0);
  }

  sortBy(sort) {
    const same = this.query.sort === sort;
    const order = same ? (this.query.order === "asc" ? "desc" : "asc") : DESCENDING_FIRST.has(sort) ? "desc" : "asc";
    this.ask({ sort, order, page: 0 });
  }

  turn(by) {
    this.ask({ page: Math.max(0, Math.min(this.query.page + by, this.pages - 1)) });
  }

  mark() {
    for (const chip of this.chips) chip.setAttribute("aria-pressed", chip.dataset.only === this.query.only);
    this.attention.setAttribute("aria-pressed", this.query.sort === "attention");
    for (const head of this.heads) {
      if (head.dataset.sort && head.dataset.sort === this.query.sort) {
        head.setAttribute("aria-sort", this.query.order === "desc" ? "descending" : "ascending");
      } else head.removeAttribute("aria-sort");
    }
  }

  show(body, head) {
    this.pages = body.pages;
    if (body.page < this.query.page) this.query.page = body.page;
    const from = body.page * this.query.size;
    setText(this.where, body.matching ? `${count(from + 1)}–${count(from + body.rows.length)} of ${count(body.matching)}` : "none");
    this.before.disabled = body.page === 0;
    this.after.disabled = body.page >= body.pages - 1;
    if (this.hold(body.rows)) return;
    this.keys = body.rows.map((row) => row.key);
    while (this.body.rows.length > body.rows.length) this.body.lastChild.remove();
    while (this.body.rows.length < body.rows.length) this.body.append(newRow(this));
    body.rows.forEach((row, i) => fill(this.body.rows[i], row));
    this.empty.hidden = body.rows.length > 0;
    setText(this.empty, head.series === 0
      ? "Waiting for the first readings: none has come yet on the topics that are subscribed to."
      : "No series matches.");
  }

  // Rows do not change places under the pointer: whoever is about to open one would open another.
  hold(rows) {
    const holds = Date.now() < this.heldMs && this.keys.length > 0 && rows.some((row, i) => row.key !== this.keys[i]);
    setClass(this.held, holds ? "soft held" : "soft held off");
    if (!holds) return false;
    const fresh = new Map(rows.map((row) => [row.key, row]));
    this.keys.forEach((key, i) => fresh.has(key) && fill(this.body.rows[i], fresh.get(key)));
    return true;
  }

  openRow(index) {
    if (this.keys[index] !== undefined) location.hash = `#/series/${encodeURIComponent(this.keys[index])}`;
  }

  key(event) {
    const rows = this.body.rows;
    if (event.key === "/" ) { this.search.focus(); return true; }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const at = Array.prototype.indexOf.call(rows, document.activeElement);
      const to = at < 0 ? 0 : Math.max(0, Math.min(at + (event.key === "ArrowDown" ? 1 : -1), rows.length - 1));
      if (rows[to]) rows[to].focus();
      return true;
    }
    if (event.key === "ArrowRight" && !this.after.disabled) { this.turn(1); return true; }
    if (event.key === "ArrowLeft" && !this.before.disabled) { this.turn(-1); return true; }
    return false;
  }

  remove() {
    clearTimeout(this.asking);
  }
}

function newRow(overview) {
  const row = element("tr", { tabindex: 0 });
  const open = () => overview.openRow(row.sectionRowIndex);
  row.addEventListener("click", (event) => event.target.closest("a") || open());
  row.addEventListener("keydown", (event) => { if (event.key === "Enter") open(); });
  row.append(...HEADS.map(([, , kind]) => element("td", { class: kind })));
  const cells = row.cells;
  cells[0].append(element("span", { class: "dot" }), element("span", { class: "unseen" }));
  cells[1].append(element("bdi", {}, element("a", { tabindex: -1 })));
  cells[6].append(element("svg", { width: BAR.width, height: BAR.height, "aria-hidden": "true" },
    element("line", { class: "track", x1: 0, x2: BAR.width, y1: 7, y2: 7 }),
    element("rect", { class: "in-band", x: BAR.from, y: 1, width: BAR.to - BAR.from, height: 12, rx: 2 }),
    element("line", { class: "at-forecast", y1: 1, y2: 13 }), element("circle", { class: "at-observed", cy: 7, r: 3 })));
  cells[7].append(element("svg", { width: TRACE.width, height: TRACE.height, "aria-hidden": "true" },
    element("polyline", { class: "trace" })));
  return row;
}

function fill(row, data) {
  const cells = row.cells;
  const { places } = data;
  setClass(row, data.flagged ? "flagged" : "");
  const dot = data.flagged ? "dot flagged" : data.status === "silent" ? "dot silent" : data.hour ? "dot recent" : "dot";
  setClass(cells[0].firstChild, dot);
  const state = data.flagged ? "flagged now" : data.status === "ok" ? (data.hour ? "flagged in the last hour" : "") : data.status;
  if (cells[0].title !== state) cells[0].title = state;
  setText(cells[0].lastChild, state);
  if (cells[1].title !== data.key) {
    const link = cells[1].firstChild.firstChild;
    link.replaceChildren(...data.key.split(/(?<=\/)/).flatMap((level) => [level, element("wbr")])); // names break between levels
    link.href = `#/series/${encodeURIComponent(data.key)}`;
    cells[1].title = data.key;
  }
  setText(cells[2], decimal(data.observed, places));
  setClass(cells[2], data.flagged ? "bad" : "");
  setText(cells[3], data.unit ?? "");
  setText(cells[4], decimal(data.value, places));
  setClass(cells[4], data.status === "ok" ? "" : "soft");
  setText(cells[5], data.upper === null || data.lower === null ? "–" : decimal((data.upper - data.lower) / 2, places));
  drawBar(cells[6].firstChild, data);
  drawTrace(cells[7].firstChild.firstChild, data.trace);
  setText(cells[8], data.hour ? count(data.hour) : "");
  setClass(cells[8], data.flagged ? "bad" : "");
  setText(cells[9], signed(data.skill));
  setClass(cells[9], skillClass(data.skill));
  setText(cells[10], age(data.age));
  setClass(cells[10], data.status === "silent" ? "minor warn" : "minor soft");
}

// Where the last reading fell in the interval that had been published for it: the band is at the same place in all rows.
function drawBar(svg, { observed, was }) {
  const [lower, value, upper] = was;
  const known = lower !== null && upper !== null && observed !== null && upper > lower;
  svg.setAttribute("visibility", known ? "visible" : "hidden");
  if (!known) return;
  const x = (v) => Math.max(3, Math.min(BAR.from + ((BAR.to - BAR.from) * (v - lower)) / (upper - lower), BAR.width - 3));
  const [, , tick, point] = svg.children;
  tick.setAttribute("x1", x(value).toFixed(1));
  tick.setAttribute("x2", x(value).toFixed(1));
  point.setAttribute("cx", x(observed).toFixed(1));
  setClass(svg, observed < lower || observed > upper ? "outside" : "");
}

function drawTrace(line, trace) {
  const points = [];
  const step = TRACE.width / 47;
  for (let i = 0; i < trace.length; i += 1) {
    const height = trace.charCodeAt(i) - 48;
    if (height >= 0) points.push(`${(i * step).toFixed(1)},${(TRACE.height - 2 - (height / 63) * (TRACE.height - 4)).toFixed(1)}`);
  }
  line.setAttribute("points", points.join(" "));
}
