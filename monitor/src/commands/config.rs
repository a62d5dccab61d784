//! `ghostport config`: validates the configuration, or prints the effective one.

use std::process::ExitCode;

use crate::{
    cli::{ConfigArgs, ConfigCommand},
    config::{Config, ConfigError, HeadersFile, Overrides, WebFile},
    terminal::output::{CANNOT_LOOK, fail, print},
};

/// Runs `config check` or `config show`.
pub fn run(command: &ConfigCommand) -> ExitCode {
    let (ConfigCommand::Check(args) | ConfigCommand::Show(args)) = command;
    match (load(args), command) {
        (Ok(config), ConfigCommand::Show(_)) => print(config.to_string()),
        (Ok(_), ConfigCommand::Check(_)) => print("the configuration is valid\n"),
        (Err(error), _) => fail(CANNOT_LOOK, &error.into()),
    }
}

/// Reads the configuration, and the files that it names. Warns of secrets that every user may read.
fn load(args: &ConfigArgs) -> Result<Config, ConfigError> {
    let config = Config::load(args.path.as_deref(), &Overrides::default())?;
    config.web_config_file.as_deref().map(WebFile::load).transpose()?;
    let http = config.sinks.iter().filter_map(|sink| sink.target.http());
    for file in http.filter_map(|http| http.headers_file.as_deref()) {
        HeadersFile::load(file)?;
        if let Some(warning) = HeadersFile::exposure(file) {
            eprintln!("ghostport: warning: {warning}");
        }
    }
    Ok(config)
}
