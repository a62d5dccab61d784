//! The templates for messages, through the receivers of a real Alertmanager.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
};

use testkit::{
    agent::{Agent, Config},
    alertmanager::{Alertmanager, Webhook},
    patience,
    world::{World, in_world, port},
};

use super::support::alerts_of_target;

/// A configuration as the first lines of ghostport.tmpl say it, with receivers of this test.
const CONFIG: &str = r#"
templates: [/TEMPLATES/ghostport.tmpl]
global: {smtp_smarthost: "127.0.0.1:2525", smtp_from: alerts@example.org, smtp_require_tls: false}
route: {receiver: people, group_by: [alertname, instance, port], group_wait: 1s}
receivers:
  - name: people
    slack_configs:
      - api_url: http://127.0.0.1:8080/slack
        title: '{{ template "ghostport.title" . }}'
        text: '{{ template "ghostport.slack" . }}'
    email_configs:
      - to: on-call@example.org
        headers: {Subject: '{{ template "ghostport.title" . }}'}
        html: '{{ template "ghostport.html" . }}'
        text: '{{ template "ghostport.text" . }}'
"#;

/// A name that would call everybody in a channel, end a block of code and open an element.
const HOSTILE: &str = "`<!channel>&b";

/// Binds the port that it is given, and stays.
const SERVER: &str = "use IO::Socket::INET; \
    my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $ARGV[0], Listen => 1); sleep 600";

#[test]
fn messages_name_the_program_and_what_to_run() {
    in_world(|world| {
        let mails = receive_mails();
        let webhook = Webhook::start();
        let _alertmanager = Alertmanager::start_configured(world, CONFIG);
        let config = Config::new([port(0)]).with_sinks([alerts_of_target()]);
        let _agent = Agent::start(world, &config);
        let mut server = hostile_server(world);
        let slack = webhook.next(patience());
        let mail = mails.recv_timeout(patience()).expect("a mail");
        let _ = (server.kill(), server.wait());

        assert_eq!(slack.path, "/slack");
        let message = &slack.body["attachments"][0];
        let said = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
        let title = format!("port {}: GhostportBindOnDormantPort", port(0));
        assert!(said("title").contains(&title), "{message:#}");
        assert_acts(&said("text"), server.id());
        assert!(!said("text").contains("<!channel>"), "{message:#}");
        assert!(said("text").contains("|runbook>"), "{message:#}");
        // Of code: one block, and the commands.
        assert_eq!(said("text").matches('`').count(), 3 + 3 + 2, "{message:#}");

        let lines = mail.replace("=\n", "").replace("=3D", "=").replace("=60", "`");
        assert!(lines.contains("Subject: [FIRING] "), "{lines}");
        assert!(lines.contains(&title), "{lines}");
        let (plain, html) = lines.split_once("Content-Type: text/html").expect("two parts");
        assert_acts(plain, server.id());
        assert_acts(html, server.id());
        assert!(!html.contains("<!channel>") && !html.contains("&b "), "{html}");
        assert!(html.contains("/runbook/GhostportBindOnDormantPort\">runbook</a>"), "{html}");
    });
}

/// Checks that a reader of this knows what it is, and what to do.
#[track_caller]
fn assert_acts(text: &str, pid: u32) {
    let facts = [
        format!("port: {}\n", port(0)),
        format!("pid {pid}, started "),
        "user: root".to_owned(),
        "parent: ".to_owned(),
        "how sure: Certain".to_owned(),
        format!("ghostport check {}", port(0)),
    ];
    for fact in facts {
        assert!(text.contains(&fact), "{fact} is not in {text}");
    }
}

fn hostile_server(world: &World) -> Child {
    let program = world.path(HOSTILE);
    fs::copy("/usr/bin/perl", &program).expect("copied");
    let port = port(0).to_string();
    let mut command = Command::new(program);
    command.args(["-e", SERVER, &port]).stdin(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("spawned")
}

/// A server that takes mails (RFC 5321) and hands their contents over. Its thread ends with the test.
fn receive_mails() -> Receiver<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 2525)).expect("bound");
    let (send, mails) = mpsc::channel();
    let work = move || {
        for stream in listener.incoming().flatten() {
            // A client that gives up half-way sends again.
            if let Some(mail) = take_mail(stream)
                && send.send(mail).is_err()
            {
                return;
            }
        }
    };
    thread::Builder::new().name("smtp".into()).spawn(work).expect("spawned");
    mails
}

fn take_mail(mut stream: TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(patience())).ok()?;
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let mut answer = |text: &str| stream.write_all(format!("{text}\r\n").as_bytes()).ok();
    answer("220 ready")?;
    loop {
        match lines.next()?.ok()?.split(' ').next()?.to_uppercase().as_str() {
            "DATA" => break,
            _ => answer("250 ok")?,
        }
    }
    answer("354 go on")?;
    let mut mail = String::new();
    for line in lines.by_ref().map_while(Result::ok).take_while(|line| line != ".") {
        mail.push_str(&line);
        mail.push('\n');
    }
    answer("250 taken")?;
    answer("221 bye")?;
    Some(mail)
}
