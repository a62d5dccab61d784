//! The object of tests and benchmarks, which is not part of the agent.

/// `monitor-ebpf/src/testing.rs`, compiled.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("GHOSTPORT_TESTING_OBJECT"));

/// The agent's own object, for tests that load its programs directly.
pub static AGENT_OBJECT: &[u8] = crate::object::OBJECT;
