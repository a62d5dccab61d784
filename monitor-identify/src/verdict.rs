//! The names of what a payload can be.

use serde::{Serialize, Serializer};

/// Declares the verdicts with their names, which metrics, events and JSON carry: none is renamed.
macro_rules! verdicts {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// What a payload is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Verdict {
            $($(#[$doc])* $variant,)+
        }

        impl Verdict {
            /// Every verdict.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Name in metrics, events and JSON.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

verdicts! {
    /// Wireless Session Protocol, other than a push.
    Wsp = "wsp",
    /// A WSP push of something that has no verdict of its own.
    WspPush = "wsp-push",
    /// A push that announces a multimedia message.
    MmsNotification = "mms-notification",
    /// A push that asks the user to open an address.
    WapServiceIndication = "wap-service-indication",
    /// A push that makes the handset open an address.
    WapServiceLoading = "wap-service-loading",
    /// A push that configures the handset.
    OmaProvisioning = "oma-provisioning",
    /// Wireless Transaction Protocol.
    Wtp = "wtp",
    /// Wireless Transport Layer Security.
    Wtls = "wtls",
    /// Wireless Village (OMA IMPS) communication initiation request.
    WvCir = "wv-cir",
    /// A push with a size larger than the packet, CVE-2009-0396.
    WapPushOverflow = "wap-push-overflow",
    /// A multimedia notification with an overlong field, CVE-2006-4131 and CVE-2006-4132.
    MmsOverflow = "mms-overflow",
    /// The attack tool NotiFlood.
    Notiflood = "notiflood",
    /// Hypertext Transfer Protocol, version 1.
    Http = "http",
    /// Hypertext Transfer Protocol, version 2.
    Http2 = "http2",
    /// The opening of a WebSocket.
    Websocket = "websocket",
    /// Transport Layer Security, and SSL before it.
    Tls = "tls",
    /// Datagram Transport Layer Security.
    Dtls = "dtls",
    /// Secure Shell.
    Ssh = "ssh",
    /// MongoDB.
    Mongodb = "mongodb",
    /// Server Message Block.
    Smb = "smb",
    /// Remote Desktop Protocol.
    Rdp = "rdp",
    /// MySQL or MariaDB.
    Mysql = "mysql",
    /// PostgreSQL.
    Postgresql = "postgresql",
    /// Redis.
    Redis = "redis",
    /// memcached.
    Memcached = "memcached",
    /// MQTT.
    Mqtt = "mqtt",
    /// AMQP.
    Amqp = "amqp",
    /// A SOCKS proxy's client.
    Socks = "socks",
    /// Session Initiation Protocol.
    Sip = "sip",
    /// Session Traversal Utilities for NAT, and TURN.
    Stun = "stun",
    /// Domain Name System.
    Dns = "dns",
    /// QUIC.
    Quic = "quic",
    /// BitTorrent and its distributed hash table.
    Bittorrent = "bittorrent",
    /// Minecraft.
    Minecraft = "minecraft",
    /// RakNet, which games use.
    Raknet = "raknet",
    /// Virtual Network Computing.
    Vnc = "vnc",
    /// File Transfer Protocol.
    Ftp = "ftp",
    /// Simple Mail Transfer Protocol.
    Smtp = "smtp",
    /// Telnet.
    Telnet = "telnet",
    /// Android Debug Bridge.
    Adb = "adb",
    /// Java Remote Method Invocation.
    JavaRmi = "java-rmi",
    /// Simple Network Management Protocol.
    Snmp = "snmp",
    /// Network Time Protocol.
    Ntp = "ntp",
    /// WireGuard.
    Wireguard = "wireguard",
    /// Mining of a cryptocurrency.
    Mining = "mining",
    /// A command line without a protocol: a reverse or bind shell, or a worm's commands.
    Shell = "shell",
    /// The Gh0st family of remote access trojans.
    Gh0st = "gh0st",
    /// Metasploit's Meterpreter and its stages.
    Meterpreter = "meterpreter",
    /// Java Debug Wire Protocol.
    Jdwp = "jdwp",
    /// Lightweight Directory Access Protocol.
    Ldap = "ldap",
    /// DCE/RPC, as Windows speaks it.
    Dcerpc = "dcerpc",
    /// Kerberos 5.
    Kerberos = "kerberos",
    /// NetBIOS over TCP and UDP.
    Netbios = "netbios",
    /// Internet Relay Chat.
    Irc = "irc",
    /// Post Office Protocol 3.
    Pop3 = "pop3",
    /// Internet Message Access Protocol.
    Imap = "imap",
    /// Extensible Messaging and Presence Protocol.
    Xmpp = "xmpp",
    /// Network News Transfer Protocol.
    Nntp = "nntp",
    /// Real-Time Streaming Protocol.
    Rtsp = "rtsp",
    /// OpenVPN.
    Openvpn = "openvpn",
    /// Internet Key Exchange of IPsec.
    Ike = "ike",
    /// Tabular Data Stream of SQL Server and Sybase.
    Tds = "tds",
    /// Transparent Network Substrate of Oracle.
    Tns = "tns",
    /// DRDA of DB2 and Derby.
    Db2 = "db2",
    /// Apache Kafka.
    Kafka = "kafka",
    /// Apache Cassandra.
    Cassandra = "cassandra",
    /// The transport of Elasticsearch and OpenSearch.
    Elasticsearch = "elasticsearch",
    /// Apache ZooKeeper.
    Zookeeper = "zookeeper",
    /// NATS.
    Nats = "nats",
    /// STOMP.
    Stomp = "stomp",
    /// ZeroMQ.
    Zmtp = "zmtp",
    /// Apache Thrift.
    Thrift = "thrift",
    /// General Inter-ORB Protocol of CORBA.
    Giop = "giop",
    /// Apache JServ Protocol.
    Ajp13 = "ajp13",
    /// T3 of WebLogic.
    T3 = "t3",
    /// Bitcoin and its descendants.
    Bitcoin = "bitcoin",
    /// Nodes of Ethereum.
    Ethereum = "ethereum",
    /// ISO transport over TCP.
    Cotp = "cotp",
    /// S7comm of Siemens.
    S7comm = "s7comm",
    /// Modbus over TCP.
    Modbus = "modbus",
    /// DNP3.
    Dnp3 = "dnp3",
    /// BACnet/IP.
    Bacnet = "bacnet",
    /// EtherNet/IP.
    Enip = "enip",
    /// IEC 60870-5-104.
    Iec104 = "iec104",
    /// OPC UA.
    Opcua = "opcua",
    /// Simple Service Discovery Protocol of UPnP.
    Ssdp = "ssdp",
    /// Multicast DNS.
    Mdns = "mdns",
    /// Sun's remote procedure calls.
    Sunrpc = "sunrpc",
    /// Trivial File Transfer Protocol.
    Tftp = "tftp",
    /// Constrained Application Protocol.
    Coap = "coap",
    /// Valve's server queries.
    SourceQuery = "source-query",
    /// IPMI and ASF.
    Ipmi = "ipmi",
    /// Short Message Peer-to-Peer.
    Smpp = "smpp",
    /// GPRS Tunnelling Protocol.
    Gtp = "gtp",
    /// Diameter.
    Diameter = "diameter",
    /// RADIUS.
    Radius = "radius",
    /// TACACS+.
    Tacacs = "tacacs",
    /// Syslog.
    Syslog = "syslog",
    /// NetFlow and IPFIX.
    Netflow = "netflow",
    /// DHCP and BOOTP.
    Dhcp = "dhcp",
    /// Zabbix.
    Zabbix = "zabbix",
    /// Munin.
    Munin = "munin",
    /// X Window System.
    X11 = "x11",
    /// rsync.
    Rsync = "rsync",
    /// Git.
    Git = "git",
    /// Real-time Transport Protocol.
    Rtp = "rtp",
    /// RTP Control Protocol.
    Rtcp = "rtcp",
    /// Media Gateway Control Protocol.
    Mgcp = "mgcp",
    /// H.323.
    H323 = "h323",
    /// Skinny Client Control Protocol of Cisco.
    Skinny = "skinny",
    /// Point-to-Point Tunneling Protocol.
    Pptp = "pptp",
    /// Border Gateway Protocol.
    Bgp = "bgp",
    /// JSON of no known protocol.
    Json = "json",
    /// Text of no known protocol.
    Text = "text",
    /// The scanner ZMap.
    ScanZmap = "scan-zmap",
    /// The scanner masscan.
    ScanMasscan = "scan-masscan",
    /// The scanner Nmap.
    ScanNmap = "scan-nmap",
    /// The scanner ZGrab.
    ScanZgrab = "scan-zgrab",
    /// A connection attempt that never became a connection.
    ScanSyn = "scan-syn",
    /// A segment of TCP that belongs to no connection and has flags that no client begins with.
    ScanStealth = "scan-stealth",
    /// A conversation without a byte of payload.
    Empty = "empty",
    /// None of these.
    Unknown = "unknown",
}

impl Verdict {
    /// Whether it is a protocol or an attack of the mobile phones that the five ports were for.
    pub const fn is_legacy(self) -> bool {
        self as u8 <= Self::Notiflood as u8
    }

    /// Whether it is traffic that attacks old handsets.
    pub const fn is_attack(self) -> bool {
        matches!(self, Self::WapPushOverflow | Self::MmsOverflow | Self::Notiflood)
    }

    /// Whether it is a scanner's.
    pub const fn is_scan(self) -> bool {
        matches!(
            self,
            Self::ScanZmap
                | Self::ScanMasscan
                | Self::ScanNmap
                | Self::ScanZgrab
                | Self::ScanSyn
                | Self::ScanStealth
        )
    }

    /// How specific it is, from nothing to an attack: of the verdicts on the two directions of a
    /// conversation, the more specific one is the conversation's.
    pub const fn specificity(self) -> u8 {
        match self {
            Self::Empty => 0,
            Self::Unknown => 1,
            Self::Text => 2,
            Self::Json => 3,
            _ if self.is_attack() => 6,
            _ if self.is_scan() => 5,
            _ => 4,
        }
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
