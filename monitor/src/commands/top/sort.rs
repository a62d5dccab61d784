//! The order of the ports.

use std::cmp::Reverse;

use super::row::Row;

/// By what the ports are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// What most needs a look first.
    #[default]
    Alarm,
    Port,
    State,
    LastPacket,
    Packets,
    Bytes,
    Attempts,
}

impl Sort {
    const ALL: [Self; 7] = [
        Self::Alarm,
        Self::Port,
        Self::State,
        Self::LastPacket,
        Self::Packets,
        Self::Bytes,
        Self::Attempts,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Port => "port",
            Self::State => "state",
            Self::LastPacket => "last packet",
            Self::Packets => "packets",
            Self::Bytes => "bytes",
            Self::Attempts => "attempts",
        }
    }

    pub(super) fn next(self) -> Self {
        let index = Self::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Self::ALL[(index + 1) % Self::ALL.len()]
    }

    /// Sorts, the highest values first and equal ones by port.
    pub(super) fn arrange(self, rows: &mut [Row]) {
        let most = |value: f64| Reverse(value.max(0.0).to_bits());
        match self {
            Self::Alarm => rows.sort_by_cached_key(|row| {
                let port = &row.port;
                (Reverse(port.alarm()), port.dormant != Some(false), Reverse(port.state), port.port)
            }),
            Self::Port => rows.sort_by_key(|row| row.port.port),
            Self::State => rows.sort_by_key(|row| (Reverse(row.port.state), row.port.port)),
            Self::LastPacket => {
                rows.sort_by_key(|row| (Reverse(row.port.last_packet), row.port.port));
            }
            Self::Packets => rows.sort_by_key(|row| {
                let rate = row.rate.unwrap_or_default();
                (most(rate.ingress.packets + rate.egress.packets), row.port.port)
            }),
            Self::Bytes => rows.sort_by_key(|row| {
                let rate = row.rate.unwrap_or_default();
                (most(rate.ingress.bytes + rate.egress.bytes), row.port.port)
            }),
            Self::Attempts => rows.sort_by_key(|row| (most(row.count.attempts), row.port.port)),
        }
    }
}
