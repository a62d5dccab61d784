//! Rules that would lead packets of a port elsewhere, before any packet comes.

use serde_json::Value;
use testkit::world::in_world;

use super::support::{check, nft, watched};

/// The targets of the ways that `check` finds.
fn targets() -> Vec<String> {
    let (_, document, _) = check();
    let ways = document["answered_by"].as_array().cloned().unwrap_or_default();
    let target = |way: &Value| {
        format!("{} {} {}", way["transport"], way["path"], way["target"]).replace('"', "")
    };
    let mut targets: Vec<String> = ways.iter().map(target).collect();
    targets.sort();
    targets
}

#[test]
fn rules_for_other_ports_are_not_reported() {
    in_world(|_| {
        nft("table ip nat { chain pre { type nat hook prerouting priority -100;
             tcp dport 80 redirect to :8080; tcp dport { 443, 1000-1999 } redirect to :8443; }; }");
        let (code, document, _) = check();
        assert_eq!((code, document.get("answered_by")), (Some(0), None), "{document:#}");
    });
}

#[test]
fn a_node_port_of_kube_proxy_leads_to_every_endpoint() {
    in_world(|_| {
        let port = watched();
        // The chains and maps of kube-proxy's nftables mode.
        nft(&format!(
            "table ip kube-proxy {{
               map service-ips {{ type ipv4_addr . inet_proto . inet_service : verdict
                 elements = {{ 172.30.0.41 . tcp . {port} : goto service-web }}; }}
               map service-nodeports {{ type inet_proto . inet_service : verdict
                 elements = {{ tcp . {port} : goto external-web }}; }}
               chain endpoint-one {{ meta l4proto tcp dnat to 10.180.0.1:8080; }}
               chain endpoint-two {{ meta l4proto tcp dnat to 10.180.0.2:8080; }}
               chain service-web {{
                 numgen random mod 2 vmap {{ 0 : goto endpoint-one, 1 : goto endpoint-two }}; }}
               chain external-web {{ meta mark set 0x4000; goto service-web; }}
               chain services {{
                 ip daddr . meta l4proto . th dport vmap @service-ips
                 fib daddr type local ip daddr != 127.0.0.0/8 \
                   meta l4proto . th dport vmap @service-nodeports; }}
               chain nat-prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
             }}"
        ));
        assert_eq!(targets(), ["tcp dnat 10.180.0.1:8080", "tcp dnat 10.180.0.2:8080"]);
    });
}

#[test]
fn published_ports_of_docker_are_found_by_ranges_and_maps() {
    in_world(|_| {
        let port = watched();
        nft(&format!(
            "table ip nat {{
               chain docker {{
                 iifname \"docker0\" return
                 iifname != \"docker0\" tcp dport {port} dnat to 172.17.0.2:80
                 iifname != \"docker0\" udp dport {}-{} dnat to 172.17.0.3; }}
               chain pre {{ type nat hook prerouting priority dstnat;
                 fib daddr type local jump docker; }}; }}",
            port - 1,
            port + 1,
        ));
        let udp = format!("udp dnat 172.17.0.3:{port}");
        assert_eq!(targets(), ["tcp dnat 172.17.0.2:80".to_owned(), udp]);
    });
}

#[test]
fn a_map_of_ports_leads_each_to_its_own_target() {
    in_world(|_| {
        let port = watched();
        nft(&format!(
            "table inet nat {{ chain pre {{ type nat hook prerouting priority -100;
               dnat ip to tcp dport map {{ {port} : 10.0.0.7, {} : 10.0.0.8 }}; }}; }}",
            port + 1
        ));
        assert_eq!(targets(), [format!("tcp dnat 10.0.0.7:{port}")]);
    });
}
