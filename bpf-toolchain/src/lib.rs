//! Finds the compiler and the linker of the BPF objects.
//!
//! Used by the build script of `monitor-kernel` and by `cargo xtask`, so that both find the same. It
//! depends on the standard library alone, because it is compiled before everything else.

use std::{
    env,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Path of the compiler in Debian's packages; on `PATH`, rustup's compiler precedes it.
pub const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// Path of cargo in Debian's packages.
pub const DEBIAN_CARGO: &str = "/usr/bin/cargo";

/// The crates that need the unstable feature `asm_experimental_arch`, which `RUSTC_BOOTSTRAP` enables
/// for them in a stable compiler.
const NEEDS_UNSTABLE: &str = "aya_ebpf,ghostport,testing";

/// The first release of bpf-linker that is known to work, as (major, minor).
const LINKER_SINCE: (u32, u32) = (0, 13);

/// Variables of an outer cargo's build that a nested cargo must not inherit. Settings of the user
/// (`CARGO_HOME`, `CARGO_HTTP_*`, the jobserver and the like) stay.
const OUTER_BUILD: &[&str] = &[
    "CARGO_BUILD_",
    "CARGO_CFG_",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_FEATURE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
    "RUSTC",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

/// The compilers that have `core` for the BPF target.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Compiler {
    /// A stable compiler with a precompiled `core`, from Debian's packages.
    Debian,
    /// rustup's nightly, which compiles `core` from `rust-src`.
    Nightly,
}

impl Compiler {
    /// The best compiler on this machine.
    pub fn find() -> Option<Self> {
        if debian_has_core() {
            Some(Self::Debian)
        } else if nightly_has_sources() {
            Some(Self::Nightly)
        } else {
            None
        }
    }
}

/// A compiler and a linker for BPF objects.
pub struct Toolchain {
    /// The compiler.
    pub compiler: Compiler,
    linker: PathBuf,
}

impl Toolchain {
    /// Those of this machine. The error names the missing part.
    pub fn find() -> Result<Self, &'static str> {
        let compiler = Compiler::find().ok_or("no compiler with `core` for the BPF target")?;
        let linker =
            find_linker().ok_or("no bpf-linker, or one that is too old or does not run")?;
        Ok(Self { compiler, linker })
    }

    /// A cargo command that works on BPF code for a host of this architecture and byte order.
    pub fn cargo(&self, subcommand: &str, host_arch: &str, big_endian: bool) -> Command {
        let target = bpf_target(big_endian);
        let mut command = match self.compiler {
            Compiler::Debian => debian_cargo(subcommand),
            Compiler::Nightly => nightly_cargo(subcommand),
        };
        command
            .args(["--release", "--target", target])
            .env("CARGO_ENCODED_RUSTFLAGS", rustflags(host_arch))
            .env(linker_variable(target), &self.linker)
            .stdin(Stdio::null());
        command
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let compiler = match self.compiler {
            Compiler::Debian => DEBIAN_RUSTC,
            Compiler::Nightly => "rustup's nightly",
        };
        write!(f, "{compiler} and {}", self.linker.display())
    }
}

/// The linker, if it is new enough and its LLVM library is there for it to run.
pub fn find_linker() -> Option<PathBuf> {
    let linker = find_program("bpf-linker")?;
    let version = output_of(Command::new(&linker).arg("--version"))?;
    let mut numbers = version.split_whitespace().nth(1)?.split('.');
    let mut number = || numbers.next()?.parse().ok();
    ((number()?, number()?) >= LINKER_SINCE).then_some(linker)
}

/// Searches `PATH`, then the folder of `cargo install` and rustup, which services and `sudo` often omit
/// from `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(cargo_bin())
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

fn cargo_bin() -> Option<PathBuf> {
    Some(cargo_home()?.join("bin"))
}

/// Cargo's folder of fetched and installed packages.
pub fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")))
}

