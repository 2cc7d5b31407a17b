//! The numbers that an operator may change, with the constants of [`super`] as their defaults.
//!
//! Checked together by `config`; handed to every part that is bounded by them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Sustained, a second.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

impl From<(u32, u32)> for Rate {
    fn from((per_second, burst): (u32, u32)) -> Self {
        Self { per_second, burst }
    }
}

/// Declares [`Limits`]: each field with its help, its type and the constant that is its default.
macro_rules! limits {
    ($($(#[$attr:meta])* $field:ident: $type:ty = $default:expr;)*) => {
        /// Section `[limits]` of the settings. The reason for each default stands beside its constant.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits {
            $($(#[$attr])* pub $field: $type,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

limits! {
    /// Connections at once; absent: what the file limit leaves.
    connections: Option<usize> = None;
    /// Connections from one address.
    connections_per_ip: usize = super::CONNECTIONS_PER_IP;
    /// Share of the file descriptors, in percent, from which on new connections are refused.
    files_percent: u32 = super::FILES_PERCENT;
    /// Bytes of memory there are for the process; absent: what its control group allows, if anything.
    memory: Option<u64> = None;
    /// Share of it, in percent, from which on new sockets, sessions and streams are refused.
    memory_percent: u32 = super::MEMORY_PERCENT;
    /// Connections (tabs) of one visitor ID.
    connections_per_visitor: usize = super::CONNECTIONS_PER_VISITOR;
    /// Time for an HTTP request head.
    #[serde(with = "humantime_serde")]
    http_header: Duration = super::HTTP_HEADER;
    /// Silence of a fresh WebSocket before its first message.
    #[serde(with = "humantime_serde")]
    first_message: Duration = super::FIRST_MESSAGE;
    /// Between two pings of one connection.
    #[serde(with = "humantime_serde")]
    heartbeat: Duration = super::HEARTBEAT;
    /// Silence after which a peer is taken for dead.
    #[serde(with = "humantime_serde")]
    dead_after: Duration = super::DEAD_AFTER;
    /// Bytes of a visitor's message.
    visitor_message: usize = super::VISITOR_MESSAGE;
    /// Bytes of a visitor's presence data.
    presence_data: usize = super::PRESENCE_DATA;
    /// Bytes of an agent's message.
    agent_message: usize = super::AGENT_MESSAGE;
    /// Bytes of a text message in a session.
    session_text: usize = super::SESSION_TEXT;
    /// Bytes of a frame with its header.
    frame: usize = super::FRAME;
    /// Keys in custom presence data.
    data_keys: usize = super::DATA_KEYS;
    /// Bytes of such a key.
    data_key_bytes: usize = super::DATA_KEY_BYTES;
    /// Bytes of such a value.
    data_value_bytes: usize = super::DATA_VALUE_BYTES;
    /// Messages of one visitor connection.
    visitor_rate: Rate = super::VISITOR_RATE.into();
    /// Messages of one agent connection.
    agent_rate: Rate = super::AGENT_RATE.into();
    /// Messages of one session connection.
    session_rate: Rate = super::SESSION_RATE.into();
    /// Visitor IDs that one agent connection may watch.
    watched: usize = super::WATCHED;
    /// Life of the short code of a unique visitor.
    #[serde(with = "humantime_serde")]
    code_life: Duration = super::CODE_LIFE;
    /// How long a session waits for its other side.
    #[serde(with = "humantime_serde")]
    waiting: Duration = super::WAITING;
    /// Life of a ticket.
    #[serde(with = "humantime_serde")]
    ticket_life: Duration = super::TICKET_LIFE;
    /// Time to come back after a loss.
    #[serde(with = "humantime_serde")]
    resume_window: Duration = super::RESUME_WINDOW;
    /// When a visitor's page may ask again after its group's presence was switched off.
    #[serde(with = "humantime_serde")]
    presence_retry: Duration = super::PRESENCE_RETRY;
    /// Longest session.
    #[serde(with = "humantime_serde")]
    session_length: Duration = super::SESSION_LENGTH;
    /// Viewers of one session.
    viewers: usize = super::VIEWERS;
    /// Digits of a session key that a guest types.
    guest_key_digits: u32 = super::GUEST_KEY_DIGITS;
    /// Wrong passwords, login keys or session keys from one address, or for one agent, that lock it.
    wrong_tries: u32 = super::WRONG_TRIES;
    /// The time within which they count together.
    #[serde(with = "humantime_serde")]
    lock_window: Duration = super::LOCK_WINDOW;
    /// How long the lock holds.
    #[serde(with = "humantime_serde")]
    lock_time: Duration = super::LOCK_TIME;
    /// Bytes of frames kept per stream for late joiners.
    cache_bytes: usize = super::CACHE_BYTES;
    /// Span of frames kept per stream for late joiners.
    #[serde(with = "humantime_serde")]
    cache_span: Duration = super::CACHE_SPAN;
    /// Bytes behind which a viewer gets only the base temporal layer.
    shed_bytes: usize = super::SHED_BYTES;
    /// Age behind which a viewer gets only the base temporal layer.
    #[serde(with = "humantime_serde")]
    shed_age: Duration = super::SHED_AGE;
    /// Bytes behind which a viewer waits for a key frame.
    outbox_bytes: usize = super::OUTBOX_BYTES;
    /// Age behind which a viewer waits for a key frame.
    #[serde(with = "humantime_serde")]
    outbox_age: Duration = super::OUTBOX_AGE;
    /// Standstill after which a viewer is closed.
    #[serde(with = "humantime_serde")]
    stuck: Duration = super::STUCK;
    /// Control messages waiting for one connection.
    control_lane: usize = super::CONTROL_LANE;
    /// Between two key-frame requests of one session.
    #[serde(with = "humantime_serde")]
    key_frame_spacing: Duration = super::KEY_FRAME_SPACING;
    /// How long other nodes trust a node that they no longer hear.
    #[serde(with = "humantime_serde")]
    node_lease: Duration = super::NODE_LEASE;
    /// Between two renewals of that trust.
    #[serde(with = "humantime_serde")]
    node_beat: Duration = super::NODE_BEAT;
    /// How long a drain lets connections finish.
    #[serde(with = "humantime_serde")]
    drain: Duration = super::DRAIN;
}
