//! Wrong keys, counted per address: in memory only, so that guessing costs us no disk.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::limit::Allowance;

/// The window.
const WINDOW: u64 = 60;
/// Addresses that are kept; past this the ones without recent failures go.
const MOST: usize = 100_000;

/// Counts failed authentications per address and minute. A good key is never slowed down by it.
///
/// ```
/// use std::time::Duration;
/// use skill_core::access::AddressLimit;
/// let limit = AddressLimit::new(2);
/// let (address, now) = ("192.0.2.1".parse().expect("an address"), Duration::ZERO);
/// assert!(limit.count(address, now).retry_after.is_none());
/// assert!(limit.count(address, now).retry_after.is_none());
/// assert!(limit.count(address, now).retry_after.is_some());
/// ```
#[derive(Debug)]
pub struct AddressLimit {
    most: u32,
    counts: Mutex<HashMap<IpAddr, (u64, u32)>>,
}

impl AddressLimit {
    /// Returns a limit of `most` failures per address and minute.
    pub fn new(most: u32) -> Self {
        Self { most, counts: Mutex::default() }
    }

    /// Counts one failure at the steady time `now`.
    pub fn count(&self, address: IpAddr, now: Duration) -> Allowance {
        let window = now.as_secs() / WINDOW;
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MOST {
            counts.retain(|_, (seen, _)| *seen == window);
        }
        if counts.len() >= MOST {
            counts.clear();
        }
        let entry = counts.entry(network(address)).or_insert((window, 0));
        if entry.0 != window {
            *entry = (window, 0);
        }
        let is_over = entry.1 >= self.most;
        entry.1 = entry.1.saturating_add(1).min(self.most);
        self.allowance(entry.1, is_over, now)
    }

    /// The figures of an address without counting anything.
    pub fn peek(&self, address: IpAddr, now: Duration) -> Allowance {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = counts.get(&network(address)).copied();
        let used = entry.filter(|(seen, _)| *seen == now.as_secs() / WINDOW).map_or(0, |(_, n)| n);
        self.allowance(used, false, now)
    }

    fn allowance(&self, used: u32, is_over: bool, now: Duration) -> Allowance {
        let reset = Duration::from_secs(WINDOW - now.as_secs() % WINDOW);
        Allowance {
            limit: Some(self.most),
            remaining: self.most.saturating_sub(used),
            reset,
            retry_after: is_over.then_some(reset),
            is_daily: false,
        }
    }
}

/// Whoever has one IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or_else(
            || {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            },
            IpAddr::V4,
        ),
    }
}
