// Numbers and times as a person wants to read them; null is what the service does not know.

export const UNKNOWN = "–";

export function decimal(value, places) {
  if (value === null || value === undefined) return UNKNOWN;
  if (Math.abs(value) >= 1e9 || (value !== 0 && places >= 4 && Math.abs(value) < 0.5 * 10 ** -places)) {
    return value.toExponential(2);
  }
  const text = value.toFixed(places);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

export function count(value) {
  return value === null || value === undefined ? UNKNOWN : Math.round(value).toLocaleString("en-US");
}

export function signed(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value < -99) return "<−99";
  const text = Math.abs(value).toFixed(2);
  return Number(text) === 0 ? "0.00" : (value > 0 ? "+" : "−") + text;
}

export function percent(value) {
  return value === null || value === undefined ? UNKNOWN : (100 * value).toFixed(1) + "%";
}

export function seconds(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value < 1) return value < 0.0095 ? (1000 * value).toFixed(1) + " ms" : Math.round(1000 * value) + " ms";
  if (value < 60) return value.toFixed(value < 10 ? 1 : 0) + " s";
  if (value < 3600) return Math.floor(value / 60) + " min";
  if (value < 86400) return Math.floor(value / 3600) + " h " + Math.floor((value % 3600) / 60) + " min";
  return Math.floor(value / 86400) + " d " + Math.floor((value % 86400) / 3600) + " h";
}

export function age(value) {
  return value === null || value === undefined ? UNKNOWN : value < 2 ? "now" : seconds(value);
}

export function bytes(value) {
  if (value === null || value === undefined) return UNKNOWN;
  return value < 2 ** 30 ? Math.round(value / 2 ** 20) + " MiB" : (value / 2 ** 30).toFixed(2) + " GiB";
}

export function clock(ms) {
  const date = new Date(ms);
  const two = (number) => String(number).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

// Red and green only from here on: below, nobody should read anything into a skill.
export function skillClass(value) {
  return value === null || value === undefined ? "soft" : value > 0.05 ? "good" : value < -0.05 ? "bad" : "";
}
