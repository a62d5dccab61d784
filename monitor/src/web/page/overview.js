// The first answer: what woke up, where, who did it, is that expected, and what now. Then a card for each port
// that is not quiet, and a row for each one that is.

import { arrange, byId, command, el, fill } from "./dom.js";
import { timeTag, since } from "./time.js";
import { advice, badge, byAlarm, isExpected, level, meaning, stateWord } from "./states.js";
import { answering, capture, holder, holders, judged, number, plural, program, reached, sender, traffic } from "./words.js";
import { sparkline, totals } from "./spark.js";
import { kindOf, portOf } from "./events.js";

const MOST_CARDS = 60, MOST_ROWS = 200;

const name = port => `${port.port}${port.service ? ` ${port.service}` : ""}`;

const BINDS = ["bind", "listen", "unexpected_owner", "awakened"];

/// Who bound a port that is held, by the events, until a look at the sockets says who holds it.
export function binder(port, facts) {
  if (holders(port).length || !["bound", "served"].includes(port.state)) return undefined;
  const event = facts.events.findLast(one => portOf(one) === port.port && BINDS.includes(kindOf(one)) && one["process.pid"] !== undefined);
  return event && { name: event["process.executable.name"] || event["thread.name"], pid: event["process.pid"], systemd_unit: event["ghostport.systemd_unit"], container_id: event["container.id"], user: event["process.user.name"] };
}

/// The sentence at the top.
export function headline(facts) {
  const host = facts.agent?.host || "this host";
  const alarming = facts.ports.filter(port => level(port) === "critical").sort(byAlarm);
  const awake = facts.ports.filter(port => port.dormant === false);
  if (alarming.length) {
    const [worst] = alarming, holding = holders(worst)[0] || binder(worst, facts);
    const who = holding ? ` by ${program(holding)}, which is not expected there` : ` (${meaning(worst.state)})`;
    const others = alarming.length > 1 ? ` And ${plural(alarming.length - 1, "more port needs", "more ports need")} a look.` : "";
    return ["critical", `Port ${name(worst)} is ${stateWord(worst)} on ${host}${who}.${others}`];
  }
  if (awake.some(port => level(port) === "warning")) {
    const moved = awake.filter(port => level(port) === "warning").sort(byAlarm);
    return ["warning", `${plural(moved.length, "port", "ports")} on ${host} saw something: ${moved.slice(0, 3).map(port => `${name(port)} ${stateWord(port)}`).join(", ")}. Nothing unexpected holds one.`];
  }
  const rest = awake.length ? `${plural(awake.length, "port is", "ports are")} awake, and what holds them is expected` : "nothing woke up";
  return ["quiet", `${plural(facts.ports.length, "port", "ports")} watched on ${host}: ${rest}.`];
}

const expectation = port => {
  const expected = isExpected(port);
  if (expected === undefined) return null;
  return el("span", { class: expected ? "pill expected" : "pill unexpected" }, judged(expected));
};

/// When a port awoke, by its last awakening or by the states of the hour; undefined where neither is known.
export function awokeAt(port, facts) {
  const isAwakening = event => event["event.name"] === "ghostport.awakened" && portOf(event) === port.port;
  const awakening = facts.events.findLast(isAwakening);
  if (awakening) return awakening.time;
  const states = facts.histories.get(port.port)?.states || [];
  const quiet = states.findLastIndex(one => one.state === "quiet" || one.state === "transit");
  return quiet >= 0 ? states[quiet + 1]?.since : undefined;
}

/// How long a port has been dormant or awake, and when something was last seen.
export function sleeping(port, facts) {
  if (port.dormant) return ["dormant since ", port.dormant_since ? timeTag(port.dormant_since) : "the start"];
  const awoke = awokeAt(port, facts), active = [port.last_bind, port.last_packet].filter(Boolean).sort().pop();
  return [awoke ? ["awake for ", timeTag(awoke, since)] : "awake", active && ["; last active ", timeTag(active)]];
}

const fact = (term, ...description) => description.flat().some(Boolean) && el("div", {}, el("dt", {}, term), el("dd", {}, ...description));

const lines = texts => texts.map(text => el("span", { class: "line" }, text));

const few = (texts, most) => texts.length > most ? [...texts.slice(0, most), `and ${texts.length - most} more`] : texts;

function peers(port, talkers) {
  const rows = (talkers || []).flatMap(row => row.talkers);
  const sources = (talkers || []).reduce((total, row) => total + (row.sources || 0), 0);
  if (!rows.length) return [];
  const names = [...new Set(rows.map(one => one.address))].slice(0, 3).join(", ");
  return [sources > 3 ? `${names} and others, about ${number(sources)} in five minutes` : names];
}

export const link = (port, text) => el("a", { href: `#/port/${port}`, "data-focus": `port-${port}` }, text);

