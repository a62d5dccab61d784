//! `ghostport top` on a real terminal.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{Ipv4Addr, UdpSocket},
    os::fd::OwnedFd,
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags, open},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};
use testkit::{
    agent::{Agent, Config, finish, ghostport, stderr},
    certificates::authority,
    eventually,
    world::{in_world, port},
};

const ENTERS: &str = "\u{1b}[?1049h";
const LEAVES: &str = "\u{1b}[?1049l";
const SHOWS_CURSOR: &str = "\u{1b}[?25h";

/// A terminal with `top` in it.
pub(crate) struct Session {
    child: Child,
    keyboard: File,
    terminal: OwnedFd,
    before: Termios,
    said: Arc<Mutex<String>>,
}

impl Session {
    fn start() -> Self {
        Self::start_with(&[], "xterm")
    }

    /// With these arguments, on a terminal of this kind.
    pub(crate) fn start_with(arguments: &[&str], terminal_kind: &str) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&keyboard).and_then(|()| unlockpt(&keyboard)).expect("a terminal");
        let name = ptsname(&keyboard, Vec::new()).expect("a name");
        let terminal = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("open");
        resize(&terminal, 80, 24);
        let before = tcgetattr(&terminal).expect("a terminal");
        let end = || Stdio::from(terminal.try_clone().expect("a descriptor"));
        let mut command = ghostport();
        command.arg("top").args(arguments).env("TERM", terminal_kind);
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().expect("spawned");
        let keyboard = File::from(keyboard);
        let said = Arc::<Mutex<String>>::default();
        let (heard, mut screen) = (Arc::clone(&said), keyboard.try_clone().expect("a descriptor"));
        // Ends with the terminal.
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut bytes) {
                heard.lock().expect("text").push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        });
        Self { child, keyboard, terminal, before, said }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn said(&self) -> String {
        self.said.lock().expect("text").clone()
    }

    pub(crate) fn await_text(&self, text: &str) {
        eventually(text, || self.said().contains(text).then_some(()));
    }

    /// Waits for text that replaces similar text. The terminal receives only the difference, so the
    /// window is resized, which draws everything again.
    fn await_redrawn(&self, text: &str) {
        let mut rows = [23, 24].into_iter().cycle();
        eventually(text, || {
            resize(&self.terminal, 80, rows.next()?);
            self.signal(Signal::WINCH);
            thread::sleep(Duration::from_millis(100));
            // A key that comes together with a change of the size waits for the next key: crossterm
            // handles one of the two. F1 means nothing.
            (&self.keyboard).write_all(b"\x1bOP").expect("pressed");
            self.said().contains(text).then_some(())
        });
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("pressed");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signalled");
    }

    /// Waits for its end, and checks that the terminal is as it was.
    fn assert_ends_well(mut self) {
        let status = eventually("an end", || self.child.try_wait().expect("waited"));
        assert_eq!(status.code(), Some(0), "{}", self.said());
        self.await_text(LEAVES);
        let said = self.said();
        let left = said.rfind(LEAVES).expect("left");
        assert!(said.rfind(ENTERS).is_some_and(|entered| entered < left));
        assert!(said.contains(SHOWS_CURSOR), "the cursor is hidden");
        let after = tcgetattr(&self.terminal).expect("a terminal");
        assert_eq!(after.local_modes, self.before.local_modes);
        assert_eq!(after.input_modes, self.before.input_modes);
        assert_eq!(after.output_modes, self.before.output_modes);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- what the terminal was told ---\n{:?}\n---", self.said());
        }
    }
}

fn resize(terminal: &OwnedFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("resized");
}

#[test]
fn shows_changes_and_restores_the_terminal() {
    in_world(|world| {
        let _agent = Agent::start(world, &Config::new([port(0), port(1)]).on(&["lo"]));
        let mut session = Session::start();
        session.await_text(ENTERS);
        session.await_text(&port(0).to_string());
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port(0))).expect("bound");
        session.await_redrawn("unexpected_owner");
        session.await_redrawn("bound");
        session.press("r");
        session.await_text("reversed");
        resize(&session.terminal, 100, 30);
        session.signal(Signal::WINCH);
        // Line 30 exists now, and lists the keys.
        session.await_text("\u{1b}[30;1H");
        drop(socket);
        session.press("q");
        session.assert_ends_well();
    });
}

