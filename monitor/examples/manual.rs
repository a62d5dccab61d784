//! Writes the manual pages of `ghostport`, its commands and its configuration into a folder of
//! sections, which `cargo xtask dist` packs. An example, so that nothing of it is linked into the
//! agent.

use std::{
    env,
    fmt::Write as _,
    fs::{self, File},
    io::{self, Write as _},
    path::PathBuf,
};

use clap::CommandFactory as _;
use ghostport::{
    cli::Cli,
    config::{
        Change, Config, DEFAULT_PATH, EXPECT_KEYS, KEYS, LISTENER_EXPECT_KEYS, NestedKey,
        PORT_KEYS, SINK_KEYS,
    },
};

/// Sections that the definition of the command line does not have.
const MORE: &str = r#".SH FILES
.TP
\fI/etc/ghostport/ghostport.yaml\fR
The configuration; every key has a default.
.TP
\fI/var/lib/ghostport/ghostport.db\fR
History and ledger.
.TP
\fI/run/ghostport/api.sock\fR
Where the other commands ask the agent.
.TP
\fI/sys/fs/bpf/ghostport\fR
Counters and hooks, which outlive the agent.
.SH SIGNALS
.TP
\fBSIGHUP\fR
The agent reads its configuration again.
.TP
\fBSIGTERM\fR, \fBSIGINT\fR
It detaches its hooks and ends; the counters stay.
.TP
\fBSIGUSR2\fR
It ends and leaves the hooks to the next one.
"#;

fn main() -> io::Result<()> {
    let folder = env::args_os().nth(1).ok_or_else(|| io::Error::other("usage: manual FOLDER"))?;
    let [commands, files] = ["man1", "man5"].map(|section| PathBuf::from(&folder).join(section));
    fs::create_dir_all(&commands)?;
    fs::create_dir_all(&files)?;
    clap_mangen::generate_to(Cli::command(), &commands)?;
    File::options().append(true).open(commands.join("ghostport.1"))?.write_all(MORE.as_bytes())?;
    fs::write(files.join("ghostport.yaml.5"), configuration())
}

/// The page of the configuration file, from the table of keys.
fn configuration() -> String {
    let mut page = format!(
        ".TH GHOSTPORT.YAML 5 \"\" \"ghostport {}\" \"File formats\"\n\
         .SH NAME\nghostport.yaml \\- configuration of ghostport\n\
         .SH SYNOPSIS\n\\fI{DEFAULT_PATH}\\fR\n\
         .SH DESCRIPTION\n{}\n.SH KEYS\n",
        env!("CARGO_PKG_VERSION"),
        roff(
            "One YAML document of mappings, lists and plain values. Every key has a default, and a \
             missing file is all defaults. An unknown key is an error. SIGHUP makes the agent read \
             the file again; a file that is refused leaves the old configuration in force."
        ),
    );
    let defaults = Config::default();
    for key in KEYS {
        let shown = key.shown(&defaults);
        let default =
            if shown.starts_with('\n') { String::new() } else { format!(" Default: {shown}.") };
        let effect = match key.change {
            Change::Reload => "",
            Change::Restart(_) => " Takes effect at the next start.",
        };
        entry(&mut page, key.path, key.value, &format!("{}{default}{effect}", key.help));
    }
    section(&mut page, "A PORT", &PORT_KEYS);
    section(&mut page, "EXPECTED PROCESSES", &EXPECT_KEYS);
    section(&mut page, "EXPECTED LISTENERS", &LISTENER_EXPECT_KEYS);
    page.push_str(".SH A SINK\n");
    for sink in SINK_KEYS {
        let kinds = sink.kinds.join(", ");
        let kinds = if kinds.is_empty() { "all sinks".to_owned() } else { kinds };
        entry(&mut page, sink.key.name, sink.key.value, &format!("{} Of {kinds}.", sink.key.help));
    }
    page.push_str(".SH SEE ALSO\n\\fBghostport\\fR(1), \\fBghostport\\-config\\fR(1)\n");
    page
}

fn section(page: &mut String, heading: &str, keys: &[NestedKey]) {
    let _ = writeln!(page, ".SH {heading}");
    for key in keys {
        entry(page, key.name, key.value, key.help);
    }
}

/// A key with its value, and what it does.
fn entry(page: &mut String, name: &str, value: &str, help: &str) {
    let _ = writeln!(page, ".TP\n\\fB{}\\fR: {}\n{}", roff(name), roff(value), roff(help));
}

/// Markdown as text of a manual page: without marks, and with nothing that begins a request.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace(['`', '*'], "");
    text.lines().map(|line| format!("\\&{line}")).collect::<Vec<_>>().join("\n")
}
