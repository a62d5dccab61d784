//! What is known of the ports: the service that IANA registered for each.

/// A registered service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// Port, the same for TCP and UDP.
    pub port: u16,
    /// Service name in the IANA registry.
    pub name: &'static str,
    /// Description in the IANA registry.
    pub description: &'static str,
}

/// Every port with an entry, in ascending order.
const SERVICES: [Service; 5] = [
    Service { port: 2923, name: "wta-wsp-wtp-s", description: "WTA-WSP-WTP-S" },
    Service { port: 2948, name: "wap-push", description: "WAP PUSH" },
    Service { port: 2949, name: "wap-pushsecure", description: "WAP PUSH SECURE" },
    Service { port: 3716, name: "wv-csp-sms-cir", description: "WV CSP SMS CIR Channel" },
    Service { port: 3717, name: "wv-csp-udp-cir", description: "WV CSP UDP/IP CIR Channel" },
];

/// The service that is registered for `port`.
pub fn lookup(port: u16) -> Option<&'static Service> {
    let index = SERVICES.binary_search_by_key(&port, |service| service.port).ok()?;
    Some(&SERVICES[index])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_PORTS;

    #[test]
    fn services_are_found() {
        assert!(SERVICES.is_sorted_by_key(|service| service.port));
        assert!(DEFAULT_PORTS.iter().all(|port| lookup(*port).is_some()));
        assert_eq!(lookup(2948).map(|service| service.name), Some("wap-push"));
        assert_eq!(lookup(80), None);
    }
}
