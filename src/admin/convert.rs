//! Between the plain types of the seam and protobuf.

mod accounts;
mod feed;
mod records;
mod settings;

use prost_types::value::Kind;
use prost_types::{Struct, Timestamp, Value};
use serde_json::Map;

pub(super) use accounts::{agent_message, api_key_message, described, group_message};
pub(super) use feed::{feed_item, lead_message};
pub(super) use records::{
    asked_kind, asked_outcome, asked_status, receipt_message, session_id, stats_message, wall,
};
pub(super) use settings::{proto_path, settings_message, settings_of};

use super::{NodeRow, ParticipantRow, SessionRow, SessionState, VisitorRow};
use crate::clock::Wall;
use crate::pb::v1;
use crate::wire::agent::{Delivery, PresenceState};
use crate::wire::session::Role;
use crate::wire::visitor::SessionKind;

/// A moment as protobuf tells it.
pub(super) fn timestamp(wall: Wall) -> Timestamp {
    let millis = i64::try_from(wall.0).unwrap_or(i64::MAX);
    let nanos = i32::try_from(millis % 1000).expect("a remainder of 1000 is small") * 1_000_000;
    Timestamp { seconds: millis / 1000, nanos }
}

impl From<PresenceState> for v1::PresenceState {
    fn from(state: PresenceState) -> Self {
        match state {
            PresenceState::Present => Self::Present,
            PresenceState::Hidden => Self::Hidden,
            PresenceState::Absent => Self::Absent,
            PresenceState::Unknown => Self::Unknown,
        }
    }
}

/// A state asked for; nothing when it names none.
pub(super) fn asked_state(state: v1::PresenceState) -> Option<PresenceState> {
    match state {
        v1::PresenceState::Unspecified => None,
        v1::PresenceState::Present => Some(PresenceState::Present),
        v1::PresenceState::Hidden => Some(PresenceState::Hidden),
        v1::PresenceState::Absent => Some(PresenceState::Absent),
        v1::PresenceState::Unknown => Some(PresenceState::Unknown),
    }
}

impl From<VisitorRow> for v1::Visitor {
    fn from(row: VisitorRow) -> Self {
        Self {
            visitor_id: row.visitor.to_string(),
            state: v1::PresenceState::from(row.state).into(),
            since: Some(timestamp(row.since)),
            version: row.version,
            connections: row.connections,
            page: Some(v1::Page { url: row.page.url, title: row.page.title, referrer: row.page.referrer }),
            client: Some(v1::Client {
                platform: row.client.platform,
                language: row.client.language,
                screen: row.client.screen,
                user_agent: row.client.user_agent,
            }),
            data: Some(Struct {
                fields: row.data.into_iter().map(|(key, value)| (key, json_value(value))).collect(),
            }),
            verified: row.verified,
            session_id: row.session.map(|id| id.to_string()).unwrap_or_default(),
        }
    }
}

/// Custom data is flat; what is not a text, number or boolean does not occur and reads as null.
fn json_value(value: serde_json::Value) -> Value {
    let kind = match value {
        serde_json::Value::String(text) => Kind::StringValue(text),
        serde_json::Value::Bool(value) => Kind::BoolValue(value),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        _ => Kind::NullValue(0),
    };
    Value { kind: Some(kind) }
}

/// A JSON object that a caller sent; an error names what JSON can't hold.
pub(super) fn json_object(object: Struct) -> Result<Map<String, serde_json::Value>, &'static str> {
    object.fields.into_iter().map(|(key, value)| Ok((key, plain(value)?))).collect()
}

/// As deep as decoding allows, which bounds it.
fn plain(value: Value) -> Result<serde_json::Value, &'static str> {
    Ok(match value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(value)) => value.into(),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::NumberValue(number)) => plain_number(number)?.into(),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(plain).collect::<Result<_, _>>()?,
        Some(Kind::StructValue(object)) => json_object(object)?.into(),
    })
}

/// Whole numbers stay whole, as a page that sent them would write them.
fn plain_number(number: f64) -> Result<serde_json::Number, &'static str> {
    /// Up to here every whole number has a double of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return Ok((number as i64).into());
    }
    serde_json::Number::from_f64(number).ok_or("holds a number that is not finite")
}

