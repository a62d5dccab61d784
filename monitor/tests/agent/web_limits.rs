//! What clients of the web server cannot do: keep others out, cost the agent events, hold a CPU, or
//! open it by an empty file.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use testkit::{
    agent::{Agent, Config, LISTEN, finish, stdout},
    certificates::authority,
    eventually,
    privileges::as_user,
    process::cpu_ticks,
    sh,
    world::{World, in_world, port},
};

/// A user who is neither root nor the agent's.
const OTHER: u32 = 4712;

/// A scrape must not take longer than this beside any of the attacks.
const SOON: Duration = Duration::from_secs(3);

/// Runs work on a thread of another user, whose sockets are that user's.
fn as_other<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    as_user(OTHER, work)
}

fn connect() -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, LISTEN)).expect("connected")
}

/// Runs curl, as a user, and returns the status.
fn status(user: u32, arguments: &str, url: &str) -> u16 {
    let mut command = Command::new("curl");
    command.uid(user).gid(user).args([
        "-s",
        "-k",
        "-m",
        "25",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
    ]);
    command.args(arguments.split_ascii_whitespace()).arg(url);
    stdout(&finish(&mut command)).trim().parse().expect("a status")
}

/// What curl gets as root.
fn body(url: &str) -> String {
    stdout(&finish(Command::new("curl").args(["-sk", "-m", "20", url])))
}

#[track_caller]
fn assert_soon(what: &str, user: u32, arguments: &str, url: &str) {
    let start = Instant::now();
    assert_eq!(status(user, arguments, url), 200, "{what}");
    assert!(start.elapsed() < SOON, "{what} took {:?}", start.elapsed());
}

const METRICS: &str = "http://127.0.0.1:10948/metrics";
const SOCKET: &str = "--unix-socket /run/ghostport/api.sock";

/// Scrapes of root and of others, and the Unix socket, are served at once.
#[track_caller]
fn assert_all_are_served() {
    assert_soon("a scrape of root", 0, "", METRICS);
    assert_soon("a scrape of another user", 65534, "", METRICS);
    assert_soon("a scrape of the attacker's user", OTHER, "", METRICS);
    assert_soon("the Unix socket", 0, SOCKET, "http://agent/api/v1/ports");
}

fn config() -> Config {
    Config::new([port(0)]).on(&["lo"])
}

#[test]
fn idle_connections_keep_no_client_out() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let idle = as_other(|| (0..300).map(|_| connect()).collect::<Vec<_>>());
        assert_all_are_served();
        // Root's own, too, over both.
        let more: Vec<_> = (0..300).map(|_| connect()).collect();
        let unix = || UnixStream::connect("/run/ghostport/api.sock").expect("connected");
        let sockets: Vec<_> = (0..100).map(|_| unix()).collect();
        assert_all_are_served();
        let descriptors = fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("open").count();
        assert!(descriptors < 500, "{descriptors} descriptors for 700 connections");
        drop((idle, more, sockets));
        assert_eq!(agent.terminate().code(), Some(0));
    });
}

#[test]
fn heads_that_never_end_are_cut_off() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let slow = as_other(|| {
            let mut slow: Vec<TcpStream> = (0..150).map(|_| connect()).collect();
            for stream in &mut slow {
                // Those without a slot are closed already.
                let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ");
            }
            slow
        });
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(13) {
            for mut stream in &slow {
                let _ = stream.write_all(b"a");
            }
            thread::sleep(Duration::from_millis(500));
        }
        assert_all_are_served();
        for mut stream in &slow {
            stream.set_read_timeout(Some(Duration::from_millis(100))).expect("set");
            let mut answer = [0; 64];
            let open = matches!(stream.read(&mut answer), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
            assert!(!open, "a head of 13 seconds is still read");
        }
        drop(agent);
    });
}

fn write_web_file(world: &World, text: &str) {
    fs::write(world.path("web.new"), text).expect("written");
    fs::rename(world.path("web.new"), world.path("web.yml")).expect("renamed");
}

/// An agent with a web configuration that is put in force once it is ready.
fn start_with(world: &World, text: &str) -> Agent {
    write_web_file(world, "{}");
    let keys = format!("config_file: {}", world.path("web.yml").display());
    let agent = Agent::start(world, &config().with_web_keys(&keys));
    write_web_file(world, text);
    agent
}

const TLS: &str = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n";

fn users(names: &[&str], cost: u32) -> String {
    let user = |name: &&str| {
        let hash = bcrypt::hash(format!("right of {name}"), cost).expect("a hash");
        format!("  {name}: {hash}\n")
    };
    format!("basic_auth_users:\n{}", names.iter().map(user).collect::<String>())
}

/// Attackers with ever new passwords, until this is dropped.
struct Guessers(Arc<AtomicBool>, Vec<thread::JoinHandle<u32>>);

