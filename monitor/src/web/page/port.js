// One port: its hour as a graph, its states and events on one time axis, sockets, verdicts with reasons, talkers,
// what the registry says, and the commands to look closer.

import { byId, command as code, el, fill } from "./dom.js";
import { timeTag } from "./time.js";
import { badge, level, stateWord } from "./states.js";
import { answers, awokeAt, binder, hour, sleeping } from "./overview.js";
import { bytes, capture, evidenceOf, holdersOf, judged, number, plural, socket } from "./words.js";
import { read, redraw } from "./live.js";
import { timeline } from "./timeline.js";
import { drawChart } from "./chart.js";

const MOST_SOCKETS = 200, RETRY = 5000;

/// What the catalogue says, by port; it does not change.
const catalogue = new Map();

const table = (caption, heads, rows, isNamed) => rows.length > 0 && el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
  el("table", {}, el("caption", { class: isNamed ? "sr" : null }, caption), el("thead", {}, el("tr", {}, heads.map(head => el("th", { scope: "col" }, head)))),
    el("tbody", {}, rows.map(cells => el("tr", {}, cells.map(cell => el("td", {}, cell)))))));

function sockets(port) {
  const rows = port.sockets.slice(0, MOST_SOCKETS).map(one => [
    socket(one), [holdersOf(one), ...evidenceOf(one).map(text => el("p", { class: "evidence" }, text))], judged(one.expected) ?? "–",
  ]);
  const captures = (port.captures || []).map(one => [capture(one), "", "–"]);
  const all = [...rows, ...captures];
  if (!all.length) return el("p", {}, "No socket is on this port.");
  return el("details", { "data-key": "sockets", open: all.length <= 8 }, el("summary", {}, [plural(port.sockets.length, "socket", "sockets"), captures.length && plural(captures.length, "capture", "captures")].filter(Boolean).join(", ")),
    table("Sockets", ["socket", "holders", "expected"], all, true));
}

const verdicts = port => table("What the traffic is", ["verdict", "over", "grade", "times", "last", "why"], (port.verdicts || []).map(one => [
  one.verdict, one.transport, one.grade, number(one.count), [timeTag(one.last_seen), ` from ${one.last_peer}`], one.reason,
]));

const talkers = rows => table("Talkers", ["address", "over", "in", "out", "since"], (rows || []).flatMap(row => row.talkers.map(one => [
  one.address, row.transport, `${number(one.packets_received)} (${bytes(one.bytes_received)})`,
  `${number(one.packets_transmitted)} (${bytes(one.bytes_transmitted)})`, one.counted_since ? timeTag(one.counted_since) : "–",
])));

const TERMS = [["description", "Registered as"], ["assignee", "By"], ["registered", "When"], ["era", "Era"], ["purpose", "Purpose"], ["dormant", "Why it is quiet"], ["today", "Likely today"], ["attacks", "Attacks"]];

function registry({ port: number, service }) {
  const entry = catalogue.get(number);
  // A port without a name is in no registry.
  if (entry === undefined && service) {
    catalogue.set(number, null);
    read(`api/v1/ports/${number}/catalogue`).then(found => {
      catalogue.set(number, found);
      redraw();
    }, error => {
      // Another error than that there is no entry passes.
      if (error.status !== 404) setTimeout(() => catalogue.delete(number), RETRY);
    });
  }
  if (!entry) return null;
  const related = (entry.related || []).join(", ");
  return [el("h3", {}, "What the registry says"), el("dl", { class: "facts" },
    TERMS.filter(([key]) => entry[key]).map(([key, term]) => el("div", {}, el("dt", {}, term), el("dd", {}, entry[key]))),
    related && el("div", {}, el("dt", {}, "Related"), el("dd", {}, related)))];
}

function command(text) {
  const button = el("button", { type: "button", onclick: () => navigator.clipboard?.writeText(text).then(() => { button.textContent = "copied"; }) }, "copy");
  return el("li", {}, code(text), " ", navigator.clipboard ? button : null);
}

