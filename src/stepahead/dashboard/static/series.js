// One series: what was forecast for each reading, how good that was, and why the forecast is what it is.

import { Chart } from "./chart.js";
import { element, setFacts, setFigures, setText, table } from "./element.js";
import { age, clock, count, decimal, percent, signed, skillClass } from "./format.js";

const KEPT = 1800;
const WINDOW = 50;
const SPANS = [150, 500, KEPT];
const KEPT_SHARES = 900;
// Experts in families, as they are drawn over each other; the table beside has each of them.
const FAMILIES = [
  ["last value", /^persistence$/, "--grey"], ["level", /level|median/, "--violet"], ["drift", /drift/, "--amber"],
  ["seasonal", /season|profile/, "--green"], ["autoregression", /regression/, "--teal"], ["network", /lstm/, "--blue"],
  ["other", /./, "--red"],
];
// Colour, and height of the tick: fine-tunes come often and stand at the foot, a drift is seldom and goes all the way.
const MARK_LOOKS = { drift: ["--amber", null], adopted: ["--green", 12], rejected: ["--grey", 6], failed: ["--red", 12] };
const MARK_WORDS = { drift: "drift", adopted: "fine-tune adopted", rejected: "fine-tune rejected", failed: "fine-tune failed" };

export class Series {
  constructor(app, key) {
    this.query = () => ({ view: "series", key, since: this.count });
    this.count = 0;
    this.columns = { time: [], observed: [], forecast: [], lower: [], upper: [], anomaly: [] };
    this.marks = [];
    this.places = 2;
    this.span = SPANS[1];
    this.spans = SPANS.map((span) => element("button", {
      type: "button", "aria-pressed": String(span === this.span), onclick: () => this.show(this.last, null, span),
    }, span === KEPT ? "all" : `latest ${span}`));
    const format = (value) => decimal(value, this.places + 1);
    this.figures = element("dl", { class: "figures" });
    this.main = new Chart({
      title: "Readings and the forecasts made for them", height: 300,
      lines: [
        { label: "upper", format }, { label: "lower", format },
        { label: "forecast", colour: "--blue", width: 1.4, format },
        { label: "observed", colour: "--ink", width: 1.1, format },
        { label: "anomaly", colour: "--red", points: true, format },
      ],
      bands: [[1, 2]],
      range: () => this.range(),
      marks: () => this.lines(),
    });
    this.error = new Chart({
      title: "Running error", note: `mean absolute error of the last ${WINDOW} readings`, height: 260, waiting: "Known after ten readings.",
      lines: [
        { label: "forecast", colour: "--blue", width: 1.5, format }, { label: "last value", colour: "--grey", width: 1.2, format },
      ],
    });
    this.shares = { time: [], families: FAMILIES.map(() => []) };
    this.mixture = new Chart({
      title: "Mixture weights over time", note: "whose forecasts the published one was made of", height: 230, stacked: true,
      lines: FAMILIES.map(([label, , hue]) => ({ label, colour: hue, width: 1, format: percent, tick: (v) => `${Math.round(100 * v)}%` })),
      range: () => [0, 1],
      marks: () => this.lines(),
    });
    this.weights = table([["expert", "text"], ["share", "bar-cell"], ["", ""], ["expects", ""]], "Mixture weights");
    this.weights.element.classList.add("weights");
    this.difference = element("dl", { class: "facts" });
    this.tests = table([["order", "text"], ["ADF p", ""], ["KPSS p", ""]], "Stationarity tests");
    this.testsNote = element("p", { class: "soft" });
    this.events = table([["time", "text"], ["what", "text"], ["why", "text wrap"]], "Marks");
    this.noEvents = element("p", { class: "soft" }, "Nothing has happened yet.");
    this.missing = element("p", { class: "empty", hidden: true }, "There is no such series yet.");
    this.title = key;
    this.heading = element("h1", {}, key);
    this.grid = element("div", { class: "grid" });
    this.main.heading.append(element("span", { class: "chips spans", role: "group", "aria-label": "Readings shown" }, ...this.spans));
    this.main.element.classList.add("w12");
    this.error.element.classList.add("w6");
    this.mixture.element.classList.add("w6");
    this.grid.append(this.main.element, this.error.element, this.mixture.element,
      panel("w4", "Mixture now", "each expert's share and what it expects", this.weights.element),
      panel("w4", "Differencing", "", this.difference, this.tests.element, this.testsNote),
      panel("w4", "Marks", "in the charts: a line is a drift; a tick at the foot is a fine-tune, long and green when adopted",
        this.events.element, this.noEvents));
    this.element = element("div", {}, element("a", { class: "back", href: "#/" }, "‹ all series"),
      this.heading, this.figures, this.missing, this.grid);
    this.charts = [this.main, this.error, this.mixture];
  }

