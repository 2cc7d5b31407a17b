//! Who may open one more connection.
//!
//! Counts connections in all and by address, before a byte of them is read. What is admitted is
//! released by its guard, wherever the connection goes. Connections of trusted proxies count in all; by address
//! count the WebSockets in them, or where the proxy says whose each connection is these, under the proxy's client. Asked by the listener alone.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use hyper::HeaderMap;

use super::forwarded::Proxies;
use crate::config::Config;
use crate::limits;
use crate::room::{Room, Supply};

/// How many connections there may be.
#[derive(Debug, Clone)]
pub struct Ceilings {
    /// In all.
    pub total: usize,
    /// From one address.
    pub per_ip: usize,
    /// Connections from this machine do not count by address.
    pub exempt_loopback: bool,
    /// Who brings connections of others.
    pub proxies: Proxies,
}

impl Ceilings {
    /// What the settings and the process's file limit allow together.
    pub fn of(config: &Config, file_limit: u64) -> Self {
        let files = usize::try_from(file_limit.saturating_sub(limits::RESERVED_FILES)).unwrap_or(usize::MAX);
        Self {
            total: config.limits.connections.unwrap_or(usize::MAX).min(files.max(1)),
            per_ip: config.limits.connections_per_ip,
            exempt_loopback: config.public.exempt_loopback,
            proxies: Proxies::from(&config.public),
        }
    }

    /// WebSockets among them. A twentieth is kept for requests: on a full node agents can still sign in,
    /// pages load and probes are answered.
    pub fn sockets(&self) -> usize {
        self.total - self.total / 20
    }

    /// No ceiling at all, for listeners that are not public.
    pub fn none() -> Self {
        Self { total: usize::MAX, per_ip: usize::MAX, exempt_loopback: true, proxies: Proxies::default() }
    }
}

/// Which ceiling a connection met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The process's file descriptors.
    #[error("the node has no room")]
    Files,
    /// The node's.
    #[error("the node has no room")]
    Total,
    /// Its address's.
    #[error("too many connections from one address")]
    PerIp,
}

impl Refused {
    /// The limit's name in the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Files => Supply::Files.name(),
            Self::Total => "connections",
            Self::PerIp => "connections_per_ip",
        }
    }
}

/// The count of admitted connections.
#[derive(Debug)]
pub struct Admission {
    ceilings: Ceilings,
    room: Option<Arc<Room>>,
    total: AtomicUsize,
    by_ip: DashMap<IpAddr, usize>,
}

impl Admission {
    /// Nobody is admitted yet.
    pub fn new(ceilings: Ceilings) -> Arc<Self> {
        Arc::new(Self { ceilings, room: None, total: AtomicUsize::new(0), by_ip: DashMap::new() })
    }

    /// The same, and nobody is admitted while the process is short of files.
    pub fn within(ceilings: Ceilings, room: Arc<Room>) -> Arc<Self> {
        Arc::new(Self { ceilings, room: Some(room), total: AtomicUsize::new(0), by_ip: DashMap::new() })
    }

    /// Admits a connection until its guard is dropped.
    pub fn admit(self: &Arc<Self>, ip: IpAddr) -> Result<ConnectionGuard, Refused> {
        if self.room.as_ref().is_some_and(|room| room.is_short_of(Supply::Files)) {
            return Err(Refused::Files);
        }
        let of_proxy = self.ceilings.proxies.trusts(ip);
        let share = if of_proxy { None } else { self.share(ip)? };
        // From here on the guard gives back what was taken, also when the total refuses.
        let guard = ConnectionGuard { admission: Arc::clone(self), _share: share };
        if self.total.fetch_add(1, Ordering::Relaxed) >= self.ceilings.total {
            return Err(Refused::Total);
        }
        Ok(guard)
    }

    /// Gives a place in an address's share until it is dropped; none to addresses that are not counted.
    pub fn share(self: &Arc<Self>, ip: IpAddr) -> Result<Option<Share>, Refused> {
        let Some(ip) = self.counted(ip) else { return Ok(None) };
        let mut count = self.by_ip.entry(ip).or_insert(0);
        if *count >= self.ceilings.per_ip {
            return Err(Refused::PerIp);
        }
        *count += 1;
        Ok(Some(Share { admission: Arc::clone(self), ip }))
    }

    /// Whether the word of whoever has this address is taken.
    pub fn trusts(&self, ip: IpAddr) -> bool {
        self.ceilings.proxies.trusts(ip)
    }

