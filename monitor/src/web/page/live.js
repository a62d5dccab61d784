// Reads the API: ports and the agent periodically, events as they happen. What was read last stays when the
// agent does not answer, with the time at which it was true.

const PERIOD = 5000, SOON = 300, HISTORY_PERIOD = 10_000, RETRY = 3000, MAX_EVENTS = 1000, MAX_HISTORIES = 24;

export const facts = {
  agent: undefined, ports: [], histories: new Map(), talkers: new Map(), listeners: undefined, hooks: [],
  events: [],
  /// The port whose view is shown.
  shown: undefined,
  /// Whether events arrive (undefined before the first attempt), when the last answer came, and why there is none since.
  streaming: undefined, answeredAt: undefined, trouble: undefined,
  /// Why there are no stored events.
  noStore: undefined,
};

let changed = () => {};
let timer, due = 0, isAsking = false, askedHistories = 0;
/// Events that were read, so that those of the stream and of the store are shown once.
const seen = new Set();

export async function read(path) {
  // A host that is gone does not answer; TCP says so after minutes.
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) {
    const body = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(body.error || `${path}: ${answer.status}`), { status: answer.status });
  }
  return answer.json();
}

/// What is there with this agent; undefined for a route that it does not have.
const optional = path => read(path).catch(error => {
  if (error.status === 404) return undefined;
  throw error;
});

async function look() {
  const [ports, agent] = await Promise.all([read("api/v1/ports"), read("api/v1/agent")]);
  const missing = agent.hooks.missing > 0;
  const hooks = missing ? await read("api/v1/hooks") : { hooks: [] };
  Object.assign(facts, { ports: ports.ports, agent, answeredAt: Date.now(), trouble: undefined });
  facts.hooks = hooks.hooks.filter(one => !one.attached);
}

/// The hours of the ports that are shown, and who talks to them.
async function lookBack() {
  if (Date.now() - askedHistories < HISTORY_PERIOD) return;
  askedHistories = Date.now();
  const first = port => port.port === facts.shown;
  const wanted = [...facts.ports].sort((a, b) => first(b) - first(a) || (b.last_packet || "").localeCompare(a.last_packet || "")).slice(0, MAX_HISTORIES);
  const [talkers, listeners, ...histories] = await Promise.all([
    read("api/v1/talkers?limit=20"), optional("api/v1/listeners"), ...wanted.map(one => optional(`api/v1/ports/${one.port}/history`)),
  ]);
  facts.histories = new Map(histories.filter(Boolean).map(one => [one.port, one]));
  facts.listeners = listeners;
  facts.talkers = group(talkers.ports);
}

/// Rows by their port.
function group(rows) {
  const groups = new Map();
  for (const row of rows) groups.set(row.port, [...(groups.get(row.port) || []), row]);
  return groups;
}

/// Asks after this time, and not when it was due before.
function refreshAfter(time) {
  clearTimeout(timer);
  due = Date.now() + time;
  timer = setTimeout(refresh, time);
}

/// Asks for everything, and again after a while.
async function refresh() {
  refreshAfter(isAsking ? SOON : PERIOD);
  if (isAsking) return;
  isAsking = true;
  try {
    await look();
    changed();
    await lookBack();
  } catch (error) {
    facts.trouble = error.message;
  }
  isAsking = false;
  changed();
}

/// Asks soon: something has happened. A burst of events is one question, and one without an end does not
/// put it off.
function refreshSoon() {
  if (due - Date.now() > SOON) refreshAfter(SOON);
}

/// Asks for the hours at the next occasion.
export const refreshHistories = () => {
  askedHistories = 0;
  refreshSoon();
};

function add(event) {
  const key = JSON.stringify(event);
  if (seen.has(key)) return;
  seen.add(key);
  if (seen.size > 4 * MAX_EVENTS) seen.delete(seen.values().next().value);
  facts.events.push(event);
  if (facts.events.length > MAX_EVENTS) facts.events.shift();
}

/// The stored events, which have what happened before the stream was there.
async function readStored() {
  try {
    (await read("api/v1/events?limit=200")).events.forEach(add);
    facts.events.sort((a, b) => a.time < b.time ? -1 : a.time > b.time ? 1 : 0);
    facts.noStore = undefined;
  } catch (error) {
    facts.noStore = error.message;
  }
  changed();
}

function follow() {
  const stream = new EventSource("api/v1/events/stream");
  stream.onopen = () => {
    facts.streaming = true;
    readStored();
    refreshSoon();
  };
  stream.onmessage = message => {
    add(JSON.parse(message.data));
    askedHistories = Math.min(askedHistories, Date.now() - HISTORY_PERIOD + 2000);
    changed();
    refreshSoon();
  };
  stream.addEventListener("lost", readStored);
  stream.onerror = () => {
    // Without a stream there are the stored events.
    if (facts.streaming === undefined) readStored();
    facts.streaming = false;
    changed();
    // A stream that was refused is not opened again by itself.
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, RETRY);
  };
}

/// Draws again: something that no answer of here has is known now.
export const redraw = () => changed();

/// Calls `callback` whenever the facts have changed.
export function start(callback) {
  let isDrawn = false;
  changed = () => {
    if (isDrawn) return;
    isDrawn = true;
    queueMicrotask(() => {
      isDrawn = false;
      callback(facts);
    });
  };
  refresh();
  follow();
  document.addEventListener("visibilitychange", () => document.hidden || refreshSoon());
}