  show(body, head, span = this.span) {
    if (span !== this.span || body === this.last) {
      this.span = span;
      this.spans.forEach((button, i) => button.setAttribute("aria-pressed", SPANS[i] === span));
      if (body) this.draw(body);
      return;
    }
    this.last = body;
    this.missing.hidden = body !== null;
    this.grid.hidden = body === null;
    if (body === null) return;
    this.take(body);
    this.places = body.row ? body.row.places : 2;
    this.marks = body.marks;
    if (body.row) this.showFigures(body);
    this.draw(body);
    if (body.experts) this.showExperts(body.experts);
    if (body.difference) this.showDifference(body.difference);
    this.events.set([...body.marks].reverse().slice(0, 12).map(([kind, ms, text]) => [clock(ms), MARK_WORDS[kind], text]));
    this.noEvents.hidden = body.marks.length > 0;
  }

  take(body) {
    if (body.count < this.count) this.shares = { time: [], families: FAMILIES.map(() => []) };
    this.takeShares(body.shares);
    if (!body.time) return;
    if (body.count < this.count) for (const name of Object.keys(this.columns)) this.columns[name] = [];
    this.count = body.count;
    for (const [name, column] of Object.entries(this.columns)) {
      column.push(...body[name]);
      if (column.length > KEPT) column.splice(0, column.length - KEPT);
    }
  }

  takeShares({ names, time, weight }) {
    const { shares } = this;
    const family = names.map((name) => FAMILIES.findIndex(([, holds]) => holds.test(name)));
    time.forEach((ms, i) => {
      const newest = shares.time.at(-1) ?? -Infinity;
      if (ms < newest) return;
      const sums = FAMILIES.map(() => 0);
      family.forEach((place, expert) => { sums[place] += weight[expert][i]; });
      const at = shares.time.length - (ms === newest ? 1 : 0); // the last one known comes again, with later shares
      shares.time[at] = ms;
      sums.forEach((sum, place) => { shares.families[place][at] = sum; });
    });
    for (const column of [shares.time, ...shares.families]) column.splice(0, column.length - KEPT_SHARES);
    if (shares.time.length) this.mixture.set([shares.time.map((ms) => ms / 1000), ...shares.families]);
  }

  lines() {
    return this.marks.map(([kind, ms]) => [ms / 1000, ...MARK_LOOKS[kind]]);
  }

  showFigures({ row, level, coverage, recent_skill, mean_error, seen, anomalies, valid }) {
    setFigures(this.figures, [
      ["last value", row.unit ? `${decimal(row.observed, this.places)} ${row.unit}` : decimal(row.observed, this.places), row.flagged ? "bad" : ""],
      [`forecast for ${clock(valid)}`, decimal(row.value, this.places)],
      [`${100 * level}% interval`, `${decimal(row.lower, this.places)} … ${decimal(row.upper, this.places)}`],
      ["skill against the last value", signed(row.skill), skillClass(row.skill)],
      ["skill lately", signed(recent_skill), skillClass(recent_skill)],
      ["inside the interval", percent(coverage)],
      ["mean error", decimal(mean_error, this.places + 1)],
      ["anomalies (last hour)", `${count(anomalies)} (${count(row.hour)})`, row.hour ? "bad" : ""],
      ["readings", count(seen)], ["age", age(row.age)],
      ["state", row.flagged ? "flagged" : row.status, row.flagged ? "bad" : row.status === "silent" ? "warn" : ""],
    ]);
  }

