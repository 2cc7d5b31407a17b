//! Session records, statistics and receipts.

use prost_types::Timestamp;

use super::super::bad;
use super::super::status::AdminError;
use super::timestamp;
use crate::clock::Wall;
use crate::ids::SessionId;
use crate::model::receipt::Sealed;
use crate::model::session_record::{Attendance, ControlUse, Outcome, SessionRecord, Status};
use crate::pb::v1;
use crate::store::events::protobuf;
use crate::store::records::DayStatistics;
use crate::wire::session::Role;
use crate::wire::visitor::SessionKind;

/// A moment that a caller named. What lies before 1970 is as good as 1970.
pub(in super::super) fn wall(field: &'static str, at: Timestamp) -> Result<Wall, AdminError> {
    let millis = u64::try_from(at.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    let millis = millis.ok_or_else(|| bad(field, "has nanoseconds of more than a second"))? / 1_000_000;
    let seconds = u64::try_from(at.seconds).unwrap_or(0);
    // Beyond any calendar it is as good as the end of the store's time.
    Ok(Wall(seconds.saturating_mul(1000).saturating_add(millis).min(i64::MAX as u64)))
}

pub(in super::super) fn session_id(text: &str) -> Result<SessionId, AdminError> {
    SessionId::parse(text).map_err(|_| bad("session_id", "is no UUID"))
}

/// A kind asked for; none when it is left out.
pub(in super::super) fn asked_kind(number: i32) -> Result<Option<SessionKind>, AdminError> {
    Ok(match v1::SessionKind::try_from(number).map_err(|_| bad("kind", "is unknown"))? {
        v1::SessionKind::Unspecified => None,
        v1::SessionKind::Cobrowse => Some(SessionKind::Cobrowse),
        v1::SessionKind::Screen => Some(SessionKind::Screen),
        v1::SessionKind::View => Some(SessionKind::View),
        v1::SessionKind::Show => Some(SessionKind::Show),
    })
}

/// A state asked for; none when it is left out.
pub(in super::super) fn asked_status(number: i32) -> Result<Option<Status>, AdminError> {
    Ok(match v1::SessionState::try_from(number).map_err(|_| bad("state", "is unknown"))? {
        v1::SessionState::Unspecified => None,
        v1::SessionState::Requested => Some(Status::Requested),
        v1::SessionState::Connecting => Some(Status::Connecting),
        v1::SessionState::Active => Some(Status::Active),
        v1::SessionState::Ended => Some(Status::Ended),
    })
}

/// An outcome asked for; none when it is left out.
pub(in super::super) fn asked_outcome(number: i32) -> Result<Option<Outcome>, AdminError> {
    Ok(match v1::RequestOutcome::try_from(number).map_err(|_| bad("outcome", "is unknown"))? {
        v1::RequestOutcome::Unspecified => None,
        v1::RequestOutcome::Pending => Some(Outcome::Pending),
        v1::RequestOutcome::Accepted => Some(Outcome::Accepted),
        v1::RequestOutcome::NotRequired => Some(Outcome::NotRequired),
        v1::RequestOutcome::Declined => Some(Outcome::Declined),
        v1::RequestOutcome::Cancelled => Some(Outcome::Cancelled),
        v1::RequestOutcome::Expired => Some(Outcome::Expired),
        v1::RequestOutcome::VisitorGone => Some(Outcome::VisitorGone),
        v1::RequestOutcome::Failed => Some(Outcome::Failed),
    })
}

impl From<Status> for v1::SessionState {
    fn from(status: Status) -> Self {
        match status {
            Status::Requested => Self::Requested,
            Status::Connecting => Self::Connecting,
            Status::Active => Self::Active,
            Status::Ended => Self::Ended,
        }
    }
}

impl From<Outcome> for v1::RequestOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Pending => Self::Pending,
            Outcome::Accepted => Self::Accepted,
            Outcome::NotRequired => Self::NotRequired,
            Outcome::Declined => Self::Declined,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Expired => Self::Expired,
            Outcome::VisitorGone => Self::VisitorGone,
            Outcome::Failed => Self::Failed,
        }
    }
}

