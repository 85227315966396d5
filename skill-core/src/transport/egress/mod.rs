//! Which addresses a call may reach.
//!
//! Callers choose parameters, imported descriptions choose hosts and DNS is anyone's, so where a
//! call ends is checked here, twice: [`Egress::admit_url`] looks at the URL, and
//! [`Egress::admit_all`] at the addresses its host resolved to. Both are needed. A literal such as
//! `0x7f.1` never reaches a resolver, and a name may resolve to a private address. The connector
//! has to connect to the very addresses that were admitted: resolving again lets DNS change its
//! mind in between.
//!
//! What is not public is listed in `address`. An operator opens single doors by listing an exact
//! `host:port`.

mod address;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use url::{Host, Url};

pub use self::address::is_public;

/// The rule on where calls may go: public addresses, plus the operator's list.
///
/// ```
/// use skill_core::transport::egress::{Egress, HostPort, Refused};
///
/// let egress = Egress::new(vec![HostPort::parse("127.0.0.1:18900")?]);
/// assert_eq!(egress.admit_url(&"https://api.example.com/v1".parse()?), Ok(()));
/// assert_eq!(egress.admit_url(&"http://127.0.0.1:18900/".parse()?), Ok(()));
/// assert_eq!(egress.admit_url(&"https://0x7f.1:18901/".parse()?), Err(Refused::Address));
///
/// let answer = ["198.41.0.4".parse()?, "10.0.0.7".parse()?];
/// assert_eq!(egress.admit_all("api.example.com", 443, &answer), Err(Refused::Address));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Egress {
    allow: Vec<HostPort>,
}

impl Egress {
    /// Creates the rule with what the operator listed; an empty list leaves public https only.
    #[must_use]
    pub fn new(allow: Vec<HostPort>) -> Self {
        Self { allow }
    }

    /// Checks a URL before anything is resolved: scheme, user name, and a host that is a literal.
    ///
    /// # Errors
    ///
    /// Why the URL may not be called.
    pub fn admit_url(&self, url: &Url) -> Result<(), Refused> {
        if !matches!(url.scheme(), "https" | "http") {
            return Err(Refused::Scheme);
        }
        // What stands before `@` is mistaken for the host by readers, and would be logged and sent.
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::UserInfo);
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(Refused::Host);
        };
        let name = canonical(&host);
        if name.is_empty() {
            return Err(Refused::Host);
        }
        if self.lists(&name, port) {
            return Ok(());
        }
        if url.scheme() != "https" {
            return Err(Refused::Scheme);
        }
        match host {
            Host::Domain(_) if is_local_name(&name) => Err(Refused::Address),
            Host::Domain(_) => Ok(()),
            Host::Ipv4(address) => admit_public(address.into()),
            Host::Ipv6(address) => admit_public(address.into()),
        }
    }

    /// Checks one address that `host` resolved to, before connecting to it.
    ///
    /// A listed `host:port` may resolve to anything: the operator vouches for that name.
    ///
    /// # Errors
    ///
    /// [`Refused::Address`] if the address is not public and `host:port` is not listed.
    pub fn admit_address(&self, host: &str, port: u16, address: IpAddr) -> Result<(), Refused> {
        self.admit_all(host, port, &[address])
    }

    /// Checks every address that `host` resolved to; one forbidden address refuses them all,
    /// because an answer that mixes public and private addresses is how DNS rebinding begins.
    ///
    /// # Errors
    ///
    /// [`Refused::Host`] if there is no address, [`Refused::Address`] as in
    /// [`Egress::admit_address`].
    pub fn admit_all(&self, host: &str, port: u16, addresses: &[IpAddr]) -> Result<(), Refused> {
        if addresses.is_empty() {
            return Err(Refused::Host);
        }
        if canonical_text(host).is_some_and(|name| self.lists(&name, port)) {
            return Ok(());
        }
        addresses.iter().try_for_each(|address| admit_public(*address))
    }

    /// Whether the operator's list holds the exact host and port of `url`.
    #[must_use]
    pub fn lists_url(&self, url: &Url) -> bool {
        let place = url.host().zip(url.port_or_known_default());
        !self.allow.is_empty()
            && place.is_some_and(|(host, port)| self.lists(&canonical(&host), port))
    }

    fn lists(&self, name: &str, port: u16) -> bool {
        self.allow.iter().any(|entry| entry.port == port && entry.host == name)
    }
}

