//! Who is behind a proxy, as far as proxies that are trusted say so.
//!
//! Decides which address a request counts under: the right-most one in the proxies' header that no trusted proxy has,
//! for each proxy adds at the right whom it saw, and what stands further left anybody may have made up. Only the one
//! header that the settings name is read: a client's own line of the other would otherwise pass for the proxies'. Does
//! not decide whom to trust: the settings do. Asked by the listener for each request.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::{FORWARDED, HeaderName};
use ipnet::IpNet;

use crate::config::{ForwardedHeader, Public};
use crate::limits;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Reads a line: what each entry tells, the last first; none for what is no address.
type Read = fn(&str) -> Vec<Option<IpAddr>>;

/// The proxies whose word is taken, and where they write it.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    networks: Box<[IpNet]>,
    header: ForwardedHeader,
}

impl From<&Public> for Proxies {
    fn from(public: &Public) -> Self {
        Self { networks: public.trusted_proxies.clone().into(), header: public.forwarded_header }
    }
}

impl Proxies {
    /// Whether the word of whoever has this address is taken.
    pub fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.networks.iter().any(|network| network.contains(&ip))
    }

    /// The client of a trusted proxy; none where whoever asks is no proxy of ours. What can't be read ends the search:
    /// the last address that was read is then the client's, at worst the proxy's own.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        if !self.trusts(peer) {
            return None;
        }
        let (name, read): (_, Read) = match self.header {
            ForwardedHeader::XForwardedFor => (X_FORWARDED_FOR, listed),
            ForwardedHeader::Forwarded => (FORWARDED, elements),
        };
        let mut client = peer.to_canonical();
        let mut left = limits::PROXIES_IN_A_ROW;
        let lines: Vec<_> = headers.get_all(name).iter().collect();
        for line in lines.into_iter().rev() {
            let Ok(line) = line.to_str() else { return Some(client) };
            for told in read(line) {
                let Some(ip) = told else { return Some(client) };
                client = ip;
                left -= 1;
                if left == 0 || !self.trusts(ip) {
                    return Some(client);
                }
            }
        }
        Some(client)
    }
}

/// A line of `X-Forwarded-For`.
fn listed(line: &str) -> Vec<Option<IpAddr>> {
    line.rsplit(',').take(limits::PROXIES_IN_A_ROW).map(|text| address(text.trim())).collect()
}

/// A line of `Forwarded` (RFC 7239, 4): the `for` of each element. A line that is not well formed says nothing at all: an open quotation mark of a client
/// would otherwise swallow what a proxy wrote behind it.
fn elements(line: &str) -> Vec<Option<IpAddr>> {
    let mut rest = line.trim();
    let mut found = Vec::new();
    loop {
        let (element, behind) = match element(rest) {
            Some(read) => read,
            None => return vec![None],
        };
        found.push(element);
        match behind.strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None => break,
        }
    }
    found.reverse();
    found
}

/// One element, and what stands behind it: a comma, or nothing.
fn element(text: &str) -> Option<(Option<IpAddr>, &str)> {
    let (mut rest, mut found, mut said) = (text, None, false);
    loop {
        let (name, behind) = token(rest)?;
        let (value, behind) = value(behind.strip_prefix('=')?)?;
        if name.eq_ignore_ascii_case("for") {
            // Twice the same parameter is two stories.
            if std::mem::replace(&mut said, true) {
                return None;
            }
            found = address(value);
        }
        rest = behind.trim_start();
        match rest.strip_prefix(';') {
            Some(next) => rest = next.trim_start(),
            None if rest.is_empty() || rest.starts_with(',') => return Some((found, rest)),
            None => return None,
        }
    }
}

