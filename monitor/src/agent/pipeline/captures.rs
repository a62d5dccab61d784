//! The captures of the last scan.

use std::collections::HashMap;

use crate::sockets::{Capture, CaptureKind};

/// What identifies a socket: its kind, its namespace and its inode.
type Key = (CaptureKind, Option<u32>, u32);

/// The captures of the last scan, and those that were found since.
#[derive(Debug, Default)]
pub(super) struct KnownCaptures(HashMap<Key, Known>);

/// A capture that has an event.
#[derive(Debug, PartialEq, Eq)]
struct Known {
    filter: String,
    /// When the look began that found it, `CLOCK_BOOTTIME`.
    at_ns: u64,
}

impl KnownCaptures {
    /// Those of `captures` that are not known, or are known with another filter. A look at `at_ns`
    /// found them, at some processes alone.
    pub(super) fn new_among<'a>(
        &mut self,
        captures: &'a [Capture],
        at_ns: u64,
    ) -> Vec<&'a Capture> {
        let is_new = |capture: &&Capture| {
            let key = key(capture);
            // A scan may have begun before, and have taken longer.
            if self.0.get(&key).is_some_and(|known| known.at_ns > at_ns) {
                return false;
            }
            let known = Known { filter: capture.filter(), at_ns };
            let before = self.0.get(&key).map(|before| before.filter.as_str());
            let is_new = before != Some(&known.filter);
            self.0.insert(key, known);
            is_new
        };
        captures.iter().filter(is_new).collect()
    }

    /// The same of all captures that there are, which a scan found that began at `at_ns`. Others are
    /// forgotten, unless they were found since.
    pub(super) fn new_of_scan<'a>(
        &mut self,
        captures: &'a [Capture],
        at_ns: u64,
    ) -> Vec<&'a Capture> {
        let new = self.new_among(captures, at_ns);
        self.0.retain(|_, known| known.at_ns >= at_ns);
        new
    }
}

const fn key(capture: &Capture) -> Key {
    (capture.kind, capture.netns_inode, capture.inode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::{Scope, packet_socket};

    #[test]
    fn a_capture_is_new_once_for_each_filter() {
        let mut known = KnownCaptures::default();
        let everything = [packet_socket(Scope::Everything)];
        let other = [Capture { inode: 1, ..packet_socket(Scope::Everything) }];
        let unknown = [packet_socket(Scope::Unknown)];
        assert_eq!(known.new_of_scan(&everything, 1), [&everything[0]]);
        assert!(known.new_of_scan(&everything, 2).is_empty());
        assert_eq!(known.new_of_scan(&other, 3), [&other[0]]);
        assert_eq!(known.new_of_scan(&everything, 4), [&everything[0]], "opened again");
        assert_eq!(known.new_of_scan(&unknown, 5), [&unknown[0]]);
    }

    #[test]
    fn a_scan_that_began_before_a_look_forgets_nothing_of_it() {
        let mut known = KnownCaptures::default();
        let everything = [packet_socket(Scope::Everything)];
        assert_eq!(known.new_among(&everything, 2), [&everything[0]]);
        assert!(known.new_of_scan(&[], 1).is_empty());
        assert!(known.new_of_scan(&everything, 3).is_empty());
        assert!(known.new_of_scan(&[], 4).is_empty());
        assert_eq!(known.new_among(&everything, 5), [&everything[0]]);
    }
}
