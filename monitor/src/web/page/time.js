// Times: relative, and absolute while the pointer or the focus is on them.

import { el } from "./dom.js";

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

/// A duration in its largest unit, or in two of them: `3 min`, `2 d 4 h`.
export function duration(seconds, units = 1) {
  let left = Math.max(0, Math.floor(seconds));
  const words = [];
  for (const [name, length] of UNITS) {
    if (left < length && !(name === "s" && words.length === 0)) {
      if (words.length) break;
      continue;
    }
    words.push(`${Math.floor(left / length)} ${name}`);
    left %= length;
    if (words.length === units) break;
  }
  return words.join(" ");
}

export function ago(time) {
  const seconds = (Date.now() - Date.parse(time)) / 1000;
  return seconds < 2 ? "now" : `${duration(seconds)} ago`;
}

const pad = number => String(number).padStart(2, "0");

/// The time of day of this browser's time zone.
export function clock(time) {
  const at = new Date(time);
  return `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
}

export function absolute(time) {
  const at = new Date(time);
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${clock(time)}`;
}

/// A time as an element. `words` makes the relative part, which is kept current.
export function timeTag(time, words = ago) {
  const relative = el("span", { class: "relative" }, words(time));
  const tag = el("time", { datetime: time, title: absolute(time) }, relative,
    el("span", { class: "absolute", "aria-hidden": "true" }, absolute(time)));
  tag.renew = () => {
    const text = words(time);
    if (relative.textContent !== text) relative.textContent = text;
  };
  return tag;
}

export const since = time => duration((Date.now() - Date.parse(time)) / 1000, 2);

setInterval(() => document.querySelectorAll("time").forEach(tag => tag.renew?.()), 1000);
