//! The addresses of this host follow its configuration: the kernel side has them before the first
//! traffic hook is attached, and again after every change.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use monitor_common::flow::Side;
use monitor_kernel::{
    Kernel,
    local_addresses::{AddressWatch, LocalAddresses},
};
use tokio::{task::spawn_blocking, time::sleep};

use super::{lock::lock, socket_scanner::SocketScanner};
use crate::metrics::AgentStatus;

/// How often addresses are read: no message announces a local route or a multicast group that is
/// joined.
const PERIOD: Duration = Duration::from_secs(1);

/// The addresses that the kernel side has, and where news of them come from.
#[derive(Debug)]
pub(super) struct AddressUpdates {
    /// `None` where there is no netlink socket.
    watch: Option<AddressWatch>,
    in_force: Option<LocalAddresses>,
}

impl AddressUpdates {
    /// Connects to netlink. Without it no packet counts as in transit.
    pub(super) fn connect() -> Self {
        let watch = AddressWatch::connect()
            .inspect_err(|error| {
                tracing::error!(%error, "the addresses of this host cannot be read");
            })
            .ok();
        Self { watch, in_force: None }
    }

    /// Reads the addresses, and sets them in the kernel side if they have changed.
    pub(super) async fn update(
        &mut self,
        kernel: &Arc<Mutex<Kernel>>,
        scanner: &SocketScanner,
        status: &Mutex<AgentStatus>,
    ) {
        let Some(watch) = &self.watch else {
            return note(status, Err(anyhow!("there is no netlink socket")));
        };
        let result = match watch.read().await.context("the addresses of this host are unknown") {
            Ok(mut local) => {
                local.addresses.extend(bound_addresses(scanner, &local));
                self.set(kernel, local).await
            }
            Err(error) => Err(error),
        };
        note(status, result);
    }

    async fn set(&mut self, kernel: &Arc<Mutex<Kernel>>, local: LocalAddresses) -> Result<()> {
        if self.in_force.as_ref() == Some(&local) {
            return Ok(());
        }
        let kernel = Arc::clone(kernel);
        let wanted = local.clone();
        spawn_blocking(move || lock(&kernel).set_local_addresses(&wanted))
            .await?
            .context("the addresses of this host cannot be set")?;
        tracing::debug!(
            addresses = local.addresses.len(),
            networks = local.networks.len(),
            "the addresses of this host are in force"
        );
        self.in_force = Some(local);
        Ok(())
    }

    /// Waits until the addresses have to be read again.
    async fn wait(&mut self) {
        let Some(watch) = &mut self.watch else { return sleep(PERIOD).await };
        let is_connected = tokio::select! {
            news = watch.changed() => news.is_some(),
            () = sleep(PERIOD) => true,
        };
        if !is_connected {
            sleep(PERIOD).await;
        }
    }

    /// Follows the addresses until it is aborted.
    pub(super) async fn follow(
        mut self,
        kernel: Arc<Mutex<Kernel>>,
        scanner: Arc<SocketScanner>,
        status: Arc<Mutex<AgentStatus>>,
    ) {
        loop {
            self.wait().await;
            self.update(&kernel, &scanner, &status).await;
        }
    }
}

/// Notes how a reading ended, for metrics and doctor. The log has the first failure of several.
fn note(status: &Mutex<AgentStatus>, result: Result<()>) {
    let mut status = lock(status);
    let Err(error) = result else {
        status.addresses_error = None;
        return;
    };
    let error = format!("{error:#}");
    if status.addresses_error.is_none() {
        tracing::error!("packets keep the sides of before: {error}");
    }
    status.address_failures += 1;
    status.addresses_error = Some(error);
}

/// Addresses that sockets on watched ports have although they are not configured: those of
/// `IP_TRANSPARENT` and `IP_FREEBIND` sockets, and with `net.ipv4.ip_nonlocal_bind`.
fn bound_addresses(scanner: &SocketScanner, local: &LocalAddresses) -> BTreeSet<IpAddr> {
    let sockets = scanner.sockets();
    let here = sockets
        .iter()
        .filter(|socket| socket.side == Side::Local && socket.netns_inode == scanner.netns_inode());
    let addresses = here.map(|socket| socket.entry.local.ip().to_canonical());
    addresses.filter(|address| !address.is_unspecified() && !local.contains(*address)).collect()
}
