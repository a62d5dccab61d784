//! Capacities of the kernel maps: what bounds the memory of the kernel side.

/// Interfaces that can be counted at once; one inner array each.
pub const MAX_INTERFACES: u32 = 1024;

/// Interface indices below this find their counters by one indexed load, the others by a hash.
pub const NEAR_INTERFACES: u32 = 1024;

/// Slots of one port index in the flat array at most: interfaces times CPUs.
pub const MAX_FLAT_STRIDE: u32 = 1 << 15;

/// Bytes of the ring buffer of socket events; a power of two and a multiple of the page size.
pub const EVENT_RING_BYTES: usize = 128 * 1024;

/// Sums of socket calls by process at once; what is beyond is summed up by user.
pub const CALL_SUMS: u32 = 256;

/// Sums of socket calls by user at once; what is beyond is lost, and counted.
pub const USER_CALL_SUMS: u32 = 64;

/// Threads that can be inside a traced `bind(2)` at once.
pub const MAX_BINDS_IN_FLIGHT: u32 = 128;

/// Threads that can be inside a `listen(2)` at once.
pub const MAX_LISTENS_IN_FLIGHT: u32 = 32;

/// Threads that can be about to bind a socket for datagrams to a port of listeners at once.
pub const MAX_NAMED_BINDS: u32 = 32;

/// Sockets of which it is known that a bind left the choice of their port to the kernel. Should
/// there be more, the closes of those that were not used longest are not reported.
pub const MAX_AUTOMATIC_BINDS: u32 = 192;

/// Bytes of the ring buffer of samples, which holds 199 of them.
pub const SAMPLE_RING_BYTES: usize = 64 * 1024;

/// Bytes of a packet that one sample holds.
pub const SAMPLE_LEN: usize = 256;

/// Bytes that are sampled of the beginning of a TCP flow: no signature looks further. A multiple of
/// [`SAMPLE_LEN`].
pub const FLIGHT_LEN: usize = 4096;

/// Flows that are remembered, so that only their first payload is sampled; a power of two.
pub const CONVERSATIONS: u32 = 4096;

/// Remote addresses of which it is remembered how many samples they had; a power of two.
pub const RECENT_SOURCES: u32 = 1024;

/// Samples that one remote address has on one port in a window of time, in both directions.
pub const SAMPLES_PER_SOURCE: u64 = 64;

/// Samples behind the first of a flow that one remote address has on one port in a window of time:
/// the beginnings of 17 flows in full, or one sample more of each of 255.
pub const CONTINUATIONS_PER_SOURCE: u64 = 255;

/// Samples a second, by [`Budget`](crate::sampling::Budget). Of continuations there are eight for each
/// conversation, 2 KiB on average.
pub const SAMPLES_PER_SECOND: [i64; 3] = [128, 128, 1024];

/// Windows of time for which remote addresses are kept apart; a power of two. The last one is the
/// present, so that an estimate is of the last three to four windows.
pub const SOURCE_WINDOWS: u32 = 4;

/// Seconds of a window: what was seen five minutes ago is within the estimate, and nothing that is
/// older than 6:40.
pub const WINDOW_SECONDS: u32 = 100;

/// Port indices below this have sketches, if no more ports are watched when the maps are made.
pub const LEAST_SKETCHED_PORTS: u32 = 8;

/// Port indices below this have sketches at most.
pub const MOST_SKETCHED_PORTS: u32 = 128;

/// Sets of rows that each CPU has for the most talkative; a power of two.
pub const TALKER_SETS: u32 = 32;

/// Rows of a set.
pub const TALKER_WAYS: usize = 2;

/// Networks that are local as a whole, and addresses of this host beyond the table.
pub const MAX_LOCAL_PREFIXES: u32 = 4096;

/// Flows to watched ports elsewhere of which it is remembered who began them: those of UDP, and of TCP
/// those that the peer began. Should there be more at once, those that were silent longest are
/// forgotten; the next datagram of one of UDP begins it again.
pub const REMOTE_FLOWS: u32 = 384;

/// Silence after which a UDP flow begins again, nanoseconds: five minutes, the time for which states
/// of the ledger hold.
pub const REMOTE_FLOW_SILENCE_NS: u64 = 300_000_000_000;

/// Processes, and ports of other hosts that they send to, of which it is remembered that the first call
/// was recorded. Should there be more at once, those that were silent longest are forgotten, and their
/// next call is recorded again.
pub const OUTBOUND: u32 = 256;

/// Interfaces, ports and rare protocols whose packets can be counted at once.
pub const RARE_TRAFFIC: u32 = 256;

/// Ports and rare protocols whose socket calls can be counted at once.
pub const RARE_SOCKETS: u32 = 32;
