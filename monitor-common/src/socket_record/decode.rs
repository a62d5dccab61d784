//! From the bytes of the ring buffer to a record.

use core::{
    fmt,
    num::{NonZeroU32, NonZeroU64},
};

use super::{
    call::{Call, Family, ListenerPart, SocketRecord},
    caller::{Caller, CapturedCommandLine, FileNumbers, TaskName},
};
use crate::{
    call_sum::CallSum,
    flow::Protocol,
    sampling::ip_address,
    socket_event::{
        COMMAND_LINE_LEN, Mechanism, SocketEvent, SocketEventKind, SocketEventWithCommandLine,
        UnknownVariant, known,
    },
};

/// Why bytes are no record of a socket call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// No record has this many bytes.
    Length(usize),
    /// No kind of call has this number.
    Kind(u8),
    /// No mechanism has this number.
    Mechanism(u8),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(bytes) => write!(f, "a socket event of {bytes} bytes"),
            Self::Kind(kind) => write!(f, "unknown kind {kind} of a socket event"),
            Self::Mechanism(number) => write!(f, "unknown mechanism {number} of a socket event"),
        }
    }
}

impl core::error::Error for DecodeError {}

impl SocketRecord {
    /// Decodes a record of the ring buffer: its length says whether a command line follows.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if let Ok(event) = bytemuck::try_pod_read_unaligned::<SocketEvent>(bytes) {
            return Self::try_from(&event);
        }
        match bytemuck::try_pod_read_unaligned::<SocketEventWithCommandLine>(bytes) {
            Ok(event) => Self::try_from(&event),
            Err(_) => Err(DecodeError::Length(bytes.len())),
        }
    }
}

impl TryFrom<&SocketEventWithCommandLine> for SocketRecord {
    type Error = DecodeError;

    fn try_from(record: &SocketEventWithCommandLine) -> Result<Self, DecodeError> {
        let SocketEventWithCommandLine { event, command_line } = record;
        let mut decoded = Self::try_from(event)?;
        if let Some(caller) = &mut decoded.caller
            && event.known & known::COMMAND_LINE != 0
        {
            let whole = event.command_line_len as usize;
            let captured = whole.min(COMMAND_LINE_LEN);
            caller.command_line = Some(CapturedCommandLine {
                bytes: command_line[..captured].into(),
                is_truncated: captured < whole,
            });
        }
        Ok(decoded)
    }
}

impl TryFrom<&SocketEvent> for SocketRecord {
    type Error = DecodeError;

    fn try_from(event: &SocketEvent) -> Result<Self, DecodeError> {
        let is_known = |bit| event.known & bit != 0;
        let call = call(event)?;
        let address = ip_address(event.family, event.address)
            .filter(|_| is_known(known::FAMILY) && is_known(known::ADDRESS));
        let is_of_peer = call == Call::Connect;
        Ok(Self {
            call,
            time_ns: event.time_ns,
            mechanism: Mechanism::try_from(event.mechanism)
                .map_err(|UnknownVariant(number)| DecodeError::Mechanism(number))?,
            protocol: Protocol::from_ip_number(event.protocol),
            family: Family::from_version(event.family).filter(|_| is_known(known::FAMILY)),
            local_address: address.filter(|_| !is_of_peer),
            peer_address: address.filter(|_| is_of_peer),
            port: event.port,
            netns_inode: is_known(known::NETNS).then_some(event.netns_inode),
            socket_inode: NonZeroU32::new(event.socket_inode),
            interface: NonZeroU32::new(event.interface),
            is_v6_only: is_known(known::V6_ONLY_READ).then_some(is_known(known::V6_ONLY)),
            is_of_kernel: is_known(known::KERNEL_SOCKET),
            is_selftest: is_known(known::SELFTEST),
            listener: match (is_known(known::LISTENER), is_known(known::LISTENER_ONLY)) {
                (false, _) => ListenerPart::None,
                (true, false) => ListenerPart::Also,
                (true, true) => ListenerPart::Only,
            },
            caller: caller(event).filter(|_| !is_known(known::KERNEL_SOCKET)),
            count: 1,
            last_ns: event.time_ns,
        })
    }
}

impl TryFrom<&CallSum> for SocketRecord {
    type Error = DecodeError;

    fn try_from(sum: &CallSum) -> Result<Self, DecodeError> {
        let CallSum { event, count, last_ns } = sum;
        let first = Self::try_from(event)?;
        Ok(Self { count: *count, last_ns: (*last_ns).max(first.time_ns), ..first })
    }
}

fn call(event: &SocketEvent) -> Result<Call, DecodeError> {
    let kind = SocketEventKind::try_from(event.kind)
        .map_err(|UnknownVariant(number)| DecodeError::Kind(number))?;
    Ok(match kind {
        SocketEventKind::Bind => Call::Bind { errno: NonZeroU32::new(event.errno) },
        SocketEventKind::Listen => Call::Listen,
        SocketEventKind::Close => Call::Close,
        SocketEventKind::Connect => Call::Connect,
    })
}

