//! Ports in the command line of pasta (`pasta(1)`, options `-t` and `-u`).

use monitor_common::flow::Protocol;

use super::{flags::flag, proxy::NamespaceHint};

/// The port in the container that `port` leads to; `None` if it leads nowhere.
pub(super) fn container_port(arguments: &[String], port: u16, protocol: Protocol) -> Option<u16> {
    let (short, long) = match protocol {
        Protocol::Tcp => ("-t", "tcp-ports"),
        Protocol::Udp => ("-u", "udp-ports"),
        // It forwards no others.
        Protocol::UdpLite | Protocol::Sctp => return None,
    };
    let by_short = arguments.iter().zip(arguments.iter().skip(1));
    let by_short = by_short.filter(|(option, _)| *option == short).map(|(_, value)| value.as_str());
    let specifications: Vec<&str> = by_short.chain(flag(arguments, long)).collect();
    if specifications.is_empty() {
        // `auto`: the ports that are bound in the container.
        return Some(port);
    }
    specifications.into_iter().find_map(|specification| by_specification(specification, port))
}

/// `[ADDRESS[%INTERFACE]/]` before `auto`, `all`, `none`, or a list of `FIRST[-LAST][:TO[-TO_LAST]]`
/// and of ports that are left out, `~FIRST[-LAST]`.
fn by_specification(specification: &str, port: u16) -> Option<u16> {
    let list = specification.rsplit('/').next()?;
    match list {
        "none" => return None,
        "auto" | "all" => return Some(port),
        _ => {}
    }
    let is_left_out = |item: &str| {
        let range = item.strip_prefix('~').and_then(range);
        range.is_some_and(|(first, last)| (first..=last).contains(&port))
    };
    if list.split(',').any(is_left_out) {
        return None;
    }
    let mut included = list.split(',').filter(|item| !item.starts_with('~')).peekable();
    if included.peek().is_none() {
        return Some(port);
    }
    included.find_map(|item| {
        let (from, to) = item.split_once(':').unwrap_or((item, item));
        let ((first, last), (to_first, _)) = (range(from)?, range(to)?);
        let offset = (first..=last).contains(&port).then(|| port - first)?;
        to_first.checked_add(offset)
    })
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// `--netns PATH`, or the last argument: a path or the id of a process.
pub(super) fn namespace(arguments: &[String]) -> Option<NamespaceHint> {
    if let Some(path) = flag(arguments, "netns") {
        return Some(NamespaceHint::Path(path.to_owned()));
    }
    let last = arguments.get(1..)?.last()?;
    if last.starts_with('/') {
        return Some(NamespaceHint::Path(last.clone()));
    }
    last.parse().ok().map(NamespaceHint::Process)
}

#[cfg(test)]
mod tests {
    use super::{super::flags::tests::line, *};

    /// As Podman starts it.
    const PODMAN: &str = "/usr/bin/pasta --config-net --address 10.89.0.2 -t 0.0.0.0/2948-2949:80-81 \
                          -t 8080-8080:8080-8080 --dns-forward 169.254.1.1 -u none -T none -U none \
                          --no-map-gw --quiet --netns /run/user/1000/netns/netns-1f2e3d4c \
                          --map-guest-addr 169.254.1.2";

    #[test]
    fn a_port_leads_to_its_place_in_a_range() {
        let port = |text, port| container_port(&line(text), port, Protocol::Tcp);
        for (from, to) in [(2948, Some(80)), (2949, Some(81)), (8080, Some(8080)), (22, None)] {
            assert_eq!(port(PODMAN, from), to, "{from}");
        }
        assert_eq!(container_port(&line(PODMAN), 2948, Protocol::Udp), None);
        assert_eq!(port("pasta --tcp-ports=22,2948:80", 2948), Some(80));
        assert_eq!(port("pasta -t ~2948", 2948), None);
        assert_eq!(port("pasta -t ~2948", 2949), Some(2949));
        assert_eq!(port("pasta 4711", 2948), Some(2948), "auto");
        assert_eq!(port("pasta -t 127.0.0.1%lo/none", 2948), None);
    }

    #[test]
    fn the_namespace_is_an_option_or_the_last_argument() {
        let path = |path: &str| Some(NamespaceHint::Path(path.to_owned()));
        assert_eq!(namespace(&line(PODMAN)), path("/run/user/1000/netns/netns-1f2e3d4c"));
        assert_eq!(namespace(&line("pasta -q /run/netns/a")), path("/run/netns/a"));
        assert_eq!(namespace(&line("pasta -q 4711")), Some(NamespaceHint::Process(4711)));
        assert_eq!(namespace(&line("pasta")), None);
    }
}
