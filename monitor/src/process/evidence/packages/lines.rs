//! Lines of a text that is not to be trusted.

use std::io::{self, BufRead};

/// The longest line that is kept; of a longer one the beginning.
const MAX_LINE: usize = 16 * 1024;

/// Reads the next line into `line`, without its end; `false` at the end of the text.
pub(super) fn next_line(text: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut has_begun = false;
    loop {
        let bytes = text.fill_buf()?;
        if bytes.is_empty() {
            return Ok(has_begun);
        }
        has_begun = true;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        let room = MAX_LINE.saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
        let used = part.len() + usize::from(end.is_some());
        text.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_long_lines_and_takes_a_last_one_without_an_end() {
        let long = vec![b'x'; 3 * MAX_LINE];
        let text = [b"a\n\n", &*long, b"\nend"].concat();
        let mut text = io::BufReader::with_capacity(100, &*text);
        let (mut line, mut lines) = (Vec::new(), Vec::new());
        while next_line(&mut text, &mut line).expect("bytes") {
            lines.push(line.clone());
        }
        assert_eq!(lines, [b"a".to_vec(), vec![], long[..MAX_LINE].to_vec(), b"end".to_vec()]);
    }
}