  draw({ row, valid }) {
    const { time, observed, forecast, lower, upper, anomaly } = this.columns;
    if (!time.length) return;
    const x = time.map((ms) => ms / 1000);
    const data = [x, [...upper], [...lower], [...forecast], [...observed], observed.map((v, i) => (anomaly[i] ? v : null))];
    if (row && valid > time[time.length - 1]) {
      [valid / 1000, row.upper, row.lower, row.value, null, null].forEach((value, i) => data[i].push(value));
    }
    this.shown = data.map((column) => column.slice(-this.span));
    this.main.set(this.shown);
    const errors = [x, running(observed.map((v, i) => gap(v, forecast[i]))), running(observed.map((v, i) => (i ? gap(v, observed[i - 1]) : null)))];
    this.error.set(errors.map((column) => column.slice(-this.span)));
  }

  // The readings fill the chart; the wide intervals of the first minute are cut off and do not press them flat.
  range() {
    const [, upper, lower, forecast, observed] = this.shown;
    const seen = [...observed, ...forecast].filter((value) => value !== null);
    if (!seen.length) return [0, 1];
    const widths = upper.map((value, i) => (value === null ? 0 : value - lower[i])).filter((value) => value > 0).sort((a, b) => a - b);
    const room = (widths[Math.floor(widths.length / 2)] ?? 0) * 0.8;
    const [low, high] = [Math.min(...seen) - room, Math.max(...seen) + room];
    return high > low ? [low, high] : [low - 1, high + 1];
  }

  showExperts({ names, value, weight }) {
    const order = names.map((name, i) => i).filter((i) => weight[i] !== null).sort((a, b) => weight[b] - weight[a]);
    const shown = order.filter((i) => names[i] !== "lstm"); // the mean of others
    this.weights.set(shown.map((i) => [names[i].replaceAll("_", " "), "", percent(weight[i]), decimal(value[i], this.places)]));
    shown.forEach((i, place) => {
      const cell = this.weights.element.querySelectorAll("tbody tr")[place].cells[1];
      let meter = cell.firstElementChild;
      if (!meter) cell.append(meter = element("meter", { min: 0, max: 1, "aria-hidden": "true" }));
      meter.value = weight[i];
    });
  }

  showDifference({ order, auto, seasonal_lag, adf_p, kpss_p, reason }) {
    setFacts(this.difference, [
      ["order in use", String(order)], ["seasonal lag", seasonal_lag ? String(seasonal_lag) : "none"],
      ["chosen by", auto ? "unit-root and stationarity tests" : "the setting transform.order"],
    ]);
    this.tests.element.hidden = !adf_p.length;
    this.tests.set(adf_p.map((p, i) => [String(i), p.toPrecision(3), kpss_p[i].toPrecision(3)]));
    setText(this.testsNote, reason ? `${reason}. A small ADF p speaks against a unit root, a small KPSS p against stationarity.`
      : auto ? "Not decided yet: the warm-up is not over." : "");
  }

  key(event) {
    if (event.key !== "Escape") return false;
    location.hash = "#/";
    return true;
  }

  remove() {
    for (const chart of this.charts) chart.remove();
  }
}

export function panel(width, title, note, ...content) {
  return element("section", { class: `panel ${width}` }, element("h2", {}, title, element("small", {}, note)), ...content);
}

function gap(a, b) {
  return a === null || b === null || b === undefined ? null : Math.abs(a - b);
}

// Mean of the last WINDOW known numbers; null until there are ten.
function running(values) {
  const recent = [];
  let sum = 0;
  return values.map((value) => {
    if (value !== null) {
      recent.push(value);
      sum += value;
      if (recent.length > WINDOW) sum -= recent.shift();
    }
    return recent.length >= 10 ? sum / recent.length : null;
  });
}
