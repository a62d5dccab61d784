//! The table of routes: the routers are built from it, and so is docs/reference/http.md.

/// A route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Its path, as the router matches it.
    pub path: &'static str,
    /// Which clients may read it.
    pub access: Access,
    /// What it answers, in Markdown.
    pub answer: &'static str,
    /// The parameters of its query.
    pub parameters: &'static [Parameter],
}

/// Which clients may read a route, once they have passed TLS and passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Every client that reaches the listener.
    Open,
    /// Those that `web.details` allows, and those of the Unix socket.
    Details,
    /// Those of the Unix socket.
    Socket,
}

/// A parameter of a query.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name, with a value as an example: `port=2948`.
    pub example: &'static str,
    /// What it does, in Markdown.
    pub help: &'static str,
}

const PORT_PARAMETER: Parameter = Parameter { example: "port=2948", help: "only this port" };

macro_rules! routes {
    ($($constant:ident: $path:literal $access:ident [$($parameter:expr),*] $answer:literal;)+) => {
        $(pub(super) const $constant: Route = Route {
            path: $path,
            access: Access::$access,
            answer: $answer,
            parameters: &[$($parameter),*],
        };)+

        /// Every route.
        pub const ROUTES: &[Route] = &[$($constant),+];
    };
}

routes! {
    METRICS: "/metrics" Open []
        "Prometheus' text format 0.0.4, or OpenMetrics 1.0 where `Accept` asks for it, read from the kernel at that moment. 503 until every hook has been tried, and while two large expositions are in progress.";
    HEALTHZ: "/healthz" Open []
        "200: the agent answers.";
    READYZ: "/readyz" Open []
        "200 once every hook has been tried. 503 before, while a hook that something else detached is not attached again, and while events wait behind one that is stuck for more than ten seconds.";
    RUNBOOK: "/runbook" Open []
        "The runbook's introduction and its list of alerts, as HTML.";
    RUNBOOK_SECTION: "/runbook/{name}" Open []
        "What to do about the alert of that name, as HTML: `runbook_url` of alerts leads here. 404 with the list for an unknown name.";
    PAGE: "/" Details []
        "The live page: ports, their holders, and events as they happen. A client that may not read details gets a page that says why, with 403.";
    PAGE_FILE: "/page/{*name}" Details []
        "A script or style of the live page.";
    PORTS: "/api/v1/ports" Details []
        "`{\"ports\": […]}`: state, dormancy, last packet and bind, awakenings, findings, and the sockets of the last scan as `ghostport check --json` has them.";
    PORT: "/api/v1/ports/{port}" Details []
        "That port alone; 404 if it is not watched.";
    HISTORY: "/api/v1/ports/{port}/history" Details []
        "The last hour of that port. `{\"port\": …, \"until\": …, \"series\": [{\"step_seconds\": 10, \"since\": …, \"packets_in\": […], \"packets_out\": […], \"binds\": […], \"binds_refused\": […]}, {\"step_seconds\": 1, …}], \"states\": [{\"state\": …, \"since\": …}, …]}`, oldest first: steps of ten seconds, then at least five minutes by the second, from the start of the agent at the earliest. Each series begins where the one before ends, the last one ends at `until`, and its lists are of one length. Packets are those of edge interfaces, all protocols and sides together; `binds` and `binds_refused` are absent where all are 0. A state holds until the next one begins. With more than 64 watched ports, `series` is empty for one that made room for others.";
    CATALOGUE: "/api/v1/ports/{port}/catalogue" Details []
        "What `ghostport explain` says of that port, watched or not: `port`, `name`, and of legacy ports `description`, `era`, `purpose`, `dormant` (why nothing should be there), `today`, `related`, …; 404 if IANA has no name for it.";
    AGENT: "/api/v1/agent" Details []
        "`{\"host\": …, \"version\": …, \"revision\": …, \"kernel\": …, \"started\": …, \"hooks\": {\"attached\": …, \"missing\": …}, \"events_lost\": {\"ring\": …, \"queue\": …, \"sink\": …}, \"coverage_gap_seconds\": …}`: what runs, and what it lost.";
    LISTENERS: "/api/v1/listeners" Details []
        "`{\"watched\": …, \"learning\": …, \"listeners\": […]}`: every socket of the host that listens, as of the last scan, as `ghostport check --all --json` has them, with `since`, `expected` and whether it is in the `baseline`. Empty while `listeners.watch` is `none`.";
    EVENTS: "/api/v1/events" Details [
        Parameter { example: "since=24h", help: "only events of this duration until now" },
        PORT_PARAMETER,
        Parameter { example: "kind=bind", help: "only events of this kind" },
        Parameter { example: "limit=100", help: "only so many, the newest; at most and by default 1,000" }
    ]
        "`{\"events\": […]}` from the store, newest last. 503 without a store.";
    EVENT_STREAM: "/api/v1/events/stream" Details [
        Parameter { example: "every", help: "also the events that are otherwise summed up, and no summaries" }
    ]
        "The events from now on, as server-sent events with an `id`. `event: lost` says how many a slow client has missed, or one that reconnects with `Last-Event-ID`; without a number if another agent sent that event. 32 clients at once; 503 beyond.";
    TALKERS: "/api/v1/talkers" Details [
        PORT_PARAMETER,
        Parameter { example: "limit=10", help: "at most so many addresses of each port and transport; 10 by default" }
    ]
        "`{\"ports\": […]}`: remote addresses by port and transport: how many, and the most talkative.";
    HOOKS: "/api/v1/hooks" Details []
        "`{\"hooks\": […]}`: what is attached, by which mechanism, and why no better one.";
    SELFTEST: "/api/v1/selftest" Socket []
        "By `POST`: begins a selftest, and answers with the address and the port at which the sockets of this client are not counted and raise no event for some seconds. 503 while another runs. `ghostport selftest` uses it.";
    SELFTEST_RESULT: "/api/v1/selftest/result" Socket [
        Parameter { example: "sent=true", help: "whether a datagram was sent from the port to itself" }
    ]
        "By `POST`: ends the selftest. `{\"success\": …, \"port\": …, \"hooks\": […], \"event_delivered\": …}`: which hooks have reported what was done, and whether the event `selftest` was delivered.";
}
