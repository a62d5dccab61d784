//! Which ways are there now, from what the tables of one network namespace have of them.

use super::route::Route;
use crate::sockets::reach::{Path, Standing};

/// A way with its standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) route: Route,
    pub(super) standing: Standing,
    /// Whether new connections may still take it.
    pub(super) may_lead: bool,
}

impl Judged {
    /// The same after a look at the targets, where `connections` are left of those that the table has.
    pub(super) fn with_lasting(self, connections: u64) -> Self {
        let route = Route { connections: Some(connections), has_ended: true, ..self.route };
        Self { standing: standing(&route, self.may_lead), route, ..self }
    }
}

/// `routes` with their standing, without rules that connections show at work. `rules_are_known` is
/// whether every rule is among `routes` that may have led the connections.
pub(super) fn judged(routes: &[Route], rules_are_known: bool) -> Vec<Judged> {
    let is_shown =
        |route: &&Route| !route.is_rule() || !routes.iter().any(|used| leads_to(route, used));
    let judge = |route: &Route| {
        let may_lead = !rules_are_known || routes.iter().any(|rule| leads_to(rule, route));
        Judged { standing: standing(route, may_lead), route: route.clone(), may_lead }
    };
    routes.iter().filter(is_shown).map(judge).collect()
}

/// The standing of a way; `may_lead` is whether new connections may still take it.
fn standing(route: &Route, may_lead: bool) -> Standing {
    let is_used = route.connections.is_some_and(|connections| connections > 0);
    match (is_used, route.has_ended) {
        (true, _) => Standing::InUse,
        (false, true) if may_lead => Standing::InUse,
        (false, true) => Standing::Over,
        (false, false) => Standing::Configured,
    }
}

/// Whether `rule` leads connections as `used` was: to the same port, and to the same address or to
/// whichever this host has.
fn leads_to(rule: &Route, used: &Route) -> bool {
    let ends = rule.target.zip(used.target);
    (rule.is_rule() || rule.path == Path::Ipvs)
        && !used.is_rule()
        && (used.port, used.protocol) == (rule.port, rule.protocol)
        && ends.is_some_and(|(rule, used)| {
            rule.port == used.port && (rule.address.is_none() || rule.address == used.address)
        })
}

#[cfg(test)]
mod tests {
    use std::slice;

    use monitor_common::flow::Protocol;

    use super::*;
    use crate::sockets::paths::route::Target;

    fn route(path: Path, connections: Option<u64>, has_ended: bool) -> Route {
        let address = connections.map(|_| [10, 0, 0, 1].into());
        let target = Some(Target { address, port: 8080 });
        let (protocol, flows) = (Protocol::Tcp, Vec::new());
        Route { port: 2948, protocol, path, target, connections, flows, has_ended }
    }

    fn standings(routes: &[Route], rules_are_known: bool) -> Vec<Standing> {
        judged(routes, rules_are_known).into_iter().map(|judged| judged.standing).collect()
    }

    #[test]
    fn connections_that_are_over_lead_nowhere_without_their_rule() {
        let rule = route(Path::Redirect, None, false);
        let ended = route(Path::Redirect, Some(0), true);
        let lasting = route(Path::Redirect, Some(1), true);
        assert_eq!(standings(slice::from_ref(&rule), true), [Standing::Configured]);
        assert_eq!(standings(slice::from_ref(&ended), true), [Standing::Over]);
        assert_eq!(
            standings(slice::from_ref(&ended), false),
            [Standing::InUse],
            "rules are not known"
        );
        assert_eq!(standings(slice::from_ref(&lasting), true), [Standing::InUse]);
        let closed = judged(&[lasting], true).remove(0).with_lasting(0);
        assert_eq!((closed.standing, closed.route.connections), (Standing::Over, Some(0)));
        assert_eq!(standings(&[ended.clone(), rule.clone()], true), [Standing::InUse]);
        let elsewhere = Some(Target { address: None, port: 8081 });
        let other = Route { target: elsewhere, ..rule };
        assert_eq!(standings(&[ended, other], true), [Standing::Over, Standing::Configured]);
    }

    #[test]
    fn a_service_of_the_load_balancer_is_a_rule_too() {
        let service = route(Path::Ipvs, Some(0), false);
        assert_eq!(standings(slice::from_ref(&service), true), [Standing::Configured]);
        let ended = route(Path::Dnat, Some(0), true);
        assert_eq!(standings(&[ended, service], true), [Standing::InUse, Standing::Configured]);
    }
}
