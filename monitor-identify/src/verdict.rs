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
            Self::ScanZmap | Self::ScanMasscan | Self::ScanNmap | Self::ScanZgrab | Self::ScanSyn
        )
    }

    /// How much it tells, from nothing to an attack: of two directions of a conversation, the one
    /// that tells more says what it is.
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
