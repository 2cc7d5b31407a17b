//! Opaque tokens: tickets, resume tokens and invites. 128 bits of chance and no meaning.
//!
//! Decides their form. What a token is bound to, how long it lives and whether it was used is known
//! only to whom issued it, who keeps the digest, so that a memory dump or log shows no usable token.

use aws_lc_rs::digest;

use super::random;

/// A bearer token of 128 random bits, 22 characters of URL-safe base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Opaque(String);

/// What is kept of an [`Opaque`]: its SHA-256. Fit as a map key, since nobody can choose it usefully.
pub type Digest = [u8; 32];

impl Opaque {
    /// A fresh one.
    pub fn fresh() -> Self {
        Self(super::base64url(&random::bytes::<16>()))
    }

    /// The text, for its one recipient.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The digest to store.
    pub fn digest(&self) -> Digest {
        digest_of(&self.0)
    }
}

impl std::fmt::Debug for Opaque {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opaque(hidden)")
    }
}

/// The digest of a presented text, to look it up. Any text has one; only issued ones are found.
pub fn digest_of(presented: &str) -> Digest {
    digest::digest(&digest::SHA256, presented.as_bytes())
        .as_ref()
        .try_into()
        .expect("a SHA-256 digest has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_ones_differ_and_have_the_form() {
        let (a, b) = (Opaque::fresh(), Opaque::fresh());
        assert_ne!(a.expose(), b.expose());
        assert_eq!(a.expose().len(), 22);
        assert!(a.expose().bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_'));
    }

    #[test]
    fn the_digest_is_that_of_the_text() {
        let token = Opaque::fresh();
        assert_eq!(token.digest(), digest_of(token.expose()));
        assert_ne!(token.digest(), digest_of(""));
    }

    #[test]
    fn debug_shows_nothing() {
        let token = Opaque::fresh();
        assert!(!format!("{token:?}").contains(token.expose()));
    }
}
