//! TLS, client certificates and passwords of the web server, as a real client meets them.

use std::{
    fs,
    process::{Command, Output},
};

use testkit::{
    agent::{Agent, Config, finish, ghostport, stderr},
    certificates::authority,
    eventually,
    world::{World, in_world, port},
};

const METRICS: &str = "https://127.0.0.1:10948/metrics";
const PORTS: &str = "https://127.0.0.1:10948/api/v1/ports";

/// The status that curl gets, 0 for none; with what it said.
fn curl(world: &World, arguments: &str, url: &str) -> (u16, String) {
    let mut command = Command::new("curl");
    command.args(["-sS", "-v", "-m", "20", "--cacert", "ca.crt", "-w", "\n%{http_code}"]);
    command.args(arguments.split_ascii_whitespace()).arg(url).current_dir(world.path(""));
    let output = command.output().expect("curl, which `cargo xtask setup` installs");
    let Output { stdout, .. } = &output;
    let stdout = String::from_utf8_lossy(stdout);
    let status = stdout.rsplit('\n').next().and_then(|status| status.parse().ok());
    (status.unwrap_or(0), format!("{stdout}\n{}", stderr(&output)))
}

#[track_caller]
fn assert_status(world: &World, arguments: &str, url: &str, expected: u16) {
    let (status, said) = curl(world, arguments, url);
    assert_eq!(status, expected, "curl {arguments} {url}: {said}");
}

fn write(world: &World, text: &str) {
    // Moved into place, as an administrator's tools do: never seen half written.
    fs::write(world.path("web.new"), text).expect("written");
    fs::rename(world.path("web.new"), world.path("web.yml")).expect("renamed");
}

/// An agent whose web configuration says nothing yet, so that it can be seen to be ready.
fn start(world: &World, details: &str) -> Agent {
    write(world, "{}");
    let file = world.path("web.yml");
    let config = Config::new([port(0)])
        .with_web_keys(&format!("config_file: {}\n  details: {details}", file.display()));
    Agent::start(world, &config)
}

const TLS: &str = "tls_server_config: {cert_file: server.crt, key_file: server.key";

fn users(password: &str) -> String {
    let hash = bcrypt::hash(password, 10).expect("a hash");
    format!("basic_auth_users: {{prometheus: {hash}}}\n")
}

#[test]
fn requires_passwords_over_tls() {
    in_world(|world| {
        authority(world, "ca", &["server"]);
        let agent = start(world, "authenticated");
        assert_eq!(agent.get("/api/v1/ports").status, 403, "nobody is known yet");
        let users = users("s3cret");
        write(
            world,
            &format!("{TLS}}}\n{users}http_server_config: {{headers: {{X-Frame-Options: deny}}}}"),
        );
        for url in [METRICS, PORTS, "https://127.0.0.1:10948/healthz"] {
            assert_status(world, "-u prometheus:s3cret", url, 200);
            assert_status(world, "", url, 401);
            assert_status(world, "-u prometheus:wrong", url, 401);
            assert_status(world, "-u nobody:s3cret", url, 401);
        }
        let (_, said) = curl(world, "-u prometheus:s3cret", METRICS);
        assert!(said.contains("ghostport_build_info") && said.contains("< x-frame-options: deny"));
        assert!(said.contains("SSL connection using TLSv1.3"), "{said}");
        let (_, said) = curl(world, "", METRICS);
        assert!(said.contains("< www-authenticate: Basic realm=\"ghostport\""), "{said}");
        assert_status(world, "-u prometheus:s3cret --tls-max 1.2", METRICS, 200);
        assert_status(world, "-u prometheus:s3cret --tls-max 1.1", METRICS, 0);
        assert_status(world, "-u prometheus:s3cret", &METRICS.replace("https", "http"), 0);

        // The commands of this host need no password.
        let socket = "--unix-socket /run/ghostport/api.sock";
        assert_status(world, socket, "http://agent/api/v1/ports", 200);
        assert_status(world, socket, "http://agent/metrics", 200);

        // What was asked for once is not given up by a running agent.
        write(world, &users);
        assert_status(world, "-u prometheus:s3cret", &METRICS.replace("https", "http"), 0);
        assert_status(world, "-u prometheus:s3cret", METRICS, 200);
    });
}

