//! Identifies network payloads: bytes and ports in, a verdict with its reason out.
//!
//! Pure: no I/O, no clock, no state. A signature checks as much structure as a payload has; the most
//! specific signatures come first, and nothing is allocated until one of them matches. The protocols
//! of the five legacy ports are walked field by field, because single bytes prove nothing:
//! `evidence` defines how much is enough.
//!
//! [`identify()`] takes the first payload of one direction of a conversation, [`scanner`] the headers
//! of a connection attempt, [`capture`] a pcap or pcapng file.

pub mod capture;
mod details;
mod evidence;
mod fallback;
mod grade;
mod identification;
mod identify;
mod legacy;
mod message;
mod modern;
mod payload;
mod reader;
pub mod scanner;
mod signature;
mod verdict;

pub use details::{DetailKind, Details, hex};
pub use grade::Grade;
pub use identification::Identification;
pub use identify::identify;
pub use message::is_unfinished;
pub use payload::Payload;
pub use verdict::Verdict;
