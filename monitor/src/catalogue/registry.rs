//! Names of IANA's registry, for ports that have no entry of their own.
//!
//! `registry.txt` has one port and its name a line, in ascending order: of IANA's Service Name and
//! Transport Protocol Port Number Registry (copy of 2026-03-01), of a port with several names the
//! first one, TCP's before UDP's. IANA has dedicated it to the public domain (CC0 1.0,
//! www.iana.org/help/licensing-terms).

const TABLE: &str = include_str!("registry.txt");

/// The name of a port. A search by halves over the text, so that nothing has to be built first.
pub(super) fn name(port: u16) -> Option<&'static str> {
    let (mut low, mut high) = (0, TABLE.len());
    while low < high {
        let middle = line_start(low.midpoint(high));
        let line = TABLE.get(middle..)?.lines().next()?;
        let (number, name) = line.split_once(' ')?;
        match number.parse::<u16>().ok()?.cmp(&port) {
            std::cmp::Ordering::Equal => return Some(name),
            std::cmp::Ordering::Less => low = middle + line.len() + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    None
}

/// Where the line begins in which this byte lies.
fn line_start(at: usize) -> usize {
    TABLE.as_bytes()[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_found() {
        let mut before = 0;
        for line in TABLE.lines() {
            let (port, expected) = line.split_once(' ').expect(line);
            let port: u16 = port.parse().expect(line);
            assert!(port > before, "{line} is out of order");
            before = port;
            assert_eq!(name(port), Some(expected));
        }
    }

    #[test]
    fn ports_between_have_no_name() {
        assert_eq!(name(0), None);
        assert_eq!(name(65_535), None);
        assert_eq!(name(4), None);
    }
}
