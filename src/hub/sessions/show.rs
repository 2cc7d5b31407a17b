//! Sessions that an agent opens to show its own screen.

use std::sync::Arc;

use super::{About, LiveSession};
use crate::auth::random;
use crate::hub::{Hub, SystemChance};
use crate::ids::{GroupId, RequestId, SessionId};
use crate::model::lead::Guest;
use crate::model::session::{Asker, HostTicket, Session, Showing};
use crate::wire::agent::Record;
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::visitor::SessionKind;

/// What an agent shows of its own.
#[derive(Debug)]
pub(in crate::hub) struct Showcase {
    /// Where.
    pub(in crate::hub) group: GroupId,
    /// The CRM record that it is shown for.
    pub(in crate::hub) record: Option<Record>,
    /// Whether the session is to become events and a record.
    pub(in crate::hub) logged: bool,
    /// What guests read above it.
    pub(in crate::hub) title: Option<Arc<str>>,
}

/// A session of an agent's own screen, and what leads into it.
#[derive(Debug)]
pub(in crate::hub) struct Shown {
    /// The session.
    pub(in crate::hub) session: Arc<LiveSession>,
    /// What its host attaches with.
    pub(in crate::hub) ticket: HostTicket,
    /// What guests type.
    pub(in crate::hub) key: String,
    /// What stands in the link for guests.
    pub(in crate::hub) invite: String,
}

impl Hub {
    /// An agent shows its own screen: its session is open at once.
    pub(in crate::hub) fn show(self: &Arc<Self>, show: Showcase, host: Asker) -> Result<Shown, Refusal> {
        self.has_room()?;
        let (id, request) = (SessionId::fresh(), RequestId::fresh());
        let Showcase { group, record, logged, title } = show;
        let asker = (host.agent.clone(), Arc::clone(&host.name));
        let key = self.session_keys.lock().issue(id, self.limits.guest_key_digits, random::digits);
        let key = key.ok_or_else(|| Refusal::new(ErrorCode::TooMany, "the node has no session key left"))?;
        let showing = Showing { session: id, request, host, limits: Arc::clone(&self.limits) };
        let mut out = Vec::new();
        let (machine, ticket) = Session::show(showing, self.clock.now(), &mut SystemChance, &mut out);
        let about = About {
            id,
            request,
            group,
            visitor: None,
            kind: SessionKind::Show,
            terms: None,
            control: false,
            record,
            asker,
            logged,
            title,
        };
        let session = self.live(about, machine, out);
        let invite = session.invites.lock().make(id, Guest::default()).expect("there is none yet");
        self.sessions.list_open(&session);
        self.drive_with(&session, |_, _| ());
        self.operators.tell_session(&session);
        Ok(Shown { session, ticket, key, invite })
    }
}
