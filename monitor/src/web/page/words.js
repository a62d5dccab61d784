// What the agent knows, in words.

export const program = process => `${process?.name || "?"} (${process?.pid ?? "?"})`;

const shortId = id => id.slice(0, 12);

/// Unit and container of a process, most telling first.
export const places = process => [
  process?.systemd_unit,
  process?.container_id && `container ${shortId(process.container_id)}`,
].filter(Boolean);

/// `python3 (4242), cron.service, root`.
export const holder = process => [program(process), ...places(process), process?.user].filter(Boolean).join(", ");

const end = (address, port, zone = "") => {
  if (port === undefined) return address + zone;
  return address.includes(":") ? `[${address}]${zone}:${port}` : `${address}${zone}:${port}`;
};

const zone = one => one.interface ? `%${one.interface}` : "";

/// Whether another socket may have the same unspecified address for IPv4.
const onlyIpv6 = one => one.ipv6_only && one.local_address === "::" ? " v6only" : "";

/// The local address, with what distinguishes the socket from others there.
export const address = one => one.local_address + zone(one) + onlyIpv6(one);

/// The same with the port.
const local = one => end(one.local_address, one.local_port, zone(one)) + onlyIpv6(one);

const SCOPES = { host: "only from this host", world: "from elsewhere, too" };

/// Transport, state and addresses of a socket.
export function socket(one) {
  const peer = one.peer_address ? ` → ${end(one.peer_address, one.peer_port)}` : "";
  const count = one.count ? ` ×${one.count}` : "";
  const words = [one.transport, one.tcp_state, local(one) + peer + count];
  return words.filter(Boolean).join(" ");
}

export const holdersOf = one => one.holders
  ? one.holders.map(holder).join("; ") || "no process"
  : "a process that the agent may not see";

/// What is known of the executables of the holders, each in words.
export const evidenceOf = one => (one.holders || []).filter(process => process.evidence).map(process => process.evidence.summary);

/// Whether a holder is expected, in words; undefined where that is not known.
export const judged = expected => expected === undefined ? undefined : expected ? "expected" : "not expected";

/// What holds the port, each holder once.
export function holders(port) {
  const found = new Map();
  for (const one of port.sockets) {
    if (one.side === "remote" && one.began === "peer") continue;
    for (const process of one.holders || []) found.set(process.pid, process);
  }
  return [...found.values()];
}

/// What answers behind the ways that lead on from the port.
export const answering = port => [...(port.answered_by || []).filter(one => !one.over), ...(port.forwarded_to || [])]
  .map(one => [one.pod && `pod ${one.pod}`, ...(one.holders || []).map(holder)].filter(Boolean).join(", ")).filter(Boolean);

/// How the listening and bound sockets are reached, each way once.
export function reached(port) {
  const own = port.sockets.filter(one => one.side === "local" && !one.peer_address);
  const ways = own.map(one => [`${one.transport} ${local(one)}`, SCOPES[one.scope]].filter(Boolean).join(", "));
  return [...new Set(ways), ...(port.answered_by || []).map(way), ...(port.forwarded_to || []).map(forwarded)];
}

const atEnd = one => {
  const where = one.pod ? `pod ${one.pod}` : one.target_scope === "elsewhere" ? "another host" : "";
  return [where, ...(one.holders || []).map(holder)].filter(Boolean).join(", ") || "no holder known";
};

function way(one) {
  const verb = one.in_use ? "answered by" : one.over ? "was answered by" : "would be answered by";
  const count = one.connections === undefined ? "" : `, ${plural(one.connections, "connection", "connections")}`;
  return `${one.transport} ${verb} ${one.path}${one.target ? " → " + one.target : ""}: ${atEnd(one)}${count}`;
}

function forwarded(one) {
  return `${one.transport} passed on by ${one.proxy} → ${one.target || "?"}: ${atEnd(one)}`;
}

export function capture(one) {
  return `${one.kind.replace("_", " ")}, ${one.filter}: ${(one.holders || []).map(holder).join(", ") || "holder unknown"}`;
}

export function sender(one, port) {
  const process = one.process ? holder(one.process) : "a process that is not known";
  return `${process} sent by ${one.transport} to ${one.peer_address ? end(one.peer_address, port) : "several hosts"}`;
}

/// `http ×250, tls ×3`.
export const traffic = port => (port.verdicts || []).slice(0, 4).map(one => `${one.verdict} ×${number(one.count)}`).join(", ");

export const number = value => value.toLocaleString("en");

/// `1 port`, `2 ports`.
export const plural = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;

const STEPS = ["", "k", "M", "G", "T"];

/// `999`, `1.2k`, `45M`.
export function short(value) {
  let step = 0;
  while (Math.abs(value) >= 999.5 && step + 1 < STEPS.length) {
    value /= 1000;
    step += 1;
  }
  const digits = step && Math.abs(value) < 9.95 || (!step && value % 1 && Math.abs(value) < 9.95) ? 1 : 0;
  return value.toFixed(digits) + STEPS[step];
}

export const bytes = value => `${short(value)}B`;
