//! metrics.md, from the declarations of the metrics.

use ghostport::metrics::names::{ALL, Metric};
use prometheus::proto::MetricType;

use crate::markdown::{code, table};

/// The page.
pub(crate) fn page() -> String {
    let rows = ALL.iter().map(|metric| {
        let labels: Vec<String> = metric.labels.iter().map(|label| code(label)).collect();
        [code(metric.name), kind(metric).into(), labels.join(", "), metric.help.into()]
    });
    format!(
        "# Metrics\n\n\
         Source: `metric-names/src/lib.rs`. [The runbook](../runbook.md) says what the alerts \
         on these metrics mean.\n\n\
         `GET /metrics` answers in Prometheus' text format 0.0.4, or in OpenMetrics 1.0 where `Accept` asks for it. Counters are read from the kernel \
         when the request comes in; they survive the agent. No label ever carries a process, a \
         command, an address, a container or a user, but those of `ghostport_holder_info`, \
         which has to be asked for (`metrics.holder_info`).\n\n{}",
        table(["metric", "type", "labels", "what it is"], rows),
    )
}

fn kind(metric: &Metric) -> &'static str {
    match metric.kind {
        MetricType::COUNTER => "counter",
        _ => "gauge",
    }
}
