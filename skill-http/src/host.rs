//! The names under which this server answers.

use std::net::SocketAddr;

use url::Url;

/// Names that are ours, with their ports, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hosts {
    names: Vec<String>,
    /// The names of the public URL, which are among them.
    public: Vec<String>,
    /// The names of a loopback listener.
    loopback: Vec<String>,
    /// Whether people reach that listener itself, and not a proxy before it.
    is_direct: bool,
}

impl Hosts {
    /// The public URL's host, further ones, and the loopback names of a loopback listener.
    pub(crate) fn new(public: &Url, further: &[String], listening: Option<SocketAddr>) -> Self {
        let further = further.iter().map(|name| name.to_ascii_lowercase());
        let mut names = Vec::new();
        if let Some(host) = public.host_str() {
            let port = public.port_or_known_default().unwrap_or(0);
            names.push(format!("{host}:{port}"));
            if public.port().is_none() {
                names.push(host.to_owned());
            }
        }
        let public = names.clone();
        names.extend(further);
        let listening = listening.filter(|at| at.ip().is_loopback());
        let loopback = listening.map_or_else(Vec::new, |at| {
            ["127.0.0.1", "localhost", "[::1]"].map(|name| format!("{name}:{}", at.port())).into()
        });
        let is_direct = loopback.iter().any(|name| names.contains(name));
        Self { names, public, loopback, is_direct }
    }

    /// Whether a Host header names this server.
    pub(crate) fn are_ours(&self, host: &str) -> bool {
        is_among(&self.names, host) || is_among(&self.loopback, host)
    }

    /// Whether a Host header names this server, but as another host than its links do: a cookie
    /// that is set here would not be there when the provider sends the browser back.
    pub(crate) fn are_another_spelling(&self, host: &str) -> bool {
        self.is_direct && !is_among(&self.names, host) && is_among(&self.loopback, host)
    }

    /// Whether a Host header names this server by a further name, which its links do not use.
    pub(crate) fn are_further(&self, host: &str) -> bool {
        is_among(&self.names, host) && !is_among(&self.public, host)
    }
}

fn is_among(names: &[String], host: &str) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_name_is_another_spelling_only_where_nothing_stands_before() {
        let at = "127.0.0.1:8080".parse().ok();
        let direct = Hosts::new(&"http://127.0.0.1:8080".parse().unwrap(), &[], at);
        assert!(direct.are_another_spelling("localhost:8080"));
        assert!(!direct.are_another_spelling("127.0.0.1:8080"));
        let proxied = Hosts::new(&"https://skill.example.com".parse().unwrap(), &[], at);
        assert!(!proxied.are_another_spelling("127.0.0.1:8080"));
    }

    #[test]
    fn a_further_name_is_none_of_the_public_url() {
        let public = "https://skill.example.com".parse().unwrap();
        let hosts = Hosts::new(&public, &["old.example.com".into()], None);
        assert!(hosts.are_further("OLD.example.com"));
        assert!(!hosts.are_further("skill.example.com:443") && !hosts.are_further("evil.test"));
    }

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
