//! Every metric that ghostport exports. No other file of the agent names one. xtask and the tests
//! compare them with what the expressions of dashboards and rules use.

pub mod promql;

use prometheus::proto::MetricType;

/// Declaration of a metric.
#[derive(Debug)]
pub struct Metric {
    /// Name in the exposition.
    pub name: &'static str,
    /// One line for the operator.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: MetricType,
    /// Names of the labels, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// When its series began to count; `None` for gauges, and where that differs between its series.
    pub origin: Option<Origin>,
}

/// When a counter began to count from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// When the kernel's maps were created: they outlive the agent, and end with the boot.
    Maps,
    /// When the ledger began: it outlives the boot.
    Ledger,
    /// When the agent started.
    Agent,
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $constant:ident: $kind:ident $(since $origin:ident)? $name:literal [$($label:literal),*] $help:literal;)+) => {
        $($(#[$doc])* pub const $constant: Metric = Metric {
            name: $name,
            help: $help,
            kind: MetricType::$kind,
            labels: &[$($label),*],
            origin: origin!($($origin)?),
        };)+

        /// All of them.
        pub const ALL: &[&Metric] = &[$(&$constant),+];
    };
}

macro_rules! origin {
    () => {
        None
    };
    ($origin:ident) => {
        Some(Origin::$origin)
    };
}

