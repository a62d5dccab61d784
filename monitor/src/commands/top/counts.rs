//! The counters of each port in the exposition, summed over interfaces and protocols.

use std::collections::BTreeMap;

use crate::metrics::names;

/// Packets and bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Flow {
    pub(super) packets: f64,
    pub(super) bytes: f64,
}

/// The counters of one port.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Count {
    pub(super) ingress: Flow,
    pub(super) egress: Flow,
    /// Connection attempts to or from the port.
    pub(super) attempts: f64,
}

/// By port.
pub(super) type Counts = BTreeMap<u16, Count>;

/// Reads the text format as the agent writes it; other lines are skipped.
pub(super) fn parse(text: &str) -> Counts {
    let mut counts = Counts::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, rest)) = line.split_once('{') else { continue };
        let is_wanted = [names::PACKETS.name, names::BYTES.name, names::CONNECTION_ATTEMPTS.name];
        if is_wanted.contains(&name) {
            add(&mut counts, name, rest);
        }
    }
    counts
}

/// Adds a series: its labels, a brace, a value.
fn add(counts: &mut Counts, name: &str, rest: &str) -> Option<()> {
    let (labels, value) = rest.rsplit_once("} ")?;
    let value: f64 = value.parse().ok()?;
    let count = counts.entry(label(labels, "port")?.parse().ok()?).or_default();
    let flow = match label(labels, "direction")? {
        "ingress" => &mut count.ingress,
        _ => &mut count.egress,
    };
    if name == names::PACKETS.name {
        flow.packets += value;
    } else if name == names::BYTES.name {
        flow.bytes += value;
    } else {
        count.attempts += value;
    }
    Some(())
}

/// Value of a label whose values contain no quotes.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.split(',').find_map(|pair| {
        let value = pair.strip_prefix(name)?.strip_prefix("=\"")?;
        value.strip_suffix('"')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_protocols_and_sides_are_summed() {
        let (packets, bytes) = (names::PACKETS.name, names::BYTES.name);
        let (attempts, binds) = (names::CONNECTION_ATTEMPTS.name, names::BINDS.name);
        let text = format!(
            "# HELP {packets} Packets.\n\
             {packets}{{interface=\"lo\",port=\"2948\",protocol=\"tcp\",direction=\"ingress\",side=\"local\"}} 3\n\
             {packets}{{interface=\"a,b\",port=\"2948\",protocol=\"udp\",direction=\"ingress\",side=\"remote\"}} 4\n\
             {bytes}{{interface=\"lo\",port=\"2948\",protocol=\"tcp\",direction=\"egress\",side=\"local\"}} 60\n\
             {attempts}{{interface=\"lo\",port=\"2948\",direction=\"ingress\",side=\"local\"}} 2\n\
             {binds}{{port=\"2948\",protocol=\"tcp\",result=\"success\"}} 9\n\
             {packets}{{nonsense}} x\n"
        );
        let expected = Count {
            ingress: Flow { packets: 7.0, bytes: 0.0 },
            egress: Flow { packets: 0.0, bytes: 60.0 },
            attempts: 2.0,
        };
        assert_eq!(parse(&text), Counts::from([(2948, expected)]));
    }
}
