//! The agent and the commands of its binary.

mod answered;
mod captures;
mod confinement;
mod evidence;
mod faces;
mod holder_info;
mod holders;
mod identify_command;
mod identity;
mod impostors;
mod isolation;
mod kannel;
mod life;
mod listeners;
mod live_page;
mod manifests;
mod outbound;
mod own_user;
mod privileges;
mod reload;
mod report;
mod running;
mod secrets;
mod selftest;
mod service;
mod sinks;
mod stalled;
mod store;
mod summaries;
mod systemd;
mod top;
mod web_details;
mod web_limits;
mod web_security;

/// The program of a unit: see [`testkit::systemd::binding`].
#[test]
#[ignore = "what the units of other tests run"]
fn unit() {
    testkit::systemd::bind_as_ordered();
}

/// See [`testkit::impostor::Impostor`].
#[test]
#[ignore = "what the processes of other tests run"]
fn impostor() {
    testkit::impostor::act_as_ordered();
}

/// See [`testkit::stuck::StuckProcess`].
#[test]
#[ignore = "what the processes of other tests run"]
fn stuck() {
    testkit::stuck::act_as_ordered();
}
