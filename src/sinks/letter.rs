//! What is handed to a sink: an event or a session's record as one JSON object, under a name for good.
//!
//! Decides the envelope. `data` is `porchlight.v1.SessionEvent` or `porchlight.v1.SessionRecord` in protobuf's own
//! JSON mapping, without default values.

use prost::{Message, Name};
use prost_reflect::SerializeOptions;
use serde::Serialize;
use serde_json::Value;

use crate::clock::Wall;
use crate::model::event::Logged;
use crate::model::session_record::SessionRecord;
use crate::pb::{self, v1};
use crate::store::events::protobuf::encode;

/// The kind of a record's letter, among the kinds of events.
pub(super) const RECORD: &str = "session.record";

/// The kind of a letter that says nothing.
pub(super) const TEST: &str = "sink.test";

/// Something for a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    /// Its name: the same however often it is handed over.
    pub(super) id: String,
    /// Its place in its lane.
    pub(super) place: u64,
    /// The whole of it as JSON, in one line.
    pub(super) body: String,
    /// For a stream of events.
    pub(super) event: Option<StreamEvent>,
}

/// An event as a stream's readers take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamEvent {
    pub(super) message: Vec<u8>,
    pub(super) kind: &'static str,
    pub(super) session: String,
}

#[derive(Serialize)]
struct Envelope<'a> {
    id: &'a str,
    place: u64,
    r#type: &'a str,
    timestamp: Wall,
    data: Value,
}

fn sealed(id: String, place: u64, kind: &str, timestamp: Wall, data: Value) -> Letter {
    let envelope = Envelope { id: &id, place, r#type: kind, timestamp, data };
    let body = serde_json::to_string(&envelope).expect("texts, numbers and values have a JSON form");
    Letter { id, place, body, event: None }
}

impl Letter {
    /// An event's, by its sequence.
    pub(super) fn of_event(logged: &Logged) -> Self {
        let event = encode(logged);
        let (message, data) = (event.encode_to_vec(), json(&event));
        let kind = logged.event.what.kind().as_str();
        let session = logged.event.session.map(|id| id.to_string()).unwrap_or_default();
        let id = format!("evt_{}", logged.event.id);
        Self {
            event: Some(StreamEvent { message, kind, session }),
            ..sealed(id, logged.sequence, kind, logged.event.at, data)
        }
    }

    /// The record's of a session that ended. Its name is the session's.
    pub(super) fn of_record(place: u64, record: &SessionRecord) -> Self {
        let data = json(&v1::SessionRecord::from(record.clone()));
        let at = record.ended.unwrap_or(record.touched);
        sealed(format!("rec_{}", record.session), place, RECORD, at, data)
    }

    /// One that says nothing.
    pub(super) fn test(now: Wall, chance: u128) -> Self {
        sealed(format!("tst_{chance:032x}"), 0, TEST, now, Value::Null)
    }

    /// One that was put aside.
    pub(super) fn again(id: String, body: String) -> Self {
        Self { id, place: 0, body, event: None }
    }
}

/// A message in protobuf's JSON mapping.
fn json<M: Message + Name>(message: &M) -> Value {
    let options = SerializeOptions::new().skip_default_fields(true);
    pb::dynamic(message)
        .serialize_with_options(serde_json::value::Serializer, &options)
        .expect("described messages have a JSON form")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{Event, What, samples};
    use prost_reflect::DynamicMessage;

    #[test]
    fn an_event_has_one_name_and_one_line() {
        for what in samples::everything() {
            let logged = Logged { sequence: 7, event: samples::event("g", 1, what) };
            let letter = Letter::of_event(&logged);
            let told: Value = serde_json::from_str(&letter.body).unwrap();
            assert_eq!(told["id"], format!("evt_{}", logged.event.id));
            assert_eq!(
                (&told["type"], &told["place"]),
                (&logged.event.what.kind().as_str().into(), &7.into())
            );
            assert_eq!(told["data"]["group"], "g");
            assert!(!letter.body.contains('\n'));
            assert_eq!(letter, Letter::of_event(&logged), "the same again");
        }
        let paused = Logged { sequence: 7, event: samples::event("g", 1, What::Paused) };
        let data = &serde_json::from_str::<Value>(&Letter::of_event(&paused).body).unwrap()["data"];
        assert_eq!(data["kind"], "EVENT_KIND_SESSION_PAUSED");
    }

    #[test]
    fn a_record_is_told_as_everywhere_else() {
        let mut record = None;
        for (what, number) in samples::everything().into_iter().zip(1..) {
            let event = Event { at: Wall(number * 1000), ..samples::event("g", u128::from(number), what) };
            record = SessionRecord::apply(record, &Logged { sequence: number, event });
        }
        let record = record.expect("every kind is among the samples");
        let letter = Letter::of_record(3, &record);
        let told: Value = serde_json::from_str(&letter.body).unwrap();
        assert_eq!(told["id"], format!("rec_{}", record.session));
        assert_eq!((&told["type"], &told["place"]), (&RECORD.into(), &3.into()));
        assert_eq!(told["timestamp"], record.ended.unwrap().to_string());
        // Whoever reads the API or an export reads this as well.
        let kind = pb::descriptors().get_message_by_name("porchlight.v1.SessionRecord").unwrap();
        let read = DynamicMessage::deserialize(kind, told["data"].clone()).unwrap();
        let read: v1::SessionRecord = read.transcode_to().unwrap();
        assert_eq!(read, v1::SessionRecord::from(record));
        assert_eq!(told["data"]["state"], "SESSION_STATE_ENDED");
        assert!(!letter.body.contains('\n'));
    }
}