impl From<SessionRecord> for v1::SessionRecord {
    fn from(record: SessionRecord) -> Self {
        Self {
            session_id: record.session.to_string(),
            request_id: record.request.map(|id| id.to_string()).unwrap_or_default(),
            kind: v1::SessionKind::from(record.kind).into(),
            state: v1::SessionState::from(record.status).into(),
            duration_ms: record.duration_ms(),
            record: record.record.as_ref().map(protobuf::record_reference),
            visitor_id: record.visitor.map(|id| id.to_string()).unwrap_or_default(),
            agent_ids: record.agents.iter().map(ToString::to_string).collect(),
            attendance: record.attendance.into_iter().map(Into::into).collect(),
            outcome: v1::RequestOutcome::from(record.outcome).into(),
            terms_version: record.terms_version.as_deref().unwrap_or_default().to_owned(),
            displayed_at: record.displayed.map(timestamp),
            answered_at: record.answered.map(timestamp),
            receipt_id: record.receipt.map(|receipt| receipt.id.to_string()).unwrap_or_default(),
            receipt_number: record.receipt.map_or(0, |receipt| receipt.number),
            control: record.control.into_iter().map(Into::into).collect(),
            created_at: Some(timestamp(record.created)),
            started_at: record.started.map(timestamp),
            ended_at: record.ended.map(timestamp),
            end_reason: record.end_reason.map_or("", |reason| reason.as_str()).to_owned(),
            frames: record.relayed.frames,
            bytes: record.relayed.bytes,
        }
    }
}

impl From<Attendance> for v1::Attendance {
    fn from(attendance: Attendance) -> Self {
        let person = attendance.person;
        let role = match person.role {
            Role::Publisher => v1::ParticipantRole::Publisher,
            Role::Viewer => v1::ParticipantRole::Viewer,
        };
        Self {
            participant_id: person.participant.to_string(),
            role: role.into(),
            agent_id: person.agent.map(|id| id.to_string()).unwrap_or_default(),
            name: person.name.to_string(),
            joined_at: Some(timestamp(attendance.joined)),
            left_at: attendance.left.map(timestamp),
        }
    }
}

impl From<ControlUse> for v1::ControlUse {
    fn from(control: ControlUse) -> Self {
        Self {
            participant_id: control.participant.to_string(),
            agent_id: control.agent.map(|id| id.to_string()).unwrap_or_default(),
            granted_at: Some(timestamp(control.granted)),
            ended_at: control.ended.map(timestamp),
        }
    }
}

pub(in super::super) fn stats_message(row: DayStatistics) -> v1::SessionStats {
    let DayStatistics { day, agent, asked, accepted, declined, started, duration_ms, frames, bytes } = row;
    v1::SessionStats {
        day,
        agent_id: agent.to_string(),
        sessions: asked,
        accepted,
        declined,
        started,
        duration_ms,
        frames,
        bytes,
    }
}

pub(in super::super) fn receipt_message(sealed: Sealed) -> v1::ConsentReceipt {
    let Sealed { id, number, session, at, line } = sealed;
    v1::ConsentReceipt {
        receipt_id: id.to_string(),
        number,
        session_id: session.to_string(),
        accepted_at: Some(timestamp(at)),
        line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_what_is_told() {
        for number in 0..=8 {
            let outcome = asked_outcome(number).unwrap();
            assert_eq!(outcome.map_or(0, |outcome| v1::RequestOutcome::from(outcome).into()), number);
        }
        for number in 0..=4 {
            let status = asked_status(number).unwrap();
            assert_eq!(status.map_or(0, |status| v1::SessionState::from(status).into()), number);
            let kind = asked_kind(number).unwrap();
            assert_eq!(kind.map_or(0, |kind| v1::SessionKind::from(kind).into()), number);
        }
    }

    #[test]
    fn moments_are_read_in_milliseconds() {
        let read = |seconds, nanos| wall("from", Timestamp { seconds, nanos });
        assert_eq!(read(1, 2_999_999), Ok(Wall(1_002)));
        assert_eq!(read(-5, 0), Ok(Wall(0)));
        assert_eq!(read(i64::MAX, 0), Ok(Wall(i64::MAX as u64)));
        assert!(read(0, -1).is_err());
        assert!(read(0, 1_000_000_000).is_err());
    }
}
