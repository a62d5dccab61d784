//! Ports that are answered although no socket holds them, and ports that are not.

mod by_itself;
mod configured;
mod not_answered;
mod proxied;
mod redirected;
mod support;
