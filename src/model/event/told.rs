//! Which events a session's word, and a change of settings, become. Pure functions; the hub adds ids and
//! time.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::{
    Accepted, Actor, Asking, Created, Ended, Offered, ReceiptRef, Relayed, SettingsChanged, Shows, What,
};
use crate::ids::{AgentId, ConnectionId, ParticipantId, VisitorId};
use crate::model::session::{EndReason, Happened, Person};
use crate::model::settings::Settings;
use crate::wire::agent::RequestState;
use crate::wire::session::{Role, Side};
use crate::wire::visitor::{SessionKind, TermsShown};

/// What stays the same for a session's whole life.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// Whose screen, and how.
    pub kind: SessionKind,
    /// The visitor, where it is one's screen.
    pub visitor: Option<&'a VisitorId>,
    /// The guest, where it is one's screen.
    pub guest: Option<ParticipantId>,
    /// The agent that asked first.
    pub asker: &'a AgentId,
    /// What the visitor was asked, where anybody was.
    pub terms: Option<&'a TermsShown>,
    /// Whether control may be asked for.
    pub control: bool,
}

/// What only others than the session know, at the moment of its word.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// Agents that ask or watch.
    pub agents: Vec<AgentId>,
    /// The receipt of an acceptance.
    pub receipt: Option<ReceiptRef>,
    /// What was relayed so far.
    pub relayed: Relayed,
}

/// The events that a session's word becomes, in order, each with who did it.
///
/// A session's first word yields `session.created`, its last one `session.ended` and `record.logged`; both
/// come exactly once, whatever the session's fate.
pub fn events(happened: &Happened, subject: &Subject<'_>, around: Around) -> SmallVec<[(Actor, What); 3]> {
    let asker = || Actor::Agent(subject.asker.clone());
    // Whose screen it is: without a visitor or guest it is the agent's own.
    let sharer = || match (subject.visitor, subject.guest) {
        (Some(visitor), _) => Actor::Visitor(visitor.clone()),
        (None, Some(guest)) => Actor::Guest(guest),
        (None, None) => asker(),
    };
    let created = || {
        What::Created(Created {
            kind: subject.kind,
            visitor: subject.visitor.cloned(),
            agent: Some(subject.asker.clone()),
        })
    };
    match happened {
        Happened::Offered => {
            let offered = Offered {
                required: subject.terms.is_some_and(|terms| terms.required),
                version: subject.terms.map(|terms| terms.version.clone()).unwrap_or_default(),
                control: subject.control,
            };
            smallvec![(asker(), created()), (asker(), What::Offered(offered))]
        }
        Happened::Opened => smallvec![(asker(), created()), (Actor::Server, What::Waiting)],
        Happened::Displayed => smallvec![(sharer(), What::Displayed)],
        Happened::Accepted(accepted) => {
            let actor = if accepted.version.is_some() { sharer() } else { Actor::Server };
            let accepted = Accepted {
                version: accepted.version.clone(),
                receipt: around.receipt,
                connection: accepted.by.map(named),
                agents: accepted.agents.clone(),
            };
            smallvec![(actor, What::Accepted(accepted)), (Actor::Server, What::Waiting)]
        }
        Happened::Refused(state, by) => {
            let asking = Asking { agents: around.agents, connection: by.map(named) };
            let (actor, what, reason) = match state {
                RequestState::Declined => (sharer(), What::Declined(asking), EndReason::Declined),
                RequestState::Cancelled => (asker(), What::Cancelled(asking), EndReason::Cancelled),
                RequestState::Expired => (Actor::Server, What::Expired(asking), EndReason::Expired),
                RequestState::VisitorGone => (sharer(), What::VisitorGone(asking), EndReason::VisitorGone),
                _ => (Actor::Server, What::Failed(asking), EndReason::Failed),
            };
            let mut told = smallvec![(actor.clone(), what)];
            told.extend(end(actor, reason, around.relayed));
            told
        }
        Happened::Started => smallvec![(sharer(), What::Started)],
        Happened::Joined(person) => smallvec![(who(person, subject), What::Joined(person.clone()))],
        Happened::Left(person) => smallvec![(who(person, subject), What::Left(person.clone()))],
        Happened::Paused => smallvec![(sharer(), What::Paused)],
        Happened::Resumed => smallvec![(sharer(), What::Resumed)],
        Happened::ControlGranted(person) => smallvec![(sharer(), What::ControlGranted(person.clone()))],
        Happened::ControlRevoked => smallvec![(Actor::Server, What::ControlRevoked)],
        // It is the same session, and consent was given by the browser's own picker: no receipt, but told.
        Happened::Shows(kind) => smallvec![(sharer(), What::Shows(Shows { kind: *kind }))],
        // Counted, not told: an agent's client may send many in a second.
        Happened::InputRefused => SmallVec::new(),
        // An agent's face is nothing of the visitor's: no consent, record or feed tells of it.
        Happened::CameraStarted(_) | Happened::CameraStopped => SmallVec::new(),
        Happened::Ended(reason) => {
            let actor = match reason {
                EndReason::GuestEnded
                | EndReason::GuestLeft
                | EndReason::CaptureDenied
                | EndReason::Failed
                | EndReason::Declined
                | EndReason::VisitorGone => sharer(),
                EndReason::AgentEnded | EndReason::AgentLeft | EndReason::Cancelled => asker(),
                EndReason::OperatorEnded => Actor::Operator,
                EndReason::Expired | EndReason::TimeLimit | EndReason::Drained | EndReason::NodeLost => {
                    Actor::Server
                }
            };
            end(actor, *reason, around.relayed)
        }
    }
}