impl Guessers {
    fn start(users: &[u32]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let guess = |(number, user): (usize, &u32)| {
            let (stop, user) = (Arc::clone(&stop), *user);
            thread::spawn(move || {
                let mut tried = 0;
                while !stop.load(Ordering::Relaxed) {
                    let guess = format!("-u prometheus:{number}-{tried}");
                    let status = status(user, &guess, METRICS);
                    assert!(status == 401 || status == 429, "{status}");
                    tried += 1;
                }
                tried
            })
        };
        let threads = users.iter().enumerate().map(guess).collect();
        Self(stop, threads)
    }

    fn stop(self) -> u32 {
        self.0.store(true, Ordering::Relaxed);
        self.1.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    }
}

#[test]
fn wrong_passwords_neither_hold_a_cpu_nor_keep_out_the_right_one() {
    in_world(|world| {
        let names = ["prometheus", "second", "third"];
        let agent = start_with(world, &users(&names, 6));
        let cpu = || cpu_ticks(agent.pid());
        let guessers = Guessers::start(&[OTHER, OTHER, OTHER, OTHER, 0, 0]);
        thread::sleep(Duration::from_secs(2));
        let (start, before) = (Instant::now(), cpu());
        // Each is verified for the first time: by a client of its own, and by those that guess.
        for (name, user) in [("prometheus", 65534), ("second", OTHER), ("third", 0)] {
            let asked = Instant::now();
            let right = format!("right of {name}").replace(' ', "%20");
            assert_eq!(
                status(user, "", &METRICS.replace("127", &format!("{name}:{right}@127"))),
                200,
                "{name}"
            );
            assert!(asked.elapsed() < Duration::from_secs(8), "{name}: {:?}", asked.elapsed());
        }
        thread::sleep(Duration::from_secs(3).saturating_sub(start.elapsed()));
        let share = (cpu() - before) as f64 / 100.0 / start.elapsed().as_secs_f64();
        // Once known, it costs nothing.
        for _ in 0..5 {
            let right = METRICS.replace("127", "prometheus:right%20of%20prometheus@127");
            assert_soon("known credentials", 65534, "", &right);
        }
        assert!(guessers.stop() > 6, "they were guessing");
        assert!(share < 0.6, "the agent took {share:.2} of a CPU");
    });
}

#[test]
fn a_fifo_in_the_place_of_a_file_stops_nothing() {
    in_world(|world| {
        authority(world, "ca", &["server"]);
        let web = format!("{TLS}{}", users(&["me"], 4));
        let agent = start_with(world, &web);
        let https = METRICS.replace("http://", "https://me:right%20of%20me@");
        assert_eq!(status(0, "", &https), 200);
        for name in ["server.crt", "server.key", "web.yml", "ghostport.yaml"] {
            let path = world.path(name);
            fs::rename(&path, world.path("aside")).expect("renamed");
            sh(&format!("mkfifo {}", path.display()));
            assert_soon(name, 0, "", &https);
            assert_eq!(status(0, "", &METRICS.replace("http", "https")), 401, "{name}");
            agent.signal(rustix::process::Signal::HUP);
            let refused = format!("{}: ", path.display());
            eventually("a refused reload", || {
                let log = agent.log();
                let mut of_file = log.lines().filter(|line| line.contains(name));
                of_file.any(|line| line.contains("it is no regular file")).then_some(())
            });
            assert_soon(&refused, 0, "", &https);
            fs::rename(world.path("aside"), &path).expect("renamed");
        }
        let path = world.path("server.crt");
        fs::remove_file(&path).expect("removed");
        sh(&format!("mkfifo {}", path.display()));
        let _ = status(0, "", &https);
        let start = Instant::now();
        assert_eq!(agent.terminate().code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    });
}

#[test]
fn an_empty_web_configuration_opens_nothing() {
    in_world(|world| {
        authority(world, "ca", &["server"]);
        let whole = format!("{TLS}{}", users(&["me"], 4));
        let agent = start_with(world, &whole);
        let plain = METRICS;
        let https = METRICS.replace("http", "https");
        let known = https.replace("127", "me:right%20of%20me@127");
        assert_eq!(status(0, "", &known), 200);
        let shorter = [String::new(), "{}".into(), TLS.into(), users(&["me"], 4), "# half".into()];
        for text in shorter {
            write_web_file(world, &text);
            assert_eq!(status(0, "", plain), 0, "{text:?}: no answer without TLS");
            assert_eq!(status(0, "", &https), 401, "{text:?}");
            assert_eq!(status(0, "", &known), 200, "{text:?}");
            agent.signal(rustix::process::Signal::HUP);
            eventually("a refused reload", || {
                body(&known).contains("ghostport_config_reload_success 0").then_some(())
            });
            assert_eq!(status(0, "", &https), 401, "{text:?} after the reload");
        }
        assert!(agent.log().contains("a running agent does not give that up"), "{}", agent.log());
        // Another password is no loss.
        write_web_file(world, &format!("{TLS}{}", users(&["you"], 4)));
        assert_eq!(status(0, "", &known), 401);
        let other = https.replace("127", "you:right%20of%20you@127");
        assert_eq!(status(0, "", &other), 200);
        assert!(Path::new("/run/ghostport/api.sock").exists());
    });
}