/// Flags that replace the paths of sources in release builds and in the line numbers of BPF objects,
/// so that they do not depend on the place of the build.
pub fn remapped(sources: &Path) -> impl Iterator<Item = String> {
    let remap = |path: &Path, seen: &str| format!("--remap-path-prefix={}={seen}", path.display());
    let crates = cargo_home().map(|home| remap(&home, "/usr/src/cargo"));
    [remap(sources, "/usr/src/ghostport")].into_iter().chain(crates)
}

fn debian_has_core() -> bool {
    let target = bpf_target(cfg!(target_endian = "big"));
    let mut rustc = Command::new(DEBIAN_RUSTC);
    output_of(rustc.args(["--print", "target-libdir", "--target", target]))
        .is_some_and(|folder| holds_core(Path::new(&folder)))
        && Path::new(DEBIAN_CARGO).is_file()
}

fn holds_core(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
    })
}

fn nightly_has_sources() -> bool {
    output_of(rustup_nightly("rustc").args(["--print", "sysroot"])).is_some_and(|sysroot| {
        Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").is_dir()
    })
}

/// The trimmed standard output of a command that succeeded.
fn output_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The target for a host of this byte order.
pub fn bpf_target(big_endian: bool) -> &'static str {
    if big_endian { "bpfeb-unknown-none" } else { "bpfel-unknown-none" }
}

fn debian_cargo(subcommand: &str) -> Command {
    let mut command = Command::new(DEBIAN_CARGO);
    without_outer_build(&mut command)
        .arg(subcommand)
        .env("PATH", debian_path())
        .env("RUSTC", DEBIAN_RUSTC)
        .env("RUSTC_BOOTSTRAP", NEEDS_UNSTABLE);
    command
}

/// Puts Debian's programs before rustup's. `$CARGO_HOME/bin` has to be named, or cargo would look
/// there first for subcommands such as clippy.
fn debian_path() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let debian = Path::new(DEBIAN_CARGO).parent().map(Path::to_path_buf);
    let folders = debian.into_iter().chain(env::split_paths(&path)).chain(cargo_bin());
    env::join_paths(folders).unwrap_or(path)
}

fn nightly_cargo(subcommand: &str) -> Command {
    let mut command = rustup_nightly("cargo");
    command.args([subcommand, "-Z", "build-std=core"]);
    command
}

fn rustup_nightly(program: &str) -> Command {
    let mut command = Command::new(find_program("rustup").unwrap_or_else(|| "rustup".into()));
    without_outer_build(&mut command).args(["run", "nightly", program]);
    command
}

fn without_outer_build(command: &mut Command) -> &mut Command {
    let inherited = env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        OUTER_BUILD.iter().any(|prefix| name.starts_with(prefix))
    });
    for name in inherited {
        command.env_remove(name);
    }
    command
}

/// Linker options. BTF gives the kernel the names of functions and map fields. The others inline all
/// but exported functions: before Linux 6.5, in a program that calls a static function, even `memset`,
/// the verifier cannot distinguish the values that matter, and walks a hundred times as many paths.
const LINKING: [&str; 4] = [
    "-Clink-arg=--btf",
    "-Clink-arg=--disable-expand-memcpy-in-order",
    "-Clink-arg=--ignore-inline-never",
    "-Clink-arg=--llvm-args=--inline-threshold=100000",
];

/// The architecture selects the registers in which aya finds a probed function's arguments.
fn rustflags(host_arch: &str) -> String {
    let arch = format!("--cfg=bpf_target_arch=\"{host_arch}\"");
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let flags = [arch, "-Cdebuginfo=2".to_owned()].into_iter();
    let flags = flags.chain(remapped(package.parent().unwrap_or(package)));
    let flags = flags.chain(LINKING.map(str::to_owned));
    flags.collect::<Vec<_>>().join("\u{1f}")
}

fn linker_variable(target: &str) -> String {
    format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"))
}
