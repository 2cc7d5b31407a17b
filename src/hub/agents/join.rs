//! Join: which visitor or session an agent wants to see, and whether it may.

use std::sync::Arc;

use super::{AgentSeat, unsupported};
use crate::cluster::post::JoinFacts;
use crate::hub::accounts::Group;
use crate::hub::sessions::Wish;
use crate::hub::watch::RecordWatch;
use crate::ids::{SessionId, VisitorId, VisitorKey};
use crate::model::buttons;
use crate::model::session::Asker;
use crate::model::settings::{ObjectButtons, Profile};
use crate::model::visitor::State;
use crate::telemetry::Parent;
use crate::wire::agent::{Join, Record};
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::message::Text;
use crate::wire::visitor::SessionKind;

impl AgentSeat {
    /// The checks of every button press, whatever the page showed: for Join presence is on, the agent holds the
    /// permission, its profile has the button, and so has the record's object where there is a record.
    pub(super) fn may_press(&self, group: &Group, press: Press, object: Option<&str>) -> Result<(), Refusal> {
        let settings = &group.settings;
        let forbidden = |reason: buttons::Reason| Refusal::new(ErrorCode::Forbidden, reason.message());
        if press == Press::Join && !settings.presence_enabled {
            let message = buttons::Reason::PresenceDisabled.message();
            return Err(Refusal::new(ErrorCode::PresenceDisabled, message));
        }
        if !settings.permissions_of(&self.identity.agent).user {
            return Err(forbidden(buttons::Reason::NoPermission));
        }
        let profile = self.hub.profile_of(&self.me());
        match profile.as_deref().and_then(|name| settings.profile(name)) {
            None => return Err(forbidden(buttons::Reason::NoProfile)),
            Some(profile) if !press.in_profile(profile) => {
                return Err(forbidden(buttons::Reason::OffForProfile));
            }
            Some(_) => {}
        }
        match object.map(|name| settings.object(name)) {
            Some(None) => Err(forbidden(buttons::Reason::NoObject)),
            Some(Some(object)) if !press.on_object(object) => Err(forbidden(buttons::Reason::OffForObject)),
            _ => Ok(()),
        }
    }

    pub(super) fn may_help(&self) -> Result<(), Refusal> {
        if self.group()?.settings.permissions_of(&self.identity.agent).user {
            Ok(())
        } else {
            Err(Refusal::new(ErrorCode::Forbidden, buttons::Reason::NoPermission.message()))
        }
    }

    pub(super) async fn join(
        &mut self,
        join: Join,
        id: Option<u64>,
        text: &str,
    ) -> Result<Option<Text>, Refusal> {
        let group = self.group()?;
        let (whom, object) = self.whom(&group, &join)?;
        self.may_press(&group, whom.press(), object.as_deref())?;
        let kind = self.kind_of(&group, join.kind)?;
        let asker = self.asker();
        let trace = join.traceparent.as_deref().and_then(Parent::parse);
        let visitor = match whom {
            Whom::Session(wanted, _) => {
                let (session, state) = self.hub.ask_into(&group.id, wanted, asker, trace)?;
                self.asked.insert(session.id);
                return Ok(Some(self.hub.request_text(&session, state, id, Some(&self.me()))));
            }
            Whom::Visitor(visitor) => visitor,
        };
        let record = self.record_of(&join, &visitor);
        let logged = record.is_some() || group.settings.log_sessions_outside_crm;
        // Sessions live where their visitor is connected.
        let key = self.key(&visitor);
        if self.is_here(&key) {
            return self.join_here(&group, key, kind, &join, record, logged, id).map(Some);
        }
        match self.hub.visitor_elsewhere(&key).await {
            Some(node) => {
                let facts = JoinFacts { visitor: Some(visitor), record, logged, follows: false };
                self.pass_on(node, text, id, facts).map(|()| None)
            }
            None => Err(not_present()),
        }
    }

    /// Joins a visitor of another node's agent, who pressed the button there and may.
    pub(super) fn join_far(
        &mut self,
        join: &Join,
        facts: JoinFacts,
        id: Option<u64>,
    ) -> Result<Text, Refusal> {
        let group = self.group()?;
        let JoinFacts { visitor, record, logged, follows: _ } = facts;
        let trace = join.traceparent.as_deref().and_then(Parent::parse);
        match (visitor, join.session_id) {
            (Some(visitor), None) => {
                let kind = self.kind_of(&group, join.kind)?;
                let key = self.key(&visitor);
                if !self.is_here(&key) {
                    return Err(not_present());
                }
                self.join_here(&group, key, kind, join, record, logged, id)
            }
            (None, Some(_)) => {
                let (whom, object) = self.whom(&group, join)?;
                self.may_press(&group, whom.press(), object.as_deref())?;
                let Whom::Session(wanted, _) = whom else {
                    return Err(Refusal::not_found("session"));
                };
                let (session, state) = self.hub.ask_into(&group.id, wanted, self.asker(), trace)?;
                self.asked.insert(session.id);
                Ok(self.hub.request_text(&session, state, id, Some(&self.me())))
            }
            _ => Err(Refusal::new(ErrorCode::BadMessage, "another node asked for nobody")),
        }
    }

