//! `cargo xtask docs`: writes docs/reference from the code, by `monitor/examples/reference`.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{
    vm,
    workspace::{cargo, root, succeed},
};

/// Where the generated pages are.
pub(crate) const FOLDER: &str = "docs/reference";

pub(crate) fn docs() -> Result<ExitCode> {
    succeed(command(Builds::ForHere)?.arg(root().join(FOLDER)))?;
    eprintln!("docs: {FOLDER} is written");
    Ok(ExitCode::SUCCESS)
}

/// How the generator is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builds {
    /// As cargo builds by default.
    ForHere,
    /// As the tests are built, whose dependencies a full run of the checks needs anyway.
    LikeTests,
}

/// The command that writes the pages into the folder that is its next argument.
pub(crate) fn command(builds: Builds) -> Result<Command> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "monitor", "--example", "reference"]);
    if builds == Builds::LikeTests {
        vm::build_for_guests(&mut command)?;
    }
    command.arg("--");
    Ok(command)
}