#[test]
fn requires_client_certificates() {
    in_world(|world| {
        authority(world, "ca", &["server", "client"]);
        authority(world, "other", &["stranger"]);
        let _agent = start(world, "authenticated");
        let clients = |kind| format!("{TLS}, client_ca_file: ca.crt, client_auth_type: {kind}}}");
        let [known, stranger] =
            ["client", "stranger"].map(|name| format!("--cert {name}.crt --key {name}.key"));

        write(world, &clients("VerifyClientCertIfGiven"));
        assert_status(world, &known, PORTS, 200);
        assert_status(world, "", METRICS, 200);
        assert_status(world, "", PORTS, 403);
        assert_status(world, &stranger, METRICS, 0);

        write(world, &clients("RequireAndVerifyClientCert"));
        assert_status(world, &known, METRICS, 200);
        assert_status(world, &known, PORTS, 200);
        assert_status(world, "", METRICS, 0);
        assert_status(world, &stranger, METRICS, 0);

        // A password is asked for beside a certificate.
        write(world, &format!("{}\n{}", clients("RequireAndVerifyClientCert"), users("s3cret")));
        assert_status(world, &known, METRICS, 401);
        assert_status(world, &format!("{known} -u prometheus:s3cret"), METRICS, 200);
        assert_status(world, "-u prometheus:s3cret", METRICS, 0);
    });
}

#[test]
fn replaces_a_certificate_without_a_restart() {
    in_world(|world| {
        authority(world, "ca", &["server", "next"]);
        let agent = start(world, "loopback");
        write(world, &format!("{TLS}}}"));
        let subject = || {
            let (status, said) = curl(world, "", METRICS);
            assert_eq!(status, 200, "{said}");
            said.lines().find(|line| line.contains("subject:")).expect("a subject").to_owned()
        };
        assert!(subject().contains("CN=server"), "{}", subject());
        // One after the other, as certbot does: in between they do not go together.
        fs::copy(world.path("next.key"), world.path("server.key")).expect("copied");
        assert!(subject().contains("CN=server"), "what was read before stays in force");
        fs::copy(world.path("next.crt"), world.path("server.crt")).expect("copied");
        assert!(subject().contains("CN=next"), "{}", subject());
        fs::write(world.path("server.crt"), "nonsense").expect("written");
        assert!(subject().contains("CN=next"), "what was read before stays in force");
        let log = agent.log();
        assert!(log.contains("the old web configuration stays in force"), "{log}");
        assert!(log.contains("there is no certificate in /run/world/server.crt"), "{log}");
    });
}

#[test]
fn reports_unusable_settings_with_their_place() {
    in_world(|world| {
        write(world, "basic_auth_users:\n  me: secret\n");
        let config = Config::new([port(0)]).write(world);
        let file = world.path("web.yml");
        let output = finish(
            ghostport().arg("run").arg("--config").arg(&config).arg("--web.config.file").arg(&file),
        );
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        let expected = "/run/world/web.yml:2:7: this is no bcrypt hash; expected names of users";
        assert!(said.contains(expected) && !said.contains("secret"), "{said}");

        let keys = format!("config_file: {}", file.display());
        let config = Config::new([port(0)]).with_web_keys(&keys).write(world);
        let output = finish(ghostport().args(["config", "check", "--config"]).arg(&config));
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    });
}

const PROMETHEUS: &str = "/usr/bin/prometheus";

#[test]
fn prometheus_scrapes_with_a_certificate_and_a_password() {
    if !std::path::Path::new(PROMETHEUS).exists() {
        return eprintln!("skipped: there is no {PROMETHEUS}");
    }
    in_world(|world| {
        authority(world, "ca", &["server", "client"]);
        let _agent = start(world, "loopback");
        let clients = "client_ca_file: ca.crt, client_auth_type: RequireAndVerifyClientCert";
        write(world, &format!("{TLS}, {clients}}}\n{}", users("s3cret")));
        let config = "scrape_configs:\n  - job_name: ghostport\n    scrape_interval: 1s\n    \
                      scheme: https\n    basic_auth: {username: prometheus, password: s3cret}\n    \
                      tls_config: {ca_file: ca.crt, cert_file: client.crt, key_file: client.key}\n    \
                      static_configs: [{targets: ['127.0.0.1:10948']}]\n";
        fs::write(world.path("prometheus.yml"), config).expect("written");
        let mut prometheus = Command::new(PROMETHEUS)
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"])
            .arg("--web.listen-address=127.0.0.1:9090")
            .current_dir(world.path(""))
            .stderr(fs::File::create(world.path("prometheus.log")).expect("a log"))
            .spawn()
            .expect("spawned");
        let up = "http://127.0.0.1:9090/api/v1/query?query=up%7Bjob%3D%22ghostport%22%7D";
        eventually("a scrape", || {
            let (_, said) = curl(world, "", up);
            said.contains(",\"1\"]}").then_some(())
        });
        prometheus.kill().expect("killed");
        prometheus.wait().expect("waited");
    });
}
