//! Which addresses are opened, and what each serves.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use collector::listener::Transport;

use super::findings::Findings;
use super::node::{Node, Value};
use super::section::Section;

/// What a listener serves. The order is the one they are opened and shown in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Everything over HTTP.
    Http,
    /// OTLP over gRPC.
    OtlpGrpc,
    /// OTLP over HTTP alone.
    OtlpHttp,
    /// The Elasticsearch dialect alone.
    Elasticsearch,
    /// Syslog by datagram.
    SyslogUdp,
    /// Syslog by stream.
    SyslogTcp,
    /// Syslog by stream in TLS.
    SyslogTls,
    /// GELF by datagram.
    GelfUdp,
    /// GELF by stream.
    GelfTcp,
    /// Fluentd's forward protocol.
    FluentForward,
    /// The Beats protocol, lumberjack version 2.
    Beats,
}

/// Who answers on an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// The HTTP server.
    Http,
    /// The source whose settings name the listener; without one it stays closed.
    Source(Transport),
}

/// Every address by what it serves. A service that is off has no entry.
pub type Listen = BTreeMap<Service, Vec<SocketAddr>>;

/// Names of the product page whose capability is not there yet.
const NOT_BUILT: [&str; 3] = ["loki", "prometheus", "alertmanager"];

impl Service {
    /// All of them.
    pub const ALL: [Service; 11] = [
        Service::Http,
        Service::OtlpGrpc,
        Service::OtlpHttp,
        Service::Elasticsearch,
        Service::SyslogUdp,
        Service::SyslogTcp,
        Service::SyslogTls,
        Service::GelfUdp,
        Service::GelfTcp,
        Service::FluentForward,
        Service::Beats,
    ];

    /// Its name in the settings and in `listeners.json`.
    pub fn name(self) -> &'static str {
        match self {
            Service::Http => "http",
            Service::OtlpGrpc => "otlp_grpc",
            Service::OtlpHttp => "otlp_http",
            Service::Elasticsearch => "elasticsearch",
            Service::SyslogUdp => "syslog_udp",
            Service::SyslogTcp => "syslog_tcp",
            Service::SyslogTls => "syslog_tls",
            Service::GelfUdp => "gelf_udp",
            Service::GelfTcp => "gelf_tcp",
            Service::FluentForward => "fluent_forward",
            Service::Beats => "beats",
        }
    }

    /// Who answers.
    pub fn speaker(self) -> Speaker {
        match self {
            Service::Http | Service::OtlpGrpc | Service::OtlpHttp | Service::Elasticsearch => {
                Speaker::Http
            }
            Service::SyslogUdp | Service::GelfUdp => Speaker::Source(Transport::Udp),
            Service::SyslogTcp
            | Service::SyslogTls
            | Service::GelfTcp
            | Service::FluentForward
            | Service::Beats => Speaker::Source(Transport::Tcp),
        }
    }

    fn transport(self) -> Transport {
        match self.speaker() {
            Speaker::Http => Transport::Tcp,
            Speaker::Source(transport) => transport,
        }
    }
}

/// The listeners of an installation nobody configured: on loopback only.
pub fn default_listen() -> Listen {
    let loopback = |port| vec![SocketAddr::from(([127, 0, 0, 1], port))];
    Listen::from([
        (Service::Http, loopback(8365)),
        (Service::OtlpGrpc, loopback(4317)),
        (Service::OtlpHttp, loopback(4318)),
        (Service::SyslogUdp, loopback(5514)),
        (Service::SyslogTcp, loopback(5514)),
        (Service::SyslogTls, loopback(6514)),
        (Service::GelfUdp, loopback(12201)),
        (Service::GelfTcp, loopback(12201)),
        (Service::FluentForward, loopback(24224)),
        (Service::Beats, loopback(5044)),
    ])
}

/// Reads the section `listen` over what `listen` holds already.
pub fn read(mut section: Section<'_>, listen: &mut Listen, findings: &Findings) {
    for service in Service::ALL {
        let Some(node) = section.node(service.name()) else {
            continue;
        };
        let key = section.path_of(service.name());
        let addresses = read_addresses(node, &key, findings);
        let power = match service.speaker() {
            Speaker::Http => "read and write everything",
            Speaker::Source(_) => "send events",
        };
        for address in &addresses {
            if !address.ip().is_loopback() {
                findings.notice(format!(
                    "{key}: {address} is reachable from other machines and there is no access control yet; \
                     everyone who reaches it can {power}"
                ));
            }
        }
        match addresses.is_empty() {
            true => listen.remove(&service),
            false => listen.insert(service, addresses),
        };
    }
    for name in NOT_BUILT {
        if let Some(node) = section.node(name)
            && !is_off(node)
        {
            let key = section.path_of(name);
            findings.notice(format!("{key}: not built yet, ignored"));
        }
    }
    refuse_an_address_given_twice(&section.path_of(""), listen, findings);
    section.finish();
}

/// One address, a list of addresses, or `off`.
fn read_addresses(node: &Node, key: &str, findings: &Findings) -> Vec<SocketAddr> {
    if is_off(node) {
        return Vec::new();
    }
    let nodes = match &node.value {
        Value::List(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut addresses = Vec::with_capacity(nodes.len());
    for node in nodes {
        let text = node.scalar_text().unwrap_or_default();
        match text.replace("localhost:", "127.0.0.1:").parse() {
            Ok(address) => addresses.push(address),
            Err(_) => {
                let problem = format!(
                    "{text:?} is no address; write for instance 127.0.0.1:8365, [::1]:8365, a list of them, or off"
                );
                findings.mistake(Some(node.place), key, problem);
            }
        }
    }
    addresses
}

fn is_off(node: &Node) -> bool {
    match &node.value {
        Value::Text(text) => text == "off",
        Value::Bool(value) => !value,
        Value::List(nodes) => nodes.is_empty(),
        _ => false,
    }
}

fn refuse_an_address_given_twice(path: &str, listen: &Listen, findings: &Findings) {
    let mut seen: BTreeMap<(Transport, SocketAddr), Service> = BTreeMap::new();
    for (service, addresses) in listen {
        for address in addresses.iter().filter(|address| address.port() != 0) {
            if let Some(other) = seen.insert((service.transport(), *address), *service) {
                let key = format!("{path}{}", service.name());
                let problem = format!("{address} is the address of {} too", other.name());
                findings.mistake(None, &key, problem);
            }
        }
    }
}
