//! Numbers of the edges: who is believed to be behind a proxy, and how TLS begins.

use std::time::Duration;

/// Proxies of ours that one request may come through: more than two are rare, and whoever is in their networks could
/// otherwise have a list of any length looked through.
pub const PROXIES_IN_A_ROW: usize = 16;

/// Longest header of the PROXY protocol: addresses take at most 232 bytes, and what load balancers note behind them fits
/// twice in the rest. A longer one is refused before it is read.
pub const PROXY_HEADER_BYTES: usize = 1024;

/// Between two warnings about connections that are refused before anything is known of them, which anybody may cause
/// at any rate. The metric counts all of them.
pub const REFUSAL_WARNING: Duration = Duration::from_secs(10);

/// Longest TLS handshake, as long as over an HTTP head.
pub const TLS_HANDSHAKE: Duration = Duration::from_secs(5);

/// What TLS may hold of what the network does not take: one record and some. More would hide a slow viewer from the
/// rules that shed for it.
pub const TLS_BUFFER: usize = 32 * 1024;

/// How often the files of certificates are looked at. They are a few kilobytes; half would be no burden either, and who
/// renews a certificate does not wait for seconds.
pub const CERTIFICATE_LOOK: Duration = Duration::from_secs(2);

/// Handshakes at once on the admin listener. Operators are few; whoever else comes waits, and holds no memory.
pub const ADMIN_HANDSHAKES: usize = 64;
