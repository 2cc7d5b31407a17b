//! The hub whose agents and operators are told of visitors elsewhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::Hub;
use super::super::tracker::Forgotten;
use super::reread::{is_read, reread, reread_all};
use super::{Elsewhere, Near};
use crate::clock::Wall;
use crate::cluster::{Directory, DirectoryError, Hint, NodeId, PresenceSource};
use crate::ids::{GroupId, VisitorId, VisitorKey};
use crate::model::codes::Code;
use crate::model::presence::Input;
use crate::model::visitor::Snapshot;
use crate::wire::close::{Close, CloseCode};
use crate::wire::message::Text;
use crate::wire::visitor::ToVisitor;

impl Near for Hub {
    fn elsewhere(&self) -> &Elsewhere {
        &self.elsewhere
    }

    fn directory(&self) -> &Arc<dyn Directory> {
        &self.directory
    }

    fn node(&self) -> NodeId {
        self.node
    }

    fn wall(&self) -> Wall {
        self.clock.now().wall
    }

    fn is_here(&self, key: &VisitorKey) -> bool {
        self.tracker.look(key, |_| ()).is_some()
    }

    fn is_arriving(&self, key: &VisitorKey) -> bool {
        Self::is_arriving(self, key)
    }

    fn own(&self, key: &VisitorKey) -> Option<Snapshot> {
        self.tracker.snapshot(key)
    }

    fn is_watched(&self, key: &VisitorKey) -> bool {
        self.watchers.has_any(key) || self.operators.concern(key)
    }

    fn is_named(&self, key: &VisitorKey) -> bool {
        self.watchers.is_named(key) || self.operators.is_named(key)
    }

    fn named(&self, group: &GroupId) -> BTreeSet<VisitorId> {
        self.watchers.named(group).into_iter().chain(self.operators.named(group)).collect()
    }

    fn has_whole(&self, group: &GroupId) -> bool {
        self.watchers.has_live(group) || self.operators.has_whole(group)
    }

    fn wanted(&self) -> BTreeSet<GroupId> {
        let mut groups: BTreeSet<GroupId> = self.watchers.groups().into_iter().collect();
        groups.extend(self.operators.groups());
        groups.extend(self.operators.session_groups());
        groups
    }

    fn is_leaving(&self, key: &VisitorKey) -> bool {
        self.is_draining() && self.sessions.of_visitor(key).is_none()
    }

    fn forget(self: &Arc<Self>, key: &VisitorKey) {
        Self::forget(self, key);
    }

    fn tell_here(self: &Arc<Self>, word: &Arc<Snapshot>) {
        Self::tell_here(self, word);
    }

    async fn rereads(self: &Arc<Self>, group: &GroupId) -> bool {
        self.meters.rereads.increment(1);
        !self.operators.has_sessions(group) || is_read(group, self.read_far_sessions(group).await)
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }
}

impl Hub {
    /// What the directory says.
    pub(in crate::hub) fn hear(self: &Arc<Self>, hint: Hint) {
        match hint {
            Hint::Visitor(word) => super::hear(self, &word),
            Hint::Reread(Some(group)) => reread(self, [group]),
            Hint::Reread(None) | Hint::Back => reread_all(self),
            Hint::Displaced(key) => super::displaced(self, key),
            Hint::Raise(key, above) => {
                self.presence(&key, Input::Raised { above });
            }
            Hint::ToldAs(key, version) => {
                self.presence(&key, Input::ToldAs { version });
            }
            Hint::Term(epoch) => self.begin_term(epoch),
            Hint::NodeGone(node) => self.wires_lost(node),
            Hint::Session(group, session) => self.hear_of_session(group, session),
            Hint::Message(key, message) => self.message_of(&key, &Text::from_bytes(message)),
            Hint::Away(since) => super::all_unknown(self, since),
        }
    }

    /// Whether anybody here wants to hear of a visitor.
    pub(in crate::hub) fn is_watched(&self, key: &VisitorKey) -> bool {
        Near::is_watched(self, key)
    }

    /// Visitors as the agents of a group are told, in the order asked.
    pub async fn lookup(self: &Arc<Self>, group: &GroupId, visitors: &[VisitorId]) -> Vec<Arc<Snapshot>> {
        super::lookup(self, group, visitors).await
    }

    /// Every visitor of a group, on all nodes.
    pub async fn all_visitors(
        self: &Arc<Self>,
        group: &GroupId,
    ) -> Result<Vec<Arc<Snapshot>>, DirectoryError> {
        let mut all = super::list_elsewhere(self, group).await?;
        all.extend(PresenceSource::snapshots(&**self, group));
        Ok(all)
    }

    /// Every visitor of a group that is on other nodes only; where those cannot be asked, what is known of them.
    pub(in crate::hub) async fn known_elsewhere(self: &Arc<Self>, group: &GroupId) -> Vec<Arc<Snapshot>> {
        super::known_elsewhere(self, group).await
    }

    /// The visitors of other nodes who have this code. Where somebody here looks at the group's live list they are
    /// known, and nothing is read.
    pub(in crate::hub) async fn coded_elsewhere(
        self: &Arc<Self>,
        group: &GroupId,
        code: Code,
    ) -> Result<Vec<VisitorId>, DirectoryError> {
        let all = if self.watchers.has_live(group) {
            self.elsewhere.all(group)
        } else {
            super::list_elsewhere(self, group).await?
        };
        let has_it =
            |word: &&Arc<Snapshot>| word.view().code == Some(code) && !Near::is_here(&**self, word.key());
        Ok(all.iter().filter(has_it).map(|word| word.key().visitor.clone()).collect())
    }

    /// Reads what is watched of these groups again.
    pub(in crate::hub) fn reread(self: &Arc<Self>, groups: impl IntoIterator<Item = GroupId>) {
        reread(self, groups);
    }

    /// Forgets what nobody wants to hear of any more.
    pub(in crate::hub) fn tidy_elsewhere(&self) {
        self.tidy_far_sessions();
        super::tidy(self);
    }

    /// Another node speaks for a visitor: its tabs here come back through the claim, and this node forgets it
    /// without a word, since it has not gone.
    fn forget(self: &Arc<Self>, key: &VisitorKey) {
        if let Some(Forgotten { last, connections, held }) = self.tracker.forget(key) {
            tracing::info!(group = %key.group, "a visitor has its home on another node");
            let reconnect = Text::of(&ToVisitor::Reconnect { after_ms: 0, reason: CloseCode::Drain.name() });
            for tab in connections.into_iter().filter_map(|connection| self.registry.get(connection)) {
                tab.outbox.push(reconnect.clone());
                tab.outbox.close(Close::new(CloseCode::Drain, "this visitor is served elsewhere"));
            }
            self.forget_code(key);
            if self.is_watched(key) {
                self.elsewhere.note(&Arc::new(last));
            }
            if !held.is_empty() {
                self.forwards.spawn_on(Arc::clone(self).forward(key.clone(), held), &self.runtime);
            }
        }
    }
}
