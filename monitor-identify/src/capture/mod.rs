//! From a capture to its conversations: files, link layers, tunnels, packets, and the first payload
//! of each end.
//!
//! The file is read through [`std::io::Read`] from its caller: nothing is opened here.

mod attempt;
mod compression;
mod conversation;
mod error;
mod file;
mod finding;
mod flight;
mod foreign;
mod link;
mod linktype;
mod packet;
mod pcap;
mod pcapng;
mod record;
mod segments;
mod source;
mod tunnel;

pub use self::{
    attempt::{connection_attempt, stray_segment},
    compression::Compression,
    error::CaptureError,
    file::{is_capture, read as read_capture},
    finding::{Finding, Summary},
    foreign::foreign_format,
    segments::{Joined, Segment, join_segments},
};
