//! The names of the keys.

use crate::ids::{GroupId, SessionId};
use crate::model::feed::Place;
use crate::redis::escaped;

/// The names of a group's keys. All of a group have one hash tag, so that one script may use them.
pub(super) struct Keys<'a>(pub(super) &'a GroupId);

impl Keys<'_> {
    fn named(&self, name: &str) -> String {
        format!("pl:{{{}}}:{name}", self.0)
    }

    /// The stream of events; public.
    pub(super) fn stream(&self) -> String {
        self.named("events")
    }

    /// The channel of events as they happen; public.
    pub(super) fn live(&self) -> String {
        self.named("live")
    }

    /// The feed of a record; public. What is not plain in the record's names is escaped as in a URL, so that no
    /// two records share a key.
    pub(super) fn feed(&self, place: &Place) -> String {
        self.named(&format!("feed:{}:{}", escaped(&place.object), escaped(&place.id)))
    }

    /// The sequence of each event id.
    pub(super) fn ids(&self) -> String {
        self.named("ids")
    }

    /// The sequences of a session's events.
    pub(super) fn timeline(&self, session: SessionId) -> String {
        self.named(&format!("timeline:{session}"))
    }

    /// The sequence and the feed of each post's id.
    pub(super) fn posts(&self) -> String {
        self.named("posts")
    }

    /// The sequence of the post of each agent on each session.
    pub(super) fn posted(&self) -> String {
        self.named("posted")
    }

    /// The stream of leads.
    pub(super) fn leads(&self) -> String {
        self.named("leads")
    }

    /// The sequence of the lead of each email.
    pub(super) fn emails(&self) -> String {
        self.named("emails")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_records_share_a_key() {
        let group = GroupId::new("g").unwrap();
        let key = |object: &str, id: &str| Keys(&group).feed(&Place { object: object.into(), id: id.into() });
        assert_eq!(key("Case", "500-1.A"), "pl:{g}:feed:Case:500-1.A");
        let names = ["a", "a:b", "b", "a%3Ab", "a{b}", "é", "a\0", ""];
        let keys: std::collections::HashSet<String> = names
            .iter()
            .flat_map(|object| names.iter().map(move |id| (object, id)))
            .map(|(o, i)| key(o, i))
            .collect();
        assert_eq!(keys.len(), names.len() * names.len());
        assert!(keys.iter().all(|key| key.starts_with("pl:{g}:feed:") && key.matches(":").count() == 4));
    }
}
