//! The interfaces: driver, MTU, whether they are counted, and by which mechanism.

use serde::Serialize;

use super::hooks::HookReport;
use crate::config::Config;
use monitor_kernel::{
    driver,
    hooks::{Hook, HookMechanism},
    interfaces::{self, Interface},
};

#[derive(Debug, Serialize)]
pub(super) struct InterfaceReport {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) driver: Option<String>,
    pub(super) mtu: u32,
    /// Whether the configuration wants it counted.
    pub(super) counted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ingress: Option<HookMechanism>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) egress: Option<HookMechanism>,
}

/// Every interface of this network namespace; none where netlink cannot be asked.
pub(super) fn all() -> Vec<Interface> {
    interfaces::here().unwrap_or_default().into_values().collect()
}

/// Names of those that have an XDP program, whose it is.
pub(super) fn with_xdp(all: &[Interface]) -> Vec<String> {
    let found = all.iter().filter(|interface| !interface.xdp_programs.is_empty());
    found.map(|interface| interface.name.clone()).collect()
}

/// Those that the configuration wants counted.
pub(super) fn counted(config: &Config, all: &[Interface]) -> Vec<Interface> {
    all.iter().filter(|interface| config.interfaces.counts(interface)).cloned().collect()
}

/// The report on every interface. A running agent may have another configuration than this command:
/// it counts those that it has hooks on.
pub(super) fn reports(
    counted: &[Interface],
    all: &[Interface],
    hooks: &[HookReport],
) -> Vec<InterfaceReport> {
    let mechanism = |hook: Hook, name: &str| {
        let serves =
            |report: &&HookReport| report.hook == hook && report.interface.as_deref() == Some(name);
        hooks.iter().find(serves).and_then(|report| report.mechanism)
    };
    let is_hooked =
        |name: &str| hooks.iter().any(|report| report.interface.as_deref() == Some(name));
    let hooks_are_known = hooks.iter().any(|report| report.interface.is_some());
    let is_counted = |interface: &Interface| match hooks_are_known {
        true => is_hooked(&interface.name),
        false => counted.contains(interface),
    };
    let report = |interface: &Interface| InterfaceReport {
        name: interface.name.clone(),
        driver: driver::of(&interface.name),
        mtu: interface.mtu,
        counted: is_counted(interface),
        ingress: mechanism(Hook::Ingress, &interface.name),
        egress: mechanism(Hook::Egress, &interface.name),
    };
    all.iter().map(report).collect()
}
