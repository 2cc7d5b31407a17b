//! Credentials: login keys, tokens, tickets, passwords. Pure functions of secrets and time.
//!
//! Decides whether a credential is genuine and in time. Does not decide whom it concerns, whether that
//! agent still exists, or what may be done with it: [`crate::hub`] does. Everything here is bytes and
//! numbers; only [`secret::MasterSecret::load_or_create`] touches a file.

pub mod agent_token;
pub mod api_key;
pub mod attempts;
pub mod login_key;
pub mod opaque;
pub mod password;
pub mod permissions;
pub mod random;
pub mod secret;
pub mod signing;
pub mod unique;
pub mod visitor_token;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

/// Why a token or secret was refused. For logs and counters: the edges answer all of them alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not a credential of this kind at all.
    #[error("credential is malformed")]
    Malformed,
    /// The signature or the secret does not match.
    #[error("credential is not genuine")]
    NotGenuine,
    /// Its time is over.
    #[error("credential has expired")]
    Expired,
    /// It claims to live longer than such a credential may.
    #[error("credential expires too far ahead")]
    TooFarAhead,
    /// Its time has not come, beyond what clocks may differ.
    #[error("credential is not valid yet")]
    NotYet,
    /// It was issued for somebody or something else.
    #[error("credential is for another subject")]
    OtherSubject,
    /// It was taken back, or whom it was issued to is gone.
    #[error("credential was revoked")]
    Revoked,
}

/// Whether two texts are equal, in a time that depends on their lengths alone.
pub fn same_secret(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// Bytes as URL-safe base64 without padding, as all our secrets are written.
fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
