// The page: which part is shown, its stream, the figures on top, keys and colours.

import { element, setFigures, setText } from "./element.js";
import { clock, count, percent, seconds, signed, skillClass } from "./format.js";
import { Health } from "./health.js";
import { Model } from "./model.js";
import { Overview } from "./overview.js";
import { Series } from "./series.js";
import { Stream, storeToken } from "./stream.js";

const THEME = "stepahead-theme";
const main = document.getElementById("main");
const app = { kept: {}, part: null, open: (query) => stream.open(query) };
const stream = new Stream({ onEvent: show, onLost: lost, onRefused: askToken });

let heardMs = null;

function show({ head, body }) {
  heardMs = Date.now();
  showHead(head);
  app.part.show(body, head);
}

// What is wrong in words over every page. It is read out when the words change, not when a number in them does.
function showBanner(text, kind) {
  const banner = document.getElementById("banner");
  const words = text.replace(/[\d.,]+/g, "");
  if (banner.dataset.words === words) return;
  banner.dataset.words = words;
  banner.hidden = !text;
  banner.className = kind;
  setText(banner, text);
}

function showHead(head) {
  const state = head.ready ? "ok" : head.connected ? "warn" : "bad";
  document.body.classList.remove("stale");
  document.getElementById("state").className = state;
  document.querySelector(".lamp").className = `lamp ${state}`;
  const starting = head.reasons.includes("starting");
  showBanner(head.ready || starting ? "" : `Not ready: ${head.reasons.join("; ")}`, state);
  setText(document.getElementById("state-text"), head.ready ? "live" : head.reasons.join("; "));
  setText(document.getElementById("version"), `stepahead ${head.version}, up ${seconds(head.uptime_s)}`);
  setFigures(document.getElementById("vitals"), [
    ["readings/s", head.rate === null ? "–" : head.rate < 10 ? head.rate.toFixed(1) : count(head.rate)],
    ["series", count(head.series)], ["flagged now", count(head.flagged), head.flagged ? "bad" : ""],
    ["silent", count(head.silent), head.silent ? "warn" : ""],
    ["skill against the last value", signed(head.skill), skillClass(head.skill)],
    [`inside the ${100 * head.level}% interval`, percent(head.coverage)],
    ["lag", seconds(head.lag_s)], ["model", count(head.model)],
    ["fine-tunes adopted", count(head.fine_tunes.adopted)], ["dropped", count(head.dropped)],
  ]);
  document.title = `${head.flagged ? `(${head.flagged}) ` : ""}${app.part.title ? `${app.part.title} – ` : ""}stepahead`;
}

function lost(why) {
  document.querySelector(".lamp").className = "lamp bad";
  document.getElementById("state").className = "bad";
  setText(document.getElementById("state-text"), `${why}; trying again`);
  document.body.classList.add("stale");
  const since = heardMs === null ? "" : ` The figures are those of ${clock(heardMs)}.`;
  showBanner(`${why[0].toUpperCase()}${why.slice(1)}.${since} Trying again.`, "bad");
}

function askToken(wrong) {
  const input = element("input", { type: "password", autocomplete: "current-password", "aria-label": "Token" });
  const form = element("form", { id: "token-form", class: "panel" }, element("h1", {}, "Token"),
    element("p", { class: "soft" }, "This service shows its figures to those who know its token (http.token)."),
    wrong ? element("p", { class: "bad", role: "alert" }, "This token is not the service's.") : null,
    input, element("button", {}, "Show the page"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    storeToken(input.value);
    route(true);
  });
  showBanner("", "");
  document.body.classList.remove("stale");
  main.replaceChildren(form);
  input.focus();
}

function route(moved) {
  const [, name, ...rest] = location.hash.split("/");
  if (app.part) app.part.remove();
  if (name === "series") app.part = new Series(app, decodeURIComponent(rest.join("/")));
  else if (name === "model") app.part = new Model();
  else if (name === "health") app.part = new Health();
  else app.part = new Overview(app);
  const current = name === "series" || !name ? "overview" : name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.page === current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  main.replaceChildren(app.part.element);
  if (moved) main.focus({ preventScroll: true }); // a screen reader goes on there
  scrollTo(0, 0);
  stream.open(app.part.query);
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  for (const chart of app.part?.charts ?? []) chart.recolour();
}

function switchTheme() {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem(THEME, theme);
  setTheme(theme);
}

const dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", () => localStorage.getItem(THEME) || setTheme(dark.matches ? "dark" : "light"));
setTheme(localStorage.getItem(THEME) ?? (dark.matches ? "dark" : "light"));
document.getElementById("theme").addEventListener("click", switchTheme);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const places = { 1: "#/", 2: "#/model", 3: "#/health" };
  if (places[event.key]) location.hash = places[event.key];
  else if (event.key === "t") switchTheme();
  else if (!app.part?.key(event)) return;
  event.preventDefault();
});
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  storeToken(given);
  history.replaceState(null, "", "#/");
}
addEventListener("hashchange", () => route(true));
route(false);
