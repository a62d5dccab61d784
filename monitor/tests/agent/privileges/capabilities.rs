//! Each capability, and the memory that a user may lock.

use std::path::Path;

use rustix::thread::CapabilitySet;
use testkit::{
    agent::{Agent, finish, ghostport, stderr},
    privileges::{FIVE, Privileges, SOMEBODY, charges_memlock},
    programs::has_tcx,
    world::in_world,
};

use super::{
    doctor::Doctor,
    support::{
        EVERYTHING, PINS, ROOT, Seen, assert_given_up, assert_sees, assert_works_on, config,
        is_guest, mechanisms, refuse, start, start_with, sysctl,
    },
};

#[test]
fn root_drops_unneeded_privileges() {
    in_world(|world| {
        let doctor = Doctor::of_root();
        doctor.assert_tells(EVERYTHING);
        assert!(!is_guest() || doctor.code == 0, "{}", doctor.text);
        let agent = Agent::start(world, &config());
        assert_given_up(&agent, Privileges::five(ROOT).capabilities(), true);
        assert_sees(&agent, EVERYTHING);
        let told = Doctor::of_root();
        told.assert_tells(EVERYTHING);
        assert_eq!(told.code, doctor.code, "{}", told.text);
        assert_given_up(&agent, Privileges::five(ROOT).capabilities(), true);
        assert_works_on(world, agent);
    });
}

#[test]
fn a_user_with_five_capabilities_has_every_hook_of_root() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let of_root = mechanisms(&agent);
        assert_eq!(agent.terminate().code(), Some(0));
        assert_eq!(finish(ghostport().arg("detach")).status.code(), Some(0));

        world.give_to(SOMEBODY);
        let privileges = Privileges::usual(SOMEBODY);
        let doctor = Doctor::of(world, privileges);
        doctor.assert_tells(EVERYTHING);
        assert!(!is_guest() || doctor.code == 0, "{}", doctor.text);
        let agent = start(world, privileges);
        assert_given_up(&agent, Privileges::five(SOMEBODY).capabilities(), false);
        assert_eq!(mechanisms(&agent), of_root, "{}", agent.log());
        assert_sees(&agent, EVERYTHING);
        // Older kernels have no links for packets, nor for raw tracepoints.
        let least = if has_tcx() { 5 } else { 2 };
        let links = Path::new(PINS).join("links").read_dir().expect("pins").count();
        assert!(links >= least, "{links} links");
        let told = Doctor::of(world, privileges);
        told.assert_tells(EVERYTHING);
        assert_eq!(told.code, doctor.code, "{}", told.text);
        agent.kill9();
        let agent = start(world, privileges);
        assert_sees(&agent, EVERYTHING);
        assert_works_on(world, agent);
    });
}

/// Every rung, not just the first that serves. Debian's kernels keep perf_event_open from a user.
#[test]
fn a_user_with_five_capabilities_has_every_mechanism() {
    in_world(|world| {
        let level: i32 = sysctl("kernel/perf_event_paranoid").parse().expect("a number");
        let is_restricted = is_guest() && level > 2;
        let mut served = Vec::new();
        for mechanism in ["fexit", "kprobe", "cgroup", "tracepoint"] {
            let config = config().mechanism(mechanism);
            let bind_of = |agent: &Agent| agent.metrics().mechanism("bind", None);
            world.give_to(ROOT);
            let agent = Agent::start(world, &config);
            let of_root = bind_of(&agent);
            assert_eq!(agent.terminate().code(), Some(0));
            assert_eq!(finish(ghostport().arg("detach")).status.code(), Some(0));
            world.give_to(SOMEBODY);
            let agent = start_with(world, Privileges::usual(SOMEBODY), &config);
            if is_restricted && mechanism != "fexit" {
                let left = (mechanism == "cgroup").then(|| "cgroup-success".to_owned());
                assert_eq!(bind_of(&agent), left, "{mechanism}: {}", agent.log());
                let remedy = "sysctl kernel.perf_event_paranoid=2";
                assert!(agent.log().contains(remedy), "{mechanism}: {}", agent.log());
            } else {
                assert_eq!(bind_of(&agent), of_root, "{mechanism}: {}", agent.log());
            }
            assert_eq!(agent.terminate().code(), Some(0));
            assert_eq!(finish(ghostport().arg("detach")).status.code(), Some(0));
            served.extend(of_root);
        }
        assert!(served.len() == 4 || !is_guest(), "{served:?}");
        assert!(served.len() >= 2, "{served:?}");
    });
}

