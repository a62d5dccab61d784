//! The configuration: a YAML file, the defaults of the keys it leaves out, and what the command
//! line overrides.
//!
//! [`KEYS`] is the one table of keys. The file is read by it, `config show` writes by it, a reload
//! learns from it what needs a restart, and the reference is generated from it.
//!
//! An error names file, line and column, and what was expected there. An unknown key is an error: a
//! misspelt key must not silently leave a port unwatched.

mod disk_reserve;
mod error;
mod expect;
mod file_stamp;
mod headers_file;
mod interfaces;
mod keys;
pub mod listen;
mod listener_watch;
mod listeners;
mod load;
mod merge;
mod model;
mod parse;
mod pattern;
mod port;
mod port_range;
pub mod quantity;
mod show;
mod sink;
mod sink_keys;
mod source;
mod syslog;
mod template;
#[cfg(test)]
mod tests;
mod url;
mod value;
mod web_file;
mod yaml;

pub use self::{
    disk_reserve::{DiskGuard, DiskReserve},
    error::ConfigError,
    expect::{
        ContainerMatch, Expectation, Judgement, Owner, OwnerFile, Sha256Match, UnitMatch,
        UserMatch, is_expected, judge,
    },
    file_stamp::FileStamp,
    headers_file::HeadersFile,
    interfaces::{InterfacePattern, Interfaces},
    keys::{Change, KEYS, Key},
    listener_watch::ListenerWatch,
    listeners::{ListenerExpectation, ListenerPorts, ListenersConfig},
    load::{DEFAULT_PATH, Overrides},
    merge::{Addition, Additions, MergeError, Merged, merge},
    model::{
        CommandLines, Config, DEFAULT_PORTS, EvidenceLimits, IdentifiedEvents, PayloadConfig,
        PayloadDetails, PayloadKeep, StoreConfig, WebDetails,
    },
    parse::{EXPECT_KEYS, LISTENER_EXPECT_KEYS, PORT_KEYS},
    pattern::{Pattern, PatternError},
    port::{DEFAULT_DORMANT_AFTER, WatchedPort},
    port_range::PortRange,
    sink::{EventFilter, FileLimits, HttpOptions, SinkConfig, SinkTarget},
    sink_keys::{KINDS as SINK_KINDS, SINK_KEYS, SinkKey},
    source::read_file,
    syslog::{Server as SyslogServer, SyslogAddress, SyslogAddressError},
    template::{Template, TemplateEvent},
    url::{HttpUrl, UrlError},
    value::NestedKey,
    web_file::{ClientAuth, Pem, TlsSettings, TlsVersion, WebFile},
    yaml::Position,
};