/// One entry of the operator's list: an exact host and port, no wildcard and no range.
///
/// Two spellings of one host are one entry; two names of one machine are two.
///
/// ```
/// use skill_core::transport::egress::HostPort;
///
/// assert_eq!(HostPort::parse("LocalHost.:8080")?, HostPort::parse("localhost:8080")?);
/// assert_eq!(HostPort::parse("[0::1]:8080")?.to_string(), "[::1]:8080");
/// assert_ne!(HostPort::parse("127.0.0.1:8080")?, HostPort::parse("localhost:8080")?);
/// # Ok::<(), skill_core::transport::egress::NotHostPort>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Lower case, no trailing dot, no brackets; an address in its shortest form.
    host: String,
    port: u16,
}

impl HostPort {
    /// Reads `host:port`, where an IPv6 host stands in brackets.
    ///
    /// # Errors
    ///
    /// [`NotHostPort`] if the port is missing, zero or not a number, or the host is not one.
    pub fn parse(text: &str) -> Result<Self, NotHostPort> {
        let (host, port) = text.rsplit_once(':').ok_or(NotHostPort)?;
        // `u16::from_str` takes `+80` as well.
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotHostPort);
        }
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(NotHostPort)?;
        let host = canonical(&Host::parse(host).map_err(|_| NotHostPort)?);
        if host.is_empty() { Err(NotHostPort) } else { Ok(Self { host, port }) }
    }

    /// Returns the host: lower case, without a trailing dot and without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for HostPort {
    type Err = NotHostPort;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(out, "[{host}]:{port}")
        } else {
            write!(out, "{host}:{port}")
        }
    }
}

/// Why a URL or an address may not be called.
///
/// The text names no address and no range: to a caller who probes, a private address that exists
/// and one that does not are the same.
///
/// ```
/// use skill_core::transport::egress::{Egress, Refused};
///
/// let refused = Egress::default().admit_url(&"https://169.254.169.254/".parse()?);
/// assert_eq!(refused, Err(Refused::Address));
/// assert_eq!(Refused::Address.to_string(), "the address is not public");
/// # Ok::<(), url::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not https, and not http to a listed `host:port`.
    #[error("the URL must begin with https://")]
    Scheme,
    /// A user name or password stands in the URL.
    #[error("the URL must not hold a user name or password")]
    UserInfo,
    /// No host, or a host without any address.
    #[error("the host has no address")]
    Host,
    /// A special-purpose address, or a name that stands for one.
    #[error("the address is not public")]
    Address,
}

/// An entry of the operator's list that cannot be read; see [`HostPort::parse`].
///
/// ```
/// use skill_core::transport::egress::HostPort;
///
/// let problem = HostPort::parse("localhost").unwrap_err();
/// assert_eq!(problem.to_string(), "expected host:port, such as 127.0.0.1:8080 or [::1]:8080");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected host:port, such as 127.0.0.1:8080 or [::1]:8080")]
pub struct NotHostPort;

fn admit_public(address: IpAddr) -> Result<(), Refused> {
    if is_public(address) { Ok(()) } else { Err(Refused::Address) }
}

