//! The roles of processes.

/// What a process does from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The agent, when it has started: it attaches programs, reads files and serves clients. It
    /// executes nothing, traces nothing, and enters no namespace.
    Agent,
    /// A parser of bytes that others have made: it reads and writes what is open, and opens nothing.
    Parser,
}
