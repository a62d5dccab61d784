//! How programs of the project are built that a task runs.

/// How a program is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builds {
    /// As cargo builds by default.
    ForHere,
    /// As the tests are built, whose dependencies a full run of the checks needs anyway.
    LikeTests,
}
