//! Whether the kernel can answer a request without loading a module.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    sync::OnceLock,
};

/// A module that lists sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Module {
    /// Packet sockets, `net/packet/diag.c`.
    PacketDiag,
    /// AF_XDP sockets, `net/xdp/xsk_diag.c`.
    XskDiag,
}

impl Module {
    /// Whether it is part of the kernel, or loaded.
    pub(super) fn is_there(self) -> bool {
        let (name, built_in) = match self {
            Self::PacketDiag => ("packet_diag", built_in().packet_diag),
            Self::XskDiag => ("xsk_diag", built_in().xsk_diag),
        };
        built_in || Path::new("/sys/module").join(name).is_dir()
    }
}

/// Whether this kernel lists the filters of packet sockets, without loading a module for it.
pub fn lists_packet_filters() -> bool {
    Module::PacketDiag.is_there()
}

/// Modules that are part of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct BuiltIn {
    packet_diag: bool,
    xsk_diag: bool,
}

/// Read once: the list of symbols has some megabytes.
fn built_in() -> BuiltIn {
    static BUILT_IN: OnceLock<BuiltIn> = OnceLock::new();
    *BUILT_IN.get_or_init(|| {
        let symbols = File::open("/proc/kallsyms");
        symbols.map(|symbols| find(BufReader::new(symbols))).unwrap_or_default()
    })
}

/// Finds the functions of the modules among the kernel's own symbols. Those of a loaded module have its
/// name behind them.
fn find(symbols: impl BufRead) -> BuiltIn {
    let mut found = BuiltIn::default();
    for line in symbols.lines().map_while(Result::ok) {
        match line.split_ascii_whitespace().skip(2).collect::<Vec<_>>().as_slice() {
            ["packet_diag_dump"] => found.packet_diag = true,
            ["xsk_diag_dump"] => found.xsk_diag = true,
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_a_loaded_module_are_not_built_in() {
        let symbols = "0000000000000000 t packet_diag_dump\n\
                       0000000000000000 t xsk_diag_dump\t[xsk_diag]\n";
        let packet_diag_alone = BuiltIn { packet_diag: true, xsk_diag: false };
        assert_eq!(find(symbols.as_bytes()), packet_diag_alone);
        assert_eq!(find("".as_bytes()), BuiltIn::default());
    }
}
