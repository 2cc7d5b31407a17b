//! What a sink takes, and when it is tried again.
//!
//! Decides which of a group's events and session records a sink is handed and how long one that does not
//! take them is tried. Does not deliver; `sinks` does.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::Kind;
use crate::clock::Wall;
use crate::limits;

/// Where a sink leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "target")]
pub enum Target {
    /// Requests as the Standard Webhooks specification has them.
    Webhook {
        /// Where to.
        url: String,
    },
    /// Files of lines in a directory that the settings of the process name.
    File,
    /// The group's stream and channel in the Redis that the settings of the process name.
    Redis,
    /// A Salesforce org: posts, leads and session records.
    Salesforce(Org),
}

impl Target {
    /// Whether it is somebody else's, so that what it does not take is put aside in the end. Files and Redis
    /// are ours: what they do not take waits until they are mended.
    pub fn puts_aside(&self) -> bool {
        match self {
            Self::Webhook { .. } | Self::Salesforce(_) => true,
            Self::File | Self::Redis => false,
        }
    }
}

/// A Salesforce org and who we are there. No secret: the key is in the settings of the process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Org {
    /// Where signing in is asked for, and for whom the assertion is.
    pub login_url: String,
    /// The consumer key of the connected app.
    pub client_id: String,
    /// The user in whose name we write.
    pub username: String,
    /// Where agents' browsers reach this server: what links of posts begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site_url: Option<String>,
}

impl Org {
    /// The events that have a place there.
    pub const KINDS: [Kind; 2] = [Kind::FeedPosted, Kind::LeadCreated];
}

/// What a sink is handed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Takes {
    /// Every event, of kinds that are yet to come too.
    pub every_event: bool,
    /// Or the events of these kinds.
    pub kinds: Vec<Kind>,
    /// The records of ended sessions, by runs of the sync.
    pub records: bool,
}

impl Takes {
    /// Whether an event of this kind is handed over.
    pub fn event(&self, kind: Kind) -> bool {
        self.every_event || self.kinds.contains(&kind)
    }

    /// Whether there is any event to hand over.
    pub fn events(&self) -> bool {
        self.every_event || !self.kinds.is_empty()
    }
}

/// The two orders in which a sink is handed things; neither waits for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Events as they come, by their sequence.
    Events,
    /// Records of ended sessions, by the order of their ends.
    Records,
}

impl Lane {
    /// The name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Records => "records",
        }
    }
}

/// How long a sink that does not take something is borne with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Wait before the second try.
    pub first: Duration,
    /// Wait between two tries at most.
    pub most: Duration,
    /// How long a letter is tried before it is put aside.
    pub give_up: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let (first, most) = limits::SINK_RETRY;
        Self { first, most, give_up: limits::SINK_PATIENCE }
    }
}

impl Patience {
    /// The wait after a number of failures in a row; `chance` is anything, and decides half of it.
    pub fn pause(&self, failures: u32, chance: u64) -> Duration {
        let doubled = self.first.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)));
        let half = doubled.min(self.most) / 2;
        let millis = u64::try_from(half.as_millis()).unwrap_or(u64::MAX);
        half + Duration::from_millis(chance % millis.saturating_add(1))
    }

    /// Whether the time of a try has not come. A time that lies further ahead than any wait was noted by a
    /// clock that has been set back since, and has come.
    pub fn is_early(&self, at: Wall, now: Wall) -> bool {
        at > now && at <= now.after(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kinds_are_chosen() {
        let some = Takes { kinds: vec![Kind::Ended], ..Takes::default() };
        assert!(some.event(Kind::Ended) && !some.event(Kind::Started) && some.events());
        let every = Takes { every_event: true, ..Takes::default() };
        assert!(Kind::ALL.iter().all(|kind| every.event(*kind)));
        assert!(!Takes { records: true, ..Takes::default() }.events());
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_wait() {
        let (patience, now) = (Patience::default(), Wall(1_000_000));
        assert!(patience.is_early(now.after(patience.most), now));
        for at in [now, Wall(0), Wall(now.after(patience.most).0 + 1)] {
            assert!(!patience.is_early(at, now), "{at:?}");
        }
    }

    proptest! {
        #[test]
        fn pauses_double_within_bounds(failures in 1..200u32, chance: u64) {
            let patience = Patience::default();
            let pause = patience.pause(failures, chance);
            let whole = patience.first.saturating_mul(2u32.saturating_pow(failures - 1)).min(patience.most);
            prop_assert!(pause >= whole / 2 && pause <= whole);
        }
    }
}
