//! A server over a source of its own, and requests to it.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
};

use jiff::Timestamp;
use monitor_common::flow::Protocol;
use monitor_kernel::{hooks::HookStatus, snapshot::PortSources, sources::TalkerFacts};
use monitor_ledger::{PortFacts, listeners::Standing};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
};

use crate::{
    api::{
        agent::AgentFacts,
        history::History,
        listener::Listeners,
        port::Port,
        selftest::{Assignment, SelftestReport},
    },
    config::{PortRange, WatchedPort, WebDetails},
    event::{
        JsonLine,
        broadcast::{EventBroadcast, Subscribed, Subscriber},
    },
    history::Hours,
    listeners::{JudgedListener, ListenerOverview},
    metrics::Exposition,
    sockets::udp_socket,
    store::{Filter, ReadError},
    web::{Listener, Source, State, TalkerCounts, bind, serve},
};

/// A source with one watched port, on which nothing has happened.
pub(super) struct Known {
    broadcast: EventBroadcast,
    details: WebDetails,
}

impl Known {
    fn shared(details: WebDetails) -> Arc<Self> {
        Arc::new(Self { broadcast: EventBroadcast::new(7), details })
    }
}

/// The address of a TCP listener.
pub(super) fn address_of(listener: &Listener) -> SocketAddr {
    listener.address().unwrap()
}

impl Source for Known {
    fn details(&self) -> WebDetails {
        self.details
    }

    fn ports(&self, only: Option<u16>) -> anyhow::Result<Vec<Port>> {
        let port = WatchedPort::new(2948);
        let view = Port::of_agent(&port, &PortFacts::default(), &[], vec![], vec![]);
        Ok(only.is_none_or(|only| only == 2948).then_some(view).into_iter().collect())
    }

    fn history(&self, port: u16) -> anyhow::Result<Option<History>> {
        let state = PortFacts::default().state;
        Ok((port == 2948).then(|| Hours::default().of_port(port, state)))
    }

    fn agent(&self) -> anyhow::Result<AgentFacts> {
        Ok(AgentFacts { host: "gateway-7".to_owned(), ..AgentFacts::default() })
    }

    fn listeners(&self) -> Listeners {
        let judged = JudgedListener {
            socket: udp_socket(2948),
            standing: Some(Standing::Outside),
            expected: Some(false),
            since: Some(Timestamp::UNIX_EPOCH),
        };
        let overview = ListenerOverview { listeners: vec![judged] };
        Listeners::of_agent(Some(&overview), true)
    }

    fn talkers(&self) -> anyhow::Result<TalkerCounts> {
        let talker = |last, packets| TalkerFacts {
            port: 2948,
            protocol: Protocol::Udp,
            address: [192, 0, 2, last].into(),
            packets: [packets, 1],
            bytes: [packets * 60, 60],
            first_window: 2,
            last_window: 2,
        };
        let sources = PortSources { port: 2948, protocol: Protocol::Udp, addresses: 2 };
        Ok(TalkerCounts { sources: vec![sources], talkers: vec![talker(1, 9), talker(2, 3)] })
    }

    fn hooks(&self) -> anyhow::Result<Vec<HookStatus>> {
        anyhow::bail!("the kernel is silent")
    }

    fn addresses_error(&self) -> Option<String> {
        None
    }

    fn events(&self, filter: &Filter) -> anyhow::Result<Vec<String>> {
        if filter.port == Some(404.into()) {
            return Err(ReadError::Missing("/no/store".into()).into());
        }
        let event = format!(r#"{{"port":{}}}"#, filter.port.map_or(0, PortRange::first));
        Ok(vec![event; filter.limit.unwrap_or(0).min(2) as usize])
    }

    fn begin_selftest(&self, _client: Option<u32>) -> anyhow::Result<Option<Assignment>> {
        Ok(None)
    }

    fn finish_selftest(&self, _sent: bool) -> anyhow::Result<Option<SelftestReport>> {
        Ok(None)
    }

    fn subscribe(&self, events: Subscribed) -> Subscriber {
        let subscriber = self.broadcast.subscribe();
        let name = match events {
            Subscribed::Summed => "bind",
            Subscribed::Every => "identified",
        };
        let json = format!(r#"{{"event.name":"ghostport.{name}"}}"#);
        self.broadcast.send(&JsonLine::from(json));
        subscriber
    }
}

/// The state of a server that is ready.
pub(super) fn state(exposition: Exposition) -> State {
    let ready = Arc::new(AtomicBool::new(true));
    State {
        exposition,
        ready,
        hooks_lost: Arc::default(),
        stalled: Arc::new(|| None),
        security: None,
        source: Known::shared(WebDetails::Loopback),
    }
}

/// A server on a loopback address, which stops when this is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) ready: Arc<AtomicBool>,
    pub(super) stop: watch::Sender<()>,
    pub(super) task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(exposition: Exposition) -> Self {
        Self::of(state(exposition)).await
    }

    pub(super) async fn with_details(details: WebDetails) -> Self {
        let source = Known::shared(details);
        Self::of(State { source, ..state(Arc::new(|_| Ok(Vec::new()))) }).await
    }

    async fn of(state: State) -> Self {
        let listeners = bind(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
        let address = address_of(&listeners[0]);
        let (stop, stopped) = watch::channel(());
        let ready = Arc::clone(&state.ready);
        let task = tokio::spawn(serve(listeners, state, stopped));
        Self { address, ready, stop, task }
    }

    pub(super) async fn of_text(text: &'static str) -> Self {
        Self::start(Arc::new(move |_| Ok(vec![text.to_owned()]))).await
    }

    /// Sends bytes and reads until the server closes.
    pub(super) async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may refuse before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(super) async fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        self.exchange(request.as_bytes()).await
    }
}
