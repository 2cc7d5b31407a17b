//! An event as others read it: `porchlight.v1.SessionEvent`, to and fro.
//!
//! Used wherever an event leaves the server, and by stores that others read from. What a newer server wrote
//! and this one has no name for is not read.

use std::sync::Arc;

use prost_types::Timestamp;

use crate::clock::Wall;
use crate::ids::{
    AgentId, BadId, EventId, GroupId, KeyId, ParticipantId, ReceiptId, RequestId, SessionId, VisitorId,
};
use crate::model::event::{
    Accepted, Actor, Asking, AuthRefused, Created, Door, Ended, Event, Kind, Lead, Logged, Offered, Post,
    ReceiptRef, Relayed, SettingsChanged, Shows, Sync, What,
};
use crate::model::session::{EndReason, Person};
use crate::pb::v1;
use crate::pb::v1::session_event::Details;
use crate::wire::agent::Record;
use crate::wire::session::{Role, Side};
use crate::wire::visitor::SessionKind;

/// Why a message is no event of this server's.
#[derive(Debug, thiserror::Error)]
pub enum NotAnEvent {
    /// A name that is none.
    #[error(transparent)]
    Id(#[from] BadId),
    /// A field that is missing, or has a value that this server does not know.
    #[error("{0} is missing or unknown")]
    Field(&'static str),
}

/// Kinds with their numbers on the wire.
const KINDS: &[(Kind, v1::EventKind)] = &[
    (Kind::Offered, v1::EventKind::RequestOffered),
    (Kind::Displayed, v1::EventKind::RequestDisplayed),
    (Kind::Accepted, v1::EventKind::RequestAccepted),
    (Kind::Declined, v1::EventKind::RequestDeclined),
    (Kind::Cancelled, v1::EventKind::RequestCancelled),
    (Kind::Expired, v1::EventKind::RequestExpired),
    (Kind::VisitorGone, v1::EventKind::RequestVisitorGone),
    (Kind::Failed, v1::EventKind::RequestFailed),
    (Kind::Created, v1::EventKind::SessionCreated),
    (Kind::Waiting, v1::EventKind::SessionWaiting),
    (Kind::Started, v1::EventKind::SessionStarted),
    (Kind::Joined, v1::EventKind::SessionJoined),
    (Kind::Left, v1::EventKind::SessionLeft),
    (Kind::Paused, v1::EventKind::SessionPaused),
    (Kind::Resumed, v1::EventKind::SessionResumed),
    (Kind::ControlGranted, v1::EventKind::SessionControlGranted),
    (Kind::ControlRevoked, v1::EventKind::SessionControlRevoked),
    (Kind::Shows, v1::EventKind::SessionShows),
    (Kind::Ended, v1::EventKind::SessionEnded),
    (Kind::FeedPosted, v1::EventKind::FeedPosted),
    (Kind::LeadCreated, v1::EventKind::LeadCreated),
    (Kind::RecordLogged, v1::EventKind::RecordLogged),
    (Kind::SyncStarted, v1::EventKind::SyncStarted),
    (Kind::SyncFinished, v1::EventKind::SyncFinished),
    (Kind::SyncFailed, v1::EventKind::SyncFailed),
    (Kind::SettingsChanged, v1::EventKind::SettingsChanged),
    (Kind::AuthRefused, v1::EventKind::AuthRefused),
];

/// The number of a kind on the wire.
pub fn kind_number(kind: Kind) -> v1::EventKind {
    KINDS.iter().find(|(known, _)| *known == kind).map_or(v1::EventKind::Unspecified, |(_, number)| *number)
}

/// The kind of a number on the wire; none for one that this server does not know.
pub fn kind_of(number: v1::EventKind) -> Option<Kind> {
    KINDS.iter().find(|(_, known)| *known == number).map(|(kind, _)| *kind)
}

/// The event as others read it.
pub fn encode(logged: &Logged) -> v1::SessionEvent {
    let event = &logged.event;
    v1::SessionEvent {
        id: event.id.to_string(),
        sequence: logged.sequence,
        group: event.group.to_string(),
        time: Some(timestamp(event.at)),
        kind: kind_number(event.what.kind()).into(),
        session_id: event.session.map(|id| id.to_string()).unwrap_or_default(),
        request_id: event.request.map(|id| id.to_string()).unwrap_or_default(),
        actor: Some(actor(&event.actor)),
        record: event.record.as_ref().map(record_reference),
        details: details(&event.what),
    }
}

/// A moment as others read it.
pub(in crate::store) fn timestamp(at: Wall) -> Timestamp {
    Timestamp {
        seconds: i64::try_from(at.0 / 1000).unwrap_or(i64::MAX),
        nanos: (at.0 % 1000) as i32 * 1_000_000,
    }
}

/// A CRM record as others read it.
pub fn record_reference(record: &Record) -> v1::RecordReference {
    v1::RecordReference {
        object: record.object.to_string(),
        id: record.id.to_string(),
        name: record.name.as_deref().unwrap_or_default().to_owned(),
        url: record.url.as_deref().unwrap_or_default().to_owned(),
    }
}

/// Who did it, as others read it.
pub fn actor(actor: &Actor) -> v1::Actor {
    let (kind, id) = match actor {
        Actor::Server => (v1::ActorKind::Server, String::new()),
        Actor::Visitor(id) => (v1::ActorKind::Visitor, id.to_string()),
        Actor::Guest(id) => (v1::ActorKind::Guest, id.to_string()),
        Actor::Agent(id) => (v1::ActorKind::Agent, id.to_string()),
        Actor::Operator => (v1::ActorKind::Operator, String::new()),
        Actor::ApiKey(id) => (v1::ActorKind::ApiKey, id.to_string()),
    };
    v1::Actor { kind: kind.into(), id }
}

fn details(what: &What) -> Option<Details> {
    let ids = |agents: &[AgentId]| agents.iter().map(AgentId::to_string).collect();
    Some(match what {
        What::Offered(offered) => Details::Offered(v1::OfferedDetails {
            terms_required: offered.required,
            terms_version: offered.version.to_string(),
            control: offered.control,
        }),
        What::Accepted(accepted) => Details::Accepted(v1::AcceptedDetails {
            terms_required: accepted.version.is_some(),
            terms_version: accepted.version.as_deref().unwrap_or_default().to_owned(),
            receipt_id: accepted.receipt.map(|receipt| receipt.id.to_string()).unwrap_or_default(),
            receipt_number: accepted.receipt.map_or(0, |receipt| receipt.number),
            agent_ids: ids(&accepted.agents),
            connection_id: accepted.connection.as_deref().unwrap_or_default().to_owned(),
        }),
        What::Declined(asking)
        | What::Cancelled(asking)
        | What::Expired(asking)
        | What::VisitorGone(asking)
        | What::Failed(asking) => Details::Asking(v1::AskingDetails {
            agent_ids: ids(&asking.agents),
            connection_id: asking.connection.as_deref().unwrap_or_default().to_owned(),
        }),
        What::Created(created) => Details::Created(v1::CreatedDetails {
            kind: session_kind(created.kind).into(),
            visitor_id: created.visitor.as_ref().map(VisitorId::to_string).unwrap_or_default(),
            agent_id: created.agent.as_ref().map(AgentId::to_string).unwrap_or_default(),
        }),
        What::Joined(person) | What::Left(person) | What::ControlGranted(person) => {
            let role = match person.role {
                Role::Publisher => v1::ParticipantRole::Publisher,
                Role::Viewer => v1::ParticipantRole::Viewer,
            };
            Details::Person(v1::PersonDetails {
                participant_id: person.participant.to_string(),
                role: role.into(),
                agent_id: person.agent.as_ref().map(AgentId::to_string).unwrap_or_default(),
                name: person.name.to_string(),
            })
        }
        What::Shows(shows) => Details::Shows(v1::ShowsDetails { kind: session_kind(shows.kind).into() }),
        What::Ended(ended) => Details::Ended(v1::EndedDetails {
            reason: ended.reason.as_str().to_owned(),
            frames: ended.relayed.frames,
            bytes: ended.relayed.bytes,
        }),
        What::FeedPosted(post) => Details::Post(v1::PostDetails {
            post_id: post.post.clone(),
            text: post.text.clone(),
            link: post.link.clone().unwrap_or_default(),
            author: post.author.clone().unwrap_or_default(),
        }),
        What::LeadCreated(lead) => Details::Lead(v1::LeadDetails {
            lead_id: lead.lead.clone(),
            email: lead.email.clone(),
            name: lead.name.clone().unwrap_or_default(),
        }),
        What::SyncStarted(sync) | What::SyncFinished(sync) | What::SyncFailed(sync) => {
            Details::Sync(v1::SyncDetails {
                run_id: sync.run.clone(),
                sink_id: sync.sink.clone(),
                count: sync.count,
                error: sync.error.clone().unwrap_or_default(),
            })
        }
        What::SettingsChanged(changed) => Details::SettingsChanged(v1::SettingsChangedDetails {
            version: changed.version,
            fields: changed.fields.clone(),
        }),
        What::AuthRefused(refused) => Details::AuthRefused(v1::AuthRefusedDetails {
            door: refused.door.as_str().to_owned(),
            reason: refused.reason.clone(),
            untold: refused.untold,
        }),
        What::Displayed
        | What::Waiting
        | What::Started
        | What::Paused
        | What::Resumed
        | What::ControlRevoked
        | What::RecordLogged => return None,
    })
}

pub(in crate::store) fn session_kind(kind: SessionKind) -> v1::SessionKind {
    match kind {
        SessionKind::Cobrowse => v1::SessionKind::Cobrowse,
        SessionKind::Screen => v1::SessionKind::Screen,
        SessionKind::View => v1::SessionKind::View,
        SessionKind::Show => v1::SessionKind::Show,
    }
}

/// Reads an event.
pub fn decode(message: v1::SessionEvent) -> Result<Logged, NotAnEvent> {
    let time = message.time.ok_or(NotAnEvent::Field("time"))?;
    let kind = kind_of(message.kind()).ok_or(NotAnEvent::Field("kind"))?;
    let record = message.record.map(|record| Record {
        object: record.object.into(),
        id: record.id.into(),
        name: given(record.name).map(Into::into),
        url: given(record.url).map(Into::into),
    });
    let event = Event {
        id: EventId::parse(&message.id)?,
        group: GroupId::new(&message.group)?,
        at: Wall(time.seconds.unsigned_abs() * 1000 + u64::from(time.nanos.unsigned_abs()) / 1_000_000),
        session: optional(&message.session_id, SessionId::parse)?,
        request: optional(&message.request_id, RequestId::parse)?,
        actor: read_actor(&message.actor.ok_or(NotAnEvent::Field("actor"))?)?,
        record,
        what: what(kind, message.details)?,
    };
    Ok(Logged { sequence: message.sequence, event })
}

fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn optional<T>(text: &str, read: fn(&str) -> Result<T, BadId>) -> Result<Option<T>, BadId> {
    if text.is_empty() { Ok(None) } else { read(text).map(Some) }
}

fn read_actor(actor: &v1::Actor) -> Result<Actor, NotAnEvent> {
    Ok(match actor.kind() {
        v1::ActorKind::Server => Actor::Server,
        v1::ActorKind::Visitor => Actor::Visitor(VisitorId::new(&actor.id)?),
        v1::ActorKind::Guest => Actor::Guest(ParticipantId::parse(&actor.id)?),
        v1::ActorKind::Agent => Actor::Agent(AgentId::new(&actor.id)?),
        v1::ActorKind::Operator => Actor::Operator,
        v1::ActorKind::ApiKey => Actor::ApiKey(KeyId::new(&actor.id)?),
        v1::ActorKind::Unspecified => return Err(NotAnEvent::Field("actor")),
    })
}

fn read_session_kind(kind: v1::SessionKind) -> Result<SessionKind, NotAnEvent> {
    Ok(match kind {
        v1::SessionKind::Cobrowse => SessionKind::Cobrowse,
        v1::SessionKind::Screen => SessionKind::Screen,
        v1::SessionKind::View => SessionKind::View,
        v1::SessionKind::Show => SessionKind::Show,
        v1::SessionKind::Unspecified => return Err(NotAnEvent::Field("session kind")),
    })
}

fn what(kind: Kind, details: Option<Details>) -> Result<What, NotAnEvent> {
    let connection = |id: String| (!id.is_empty()).then(|| Arc::from(id));
    let agents = |ids: Vec<String>| ids.iter().map(|id| AgentId::new(id)).collect::<Result<Vec<_>, _>>();
    Ok(match (kind, details) {
        (Kind::Displayed, None) => What::Displayed,
        (Kind::Waiting, None) => What::Waiting,
        (Kind::Started, None) => What::Started,
        (Kind::Paused, None) => What::Paused,
        (Kind::Resumed, None) => What::Resumed,
        (Kind::ControlRevoked, None) => What::ControlRevoked,
        (Kind::RecordLogged, None) => What::RecordLogged,
        (Kind::Offered, Some(Details::Offered(offered))) => What::Offered(Offered {
            required: offered.terms_required,
            version: offered.terms_version.into(),
            control: offered.control,
        }),
        (Kind::Accepted, Some(Details::Accepted(accepted))) => {
            let id = optional(&accepted.receipt_id, ReceiptId::parse)?;
            What::Accepted(Accepted {
                version: accepted.terms_required.then(|| accepted.terms_version.into()),
                receipt: id.map(|id| ReceiptRef { id, number: accepted.receipt_number }),
                connection: connection(accepted.connection_id),
                agents: agents(accepted.agent_ids)?,
            })
        }
        (_, Some(Details::Asking(asking))) => {
            let asking =
                Asking { agents: agents(asking.agent_ids)?, connection: connection(asking.connection_id) };
            match kind {
                Kind::Declined => What::Declined(asking),
                Kind::Cancelled => What::Cancelled(asking),
                Kind::Expired => What::Expired(asking),
                Kind::VisitorGone => What::VisitorGone(asking),
                Kind::Failed => What::Failed(asking),
                _ => return Err(NotAnEvent::Field("details")),
            }
        }
        (Kind::Created, Some(Details::Created(created))) => {
            let kind = read_session_kind(created.kind())?;
            let visitor = optional(&created.visitor_id, VisitorId::new)?;
            What::Created(Created { kind, visitor, agent: optional(&created.agent_id, AgentId::new)? })
        }
        (_, Some(Details::Person(person))) => {
            let role = match person.role() {
                v1::ParticipantRole::Publisher => Role::Publisher,
                v1::ParticipantRole::Viewer => Role::Viewer,
                v1::ParticipantRole::Unspecified => return Err(NotAnEvent::Field("role")),
            };
            let agent = optional(&person.agent_id, AgentId::new)?;
            let participant = ParticipantId::parse(&person.participant_id)?;
            let side = if agent.is_some() { Side::Agent } else { Side::Guest };
            let person = Person { participant, role, side, name: person.name.into(), agent };
            match kind {
                Kind::Joined => What::Joined(person),
                Kind::Left => What::Left(person),
                Kind::ControlGranted => What::ControlGranted(person),
                _ => return Err(NotAnEvent::Field("details")),
            }
        }
        (Kind::Shows, Some(Details::Shows(shows))) => {
            What::Shows(Shows { kind: read_session_kind(shows.kind())? })
        }
        (Kind::Ended, Some(Details::Ended(ended))) => What::Ended(Ended {
            reason: EndReason::parse(&ended.reason).ok_or(NotAnEvent::Field("reason"))?,
            relayed: Relayed { frames: ended.frames, bytes: ended.bytes },
        }),
        (Kind::FeedPosted, Some(Details::Post(post))) => What::FeedPosted(Post {
            post: post.post_id,
            text: post.text,
            link: given(post.link),
            author: given(post.author),
        }),
        (Kind::LeadCreated, Some(Details::Lead(lead))) => {
            What::LeadCreated(Lead { lead: lead.lead_id, email: lead.email, name: given(lead.name) })
        }
        (_, Some(Details::Sync(sync))) => {
            let error = given(sync.error);
            let sync = Sync { run: sync.run_id, sink: sync.sink_id, count: sync.count, error };
            match kind {
                Kind::SyncStarted => What::SyncStarted(sync),
                Kind::SyncFinished => What::SyncFinished(sync),
                Kind::SyncFailed => What::SyncFailed(sync),
                _ => return Err(NotAnEvent::Field("details")),
            }
        }
        (Kind::SettingsChanged, Some(Details::SettingsChanged(changed))) => {
            What::SettingsChanged(SettingsChanged { version: changed.version, fields: changed.fields })
        }
        (Kind::AuthRefused, Some(Details::AuthRefused(refused))) => {
            let doors = [Door::SignIn, Door::Agent, Door::Visitor, Door::Admin, Door::Guest];
            let door = doors.into_iter().find(|door| door.as_str() == refused.door);
            What::AuthRefused(AuthRefused {
                door: door.ok_or(NotAnEvent::Field("door"))?,
                reason: refused.reason,
                untold: refused.untold,
            })
        }
        _ => return Err(NotAnEvent::Field("details")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::samples;
    use prost::Message as _;
    use std::collections::HashSet;

    #[test]
    fn every_event_comes_back_as_it_was() {
        for (what, number) in samples::everything().into_iter().zip(1..) {
            let logged = Logged { sequence: number, event: samples::event("g", number.into(), what) };
            let bytes = encode(&logged).encode_to_vec();
            assert_eq!(decode(v1::SessionEvent::decode(&*bytes).unwrap()).unwrap(), logged);
            let bare =
                Event { session: None, request: None, record: None, actor: Actor::Server, ..logged.event };
            let bare = Logged { event: bare, ..logged };
            assert_eq!(decode(encode(&bare)).unwrap(), bare);
        }
    }

    #[test]
    fn every_kind_has_one_number_named_like_it() {
        assert_eq!(KINDS.len(), Kind::ALL.len());
        let numbers: HashSet<v1::EventKind> = KINDS.iter().map(|(_, number)| *number).collect();
        assert_eq!(numbers.len(), KINDS.len());
        for kind in Kind::ALL {
            let name = format!("EVENT_KIND_{}", kind.as_str().replace('.', "_").to_uppercase());
            assert_eq!(kind_number(*kind).as_str_name(), name);
            assert_eq!(kind_of(kind_number(*kind)), Some(*kind));
        }
    }

    #[test]
    fn what_does_not_fit_is_not_read() {
        let logged = Logged { sequence: 1, event: samples::event("g", 1, What::Paused) };
        let good = encode(&logged);
        let other = Some(details(&samples::everything()[0]).unwrap());
        let bad = [
            v1::SessionEvent { kind: 0, ..good.clone() },
            v1::SessionEvent { kind: 9_999, ..good.clone() },
            v1::SessionEvent { id: "x".to_owned(), ..good.clone() },
            v1::SessionEvent { group: String::new(), ..good.clone() },
            v1::SessionEvent { time: None, ..good.clone() },
            v1::SessionEvent { actor: None, ..good.clone() },
            v1::SessionEvent { details: other, ..good },
        ];
        for message in bad {
            assert!(decode(message.clone()).is_err(), "{message:?}");
        }
    }
}
