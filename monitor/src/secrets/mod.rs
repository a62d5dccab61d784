//! Secrets in what programs and peers write: command lines and payloads. What looks like one is
//! masked before it reaches an event, the store, the API or a page.
//!
//! By rules, so that some are missed and some are masked that are none:
//! `name` says which names have secret values, `text` finds values in a text, and `arguments` knows
//! what programs do with their arguments.

mod arguments;
mod details;
mod mask;
mod name;
mod program;
mod text;

pub use self::{arguments::mask_arguments, details::disclosed, mask::MASK, text::mask_text};