impl From<Delivery> for v1::SignalDelivery {
    fn from(delivery: Delivery) -> Self {
        match delivery {
            Delivery::Delivered => Self::Delivered,
            Delivery::Held => Self::Held,
        }
    }
}

impl From<SessionKind> for v1::SessionKind {
    fn from(kind: SessionKind) -> Self {
        match kind {
            SessionKind::Cobrowse => Self::Cobrowse,
            SessionKind::Screen => Self::Screen,
            SessionKind::View => Self::View,
            SessionKind::Show => Self::Show,
        }
    }
}

impl From<SessionState> for v1::SessionState {
    fn from(state: SessionState) -> Self {
        match state {
            SessionState::Requested => Self::Requested,
            SessionState::Connecting => Self::Connecting,
            SessionState::Active => Self::Active,
            SessionState::Ended => Self::Ended,
        }
    }
}

impl From<ParticipantRow> for v1::Participant {
    fn from(row: ParticipantRow) -> Self {
        let role = match row.role {
            Role::Publisher => v1::ParticipantRole::Publisher,
            Role::Viewer => v1::ParticipantRole::Viewer,
        };
        Self {
            participant_id: row.participant.to_string(),
            role: role.into(),
            agent_id: row.agent.map(|id| id.to_string()).unwrap_or_default(),
            name: row.name,
            connected: row.connected,
        }
    }
}

impl From<SessionRow> for v1::Session {
    fn from(row: SessionRow) -> Self {
        Self {
            session_id: row.session.to_string(),
            kind: v1::SessionKind::from(row.kind).into(),
            shows: row.shows.map(v1::SessionKind::from).unwrap_or_default().into(),
            state: v1::SessionState::from(row.state).into(),
            visitor_id: row.visitor.map(|id| id.to_string()).unwrap_or_default(),
            created_at: Some(timestamp(row.created)),
            started_at: row.started.map(timestamp),
            participants: row.participants.into_iter().map(Into::into).collect(),
            paused: row.paused,
        }
    }
}

impl From<NodeRow> for v1::Node {
    fn from(row: NodeRow) -> Self {
        let [visitor, agent, session] = row.connections;
        Self {
            node_id: row.node,
            version: row.version,
            started_at: Some(timestamp(row.started)),
            draining: row.draining,
            connections: Some(v1::Connections { visitor, agent, session }),
            visitors_present: row.visitors_present,
            sessions: row.sessions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_keep_their_milliseconds() {
        assert_eq!(
            timestamp(Wall(1_893_456_000_123)),
            Timestamp { seconds: 1_893_456_000, nanos: 123_000_000 }
        );
    }

    #[test]
    fn states_survive_the_way_there_and_back() {
        for state in
            [PresenceState::Present, PresenceState::Hidden, PresenceState::Absent, PresenceState::Unknown]
        {
            assert_eq!(asked_state(state.into()), Some(state));
        }
        assert_eq!(asked_state(v1::PresenceState::Unspecified), None);
    }

    #[test]
    fn a_signals_data_is_plain_json() {
        let kinds = [
            ("n", Kind::NumberValue(2.0)),
            ("f", Kind::NumberValue(2.5)),
            ("t", Kind::StringValue("x".into())),
            ("b", Kind::BoolValue(true)),
            ("z", Kind::NullValue(0)),
        ];
        let value = |kind| Value { kind: Some(kind) };
        let fields = kinds.map(|(key, kind)| (key.to_owned(), value(kind))).into();
        let object = json_object(Struct { fields }).unwrap();
        assert_eq!(
            serde_json::Value::from(object),
            serde_json::json!({"n": 2, "f": 2.5, "t": "x", "b": true, "z": null})
        );
        let list = prost_types::ListValue { values: vec![value(Kind::NumberValue(f64::NAN))] };
        let fields = [("l".to_owned(), value(Kind::ListValue(list)))].into();
        assert!(json_object(Struct { fields }).is_err());
    }

    #[test]
    fn custom_data_keeps_its_types() {
        assert_eq!(json_value("a".into()).kind, Some(Kind::StringValue("a".into())));
        assert_eq!(json_value(2.into()).kind, Some(Kind::NumberValue(2.0)));
        assert_eq!(json_value(true.into()).kind, Some(Kind::BoolValue(true)));
    }
}
