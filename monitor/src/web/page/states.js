// States of a port: a shape and a word for each, how alarming a port is, and what to do about it.

import { svg, el } from "./dom.js";
import { program, places } from "./words.js";

/// Paths in a square of 16.
const SHAPES = {
  quiet: ["M8 3a5 5 0 1 0 .01 0z", false],
  transit: ["M1 5h11M9 2l3 3-3 3M15 11H4M7 8l-3 3 3 3", false],
  probed: ["M8 2a6 6 0 1 0 .01 0zM8 6a2 2 0 1 0 .01 0z", false],
  attempted: ["M3 3l10 10M13 3L3 13", false],
  outbound: ["M3 13L13 3M6 3h7v7", false],
  bound: ["M3 3h10v10H3z", true],
  answered: ["M8 1l7 7-7 7-7-7z", true],
  served: ["M8 1.5l7 13H1z", true],
};

const MEANINGS = {
  quiet: "nothing was seen",
  transit: "packets only passed through this host",
  probed: "packets came, and nothing answered",
  attempted: "a bind was refused",
  outbound: "this host sends to this port elsewhere",
  bound: "a socket holds it",
  answered: "it is answered, and no socket of this host holds it",
  served: "a holder answers",
};

export const meaning = state => MEANINGS[state] || "";

const sum = numbers => Object.values(numbers || {}).reduce((total, number) => total + number, 0);

/// A connection that no process has any more.
const isLeftOver = one => one.peer_address && one.holders && !one.holders.length;

/// Whether every holder is expected; undefined where that is not known, or nothing holds it (the rule of
/// `api/alarm.rs`).
export function isExpected(port) {
  if (sum(port.unexpected_sockets) > 0) return false;
  const held = port.sockets.filter(one => one.side === "local" && !isLeftOver(one)).map(one => one.expected);
  if (held.includes(false)) return false;
  return held.length > 0 && !held.includes(undefined) ? true : undefined;
}

const targeted = port => (port.captures || []).filter(one => one.only_watched);

/// `critical`, `warning`, `expected` or `quiet`.
export function level(port) {
  if (isExpected(port) === false || port.state === "answered" || targeted(port).length) return "critical";
  if (["attempted", "outbound", "probed"].includes(port.state)) return "warning";
  if (port.state === "bound" || port.state === "served") return isExpected(port) ? "expected" : "critical";
  return "quiet";
}

const LEVELS = ["critical", "warning", "expected", "quiet"];

/// Most alarming first, then what is awake, then what moved last.
export function byAlarm(a, b) {
  return LEVELS.indexOf(level(a)) - LEVELS.indexOf(level(b)) || (a.dormant === true) - (b.dormant === true) ||
    (b.last_packet || "").localeCompare(a.last_packet || "") || a.port - b.port;
}

/// The name of a scanner that all verdicts of a port agree on.
function scanner(port) {
  const names = new Set((port.verdicts || []).map(one => one.verdict));
  const [only] = names;
  return names.size === 1 && only.startsWith("scan-") ? only.slice(5) : undefined;
}

export const stateWord = port => {
  const by = port.state === "probed" && scanner(port);
  return by && by !== "syn" ? `probed by ${by}` : port.state;
};

/// Shape and word of a port's state.
export function badge(port) {
  const [path, isFilled] = SHAPES[port.state] || SHAPES.quiet;
  return el("span", { class: "state", title: meaning(port.state) },
    svg("svg", { viewBox: "0 0 16 16", class: isFilled ? "filled" : "", "aria-hidden": "true" }, svg("path", { d: path })),
    stateWord(port));
}

/// What to do now: a sentence, a command and the alert whose section of the runbook says more.
export function advice(port) {
  const number = port.port;
  const holder = port.sockets.flatMap(one => one.holders || [])[0];
  const [capture] = targeted(port);
  if (isExpected(port) === false) {
    const unit = holder?.systemd_unit;
    return {
      text: `No expect entry of port ${number} names ${holder ? program(holder) : "the holder"}. Add one if it belongs there; if not, stop ${places(holder)[0] || "it"}.`,
      command: unit ? `systemctl status ${unit}` : holder ? `ps -o pid,ppid,user,lstart,args -p ${holder.pid}` : `ghostport check ${number}`,
      alert: "GhostportUnexpectedOwner",
    };
  }
  if (port.state === "answered") {
    return { text: "Find the rule, program or proxy that answers for it, and whether it should.", command: `ghostport check ${number}`, alert: "GhostportPortAnswered" };
  }
  if (capture) {
    return { text: `${(capture.holders || []).map(program).join(", ") || "A process"} takes packets of this port without a socket on it. Backdoors wait like this.`, command: `ghostport check ${number}`, alert: "GhostportPortCaptured" };
  }
  switch (port.state) {
    case "attempted":
      return { text: "A program wanted this port and did not get it. See which one, and what was in its way.", command: `ghostport events --port ${number} --kind bind_failed`, alert: "GhostportBindRefused" };
    case "outbound":
      return { text: "A program of this host talks to this port elsewhere. Ask its owner why.", command: `ghostport events --port ${number} --kind connect`, alert: "GhostportOutboundUse" };
    case "probed":
      return { text: "Nothing answered, so nothing was reached. From one source it is a scan; from many, look whether something should be here.", command: `ghostport events --port ${number} --since 24h`, alert: "GhostportAwakenedByPacket" };
    case "bound":
    case "served":
      return isExpected(port)
        ? { text: "Expected: nothing to do.", command: `ghostport check ${number}` }
        : { text: "See what holds it, and say in the configuration whether that is expected.", command: `ghostport check ${number}`, alert: "GhostportPortServed" };
    default:
      return { text: "Nothing to do.", command: `ghostport explain ${number}` };
  }
}
