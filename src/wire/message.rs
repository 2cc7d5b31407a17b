//! The envelope of every text message: `type`, and an optional `id` that ties an answer to its request.
//!
//! Reads a message in two steps, first the envelope and then the fields of its type, so that an unknown
//! type is told apart from a bad field and the id of a refused request is known.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::error::{ErrorCode, Refusal};

/// What each message carries besides its fields.
#[derive(Debug, Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    id: Option<u64>,
}

/// A message read, with the id its answer must carry.
#[derive(Debug)]
pub struct Read<M> {
    /// The id of the request, if it had one that could be read.
    pub id: Option<u64>,
    /// The message, or why it is refused.
    pub message: Result<M, Unread>,
}

/// A text that is not a message one can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// Not a message at all: whoever sends it does not speak this protocol.
    #[error("{0}")]
    NotAMessage(Refusal),
    /// A message of an unknown type or with bad fields.
    #[error("{0}")]
    Refused(Refusal),
}

/// A set of messages that one kind of client may send.
pub trait Incoming: Sized {
    /// Reads the fields of the given type; `None` when the type is unknown.
    fn read(kind: &str, text: &str) -> Option<Result<Self, serde_json::Error>>;
}

/// Reads one text message.
pub fn read<M: Incoming>(text: &str) -> Read<M> {
    let envelope: Envelope<'_> = match serde_json::from_str(text) {
        Ok(envelope) => envelope,
        Err(error) => {
            let refusal = Refusal::new(ErrorCode::BadMessage, format!("not a message: {error}"));
            return Read { id: None, message: Err(Unread::NotAMessage(refusal)) };
        }
    };
    let message = match M::read(&envelope.kind, text) {
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => {
            let message = format!("bad {}: {error}", clip(&envelope.kind, 32));
            Err(Unread::Refused(Refusal::new(ErrorCode::BadMessage, message)))
        }
        None => {
            let message = format!("unknown type {}", clip(&envelope.kind, 32));
            Err(Unread::Refused(Refusal::new(ErrorCode::UnknownType, message)))
        }
    };
    Read { id: envelope.id, message }
}

/// Cuts text to at most `max` bytes at a character boundary.
pub fn clip(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// Declares what one kind of client may send: `"type" => Variant(Fields)`.
macro_rules! incoming {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $kind:literal => $variant:ident($fields:ty),)* }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {
            $($(#[$vdoc])* $variant($fields),)*
        }

        impl $name {
            /// The `type` of every message of this set.
            pub const KINDS: &'static [&'static str] = &[$($kind,)*];
        }

        impl $crate::wire::message::Incoming for $name {
            fn read(kind: &str, text: &str) -> Option<Result<Self, serde_json::Error>> {
                Some(match kind {
                    $($kind => serde_json::from_str::<$fields>(text).map(Self::$variant),)*
                    _ => return None,
                })
            }
        }
    };
}
pub(crate) use incoming;

/// A message without fields.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Empty {}

/// An encoded text message, shared between the connections it goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(Bytes);

impl Text {
    /// Encodes a message.
    pub fn of(message: &impl Serialize) -> Self {
        let json = serde_json::to_vec(message).expect("messages hold only text keys and finite numbers");
        Self(Bytes::from(json))
    }

    /// Encodes the answer to a request: the same message with the request's id.
    pub fn answer(id: Option<u64>, message: &impl Serialize) -> Self {
        #[derive(Serialize)]
        struct Answer<'a, M> {
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<u64>,
            #[serde(flatten)]
            message: &'a M,
        }
        if id.is_none() { Self::of(message) } else { Self::of(&Answer { id, message }) }
    }

    /// Encodes an `error` message.
    pub fn refusal(id: Option<u64>, refusal: &Refusal) -> Self {
        #[derive(Serialize)]
        struct ErrorMessage<'a> {
            #[serde(rename = "type")]
            kind: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<u64>,
            code: &'static str,
            message: &'a str,
        }
        Self::of(&ErrorMessage { kind: "error", id, code: refusal.code.as_str(), message: &refusal.message })
    }

    /// Takes JSON that was encoded before.
    pub fn from_json(json: String) -> Self {
        Self(Bytes::from(json))
    }

    /// The same, of bytes that are shared already.
    pub fn from_bytes(json: Bytes) -> Self {
        Self(json)
    }

    /// The bytes to send.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

/// Free JSON kept as it came, for data that is passed on and never looked into.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Raw(pub Arc<serde_json::value::RawValue>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{agent::FromAgent, session::FromParticipant, visitor::FromVisitor};
    use proptest::prelude::*;

    #[test]
    fn unknown_type_and_bad_field_are_told_apart() {
        let refused = |text| match super::read::<FromVisitor>(text) {
            Read { id, message: Err(Unread::Refused(refusal)) } => (id, refusal.code),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(r#"{"type":"dance","id":7}"#), (Some(7), ErrorCode::UnknownType));
        assert_eq!(refused(r#"{"type":"terms","id":8,"requestId":1}"#), (Some(8), ErrorCode::BadMessage));
        for junk in ["", "[]", "7", "{", r#"{"id":1}"#, "null"] {
            let read = super::read::<FromVisitor>(junk);
            assert!(matches!(read.message, Err(Unread::NotAMessage(_))), "{junk}");
        }
    }

    #[test]
    fn unknown_fields_are_ignored() {
        assert!(super::read::<FromVisitor>(r#"{"type":"leave","new":true}"#).message.is_ok());
    }

    #[test]
    fn answers_carry_the_id() {
        #[derive(Serialize)]
        #[serde(tag = "type", rename_all = "camelCase")]
        enum Out {
            Ok {},
        }
        assert_eq!(Text::answer(Some(3), &Out::Ok {}).bytes(), r#"{"id":3,"type":"ok"}"#.as_bytes());
        assert_eq!(Text::answer(None, &Out::Ok {}).bytes(), r#"{"type":"ok"}"#.as_bytes());
    }

    proptest! {
        #[test]
        fn junk_never_panics(junk in ".{0,300}") {
            let _ = super::read::<FromVisitor>(&junk);
            let _ = super::read::<FromAgent>(&junk);
            let _ = super::read::<FromParticipant>(&junk);
        }

        #[test]
        fn known_types_with_junk_fields_never_panic(kind in 0usize..16, field in "[a-zA-Z]{1,12}", value in ".{0,40}") {
            let kinds = [FromVisitor::KINDS, FromAgent::KINDS, FromParticipant::KINDS].concat();
            let text = serde_json::json!({"type": kinds[kind % kinds.len()], field: value}).to_string();
            let _ = super::read::<FromVisitor>(&text);
            let _ = super::read::<FromAgent>(&text);
            let _ = super::read::<FromParticipant>(&text);
        }
    }
}
