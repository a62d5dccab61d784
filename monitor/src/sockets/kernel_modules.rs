//! Whether a part of the kernel is there, so that it can be asked without loading a module.

use std::{fs, path::Path};

use rustix::system::uname;

/// Whether a module is loaded or built in. Where neither can be found out, it counts as missing.
pub(super) fn is_present(module: &str) -> bool {
    // A kernel without modules loads none.
    !Path::new("/proc/modules").exists()
        || Path::new("/sys/module").join(module).exists()
        || is_built_in(module).unwrap_or(false)
}

/// From the list that is installed with the kernel. `None` where it is not, as in most containers.
fn is_built_in(module: &str) -> Option<bool> {
    let release = uname().release().to_str().ok()?.to_owned();
    let list = fs::read_to_string(format!("/lib/modules/{release}/modules.builtin")).ok()?;
    Some(has(&list, module))
}

/// Names of files have a dash where those of modules may have an underscore.
fn has(list: &str, module: &str) -> bool {
    let file = |line: &str| {
        let name = line.rsplit('/').next()?;
        Some(name.split('.').next()?.replace('-', "_"))
    };
    list.lines().filter_map(file).any(|name| name == module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_module_in_the_list_of_those_built_in() {
        let list = "kernel/net/netfilter/nfnetlink.ko\nkernel/net/ipv4/tcp-cubic.ko.xz\n";
        assert!(has(list, "nfnetlink") && has(list, "tcp_cubic"));
        assert!(!has(list, "nf_tables") && !has(list, "net"));
    }
}
