//! Where events go, from outside: to servers that take them, and to those that do not; to a real
//! Alertmanager and a real journal.

mod alertmanager;
mod file;
mod journal;
mod receivers;
mod support;
mod syslog;
mod webhooks;
