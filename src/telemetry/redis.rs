//! What is counted of the connection to Redis.

use metrics::{Key, Recorder as _};

use super::{METADATA, Meters, REDIS_ANSWERED, REDIS_CONNECTS, REDIS_FAILURES, REDIS_UNHEARD};
use crate::clock::wall;

/// What a connection to Redis is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisUse {
    /// Commands and scripts.
    Commands,
    /// What Redis says by itself.
    Subscriptions,
}

impl RedisUse {
    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Subscriptions => "subscriptions",
        }
    }
}

/// Who hears what Redis says by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// The directory of visitors.
    Presence,
    /// Those who feed viewers of sessions that are elsewhere.
    Frames,
    /// Logs, groups and agents.
    Store,
}

impl Listener {
    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Frames => "frames",
            Self::Store => "store",
        }
    }
}

impl Meters {
    /// Counts words of Redis that were dropped because more waited than may.
    pub fn redis_unheard(&self, listener: Listener, words: u64) {
        self.add(REDIS_UNHEARD, &[("listener", listener.name())], words);
    }

    /// Counts a connection that was made to Redis.
    pub fn redis_connected(&self, usage: RedisUse) {
        self.count(REDIS_CONNECTS, &[("use", usage.name())]);
    }

    /// Counts a command that failed.
    pub fn redis_failed(&self, kind: &'static str) {
        self.count(REDIS_FAILURES, &[("kind", kind)]);
    }

    /// Notes that Redis has answered.
    pub fn redis_answered(&self) {
        let gauge = || self.recorder.register_gauge(&Key::from_static_name(REDIS_ANSWERED), &METADATA);
        #[expect(clippy::cast_precision_loss, reason = "times of this age are far below 2^52")]
        self.redis_answered.get_or_init(gauge).set(wall().0 as f64 / 1000.0);
    }
}
