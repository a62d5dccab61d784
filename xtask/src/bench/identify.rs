//! What an identification costs, or how verdicts compare with those of other tools: tests of
//! `monitor-identify` that are ignored otherwise, run here in its release build.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::{
    setup::setup,
    workspace::{cargo, succeed},
};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Compare verdicts on the captures in this folder with those of nDPI (`ndpiReader`) and tshark,
    /// where they are installed, instead of measuring the cost.
    #[arg(long, value_name = "FOLDER")]
    captures: Option<PathBuf>,
}

pub(super) fn measure(args: &Args) -> Result<ExitCode> {
    setup(&[])?;
    let mut command = cargo();
    command.args(["test", "--quiet", "--release", "--package", "monitor-identify"]);
    command.args(["--test", "identify", "--", "--ignored", "--nocapture"]);
    match &args.captures {
        Some(folder) => {
            let folder = folder
                .canonicalize()
                .with_context(|| format!("cannot open {}", folder.display()))?;
            command.env("GHOSTPORT_CAPTURES", folder).arg("beside_other_tools");
        }
        None => {
            command.arg("cost");
        }
    }
    succeed(&mut command)?;
    Ok(ExitCode::SUCCESS)
}
