//! The names of things, each a type of its own, so that one can't be passed for another.
//!
//! Decides which strings are names at all. Does not decide whether the thing exists or who may see it.
//! Everybody uses these; nobody passes bare strings for identity.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A string that is not a name of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} must match {pattern}")]
pub struct BadId {
    /// What was to be named: `visitor id`, `group`, ….
    pub kind: &'static str,
    /// The rule it broke, as a regular expression.
    pub pattern: &'static str,
}

/// Declares a shared, validated, cheaply cloned string name.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $pattern:literal, $max:expr, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text against the rule for this kind of name.
            pub fn new(text: &str) -> Result<Self, BadId> {
                let allowed: fn(u8) -> bool = $allowed;
                if text.is_empty() || text.len() > $max || !text.bytes().all(allowed) {
                    return Err(BadId { kind: $kind, pattern: $pattern });
                }
                Ok(Self(Arc::from(text)))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), &self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Whether a byte may stand in a URL path segment without escaping (RFC 3986, unreserved).
fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-')
}

name_type!(
    /// Names a group (a tenant). It starts every key and every lookup.
    GroupId,
    "group",
    "[A-Za-z0-9._~-]{1,64}",
    64,
    unreserved
);
name_type!(
    /// Names a visitor inside its group, across tabs and devices. A name, never a credential.
    VisitorId,
    "visitor id",
    "[A-Za-z0-9._~-]{1,62}",
    62,
    unreserved
);
name_type!(
    /// Names an agent inside its group.
    AgentId,
    "agent id",
    "[A-Za-z0-9._~@-]{1,128}",
    128,
    |byte| unreserved(byte) || byte == b'@'
);
name_type!(
    /// Names an API key inside its group; travels as `kid` in tokens.
    KeyId,
    "key id",
    "[A-Za-z0-9._~-]{1,64}",
    64,
    unreserved
);

name_type!(
    /// Names a sink inside its group. Fit for a folder's name behind a prefix.
    SinkId,
    "sink id",
    "[A-Za-z0-9._~-]{1,64}",
    64,
    unreserved
);

/// Visitor ids that begin so are issued by the server alone.
pub const UNIQUE_PREFIX: &str = "unq-";

impl VisitorId {
    /// Whether the server issued this id itself.
    pub fn is_unique(&self) -> bool {
        self.as_str().starts_with(UNIQUE_PREFIX)
    }

    /// A fresh server-issued id around 128 bits of chance.
    pub fn unique(chance: u128) -> Self {
        Self::new(&format!("{UNIQUE_PREFIX}{chance:032x}")).expect("prefix and hex digits are unreserved")
    }
}

/// A visitor of a group: the only way to look a visitor up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VisitorKey {
    /// The group it belongs to.
    pub group: GroupId,
    /// Its name there.
    pub visitor: VisitorId,
}

/// An agent of a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentKey {
    /// The group it belongs to.
    pub group: GroupId,
    /// Its name there.
    pub agent: AgentId,
}

/// Declares a time-ordered identifier (UUID version 7, RFC 9562).
macro_rules! uuid_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A fresh one. Called by drivers only: rules receive ids, they do not make them.
            pub fn fresh() -> Self {
                Self(Uuid::now_v7())
            }

            /// One with the given bits, for tests and replays.
            pub const fn from_u128(bits: u128) -> Self {
                Self(Uuid::from_u128(bits))
            }

            /// One of 16 bytes, big-endian.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// Its 16 bytes, big-endian.
            pub const fn bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }

            /// Reads the hyphenated or the simple form.
            pub fn parse(text: &str) -> Result<Self, BadId> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| BadId { kind: stringify!($name), pattern: "a UUID" })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

uuid_type!(
    /// Names a session, from the request to its end. Not a secret.
    SessionId
);
uuid_type!(
    /// Names one request to join, so that a late or foreign answer can be told apart.
    RequestId
);
uuid_type!(
    /// Names one participant of a session; survives its reconnects.
    ParticipantId
);

uuid_type!(
    /// Names one event, so that a reader who gets it twice can tell.
    EventId
);
uuid_type!(
    /// Names one run of a sync.
    RunId
);
uuid_type!(
    /// Names one consent receipt.
    ReceiptId
);

/// One WebSocket of this node. Never reused while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{:x}", self.0)
    }
}

impl Serialize for ConnectionId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visitor_ids_follow_the_rule() {
        for good in ["a", "C-1001", "A.b_c~d-9", &"x".repeat(62)] {
            assert!(VisitorId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a:b", "ä", "a/b", "a\0", "*", "{x}", &"x".repeat(63)] {
            assert!(VisitorId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn case_matters() {
        assert_ne!(VisitorId::new("a"), VisitorId::new("A"));
    }

    #[test]
    fn unique_ids_are_valid_and_recognised() {
        assert!(VisitorId::unique(u128::MAX).is_unique());
        assert!(!VisitorId::new("C-1").unwrap().is_unique());
    }
}
