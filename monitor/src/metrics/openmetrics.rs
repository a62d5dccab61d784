//! OpenMetrics 1.0, which the client library does not write: it is made from the text format.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use prometheus::proto::MetricType;

use super::names::Metric;

/// The last line of an exposition.
pub(super) const END: &str = "# EOF\n";

/// Ends the names of a counter's samples, and not the name of its family.
const TOTAL: &str = "_total";

/// A family in the text format, in OpenMetrics. After each sample of a counter comes the time at which it
/// began, where that is known.
pub(super) fn translate(
    metric: &Metric,
    text: &str,
    created: Option<Timestamp>,
) -> Result<String, fmt::Error> {
    let is_counter = metric.kind == MetricType::COUNTER;
    let (family, kind) = if is_counter {
        (metric.name.strip_suffix(TOTAL).unwrap_or(metric.name), "counter")
    } else {
        (metric.name, "gauge")
    };
    let help = metric.help.replace('\\', r"\\").replace('"', r#"\""#);
    let mut translated = format!("# TYPE {family} {kind}\n# HELP {family} {help}\n");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').ok_or(fmt::Error)?;
        let value = if value == "inf" { "+Inf" } else { value };
        writeln!(translated, "{series} {value}")?;
        if let Some(created) = created {
            let labels = series.strip_prefix(metric.name).ok_or(fmt::Error)?;
            // Clocks differ by less than a second from one start of the agent to the next.
            writeln!(translated, "{family}_created{labels} {}", created.as_second())?;
        }
    }
    Ok(translated)
}
