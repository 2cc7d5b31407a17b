//! Web origins: who may open a socket from a page.
//!
//! Decides whether two origins are the same and whether one is this machine's own. Exact: scheme, host
//! and port, no patterns, no suffixes, never `null`. Which origins a group allows is its settings'.

use std::fmt;

/// A web origin, taken apart. Compares scheme and host in any case and knows the default ports.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    port: u16,
}

impl<'a> Origin<'a> {
    /// Reads `http://host`, `https://host` or either with a port; nothing after it. `None` for everything
    /// else: `null`, patterns, paths, user names, other schemes.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let default = match scheme {
            s if s.eq_ignore_ascii_case("https") => 443,
            s if s.eq_ignore_ascii_case("http") => 80,
            _ => return None,
        };
        // The colons inside an IPv6 address are not the port's.
        let split = match rest.strip_prefix('[') {
            Some(inside) => rest.split_at_checked(inside.find(']')? + 2)?,
            None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
        };
        let (host, port) = split;
        let port = match port.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
            None if port.is_empty() => default,
            None => return None,
        };
        Self::is_host(host).then_some(Self { scheme, host, port })
    }

    /// Whether the page was served by this very machine, at any port.
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost") || matches!(self.host, "127.0.0.1" | "[::1]")
    }

    /// Whether a request with this `Host` header was sent to the very server that served the page. The
    /// scheme is taken from the page: only a proxy in front knows the other's.
    pub fn is_of(&self, host: &str) -> bool {
        Origin::parse(&format!("{}://{host}", self.scheme)).is_some_and(|own| own == *self)
    }

    fn is_host(host: &str) -> bool {
        match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
            }
        }
    }
}

/// As a policy names it: nothing but scheme, host and port, whatever the text was that it was read from.
impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.scheme.eq_ignore_ascii_case("https") { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl PartialEq for Origin<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.port == other.port
            && self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.host.eq_ignore_ascii_case(other.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_page_of_the_server_itself() {
        for (page, host, own) in [
            ("https://help.example", "help.example", true),
            ("https://help.example", "HELP.example:443", true),
            ("http://127.0.0.1:7400", "127.0.0.1:7400", true),
            ("https://help.example", "help.example:80", false),
            ("https://help.example", "help.example.evil", false),
            ("https://evil.example", "help.example", false),
            ("https://help.example", "", false),
        ] {
            assert_eq!(Origin::parse(page).unwrap().is_of(host), own, "{page} {host}");
        }
    }

    #[test]
    fn what_is_an_origin() {
        for good in [
            "https://shop.example",
            "http://shop.example:8080",
            "HTTPS://Shop.Example",
            "http://127.0.0.1:7400",
            "http://[::1]:7400",
            "https://[2001:db8::1]",
        ] {
            assert!(Origin::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "null",
            "*",
            "https://",
            "https://*.example",
            "https://shop.example/",
            "https://shop.example/path",
            "https://user@shop.example",
            "https://shop.example:",
            "https://shop.example:99999",
            "https://shop.example:+443",
            "https://shop.example:443:443",
            "https://[::1",
            "https://[::1]x",
            "https://[zz]",
            "https://é.example",
            "ftp://shop.example",
            "file://",
            "chrome-extension://abc",
            "shop.example",
            " https://shop.example",
        ] {
            assert!(Origin::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn sameness() {
        let same = |a, b| Origin::parse(a) == Origin::parse(b);
        assert!(same("https://a.example", "https://a.example:443"));
        assert!(same("http://a.example", "http://A.example:80"));
        assert!(!same("https://a.example", "http://a.example"));
        assert!(!same("https://a.example", "https://a.example:8443"));
        assert!(!same("https://a.example", "https://b.a.example"));
        assert!(!same("https://a.example", "https://a.example.evil.example"));
    }

    #[test]
    fn loopback_is_this_machine_only() {
        let local = |text| Origin::parse(text).is_some_and(|origin| origin.is_loopback());
        for text in ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:7400", "https://localhost"] {
            assert!(local(text), "{text}");
        }
        for text in
            ["http://localhost.evil.example", "http://127.0.0.1.evil.example", "http://10.0.0.1", "null"]
        {
            assert!(!local(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn junk_never_panics(text in "\\PC{0,40}", tail in "https?://[\\[\\]:a0é]{0,8}") {
            for junk in [&text, &tail] {
                if let Some(origin) = Origin::parse(junk) {
                    let told = origin.to_string();
                    assert_eq!(Origin::parse(&told), Some(origin));
                    assert!(!told.contains([' ', ';', ',', '*', '\'']), "{told}");
                }
            }
        }
    }
}
