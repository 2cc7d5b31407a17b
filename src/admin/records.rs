//! Records of sessions, and the statistics made of them.

use super::convert::{asked_kind, asked_outcome, asked_status, session_id, wall};
use super::gate::Within;
use super::page::{Pages, size};
use super::service::Service;
use super::status::AdminError;
use super::{bad, convert};
use crate::clock;
use crate::ids::{AgentId, SessionId, VisitorId};
use crate::limits;
use crate::pb::v1;
use crate::store::records::{DayStatistics, RecordCursor, RecordQuery};

pub(super) async fn list_session_records(
    service: &Service,
    within: &Within,
    request: v1::ListSessionRecordsRequest,
) -> Result<v1::ListSessionRecordsResponse, AdminError> {
    let pages =
        Pages { accounts: &service.accounts, call: "ListSessionRecords", of: within.group().as_str() };
    let after = pages.after(&request.page_token)?.map(|entry| cursor_of(&entry)).transpose()?;
    let query = RecordQuery { after, limit: Some(size(request.page_size)), ..query(request)? };
    let page = service.archive.records.session_records(within.group(), query).await?;
    Ok(v1::ListSessionRecordsResponse {
        records: page.records.into_iter().map(Into::into).collect(),
        next_page_token: page.next.map_or_else(String::new, |next| pages.token(&entry_of(next))),
    })
}

fn query(request: v1::ListSessionRecordsRequest) -> Result<RecordQuery, AdminError> {
    let named = |text: String| (!text.is_empty()).then_some(text);
    let agent = named(request.agent_id).map(|id| AgentId::new(&id)).transpose();
    let visitor = named(request.visitor_id).map(|id| VisitorId::new(&id)).transpose();
    let record = match request.record {
        None => None,
        Some(record) if record.object.is_empty() => return Err(bad("record.object", "is missing")),
        Some(record) if record.id.is_empty() => return Err(bad("record.id", "is missing")),
        Some(record) => Some((record.object, record.id)),
    };
    Ok(RecordQuery {
        from: request.from.map(|at| wall("from", at)).transpose()?,
        until: request.until.map(|at| wall("until", at)).transpose()?,
        agent: agent.map_err(|error| bad("agent_id", error))?,
        visitor: visitor.map_err(|error| bad("visitor_id", error))?,
        record,
        kind: asked_kind(request.kind)?,
        outcome: asked_outcome(request.outcome)?,
        status: asked_status(request.state)?,
        after: None,
        limit: None,
    })
}

fn entry_of(cursor: RecordCursor) -> String {
    format!("{} {}", cursor.created.0, cursor.session)
}

/// Reads what [`entry_of`] wrote; the token's seal says that it did.
fn cursor_of(entry: &str) -> Result<RecordCursor, AdminError> {
    let read = || {
        let (created, session) = entry.split_once(' ')?;
        let created = clock::Wall(created.parse().ok()?);
        Some(RecordCursor { created, session: SessionId::parse(session).ok()? })
    };
    read().ok_or(AdminError::Internal)
}

pub(super) async fn get_session_record(
    service: &Service,
    within: &Within,
    request: v1::GetSessionRecordRequest,
) -> Result<v1::GetSessionRecordResponse, AdminError> {
    let session = session_id(&request.session_id)?;
    let record = service.archive.records.session_record(within.group(), session).await?;
    Ok(v1::GetSessionRecordResponse { record: Some(record.ok_or(AdminError::NotFound)?.into()) })
}

pub(super) async fn list_session_stats(
    service: &Service,
    within: &Within,
    request: v1::ListSessionStatsRequest,
) -> Result<v1::ListSessionStatsResponse, AdminError> {
    let pages = Pages { accounts: &service.accounts, call: "ListSessionStats", of: within.group().as_str() };
    let until = request.until.map(|at| wall("until", at)).transpose()?.unwrap_or_else(clock::wall);
    let from = request.from.map(|at| wall("from", at)).transpose()?;
    let from = from.unwrap_or_else(|| until.before(limits::STATS_DEFAULT));
    if until > from.after(limits::STATS_SPAN) {
        let days = limits::STATS_SPAN.as_secs() / (24 * 3600);
        return Err(bad("until", format!("is more than {days} days behind `from`")));
    }
    let mut rows = service.archive.records.statistics(within.group(), from, until).await?;
    if let Some(last) = pages.after(&request.page_token)? {
        rows.retain(|row| name(row) > last);
    }
    let next_page_token = pages.cut(&mut rows, size(request.page_size), name);
    let stats = rows.into_iter().map(convert::stats_message).collect();
    Ok(v1::ListSessionStatsResponse { stats, next_page_token })
}

/// Sorts as the rows do: a day has as many characters as any other.
fn name(row: &DayStatistics) -> String {
    format!("{} {}", row.day, row.agent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use crate::model::session_record::{Outcome, Status};
    use crate::wire::visitor::SessionKind;
    use prost_types::Timestamp;

    #[test]
    fn a_place_survives_its_token() {
        let cursor = RecordCursor { created: Wall(7), session: SessionId::from_u128(9) };
        assert_eq!(cursor_of(&entry_of(cursor)), Ok(cursor));
        assert_eq!(cursor_of("x"), Err(AdminError::Internal));
    }

    #[test]
    fn what_is_asked_for_is_read() {
        assert_eq!(query(v1::ListSessionRecordsRequest::default()), Ok(RecordQuery::default()));
        let case = v1::RecordReference { object: "Case".into(), id: "500".into(), ..Default::default() };
        let all = v1::ListSessionRecordsRequest {
            from: Some(Timestamp { seconds: 1, nanos: 5_000_000 }),
            until: Some(Timestamp { seconds: 2, nanos: 0 }),
            agent_id: "alice".into(),
            visitor_id: "C-1".into(),
            record: Some(case),
            kind: v1::SessionKind::Screen.into(),
            outcome: v1::RequestOutcome::Declined.into(),
            state: v1::SessionState::Ended.into(),
            ..Default::default()
        };
        let wanted = RecordQuery {
            from: Some(Wall(1_005)),
            until: Some(Wall(2_000)),
            agent: Some(AgentId::new("alice").unwrap()),
            visitor: Some(VisitorId::new("C-1").unwrap()),
            record: Some(("Case".to_owned(), "500".to_owned())),
            kind: Some(SessionKind::Screen),
            outcome: Some(Outcome::Declined),
            status: Some(Status::Ended),
            after: None,
            limit: None,
        };
        assert_eq!(query(all), Ok(wanted));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let ask = v1::ListSessionRecordsRequest::default;
        for (field, request) in [
            (
                "from",
                v1::ListSessionRecordsRequest { from: Some(Timestamp { seconds: 0, nanos: -1 }), ..ask() },
            ),
            ("agent_id", v1::ListSessionRecordsRequest { agent_id: "a b".into(), ..ask() }),
            ("visitor_id", v1::ListSessionRecordsRequest { visitor_id: "a b".into(), ..ask() }),
            ("record.object", v1::ListSessionRecordsRequest { record: Some(Default::default()), ..ask() }),
            ("kind", v1::ListSessionRecordsRequest { kind: 99, ..ask() }),
            ("outcome", v1::ListSessionRecordsRequest { outcome: 99, ..ask() }),
            ("state", v1::ListSessionRecordsRequest { state: 99, ..ask() }),
        ] {
            let refused = query(request);
            let named = matches!(&refused, Err(AdminError::BadField { field: at, .. }) if *at == field);
            assert!(named, "{field}: {refused:?}");
        }
    }
}
