//! What is asked of session records, statistics and receipts. Records themselves: [`crate::store::records::protobuf`].

use prost_types::Timestamp;

use super::super::bad;
use super::super::status::AdminError;
use super::timestamp;
use crate::clock::Wall;
use crate::ids::SessionId;
use crate::model::receipt::Sealed;
use crate::model::session_record::{Outcome, Status};
use crate::pb::v1;
use crate::store::records::DayStatistics;
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
