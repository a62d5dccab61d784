//! What is found in a command line.

use crate::Grade;

/// What speaks for a shell, and what is shown of it.
pub(super) struct Found<'a> {
    pub(super) grade: Grade,
    pub(super) reason: &'static str,
    /// Name of the detail.
    pub(super) field: &'static str,
    pub(super) text: &'a [u8],
}
