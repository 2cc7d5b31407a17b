//! The close table: each code once, with its meaning and whether the client should come back.

/// Why the server ends a WebSocket. The codes lie in the range RFC 6455 leaves to applications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// The node is going away; come back after the told delay.
    Drain,
    /// The client does not read fast enough.
    TooSlow,
    /// No first message, or no byte for too long.
    Timeout,
    /// The node has no room.
    Overload,
    /// Malformed, oversize or out of order.
    BadMessage,
    /// Token or ticket missing, wrong, expired or used.
    Unauthorized,
    /// Origin, permission or role.
    Forbidden,
    /// The session is gone; the same answer as for another group's session.
    NotFound,
    /// The same ticket or resume token is used elsewhere.
    Replaced,
    /// The session ended, the group was removed or presence was disabled.
    Ended,
    /// Too many messages.
    RateLimited,
}

impl CloseCode {
    /// Every code, in numeric order.
    pub const ALL: [Self; 11] = [
        Self::Drain,
        Self::TooSlow,
        Self::Timeout,
        Self::Overload,
        Self::BadMessage,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::Replaced,
        Self::Ended,
        Self::RateLimited,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u16 {
        match self {
            Self::Drain => 4000,
            Self::TooSlow => 4001,
            Self::Timeout => 4002,
            Self::Overload => 4003,
            Self::BadMessage => 4400,
            Self::Unauthorized => 4401,
            Self::Forbidden => 4403,
            Self::NotFound => 4404,
            Self::Replaced => 4408,
            Self::Ended => 4409,
            Self::RateLimited => 4429,
        }
    }

    /// The code of a number on the wire.
    pub fn of(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.code() == number)
    }

    /// The name, which is also the `code` of the matching error message.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::TooSlow => "too_slow",
            Self::Timeout => "timeout",
            Self::Overload => "overload",
            Self::BadMessage => "bad_message",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Replaced => "replaced",
            Self::Ended => "ended",
            Self::RateLimited => "rate_limited",
        }
    }

    /// Whether a client should reconnect after this code.
    pub const fn reconnect(self) -> bool {
        matches!(self, Self::Drain | Self::TooSlow | Self::Timeout | Self::Overload | Self::RateLimited)
    }
}

/// The end of a connection as sent to the client: a code and a sentence without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// Which row of the table.
    pub code: CloseCode,
    /// What happened, for people; at most 123 bytes go on the wire (RFC 6455, 5.5).
    pub reason: std::borrow::Cow<'static, str>,
}

impl Close {
    /// A close with a fixed sentence.
    pub const fn new(code: CloseCode, reason: &'static str) -> Self {
        Self { code, reason: std::borrow::Cow::Borrowed(reason) }
    }

    /// A close with a sentence made for the occasion.
    pub fn told(code: CloseCode, reason: String) -> Self {
        Self { code, reason: std::borrow::Cow::Owned(reason) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the wire contract. A change here breaks clients.
    #[test]
    fn the_table_is_pinned() {
        let table: Vec<_> = CloseCode::ALL.iter().map(|c| (c.code(), c.name(), c.reconnect())).collect();
        assert_eq!(
            table,
            [
                (4000, "drain", true),
                (4001, "too_slow", true),
                (4002, "timeout", true),
                (4003, "overload", true),
                (4400, "bad_message", false),
                (4401, "unauthorized", false),
                (4403, "forbidden", false),
                (4404, "not_found", false),
                (4408, "replaced", false),
                (4409, "ended", false),
                (4429, "rate_limited", true),
            ]
        );
    }
}
