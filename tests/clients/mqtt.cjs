// MQTT.js, told by a JSON plan on stdin: connect, subscribe, publish, print what comes until enough came.
const mqtt = require("mqtt");
const plan = JSON.parse(require("fs").readFileSync(0, "utf8"));
const client = mqtt.connect(plan.url, { protocolVersion: plan.version, clientId: plan.id, connectTimeout: 120000 });
const fail = (error) => { if (left > 0) { console.error(String(error)); process.exit(1); } };
const bytes = (text) => Buffer.from(text, "utf8");
let left = plan.count;
client.on("error", fail);
client.on("message", (topic, payload, packet) => {
  const { contentType, correlationData, messageExpiryInterval, userProperties } = packet.properties || {};
  const properties = {
    contentType, messageExpiryInterval, userProperties: userProperties && { ...userProperties },
    correlationData: correlationData && correlationData.toString("utf8"),
  };
  console.log(JSON.stringify({ topic, payload: payload.toString("utf8"), retain: packet.retain, properties }));
  left -= 1;
  if (left === 0) setTimeout(() => client.end(true, {}, () => process.exit(0)), 100); // acknowledgements leave first
});
client.on("connect", () => client.subscribe(plan.subscribe, { qos: 1 }, (error) => {
  if (error) fail(error);
  for (const [topic, payload, properties] of plan.publish) {
    const given = properties ? { ...properties } : undefined;
    if (given && given.correlationData) given.correlationData = bytes(given.correlationData);
    client.publish(topic, payload, { qos: 1, properties: plan.version === 5 ? given : undefined });
  }
}));
