//! Socket calls as the pipeline and the ledger see them. Pure.

use std::process;

use jiff::Timestamp;
use monitor_common::socket_record::{Call, SocketRecord};
use monitor_ledger::{CallKind, ClockReading, SocketCall};

/// Whether this agent closed the socket. A scan that looks at a descriptor keeps its socket open
/// for a moment; which process closed it meanwhile is unknown.
pub(super) fn is_our_close(record: &SocketRecord) -> bool {
    let is_ours = record.caller.as_ref().is_some_and(|caller| caller.tgid == process::id());
    is_ours && record.call == Call::Close
}

/// The call for the ledger, the last one of those that the record stands for; `None` if the protocol
/// is unknown.
pub(super) fn socket_call(
    record: &SocketRecord,
    wall: Timestamp,
    expected: bool,
) -> Option<SocketCall> {
    let kind = match record.call {
        Call::Bind { errno: None } => CallKind::Bind,
        Call::Bind { errno: Some(_) } => CallKind::BindRefused,
        Call::Listen => CallKind::Listen,
        Call::Close => CallKind::Close,
        // The ledger learns of its packets.
        Call::Connect => return None,
    };
    let at = ClockReading { wall, boottime_ns: record.last_ns };
    Some(SocketCall { at, port: record.port, protocol: record.protocol?, kind, expected })
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use monitor_common::socket_event::{Mechanism, SocketEvent, SocketEventKind};

    use super::*;

    #[test]
    fn ignores_the_caller_of_its_own_closes_only() {
        let is_ours = |kind: SocketEventKind, tgid| {
            let (kind, mechanism) = (kind as u8, Mechanism::Fexit as u8);
            let event = SocketEvent { kind, mechanism, tgid, ..SocketEvent::zeroed() };
            is_our_close(&SocketRecord::try_from(&event).expect("a record"))
        };
        assert!(is_ours(SocketEventKind::Close, process::id()));
        assert!(!is_ours(SocketEventKind::Close, process::id() + 1));
        assert!(!is_ours(SocketEventKind::Bind, process::id()));
    }
}
