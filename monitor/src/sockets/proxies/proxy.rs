//! The programs that hold ports for containers.

use std::net::IpAddr;

/// A program that holds ports for containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proxy {
    /// One process for each published port (`moby/cmd/docker-proxy`).
    DockerProxy,
    /// Podman's without root, which has no mapping in its command line, and RootlessKit's.
    RootlessPort,
    /// A network in user space; ports are added over its socket.
    Slirp4netns,
    /// A network in user space, with ports in its command line (`passt.top`).
    Pasta,
}

/// What a proxy's command line says of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The program.
    pub proxy: Proxy,
    /// The container's address, where it is said.
    pub address: Option<IpAddr>,
    /// The port in the container, where it is said.
    pub port: Option<u16>,
    /// The container's network namespace, where it is said.
    pub(super) namespace: Option<NamespaceHint>,
}

/// What leads to a container's network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NamespaceHint {
    /// A file that it is mounted on.
    Path(String),
    /// A process in it.
    Process(u32),
    /// A child of the proxy in it.
    Child,
}

impl Proxy {
    /// Every proxy.
    pub const ALL: [Self; 4] =
        [Self::DockerProxy, Self::RootlessPort, Self::Slirp4netns, Self::Pasta];

    /// Whether it connects to the container's loopback address: by a process in the container.
    pub(super) const fn reaches_loopback(self) -> bool {
        matches!(self, Self::RootlessPort)
    }

    /// Name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DockerProxy => "docker-proxy",
            Self::RootlessPort => "rootlessport",
            Self::Slirp4netns => "slirp4netns",
            Self::Pasta => "pasta",
        }
    }

    /// Which proxy a process is, by the path of its executable or its name.
    pub(super) fn by_name(path: &str) -> Option<Self> {
        match path.rsplit('/').next()? {
            "docker-proxy" => Some(Self::DockerProxy),
            "rootlessport" | "containers-rootlessport" | "rootlesskit" => Some(Self::RootlessPort),
            "slirp4netns" => Some(Self::Slirp4netns),
            "pasta" | "pasta.avx2" | "passt" | "passt.avx2" => Some(Self::Pasta),
            _ => None,
        }
    }
}
