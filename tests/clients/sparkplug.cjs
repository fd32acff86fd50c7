// sparkplug-payload as a pair of functions: a JSON array of {decode: base64} or {encode: payload} on stdin, answers out.
const { get } = require("sparkplug-payload");
const codec = get("spBv1.0");
const plain = (name, value) =>
  typeof value === "bigint" || (value && value.constructor && value.constructor.name === "Long") ? Number(value) : value;
const answers = JSON.parse(require("fs").readFileSync(0, "utf8")).map((task) =>
  task.decode === undefined
    ? Buffer.from(codec.encodePayload(task.encode)).toString("base64")
    : codec.decodePayload(Buffer.from(task.decode, "base64")));
console.log(JSON.stringify(answers, plain));
