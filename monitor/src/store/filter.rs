//! Which events a reader wants, as a condition of SQL.

use std::net::IpAddr;

use jiff::Timestamp;
use rusqlite::types::Value;

use super::record::nanoseconds;
use crate::{config::PortRange, event::EventName};

/// Which events to read. A field that is `None` does not restrict them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Not before this time of day.
    pub since: Option<Timestamp>,
    /// Before this time of day.
    pub until: Option<Timestamp>,
    /// About one of these ports.
    pub port: Option<PortRange>,
    /// Of this kind.
    pub kind: Option<EventName>,
    /// With this verdict on a payload.
    pub verdict: Option<String>,
    /// About the process with this id.
    pub process: Option<u32>,
    /// About a process with this executable: its path or its name.
    pub executable: Option<String>,
    /// About a process of this user: a name or an id.
    pub user: Option<String>,
    /// About this remote address.
    pub peer: Option<IpAddr>,
    /// With this text in the event's JSON; upper and lower case of ASCII are the same.
    pub text: Option<String>,
    /// At most this many, the newest ones.
    pub limit: Option<u32>,
}

/// A condition of SQL with the values of its parameters, in their order.
pub(super) struct Condition {
    /// Conditions on a row of `events`, each after `AND`.
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Condition {
    /// That of all fields of the filter but `limit`.
    pub(super) fn of(filter: &Filter) -> Self {
        let mut condition = Self { sql: String::new(), values: Vec::new() };
        condition.add(" AND time_ns >= ?", filter.since.map(nanoseconds));
        condition.add(" AND time_ns < ?", filter.until.map(nanoseconds));
        if let Some(ports) = filter.port {
            condition.add(" AND port >= ?", Some(ports.first()));
            condition.add(" AND port <= ?", Some(ports.last()));
        }
        condition.add(" AND kind = ?", filter.kind.map(|kind| kind.kind().to_owned()));
        condition.add_member(&["ghostport.verdict"], filter.verdict.clone());
        condition.add_member(&["process.pid"], filter.process.map(i64::from));
        condition.add_member(
            &["process.executable.path", "process.executable.name"],
            filter.executable.clone(),
        );
        match filter.user.as_deref().map(str::parse::<u32>) {
            Some(Ok(id)) => condition.add_member(&["process.user.id"], Some(i64::from(id))),
            _ => condition.add_member(&["process.user.name"], filter.user.clone()),
        }
        condition.add_member(&["network.peer.address"], filter.peer.map(|peer| peer.to_string()));
        let pattern = filter.text.as_deref().map(like_pattern);
        condition.add(r" AND line LIKE ? ESCAPE '\'", pattern);
        condition
    }

    fn add(&mut self, sql: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.sql.push_str(sql);
            self.values.push(value.into());
        }
    }

    /// That one of these members of the event has the value. A row that is not JSON is not selected.
    fn add_member(&mut self, members: &[&str], value: Option<impl Into<Value>>) {
        let Some(value) = value else { return };
        let paths: Vec<String> =
            members.iter().map(|member| format!(r#"line ->> '$."{member}"'"#)).collect();
        let paths = paths.join(", ");
        self.add(&format!(" AND CASE WHEN json_valid(line) THEN ? IN ({paths}) END"), Some(value));
    }
}

/// A pattern of `LIKE` for lines with this text.
fn like_pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern + "%"
}
