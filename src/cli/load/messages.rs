//! The client's half of the wire contract: what the load generator says and what it listens for.
//!
//! Written from the contract alone, so that it also checks the server. Unknown messages are `Other`.

use serde::Deserialize;
use serde_json::{Value, json};

/// What a visitor hears.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum VisitorHears {
    Connected {},
    Offer {
        request_id: String,
        terms: OfferTerms,
    },
    OfferEnded {
        outcome: String,
    },
    Ready {
        ticket: String,
    },
    Reconnect {
        after_ms: u64,
    },
    Error {
        code: String,
        #[serde(default)]
        message: String,
    },
    #[serde(other)]
    Other,
}

/// The terms of an offer; the version is echoed as it came.
#[derive(Debug, Deserialize)]
pub(super) struct OfferTerms {
    pub(super) required: bool,
    #[serde(default)]
    pub(super) version: Value,
}

/// What an agent hears.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum AgentHears {
    Connected {},
    Watching {
        visitors: Vec<SeenVisitor>,
    },
    Presence {
        visitor: SeenVisitor,
    },
    Request {
        id: Option<u64>,
        session_id: Option<String>,
        visitor_id: Option<String>,
        state: String,
        reason: Option<String>,
    },
    Ready {
        id: Option<u64>,
        session_id: Option<String>,
        visitor_id: Option<String>,
        ticket: String,
    },
    Reconnect {
        after_ms: u64,
    },
    Error {
        id: Option<u64>,
        code: String,
        #[serde(default)]
        message: String,
    },
    #[serde(other)]
    Other,
}

/// A visitor as an agent sees it; only what the lamps need.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SeenVisitor {
    pub(super) visitor_id: String,
    pub(super) state: String,
    #[serde(default)]
    pub(super) version: Option<u64>,
    #[serde(default)]
    pub(super) data: Option<SeenData>,
}

/// The number that a lamp visitor puts into its presence data at each change.
#[derive(Debug, Deserialize)]
pub(super) struct SeenData {
    /// JSON knows one kind of number, so `3.0` is as good as `3`.
    #[serde(default)]
    pub(super) n: Option<f64>,
}

impl SeenData {
    /// The number, if it is one that was ever sent.
    pub(super) fn number(&self) -> Option<usize> {
        let n = self.n.filter(|n| *n >= 0.0 && n.fract() == 0.0 && *n < f64::from(u32::MAX))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and in range")]
        Some(n as usize)
    }
}

/// What a participant hears on the session socket.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum SessionHears {
    Attached {
        resume_token: Option<String>,
    },
    KeyFrameRequest {},
    Lagging {},
    Reconnect {
        after_ms: u64,
    },
    Ended {
        reason: String,
    },
    Error {
        code: String,
        #[serde(default)]
        message: String,
    },
    #[serde(other)]
    Other,
}

/// `connect` of a visitor, with presence of a given size.
pub(super) fn visitor_connect(group: &str, visitor_id: &str, presence: &Presence) -> String {
    let mut message = json!({"type": "connect", "group": group, "visitorId": visitor_id});
    let fields = message.as_object_mut().expect("made as an object");
    for (name, value) in &presence.0 {
        fields.insert((*name).to_owned(), value.clone());
    }
    message.to_string()
}

/// A visitor's move to another page.
pub(super) fn navigate(n: u64) -> String {
    json!({"type": "presence", "page": {"url": format!("https://shop.example/p/{n}"), "title": "Page"}})
        .to_string()
}

/// A lamp visitor's nth change: even shows the page, odd hides it.
pub(super) fn change(n: u64) -> String {
    json!({"type": "presence", "visibility": visibility(n), "data": {"n": n}}).to_string()
}

fn visibility(n: u64) -> &'static str {
    if n.is_multiple_of(2) { "visible" } else { "hidden" }
}

/// An agent's or a visitor's message that consists of its type.
pub(super) fn bare(kind: &str) -> String {
    json!({"type": kind}).to_string()
}

/// `connect` of an agent.
pub(super) fn agent_connect(token: &str) -> String {
    json!({"type": "connect", "token": token}).to_string()
}

/// An agent's standing interest in visitors.
pub(super) fn watch(visitor_ids: &[String]) -> String {
    json!({"type": "watch", "id": 1, "visitorIds": visitor_ids}).to_string()
}

/// An agent's wish to see a visitor's screen.
pub(super) fn join(id: u64, visitor_id: &str) -> String {
    json!({"type": "join", "id": id, "visitorId": visitor_id, "kind": "screen"}).to_string()
}

/// A visitor's word that the offer is on its screen.
pub(super) fn offer_displayed(request_id: &str) -> String {
    json!({"type": "offerDisplayed", "requestId": request_id}).to_string()
}

