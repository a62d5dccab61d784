//! An agent that root started becomes the user that the packages made for it.

use std::path::Path;

use monitor_kernel::own_user::{self, OwnUser};
use rustix::process::geteuid;

use crate::config::{Config, SinkTarget};

/// Becomes the agent's own user, if this process is root's and there is one that may write all that this
/// configuration wants written. The capabilities stay until hooks are attached.
pub(super) fn become_own_user(config: &Config) {
    if !geteuid().is_root() {
        return;
    }
    let name = own_user::NAME;
    let Some(user) = OwnUser::find() else {
        return tracing::info!("the agent stays root: this host has no user {name}");
    };
    match prepare(&user, config).and_then(|()| user.become_it().map_err(|error| error.to_string()))
    {
        Ok(()) => tracing::info!(user = name, "the agent is not root any more"),
        Err(why) => tracing::warn!("the agent stays root and does not become user {name}: {why}"),
    }
}

/// An error says what the user may not write.
fn prepare(user: &OwnUser, config: &Config) -> Result<(), String> {
    user.give_folders().map_err(|error| error.to_string())?;
    let check = |path: &Path| {
        let checked = user.check_writable(path);
        checked.map_err(|error| format!("it may not write {}: {error}", path.display()))
    };
    check(&config.store.path)?;
    config.sinks.iter().try_for_each(|sink| match &sink.target {
        SinkTarget::File { path, .. } => check(path),
        _ => Ok(()),
    })
}