/// A token (RFC 9110, 5.6.2) at the beginning, and what stands behind it.
fn token(text: &str) -> Option<(&str, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A value: a token, or quoted. No address needs a backslash; what has one is not read.
fn value(text: &str) -> Option<(&str, &str)> {
    let Some(quoted) = text.strip_prefix('"') else { return token(text) };
    let (inside, behind) = quoted.split_once('"')?;
    (!inside.contains('\\')).then_some((inside, behind))
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse().or_else(|_| text.parse().map(|with_port: SocketAddr| with_port.ip()));
    Some(ip.ok()?.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    const OURS: &str = "10.0.0.0/8 127.0.0.1/32 fd00::/8";

    fn proxies(trusted: &str, header: ForwardedHeader) -> Proxies {
        let networks: Vec<IpNet> = trusted.split_whitespace().map(|net| net.parse().unwrap()).collect();
        Proxies { networks: networks.into(), header }
    }

    fn headers(name: HeaderName, lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&name, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    fn client(header: ForwardedHeader, peer: &str, lines: &[&str]) -> Option<String> {
        let name = match header {
            ForwardedHeader::XForwardedFor => X_FORWARDED_FOR,
            ForwardedHeader::Forwarded => FORWARDED,
        };
        let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
        let headers = headers(name, &lines);
        Some(proxies(OURS, header).client(peer.parse().unwrap(), &headers)?.to_string())
    }

    #[test]
    fn the_right_most_address_that_is_no_proxy_of_ours_counts() {
        let chain = vec!["10.0.0.1"; limits::PROXIES_IN_A_ROW].join(",");
        let endless = format!("198.51.100.7,{chain}");
        for (peer, lines, counts) in [
            // Nobody whom we trust says anything.
            ("192.0.2.1", &["198.51.100.7"][..], None),
            ("127.0.0.2", &["198.51.100.7"], None),
            // One proxy, which says it.
            ("127.0.0.1", &["198.51.100.7"], Some("198.51.100.7")),
            ("::ffff:127.0.0.1", &["::ffff:198.51.100.7"], Some("198.51.100.7")),
            ("10.1.2.3", &["2001:db8::7"], Some("2001:db8::7")),
            ("fd00::1", &["[2001:db8::7]:4711"], Some("2001:db8::7")),
            ("10.1.2.3", &["[2001:db8::7]"], Some("2001:db8::7")),
            ("10.1.2.3", &["198.51.100.7:4711"], Some("198.51.100.7")),
            // What the client made up stands to the left of what the proxy saw, on the same line or on one before.
            ("127.0.0.1", &["203.0.113.9, 198.51.100.7"], Some("198.51.100.7")),
            ("127.0.0.1", &["127.0.0.1,198.51.100.7"], Some("198.51.100.7")),
            ("127.0.0.1", &["203.0.113.9", "198.51.100.7"], Some("198.51.100.7")),
            // A chain of ours.
            ("127.0.0.1", &["203.0.113.9, 198.51.100.7, 10.0.0.5"], Some("198.51.100.7")),
            ("127.0.0.1", &["198.51.100.7", "10.0.0.5, 10.0.0.6"], Some("198.51.100.7")),
            ("127.0.0.1", &[&endless], Some("10.0.0.1")),
            // Nobody from outside at all.
            ("127.0.0.1", &["10.0.0.5"], Some("10.0.0.5")),
            ("127.0.0.1", &[], Some("127.0.0.1")),
            // Junk ends the search.
            ("127.0.0.1", &["198.51.100.7, junk"], Some("127.0.0.1")),
            ("127.0.0.1", &["198.51.100.7, , 10.0.0.5"], Some("10.0.0.5")),
            ("127.0.0.1", &["198.51.100.7, unknown, 10.0.0.5"], Some("10.0.0.5")),
            ("127.0.0.1", &["198.51.100.7", "\u{fc}"], Some("127.0.0.1")),
        ] {
            assert_eq!(
                client(ForwardedHeader::XForwardedFor, peer, lines).as_deref(),
                counts,
                "{peer} {lines:?}"
            );
        }
    }

    #[test]
    fn the_standard_header_is_read_strictly() {
        for (lines, counts) in [
            (&["for=198.51.100.7"][..], "198.51.100.7"),
            (&["For=\"[2001:db8::7]:4711\";proto=https;by=10.0.0.1"], "2001:db8::7"),
            (&["proto=https; for = 198.51.100.7"], "127.0.0.1"),
            (&["proto=https ; for=198.51.100.7"], "198.51.100.7"),
            (&["for=\"198.51.100.7:4711\""], "198.51.100.7"),
            (&["for=203.0.113.9, for=198.51.100.7"], "198.51.100.7"),
            (&["for=203.0.113.9", "for=198.51.100.7"], "198.51.100.7"),
            (&["for=198.51.100.7,for=10.0.0.5;host=\"a,b\""], "198.51.100.7"),
            // What hides or says nothing ends the search.
            (&["for=198.51.100.7, for=unknown"], "127.0.0.1"),
            (&["for=198.51.100.7, for=_hidden, for=10.0.0.5"], "10.0.0.5"),
            (&["for=198.51.100.7, proto=https"], "127.0.0.1"),
            (&[""], "127.0.0.1"),
            // Quotation marks of a client do not swallow what the proxy wrote behind them.
            (&["for=\", for=\"[2001:db8::7]:1\""], "127.0.0.1"),
            (&["for=203.0.113.9;x=\", for=198.51.100.7"], "127.0.0.1"),
            (&["for=\"203.0.113.9\\\", for=198.51.100.7"], "127.0.0.1"),
            (&["for=203.0.113.9;x=\"", "for=198.51.100.7"], "198.51.100.7"),
            // Malformed.
            (&["for=203.0.113.9;for=198.51.100.7"], "127.0.0.1"),
            (&["for=198.51.100.7;"], "127.0.0.1"),
            (&["for=198.51.100.7,"], "127.0.0.1"),
            (&["198.51.100.7"], "127.0.0.1"),
            (&["for="], "127.0.0.1"),
        ] {
            let found = client(ForwardedHeader::Forwarded, "127.0.0.1", lines);
            assert_eq!(found.as_deref(), Some(counts), "{lines:?}");
        }
        assert_eq!(client(ForwardedHeader::Forwarded, "192.0.2.1", &["for=198.51.100.7"]), None);
    }

    #[test]
    fn only_the_header_that_the_proxies_write_is_read() {
        for (header, other) in
            [(ForwardedHeader::XForwardedFor, FORWARDED), (ForwardedHeader::Forwarded, X_FORWARDED_FOR)]
        {
            let headers = headers(other, &[b"for=198.51.100.7", b"198.51.100.7"]);
            let found = proxies(OURS, header).client("127.0.0.1".parse().unwrap(), &headers);
            assert_eq!(found.unwrap().to_string(), "127.0.0.1");
        }
    }

    #[test]
    fn nobody_is_trusted_unless_told_so() {
        let headers = headers(X_FORWARDED_FOR, &[b"198.51.100.7"]);
        assert_eq!(Proxies::default().client("127.0.0.1".parse().unwrap(), &headers), None);
        assert!(!Proxies::from(&Public::default()).trusts("127.0.0.1".parse().unwrap()));
    }

    proptest! {
        /// Whatever a client sends before it, what a trusted proxy wrote on a line of its own counts.
        #[test]
        fn junk_neither_panics_nor_counts(junk in prop::collection::vec("[ -~]{0,60}", 0..4)) {
            for (header, seen) in [
                (ForwardedHeader::XForwardedFor, "198.51.100.7"),
                (ForwardedHeader::Forwarded, "for=198.51.100.7"),
            ] {
                let alone: Vec<&str> = junk.iter().map(String::as_str).collect();
                client(header, "127.0.0.1", &alone).unwrap();
                let mut lines = alone;
                lines.push(seen);
                prop_assert_eq!(client(header, "127.0.0.1", &lines).unwrap(), "198.51.100.7");
            }
        }

        /// Appended to the same line, it counts as well, or nobody but the proxy does.
        #[test]
        fn nothing_in_front_of_it_grants_an_address(junk in "[ -~]{0,80}") {
            let found = client(ForwardedHeader::XForwardedFor, "127.0.0.1", &[&format!("{junk}, 198.51.100.7")]);
            prop_assert_eq!(found.unwrap(), "198.51.100.7");
            let line = format!("{junk}, for=\"[2001:db8::7]:1\"");
            let found = client(ForwardedHeader::Forwarded, "127.0.0.1", &[&line]).unwrap();
            prop_assert!(found == "2001:db8::7" || found == "127.0.0.1", "{}", found);
        }
    }
}
