//! Open records: which buttons an agent sees, pushed again on any change.

use std::sync::Arc;

use super::watch::{RecordWatch, raw};
use super::{Hub, accounts::Group};
use crate::clock::Wall;
use crate::ids::{VisitorId, VisitorKey};
use crate::model::buttons::{self, Buttons, Sight};
use crate::model::visitor::{Snapshot, VisitorView};
use crate::wire::agent::ToAgent;
use crate::wire::message::Text;

impl Hub {
    /// Pushes a record's buttons to the agent who has it open.
    pub(super) fn push_record(&self, record: &Arc<RecordWatch>, visitor: Option<&Arc<Snapshot>>) {
        if let Some(group) = self.accounts.group(&record.agent.group) {
            let text = self.record_text(&group, record, visitor, None);
            record.connection.outbox.push(text);
        }
    }

    /// A record's buttons as they are now. `visitor` is the visitor it leads to, where the caller has it.
    pub(super) fn record_text(
        &self,
        group: &Group,
        record: &RecordWatch,
        visitor: Option<&Arc<Snapshot>>,
        id: Option<u64>,
    ) -> Text {
        let leads_to = buttons::visitor_of(&group.settings, &record.open);
        let known = match (&leads_to, visitor) {
            (Ok(visitor), Some(snapshot)) if snapshot.key().visitor == *visitor => Some(Arc::clone(snapshot)),
            (Ok(visitor), _) => Some(self.visitor_here(&group.id, visitor)),
            (Err(_), _) => None,
        };
        let sight = match (&leads_to, &known) {
            (Ok(_), Some(known)) => {
                Ok(Sight { state: known.state(), in_session: known.view().session.is_some() })
            }
            (Err(reason), _) => Err(*reason),
            (Ok(_), None) => Err(buttons::Reason::NoVisitorId),
        };
        let object = &record.open.record.object;
        let profile = self.profile_of(&record.agent);
        let permissions = group.settings.permissions_of(&record.agent.agent);
        let shown: Buttons =
            buttons::buttons(&group.settings, permissions, profile.as_deref(), object, sight);
        let reason = shown.reason.map(buttons::Reason::as_str);
        let encoded = serde_json::value::to_raw_value(&shown).expect("buttons are plain values");
        let message = ToAgent::Record {
            record: &record.open.record,
            visitor_id: leads_to.as_ref().ok(),
            visitor: known.as_deref().map(raw),
            buttons: &encoded,
            session_id: known.as_deref().and_then(|known| known.view().session),
            auto_join: shown.auto_join,
            reason,
        };
        Text::answer(id, &message)
    }

    /// A visitor as this node sees it; absent when it is not here and nothing was heard of it.
    pub(super) fn visitor_here(&self, group: &crate::ids::GroupId, visitor: &VisitorId) -> Arc<Snapshot> {
        let key = VisitorKey { group: group.clone(), visitor: visitor.clone() };
        let here = self.tracker.snapshot(&key).map(Arc::new);
        here.or_else(|| self.elsewhere.get(&key))
            .unwrap_or_else(|| Arc::new(Self::absent(&key, self.clock.now().wall)))
    }

    /// What is said of a visitor of whom nothing is known: absent as of now, in a version that any word of
    /// its own from now on will beat.
    pub(super) fn absent(key: &VisitorKey, now: Wall) -> Snapshot {
        // One below what the visitor's own word of this very millisecond would carry.
        let version = crate::model::visitor::next_version(0, now) - 1;
        VisitorView::absent(key, now, version).snapshot()
    }
}
