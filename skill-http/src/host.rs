//! The names under which this server answers.

use std::net::SocketAddr;

use url::Url;

/// Names that are ours, with their ports, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    /// The public URL's host, further ones, and the loopback names of a loopback listener.
    pub(crate) fn new(public: &Url, further: &[String], listening: Option<SocketAddr>) -> Self {
        let mut names = further.iter().map(|name| name.to_ascii_lowercase()).collect::<Vec<_>>();
        if let Some(host) = public.host_str() {
            let port = public.port_or_known_default().unwrap_or(0);
            names.push(format!("{host}:{port}"));
            if public.port().is_none() {
                names.push(host.to_owned());
            }
        }
        if let Some(at) = listening.filter(|at| at.ip().is_loopback()) {
            let loopback = ["127.0.0.1", "localhost", "[::1]"];
            names.extend(loopback.map(|name| format!("{name}:{}", at.port())));
        }
        Self(names)
    }

    /// Whether a Host header names this server.
    pub(crate) fn are_ours(&self, host: &str) -> bool {
        self.0.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_names_with_their_ports_are_ours() {
        let public = "https://skill.example.com".parse().unwrap();
        let hosts = Hosts::new(&public, &["Other.example".into()], "127.0.0.1:80".parse().ok());
        for ours in ["skill.example.com", "SKILL.example.com:443", "other.example", "localhost:80"]
        {
            assert!(hosts.are_ours(ours), "{ours}");
        }
        for foreign in ["evil.test", "skill.example.com:80", "skill.example.com.", "localhost", ""]
        {
            assert!(!hosts.are_ours(foreign), "{foreign}");
        }
    }
}
