// The last hour of a port as a small picture: packets in upwards, packets out downwards.

import { svg } from "./dom.js";
import { number } from "./words.js";

const COLUMNS = 90, HEIGHT = 40, HOUR = 3_600_000;

/// Steps with their beginning and length in milliseconds.
export function steps(history) {
  return history.series.flatMap(part => {
    const begin = Date.parse(part.since), length = part.step_seconds * 1000;
    return part.packets_in.map((packets, i) => ({
      begin: begin + i * length, length, in: packets, out: part.packets_out[i],
      binds: part.binds?.[i] || 0, refused: part.binds_refused?.[i] || 0,
    }));
  });
}

/// Sums of the hour.
export function totals(history) {
  const sum = list => (list || []).reduce((total, value) => total + value, 0);
  const of = key => history.series.reduce((total, part) => total + sum(part[key]), 0);
  return { in: of("packets_in"), out: of("packets_out"), binds: of("binds"), refused: of("binds_refused") };
}

export function sparkline(history) {
  const until = Date.parse(history.until), width = HOUR / COLUMNS;
  const columns = Array.from({ length: COLUMNS }, () => ({ in: 0, out: 0, binds: 0 }));
  for (const step of steps(history)) {
    const index = Math.floor((step.begin - (until - HOUR)) / width);
    const column = columns[Math.min(COLUMNS - 1, index)];
    if (!column || index < 0) continue;
    column.in += step.in;
    column.out += step.out;
    column.binds += step.binds + step.refused;
  }
  const most = Math.max(1, ...columns.map(one => Math.max(one.in, one.out)));
  // By the square root, so that single packets show beside thousands.
  const height = value => value && Math.max(1.5, Math.sqrt(value / most) * (HEIGHT / 2 - 2));
  const middle = HEIGHT / 2;
  const bars = (key, up) => columns.map((one, i) => {
    const tall = height(one[key]);
    return tall ? `M${i * 2} ${up ? middle - tall : middle + 0.5}h1.6v${tall}h-1.6z` : "";
  }).join("");
  const binds = columns.map((one, i) => one.binds ? `M${i * 2 + 0.8} ${HEIGHT - 4}l2 4h-4z` : "").join("");
  const sum = totals(history);
  const words = `Last hour: ${number(sum.in)} packets in, ${number(sum.out)} out, ${number(sum.binds)} binds, ${number(sum.refused)} refused`;
  return svg("svg", { class: "spark", viewBox: `0 0 ${COLUMNS * 2} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": words },
    svg("title", {}, words),
    svg("path", { class: "axis", d: `M0 ${middle}h${COLUMNS * 2}` }),
    svg("path", { class: "in", d: bars("in", true) }),
    svg("path", { class: "out", d: bars("out", false) }),
    binds && svg("path", { class: "binds", d: binds }));
}
