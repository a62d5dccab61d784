//! Compiles the kernel side, and passes the paths of its objects to the crate.
//!
//! `monitor-ebpf` is a workspace of its own, for another target and with another compiler, so cargo
//! cannot build it as a dependency.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use bpf_toolchain::{Toolchain, bpf_target};
use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};

/// The programs of `monitor-ebpf`, and the variable through which the code finds each object.
const OBJECTS: &[(&str, &str)] =
    &[("ghostport", "GHOSTPORT_OBJECT"), ("testing", "GHOSTPORT_TESTING_OBJECT")];

/// Sources of the objects, from the root of the repository.
const SOURCES: &[&str] = &[
    "monitor-common/Cargo.toml",
    "monitor-common/src",
    "monitor-ebpf/Cargo.lock",
    "monitor-ebpf/Cargo.toml",
    "monitor-ebpf/src",
];

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match build_objects(&root) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("cargo::error={why}");
            ExitCode::FAILURE
        }
    }
}

fn build_objects(root: &Path) -> Result<(), String> {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    let toolchain = Toolchain::find().map_err(|missing| {
        format!("the kernel side cannot be built ({missing}): run `cargo xtask setup`")
    })?;
    let target_dir = shared_target_dir(Path::new(&variable("OUT_DIR")?))?;
    let release = compile(&toolchain, &root.join("monitor-ebpf"), &target_dir)?;
    for (program, name) in OBJECTS {
        let stripped = Path::new(&variable("OUT_DIR")?).join(program);
        strip(&release.join(program), &stripped)
            .map_err(|error| format!("{}: {error}", release.join(program).display()))?;
        println!("cargo::rustc-env={name}={}", stripped.display());
    }
    Ok(())
}

/// Copies an object without DWARF, from which the linker has generated the BTF. DWARF makes up five
/// sixths of the file, and a quarter of the instructions of an agent's start.
fn strip(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    let bytes = fs::read(from)?;
    let mut object = Builder::read(bytes.as_slice())?;
    for section in &mut object.sections {
        let name = section.name.as_slice();
        section.delete = name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    object.delete_orphans();
    // LLVM stores the names of sections with those of symbols; the writer needs a section of their own.
    let names = object.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    object.write(&mut stripped)?;
    Ok(fs::write(to, stripped)?)
}

/// `bpf` beside the folders of the profiles; this script's own is in `target/PROFILE/build`. The
/// objects are the same for every profile, and compiling aya's macros once saves a minute.
fn shared_target_dir(out_dir: &Path) -> Result<PathBuf, String> {
    let profile =
        out_dir.ancestors().find(|folder| folder.ends_with("build")).and_then(Path::parent);
    let target = profile.and_then(Path::parent).ok_or("OUT_DIR is not inside a target folder")?;
    Ok(target.join("bpf"))
}

/// Runs the nested cargo and returns the folder of its results. Its output goes to standard error,
/// which the outer cargo shows if this script fails.
fn compile(toolchain: &Toolchain, package: &Path, target_dir: &Path) -> Result<PathBuf, String> {
    let big_endian = variable("CARGO_CFG_TARGET_ENDIAN")? == "big";
    let status = toolchain
        .cargo("build", &variable("CARGO_CFG_TARGET_ARCH")?, big_endian)
        .args(["--bins", "--target-dir"])
        .arg(target_dir)
        .current_dir(package)
        .status()
        .map_err(|error| format!("cannot start {toolchain}: {error}"))?;
    if !status.success() {
        return Err(format!(
            "the kernel side does not compile with {toolchain}, see below (an \"Invalid record\" \
             means that the linker's LLVM is older than the compiler's)"
        ));
    }
    Ok(target_dir.join(bpf_target(big_endian)).join("release"))
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("cargo did not set {name}: {error}"))
}
