//! Events on their way through collectors that others have made.

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::{KeyValue, any_value::Value as OtlpValue},
};
use prost::Message as _;
use testkit::{
    agent::{Agent, Config},
    eventually,
    receiver::{Answer, Receiver},
    world::{World, in_world, port},
};

/// Where collectors take OTLP.
const OTLP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4318);

fn bind() {
    drop(UdpSocket::bind((Ipv4Addr::LOCALHOST, port(0))).expect("a socket"));
}

/// Rotel, a collector of PyPI's, which hands on what it is given.
struct Rotel(Child);

impl Rotel {
    /// Where its package keeps the program.
    fn find() -> Option<PathBuf> {
        let ask = "import importlib.util as it; print(it.find_spec('rotel').submodule_search_locations[0])";
        let output = Command::new("python3").args(["-c", ask]).output().ok()?;
        let folder = String::from_utf8(output.stdout).ok()?;
        Some(PathBuf::from(folder.trim()).join("rotel-agent")).filter(|path| path.is_file())
    }

    fn start(program: PathBuf, world: &World, to: &Receiver) -> Self {
        let pid_file = world.path("rotel.pid");
        let child = Command::new(program)
            .args(["start", "--otlp-http-endpoint", &OTLP.to_string()])
            .args(["--exporter", "otlp", "--otlp-exporter-endpoint", &to.url()])
            .args(["--otlp-exporter-protocol", "http"])
            .arg("--pid-file")
            .arg(pid_file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("spawned");
        let rotel = Self(child);
        eventually("Rotel", || TcpStream::connect(OTLP).ok());
        rotel
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Rotel compresses whatever it sends by HTTP.
fn unpacked(body: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip")
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip");
    gzip.stdin.take().expect("piped").write_all(body).expect("written");
    gzip.wait_with_output().expect("unpacked").stdout
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a OtlpValue> {
    attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()
}

/// Another implementation of the protocol decodes our records and encodes them again.
#[test]
fn a_collector_forwards_otlp_records() {
    let Some(program) = Rotel::find() else {
        return eprintln!("skipped: no Rotel (pip install --pre rotel)");
    };
    in_world(|world| {
        let receiver = Receiver::start(|_| Answer::Status(200));
        let _rotel = Rotel::start(program, world, &receiver);
        let sink = format!("{{kind: otlp, endpoint: \"http://{OTLP}\"}}");
        let agent = Agent::start(world, &Config::new([port(0)]).with_sinks([sink]));
        bind();
        let (resource, record) = eventually("the record", || {
            let requests = receiver.requests().into_iter().map(|request| {
                ExportLogsServiceRequest::decode(&*unpacked(&request.body)).expect("OTLP")
            });
            requests.flat_map(|request| request.resource_logs).find_map(|logs| {
                let mut records = logs.scope_logs.into_iter().flat_map(|scope| scope.log_records);
                let record = records.find(|record| record.event_name == "ghostport.bind")?;
                Some((logs.resource?, record))
            })
        });
        let told = agent.events();
        let told = told.iter().find(|event| event["event.name"] == "ghostport.bind").expect("it");
        assert_eq!(
            value(&resource.attributes, "service.name"),
            Some(&OtlpValue::StringValue("ghostport".into()))
        );
        assert_eq!(
            value(&resource.attributes, "host.name"),
            told["host.name"].as_str().map(|name| OtlpValue::StringValue(name.into())).as_ref()
        );
        for key in ["process.pid", "network.local.port"] {
            let expected = told[key].as_i64().map(OtlpValue::IntValue);
            assert_eq!(value(&record.attributes, key), expected.as_ref(), "{key}");
        }
        let time: jiff::Timestamp = told["time"].as_str().expect("a time").parse().expect("one");
        assert_eq!(i128::from(record.time_unix_nano), time.as_nanosecond());
    });
}

/// No OpenTelemetry Collector can be had from the registries that tests draw on, so the file is held
/// against what it is about: events as they are in a file.
#[test]
fn the_collector_configuration_names_event_fields() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/collectors/otel-collector.yaml");
    let file = fs::read_to_string(path).expect(path);
    let pipeline = file.split_once("    logs:\n").expect("a pipeline").1;
    for line in pipeline.lines() {
        let (_, list) = line.split_once(": ").expect("a list");
        for component in list.trim_matches(['[', ']']).split(", ") {
            assert!(file.contains(&format!("\n  {component}:\n")), "{component} is not there");
        }
    }
    in_world(|world| {
        let agent = Agent::start(world, &Config::new([port(0)]));
        bind();
        let event = eventually("an event", || agent.events().into_iter().next());
        let fields: Vec<&str> = file
            .split("attributes[\"")
            .skip(1)
            .map(|rest| rest.split_once('"').expect("a name").0)
            .collect();
        assert_eq!(fields, ["time", "host.name"]);
        for field in fields {
            assert!(event[field].is_string(), "{field}: {event}");
        }
        // Go's layout of RFC 3339 with as many digits as there are.
        assert!(file.contains("\"2006-01-02T15:04:05.999999999Z07:00\""));
        let time = event["time"].as_str().expect("a time");
        assert!(time.as_bytes()[10] == b'T' && time.ends_with('Z'), "{time}");
        time.parse::<jiff::Timestamp>().expect("RFC 3339");
    });
}
