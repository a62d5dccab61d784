//! What the command lines of proxies say.

use std::net::IpAddr;

use monitor_common::flow::Protocol;

use super::{
    flags::flag,
    pasta,
    proxy::{Mapping, NamespaceHint, Proxy},
};
use crate::{process::Identity, sockets::paths::Target};

/// Where a process passes what comes to `port`; `None` if it is no proxy, or one for another port.
pub(super) fn mapping(process: &Identity, port: u16, protocol: Protocol) -> Option<Mapping> {
    let executable = process.executable.as_ref().map(|executable| executable.path.as_str());
    let line = process.command_line.as_ref();
    let arguments = line.map(|line| line.arguments.as_slice()).unwrap_or_default();
    of_process([executable, process.name.as_deref()], arguments, port, protocol)
}

/// The address and port in the container to which a proxy with this executable or name passes what
/// comes to `port`, as far as its arguments say.
pub fn target(
    names: [Option<&str>; 2],
    arguments: &[String],
    port: u16,
    protocol: Protocol,
) -> Option<String> {
    let Mapping { address, port, .. } = of_process(names, arguments, port, protocol)?;
    Some(Target { address, port: port? }.to_string())
}

fn of_process(
    names: [Option<&str>; 2],
    arguments: &[String],
    port: u16,
    protocol: Protocol,
) -> Option<Mapping> {
    let called = arguments.first().map(String::as_str);
    let mut names = names.into_iter().chain([called]).flatten();
    of_arguments(names.find_map(Proxy::by_name)?, arguments, port, protocol)
}

fn of_arguments(
    proxy: Proxy,
    arguments: &[String],
    port: u16,
    protocol: Protocol,
) -> Option<Mapping> {
    let unresolved = Mapping { proxy, address: None, port: None, namespace: None };
    match proxy {
        Proxy::DockerProxy => {
            let flag = |name| flag(arguments, name);
            let host_port = flag("host-port").and_then(|port| port.parse::<u16>().ok());
            if host_port.is_some_and(|host_port| host_port != port)
                || flag("proto").is_some_and(|name| name != protocol.name())
            {
                return None;
            }
            let address = flag("container-ip").and_then(|address| address.parse::<IpAddr>().ok());
            let port = flag("container-port").and_then(|port| port.parse().ok());
            Some(Mapping { address, port, ..unresolved })
        }
        Proxy::RootlessPort => {
            Some(Mapping { namespace: Some(NamespaceHint::Child), ..unresolved })
        }
        Proxy::Slirp4netns => Some(Mapping { namespace: slirp_namespace(arguments), ..unresolved }),
        Proxy::Pasta => {
            let port = pasta::container_port(arguments, port, protocol)?;
            let namespace = pasta::namespace(arguments);
            Some(Mapping { port: Some(port), namespace, ..unresolved })
        }
    }
}

/// `slirp4netns [OPTION]… PID|PATH [TAPNAME]`.
fn slirp_namespace(arguments: &[String]) -> Option<NamespaceHint> {
    let is_path = flag(arguments, "netns-type") == Some("path");
    // Behind the options, the values of which are numbers, words and paths, too.
    let [.., namespace, _] = arguments else { return None };
    Some(if is_path {
        NamespaceHint::Path(namespace.clone())
    } else {
        NamespaceHint::Process(namespace.parse().ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::{super::flags::tests::line, *};

    fn mapping(proxy: Proxy, text: &str) -> Option<Mapping> {
        of_arguments(proxy, &line(text), 2948, Protocol::Tcp)
    }

    #[test]
    fn docker_proxy_says_address_and_port() {
        let of = |rest: &str| {
            let text = format!(
                "/usr/bin/docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port 2948 \
                 -container-ip {rest} -container-port 80 -use-listen-fd"
            );
            mapping(Proxy::DockerProxy, &text)
        };
        let expected = |address: &str| {
            Some(Mapping {
                proxy: Proxy::DockerProxy,
                address: address.parse().ok(),
                port: Some(80),
                namespace: None,
            })
        };
        assert_eq!(of("172.17.0.2"), expected("172.17.0.2"));
        assert_eq!(of("fd00:dead:beef::2"), expected("fd00:dead:beef::2"));
        let arguments = line(
            "docker-proxy -proto tcp -host-port 2948 -container-ip fd00::2 -container-port 80",
        );
        let target = target([None, None], &arguments, 2948, Protocol::Tcp);
        assert_eq!(target.as_deref(), Some("[fd00::2]:80"));
        let other = "/usr/bin/docker-proxy -proto tcp -host-ip :: -host-port 8080 \
                     -container-ip 172.17.0.2 -container-port 80";
        assert_eq!(mapping(Proxy::DockerProxy, other), None, "another port");
        let udp = "docker-proxy --proto=udp --host-port=2948 --container-ip=172.17.0.2";
        assert_eq!(mapping(Proxy::DockerProxy, udp), None, "another protocol");
    }

    #[test]
    fn slirp4netns_names_a_namespace() {
        let namespace = |text| mapping(Proxy::Slirp4netns, text).expect("a proxy").namespace;
        let podman = "/usr/bin/slirp4netns --disable-host-loopback --mtu=65520 --enable-sandbox \
                      --enable-seccomp --enable-ipv6 -c -r 3 -e 4 --netns-type=path \
                      /run/user/1000/netns/netns-1f2e3d4c tap0";
        let path = NamespaceHint::Path("/run/user/1000/netns/netns-1f2e3d4c".to_owned());
        assert_eq!(namespace(podman), Some(path));
        let rootlesskit = "slirp4netns --mtu 65520 -r 3 --disable-host-loopback --enable-sandbox \
                           --enable-seccomp 4711 tap0";
        assert_eq!(namespace(rootlesskit), Some(NamespaceHint::Process(4711)));
        assert_eq!(namespace("slirp4netns"), None);
    }

    #[test]
    fn rootlessport_has_a_child_in_the_container() {
        let mapping = mapping(Proxy::RootlessPort, "containers-rootlessport").expect("a proxy");
        assert_eq!(mapping.namespace, Some(NamespaceHint::Child));
        assert_eq!((mapping.address, mapping.port), (None, None));
    }
}