/// Names that stand for this machine whatever DNS says (RFC 6761, 6.3).
fn is_local_name(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// Writes a host in the one spelling that is compared.
fn canonical<S: AsRef<str>>(host: &Host<S>) -> String {
    match host {
        // `name.` is `name` spelled absolutely, and must not slip past a comparison.
        Host::Domain(name) => name.as_ref().trim_end_matches('.').to_ascii_lowercase(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    }
}

/// Reads the host a resolver was asked for, with or without brackets around an IPv6 address.
fn canonical_text(host: &str) -> Option<String> {
    match host.parse::<IpAddr>() {
        Ok(address) => Some(address.to_string()),
        Err(_) => Host::parse(host).ok().map(|host| canonical(&host)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress(listed: &str) -> Egress {
        Egress::new(vec![HostPort::parse(listed).unwrap()])
    }

    fn url(egress: &Egress, text: &str) -> Result<(), Refused> {
        egress.admit_url(&text.parse().unwrap())
    }

    #[test]
    fn every_spelling_of_a_literal_is_one_address() {
        let none = Egress::default();
        for host in "127.0.0.1 2130706433 0x7f000001 0177.0.0.1 127.1 127.0.0.1. [::1] [::] 0 \
            [::ffff:127.0.0.1] [::ffff:a9fe:a9fe] [64:ff9b::10.0.0.1] [2002:7f00:1::] \
            169.254.169.254 localhost LOCALHOST localhost. api.localhost api.localhost. \
            %6cocalhost １２７.0.0.1"
            .split_whitespace()
        {
            assert_eq!(url(&none, &format!("https://{host}/")), Err(Refused::Address), "{host}");
        }
        for host in ["8.8.8.8", "[2606:4700::1111]", "api.example.com", "localhost.example.com"] {
            assert_eq!(url(&none, &format!("https://{host}/")), Ok(()), "{host}");
        }
    }

    #[test]
    fn only_https_without_a_user_is_admitted() {
        let none = Egress::default();
        assert_eq!(url(&none, "http://api.example.com/"), Err(Refused::Scheme));
        assert_eq!(url(&none, "file:///etc/passwd"), Err(Refused::Scheme));
        assert_eq!(url(&none, "gopher://api.example.com/"), Err(Refused::Scheme));
        assert_eq!(url(&none, "https://user@api.example.com/"), Err(Refused::UserInfo));
        assert_eq!(url(&none, "https://:pass@api.example.com/"), Err(Refused::UserInfo));
        assert_eq!(url(&none, "https://./"), Err(Refused::Host));
        let listed = egress("127.0.0.1:18900");
        assert_eq!(url(&listed, "http://user@127.0.0.1:18900/"), Err(Refused::UserInfo));
        assert_eq!(url(&listed, "ftp://127.0.0.1:18900/"), Err(Refused::Scheme));
    }

    #[test]
    fn a_listed_entry_opens_that_host_and_port_only() {
        let listed = egress("127.0.0.1:18900");
        assert_eq!(url(&listed, "http://127.0.0.1:18900/x"), Ok(()));
        assert_eq!(url(&listed, "https://0x7f.1:18900/x"), Ok(()));
        for other in ["127.0.0.1:18901", "localhost:18900", "[::ffff:127.0.0.1]:18900", "127.0.0.1"]
        {
            assert_eq!(
                url(&listed, &format!("https://{other}/")),
                Err(Refused::Address),
                "{other}"
            );
        }
        let loopback = [IpAddr::from([127, 0, 0, 1])];
        assert_eq!(listed.admit_all("127.0.0.1", 18900, &loopback), Ok(()));
        for (host, port) in [("127.0.0.1", 18901), ("localhost", 18900), ("a.example", 18900)] {
            assert_eq!(listed.admit_all(host, port, &loopback), Err(Refused::Address));
        }
        let six = egress("[0:0::1]:8080");
        assert_eq!(url(&six, "http://[::1]:8080/"), Ok(()));
        assert_eq!(six.admit_address("[::1]", 8080, "::1".parse().unwrap()), Ok(()));
        assert_eq!(six.admit_address("::1", 8080, "::1".parse().unwrap()), Ok(()));
        assert_eq!(url(&egress("LOCALHOST:80"), "http://localhost./"), Ok(()));
    }

    #[test]
    fn one_forbidden_address_refuses_the_whole_answer() {
        let (public, private) = (IpAddr::from([8, 8, 8, 8]), IpAddr::from([10, 0, 0, 1]));
        let none = Egress::default();
        assert_eq!(none.admit_all("a.example", 443, &[public, public]), Ok(()));
        assert_eq!(none.admit_all("a.example", 443, &[public, private]), Err(Refused::Address));
        assert_eq!(none.admit_all("a.example", 443, &[]), Err(Refused::Host));
    }

    #[test]
    fn an_entry_that_is_not_host_and_port_is_refused() {
        for text in
            "localhost localhost: :80 a:0 a:+80 a:65536 ::1:80 [::1] a/b:80 .:80 a@b:80 a:80/"
                .split(' ')
        {
            assert_eq!(HostPort::parse(text), Err(NotHostPort), "{text}");
        }
    }
}
