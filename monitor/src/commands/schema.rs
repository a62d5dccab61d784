//! `ghostport schema`: JSON Schemas of what the program writes and reads.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::{
    cli::SchemaOf,
    schema,
    terminal::output::{CANNOT_LOOK, fail, print},
};

/// Prints the schema.
pub fn run(of: SchemaOf) -> ExitCode {
    let schema = match of {
        SchemaOf::Event => schema::event(),
        SchemaOf::Check => schema::check(),
        SchemaOf::Config => schema::config(),
        SchemaOf::Report => schema::report(),
    };
    match serde_json::to_vec_pretty(&schema).context("cannot write the schema") {
        Ok(mut text) => {
            text.push(b'\n');
            print(text)
        }
        Err(error) => fail(CANNOT_LOOK, &error),
    }
}
