//! cli.md, from the definition of the command line.

use clap::{Arg, Command, CommandFactory as _};
use ghostport::cli::Cli;

use crate::markdown::{code, table};

/// The page.
pub(crate) fn page() -> String {
    let mut root = Cli::command();
    root.build();
    let commands: Vec<&Command> =
        root.get_subcommands().filter(|command| is_ours(command)).collect();
    let overview = commands.iter().map(|command| {
        let name = command.get_name();
        [format!("[`{name}`](#ghostport-{name})"), about(command)]
    });
    let sections: String = commands.iter().map(|command| section(command, "##")).collect();
    format!(
        "# Command line\n\n\
         Source: `monitor/src/cli.rs`. Each command prints the same with `--help`; the packages \
         bring manual pages.\n\n{}\n{sections}",
        table(["command", "what it does"], overview),
    )
}

/// clap adds `help` itself.
fn is_ours(command: &Command) -> bool {
    command.get_name() != "help"
}

/// A command with its arguments, and its subcommands below it.
fn section(command: &Command, heading: &str) -> String {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let usage = command.clone().render_usage().to_string().replace("Usage: ", "");
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let mut text = format!("{heading} {name}\n\n{about}\n\n```text\n{usage}\n```\n\n");
    let arguments: Vec<[String; 2]> = command
        .get_arguments()
        .filter(|argument| argument.get_id() != "help")
        .map(argument)
        .collect();
    if !arguments.is_empty() {
        text += &format!("{}\n", table(["argument", "what it does"], arguments));
    }
    if let Some(help) = command.get_after_help().map(ToString::to_string) {
        text += &examples(&help);
    }
    for child in command.get_subcommands().filter(|child| is_ours(child)) {
        text += &section(child, &format!("{heading}#"));
    }
    text
}

/// The examples and the exit codes of a command, as its help has them.
fn examples(help: &str) -> String {
    let mut text = String::new();
    for part in help.split("\n\n") {
        let (title, lines) = part.split_once('\n').unwrap_or((part, ""));
        let lines = lines.lines().map(str::trim);
        match title {
            "Examples:" => {
                let lines: String = lines.map(|line| format!("$ {line}\n")).collect();
                text += &format!("```console\n{lines}```\n\n");
            }
            "Exit codes:" => {
                let rows = lines.filter_map(|line| line.split_once("  "));
                let rows = rows.map(|(code, meaning)| [code.to_owned(), meaning.to_owned()]);
                text += &format!("{}\n", table(["exit code", "meaning"], rows));
            }
            _ => {}
        }
    }
    text
}

/// The first line of what a command does.
fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

/// An argument as it is typed, and its help.
fn argument(argument: &Arg) -> [String; 2] {
    let values: Vec<String> = argument
        .get_value_names()
        .unwrap_or_default()
        .iter()
        .map(|name| format!("<{name}>"))
        .collect();
    let takes_value = argument.get_action().takes_values();
    let typed = match (argument.get_long(), argument.get_short()) {
        (Some(long), _) if takes_value => format!("--{long} {}", values.join(" ")),
        (Some(long), _) => format!("--{long}"),
        (None, Some(short)) => format!("-{short}"),
        (None, None) => values.join(" "),
    };
    let help = argument.get_long_help().or(argument.get_help());
    let mut help = help.map(ToString::to_string).unwrap_or_default();
    let possible: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|_| takes_value)
        .map(|value| code(value.get_name()))
        .collect();
    if !possible.is_empty() {
        help += &format!(". One of {}.", possible.join(", "));
    }
    let defaults: Vec<String> =
        argument.get_default_values().iter().map(|value| code(&value.to_string_lossy())).collect();
    if takes_value && !defaults.is_empty() {
        let separator = if help.ends_with('.') { "" } else { "." };
        help += &format!("{separator} Default: {}.", defaults.join(", "));
    }
    [code(&typed), help]
}
