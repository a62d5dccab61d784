//! Debian packages, and what each is needed for.

/// What something is needed for, which decides when setup looks after it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Compiling for the BPF target; a rustup nightly does as well.
    Compiler,
    /// Building bpf-linker, once.
    Linker,
    /// Running the tests.
    Tests,
    /// Linting the kernel side with its own compiler.
    Lints,
    /// What measurements compare with.
    Comparison,
    /// Building packages, and trying them out.
    Packages,
    /// Building for arm64 on another machine.
    CrossArm64,
    /// Booting arm64 machines.
    GuestsArm64,
}

pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) need: Need,
    pub(crate) why: &'static str,
}

/// Debian's packages for everything that cargo does not bring.
pub(crate) const PACKAGES: &[Package] = &[
    package("rustc-web", Need::Compiler, "compiles the kernel side"),
    package("cargo-web", Need::Compiler, "the cargo of that compiler"),
    package("libstd-rust-web-dev-bpf", Need::Compiler, "`core`, compiled for the BPF target"),
    package("llvm-22-dev", Need::Linker, "the LLVM of that compiler, for bpf-linker"),
    package("libzstd-dev", Need::Linker, "a library that LLVM links to"),
    package("iproute2", Need::Tests, "`ip`, for the namespaces and links of the tests"),
    package("nftables", Need::Tests, "redirects packets in the tests of what answers"),
    package("g++", Need::Tests, "builds libFuzzer"),
    package("curl", Need::Tests, "a client of the web server"),
    package("openssl", Need::Tests, "makes certificates for the tests"),
    package("libcap2-bin", Need::Tests, "grants capabilities to a file in the tests"),
    package("chromium", Need::Tests, "looks at the live page"),
    package("systemd", Need::Tests, "process 1 of the tests that start units"),
    package("qemu-system-x86", Need::Tests, "boots other kernels for the tests"),
    package("lz4", Need::Tests, "unpacks kernels"),
    package("zstd", Need::Tests, "unpacks kernels"),
    package("xz-utils", Need::Tests, "unpacks modules"),
    package("libbpf-tools", Need::Comparison, "bcc's bindsnoop, to compare with"),
    package("lsof", Need::Comparison, "`lsof`, to compare with"),
    package("rpm", Need::Packages, "builds the package for Red Hat's kind"),
    package("lintian", Need::Packages, "finds faults in Debian's package"),
    package("rpmlint", Need::Packages, "finds faults in the other one"),
    package("mmdebstrap", Need::Packages, "makes a fresh system to install in"),
    package("buildah", Need::Packages, "takes the image"),
    package("crun", Need::Packages, "runs it"),
    package("rustc-web", Need::CrossArm64, "compiles for arm64"),
    package("cargo-web", Need::CrossArm64, "the cargo of that compiler"),
    package("gcc-aarch64-linux-gnu", Need::CrossArm64, "links programs for arm64"),
    package("libc6-dev-arm64-cross", Need::CrossArm64, "what they are linked to"),
    package("qemu-system-arm", Need::GuestsArm64, "boots kernels for arm64"),
    package("mmdebstrap", Need::GuestsArm64, "fetches tools of that architecture"),
    package("rust-web-clippy", Need::Lints, "lints the kernel side"),
];

const fn package(name: &'static str, need: Need, why: &'static str) -> Package {
    Package { name, need, why }
}

/// Where LLVM lies. It must be no older than the compiler's, or it cannot read what that writes.
pub(crate) const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
