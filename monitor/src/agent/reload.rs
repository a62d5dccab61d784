//! Reload: everything that can fail is prepared, then the configuration is put in force by steps
//! that cannot.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use monitor_kernel::{hooks::HookStatus, mechanism::InterfaceMode};
use tokio::{task::spawn_blocking, time::timeout};

use super::{
    attachment::{InterfaceList, selected},
    clock,
    lock::lock,
    pipeline::Wanted,
    state::Agent,
};
use crate::{
    config::Config,
    sinks::PreparedSinks,
    terminal::message::message,
    web::{PreparedRules, Security},
};

/// Time for all files of a configuration to be read: one may be on a mount that hangs.
const FILES_LIMIT: Duration = Duration::from_secs(5);

/// A configuration, and everything that it takes to put it in force.
struct Prepared {
    config: Config,
    /// Keys whose new value takes effect at the next start.
    deferred: Vec<&'static str>,
    sinks: PreparedSinks,
    /// TLS and passwords, if the web server has any.
    rules: Option<PreparedRules>,
    interfaces: InterfaceList,
}

impl Agent {
    /// Reads the configuration and puts it in force as a whole, or leaves the old one in force and
    /// logs why. Files of sinks are opened again in both cases, for logrotate.
    pub(super) async fn reload(&mut self) {
        self.manager.reloading();
        self.sinks.reopen();
        let prepared = self.prepare().await;
        let succeeded = prepared.is_ok();
        match prepared {
            Ok(prepared) => self.commit(prepared).await,
            Err(error) => {
                tracing::error!("the old configuration stays in force: {}", message(&error));
            }
        }
        lock(&self.status).reloaded(succeeded, Timestamp::now());
        self.manager.ready();
    }

    async fn prepare(&self) -> Result<Prepared> {
        let interfaces = self.list_interfaces()?;
        let (running, path, overrides) =
            (self.config(), self.config_path.clone(), self.overrides.clone());
        let (queue, security) = (self.sinks.clone(), self.security.clone());
        let read = spawn_blocking(move || -> Result<_> {
            let mut config = Config::load(path.as_deref(), &overrides)?;
            let web_file = config.web_config_file.clone();
            let web_file = web_file.filter(|_| config.web_config_file != running.web_config_file);
            let deferred = config.keep_until_restart(&running);
            // One that takes effect at the next start must not make that fail.
            web_file.as_deref().map(Security::load).transpose()?;
            let rules = security.map(|security| security.prepare()).transpose()?;
            let sinks = queue.prepare(&config.sinks)?;
            Ok((config, deferred, sinks, rules))
        });
        let read = timeout(FILES_LIMIT, read).await;
        let read = read.context("the files of the configuration cannot be read in time")?;
        let (config, deferred, sinks, rules) = read??;
        self.watch(&config, &interfaces).await?;
        Ok(Prepared { config, deferred, sinks, rules, interfaces })
    }

    /// Makes the counters of these ports and interfaces. The last step, and the last of all that can
    /// fail, is the system call by which the kernel side watches the new ports instead of the old.
    async fn watch(&self, config: &Config, interfaces: &InterfaceList) -> Result<()> {
        let ports: BTreeSet<u16> = config.port_numbers().collect();
        let wanted = selected(&config.interfaces, interfaces);
        let (listeners, before) =
            (config.listeners.watch.ports(), self.config().listeners.watch.ports());
        let kernel = Arc::clone(&self.kernel);
        // An array that takes the place of another waits for the programs that use the old one.
        let watched = spawn_blocking(move || {
            let mut kernel = lock(&kernel);
            kernel.make_room(&ports, &wanted)?;
            kernel.watch_listeners(&listeners)?;
            let watched = kernel.watch(&ports);
            if watched.is_err() {
                kernel.watch_listeners(&before)?;
            }
            watched
        });
        watched.await?.context("the kernel refuses to watch these ports")
    }

    async fn commit(&mut self, prepared: Prepared) {
        let Prepared { config, deferred, sinks, rules, interfaces } = prepared;
        for key in deferred {
            tracing::warn!("{key} has changed: it takes effect at the next start");
        }
        self.warn_of_kept_mechanisms(config.interfaces.mode);
        self.sinks.replace(sinks);
        if let (Some(security), Some(rules)) = (&self.security, rules) {
            security.replace(rules);
        }
        self.pipeline.configure(Wanted::from(&config), clock::now()).await;
        self.store.limit(&config.store);
        let ports = config.ports.len();
        self.config.send_replace(Arc::new(config));
        self.reconcile_with(interfaces).await;
        tracing::info!(ports, "configuration reloaded");
    }

    fn warn_of_kept_mechanisms(&self, mode: InterfaceMode) {
        let keeps = |status: &HookStatus| status.outlives_change_to(mode);
        if mode != self.config().interfaces.mode && lock(&self.kernel).hooks().iter().any(keeps) {
            tracing::warn!(
                "interfaces.mode has changed: an interface that is served by another mechanism \
                 keeps it until the next start"
            );
        }
    }
}