metrics! {
    /// Packets by end and direction.
    PACKETS: COUNTER since Maps "ghostport_packets_total"
        ["interface", "role", "port", "protocol", "direction", "side"]
        "Packets of a watched port; side is local when the port is this host's end; a sum over role edge has no packet twice.";
    /// Bytes by end and direction.
    BYTES: COUNTER since Maps "ghostport_bytes_total"
        ["interface", "role", "port", "protocol", "direction", "side"]
        "Ethernet frame bytes of those packets, without frame check sequence.";
    /// SYN without ACK.
    CONNECTION_ATTEMPTS: COUNTER since Maps "ghostport_connection_attempts_total"
        ["interface", "role", "port", "direction", "side"]
        "TCP segments with SYN and without ACK.";
    /// Packets without a port.
    UNCLASSIFIED_PACKETS: COUNTER since Maps "ghostport_unclassified_packets_total"
        ["interface", "direction", "cause"]
        "Packets that could not be attributed to a port.";
    /// Bind attempts.
    BINDS: COUNTER since Maps "ghostport_binds_total" ["port", "protocol", "result"]
        "Attempts to bind a socket to a watched port.";
    /// Listening.
    LISTENS: COUNTER since Maps "ghostport_listens_total" ["port"]
        "TCP and SCTP sockets that began to listen on a watched port.";
    /// Closing.
    CLOSES: COUNTER since Maps "ghostport_closes_total" ["port", "protocol"]
        "Sockets that gave a watched port back.";
    /// Binds by unexpected processes.
    UNEXPECTED_BINDS: COUNTER since Ledger "ghostport_unexpected_binds_total" ["port", "protocol"]
        "Successful binds to a watched port by callers that its expect list does not name.";
    /// Answers that no socket explains.
    ANSWERS_WITHOUT_SOCKET: COUNTER since Ledger "ghostport_answers_without_socket_total" ["port", "protocol"]
        "Connections accepted and datagrams answered from an address of this host on a watched port that no socket holds.";
    /// Holders.
    BOUND_SOCKETS: GAUGE "ghostport_bound_sockets" ["port", "protocol"]
        "Sockets that hold a watched port now.";
    /// Holders that are not expected.
    UNEXPECTED_SOCKETS: GAUGE "ghostport_unexpected_sockets" ["port", "protocol"]
        "Sockets that hold a watched port now and whose owner its expect list does not name.";
    /// Time of the last packet.
    LAST_PACKET_TIMESTAMP: GAUGE "ghostport_last_packet_timestamp_seconds" ["port", "protocol"]
        "When a packet of a watched port was last seen; 0 for never.";
    /// Time of the last bind.
    LAST_BIND_TIMESTAMP: GAUGE "ghostport_last_bind_timestamp_seconds" ["port", "protocol"]
        "When a socket was last bound to a watched port; 0 for never.";
    /// State.
    PORT_STATE: GAUGE "ghostport_port_state" ["port", "state"]
        "1 for the state that a watched port is in, 0 for the others.";
    /// Dormancy.
    DORMANT: GAUGE "ghostport_dormant" ["port"]
        "1 for a watched port that is dormant.";
    /// Awakenings.
    AWAKENINGS: COUNTER since Ledger "ghostport_awakenings_total" ["port", "cause", "expected"]
        "First packets or binds on a dormant port; expected is true for a bind or socket of an owner that its expect list names.";
    /// Gaps.
    COVERAGE_GAP: COUNTER since Ledger "ghostport_coverage_gap_seconds_total" []
        "Time in which no agent looked; it does not count towards dormancy.";
    /// Remote addresses.
    SOURCES: GAUGE "ghostport_sources" ["port", "protocol"]
        "Distinct remote addresses on a watched port in the last five minutes; an estimate, with a standard error of 5 percent; absent for none.";
    /// Verdicts.
    PAYLOADS_IDENTIFIED: COUNTER since Agent "ghostport_payloads_identified_total" ["port", "protocol", "verdict"]
        "Conversations on a watched port by what their first payload is; a verdict has a series from its first sight on.";
    /// Payloads that were not identified.
    PAYLOADS_SKIPPED: COUNTER "ghostport_payloads_skipped_total" ["cause"]
        "First payloads and connection attempts that were not looked at, by cause.";
    /// Name of a port.
    PORT_INFO: GAUGE "ghostport_port_info" ["port", "service", "description"]
        "What the registry says of a watched port; always 1.";
    /// Who holds a port, where the configuration asks for it.
    HOLDER_INFO: GAUGE "ghostport_holder_info"
        ["port", "protocol", "executable", "unit", "user", "container"]
        "A program that holds a watched port, as of the last scan; always 1; 64 at most, and only with metrics.holder_info.";
    /// Listeners of the host.
    LISTENERS: GAUGE "ghostport_listeners" ["protocol", "scope"]
        "Sockets that listen on the ports of listeners.watch, as of the last scan; scope is world if they can be reached from elsewhere; absent while none are watched.";
    /// Listeners outside of the baseline.
    LISTENERS_UNEXPECTED: GAUGE "ghostport_listeners_unexpected" ["protocol", "scope"]
        "Those of them that neither the baseline nor listeners.expect has.";
    /// Changes of listeners.
    LISTENER_CHANGES: COUNTER "ghostport_listener_changes_total" ["change"]
        "Listeners that the baseline did not have (new), that took the place of another one (changed), or that are gone.";
    /// Since when unexpected listeners listen.
    LISTENER_UNEXPECTED_TIMESTAMP: GAUGE "ghostport_listener_unexpected_timestamp_seconds" ["port", "protocol"]
        "Since when a port has an unexpected listener; the newest 64 ports at most.";
    /// Hooks.
    HOOK_ATTACHED: GAUGE "ghostport_hook_attached" ["hook", "mechanism", "interface"]
        "1 for a hook that is attached, 0 for one that no mechanism serves.";
    /// Hooks that were detached behind the agent.
    HOOKS_LOST: COUNTER since Agent "ghostport_hooks_lost_total" ["hook"]
        "Times that something other than ghostport detached a hook; it is attached again.";
    /// Lost events.
    EVENTS_LOST: COUNTER "ghostport_events_lost_total" ["stage"]
        "Events lost: kernel ring buffer full, queue full, sink not writable.";
    /// Events that a receiver got later because of its rate.
    EVENTS_HELD_BACK: COUNTER "ghostport_events_held_back_total" []
        "Events that waited because their receiver gets so many in a second (rate); those that found the queue full meanwhile are lost.";
    /// Failures of the kernel side.
    KERNEL_ERRORS: COUNTER "ghostport_kernel_errors_total" ["cause"]
        "What the kernel side could not do, by cause.";
    /// Reads of processes that were given up.
    PROCESS_READS_ABANDONED: COUNTER since Agent "ghostport_process_reads_abandoned_total" ["reason"]
        "Reads of a process or its files that were given up: not ended in time (timeout), or not begun because others hang (refused).";
    /// Progress of the pipeline.
    PIPELINE_BUSY: GAUGE "ghostport_pipeline_busy_seconds" []
        "Time that the agent has worked on the event that it works on, 0 without one; others wait meanwhile.";
    /// Scans of sockets whose result contradicted the events.
    HOLDER_DIFFERENCES: COUNTER since Agent "ghostport_holder_differences_total" []
        "Times that a look at all sockets found a port held, or free, and the events said otherwise.";
    /// Fill of maps.
    MAP_ENTRIES: GAUGE "ghostport_map_entries" ["map"]
        "Entries in use in a kernel map.";
    /// Size of maps.
    MAP_CAPACITY: GAUGE "ghostport_map_capacity" ["map"]
        "Entries that a kernel map has room for.";
    /// Patterns without an interface.
    UNMATCHED_INTERFACE_PATTERNS: GAUGE "ghostport_unmatched_interface_patterns" []
        "Patterns of interfaces.include that match no interface.";
    /// Reload.
    CONFIG_RELOAD_SUCCESS: GAUGE "ghostport_config_reload_success" []
        "Whether the last reading of the configuration succeeded.";
    /// Time of reload.
    CONFIG_RELOAD_TIMESTAMP: GAUGE "ghostport_config_reload_timestamp_seconds" []
        "When the configuration was last read, well or badly.";
    /// Selftest.
    SELFTEST_SUCCESS: GAUGE "ghostport_selftest_success" []
        "Whether the last selftest since the boot saw everything; absent where there was none.";
    /// Time of the selftest.
    SELFTEST_TIMESTAMP: GAUGE "ghostport_selftest_timestamp_seconds" []
        "When the last selftest since the boot ended; absent where there was none.";
    /// Build.
    BUILD_INFO: GAUGE "ghostport_build_info" ["version", "revision", "kernel"]
        "Version of the agent and of the kernel it runs on; always 1.";
    /// Processor time.
    PROCESS_CPU_SECONDS: COUNTER since Agent "process_cpu_seconds_total" []
        "Total user and system CPU time spent in seconds.";
    /// Descriptors.
    PROCESS_OPEN_FDS: GAUGE "process_open_fds" []
        "Number of open file descriptors.";
    /// Limit of descriptors.
    PROCESS_MAX_FDS: GAUGE "process_max_fds" []
        "Maximum number of open file descriptors.";
    /// Virtual memory.
    PROCESS_VIRTUAL_MEMORY: GAUGE "process_virtual_memory_bytes" []
        "Virtual memory size in bytes.";
    /// Resident memory.
    PROCESS_RESIDENT_MEMORY: GAUGE "process_resident_memory_bytes" []
        "Resident memory size in bytes.";
    /// Start.
    PROCESS_START_TIME: GAUGE "process_start_time_seconds" []
        "Start time of the process since unix epoch in seconds.";
}
