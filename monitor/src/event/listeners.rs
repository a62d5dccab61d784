//! Events of what the baseline of listeners finds.

use monitor_ledger::listeners::{GroupedNews, Novelty};

use super::{
    body::{Event, EventBody},
    caller::CallerFields,
    context::EventContext,
    listening::{ListenerNews, Listening, Listens, SeenListener},
    repeats::Repeats,
    socket::{SocketFields, service},
};
use crate::{
    listeners::{ListenerChange, ListenerSocket},
    process::Identity,
    sockets::Socket,
};

impl Event {
    /// The events of news about listeners: what they are, and whether they are unexpected.
    pub fn of_listeners(news: GroupedNews<SeenListener>, context: &EventContext) -> Vec<Self> {
        let GroupedNews { first, is_expected, ports, count, times, evidence, .. } = news;
        let [began, last] = times;
        let (socket, process) = match evidence {
            Some(SeenListener { socket, process }) => (socket, process),
            None => (SocketFields::unknown(), None),
        };
        let by = match process {
            Some(process) => Listens::Process(Box::new(process)),
            None => Listens::Program(Box::new((&first.program).into())),
        };
        let is_gone = first.novelty == Novelty::Gone;
        let only = (ports.len() == 1).then_some(first.port);
        let mut listening = Listening {
            kind: match first.novelty {
                Novelty::New => ListenerNews::New,
                Novelty::Changed(changes) => ListenerNews::Changed(changes),
                Novelty::Gone => ListenerNews::Gone,
            },
            socket: SocketFields {
                transport: Some(first.protocol),
                local_port: only,
                service: only.and_then(service),
                ..socket
            },
            ports: if only.is_some() { Vec::new() } else { ports },
            scope: first.scope,
            by,
            expected: (!is_gone).then_some(is_expected),
        };
        let repeats = (count > 1).then_some(Repeats { count, first: began, last });
        let event = |listening: &Listening| Self {
            repeats,
            ..Self::new(began, EventBody::Listener(listening.clone()), context)
        };
        let mut events = vec![event(&listening)];
        if !is_expected && !is_gone {
            listening.kind = ListenerNews::Unexpected;
            events.push(event(&listening));
        }
        events
    }
}

impl SeenListener {
    /// A socket that a process opened, bound to an interface of this name.
    pub fn opened(change: &ListenerChange, interface: Option<String>) -> Self {
        let ListenerSocket {
            protocol, address, port, is_v6_only, netns_inode, is_of_kernel, ..
        } = change.listener;
        let local = address.map(|address| SocketFields::at(protocol, (address, port).into()));
        Self {
            socket: SocketFields {
                interface,
                is_v6_only,
                is_of_kernel,
                netns_inode,
                ..local.unwrap_or_else(|| SocketFields::on_port(port))
            },
            process: change.caller.as_ref().map(CallerFields::found),
        }
    }

    /// A socket that was found open, of which `process` is the first holder.
    pub fn found(socket: &Socket, process: Option<&Identity>) -> Self {
        Self { socket: SocketFields::found(socket), process: process.map(CallerFields::found) }
    }
}
