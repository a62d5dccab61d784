//! Listeners on ports that are not watched.

mod kinds;
mod support;
