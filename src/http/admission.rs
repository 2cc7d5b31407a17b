//! Who may open one more connection.
//!
//! Counts connections in all and by address, before a byte of them is read. What is admitted is
//! released by its guard, wherever the connection goes. Asked by the accept loop alone.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

use crate::config::Config;
use crate::limits;

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub struct Ceilings {
    /// In all.
    pub total: usize,
    /// From one address.
    pub per_ip: usize,
    /// Connections from this machine do not count by address.
    pub exempt_loopback: bool,
}

impl Ceilings {
    /// What the settings and the process's file limit allow together.
    pub fn of(config: &Config, file_limit: u64) -> Self {
        let files = usize::try_from(file_limit.saturating_sub(limits::RESERVED_FILES)).unwrap_or(usize::MAX);
        Self {
            total: config.limits.connections.unwrap_or(usize::MAX).min(files.max(1)),
            per_ip: config.limits.connections_per_ip,
            exempt_loopback: config.public.exempt_loopback,
        }
    }

    /// WebSockets among them. A twentieth is kept for requests: on a full node agents can still sign in,
    /// pages load and probes are answered.
    pub const fn sockets(&self) -> usize {
        self.total - self.total / 20
    }

    /// No ceiling at all, for listeners that are not public.
    pub const fn none() -> Self {
        Self { total: usize::MAX, per_ip: usize::MAX, exempt_loopback: true }
    }
}

/// Which ceiling a connection met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
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
            Self::Total => "connections",
            Self::PerIp => "connections_per_ip",
        }
    }
}

/// The count of admitted connections.
#[derive(Debug)]
pub struct Admission {
    ceilings: Ceilings,
    total: AtomicUsize,
    by_ip: DashMap<IpAddr, usize>,
}

impl Admission {
    /// Nobody is admitted yet.
    pub fn new(ceilings: Ceilings) -> Arc<Self> {
        Arc::new(Self { ceilings, total: AtomicUsize::new(0), by_ip: DashMap::new() })
    }

    /// Admits a connection until its guard is dropped.
    pub fn admit(self: &Arc<Self>, ip: IpAddr) -> Result<ConnectionGuard, Refused> {
        let counted = self.counted(ip);
        if let Some(ip) = counted {
            let mut count = self.by_ip.entry(ip).or_insert(0);
            if *count >= self.ceilings.per_ip {
                return Err(Refused::PerIp);
            }
            *count += 1;
        }
        // From here on the guard gives back what was taken, also when the total refuses.
        let guard = ConnectionGuard { admission: Arc::clone(self), ip: counted };
        if self.total.fetch_add(1, Ordering::Relaxed) >= self.ceilings.total {
            return Err(Refused::Total);
        }
        Ok(guard)
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
    ip: Option<IpAddr>,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.admission.total.fetch_sub(1, Ordering::Relaxed);
        let Some(ip) = self.ip else { return };
        self.admission.by_ip.remove_if_mut(&ip, |_, count| {
            *count -= 1;
            *count == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(total: usize, per_ip: usize) -> Arc<Admission> {
        Admission::new(Ceilings { total, per_ip, exempt_loopback: true })
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
    fn the_file_limit_bounds_the_total() {
        let mut config = Config::default();
        assert_eq!(Ceilings::of(&config, 20_000).total, 19_800);
        config.limits.connections = Some(5);
        assert_eq!(Ceilings::of(&config, 20_000).total, 5);
        assert_eq!(Ceilings::of(&config, 100).total, 1);
    }
}
