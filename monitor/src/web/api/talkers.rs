//! `/api/v1/talkers`.

use std::{collections::BTreeMap, num::NonZeroU16};

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
};
use jiff::Timestamp;
use monitor_common::flow::{Direction, Protocol};
use monitor_kernel::{
    clock,
    sources::{TalkerFacts, begin_of},
};
use serde::Deserialize;

use super::answer::{Api, problem, query_error};
use crate::{
    api::talker::{PortTalkers, Talker, Talkers},
    web::source::TalkerCounts,
};

/// Talkers of a port and protocol without `limit`.
const DEFAULT_LIMIT: usize = 10;

/// The query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TalkerQuery {
    port: Option<NonZeroU16>,
    /// Most talkers of each port and protocol.
    limit: Option<usize>,
}

/// The talkers of every watched port, or of one.
pub(super) async fn talkers(
    State(api): State<Api>,
    query: Result<Query<TalkerQuery>, QueryRejection>,
) -> Response {
    let Query(TalkerQuery { port, limit }) = match query {
        Ok(query) => query,
        Err(rejection) => return problem(StatusCode::BAD_REQUEST, &query_error(&rejection)),
    };
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    api.answer(move |source| {
        let ports = by_port(&source.talkers()?, port.map(NonZeroU16::get), limit);
        Ok(Some(Talkers { ports }))
    })
    .await
}

/// The counts by port and protocol, `limit` talkers of each.
fn by_port(counts: &TalkerCounts, only: Option<u16>, limit: usize) -> Vec<PortTalkers> {
    let (now, boottime_ns) = (Timestamp::now(), clock::boottime_ns());
    let wanted = |port: u16| only.is_none_or(|only| only == port);
    let mut ports: BTreeMap<(u16, Protocol), PortTalkers> = BTreeMap::new();
    let new = |port: u16, transport: Protocol| PortTalkers {
        port,
        transport,
        sources: None,
        talkers: Vec::new(),
    };
    for row in counts.sources.iter().filter(|row| wanted(row.port)) {
        let port =
            ports.entry((row.port, row.protocol)).or_insert_with(|| new(row.port, row.protocol));
        port.sources = Some(row.addresses);
    }
    for facts in counts.talkers.iter().filter(|facts| wanted(facts.port)) {
        let key = (facts.port, facts.protocol);
        let port = ports.entry(key).or_insert_with(|| new(facts.port, facts.protocol));
        if port.talkers.len() < limit {
            port.talkers.push(talker(facts, now, boottime_ns));
        }
    }
    ports.into_values().collect()
}

fn talker(facts: &TalkerFacts, now: Timestamp, boottime_ns: u64) -> Talker {
    let [ingress, egress] = Direction::ALL.map(|direction| direction as usize);
    Talker {
        address: facts.address,
        packets_received: facts.packets[ingress],
        bytes_received: facts.bytes[ingress],
        packets_transmitted: facts.packets[egress],
        bytes_transmitted: facts.bytes[egress],
        counted_since: begin_of(facts.first_window, now, boottime_ns),
    }
}
