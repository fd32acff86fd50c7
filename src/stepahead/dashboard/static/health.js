// How the service itself is: what flows through it, what it drops, and what it stands on.

import { Chart } from "./chart.js";
import { element, setFacts, setText, table } from "./element.js";
import { bytes, count, seconds } from "./format.js";
import { panel } from "./series.js";

export class Health {
  constructor() {
    this.query = { view: "health" };
    this.title = "health";
    this.rate = new Chart({
      title: "Readings per second", height: 170, lines: [{ label: "readings/s", colour: "--blue", width: 1.5, format: (v) => v.toFixed(1) }],
    });
    this.lag = new Chart({
      title: "Lag", note: "from a reading's own time, or its arrival, to its forecast", height: 170,
      lines: [{ label: "lag", colour: "--ink", width: 1.3, format: seconds, tick: seconds }],
    });
    this.rate.element.classList.add("w6");
    this.lag.element.classList.add("w6");
    this.reasons = element("p", {});
    this.drops = table([["reason", "text"], ["dropped", ""]], "Drops by reason");
    this.noDrops = element("p", { class: "soft" }, "Nothing has been dropped.");
    this.times = table([["", "text"], ["times", ""], ["mean", ""], ["99% under", ""]], "Timings");
    this.broker = element("dl", { class: "facts" });
    this.disk = element("dl", { class: "facts" });
    this.process = element("dl", { class: "facts" });
    this.element = element("div", {}, element("h1", {}, "Health"), this.reasons, element("div", { class: "grid" },
      this.rate.element, this.lag.element,
      panel("w4", "Broker", "", this.broker), panel("w4", "Disk", "", this.disk), panel("w4", "Process", "", this.process),
      panel("w6", "Timings", "", this.times.element), panel("w6", "Drops", "by reason", this.drops.element, this.noDrops)));
    this.charts = [this.rate, this.lag];
  }

  show({ past, fields, durability, broker, process, step, publish, batch }, head) {
    setText(this.reasons, head.ready ? "Ready: the session stands, the lag is small, the state is safe." : `Not ready: ${head.reasons.join("; ")}.`);
    this.reasons.className = head.ready ? "soft" : "bad";
    this.rate.set([past.at, past.rate]);
    this.lag.set([past.at, past.lag]);
    setFacts(this.broker, [
      ["address", broker.url], ["connection", broker.connected ? "stands" : "away", broker.connected ? "" : "bad"],
      ["protocol", `MQTT ${broker.protocol}, QoS ${broker.qos}`], ["filters", broker.filters.join(", ")],
      ["forecasts refused", count(broker.refused), broker.refused ? "bad" : ""],
      ["lost in a break", count(broker.lost), broker.lost ? "warn" : ""],
    ]);
    setFacts(this.disk, [
      ["durability", durability.mode ?? "–"], ["trouble", durability.trouble ?? "none", durability.trouble ? "bad" : ""],
      ["journal safe", durability.journal_age_s === null ? "no journal" : `${seconds(durability.journal_age_s)} ago`],
      ["newest snapshot", durability.snapshot_age_s === null ? "no snapshots" : `${seconds(durability.snapshot_age_s)} ago`],
      ["records", count(durability.position)],
    ]);
    setFacts(this.process, [
      ["memory", bytes(process.memory_bytes)], ["uptime", seconds(head.uptime_s)], ["threads", count(process.threads)],
      ["process", String(process.pid)], ["version", head.version],
    ]);
    const drops = Object.entries(fields.drops ?? {}).sort((a, b) => b[1] - a[1]);
    this.drops.set(drops.map(([reason, number]) => [reason.replaceAll("_", " "), count(number)]));
    this.drops.element.hidden = !drops.length;
    this.noDrops.hidden = drops.length > 0;
    const under = (facts, text) => (facts.p99 === null ? (facts.count ? `more than ${text(facts.longest)}` : "–") : text(facts.p99));
    this.times.set([
      ["readings in a batch", count(batch.count), batch.mean === null ? "–" : batch.mean.toFixed(1), under(batch, count)],
      ["step of the engine", count(step.count), seconds(step.mean), under(step, seconds)],
      ["publishing", count(publish.count), seconds(publish.mean), under(publish, seconds)],
      ["messages waiting now", "", count(fields.waiting), ""],
    ]);
  }

  key() {
    return false;
  }

  remove() {
    for (const chart of this.charts) chart.remove();
  }
}