#[test]
fn each_missing_capability_costs_what_doctor_says() {
    in_world(|world| {
        for user in [SOMEBODY, ROOT] {
            world.give_to(user);
            for (name, capability) in FIVE {
                let privileges = Privileges::usual(user).without(capability);
                let doctor = Doctor::of(world, privileges);
                assert!(!doctor.is_ok(name), "{name}: {}", doctor.text);
                for (other, _) in FIVE.iter().filter(|(other, _)| *other != name) {
                    assert!(doctor.is_ok(other), "without {name}: {}", doctor.text);
                }
                let remedy = doctor.fact(name)["remedy"].as_str().expect("a remedy");
                assert!(remedy.contains("setcap") && remedy.contains("root"), "{remedy}");
                if ["CAP_BPF", "CAP_PERFMON"].contains(&name) {
                    assert_eq!(doctor.code, 2, "{}", doctor.text);
                    let said = stderr(&refuse(world, privileges));
                    assert!(said.contains(&format!("missing {name}: ")), "{said}");
                    assert!(said.contains("setcap"), "{said}");
                    continue;
                }
                assert_eq!(doctor.code, 1, "without {name}: {}", doctor.text);
                let seen = seen_without(name, user, &doctor);
                doctor.assert_tells(seen);
                let agent = start(world, privileges);
                assert!(agent.log().contains(&format!("missing {name}")), "{}", agent.log());
                assert!(agent.log().contains("setcap"), "{}", agent.log());
                assert_sees(&agent, seen);
                let told = Doctor::of(world, privileges);
                assert_eq!(told.code, 1, "{}", told.text);
                assert!(!told.is_ok(name), "{}", told.text);
                told.assert_tells(seen);
                assert_eq!(agent.terminate().code(), Some(0));
                assert_eq!(finish(ghostport().arg("detach")).status.code(), Some(0));
                world.give_to(user);
            }
        }
    });
}

/// What is left without a capability.
fn seen_without(name: &str, user: u32, doctor: &Doctor) -> Seen {
    match name {
        // No tracepoint fires when a UDP socket is closed.
        "CAP_NET_ADMIN" => Seen { traffic: false, closes: is_guest(), ..EVERYTHING },
        // Refusals by tracepoint alone, and only root reads tracefs all the same.
        "CAP_DAC_READ_SEARCH" if user != ROOT && !is_guest() => {
            assert_eq!(doctor.hooks("bind")[0]["mechanism"], "cgroup-success");
            Seen { refusals: false, ..EVERYTHING }
        }
        _ => EVERYTHING,
    }
}

#[test]
fn names_all_missing_capabilities_at_once() {
    in_world(|world| {
        let missing = CapabilitySet::PERFMON | CapabilitySet::NET_ADMIN;
        let privileges = Privileges::usual(SOMEBODY).without(missing);
        let said = stderr(&refuse(world, privileges));
        assert!(said.contains("missing CAP_PERFMON, CAP_NET_ADMIN: "), "{said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
        let doctor = Doctor::of(world, privileges);
        assert_eq!(doctor.code, 2, "{}", doctor.text);
    });
}

/// CAP_SYS_ADMIN stands for two of the five on every kernel, and then it is what is kept.
#[test]
fn accepts_cap_sys_admin_for_newer_capabilities() {
    in_world(|world| {
        let privileges = Privileges::usual(ROOT)
            .without(CapabilitySet::BPF | CapabilitySet::PERFMON)
            .with(CapabilitySet::SYS_ADMIN);
        let doctor = Doctor::of(world, privileges);
        assert!(doctor.is_ok("CAP_BPF") && doctor.is_ok("CAP_PERFMON"), "{}", doctor.text);
        let agent = start(world, privileges);
        let kept = Privileges::five(ROOT)
            .without(CapabilitySet::BPF | CapabilitySet::PERFMON)
            .with(CapabilitySet::SYS_ADMIN);
        assert_given_up(&agent, kept.capabilities(), false);
        assert_sees(&agent, EVERYTHING);
        assert_works_on(world, agent);
    });
}

#[test]
fn memlock_matters_where_maps_are_charged_to_it() {
    in_world(|world| {
        world.give_to(SOMEBODY);
        let privileges = Privileges::five(SOMEBODY).memlock(64 << 10);
        let doctor = Doctor::of(world, privileges);
        if !charges_memlock() {
            assert!(doctor.is_ok("memlock"), "{}", doctor.text);
            assert_sees(&start(world, privileges), EVERYTHING);
            return;
        }
        assert!(!doctor.is_ok("memlock") && doctor.code == 2, "{}", doctor.text);
        assert!(doctor.text.contains("LimitMEMLOCK=infinity"), "{}", doctor.text);
        let said = stderr(&refuse(world, privileges));
        assert!(said.contains("RLIMIT_MEMLOCK is 64 KiB"), "{said}");
        assert!(said.contains("CAP_SYS_RESOURCE"), "{said}");
        // Who may raise the limit does, and needs the right to do so no more.
        let agent = start(world, privileges.with(CapabilitySet::SYS_RESOURCE));
        assert_given_up(&agent, Privileges::five(SOMEBODY).capabilities(), false);
        assert_sees(&agent, EVERYTHING);
        assert_works_on(world, agent);
    });
}