    /// What a Join shares: what it asks for, or else what the group's settings say.
    fn kind_of(&self, group: &Group, wanted: Option<SessionKind>) -> Result<SessionKind, Refusal> {
        match wanted {
            None => Ok(group.settings.join_kind(self.hub.cobrowse)),
            Some(SessionKind::Screen) => Ok(SessionKind::Screen),
            Some(SessionKind::Cobrowse) if self.hub.cobrowse => Ok(SessionKind::Cobrowse),
            Some(SessionKind::Cobrowse) => Err(unsupported("cobrowse, which this server was built without,")),
            Some(_) => Err(unsupported("joining in this kind of session")),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what a wish consists of")]
    fn join_here(
        &mut self,
        group: &Group,
        key: VisitorKey,
        kind: SessionKind,
        join: &Join,
        record: Option<Record>,
        logged: bool,
        id: Option<u64>,
    ) -> Result<Text, Refusal> {
        let (control, trace) = (join.control, join.traceparent.as_deref().and_then(Parent::parse));
        let terms = group.settings.terms_shown();
        let deadline = group.settings.offer_deadline();
        let wish = Wish { key, kind, control, terms, deadline, record, logged, trace };
        let (session, state) = self.hub.ask(wish, self.asker())?;
        self.asked.insert(session.id);
        Ok(self.hub.request_text(&session, state, id, Some(&self.me())))
    }

    /// Whether a visitor is on this node, or its session is.
    pub(super) fn is_here(&self, key: &VisitorKey) -> bool {
        let state = || self.hub.tracker.look(key, |presence| presence.state());
        self.hub.sessions.of_visitor(key).is_some() || state().is_some_and(|state| state != State::Absent)
    }

    /// This agent, at this connection.
    pub(super) fn asker(&self) -> Asker {
        Asker {
            connection: self.connection.id,
            agent: self.identity.agent.clone(),
            name: Arc::clone(&self.identity.name),
        }
    }

    /// The record on the agent's screen as it presses Join: the one it names, or else one that is open and
    /// leads to this visitor.
    fn record_of(&self, join: &Join, visitor: &VisitorId) -> Option<Record> {
        if let Some(record) = &join.record {
            let open = self.records.get(&(record.object.clone(), record.id.clone()))?;
            return Some(open.open.record.clone());
        }
        let leads_there = |open: &&Arc<RecordWatch>| open.visitor.lock().as_ref() == Some(visitor);
        let open = self.records.values().filter(leads_there).map(|open| &open.open.record);
        open.min_by_key(|record| (&record.object, &record.id)).cloned()
    }

    /// Whom, and the object of the record that led there.
    fn whom(&self, group: &Group, join: &Join) -> Result<(Whom, Option<Box<str>>), Refusal> {
        match (&join.visitor_id, &join.record, &join.session_key, &join.session_id) {
            (Some(visitor), record, None, None) => {
                // A record beside the visitor is the one that the key was typed for.
                let record = record.as_ref().map(|record| self.open(record)).transpose()?;
                let object = record.map(|record| record.open.record.object.clone());
                Ok((Whom::Visitor(visitor.clone()), object))
            }
            (None, Some(record), None, None) => {
                let open = self.open(record)?;
                let visitor = buttons::visitor_of(&group.settings, &open.open)
                    .map_err(|reason| Refusal::new(ErrorCode::BadValue, reason.message()))?;
                Ok((Whom::Visitor(visitor), Some(record.object.clone())))
            }
            (None, None, None, Some(session)) => {
                let running = self.hub.sessions.get(&group.id, *session);
                let running = running.filter(|session| session.view().ended.is_none());
                let running = running.ok_or_else(|| Refusal::not_found("session"))?;
                // Who waits for a guest comes back to that after its page was loaded again.
                let own = running.kind == SessionKind::View && running.asker == self.identity.agent;
                let press = match running.visitor {
                    Some(_) => Press::Join,
                    None if own => Press::View,
                    None => Press::Watch,
                };
                Ok((Whom::Session(*session, press), None))
            }
            _ => Err(Refusal::new(
                ErrorCode::BadMessage,
                "join takes one of visitorId, record, sessionKey and sessionId",
            )),
        }
    }

    /// The record as it is open on this agent's page.
    pub(super) fn open(&self, record: &Record) -> Result<&Arc<RecordWatch>, Refusal> {
        let open = self.records.get(&(record.object.clone(), record.id.clone()));
        open.ok_or_else(|| Refusal::new(ErrorCode::WrongState, "open the record first"))
    }
}

fn not_present() -> Refusal {
    Refusal::new(ErrorCode::VisitorNotPresent, "the visitor is not here")
}

/// Whom an agent wants to see.
enum Whom {
    /// This visitor.
    Visitor(VisitorId),
    /// Whoever shows something in this session, and by which button.
    Session(SessionId, Press),
}

impl Whom {
    /// The button that leads there.
    const fn press(&self) -> Press {
        match self {
            Self::Visitor(_) => Press::Join,
            Self::Session(_, press) => *press,
        }
    }
}

/// A button that an agent presses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Press {
    /// Join: see a visitor's screen.
    Join,
    /// Come into a colleague's screen share, by the switch of Join; no visitor need be tracked for it.
    Watch,
    /// Show the agent's own screen.
    Show,
    /// Wait for a guest's screen.
    View,
}

impl Press {
    const fn in_profile(self, profile: &Profile) -> bool {
        match self {
            Self::Join | Self::Watch => profile.join,
            Self::Show => profile.show,
            Self::View => profile.view,
        }
    }

    const fn on_object(self, object: &ObjectButtons) -> bool {
        match self {
            Self::Join | Self::Watch => object.join,
            Self::Show => object.show,
            Self::View => object.view,
        }
    }
}
