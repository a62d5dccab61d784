// The states of an hour as a strip, with the events above it, and the same in words.

import { el } from "./dom.js";
import { clock, duration } from "./time.js";
import { meaning } from "./states.js";
import { isAbout, kindOf } from "./events.js";
import { plural } from "./words.js";

const MOST_MARKS = 200;

/// Places an element between two times, as parts of the whole.
function placed(node, from, to) {
  // Set by script: the policy of the page forbids style attributes.
  node.style.left = `${from * 100}%`;
  if (to !== undefined) node.style.width = `${Math.max(0.2, (to - from) * 100)}%`;
  return node;
}

export function timeline(history, events, port) {
  const begin = Date.parse(history.series[0].since), until = Date.parse(history.until);
  const part = time => Math.min(1, Math.max(0, (time - begin) / (until - begin)));
  const spans = history.states.map((one, i) => {
    const from = Date.parse(one.since), to = i + 1 < history.states.length ? Date.parse(history.states[i + 1].since) : until;
    return { state: one.state, from, to, when: ` from ${clock(from)} for ${duration((to - from) / 1000, 2)}` };
  });
  const strip = spans.map(span => placed(el("span", {
    class: `span ${span.state}`, title: `${span.state}${span.when}: ${meaning(span.state)}`,
  }, el("span", { class: "label" }, span.state)), part(span.from), part(span.to)));
  const marks = events.filter(event => isAbout(event, port) && Date.parse(event.time) >= begin).slice(-MOST_MARKS)
    .map(event => placed(el("span", { class: `mark ${event["ghostport.severity"] || "info"}`, title: `${clock(event.time)} ${kindOf(event)}` }), part(Date.parse(event.time))));
  const words = spans.slice(-12).map(span => el("li", {}, el("b", {}, span.state), span.when));
  return [
    el("h3", {}, "States and events"),
    el("div", { class: "timeline", "aria-hidden": "true" }, el("div", { class: "marks" }, marks), el("div", { class: "strip" }, strip),
      el("div", { class: "ends" }, el("span", {}, clock(begin)), el("span", {}, clock(until)))),
    el("details", { "data-key": "states" }, el("summary", {}, `${plural(spans.length, "state", "states")} in words`), el("ol", {}, words)),
  ];
}
