//! Whether a part of the kernel is there, so that it can be asked without loading a module.
//!
//! A module that is not loaded may be part of the kernel itself. Two sources know: the kernel's own
//! symbols, and the list that is installed with the kernel, which containers rarely have. Sandboxes
//! may hide either.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::Path,
    sync::OnceLock,
};

use rustix::system::uname;

/// A module that answers requests of netlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Module {
    /// The messages of netfilter, `net/netfilter/nfnetlink.c`.
    Nfnetlink,
    /// nftables, `net/netfilter/nf_tables_api.c`.
    NfTables,
    /// Lists of tracked connections, `net/netfilter/nf_conntrack_netlink.c`.
    ConntrackNetlink,
    /// Lists of packet sockets, `net/packet/diag.c`.
    PacketDiag,
    /// Lists of AF_XDP sockets, `net/xdp/xsk_diag.c`.
    XskDiag,
}

impl Module {
    const ALL: [Self; 5] =
        [Self::Nfnetlink, Self::NfTables, Self::ConntrackNetlink, Self::PacketDiag, Self::XskDiag];

    /// Whether it is loaded or part of the kernel. Where that cannot be found out, it is missing.
    pub(super) fn is_present(self) -> bool {
        Path::new("/sys/module").join(self.name()).is_dir() || built_in().contains(self)
    }

    /// Whether a request to it loads no module.
    pub(super) fn can_be_asked(self) -> bool {
        // A kernel without modules loads none.
        !Path::new("/proc/modules").exists() || self.is_present()
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Nfnetlink => "nfnetlink",
            Self::NfTables => "nf_tables",
            Self::ConntrackNetlink => "nf_conntrack_netlink",
            Self::PacketDiag => "packet_diag",
            Self::XskDiag => "xsk_diag",
        }
    }

    /// A function of its own that the kernel calls by its address, so that it is never inlined.
    const fn function(self) -> &'static str {
        match self {
            Self::Nfnetlink => "nfnetlink_rcv",
            Self::NfTables => "nf_tables_gettable",
            Self::ConntrackNetlink => "ctnetlink_get_conntrack",
            Self::PacketDiag => "packet_diag_dump",
            Self::XskDiag => "xsk_diag_dump",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Whether this kernel lists the filters of packet sockets, without loading a module for it.
pub fn lists_packet_filters() -> bool {
    Module::PacketDiag.is_present()
}

/// Whether this kernel lists tracked connections, without loading a module for it.
pub fn lists_connections() -> bool {
    Module::ConntrackNetlink.is_present()
}

/// Modules that are part of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct BuiltIn(u8);

impl BuiltIn {
    const fn contains(self, module: Module) -> bool {
        self.0 & module.bit() != 0
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<Module> for BuiltIn {
    fn from_iter<I: IntoIterator<Item = Module>>(modules: I) -> Self {
        Self(modules.into_iter().fold(0, |bits, module| bits | module.bit()))
    }
}

/// Read once: the list of symbols has some megabytes.
fn built_in() -> BuiltIn {
    static BUILT_IN: OnceLock<BuiltIn> = OnceLock::new();
    *BUILT_IN.get_or_init(|| {
        let symbols = File::open("/proc/kallsyms");
        let by_symbols = symbols.map(|symbols| in_symbols(BufReader::new(symbols)));
        let by_list = installed_list().map(|list| in_list(&list));
        by_symbols.unwrap_or_default().and(by_list.unwrap_or_default())
    })
}

/// Finds functions of the modules among the kernel's own symbols. Those of a loaded module have its
/// name behind them.
fn in_symbols(symbols: impl BufRead) -> BuiltIn {
    let module = |line: String| {
        let mut words = line.split_ascii_whitespace().skip(2);
        let (Some(symbol), None) = (words.next(), words.next()) else { return None };
        Module::ALL.into_iter().find(|module| module.function() == symbol)
    };
    symbols.lines().map_while(Result::ok).filter_map(module).collect()
}

fn installed_list() -> Option<String> {
    let release = uname().release().to_str().ok()?.to_owned();
    fs::read_to_string(format!("/lib/modules/{release}/modules.builtin")).ok()
}

/// Finds the modules in a list of files. Names of files have a dash where those of modules may have
/// an underscore.
fn in_list(list: &str) -> BuiltIn {
    let module = |line: &str| {
        let name = line.rsplit('/').next()?.split('.').next()?.replace('-', "_");
        Module::ALL.into_iter().find(|module| module.name() == name)
    };
    list.lines().filter_map(module).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_module_in_the_list_of_those_built_in() {
        let list = "kernel/net/netfilter/nfnetlink.ko\nkernel/net/xdp/xsk-diag.ko.xz\n";
        assert_eq!(in_list(list), BuiltIn::from_iter([Module::Nfnetlink, Module::XskDiag]));
        assert!(!in_list(list).contains(Module::NfTables));
    }

    #[test]
    fn functions_of_a_loaded_module_are_not_built_in() {
        let symbols = "0000000000000000 t packet_diag_dump\n\
                       0000000000000000 t xsk_diag_dump\t[xsk_diag]\n";
        assert_eq!(in_symbols(symbols.as_bytes()), BuiltIn::from_iter([Module::PacketDiag]));
        assert_eq!(in_symbols("".as_bytes()), BuiltIn::default());
    }
}
