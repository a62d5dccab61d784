//! Ports that are answered although no socket holds them, and ports that are not.

mod by_itself;
mod configured;
mod not_answered;
mod redirected;
mod support;
