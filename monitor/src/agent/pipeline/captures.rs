//! The captures of the last scan.

use std::collections::HashMap;

use crate::sockets::{Capture, CaptureKind};

/// What identifies a socket: its kind, its namespace and its inode.
type Key = (CaptureKind, Option<u32>, u32);

/// The captures of the last scan, each with its filter.
#[derive(Debug, Default)]
pub(super) struct KnownCaptures(HashMap<Key, String>);

impl KnownCaptures {
    /// Those of `captures`, all that a scan found, that the last scan did not find or found with
    /// another filter.
    pub(super) fn new_ones<'a>(&mut self, captures: &'a [Capture]) -> Vec<&'a Capture> {
        let known = std::mem::take(&mut self.0);
        let is_new = |capture: &&Capture| {
            let (key, filter) = (key(capture), capture.filter());
            let is_new = known.get(&key) != Some(&filter);
            self.0.insert(key, filter);
            is_new
        };
        captures.iter().filter(is_new).collect()
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
        assert_eq!(known.new_ones(&everything), [&everything[0]]);
        assert!(known.new_ones(&everything).is_empty());
        assert_eq!(known.new_ones(&other), [&other[0]]);
        assert_eq!(known.new_ones(&everything), [&everything[0]], "opened again");
        assert_eq!(known.new_ones(&unknown), [&unknown[0]]);
    }
}
