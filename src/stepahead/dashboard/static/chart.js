// A chart by uPlot in the page's colours, with the same numbers as a plain table underneath.

import { element, table } from "./element.js";

const TABLE_ROWS = 40;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Where something happened: [x, colour name, height of a tick at the foot in pixels, or null for a line over the whole].
function marksPlugin(marks) {
  return {
    hooks: {
      draw: (plot) => {
        const { ctx, bbox } = plot;
        ctx.save();
        ctx.beginPath();
        ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
        ctx.clip();
        const foot = bbox.top + bbox.height;
        for (const [x, name, height] of marks()) {
          const left = Math.round(plot.valToPos(x, "x", true)) + 0.5;
          if (left < bbox.left || left > bbox.left + bbox.width) continue;
          ctx.strokeStyle = colour(name);
          ctx.lineWidth = (height === null ? 1 : 1.5) * devicePixelRatio;
          ctx.beginPath();
          ctx.moveTo(left, height === null ? bbox.top : foot - height * devicePixelRatio);
          ctx.lineTo(left, foot);
          ctx.stroke();
        }
        ctx.restore();
      },
    },
  };
}

export class Chart {
  // lines: [{label, colour, width?, dash?, points?, format, tick?}]; bands: [[upper, lower]] by number of the line.
  // stacked: each line stands on the one before it, the room between them in its colour.
  constructor({
    title, note, lines, bands = [], height = 220, time = true, marks = () => [], range, xFormat, xLabel = "time", stacked = false,
    waiting = "Waiting for readings.",
  }) {
    this.options = { lines, bands, height, time, marks, range, xFormat, xLabel, stacked };
    this.place = element("div", { role: "img", "aria-label": `${title}: the numbers are in the table below` });
    this.plot = null;
    this.data = [[], ...lines.map(() => [])];
    this.table = table([[xLabel, "text"], ...lines.map((line) => [line.label, ""])], title);
    this.details = element("details", {}, element("summary", {}, "as a table"), this.table.element);
    this.details.addEventListener("toggle", () => this.fillTable());
    this.heading = element("h2", {}, title, element("small", {}, note || ""));
    this.waiting = element("p", { class: "empty" }, waiting);
    this.element = element("section", { class: "panel" }, this.heading, this.waiting, this.place, this.details);
    this.wait(true);
    this.observer = new ResizeObserver(() => {
      const width = this.place.clientWidth;
      if (this.plot && width > 0 && width !== this.plot.width) this.plot.setSize({ width, height });
    });
    this.observer.observe(this.place);
  }

  make() {
    const { lines, bands, height, time, marks, range, xFormat, xLabel, stacked } = this.options;
    const axis = {
      stroke: colour("--soft"), font: "11px system-ui", grid: { stroke: colour("--faint"), width: 1 },
      ticks: { stroke: colour("--line"), width: 1, size: 4 },
    };
    const series = lines.map((line, j) => ({
      label: line.label, class: line.colour ? undefined : "band-line", stroke: line.colour ? colour(line.colour) : "transparent", width: line.width ?? 1.3, dash: line.dash,
      paths: line.points ? () => null : undefined, spanGaps: false,
      points: { show: Boolean(line.points), size: 7, fill: line.colour ? colour(line.colour) : undefined },
      fill: stacked && j === 0 ? tint(line.colour) : undefined,
      value: (plot, value, place, at) => {
        const own = stacked && at !== null ? this.data[place][at] : value;
        return own === null || own === undefined ? "–" : line.format(own);
      },
    }));
    const between = stacked ? lines.slice(1).map((line, j) => ({ series: [j + 2, j + 1], fill: tint(line.colour) })) : [];
    this.plot = new uPlot({
      width: Math.max(this.place.clientWidth, 200), height, scales: { x: { time }, y: range ? { range } : {} },
      series: [{ label: xLabel, value: (plot, x) => (x === null || x === undefined ? "–" : this.xText(x)) }, ...series],
      axes: [
        { ...axis, space: 76, size: 30, values: (plot, ticks, place, space, step) => ticks.map((x) => (xFormat ? xFormat(x) : timeTick(x, step))) },
        { ...axis, size: 62, values: (plot, ticks) => ticks.map((tick) => lines[0].tick?.(tick) ?? trimmed(tick)) },
      ],
      bands: [...bands.map((pair) => ({ series: pair, fill: colour("--band") })), ...between],
      legend: { markers: { fill: (plot, place) => { const hue = lines[place - 1]?.colour; return hue ? (stacked ? tint(hue) : colour(hue)) : "transparent"; } } },
      plugins: [marksPlugin(marks)], cursor: { drag: { x: true, y: false }, points: { size: 6 } },
    }, this.drawn(), this.place);
  }

  xText(x) {
    return this.options.xFormat ? this.options.xFormat(x) : new Date(1000 * x).toLocaleTimeString("en-GB");
  }

  // An empty chart has an axis that means nothing: until there is a line to draw, words stand in its place.
  wait(waits) {
    this.waiting.hidden = !waits;
    this.place.hidden = this.details.hidden = waits;
  }

  set(data) {
    const known = data.slice(1).some((column) => column.filter((value) => value !== null).length > 1);
    if (this.place.hidden === known) this.wait(!known);
    if (!known) return;
    this.data = data;
    if (!this.plot) this.make();
    else this.plot.setData(this.drawn());
    this.fillTable();
  }

  drawn() {
    return this.options.stacked ? stack(this.data) : this.data;
  }

  fillTable() {
    if (!this.details.open) return;
    const [xs, ...columns] = this.data;
    const rows = [];
    for (let i = xs.length - 1; i >= 0 && rows.length < TABLE_ROWS; i -= 1) {
      const cells = columns.map((column, j) => (column[i] === null || column[i] === undefined
        ? "–" : this.options.lines[j].format(column[i])));
      rows.push([this.xText(xs[i]), ...cells]);
    }
    this.table.set(rows);
  }

  // Colours are read when a chart is made.
  recolour() {
    if (!this.plot) return;
    this.plot.destroy();
    this.plot = null;
    this.make();
  }

  remove() {
    this.observer.disconnect();
    if (this.plot) this.plot.destroy();
  }
}

function tint(name) {
  return `${colour(name)}73`; // the colours are six hexadecimal digits; these are the alpha
}

function stack([xs, ...columns]) {
  const sums = xs.map(() => 0);
  return [xs, ...columns.map((column) => column.map((value, i) => (sums[i] += value ?? 0)))];
}

function timeTick(x, step) {
  const text = new Date(1000 * x).toLocaleTimeString("en-GB");
  return step >= 60 ? text.slice(0, 5) : step >= 1 ? text : `${text}.${String(Math.round(1000 * (x % 1))).padStart(3, "0").slice(0, 1)}`;
}

function trimmed(value) {
  if (value !== 0 && (Math.abs(value) >= 1e6 || Math.abs(value) < 1e-4)) return value.toExponential(1);
  return String(Number(value.toPrecision(6)));
}
