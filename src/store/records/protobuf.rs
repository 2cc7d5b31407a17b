//! A session's record as others read it: `porchlight.v1.SessionRecord`.
//!
//! Used wherever a record leaves the server, so that one schema serves all who read it.

use crate::model::session_record::{Attendance, ControlUse, Outcome, SessionRecord, Shown, Status};
use crate::pb::v1;
use crate::store::events::protobuf::{record_reference, session_kind, timestamp};
use crate::wire::session::Role;

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

/// The record as others read it: the same by gRPC, in exports and for sinks.
impl From<SessionRecord> for v1::SessionRecord {
    fn from(record: SessionRecord) -> Self {
        Self {
            session_id: record.session.to_string(),
            request_id: record.request.map(|id| id.to_string()).unwrap_or_default(),
            kind: session_kind(record.kind).into(),
            state: v1::SessionState::from(record.status).into(),
            duration_ms: record.duration_ms(),
            record: record.record.as_ref().map(record_reference),
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
            also_shown: record.also_shown.into_iter().map(Into::into).collect(),
            created_at: Some(timestamp(record.created)),
            started_at: record.started.map(timestamp),
            ended_at: record.ended.map(timestamp),
            end_reason: record.end_reason.map_or("", |reason| reason.as_str()).to_owned(),
            frames: record.relayed.frames,
            bytes: record.relayed.bytes,
            connection_id: record.connection.as_deref().unwrap_or_default().to_owned(),
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

impl From<Shown> for v1::Shown {
    fn from(shown: Shown) -> Self {
        Self {
            kind: session_kind(shown.kind).into(),
            shown_at: Some(timestamp(shown.shown)),
            ended_at: shown.ended.map(timestamp),
        }
    }
}
