//! The metric that names who holds a port, where the configuration asks for it.

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
};

use testkit::{
    agent::{Agent, Config},
    eventually,
    world::{in_world, port},
};

const NAME: &str = "ghostport_holder_info";

#[test]
fn holders_are_in_the_metrics_only_on_request() {
    in_world(|world| {
        let config = Config::new([port(0)]);
        let agent = Agent::start(world, &config);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port(0))).expect("bound");
        let metrics = || agent.get("/metrics").body;
        let is_held = || agent.metrics().sum("ghostport_bound_sockets", &[]) > 0;
        eventually("a socket that is known", || is_held().then_some(()));
        assert!(!metrics().contains(NAME));

        let path = config.write(world);
        let mut text = fs::read_to_string(&path).expect("YAML");
        text.push_str("metrics: {holder_info: true}\n");
        fs::write(path, text).expect("written");
        assert!(agent.reload(), "{}", agent.log());
        let program = std::env::current_exe().expect("a path");
        let executable: String = program.to_str().expect("UTF-8").chars().take(128).collect();
        let series =
            format!("{NAME}{{port=\"{}\",protocol=\"udp\",executable=\"{executable}\"", port(0));
        let line = eventually("a holder", || {
            metrics().lines().find(|line| line.starts_with(&series)).map(str::to_owned)
        });
        assert!(line.contains("user=\"root\"") && line.ends_with("} 1"), "{line}");

        drop(socket);
        eventually("no holder", || (!metrics().contains(&series)).then_some(()));
    });
}