/// The event of a change of settings. Before a group's first settings every one of them is new.
pub fn settings(before: Option<&Settings>, after: &Settings, version: u64) -> What {
    let fields = |settings: &Settings| match serde_json::to_value(settings) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (before.map(fields).unwrap_or_default(), fields(after));
    let gone = before.keys().filter(|name| !after.contains_key(*name)).cloned();
    let other = after.iter().filter(|(name, value)| before.get(*name) != Some(*value));
    let mut fields: Vec<String> = other.map(|(name, _)| name.clone()).chain(gone).collect();
    fields.sort_unstable();
    What::SettingsChanged(SettingsChanged { version, fields })
}

fn named(connection: ConnectionId) -> Arc<str> {
    Arc::from(connection.to_string())
}

fn end(actor: Actor, reason: EndReason, relayed: Relayed) -> SmallVec<[(Actor, What); 3]> {
    smallvec![(actor, What::Ended(Ended { reason, relayed })), (Actor::Server, What::RecordLogged)]
}

fn who(person: &Person, subject: &Subject<'_>) -> Actor {
    match (person.side, &person.agent) {
        (_, Some(agent)) => Actor::Agent(agent.clone()),
        (Side::Guest, None) => match subject.visitor {
            Some(visitor) if person.role == Role::Publisher => Actor::Visitor(visitor.clone()),
            _ => Actor::Guest(person.participant),
        },
        (Side::Agent, None) => Actor::Server,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use crate::model::event::{Kind, samples};
    use crate::model::session;

    fn told(happened: &Happened) -> Vec<Kind> {
        let (visitor, asker) = (VisitorId::new("C-1").unwrap(), AgentId::new("alice").unwrap());
        let terms = TermsShown { required: true, version: "v".into(), text: None, url: None };
        let subject = Subject {
            kind: SessionKind::Screen,
            visitor: Some(&visitor),
            guest: None,
            asker: &asker,
            terms: Some(&terms),
            control: false,
        };
        events(happened, &subject, Around::default()).iter().map(|(_, what)| what.kind()).collect()
    }

    #[test]
    fn a_change_of_settings_names_what_changed() {
        let before = Settings::default();
        let mut after = Settings { show_terms: !before.show_terms, ..before.clone() };
        after.join_starts = Some(SessionKind::Screen);
        let fields = |before, after: &Settings| match settings(before, after, 2) {
            What::SettingsChanged(changed) => changed.fields,
            other => panic!("{other:?}"),
        };
        assert_eq!(fields(Some(&before), &after), ["joinStarts", "showTerms"]);
        assert_eq!(fields(Some(&after), &before), ["joinStarts", "showTerms"]);
        assert!(fields(Some(&after), &after).is_empty());
        assert!(fields(None, &after).len() > 10);
    }

    #[test]
    fn each_word_becomes_its_events() {
        let accepted = session::Accepted {
            version: None,
            displayed: None,
            by: None,
            guest: None,
            at: Wall(1),
            asked_by: "Alice".into(),
            agents: Vec::new(),
        };
        let over = [Kind::Ended, Kind::RecordLogged];
        let cases = [
            (Happened::Offered, vec![Kind::Created, Kind::Offered]),
            (Happened::Opened, vec![Kind::Created, Kind::Waiting]),
            (Happened::Displayed, vec![Kind::Displayed]),
            (Happened::Accepted(accepted), vec![Kind::Accepted, Kind::Waiting]),
            (Happened::Started, vec![Kind::Started]),
            (Happened::Joined(samples::person(1)), vec![Kind::Joined]),
            (Happened::Left(samples::person(1)), vec![Kind::Left]),
            (Happened::Paused, vec![Kind::Paused]),
            (Happened::Resumed, vec![Kind::Resumed]),
            (Happened::ControlGranted(samples::person(1)), vec![Kind::ControlGranted]),
            (Happened::ControlRevoked, vec![Kind::ControlRevoked]),
            (Happened::Shows(SessionKind::Screen), vec![Kind::Shows]),
            (Happened::InputRefused, vec![]),
            (Happened::CameraStarted(samples::person(1)), vec![]),
            (Happened::CameraStopped, vec![]),
            (Happened::Ended(EndReason::TimeLimit), over.to_vec()),
        ];
        for (happened, kinds) in cases {
            assert_eq!(told(&happened), kinds, "{happened:?}");
        }
        for (state, kind) in [
            (RequestState::Declined, Kind::Declined),
            (RequestState::Cancelled, Kind::Cancelled),
            (RequestState::Expired, Kind::Expired),
            (RequestState::VisitorGone, Kind::VisitorGone),
            (RequestState::Failed, Kind::Failed),
        ] {
            assert_eq!(told(&Happened::Refused(state, None)), [&[kind], &over[..]].concat(), "{state:?}");
        }
    }
}
