//! One statement from those of several hosts.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;

use crate::api::report::{HostReport, PortReport, REPORT_SCHEMA, Report, Verdict};

/// Bytes of a document at most.
const MOST_BYTES: u64 = 256 << 20;

/// Reads documents, and makes one of them. Without `only`, of all their ports.
pub(super) fn files(paths: &[PathBuf], only: Option<&[u16]>, now: Timestamp) -> Result<Report> {
    let reports = paths.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    Ok(merged(reports, only, now))
}

fn read(path: &Path) -> Result<Report> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut text = String::new();
    file.take(MOST_BYTES)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let report: Report = serde_json::from_str(&text).with_context(|| {
        format!("{} is not what `ghostport report --format json` writes", path.display())
    })?;
    if report.schema != REPORT_SCHEMA {
        bail!(
            "{} is a {:?}, and this ghostport reads {REPORT_SCHEMA:?}",
            path.display(),
            report.schema
        );
    }
    Ok(report)
}

/// All hosts and ports of the documents. Of a host that is in several of them, the newest one counts.
pub(super) fn merged(reports: Vec<Report>, only: Option<&[u16]>, now: Timestamp) -> Report {
    let mut newest: BTreeMap<String, (HostReport, Vec<PortReport>)> = BTreeMap::new();
    for report in reports {
        let mut ports: BTreeMap<String, Vec<PortReport>> = BTreeMap::new();
        for port in report.ports {
            ports.entry(port.host.clone()).or_default().push(port);
        }
        for host in report.hosts {
            let of_host = ports.remove(&host.host).unwrap_or_default();
            let known = newest.get(&host.host);
            if known.is_none_or(|(known, _)| known.generated < host.generated) {
                newest.insert(host.host.clone(), (host, of_host));
            }
        }
    }
    let (hosts, ports): (Vec<HostReport>, Vec<Vec<PortReport>>) = newest.into_values().unzip();
    let is_wanted = |port: &PortReport| only.is_none_or(|only| only.contains(&port.port));
    let mut ports: Vec<PortReport> = ports.into_iter().flatten().filter(is_wanted).collect();
    ports.sort_by(|a, b| (a.port, &a.host).cmp(&(b.port, &b.host)));
    Report {
        schema: REPORT_SCHEMA.to_owned(),
        generated: now,
        since: hosts.iter().map(|host| host.since).max().unwrap_or(now),
        until: hosts.iter().map(|host| host.until).min().unwrap_or(now),
        verdict: ports.iter().map(|port| port.verdict).max().unwrap_or(Verdict::Unknown),
        hosts,
        ports,
    }
}
