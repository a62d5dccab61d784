//! BPF programs of others that decide which socket a packet or a connection gets.

use monitor_kernel::other_programs::{OtherProgram, redirecting_connections};

use super::facts::Fact;
use crate::sockets;

/// Programs that choose sockets in this network namespace: a port may be answered that no socket holds.
pub(super) fn choosing_sockets(group: &'static str) -> Option<Fact> {
    let programs = sockets::programs_that_choose_sockets().ok()?;
    let consequence = "may give packets of any port to a socket that does not hold the port";
    fact(group, "socket lookup", &programs, consequence)
}

/// Programs at the root of the control groups that connect sockets elsewhere, as load balancing of
/// sockets does.
pub(super) fn connecting(group: &'static str) -> Option<Fact> {
    let programs = redirecting_connections().ok()?;
    let consequence = "may connect programs of this host elsewhere before there is a packet: what \
                       they send to a port is counted at the port that it really goes to";
    fact(group, "socket connects", &programs, consequence)
}

fn fact(
    group: &'static str,
    name: &'static str,
    programs: &[OtherProgram],
    consequence: &str,
) -> Option<Fact> {
    let names: Vec<String> = programs.iter().map(OtherProgram::to_string).collect();
    (!names.is_empty())
        .then(|| Fact::ok(group, name, format!("{} {consequence}", names.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_such_programs_has_no_line() {
        let value = |programs: &[OtherProgram]| {
            fact("Blind spots", "socket lookup", programs, "may").map(|fact| fact.value)
        };
        assert_eq!(value(&[]), None);
        let named = OtherProgram { id: 7, name: Some("tubular".to_owned()) };
        let programs = [named, OtherProgram { id: 12, name: None }];
        assert_eq!(value(&programs).as_deref(), Some("tubular (program 7), program 12 may"));
    }
}
