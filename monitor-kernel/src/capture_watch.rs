//! Notices of sockets that may capture packets. They end with the agent: what is opened while none runs,
//! the first scan of the next one finds.

use anyhow::{Result, bail};

use crate::{links::OwnedLink, program_loader::ProgramLoader};

const PROGRAM: &str = "capture_kprobe";

/// Functions that make such a socket, or give it its filter.
const FUNCTIONS: [&str; 6] =
    ["packet_create", "packet_bind", "sk_attach_filter", "sk_attach_bpf", "raw_bind", "xsk_bind"];

/// The attached programs.
#[derive(Debug, Default)]
pub(super) struct CaptureWatch(#[expect(dead_code, reason = "held to be dropped")] Vec<OwnedLink>);

impl CaptureWatch {
    /// Attaches to the functions that this kernel has.
    pub(super) fn attach(loader: &mut ProgramLoader) -> Result<Self> {
        let mut links = Vec::new();
        let mut failure = None;
        for function in FUNCTIONS {
            match loader.attach_kprobe(PROGRAM, function) {
                Ok(link) => links.push(link),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if links.is_empty() => Err(error),
            None if links.is_empty() => bail!("nothing to attach to"),
            _ => Ok(Self(links)),
        }
    }
}