    /// The client of a trusted proxy, if that is who asks.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        self.ceilings.proxies.client(peer, headers)
    }

    /// Connections admitted now.
    pub fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// The address a connection counts under: a whole /64 for IPv6, where one customer owns them all.
    fn counted(&self, ip: IpAddr) -> Option<IpAddr> {
        let ip = ip.to_canonical();
        if self.ceilings.per_ip == usize::MAX || (self.ceilings.exempt_loopback && ip.is_loopback()) {
            return None;
        }
        Some(match ip {
            IpAddr::V4(_) => ip,
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        })
    }
}

/// The place of one connection. Dropping it makes room.
#[derive(Debug)]
pub struct ConnectionGuard {
    admission: Arc<Admission>,
    _share: Option<Share>,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.admission.total.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place in an address's share. Dropping it makes room.
#[derive(Debug)]
pub struct Share {
    admission: Arc<Admission>,
    ip: IpAddr,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.admission.by_ip.remove_if_mut(&self.ip, |_, count| {
            *count -= 1;
            *count == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Public;

    fn admission(total: usize, per_ip: usize) -> Arc<Admission> {
        Admission::new(Ceilings { total, per_ip, exempt_loopback: true, proxies: Proxies::default() })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let admission = admission(100, 2);
        let one = admission.admit(ip("192.0.2.1")).unwrap();
        let _two = admission.admit(ip("::ffff:192.0.2.1")).unwrap();
        assert_eq!(admission.admit(ip("192.0.2.1")).unwrap_err(), Refused::PerIp);
        assert!(admission.admit(ip("192.0.2.2")).is_ok());
        drop(one);
        assert!(admission.admit(ip("192.0.2.1")).is_ok());
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let admission = admission(100, 1);
        let _one = admission.admit(ip("2001:db8::1")).unwrap();
        assert_eq!(admission.admit(ip("2001:db8::2")).unwrap_err(), Refused::PerIp);
        assert!(admission.admit(ip("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn the_node_has_its_ceiling_and_refusals_cost_nothing() {
        let admission = admission(1, 10);
        let one = admission.admit(ip("192.0.2.1")).unwrap();
        for _ in 0..20 {
            assert_eq!(admission.admit(ip("192.0.2.2")).unwrap_err(), Refused::Total);
        }
        drop(one);
        assert_eq!(admission.total(), 0);
        assert!(admission.by_ip.is_empty());
    }

    #[test]
    fn loopback_is_exempt_from_the_share_only() {
        let admission = admission(3, 1);
        let guards: Vec<_> = (0..3).map(|_| admission.admit(ip("127.0.0.1")).unwrap()).collect();
        assert_eq!(admission.admit(ip("::1")).unwrap_err(), Refused::Total);
        drop(guards);
    }

    #[test]
    fn a_proxy_has_no_share_and_its_clients_have_theirs() {
        let public = Public { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..Public::default() };
        let proxies = Proxies::from(&public);
        let admission = Admission::new(Ceilings { total: 4, per_ip: 1, exempt_loopback: true, proxies });
        let guards: Vec<_> = (0..3).map(|_| admission.admit(ip("10.0.0.1")).unwrap()).collect();
        let one = admission.share(ip("192.0.2.1")).unwrap().unwrap();
        assert_eq!(admission.share(ip("192.0.2.1")).unwrap_err(), Refused::PerIp);
        assert_eq!(admission.admit(ip("192.0.2.1")).unwrap_err(), Refused::PerIp, "one share for both ways");
        let two = admission.share(ip("192.0.2.2")).unwrap().unwrap();
        drop(one);
        assert!(admission.admit(ip("192.0.2.1")).is_ok());
        let last = admission.admit(ip("10.0.0.2")).unwrap();
        assert_eq!(admission.admit(ip("10.0.0.2")).unwrap_err(), Refused::Total);
        drop((guards, two, last));
        assert_eq!(admission.total(), 0);
        assert!(admission.by_ip.is_empty());
    }

    #[test]
    fn the_file_limit_bounds_the_total() {
        let mut config = Config::default();
        assert_eq!(Ceilings::of(&config, 20_000).total, 19_800);
        config.limits.connections = Some(5);
        assert_eq!(Ceilings::of(&config, 20_000).total, 5);
        assert_eq!(Ceilings::of(&config, 100).total, 1);
    }
}