const commands = port => [el("h3", {}, "Look closer"), el("ul", { class: "commands" }, [
  `ghostport check ${port}`, `ghostport events --port ${port} --since 24h`, `ghostport explain ${port}`,
  `ss -Hanptu "sport = :${port} or dport = :${port}"`, `tcpdump -n -i any -c 20 port ${port}`,
].map(command))];

function skeleton(port) {
  return [
    el("p", {}, el("a", { href: "#/", "data-focus": "back" }, "← all ports")),
    el("div", { id: "port-head" }),
    el("div", { id: "port-chart-box" }, el("h3", { id: "chart-heading" }, "Packets a second"),
      el("div", { class: "choices", role: "group", "aria-label": "Time shown" }, ["5 min", "1 h"].map((text, i) => el("button", { type: "button", "data-minutes": i ? 60 : 5, "aria-pressed": i ? "true" : "false" }, text))),
      el("div", { id: "port-chart", role: "img", "aria-labelledby": "chart-heading chart-sum" }), el("div", { id: "chart-sum" })),
    el("div", { id: "port-timeline" }),
    el("div", { id: "port-details" }),
  ];
}

/// A port that is not watched, or of which nothing is known yet.
function drawNone(box, wanted, agent) {
  document.title = `${wanted} · ${agent?.host || "ghostport"}`;
  const state = `${wanted} ${agent ? "is not watched" : "is not known yet"}`;
  if (box.drawn === state) return;
  box.drawn = state;
  box.replaceChildren(
    el("p", {}, el("a", { href: "#/", "data-focus": "back" }, "← all ports")),
    ...agent ? [
      el("p", {}, `Port ${wanted} is not watched: nothing is counted, and no history is kept. To watch it, add it to `, el("code", {}, "ports"), " in the configuration and reload the agent."),
      ...commands(wanted),
    ] : [el("p", {}, "Reading …")]);
}

let minutes = 60;

/// Draws the view of one port.
export function draw(facts, wanted) {
  const port = facts.ports.find(one => one.port === wanted), box = byId("port");
  if (!port) return drawNone(box, wanted, facts.agent);
  if (box.drawn !== wanted) {
    box.drawn = wanted;
    box.replaceChildren(...skeleton(wanted));
    box.querySelectorAll("[data-minutes]").forEach(button => button.addEventListener("click", () => {
      minutes = Number(button.dataset.minutes);
      box.querySelectorAll("[data-minutes]").forEach(one => one.setAttribute("aria-pressed", String(one === button)));
      drawChart(byId("port-chart"), facts.histories.get(wanted), minutes);
    }));
  }
  document.title = `${wanted} ${stateWord(port)} · ${facts.agent?.host || "ghostport"}`;
  const history = facts.histories.get(wanted), rows = facts.talkers.get(wanted);
  byId("port-head").className = `card ${level(port)}`;
  const bound = binder(port, facts);
  fill(byId("port-head"), [port, rows, awokeAt(port, facts), bound], () => [
    el("h2", {}, badge(port), " ", el("span", { class: "number" }, wanted), port.service && ` ${port.service}`),
    el("p", { class: "since" }, sleeping(port, facts), "; last bind ", port.last_bind ? timeTag(port.last_bind) : "never",
      `; awakened ${number((port.awakenings?.packet || 0) + (port.awakenings?.bind || 0))} ×`),
    answers(port, rows, bound),
  ]);
  byId("port-chart-box").hidden = !history?.series.length;
  if (history?.series.length) {
    drawChart(byId("port-chart"), history, minutes);
    fill(byId("chart-sum"), history, () => hour(history)?.lastChild);
    fill(byId("port-timeline"), [history, facts.events.length], () => timeline(history, facts.events, wanted));
  }
  fill(byId("port-details"), [port, rows, catalogue.get(wanted)], () => [
    el("h3", {}, "Sockets"), sockets(port), verdicts(port), talkers(rows), registry(port), commands(wanted),
  ]);
}

