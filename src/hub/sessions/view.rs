//! Sessions in which agents wait for a guest's screen.

use std::sync::Arc;

use super::{About, Begun, DrawnKey, LiveSession, Sessions};
use crate::clock::Wall;
use crate::hub::{Hub, SystemChance};
use crate::ids::{AgentId, GroupId, RequestId};
use crate::model::request::Question;
use crate::model::session::{Asker, Session, Setup};
use crate::telemetry::Parent;
use crate::wire::agent::Record;
use crate::wire::error::Refusal;
use crate::wire::visitor::{SessionKind, TermsShown};

/// What an agent wants to see of a guest.
#[derive(Debug)]
pub(in crate::hub) struct Wanted {
    /// Where.
    pub(in crate::hub) group: GroupId,
    /// The CRM record that it is for.
    pub(in crate::hub) record: Option<Record>,
    /// Whether the session is to become events and a record.
    pub(in crate::hub) logged: bool,
    /// What the guest is asked.
    pub(in crate::hub) terms: TermsShown,
    /// Whether control may be asked for.
    pub(in crate::hub) control: bool,
    /// The agent's span that this belongs to.
    pub(in crate::hub) trace: Option<Parent>,
}

/// A session that waits for its guest, and what leads into it.
#[derive(Debug)]
pub(in crate::hub) struct Awaited {
    /// The session.
    pub(in crate::hub) session: Arc<LiveSession>,
    /// What the guest types; none while nobody can say which keys other nodes gave out.
    pub(in crate::hub) key: Option<String>,
    /// What stands in the link for the guest.
    pub(in crate::hub) invite: String,
    /// Until when it waits.
    pub(in crate::hub) expires_at: Wall,
}

impl Sessions {
    /// How many sessions of a kind an agent has opened that have not ended.
    pub(in crate::hub) fn opened_by(&self, group: &GroupId, agent: &AgentId, kind: SessionKind) -> usize {
        let its = |session: &LiveSession| {
            session.kind == kind && session.group == *group && session.asker == *agent
        };
        self.open.iter().filter(|entry| its(entry.value())).count()
    }
}

impl Hub {
    /// An agent waits for a guest's screen.
    pub(in crate::hub) fn await_guest(
        self: &Arc<Self>,
        wanted: Wanted,
        asker: Asker,
        key: DrawnKey,
    ) -> Result<Awaited, Refusal> {
        self.has_room()?;
        let (id, request) = (key.session, RequestId::fresh());
        let Wanted { group, record, logged, terms, control, trace } = wanted;
        let kind = SessionKind::View;
        let first = (asker.agent.clone(), Arc::clone(&asker.name));
        let deadline = self.limits.waiting;
        let question = Question { request, session: id, terms: terms.clone(), deadline };
        let limits = Arc::clone(&self.limits);
        let setup = Setup { kind, visitor: None, question, asker, control, focus: None, limits };
        let (now, mut out) = (self.clock.now(), Vec::new());
        let machine = Session::start(setup, now, &mut SystemChance, &mut out);
        let about = About {
            id,
            request,
            group,
            visitor: None,
            kind,
            terms: Some(terms),
            control,
            record,
            asker: first,
            logged,
            title: None,
            trace: Begun::ByAgent(trace),
        };
        let session = self.live(about, machine, out);
        let (invite, key) = self.opened(&session, key);
        Ok(Awaited { session, key, invite, expires_at: now.after(deadline).wall })
    }
}
