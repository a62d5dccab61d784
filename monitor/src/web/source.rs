//! What the routes of the API read from; the agent implements it.

use std::sync::Arc;

use anyhow::Result;
use monitor_kernel::{hooks::HookStatus, snapshot::PortSources, sources::TalkerFacts};

use crate::{
    api::{
        agent::AgentFacts,
        history::History,
        listener::Listeners,
        port::Port,
        selftest::{Assignment, SelftestReport},
    },
    config::WebDetails,
    event::broadcast::{Subscribed, Subscriber},
    store::Filter,
};

/// Where the answers come from.
pub trait Source: Send + Sync {
    /// Who may read details over TCP.
    fn details(&self) -> WebDetails;

    /// Every watched port, or only this one.
    ///
    /// # Errors
    /// The agent cannot read what it needs for the answer.
    fn ports(&self, only: Option<u16>) -> Result<Vec<Port>>;

    /// The last hour of a port; `None` if it is not watched.
    ///
    /// # Errors
    /// The agent cannot read what it needs for the answer.
    fn history(&self, port: u16) -> Result<Option<History>>;

    /// The agent itself.
    ///
    /// # Errors
    /// The maps cannot be read.
    fn agent(&self) -> Result<AgentFacts>;

    /// Every listener of the host.
    fn listeners(&self) -> Listeners;

    /// The remote addresses that exchange packets with the watched ports.
    ///
    /// # Errors
    /// The maps cannot be read.
    fn talkers(&self) -> Result<TalkerCounts>;

    /// Every hook.
    ///
    /// # Errors
    /// The agent cannot read what it needs for the answer.
    fn hooks(&self) -> Result<Vec<HookStatus>>;

    /// Why this host's addresses could not be read; `None` if they are known.
    fn addresses_error(&self) -> Option<String>;

    /// Stored events, newest last, each as one line of JSON.
    ///
    /// # Errors
    /// [`ReadError`](crate::store::ReadError) where the store cannot be read.
    fn events(&self, filter: &Filter) -> Result<Vec<String>>;

    /// Begins a selftest by this process; `None` while another runs.
    ///
    /// # Errors
    /// The maps cannot be written.
    fn begin_selftest(&self, client: Option<u32>) -> Result<Option<Assignment>>;

    /// Ends the selftest, whose client has sent a packet or not; `None` if none has begun. Takes
    /// seconds where something was not seen.
    ///
    /// # Errors
    /// The maps cannot be read or written.
    fn finish_selftest(&self, sent: bool) -> Result<Option<SelftestReport>>;

    /// These events from now on.
    fn subscribe(&self, events: Subscribed) -> Subscriber;
}

/// Remote addresses as the kernel side counts them.
#[derive(Clone, Debug, Default)]
pub struct TalkerCounts {
    /// Estimated number of addresses of each port.
    pub sources: Vec<PortSources>,
    /// The addresses with the most packets, most first.
    pub talkers: Vec<TalkerFacts>,
}

/// The source that all connections share.
pub type SharedSource = Arc<dyn Source>;