/// The packets of an hour; nothing while what was counted is older than the first packet.
export function hour(history, lastPacket) {
  if (!history || !history.series.length) return null;
  const sum = totals(history);
  if (lastPacket && sum.in + sum.out === 0 && Date.parse(lastPacket) > Date.parse(history.until)) return null;
  return el("div", { class: "hour" }, sparkline(history),
    el("p", {}, el("span", { class: "key in" }, `${number(sum.in)} in`), " ", el("span", { class: "key out" }, `${number(sum.out)} out`), " packets in the last hour",
      sum.binds + sum.refused ? `, ${plural(sum.binds, "bind", "binds")}${sum.refused ? `, ${number(sum.refused)} refused` : ""}` : ""));
}

/// The facts of a port in the order of the questions.
export function answers(port, talkers, bound) {
  const next = advice(port);
  const who = few([...holders(port).map(holder), ...answering(port)], 3);
  if (bound) who.push(`${holder(bound)}, which bound it last`);
  if (port.state === "outbound" && port.last_sender) who.push(sender(port.last_sender, port.port));
  const captures = (port.captures || []).filter(one => one.only_watched).map(capture);
  return el("dl", { class: "facts" },
    fact("What", meaning(port.state), captures.length ? lines(captures) : null),
    fact("Who", lines(who.length ? who : [port.state === "quiet" || port.state === "probed" ? "no process holds it" : "no holder known"])),
    fact("Where", lines(few(reached(port), 4))),
    fact("Traffic", traffic(port)),
    fact("Peers", lines(peers(port, talkers))),
    fact("Now", next.text, next.alert && [" ", el("a", { href: `runbook/${next.alert}` }, "runbook")], command(next.command, { class: "command" })));
}

function card(node, port, facts) {
  const history = facts.histories.get(port.port), talkers = facts.talkers.get(port.port);
  node.className = `card ${level(port)}`;
  const bound = binder(port, facts);
  fill(node, [port, history, talkers, awokeAt(port, facts), bound], () => [
    el("h2", {}, badge(port), " ", link(port.port, [el("span", { class: "number" }, port.port), port.service && ` ${port.service}`]), " ", expectation(port)),
    el("p", { class: "since" }, sleeping(port, facts)),
    answers(port, talkers, bound),
    hour(history, port.last_packet),
  ]);
}

function row(node, port, facts) {
  const history = facts.histories.get(port.port);
  fill(node, [port.state, port.dormant_since, port.dormant, port.last_packet, history], () => [
    el("td", {}, link(port.port, el("span", { class: "number" }, port.port))),
    el("td", { class: "service" }, port.service || "–"),
    el("td", {}, badge(port)),
    el("td", { class: "since" }, port.dormant ? (port.dormant_since ? timeTag(port.dormant_since, since) : "always") : "awake"),
    el("td", { class: "since wide" }, port.last_packet ? timeTag(port.last_packet) : "never"),
    el("td", { class: "trend" }, history?.series.length ? sparkline(history) : null),
  ]);
}

function skeleton() {
  return [
    el("div", { id: "cards" }),
    el("p", { id: "more-cards", class: "more" }),
    el("table", { id: "quiet" },
      el("caption", {}, "Quiet ports"),
      el("thead", {}, el("tr", {}, ["port", "service", "state", "dormant for", "last packet", "last hour"].map((text, i) => el("th", { scope: "col", class: i === 4 ? "wide" : null }, text)))),
      el("tbody", { id: "quiet-rows" })),
    el("p", { id: "more-rows", class: "more" }),
  ];
}

export function draw(facts) {
  const [kind, text] = headline(facts);
  const top = byId("headline");
  if (top.textContent !== text) top.textContent = text;
  top.className = kind;
  if (!byId("cards")) byId("ports").replaceChildren(...skeleton());
  const all = [...facts.ports].sort(byAlarm);
  const known = new Map(all.map(port => [String(port.port), port]));
  const notable = all.filter(port => level(port) !== "quiet");
  const quiet = all.filter(port => level(port) === "quiet").sort((a, b) => (a.dormant === true) - (b.dormant === true) || a.port - b.port);
  const make = tag => key => el(tag, { "data-port": key });
  for (const node of arrange(byId("cards"), notable.slice(0, MOST_CARDS).map(port => port.port), make("article"))) card(node, known.get(node.dataset.key), facts);
  for (const node of arrange(byId("quiet-rows"), quiet.slice(0, MOST_ROWS).map(port => port.port), make("tr"))) row(node, known.get(node.dataset.key), facts);
  byId("quiet").hidden = quiet.length === 0;
  const left = (id, count, most) => { byId(id).textContent = count > most ? `${number(count - most)} more are not shown: ghostport check has them.` : ""; };
  left("more-cards", notable.length, MOST_CARDS);
  left("more-rows", quiet.length, MOST_ROWS);
}

