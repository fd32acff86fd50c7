// How the service itself is: what flows through it, what it drops, and what it stands on.

import { Chart } from "./chart.js";
import { element, setFacts, setText, table } from "./element.js";
import { bytes, count, decimal, seconds } from "./format.js";
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
    this.owners = table([
      ["owner", "text"], ["node", "text"], ["process", ""], ["state", "text"], ["restarts", ""], ["shards", ""],
    ], "Owners");
    this.shards = table([
      ["shard", ""], ["state", "text"], ["owner", "text"], ["epoch", ""], ["moves", ""], ["series", ""], ["readings/s", ""],
      ["lag", ""], ["waiting", ""], ["model", ""],
    ], "Shards");
    this.cluster = element("div", { class: "grid", hidden: true },
      panel("w12", "Owners", "processes that serve shards, by node", this.owners.element),
      panel("w12", "Shards", "parts of the series, and who serves them", this.shards.element));
    this.element = element("div", {}, element("h1", {}, "Health"), this.reasons, this.cluster, element("div", { class: "grid" },
      this.rate.element, this.lag.element,
      panel("w4", "Broker", "", this.broker), panel("w4", "Disk", "", this.disk), panel("w4", "Process", "", this.process),
      panel("w6", "Timings", "", this.times.element), panel("w6", "Drops", "by reason", this.drops.element, this.noDrops)));
    this.charts = [this.rate, this.lag];
  }

  show({ past, fields, durability, broker, process, step, publish, batch, cluster }, head) {
    this.showCluster(cluster);
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

  // What `stepahead cluster run` adds: who serves which part of the series.
  showCluster(cluster) {
    this.cluster.hidden = !cluster;
    if (!cluster) return;
    this.owners.set(cluster.owners.map((owner) => [
      owner.name, owner.node.slice(0, 10), String(owner.pid ?? "–"), [owner.up ? "up" : "down", owner.up ? "" : "bad"],
      count(owner.restarts), count(owner.shards),
    ]));
    this.shards.set(cluster.shards.map((shard) => [
      String(shard.shard), [shard.state, shard.state === "served" ? "" : "bad"], shard.owner ?? "–", count(shard.epoch),
      count(shard.moves), count(shard.series), decimal(shard.rate, 1), seconds(shard.lag_s), count(shard.waiting), count(shard.model),
    ]));
  }

  key() {
    return false;
  }

  remove() {
    for (const chart of this.charts) chart.remove();
  }
}