/// A visitor's consent.
pub(super) fn accept_terms(request_id: &str, version: &Value) -> String {
    let mut message = json!({"type": "terms", "requestId": request_id, "accepted": true});
    if !version.is_null() {
        message["termsVersion"] = version.clone();
    }
    message.to_string()
}

/// A participant's first message.
pub(super) fn attach(ticket: &str) -> String {
    json!({"type": "attach", "ticket": ticket}).to_string()
}

/// A participant's first message on a connection that follows a lost one.
pub(super) fn resume(token: &str) -> String {
    json!({"type": "attach", "resumeToken": token}).to_string()
}

/// A viewer's word that it drew a frame of the screen.
pub(super) fn ack(sequence: u32) -> String {
    json!({"type": "ack", "stream": 0, "seq": sequence}).to_string()
}

/// Presence of a visitor: page, client facts and custom data, together of an exact size as JSON.
#[derive(Debug)]
pub(super) struct Presence(Vec<(&'static str, Value)>);

/// Longest custom value used; below the server's cap of 512 bytes.
const VALUE_BYTES: usize = 500;

/// `{"a":""}`, from which on custom data can have any size.
const SMALLEST_DATA: usize = 8;

impl Presence {
    /// Presence whose values take `bytes` bytes of JSON: what is too small for page and client facts is
    /// custom data alone.
    pub(super) fn sized(n: usize, bytes: usize) -> Self {
        let page = json!({"url": format!("https://shop.example/p/{n:06}"), "title": format!("Page {n:06}")});
        let client = json!({"platform": "Linux", "language": "en", "screen": "1280x720"});
        let mut fields = Vec::new();
        let mut left = bytes;
        for (name, value) in [("page", page), ("client", client)] {
            let size = value.to_string().len();
            // The rest must be a size that custom data can have.
            if size + SMALLEST_DATA <= left {
                left -= size;
                fields.push((name, value));
            }
        }
        if left >= 2 {
            fields.push(("data", filled(left)));
        }
        Self(fields)
    }

    /// A lamp visitor's presence after its nth change.
    pub(super) fn counted(n: u64) -> Self {
        Self(vec![("visibility", json!(visibility(n))), ("data", json!({"n": n}))])
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.0.iter().map(|(_, value)| value.to_string().len()).sum()
    }
}

/// A flat object whose JSON has `bytes` bytes; below 8, where no pair fits, an empty one.
fn filled(bytes: usize) -> Value {
    /// `"a":""` and the comma or brace that comes with it.
    const PAIR: usize = 7;
    let mut data = serde_json::Map::new();
    // The opening brace; each pair brings the comma before the next or the closing brace.
    let mut left = bytes - 1;
    while left >= PAIR && data.len() < 26 {
        let mut length = (left - PAIR).min(VALUE_BYTES);
        let rest = left - PAIR - length;
        // What remains must be nothing or enough for another pair.
        if rest > 0 && rest < PAIR {
            length -= PAIR - rest;
        }
        let key = char::from(b'a' + u8::try_from(data.len()).expect("below 26"));
        data.insert(key.to_string(), Value::String("x".repeat(length)));
        left -= PAIR + length;
    }
    Value::Object(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presence_has_the_asked_size() {
        for bytes in [8, 9, 60, 200, 201, 640, 641, 645, 1_000, 1_203, 4_000] {
            assert_eq!(Presence::sized(7, bytes).bytes(), bytes, "{bytes}");
        }
        assert_eq!(Presence::sized(7, 0).bytes(), 0);
        let text = visitor_connect("demo", "load-000007", &Presence::sized(7, 200));
        assert!(
            text.contains("\"page\"") && text.contains("\"client\"") && text.contains("\"data\""),
            "{text}"
        );
    }

    #[test]
    fn what_is_not_needed_is_other() {
        let heard: AgentHears = serde_json::from_str(r#"{"type":"liveDiff","joined":[1]}"#).unwrap();
        assert!(matches!(heard, AgentHears::Other));
        let heard: SessionHears =
            serde_json::from_str(r#"{"type":"keyFrameRequest","stream":0,"more":{}}"#).unwrap();
        assert!(matches!(heard, SessionHears::KeyFrameRequest {}));
    }

    #[test]
    fn a_push_is_read() {
        let text = r#"{"type":"presence","visitor":{"visitorId":"v","state":"hidden","since":"x","version":9,
            "connections":1,"focused":null,"data":{"n":3,"k":"v"},"verified":false}}"#;
        let AgentHears::Presence { visitor } = serde_json::from_str(text).unwrap() else { panic!("{text}") };
        let float = |n| SeenData { n: Some(n) }.number();
        assert_eq!((float(3.0), float(3.5), float(-1.0)), (Some(3), None, None));
        assert_eq!((visitor.version, visitor.data.unwrap().number()), (Some(9), Some(3)));
    }
}
