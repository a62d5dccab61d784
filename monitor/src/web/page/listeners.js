// The listeners of the host: what listens on any port, where the agent watches that.

import { byId, el, fill } from "./dom.js";
import { timeTag } from "./time.js";
import { holder, number } from "./words.js";

const MOST_ROWS = 60;

const isUnexpected = one => one.expected === false || one.unexpected === true;

function row(one) {
  const address = one.local_address || one.address || "", port = one.local_port ?? one.port;
  const holders = one.holders || (one.holder ? [one.holder] : []);
  return el("tr", { class: isUnexpected(one) ? "critical" : null },
    el("td", {}, el("span", { class: "number" }, `${port}/${one.transport || ""}`)),
    el("td", {}, address), el("td", {}, one.scope || "–"),
    el("td", {}, holders.map(holder).join("; ") || "–"),
    el("td", {}, isUnexpected(one) ? "not expected" : one.expected ? "expected" : "–"),
    el("td", {}, one.since ? timeTag(one.since) : "–"));
}

export function draw(facts, port) {
  const section = byId("listeners"), rows = facts.listeners?.listeners;
  section.hidden = !rows?.length || port !== undefined;
  if (section.hidden) return;
  const sorted = [...rows].sort((a, b) => isUnexpected(b) - isUnexpected(a) || (a.local_port ?? a.port) - (b.local_port ?? b.port));
  const unexpected = sorted.filter(isUnexpected).length;
  fill(section, rows, () => [
    el("h2", { id: "listeners-heading" }, `What listens on this host: ${number(rows.length)}`, unexpected ? `, ${number(unexpected)} not expected` : ""),
    el("details", { "data-key": "listeners", open: unexpected > 0 }, el("summary", {}, "All listeners"),
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Listeners" }, el("table", {},
        el("thead", {}, el("tr", {}, ["port", "address", "reached from", "held by", "expected", "since"].map(head => el("th", { scope: "col" }, head)))),
        el("tbody", {}, sorted.slice(0, MOST_ROWS).map(row)))),
      sorted.length > MOST_ROWS && el("p", { class: "more" }, `${number(sorted.length - MOST_ROWS)} more: api/v1/listeners`)),
  ]);
}
