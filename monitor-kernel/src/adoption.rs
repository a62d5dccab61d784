//! Taking over the links that an earlier agent left.

use super::{
    candidates::Candidates,
    hooks::{Hook, HookMechanism, HookStatus, Rejection},
    interfaces::Interface,
    links::{LinkName, Links},
    pins::Pins,
    programs::{self, Environment},
    record::Record,
};

/// Adopts the links of an earlier agent, if they are complete, alive, and of a mechanism that is
/// a candidate today.
pub fn adopt(
    links: &mut Links,
    left: Option<&Record>,
    hook: Hook,
    interface: Option<&Interface>,
    environment: Environment,
    candidates: &Candidates,
    pins: &Pins,
) -> Option<HookStatus> {
    let ifindex = interface.map_or(0, |interface| interface.index);
    let found: Vec<LinkName> = links.of(hook, ifindex).into_iter().cloned().collect();
    let mechanism = found.first()?.mechanism;
    let names = found.iter().map(|link| link.program.as_str());
    let is_usable = programs::are_complete(names, hook, mechanism, environment)
        && found.iter().all(|link| link.mechanism == mechanism)
        && links.are_attached(hook, ifindex)
        && candidates.mechanisms.contains(&mechanism);
    if !is_usable {
        let detached =
            links.detach(Some(pins), |link| link.hook == hook && link.ifindex == ifindex);
        if let Err(error) = detached {
            tracing::warn!(%error, %hook, "a stale link cannot be removed");
        }
        return None;
    }
    Some(HookStatus {
        hook,
        interface: interface.map(|interface| interface.name.clone()),
        attached: Some(mechanism),
        adopted: true,
        rejected: rejected_before(left, hook, ifindex, mechanism, candidates),
    })
}

/// Why better mechanisms than that of an adopted hook were rejected when it was attached. They
/// are not tried again: that could disturb an interface that counts well.
pub fn rejected_before(
    left: Option<&Record>,
    hook: Hook,
    ifindex: u32,
    mechanism: HookMechanism,
    candidates: &Candidates,
) -> Vec<Rejection> {
    let known = left.and_then(|left| left.rejected(hook, ifindex, mechanism));
    if let Some(known) = known {
        return known.to_vec();
    }
    let better = candidates.mechanisms.iter().take_while(|better| **better != mechanism);
    let why = "an earlier agent attached the hook, and its reasons are lost".to_owned();
    let lost = better.map(|better| Rejection { mechanism: *better, why: why.clone() });
    candidates.rejected.iter().cloned().chain(lost).collect()
}
