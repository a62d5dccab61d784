// The events: alike ones that follow each other are one line; filters by kind, severity and port.

import { arrange, byId, el, fill } from "./dom.js";
import { timeTag, duration } from "./time.js";
import { judged, number, program } from "./words.js";

const MOST_LINES = 80, MOST_TIMES = 20;

const SEVERITIES = ["info", "warning", "critical"];

export const kindOf = event => event["event.name"].replace("ghostport.", "");

export const portOf = event => event["ghostport.port"] ?? event["network.local.port"] ?? event["ghostport.ports"]?.[0];

const severityOf = event => event["ghostport.severity"] || "info";

export const isAbout = (event, port) => portOf(event) === port || (event["ghostport.ports"] || []).includes(port);

/// The process, hook or peer of an event.
function who(event) {
  if (event["ghostport.hook"]) return [event["ghostport.hook"], event["network.interface.name"]].filter(Boolean).join(" on ");
  const process = event["process.executable.name"] || event["thread.name"];
  if (event["process.pid"] === undefined) return event["network.peer.address"] || "";
  const place = event["ghostport.systemd_unit"] || event["container.name"] || event["container.id"]?.slice(0, 12);
  return [program({ name: process, pid: event["process.pid"] }), place].filter(Boolean).join(", ");
}

/// What else matters of an event.
function what(event) {
  const parts = [];
  const add = (value, text = value) => { if (value !== undefined && value !== null) parts.push(text); };
  add(event["ghostport.summary_of"]);
  add(event["ghostport.verdict"]);
  add(event["ghostport.dormant_for_seconds"], `after ${duration(event["ghostport.dormant_for_seconds"], 2)} of silence`);
  add(event["ghostport.errno"]);
  add(event["ghostport.path"]);
  add(event["ghostport.path_target"], `→ ${event["ghostport.path_target"]}`);
  add(event["ghostport.filter"], `takes ${event["ghostport.filter"]}`);
  if (event["process.pid"] !== undefined && event["network.peer.address"]) parts.push(`peer ${event["network.peer.address"]}`);
  add(judged(event["ghostport.expected"]));
  if (!event["ghostport.verdict"]) add(event["ghostport.reason"]);
  add(event["service.version"]);
  return parts.join(" · ");
}

/// What events have in common that are one line. Verdicts of many peers are one line, too.
function alike(event) {
  const peer = event["ghostport.verdict"] ? "" : who(event);
  return [kindOf(event), portOf(event), event["network.transport"], event["ghostport.verdict"], event["ghostport.result"], peer, event["ghostport.summary_of"]].join("|");
}

/// Groups, newest first.
export function groups(events) {
  const all = [];
  for (const event of events) {
    const last = all[all.length - 1], key = alike(event);
    if (last?.alike === key) {
      last.events.push(event);
    } else {
      all.push({ alike: key, events: [event] });
    }
  }
  return all.reverse();
}

const countOf = event => event["ghostport.count"] || 1;

/// The line of a group.
function line(node, group) {
  const newest = group.events[group.events.length - 1];
  const count = group.events.reduce((total, event) => total + countOf(event), 0);
  const peers = new Set(group.events.map(event => event["network.peer.address"]).filter(Boolean));
  const more = Math.max(peers.size, ...group.events.map(event => event["ghostport.peers"] || 0));
  const port = portOf(newest), severity = severityOf(newest);
  const subject = more > 1 && newest["ghostport.verdict"] ? `from ${number(more)} peers` : who(newest);
  node.className = severity;
  fill(node, [group.events.length, newest], () => [
    timeTag(newest.time),
    el("span", { class: "kind" }, el("span", { class: "mark", "aria-hidden": "true" }), severity === "info" ? null : el("span", { class: "sr" }, `${severity}: `), kindOf(newest)),
    el("span", { class: "at" }, port === undefined ? "" : el("a", { href: `#/port/${port}` }, `${port}${newest["network.transport"] ? "/" + newest["network.transport"] : ""}`)),
    el("span", { class: "text" }, [subject, what(newest)].filter(Boolean).join(" · "), count > 1 && el("b", {}, ` ×${number(count)}`)),
    group.events.length > 1 && el("details", { "data-key": "times" }, el("summary", {}, `${number(group.events.length)} alike`),
      el("ul", {}, group.events.slice(-MOST_TIMES).reverse().map(event => el("li", {}, timeTag(event.time), ` ${who(event)} ${countOf(event) > 1 ? "×" + number(countOf(event)) : ""}`)))),
  ]);
}

/// The events that the filters leave.
function filtered(events) {
  const kind = byId("kind").value, least = SEVERITIES.indexOf(byId("severity").value), port = Number(byId("filter-port").value);
  return events.filter(event => (!kind || kindOf(event) === kind || event["ghostport.summary_of"] === kind) &&
    SEVERITIES.indexOf(severityOf(event)) >= least && (!port || isAbout(event, port)));
}

/// Offers the kinds that were seen.
function offerKinds(events) {
  const select = byId("kind"), known = new Set([...select.options].map(option => option.value));
  for (const kind of [...new Set(events.map(kindOf))].sort()) if (!known.has(kind)) select.append(el("option", { value: kind }, kind));
}

/// Draws those of `port`, or all.
export function draw(facts, port) {
  offerKinds(facts.events);
  const about = port === undefined ? facts.events : facts.events.filter(event => isAbout(event, port));
  const shown = groups(filtered(about)).slice(0, MOST_LINES);
  const keyed = new Map(shown.map(group => [`${group.alike}|${group.events[0].time}`, group]));
  const nodes = arrange(byId("events"), [...keyed.keys()], () => el("li", {}));
  nodes.forEach(node => line(node, keyed.get(node.dataset.key)));
  const none = byId("no-events");
  none.hidden = shown.length > 0;
  none.textContent = facts.events.length ? "No event matches." : facts.noStore || "Nothing has happened yet.";
}
