//! Whether packets have the right sides: by the addresses of this host, which the agent follows.

use super::{agent::Agent, facts::Fact};

/// That packets may have the wrong sides, if the agent says so.
pub(super) fn fact(agent: &Agent) -> Option<Fact> {
    let fact = Fact::ok("Agent", "addresses", agent.addresses_error.as_deref()?);
    Some(fact.lost(
        "packets keep the sides of before: those of addresses that have come or gone since may \
         count as in transit, as local or as remote",
        "the error says why; the agent tries again every second",
    ))
}
