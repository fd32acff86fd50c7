// The networks: their weights' versions, what the gate let through, and how full the memory is that they learn from.

import { Chart } from "./chart.js";
import { element, setFigures, table } from "./element.js";
import { clock, count, percent } from "./format.js";
import { panel } from "./series.js";

const WORDS = { adopted: "adopted", rejected: "rejected", failed: "failed", drift: "drift" };
const CLASSES = { adopted: "good", failed: "bad", drift: "warn" };

export class Model {
  constructor() {
    this.query = { view: "model" };
    this.title = "model";
    const format = (value) => value.toPrecision(4);
    this.figures = element("dl", { class: "figures" });
    this.networks = table([
      ["network", "text"], ["version", ""], ["series", ""], ["members", ""], ["LSTM", ""], ["replay buffer", ""], ["of windows", ""],
      ["fine-tunes", ""], ["adopted", ""], ["rejected", ""], ["failed", ""], ["drifts", ""],
    ], "Networks");
    this.losses = new Chart({
      title: "Loss of the fine-tunes", note: "on the newest steps, which were held out: below the champion, the gate lets it pass",
      height: 240, time: false, xFormat: (x) => (Number.isInteger(x) ? String(x) : ""), xLabel: "fine-tune",
      lines: [
        { label: "champion", colour: "--grey", width: 1.3, format }, { label: "challenger", colour: "--blue", width: 1.5, format },
        { label: "in training", colour: "--grey", width: 1, dash: [4, 3], format },
      ],
    });
    this.decisions = table([
      ["time", "text"], ["network", "text"], ["what", "text"], ["champion", ""], ["challenger", ""], ["why", "text wrap"],
    ], "Gate decisions");
    this.none = element("p", { class: "soft" }, "No fine-tune has ended since the start.");
    this.losses.element.classList.add("w12");
    this.element = element("div", {}, element("h1", {}, "Model"), this.figures, element("div", { class: "grid" },
      panel("w12", "Networks", "", this.networks.element), this.losses.element,
      panel("w12", "Gate decisions, fine-tunes and drifts", "newest first", this.decisions.element, this.none)));
    this.charts = [this.losses];
  }

  show({ networks, judged, marks, learning }) {
    const sum = (name) => networks.reduce((total, net) => total + net[name], 0);
    setFigures(this.figures, [
      ["fine-tunes adopted", count(sum("adopted")), ""], ["rejected", count(sum("rejected"))],
      ["failed", count(sum("failed")), sum("failed") ? "bad" : ""], ["drifts", count(sum("drifts"))],
      ["members the gate let in", count(judged.adopted)], ["and kept out", count(judged.kept)],
      ["learning", learning ? "on" : "off", learning ? "" : "warn"],
    ]);
    this.networks.set(networks.map((net) => [
      net.name, String(net.version), count(net.series), String(net.members), `${net.layers} × ${net.hidden}`,
      percent(net.replay_windows / net.replay_capacity), `${count(net.replay_windows)} / ${count(net.replay_capacity)}`,
      count(net.begun), count(net.adopted), count(net.rejected), count(net.failed), count(net.drifts),
    ]));
    const tuned = marks.filter((mark) => mark.number !== undefined);
    const column = (name) => tuned.map((mark) => mark[name]);
    this.losses.element.hidden = !tuned.length;
    if (tuned.length) this.losses.set([tuned.map((mark, i) => i + 1), column("champion"), column("challenger"), column("train")]);
    const number = (value) => (value === undefined || value === null ? "" : value.toPrecision(4));
    this.decisions.set([...marks].reverse().slice(0, 60).map((mark) => [
      clock(1000 * mark.at), mark.network, [WORDS[mark.kind], CLASSES[mark.kind]], number(mark.champion),
      [number(mark.challenger), mark.challenger < mark.champion ? "good" : ""], mark.text,
    ]));
    this.none.hidden = marks.length > 0;
  }

  key() {
    return false;
  }

  remove() {
    this.losses.remove();
  }
}
