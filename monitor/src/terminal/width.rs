//! How wide a terminal is.

use std::{env, os::fd::AsFd};

use rustix::termios::{isatty, tcgetwinsize};

/// The narrowest width that is used: less is taken for a mistake.
const NARROWEST: usize = 40;

/// Columns of the terminal that `stream` is, as `COLUMNS` or the terminal itself says; `None` if it is
/// none, so that nothing is cut in a pipe or a file.
pub(crate) fn width(stream: impl AsFd) -> Option<usize> {
    if !isatty(&stream) {
        return None;
    }
    let given = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let own = || tcgetwinsize(&stream).ok().map(|size| usize::from(size.ws_col));
    let columns = given.or_else(own).filter(|columns| *columns > 0).unwrap_or(80);
    Some(columns.max(NARROWEST))
}
