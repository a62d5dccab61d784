//! Kernels that were started in a certain way. The tests are ignored elsewhere.

use std::fs;

use rustix::thread::CapabilitySet;
use testkit::{
    agent::{Agent, finish, ghostport, stderr},
    privileges::{Privileges, SOMEBODY},
    world::in_world,
};

use super::{
    doctor::Doctor,
    support::{
        EVERYTHING, ROOT, SOCKETS, SUCCESSES, Seen, assert_sees, assert_works_on, config, refuse,
        start, sysctl,
    },
};

/// The setting does not concern processes with CAP_BPF.
#[track_caller]
fn assert_unprivileged_bpf(setting: &str) {
    in_world(|world| {
        assert_eq!(sysctl("kernel/unprivileged_bpf_disabled"), setting, "not such a machine");
        world.give_to(SOMEBODY);
        let doctor = Doctor::of(world, Privileges::usual(SOMEBODY));
        let value = doctor.fact("unprivileged BPF")["value"].as_str().expect("a value");
        let expected = if setting == "0" { "allowed" } else { "forbidden" };
        assert!(value.starts_with(expected), "{value}");
        assert_eq!(doctor.code, 0, "{}", doctor.text);
        let agent = start(world, Privileges::usual(SOMEBODY));
        assert_sees(&agent, EVERYTHING);
        assert_eq!(agent.terminate().code(), Some(0));
        // And where it is allowed, too, CAP_BPF is what an agent wants.
        let said = stderr(&refuse(world, Privileges::usual(SOMEBODY).without(CapabilitySet::BPF)));
        assert!(said.contains("missing CAP_BPF"), "{said}");
    });
}

#[test]
#[ignore = "wants sysctl.kernel.unprivileged_bpf_disabled=0"]
fn unprivileged_bpf_allowed() {
    assert_unprivileged_bpf("0");
}

#[test]
#[ignore = "wants sysctl.kernel.unprivileged_bpf_disabled=1"]
fn unprivileged_bpf_forbidden_for_good() {
    assert_unprivileged_bpf("1");
}

#[test]
#[ignore = "wants sysctl.kernel.unprivileged_bpf_disabled=2"]
fn unprivileged_bpf_forbidden_revocably() {
    assert_unprivileged_bpf("2");
}

fn lockdown() -> String {
    let modes = fs::read_to_string("/sys/kernel/security/lockdown").expect("securityfs");
    let (_, rest) = modes.split_once('[').expect("a mode");
    rest.split(']').next().unwrap_or_default().to_owned()
}

#[test]
#[ignore = "wants lockdown=integrity"]
fn lockdown_integrity() {
    in_world(|world| {
        assert_eq!(lockdown(), "integrity", "not such a machine");
        let doctor = Doctor::of_root();
        assert_eq!(doctor.page["lockdown"], "integrity");
        assert_eq!(doctor.code, 0, "{}", doctor.text);
        let agent = Agent::start(world, &config());
        assert_eq!(agent.metrics().mechanism("bind", None).as_deref(), Some("fexit"));
        assert_sees(&agent, EVERYTHING);
        assert_works_on(world, agent);
    });
}

#[test]
#[ignore = "wants lockdown=confidentiality"]
fn lockdown_confidentiality() {
    in_world(|world| {
        assert_eq!(lockdown(), "confidentiality", "not such a machine");
        for user in [ROOT, SOMEBODY] {
            world.give_to(user);
            for running in [false, true] {
                let agent = running.then(|| start(world, Privileges::usual(user)));
                let doctor = Doctor::of(world, Privileges::usual(user));
                assert_eq!(doctor.code, 1, "{}", doctor.text);
                assert_eq!(doctor.page["lockdown"], "confidentiality");
                let remedy = doctor.fact("lockdown")["remedy"].as_str().expect("a remedy");
                assert!(remedy.contains("lockdown=integrity"), "{remedy}");
                for hook in SOCKETS.into_iter().flat_map(|name| doctor.hooks(name)) {
                    let why = hook["passed_over"].to_string();
                    assert!(why.contains("lockdown=confidentiality"), "{}", doctor.text);
                }
                // Not even tracefs may be read.
                let seen = Seen { listens: false, ..SUCCESSES };
                doctor.assert_tells(seen);
                assert_eq!(doctor.mechanism("bind"), "cgroup-success", "{}", doctor.text);
                if let Some(agent) = agent {
                    assert!(agent.log().contains("lockdown=confidentiality"), "{}", agent.log());
                    assert_sees(&agent, seen);
                    assert_eq!(agent.terminate().code(), Some(0));
                    assert_eq!(finish(ghostport().arg("detach")).status.code(), Some(0));
                }
            }
        }
    });
}
