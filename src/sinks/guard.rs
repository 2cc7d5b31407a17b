//! Where a webhook may not lead: into our own network, whatever name it goes by.
//!
//! Decides by address, after the name was looked up; the caller connects to the very address that was
//! checked, so that a second look-up can't lead elsewhere. What operators allow is allowed.

use std::net::IpAddr;
use std::sync::LazyLock;

use ipnet::IpNet;

/// Addresses that are no public host's (IANA's special-purpose registries). IPv6 is held to the space that
/// is given out at all, less what is special or carries an IPv4 address within.
const SPECIAL: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "2620:4f:8000::/48",
    "3fff::/20",
];

/// The IPv6 space that is given out. Mapped, translated, local and multicast addresses lie outside.
const GLOBAL: &str = "2000::/3";

fn net(text: &str) -> IpNet {
    text.parse().expect("the networks are constants that parse")
}

static SPECIAL_NETS: LazyLock<Vec<IpNet>> = LazyLock::new(|| SPECIAL.iter().map(|text| net(text)).collect());
static GLOBAL_NET: LazyLock<IpNet> = LazyLock::new(|| net(GLOBAL));

/// Whether an address is a public host's.
fn is_public(address: IpAddr) -> bool {
    let given_out = address.is_ipv4() || GLOBAL_NET.contains(&address);
    given_out && !SPECIAL_NETS.iter().any(|special| special.contains(&address))
}

/// What operators allow beyond public hosts.
#[derive(Debug, Clone, Default)]
pub(super) struct Guard(Vec<IpNet>);

impl Guard {
    pub(super) fn new(allowed: Vec<IpNet>) -> Self {
        Self(allowed)
    }

    /// Whether an operator allows an address by name.
    pub(super) fn allows(&self, address: IpAddr) -> bool {
        // A mapped address is the IPv4 address that it leads to.
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }

    /// Whether a webhook may lead there; in clear, only where an operator allows it.
    pub(super) fn admits(&self, address: IpAddr, encrypted: bool) -> bool {
        self.allows(address) || (encrypted && is_public(address.to_canonical()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_public_hosts_are_reached() {
        let guard = Guard::default();
        for good in ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00::1"] {
            assert!(guard.admits(ip(good), true), "{good}");
            assert!(!guard.admits(ip(good), false), "{good} in clear");
        }
        for bad in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::a00:1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!guard.admits(ip(bad), true), "{bad}");
        }
    }

    #[test]
    fn operators_allow_more() {
        let guard = Guard::new(vec![net("127.0.0.0/8"), net("fd00::/8")]);
        for good in ["127.0.0.1", "::ffff:127.0.0.1", "fd00::1"] {
            assert!(guard.admits(ip(good), false), "{good}");
        }
        assert!(!guard.admits(ip("10.0.0.1"), true) && !guard.admits(ip("::1"), true));
    }
}
