//! Tickets and resume tokens: secrets that open exactly one door once.
//!
//! Decides their form and their comparison. Does not decide who gets one: that takes an
//! [`Admission`](super::request::Admission). Of a secret that was handed out only its [`Lock`] is kept, so that
//! neither a session nor what is saved of it shows a secret that opens anything.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::auth::opaque::{self, Digest};
use crate::ids::{ParticipantId, SessionId};

/// Bytes of chance in a ticket or a resume token.
pub const SECRET: usize = 16;

/// Where fresh secrets and ids come from: the driver's random source, or a counter in tests.
pub trait Chance {
    /// 128 bits nobody can guess.
    fn secret(&mut self) -> [u8; SECRET];
    /// A participant id never used before.
    fn participant(&mut self) -> ParticipantId;
}

/// A secret of one session. Compared in constant time, never printed.
#[derive(Clone)]
pub struct Secret([u8; SECRET]);

impl Secret {
    /// Takes bytes from chance.
    pub fn new(bytes: [u8; SECRET]) -> Self {
        Self(bytes)
    }

    /// Whether both are the same, in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What is kept of a [`Secret`]: its SHA-256. Nobody finds 128 bits of chance by their digest, so it needs no
/// pepper and is the same on every node.
#[derive(Clone)]
pub struct Lock(Digest);

impl Lock {
    /// The lock that this secret opens.
    pub fn of(secret: &Secret) -> Self {
        Self(opaque::digest_of(&URL_SAFE_NO_PAD.encode(secret.0)))
    }

    /// Whether the secret opens it, in constant time.
    pub fn opens_to(&self, secret: &Secret) -> bool {
        self.0.ct_eq(&Self::of(secret).0).into()
    }
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lock(…)")
    }
}

impl Serialize for Lock {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Lock {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        let bytes = URL_SAFE_NO_PAD.decode(&*text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("a lock is 32 bytes in base64"))
    }
}

/// A ticket or resume token as it travels: the session it belongs to, so that it can be routed, and the
/// secret. Opaque to clients.
#[derive(Debug, Clone)]
pub struct Token {
    /// The session whose door it opens.
    pub session: SessionId,
    /// What opens it.
    pub secret: Secret,
}

impl Token {
    /// The text for the client: 43 characters of URL-safe base64.
    pub fn text(&self) -> String {
        let mut bytes = [0; 16 + SECRET];
        bytes[..16].copy_from_slice(&self.session.bytes());
        bytes[16..].copy_from_slice(&self.secret.0);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads the text of a client; `None` when it has not the form of a token.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 16 + SECRET] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (session, secret) = bytes.split_at(16);
        Some(Self {
            session: SessionId::from_u128(u128::from_be_bytes(session.try_into().ok()?)),
            secret: Secret(secret.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_travel_and_return() {
        let token = Token { session: SessionId::from_u128(7), secret: Secret::new([9; 16]) };
        let text = token.text();
        assert_eq!(text.len(), 43);
        let back = Token::parse(&text).unwrap();
        assert_eq!(back.session, token.session);
        assert!(back.secret.matches(&token.secret));
        for bad in ["", "x", &text[1..], &format!("{text}A"), &text.replace('A', "!")] {
            assert!(Token::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", Secret::new([1; 16])), "Secret(…)");
        assert_eq!(format!("{:?}", Lock::of(&Secret::new([1; 16]))), "Lock(…)");
    }

    #[test]
    fn a_lock_opens_to_its_secret_alone() {
        let secret = Secret::new([1; 16]);
        let lock = Lock::of(&secret);
        let saved = serde_json::to_string(&lock).unwrap();
        assert!(!saved.contains(&URL_SAFE_NO_PAD.encode([1; 16])));
        for lock in [lock, serde_json::from_str(&saved).unwrap()] {
            assert!(lock.opens_to(&secret));
            assert!(!lock.opens_to(&Secret::new([2; 16])));
        }
        for bad in ["\"\"", "\"AAAA\"", "7", "\"!\""] {
            assert!(serde_json::from_str::<Lock>(bad).is_err(), "{bad}");
        }
    }
}
