// The live page. `live.js` reads the API, this file draws the head and chooses the view; the views draw themselves.

import { byId, el, fill } from "./dom.js";
import { clock, duration } from "./time.js";
import { facts, refreshHistories, start } from "./live.js";
import { number } from "./words.js";
import * as overview from "./overview.js";
import * as onePort from "./port.js";
import * as events from "./events.js";
import * as listeners from "./listeners.js";

/// The port whose view is wanted; undefined for all.
const wanted = () => {
  const found = location.hash.match(/^#\/port\/(\d{1,5})$/);
  return found ? Number(found[1]) : undefined;
};

const item = (isGood, ...text) => el("li", { class: isGood ? "good" : "bad" }, ...text);

function hooks(agent) {
  const { attached, missing } = agent.hooks;
  if (!missing) return item(true, `${number(attached)} hooks attached`);
  const names = facts.hooks.slice(0, 3).map(one => [one.hook, one.interface].filter(Boolean).join(" on ")).join(", ");
  return item(false, `${number(missing)} of ${number(attached + missing)} hooks missing${names ? `: ${names}` : ""}`);
}

function losses(agent) {
  const { ring, queue, sink } = agent.events_lost, total = ring + queue + sink;
  return item(total === 0, total ? `${number(total)} events lost` : "no event lost");
}

function connection() {
  if (facts.trouble) {
    const since = facts.answeredAt ? `; this is how it was at ${clock(facts.answeredAt)}` : "";
    return item(false, `the agent does not answer${since}`);
  }
  if (facts.streaming === undefined) return item(true, "connecting");
  return facts.streaming ? item(true, "live") : item(false, "events interrupted, connecting again");
}

function drawHead() {
  const { agent } = facts;
  byId("host").textContent = agent ? `on ${agent.host}` : "";
  byId("version").textContent = agent ? `version ${agent.version}, Linux ${agent.kernel}, up ${duration((Date.now() - Date.parse(agent.started)) / 1000)}` : "";
  fill(byId("health"), [agent?.hooks, agent?.events_lost, facts.hooks, facts.trouble, facts.streaming, facts.trouble && facts.answeredAt], () => [
    connection(), agent && hooks(agent), agent && losses(agent),
  ]);
  document.body.classList.toggle("stale", Boolean(facts.trouble));
}

let shown;

function draw() {
  const port = wanted();
  facts.shown = port;
  drawHead();
  byId("ports").hidden = port !== undefined;
  byId("headline").hidden = port !== undefined;
  byId("port").hidden = port === undefined;
  if (!facts.agent && facts.trouble) byId("headline").textContent = `The agent does not answer: ${facts.trouble}`;
  if (port === undefined) {
    if (facts.agent) overview.draw(facts);
    document.title = facts.agent ? `ghostport on ${facts.agent.host}` : "ghostport";
  } else {
    onePort.draw(facts, port);
  }
  listeners.draw(facts, port);
  events.draw(facts, port);
  shown = port;
}

addEventListener("hashchange", () => {
  const before = shown;
  draw();
  if (before !== wanted()) {
    byId("main").focus();
    scrollTo(0, 0);
    refreshHistories();
  }
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
byId("filters").addEventListener("input", draw);
byId("filters").addEventListener("submit", event => event.preventDefault());
addEventListener("keydown", event => {
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && wanted() !== undefined) location.hash = "#/";
  if (event.key === "/") {
    event.preventDefault();
    byId("filter-port").focus();
  }
});
start(draw);
