//! Writes the manual pages of `ghostport` and its commands into a folder, which `cargo xtask dist`
//! packs. An example, so that nothing of it is linked into the agent.

use std::{
    env,
    fs::File,
    io::{self, Write as _},
    path::PathBuf,
};

use clap::CommandFactory as _;
use ghostport::cli::Cli;

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
    let folder = PathBuf::from(folder);
    clap_mangen::generate_to(Cli::command(), &folder)?;
    File::options().append(true).open(folder.join("ghostport.1"))?.write_all(MORE.as_bytes())
}
