//! Tables for people and JSON lines for programs, from the answers of the admin service.

use prost_types::value::Kind;
use prost_types::{Struct, Timestamp};
use serde_json::{Map, Value, json};

use crate::clock::Wall;
use crate::pb::v1;

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Print {
    /// Aligned columns with a heading.
    Table,
    /// One JSON object a line.
    Json,
}

/// Prints rows in columns as wide as their widest cell.
pub(super) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = heading.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: [&str; N]| {
        let padded: Vec<String> =
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    };
    line(heading);
    for row in rows {
        line(row.each_ref().map(String::as_str));
    }
    text
}

/// What a visitor could write into a terminal: control characters would move the cursor or worse.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn moment(at: Option<&Timestamp>) -> String {
    at.map_or_else(String::new, |at| {
        let seconds = u64::try_from(at.seconds).unwrap_or(0);
        let millis = u64::try_from(at.nanos).unwrap_or(0) / 1_000_000;
        Wall(seconds.saturating_mul(1000).saturating_add(millis)).to_string()
    })
}

/// The last word of an enum's name in the proto file, in lower case.
fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

fn presence(visitor: &v1::Visitor) -> String {
    word(visitor.state().as_str_name(), "PRESENCE_STATE_")
}

fn session_state(session: &v1::Session) -> String {
    word(session.state().as_str_name(), "SESSION_STATE_")
}

fn session_kind(session: &v1::Session) -> String {
    word(session.kind().as_str_name(), "SESSION_KIND_")
}

pub(super) const VISITOR_HEADING: [&str; 6] = ["VISITOR", "STATE", "SINCE", "TABS", "SESSION", "PAGE"];

pub(super) fn visitor_row(visitor: &v1::Visitor) -> [String; 6] {
    [
        visitor.visitor_id.clone(),
        presence(visitor),
        moment(visitor.since.as_ref()),
        visitor.connections.to_string(),
        visitor.session_id.clone(),
        visitor.page.as_ref().map_or_else(String::new, |page| plain(&page.url)),
    ]
}

pub(super) fn visitor_json(visitor: &v1::Visitor) -> Value {
    let page = visitor.page.clone().unwrap_or_default();
    let client = visitor.client.clone().unwrap_or_default();
    json!({
        "visitorId": visitor.visitor_id,
        "state": presence(visitor),
        "since": moment(visitor.since.as_ref()),
        "version": visitor.version,
        "connections": visitor.connections,
        "page": {"url": page.url, "title": page.title, "referrer": page.referrer},
        "client": {
            "platform": client.platform,
            "language": client.language,
            "screen": client.screen,
            "userAgent": client.user_agent,
        },
        "data": flat(visitor.data.as_ref()),
        "verified": visitor.verified,
        "sessionId": some(&visitor.session_id),
    })
}

fn flat(data: Option<&Struct>) -> Map<String, Value> {
    let value = |value: &prost_types::Value| match &value.kind {
        Some(Kind::StringValue(text)) => json!(text),
        Some(Kind::NumberValue(number)) => json!(number),
        Some(Kind::BoolValue(value)) => json!(value),
        _ => Value::Null,
    };
    data.into_iter().flat_map(|data| &data.fields).map(|(key, field)| (key.clone(), value(field))).collect()
}

/// Text that stands for nothing when it is empty.
fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

pub(super) const SESSION_HEADING: [&str; 6] = ["SESSION", "KIND", "STATE", "VISITOR", "CREATED", "PEOPLE"];

pub(super) fn session_row(session: &v1::Session) -> [String; 6] {
    let people: Vec<String> = session.participants.iter().map(|one| plain(&one.name)).collect();
    [
        session.session_id.clone(),
        session_kind(session),
        session_state(session),
        session.visitor_id.clone(),
        moment(session.created_at.as_ref()),
        people.join(", "),
    ]
}

pub(super) fn session_json(session: &v1::Session) -> Value {
    let participants: Vec<Value> = session
        .participants
        .iter()
        .map(|one| {
            json!({
                "participantId": one.participant_id,
                "role": word(one.role().as_str_name(), "PARTICIPANT_ROLE_"),
                "agentId": some(&one.agent_id),
                "name": one.name,
                "connected": one.connected,
            })
        })
        .collect();
    json!({
        "sessionId": session.session_id,
        "kind": session_kind(session),
        "state": session_state(session),
        "visitorId": some(&session.visitor_id),
        "createdAt": moment(session.created_at.as_ref()),
        "startedAt": session.started_at.as_ref().map(|at| moment(Some(at))),
        "participants": participants,
        "paused": session.paused,
    })
}

pub(super) fn node_rows(node: &v1::Node) -> Vec<[String; 2]> {
    let connections = node.connections.unwrap_or_default();
    [
        ("node", node.node_id.clone()),
        ("version", node.version.clone()),
        ("started", moment(node.started_at.as_ref())),
        ("draining", node.draining.to_string()),
        ("visitor connections", connections.visitor.to_string()),
        ("agent connections", connections.agent.to_string()),
        ("session connections", connections.session.to_string()),
        ("visitors present", node.visitors_present.to_string()),
        ("sessions", node.sessions.to_string()),
    ]
    .map(|(name, value)| [name.to_owned(), value])
    .into()
}

pub(super) fn node_json(node: &v1::Node) -> Value {
    let connections = node.connections.unwrap_or_default();
    json!({
        "nodeId": node.node_id,
        "version": node.version,
        "startedAt": moment(node.started_at.as_ref()),
        "draining": node.draining,
        "connections": {
            "visitor": connections.visitor,
            "agent": connections.agent,
            "session": connections.session,
        },
        "visitorsPresent": node.visitors_present,
        "sessions": node.sessions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["a".to_owned(), "long".to_owned()], ["bcd".to_owned(), "x".to_owned()]];
        assert_eq!(table(["A", "B"], &rows), "A    B\na    long\nbcd  x\n");
    }

    #[test]
    fn a_visitor_reads_well_in_both_ways() {
        let visitor = v1::Visitor {
            visitor_id: "C-1".into(),
            state: v1::PresenceState::Hidden.into(),
            since: Some(Timestamp { seconds: 1_893_456_000, nanos: 0 }),
            connections: 2,
            page: Some(v1::Page { url: "https://a\u{1b}[2J".into(), ..Default::default() }),
            ..Default::default()
        };
        assert_eq!(
            visitor_row(&visitor),
            ["C-1", "hidden", "2030-01-01T00:00:00.000Z", "2", "", "https://a\u{fffd}[2J"].map(String::from)
        );
        let json = visitor_json(&visitor);
        assert_eq!(json["state"], "hidden");
        assert_eq!(json["sessionId"], Value::Null);
    }
}
