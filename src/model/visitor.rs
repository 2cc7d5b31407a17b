//! A visitor as others see it: its state, its version and its JSON.
//!
//! Decides how a visitor is told to agents and other nodes. Does not decide the state; that is
//! [`super::presence`], whose machine is the only author of a fresh [`VisitorView`]. Directory, live list and
//! agent sockets read.
//!
//! Memory: the machine keeps only encoded parts. A [`VisitorView`] borrows them and costs nothing; a
//! [`Snapshot`] owns one text, the finished JSON, and is built only when somebody looks (a watcher, a live
//! list, another node) and then shared by `Arc`. An idle visitor that nobody watches has none.

use std::fmt::Write;
use std::ops::Range;

use super::codes::Code;
use crate::clock::Wall;
use crate::ids::{SessionId, VisitorKey};
pub use crate::wire::agent::PresenceState as State;

/// Versions stay below this, so that a JavaScript number holds them exactly.
pub const VERSION_END: u64 = 1 << 53;

/// The end of the year 9999, the last moment that RFC 3339 can write.
const LAST_MOMENT: Wall = Wall(253_402_300_799_999);

/// The version after `last`: never less than 1,024 per wall millisecond, so that a visitor who was
/// forgotten, or returns on another node, starts above what it had.
///
/// An absurd wall clock stops counting 2³² below [`VERSION_END`]; single steps then still fit.
pub fn next_version(last: u64, wall: Wall) -> u64 {
    let by_clock = wall.0.saturating_mul(1024).min(VERSION_END - (1 << 32));
    by_clock.max(last.saturating_add(1)).min(VERSION_END - 1)
}

/// A visitor's published facts, borrowed from whoever keeps them. `page`, `client` and `data` are encoded
/// JSON objects, or empty when nothing is known; they are spliced unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VisitorView<'a> {
    /// Who.
    pub key: &'a VisitorKey,
    /// Whether it is here.
    pub state: State,
    /// When that state began.
    pub since: Wall,
    /// Grows with each change; a reader drops what is older than what it has.
    pub version: u64,
    /// Live connections; within grace, those of the moment before.
    pub connections: u32,
    /// The focused connection's page.
    pub page: &'a str,
    /// The focused connection's client facts.
    pub client: &'a str,
    /// Custom data.
    pub data: &'a str,
    /// Whether the focused connection proved its visitor ID.
    pub verified: bool,
    /// The session that the visitor is in.
    pub session: Option<SessionId>,
    /// The code to read out, for a unique visitor.
    pub code: Option<Code>,
}

impl<'a> VisitorView<'a> {
    /// A visitor of whom nothing is known but that it is not here.
    pub fn absent(key: &'a VisitorKey, since: Wall, version: u64) -> Self {
        Self {
            key,
            state: State::Absent,
            since,
            version,
            connections: 0,
            page: "",
            client: "",
            data: "",
            verified: false,
            session: None,
            code: None,
        }
    }

    /// The same facts when their node cannot be reached. The version stays: this is the reader's doubt and
    /// no news of the visitor, and the node's own next word, even the same one, must win.
    #[must_use]
    pub fn unknown(self, since: Wall) -> Self {
        Self { state: State::Unknown, since, ..self }
    }

    /// The `visitor` object of the wire contract.
    pub fn encode_json(&self) -> String {
        self.encode().0
    }

    /// The owned form, with its JSON.
    pub fn snapshot(&self) -> Snapshot {
        let (json, [page, client, data]) = self.encode();
        Snapshot {
            key: self.key.clone(),
            state: self.state,
            since: self.since,
            version: self.version,
            connections: self.connections,
            verified: self.verified,
            session: self.session,
            code: self.code,
            json: json.into_boxed_str(),
            page,
            client,
            data,
        }
    }

