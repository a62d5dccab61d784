// The listeners of the host: what listens on any port, where the agent watches that.

import { byId, el, fill } from "./dom.js";
import { timeTag } from "./time.js";
import { address, holder, judged, number } from "./words.js";

const MOST_ROWS = 60;

const SCOPES = { host: "this host alone", world: "elsewhere, too" };

const isUnexpected = one => one.expected === false;

function row(one) {
  return el("tr", { class: isUnexpected(one) ? "critical" : null },
    el("td", {}, el("span", { class: "number" }, `${one.local_port}/${one.transport}`), one.service && ` ${one.service}`),
    el("td", {}, address(one)), el("td", {}, SCOPES[one.scope] || "–"),
    el("td", {}, one.holders ? one.holders.map(holder).join("; ") || "no process" : "–"),
    el("td", {}, judged(one.expected) ?? "–"),
    el("td", {}, one.since ? timeTag(one.since) : "–"));
}

export function draw(facts, port) {
  const section = byId("listeners"), rows = facts.listeners?.listeners;
  section.hidden = !facts.listeners?.watched || port !== undefined;
  if (section.hidden) return;
  const sorted = [...rows].sort((a, b) => isUnexpected(b) - isUnexpected(a) || a.local_port - b.local_port);
  const unexpected = sorted.filter(isUnexpected).length;
  fill(section, facts.listeners, () => [
    el("h2", { id: "listeners-heading" }, `What listens on this host: ${number(rows.length)}`, facts.listeners.learning ? " (the baseline is being learned)" : "", unexpected ? `, ${number(unexpected)} not expected` : ""),
    el("details", { "data-key": "listeners", open: unexpected > 0 }, el("summary", {}, "All listeners"),
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Listeners" }, el("table", {},
        el("thead", {}, el("tr", {}, ["port", "address", "reached from", "held by", "expected", "since"].map(head => el("th", { scope: "col" }, head)))),
        el("tbody", {}, sorted.slice(0, MOST_ROWS).map(row)))),
      sorted.length > MOST_ROWS && el("p", { class: "more" }, `${number(sorted.length - MOST_ROWS)} more: api/v1/listeners`)),
  ]);
}
