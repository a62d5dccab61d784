//! Events of socket calls, from the records of the kernel side.

use monitor_common::socket_record::{self, SocketRecord};

use super::{
    body::{Bind, Call, Connect, EventBody, FailedBind},
    caller::CallerFields,
    context::EventContext,
    socket::{SocketFields, service},
};
use crate::process::Identity;

impl Call {
    /// What `record` says of the socket and of the caller.
    pub fn new(record: &SocketRecord, context: &EventContext) -> Self {
        let caller = record.caller.as_ref();
        Self {
            socket: SocketFields::from(record),
            caller: caller.map(|caller| CallerFields::captured(caller, context)),
            mechanism: record.mechanism,
        }
    }

    /// Adds what `/proc` says of the caller.
    pub fn complete(&mut self, identity: &Identity) {
        if let Some(caller) = &mut self.caller {
            caller.complete(identity);
        }
    }
}

impl EventBody {
    /// The event of a call. `expected` is whether the configuration expects the caller of a bind.
    pub fn from_call(call: Call, record: &SocketRecord, expected: Option<bool>) -> Self {
        match record.call {
            socket_record::Call::Bind { errno: None } => Self::Bind(Bind { call, expected }),
            socket_record::Call::Bind { errno: Some(errno) } => {
                Self::BindFailed(FailedBind { bind: Bind { call, expected }, errno, held_by: None })
            }
            socket_record::Call::Listen => Self::Listen(Bind { call, expected }),
            socket_record::Call::Close => Self::Close(Bind { call, expected }),
            socket_record::Call::Connect => Self::Connect(Connect {
                call,
                peer_address: record.peer_address,
                port: record.port,
            }),
        }
    }
}

impl From<&SocketRecord> for SocketFields {
    fn from(record: &SocketRecord) -> Self {
        Self {
            transport: record.protocol,
            family: record.family,
            local_address: record.local_address,
            local_port: Some(record.port)
                .filter(|port| *port != 0 && record.call != socket_record::Call::Connect),
            service: service(record.port),
            // Its name is known in its own namespace alone.
            interface: None,
            is_v6_only: record.is_v6_only,
            is_of_kernel: record.is_of_kernel,
            netns_inode: record.netns_inode,
        }
    }
}
