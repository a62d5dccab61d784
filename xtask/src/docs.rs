//! `cargo xtask docs`: writes docs/reference from the code, by `monitor/examples/reference`, and the
//! schema of the chart's values.

use std::{
    fs,
    process::{Command, ExitCode},
};

use anyhow::Result;

use crate::{
    builds::Builds,
    chart, vm,
    workspace::{cargo, root, succeed},
};

/// Where the generated pages are.
pub(crate) const FOLDER: &str = "docs/reference";

pub(crate) fn docs() -> Result<ExitCode> {
    succeed(command(Builds::ForHere)?.arg(root().join(FOLDER)))?;
    fs::write(chart::schema_path(), chart::schema(Builds::ForHere)?)?;
    eprintln!("docs: {FOLDER} and the schema of the chart's values are written");
    Ok(ExitCode::SUCCESS)
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