fn caller(event: &SocketEvent) -> Option<Caller> {
    let is_known = |bit| event.known & bit != 0;
    (event.tgid != 0).then(|| Caller {
        tgid: event.tgid,
        tid: NonZeroU32::new(event.pid),
        parent_tgid: is_known(known::PARENT).then_some(event.parent_tgid),
        start_time_ns: is_known(known::START_TIME).then_some(event.start_time_ns),
        process_name: is_known(known::PROCESS_NAME).then_some(TaskName::new(event.process_name)),
        thread_name: TaskName::new(event.thread_name),
        uid: event.uid,
        gid: event.gid,
        effective_uid: is_known(known::EFFECTIVE_UID).then_some(event.effective_uid),
        cgroup_id: NonZeroU64::new(event.cgroup_id),
        command_line: None,
        arguments_at: NonZeroU32::new(event.arguments_at),
        executable: is_known(known::EXECUTABLE).then(|| executable(event)),
        user_namespace: is_known(known::USER_NAMESPACE).then_some(event.user_namespace),
        mount_namespace: is_known(known::MOUNT_NAMESPACE).then_some(event.mount_namespace),
    })
}

const fn executable(event: &SocketEvent) -> FileNumbers {
    let SocketEvent { executable_device, executable_inode, executable_generation, .. } = *event;
    FileNumbers::new(executable_device, executable_inode, executable_generation)
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use proptest::prelude::*;

    use super::*;
    use crate::socket_event::{BindResult, TASK_NAME_LEN};

    /// A bind of process 100 of which nothing optional is known.
    fn event() -> SocketEvent {
        SocketEvent {
            kind: SocketEventKind::Bind as u8,
            mechanism: Mechanism::Kprobe as u8,
            tgid: 100,
            port: 2948,
            ..SocketEvent::zeroed()
        }
    }

    fn decoded(event: SocketEvent) -> SocketRecord {
        SocketRecord::try_from(&event).expect("a record")
    }

    fn caller_of(event: SocketEvent) -> Caller {
        decoded(event).caller.expect("a caller")
    }

    #[test]
    fn unknown_fields_are_absent() {
        let filled = SocketEvent {
            parent_tgid: 1,
            start_time_ns: 2,
            process_name: [b'a'; 16],
            effective_uid: 3,
            netns_inode: 4,
            family: 4,
            address: [127; 16],
            ..event()
        };
        let record = decoded(filled);
        assert_eq!((record.protocol, record.family), (None, None));
        assert_eq!((record.local_address, record.netns_inode), (None, None));
        let caller = record.caller.expect("a caller");
        assert_eq!((caller.tid, caller.parent_tgid, caller.start_time_ns), (None, None, None));
        assert_eq!((caller.process_name, caller.effective_uid), (None, None));
        assert_eq!((caller.cgroup_id, caller.arguments_at), (None, None));
        assert_eq!(caller.executable, None);
        assert_eq!((caller.user_namespace, caller.mount_namespace), (None, None));
    }

    #[test]
    fn known_fields_are_decoded() {
        let mut name = [0; TASK_NAME_LEN];
        name[..3].copy_from_slice(b"cat");
        let known = known::FAMILY | known::ADDRESS | known::PROCESS_NAME | known::PARENT;
        let mut address = [0; 16];
        address[15] = 1;
        let record = decoded(SocketEvent {
            known,
            family: 6,
            address,
            process_name: name,
            protocol: 17,
            ..event()
        });
        assert_eq!((record.protocol, record.family), (Some(Protocol::Udp), Some(Family::Ipv6)));
        assert_eq!(record.local_address, "::1".parse().ok());
        let caller = record.caller.expect("a caller");
        assert_eq!(caller.process_name.expect("a name").as_bytes(), b"cat");
        assert_eq!(caller.parent_tgid, Some(0));
    }

    #[test]
    fn an_executable_has_device_inode_and_generation() {
        let caller = caller_of(SocketEvent {
            known: known::EXECUTABLE | known::USER_NAMESPACE | known::MOUNT_NAMESPACE,
            executable_device: (259 << 20) | 3,
            executable_inode: 1 << 40,
            executable_generation: 7,
            user_namespace: 4_026_531_837,
            mount_namespace: 4_026_531_841,
            ..event()
        });
        let file = FileNumbers { major: 259, minor: 3, inode: 1 << 40, generation: 7 };
        assert_eq!(caller.executable, Some(file));
        assert_eq!(caller.user_namespace, Some(4_026_531_837));
        assert_eq!(caller.mount_namespace, Some(4_026_531_841));
    }

    #[test]
    fn a_bind_keeps_its_error_and_other_calls_have_none() {
        let call = |kind: SocketEventKind, errno| {
            decoded(SocketEvent { kind: kind as u8, errno, ..event() }).call
        };
        assert_eq!(call(SocketEventKind::Bind, 0).bind_result(), Some(BindResult::Success));
        let refused = call(SocketEventKind::Bind, 98);
        assert_eq!(refused.errno(), NonZeroU32::new(98));
        assert_eq!(refused.bind_result(), Some(BindResult::InUse));
        assert_eq!(call(SocketEventKind::Listen, 98), Call::Listen);
        assert_eq!(call(SocketEventKind::Close, 98).errno(), None);
    }

    #[test]
    fn a_sum_describes_the_first_call_and_counts_all() {
        let first = SocketEvent { time_ns: 5, ..event() };
        let sum = CallSum { event: first, count: 70_000, last_ns: 9 };
        let record = SocketRecord::try_from(&sum).expect("a record");
        assert_eq!((record.count, record.time_ns, record.last_ns), (70_000, 5, 9));
        let single = decoded(first);
        assert_eq!((single.count, single.last_ns), (1, 5));
    }

    #[test]
    fn interrupt_context_has_no_caller() {
        assert_eq!(decoded(SocketEvent { tgid: 0, pid: 7, ..event() }).caller, None);
    }

    #[test]
    fn a_socket_of_the_kernel_has_no_caller() {
        let of_kernel = decoded(SocketEvent { known: known::KERNEL_SOCKET, ..event() });
        assert!(of_kernel.is_of_kernel && of_kernel.caller.is_none());
        assert!(!decoded(event()).is_of_kernel);
    }

    #[test]
    fn sockets_that_look_alike_are_told_apart() {
        let known = known::V6_ONLY_READ | known::V6_ONLY;
        let record = decoded(SocketEvent { known, interface: 3, socket_inode: 77, ..event() });
        assert_eq!(record.is_v6_only, Some(true));
        assert_eq!(
            (record.interface, record.socket_inode),
            (NonZeroU32::new(3), NonZeroU32::new(77))
        );
        let record = decoded(SocketEvent { known: known::V6_ONLY_READ, ..event() });
        assert_eq!((record.is_v6_only, record.interface), (Some(false), None));
        assert_eq!(decoded(event()).is_v6_only, None);
    }

    #[test]
    fn a_listener_is_reported_with_a_call_or_alone() {
        let part = |known| decoded(SocketEvent { known, ..event() }).listener;
        assert_eq!(part(0), ListenerPart::None);
        assert_eq!(part(known::LISTENER), ListenerPart::Also);
        assert_eq!(part(known::LISTENER | known::LISTENER_ONLY), ListenerPart::Only);
    }

    #[test]
    fn a_command_line_longer_than_its_field_is_truncated() {
        let line = |command_line_len, known| {
            let event = SocketEvent { command_line_len, known, ..event() };
            let record = SocketEventWithCommandLine { event, command_line: [b'x'; 256] };
            let record = SocketRecord::decode(bytemuck::bytes_of(&record)).expect("a record");
            record.caller.expect("a caller").command_line
        };
        let captured = |bytes: usize, is_truncated| {
            let bytes = std::vec![b'x'; bytes].into();
            Some(CapturedCommandLine { bytes, is_truncated })
        };
        assert_eq!(line(4, known::COMMAND_LINE), captured(4, false));
        assert_eq!(line(256, known::COMMAND_LINE), captured(256, false));
        assert_eq!(line(257, known::COMMAND_LINE), captured(256, true));
        assert_eq!(line(4, 0), None);
        assert_eq!(
            caller_of(SocketEvent { known: known::COMMAND_LINE, ..event() }).command_line,
            None
        );
    }

    #[test]
    fn rejects_unknown_kinds_mechanisms_and_lengths() {
        let error = |event: SocketEvent| SocketRecord::try_from(&event).err();
        assert_eq!(error(SocketEvent { kind: 0, ..event() }), Some(DecodeError::Kind(0)));
        let mechanism = error(SocketEvent { mechanism: 77, ..event() });
        assert_eq!(mechanism, Some(DecodeError::Mechanism(77)));
        assert_eq!(SocketRecord::decode(&[0; 119]), Err(DecodeError::Length(119)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(
            bytes in prop::collection::vec(any::<u8>(), size_of::<SocketEventWithCommandLine>()),
            kind in 1_u8..5,
            mechanism in 1_u8..5,
        ) {
            let random: SocketEventWithCommandLine = bytemuck::pod_read_unaligned(&bytes);
            let event = SocketEvent { kind, mechanism, ..random.event };
            let record = SocketRecord::try_from(&SocketEventWithCommandLine { event, ..random });
            prop_assert!(record.is_ok());
            prop_assert!(SocketRecord::decode(&bytes[..size_of::<SocketEvent>()]).is_ok()
                == SocketRecord::try_from(&random.event).is_ok());
        }
    }
}