    /// The JSON, and where page, client and data lie in it.
    fn encode(&self) -> (String, [Span; 3]) {
        let parts = self.page.len() + self.client.len() + self.data.len();
        let mut json = String::with_capacity(300 + parts);
        let wrote = write!(
            json,
            r#"{{"visitorId":"{}","state":"{}","since":"{}","version":{},"connections":{},"focused":{{"#,
            self.key.visitor,
            self.state.as_str(),
            self.since.min(LAST_MOMENT),
            self.version,
            self.connections
        );
        wrote.expect("a text takes what is written, and the moment is within the calendar");
        let mut spans = [Span::default(); 3];
        if !self.page.is_empty() {
            json.push_str(r#""page":"#);
            spans[0] = Span::append(&mut json, self.page);
        }
        if !self.client.is_empty() {
            json.push_str(if self.page.is_empty() { r#""client":"# } else { r#","client":"# });
            spans[1] = Span::append(&mut json, self.client);
        }
        json.push_str(r#"},"data":"#);
        if self.data.is_empty() {
            json.push_str("{}");
        } else {
            spans[2] = Span::append(&mut json, self.data);
        }
        json.push_str(if self.verified { r#","verified":true"# } else { r#","verified":false"# });
        if let Some(session) = self.session {
            write!(json, r#","sessionId":"{session}""#).expect("a text takes what is written");
        }
        if let Some(code) = self.code {
            write!(json, r#","code":"{code}""#).expect("a text takes what is written");
        }
        json.push('}');
        (json, spans)
    }
}

/// Where a part lies in a snapshot's JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn append(json: &mut String, part: &str) -> Self {
        let position = |json: &String| u32::try_from(json.len()).expect("presence data is bounded");
        let start = position(json);
        json.push_str(part);
        Self { start, end: position(json) }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A visitor's published facts, owned: one text beside the key. Share it by `Arc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    key: VisitorKey,
    state: State,
    since: Wall,
    version: u64,
    connections: u32,
    verified: bool,
    session: Option<SessionId>,
    code: Option<Code>,
    json: Box<str>,
    page: Span,
    client: Span,
    data: Span,
}

impl Snapshot {
    /// Who.
    pub fn key(&self) -> &VisitorKey {
        &self.key
    }

    /// Whether it is here.
    pub fn state(&self) -> State {
        self.state
    }

    /// When that state began.
    pub fn since(&self) -> Wall {
        self.since
    }

    /// Grows with each change of the visitor.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The `visitor` object of the wire contract, encoded when the snapshot was made.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The same facts, borrowed and apart.
    pub fn view(&self) -> VisitorView<'_> {
        VisitorView {
            key: &self.key,
            state: self.state,
            since: self.since,
            version: self.version,
            connections: self.connections,
            page: &self.json[self.page.range()],
            client: &self.json[self.client.range()],
            data: &self.json[self.data.range()],
            verified: self.verified,
            session: self.session,
            code: self.code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{GroupId, VisitorId};

    fn key() -> VisitorKey {
        VisitorKey { group: GroupId::new("demo").unwrap(), visitor: VisitorId::new("C-1001").unwrap() }
    }

    #[test]
    fn the_json_is_pinned() {
        let key = key();
        let full = VisitorView {
            key: &key,
            state: State::Present,
            since: Wall(1_893_456_000_123),
            version: 7,
            connections: 2,
            page: r#"{"url":"/a"}"#,
            client: r#"{"language":"de"}"#,
            data: r#"{"plan":"gold"}"#,
            verified: true,
            session: Some(SessionId::from_u128(1)),
            code: Code::parse("004217"),
        };
        assert_eq!(
            full.encode_json(),
            concat!(
                r#"{"visitorId":"C-1001","state":"present","since":"2030-01-01T00:00:00.123Z","version":7,"#,
                r#""connections":2,"focused":{"page":{"url":"/a"},"client":{"language":"de"}},"#,
                r#""data":{"plan":"gold"},"verified":true,"#,
                r#""sessionId":"00000000-0000-0000-0000-000000000001","code":"004217"}"#
            )
        );
        let doubt = VisitorView { page: "", session: None, code: None, ..full }.unknown(Wall(0));
        assert_eq!(
            doubt.encode_json(),
            concat!(
                r#"{"visitorId":"C-1001","state":"unknown","since":"1970-01-01T00:00:00.000Z","version":7,"#,
                r#""connections":2,"focused":{"client":{"language":"de"}},"data":{"plan":"gold"},"verified":true}"#
            )
        );
        assert_eq!(
            VisitorView::absent(&key, Wall(0), 9).encode_json(),
            concat!(
                r#"{"visitorId":"C-1001","state":"absent","since":"1970-01-01T00:00:00.000Z","version":9,"#,
                r#""connections":0,"focused":{},"data":{},"verified":false}"#
            )
        );
        for view in [full, doubt, VisitorView::absent(&key, Wall(0), 9)] {
            let snapshot = view.snapshot();
            assert_eq!(snapshot.view(), view);
            assert_eq!(snapshot.json(), view.encode_json());
            serde_json::from_str::<serde_json::Value>(snapshot.json()).unwrap();
        }
    }

    #[test]
    fn versions_follow_the_clock_and_never_stand_still() {
        for (last, wall, next) in [
            (0, 0, 1),
            (0, 1_893_456_000_123, 1_893_456_000_123 * 1024),
            (1_893_456_000_123 * 1024, 1_893_456_000_123, 1_893_456_000_123 * 1024 + 1),
            (1_893_456_000_123 * 1024, 5, 1_893_456_000_123 * 1024 + 1),
            (3, u64::MAX, VERSION_END - (1 << 32)),
            (VERSION_END - (1 << 32), u64::MAX, VERSION_END - (1 << 32) + 1),
        ] {
            assert_eq!(next_version(last, Wall(wall)), next);
        }
    }

    #[test]
    fn state_names_are_those_of_serde() {
        for state in [State::Present, State::Hidden, State::Absent, State::Unknown] {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("{:?}", state.as_str()));
        }
    }
}
