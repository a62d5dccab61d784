//! The agent as Prometheus and Alertmanager know it.

/// Its address, which is also its name.
pub(super) const TARGET: &str = "127.0.0.1:10948";

/// A sink that raises alerts under that name.
pub(super) fn alerts_of_target() -> String {
    format!(
        "{{kind: alertmanager, url: \"http://127.0.0.1:9093\", labels: {{instance: \"{TARGET}\"}}}}"
    )
}
