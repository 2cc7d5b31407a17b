//! The codes of `error` messages, each once.
//!
//! An error message refuses one message; the connection stays. What ends a connection is in [`super::close`].

use std::borrow::Cow;

/// Declares the codes with their meaning.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a message is refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    /// Not JSON, not an object, or a field of the wrong shape.
    BadMessage = "bad_message",
    /// A `type` this server does not know on this socket.
    UnknownType = "unknown_type",
    /// A value breaks its rule (range, pattern, size).
    BadValue = "bad_value",
    /// Presence data over its caps.
    DataTooLarge = "data_too_large",
    /// More of something than one connection or group may have.
    TooMany = "too_many",
    /// Too many messages; this one was not acted on.
    RateLimited = "rate_limited",
    /// Credential missing, wrong, expired or used.
    Unauthorized = "unauthorized",
    /// Not allowed for this agent, role or group.
    Forbidden = "forbidden",
    /// No such thing, or not for you: the same answer.
    NotFound = "not_found",
    /// The visitor has no live connection and is not within grace.
    VisitorNotPresent = "visitor_not_present",
    /// Presence is off for the group.
    PresenceDisabled = "presence_disabled",
    /// The answer came after the request was over, or names another request.
    RequestOver = "request_over",
    /// The terms that were accepted are not the ones that were shown.
    TermsChanged = "terms_changed",
    /// Input without a live grant.
    ControlNotGranted = "control_not_granted",
    /// Not possible in the state things are in.
    WrongState = "wrong_state",
    /// A kind of session or message that this server does not offer.
    Unsupported = "unsupported",
    /// The server could not do it; trying again may help.
    Unavailable = "unavailable",
}

/// A refused message: a code for programs and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.as_str())]
pub struct Refusal {
    /// Which row of the table.
    pub code: ErrorCode,
    /// What is wrong, naming the thing and the limit; never a secret.
    pub message: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with a fixed or a made sentence.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// The one answer for what does not exist and for what belongs to others.
    pub fn not_found(what: &'static str) -> Self {
        Self::new(ErrorCode::NotFound, format!("no such {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_snake_case() {
        let mut seen = std::collections::HashSet::new();
        for code in ErrorCode::ALL {
            let text = code.as_str();
            assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{text}");
            assert!(seen.insert(text), "{text} twice");
        }
    }
}
