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

/// Names in one certificate: no authority known to us gives more.
pub const ACME_NAMES: usize = 100;

/// Longest wait for a certificate once it is asked for. Authorities look within seconds; more is their trouble, and they are
/// asked again later.
pub const ACME_ORDER: Duration = Duration::from_secs(300);

/// The first pause before an authority is asked what came of its look; each further one is twice as long.
pub const ACME_ASK: Duration = Duration::from_millis(500);

/// Longest pause before it is asked again.
pub const ACME_ASK_MOST: Duration = Duration::from_secs(15);

/// The first pause after a certificate was refused; each further one is twice as long. Let's Encrypt takes five failures
/// for a name in an hour, and so many are made.
pub const ACME_RETRY: Duration = Duration::from_secs(120);

/// Longest pause before a certificate is asked for again.
pub const ACME_RETRY_MOST: Duration = Duration::from_secs(6 * 3600);

/// How often it is looked whether the certificate is to be renewed: wall clocks may be set, and sleep is no clock.
pub const ACME_LOOK: Duration = Duration::from_secs(3600);

/// Handshakes at once on the admin listener. Operators are few; whoever else comes waits, and holds no memory.
pub const ADMIN_HANDSHAKES: usize = 64;
