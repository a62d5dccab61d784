//! Segments of one flow that were sampled one by one.

/// A sampled segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins behind the first byte of its flow.
    pub offset: u32,
    /// Its beginning, as far as it was captured.
    pub bytes: Box<[u8]>,
    /// Bytes of it on the wire, with those that were not captured or are in another [`Segment`].
    pub wire_len: usize,
}

/// Segments put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The bytes from the first one of the flow on, up to the first gap.
    pub bytes: Vec<u8>,
    /// The same on the wire, where the last segment may go on.
    pub wire_len: usize,
}

/// Puts segments together, in whatever order they came and however often; `None` if the first one is
/// not among them.
pub fn join_segments(segments: &[Segment]) -> Option<Joined> {
    let mut ordered: Vec<&Segment> = segments.iter().collect();
    ordered.sort_by_key(|segment| segment.offset);
    if ordered.first()?.offset != 0 {
        return None;
    }
    let mut bytes = Vec::new();
    let mut wire_len = 0;
    for segment in ordered {
        let offset = segment.offset as usize;
        let Some(known) = bytes.len().checked_sub(offset) else { break };
        bytes.extend_from_slice(segment.bytes.get(known..).unwrap_or_default());
        wire_len = wire_len.max(offset + segment.wire_len.max(segment.bytes.len()));
    }
    Some(Joined { bytes, wire_len })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(segments: &[(u32, &[u8], usize)]) -> Option<(Vec<u8>, usize)> {
        let segments: Vec<Segment> = segments
            .iter()
            .map(|&(offset, bytes, wire_len)| Segment { offset, bytes: bytes.into(), wire_len })
            .collect();
        join_segments(&segments).map(|joined| (joined.bytes, joined.wire_len))
    }

    #[test]
    fn segments_are_put_in_order_once() {
        let expected = Some((b"GET / HTTP".to_vec(), 10));
        assert_eq!(joined(&[(0, b"GET ", 4), (4, b"/ HTTP", 6)]), expected);
        assert_eq!(joined(&[(4, b"/ HTTP", 6), (0, b"GET ", 4)]), expected);
        assert_eq!(joined(&[(0, b"GET ", 4), (0, b"GET ", 4), (4, b"/ HTTP", 6)]), expected);
        assert_eq!(joined(&[(0, b"GET ", 4), (2, b"T / HTTP", 8)]), expected);
    }

    #[test]
    fn a_gap_ends_them() {
        assert_eq!(joined(&[(0, b"GET ", 4), (9, b"P", 1)]), Some((b"GET ".to_vec(), 4)));
        assert_eq!(joined(&[(4, b"/ HTTP", 6)]), None);
        assert_eq!(joined(&[]), None);
        // Behind what was not captured nothing can be put.
        let cut = joined(&[(0, b"GE", 2), (2, b"T ", 900), (902, b"x", 1)]);
        assert_eq!(cut, Some((b"GET ".to_vec(), 902)));
    }

    #[test]
    fn the_samples_of_one_segment_are_put_together() {
        let parts: [(u32, &[u8], usize); 3] = [(0, b"GET ", 10), (4, b"/ HT", 6), (8, b"TP", 2)];
        assert_eq!(joined(&parts), Some((b"GET / HTTP".to_vec(), 10)));
        assert_eq!(joined(&parts[..2]), Some((b"GET / HT".to_vec(), 10)));
        assert_eq!(joined(&[parts[0], parts[2]]), Some((b"GET ".to_vec(), 10)));
    }
}