#[test]
fn shows_a_port_alone_filters_and_helps() {
    in_world(|world| {
        let _agent = Agent::start(world, &Config::new([port(0), port(1)]).on(&["lo"]));
        let _socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port(0))).expect("bound");
        let mut session = Session::start();
        // What something unexpected holds is first, and selected.
        session.await_redrawn("1 to look at");
        session.press("\r");
        session.await_redrawn("SOCKETS");
        // Not Esc, which is the beginning of other keys, too.
        session.press("\u{7f}?");
        // Of words in one style, the terminal gets the words alone.
        session.await_redrawn("signs");
        session.press("?/");
        session.press(&format!("{}\r", port(1)));
        session.await_redrawn(&format!("\"{}\"", port(1)));
        session.press("p");
        session.await_redrawn("PAUSED");
        session.press("l");
        session.await_redrawn("listeners.watch");
        session.press("q");
        session.assert_ends_well();
    });
}

#[test]
fn asks_another_agent_over_tls_with_a_password() {
    in_world(|world| {
        authority(world, "ca", &["server"]);
        let (web, password) = (world.path("web.yml"), world.path("password"));
        fs::write(&web, "{}").expect("written");
        fs::write(&password, "s3cret\n").expect("written");
        let keys = format!("config_file: {}\n  details: authenticated", web.display());
        let _agent = Agent::start(world, &Config::new([port(0)]).with_web_keys(&keys));
        let hash = bcrypt::hash("s3cret", 10).expect("a hash");
        let tls = "tls_server_config: {cert_file: server.crt, key_file: server.key}";
        let new = world.path("web.new");
        fs::write(&new, format!("{tls}\nbasic_auth_users: {{ops: {hash}}}\n")).expect("written");
        fs::rename(new, &web).expect("renamed");
        let (authorities, password) = (world.path("ca.crt"), password.display().to_string());
        let authorities = authorities.display().to_string();
        let url = ["--url", "https://127.0.0.1:10948", "--ca-file", &authorities];
        let mut session = Session::start_with(&[&url[..], &["--user", "ops"]].concat(), "xterm");
        let status = eventually("an end", || session.child.try_wait().expect("waited"));
        assert_eq!(status.code(), Some(2));
        session.await_text("wants a user and a password");
        let with_password = ["--user", "ops", "--password-file", &password];
        let mut session = Session::start_with(&[&url[..], &with_password].concat(), "xterm");
        session.await_text(&port(0).to_string());
        session.press("q");
        session.assert_ends_well();
    });
}

#[test]
fn ends_on_a_signal_as_on_a_key() {
    in_world(|world| {
        let _agent = Agent::start(world, &Config::new([port(0)]));
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            let session = Session::start();
            session.await_text("ghostport top");
            session.signal(signal);
            session.assert_ends_well();
        }
    });
}

#[test]
fn reports_a_missing_agent_or_terminal() {
    in_world(|_| {
        let output = finish(ghostport().arg("top"));
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("draws on a terminal"), "{}", stderr(&output));
        let mut session = Session::start();
        let status = eventually("an end", || session.child.try_wait().expect("waited"));
        assert_eq!(status.code(), Some(2));
        session.await_text("no agent answers");
        assert!(!session.said().contains(ENTERS));
        let mut session = Session::start_with(&["--socket", "/run/elsewhere.sock"], "xterm");
        eventually("an end", || session.child.try_wait().expect("waited"));
        session.await_text("/run/elsewhere.sock");
        let mut session = Session::start_with(&[], "dumb");
        eventually("an end", || session.child.try_wait().expect("waited"));
        session.await_text("TERM=dumb");
    });
}
