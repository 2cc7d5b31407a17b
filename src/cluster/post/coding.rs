//! Letters as protobuf, for posts that leave the process.

use bytes::Bytes;
use prost::Message as _;
use serde::Deserialize as _;
use serde::de::value::{Error as ValueError, StrDeserializer};

use super::{Door, JoinFacts, Letter, StageFacts, ViewerFacts, WireId};
use crate::cluster::NodeId;
use crate::ids::{AgentId, GroupId, SessionId, VisitorId, VisitorKey};
use crate::model::session::Shown;
use crate::pb::wire as pb;
use crate::wire::frame::Source;
use crate::wire::session::{Role, Side};
use crate::wire::visitor::{SessionKind, Visibility};

/// Letters of one node, numbered.
#[derive(Debug, PartialEq)]
pub(in crate::cluster) struct Bundle {
    /// The sender.
    pub(in crate::cluster) from: NodeId,
    /// Its run of numbers.
    pub(in crate::cluster) run: u64,
    /// The number of the first letter.
    pub(in crate::cluster) first: u64,
    /// The letters; none in place of one that a newer node sent and that is not known here.
    pub(in crate::cluster) letters: Vec<Option<Letter>>,
}

impl Bundle {
    pub(in crate::cluster) fn read(bytes: &[u8]) -> Option<Self> {
        let bundle = pb::Bundle::decode(bytes).ok()?;
        let from = NodeId(u128::from_be_bytes(bundle.from.as_slice().try_into().ok()?));
        let letters = bundle.letters.into_iter().map(|letter| read(letter.what?)).collect();
        Some(Self { from, run: bundle.run, first: bundle.first, letters })
    }

    pub(in crate::cluster) fn encode(&self) -> Vec<u8> {
        let letters = self.letters.iter().map(|letter| pb::Letter { what: letter.as_ref().map(write) });
        let from = self.from.0.to_be_bytes().to_vec();
        pb::Bundle { from, run: self.run, first: self.first, letters: letters.collect() }.encode_to_vec()
    }
}

fn session(bytes: &[u8]) -> Option<SessionId> {
    Some(SessionId::from_bytes(bytes.try_into().ok()?))
}

fn kind(name: &str) -> Option<SessionKind> {
    SessionKind::deserialize(StrDeserializer::<ValueError>::new(name)).ok()
}

fn read(what: pb::letter::What) -> Option<Letter> {
    use pb::letter::What;
    Some(match what {
        What::Open(open) => Letter::Open(WireId(open.wire), read_door(open.door?)?),
        What::Said(said) => {
            let join = said.join.map(|join| {
                Box::new(JoinFacts {
                    visitor: VisitorId::new(&join.visitor).ok(),
                    record: serde_json::from_str(&join.record).ok(),
                    logged: join.logged,
                    follows: join.follows,
                })
            });
            Letter::Said { wire: WireId(said.wire), text: said.text, ask: said.ask, join }
        }
        What::Closed(wire) => Letter::Closed(WireId(wire)),
        What::Attached(attached) => Letter::Attached {
            wire: WireId(attached.wire),
            role: if attached.publisher { Role::Publisher } else { Role::Viewer },
            side: if attached.agent { Side::Agent } else { Side::Guest },
            streams: attached.streams,
            shown: kind(&attached.kind).zip(kind(&attached.shows)).map(|(kind, now)| Shown { kind, now }),
        },
        What::Tell(tell) => {
            Letter::Tell { wire: WireId(tell.wire), text: Bytes::from(tell.text), ask: tell.ask }
        }
        What::End(end) => {
            Letter::End { wire: WireId(end.wire), code: end.code.try_into().ok()?, reason: end.reason }
        }
        What::Stage(stage) => read_stage(Source::Screen, &stage)?,
        What::CameraStage(stage) => read_stage(Source::Camera, &stage)?,
        What::Key(key) => Letter::Key(session(&key.session)?, key.stream),
        What::Viewers(told) => read_viewers(Source::Screen, told)?,
        What::CameraViewers(told) => read_viewers(Source::Camera, told)?,
        What::Relayed(told) => Letter::Relayed(session(&told.session)?, told.frames, told.bytes),
        What::Ask(ask) => Letter::Ask(ask.number, ask.text),
        What::Answer(answer) => Letter::Answer(answer.number, answer.text),
        What::Reset(pb::Reset {}) => Letter::Reset,
    })
}

fn read_stage(source: Source, stage: &pb::Stage) -> Option<Letter> {
    let facts = StageFacts {
        term: stage.term,
        paused: stage.paused,
        publisher: stage.publisher.map(WireId),
        wanted: stage.wanted,
    };
    Some(Letter::Stage(session(&stage.session)?, source, facts))
}

fn read_viewers(source: Source, told: pb::Viewers) -> Option<Letter> {
    let facts = |viewer: pb::viewers::Viewer| ViewerFacts {
        id: viewer.id,
        sent: viewer.sent,
        lagging: viewer.lagging,
    };
    Some(Letter::Viewers(session(&told.session)?, source, told.viewers.into_iter().map(facts).collect()))
}

fn read_door(door: pb::open::Door) -> Option<Door> {
    use pb::open::Door as Wire;
    Some(match door {
        Wire::Visitor(visitor) => Door::Visitor {
            key: VisitorKey {
                group: GroupId::new(&visitor.group).ok()?,
                visitor: VisitorId::new(&visitor.visitor).ok()?,
            },
            verified: visitor.verified,
            unique: visitor.unique,
            issued: visitor.issued,
            visibility: if visitor.hidden { Visibility::Hidden } else { Visibility::Visible },
            facts: visitor.facts,
        },
        Wire::Agent(agent) => Door::Agent {
            group: GroupId::new(&agent.group).ok()?,
            agent: AgentId::new(&agent.agent).ok()?,
            name: agent.name.into(),
        },
        Wire::Participant(participant) => Door::Participant {
            session: session(&participant.session)?,
            attach: participant.attach,
            id: participant.id,
        },
    })
}

fn write(letter: &Letter) -> pb::letter::What {
    use pb::letter::What;
    let id = |session: &SessionId| session.bytes().to_vec();
    match letter {
        Letter::Open(wire, door) => What::Open(pb::Open { wire: wire.0, door: Some(write_door(door)) }),
        Letter::Said { wire, text, ask, join } => {
            let join = join.as_ref().map(|facts| pb::said::Join {
                visitor: facts.visitor.as_ref().map(ToString::to_string).unwrap_or_default(),
                record: facts.record.as_ref().map(json).unwrap_or_default(),
                logged: facts.logged,
                follows: facts.follows,
            });
            What::Said(pb::Said { wire: wire.0, text: text.clone(), ask: *ask, join })
        }
        Letter::Closed(wire) => What::Closed(wire.0),
        Letter::Attached { wire, role, side, streams, shown } => {
            let name =
                |kind: fn(&Shown) -> SessionKind| shown.as_ref().map(kind).map_or("", SessionKind::as_str);
            What::Attached(pb::Attached {
                wire: wire.0,
                publisher: *role == Role::Publisher,
                agent: *side == Side::Agent,
                streams: streams.clone(),
                kind: name(|shown| shown.kind).to_owned(),
                shows: name(|shown| shown.now).to_owned(),
            })
        }
        Letter::Tell { wire, text, ask } => {
            What::Tell(pb::Tell { wire: wire.0, text: text.to_vec(), ask: *ask })
        }
        Letter::End { wire, code, reason } => {
            What::End(pb::End { wire: wire.0, code: (*code).into(), reason: reason.clone() })
        }
        Letter::Stage(session, source, facts) => {
            let stage = pb::Stage {
                session: id(session),
                term: facts.term,
                paused: facts.paused,
                publisher: facts.publisher.map(|wire| wire.0),
                wanted: facts.wanted,
            };
            match source {
                Source::Screen => What::Stage(stage),
                Source::Camera => What::CameraStage(stage),
            }
        }
        Letter::Key(session, stream) => What::Key(pb::Key { session: id(session), stream: *stream }),
        Letter::Viewers(session, source, viewers) => {
            let viewer = |viewer: &ViewerFacts| pb::viewers::Viewer {
                id: viewer.id,
                sent: viewer.sent,
                lagging: viewer.lagging,
            };
            let viewers = viewers.iter().map(viewer).collect();
            let told = pb::Viewers { session: id(session), viewers };
            match source {
                Source::Screen => What::Viewers(told),
                Source::Camera => What::CameraViewers(told),
            }
        }
        Letter::Relayed(session, frames, bytes) => {
            What::Relayed(pb::Relayed { session: id(session), frames: *frames, bytes: *bytes })
        }
        Letter::Ask(number, text) => What::Ask(pb::Ask { number: *number, text: text.clone() }),
        Letter::Answer(number, text) => What::Answer(pb::Ask { number: *number, text: text.clone() }),
        Letter::Reset => What::Reset(pb::Reset {}),
    }
}

fn write_door(door: &Door) -> pb::open::Door {
    use pb::open::Door as Wire;
    match door {
        Door::Visitor { key, verified, unique, issued, visibility, facts } => {
            Wire::Visitor(pb::open::Visitor {
                group: key.group.to_string(),
                visitor: key.visitor.to_string(),
                verified: *verified,
                unique: *unique,
                issued: *issued,
                hidden: *visibility == Visibility::Hidden,
                facts: facts.clone(),
            })
        }
        Door::Agent { group, agent, name } => Wire::Agent(pb::open::Agent {
            group: group.to_string(),
            agent: agent.to_string(),
            name: name.to_string(),
        }),
        Door::Participant { session, attach, id } => Wire::Participant(pb::open::Participant {
            session: session.bytes().to_vec(),
            attach: attach.clone(),
            id: *id,
        }),
    }
}

fn json(record: &crate::wire::agent::Record) -> String {
    serde_json::to_string(record).expect("a record is plain values")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::agent::Record;

    /// One of each kind.
    fn letters() -> Vec<Letter> {
        let (wire, session) = (WireId(7), SessionId::from_u128(9));
        let key =
            VisitorKey { group: GroupId::new("demo").unwrap(), visitor: VisitorId::new("C-1").unwrap() };
        let record: Record = serde_json::from_str(r#"{"object":"Case","id":"5"}"#).unwrap();
        let facts = "{\"page\":null}".to_owned();
        let visibility = Visibility::Hidden;
        let visitor = Door::Visitor { key, verified: true, unique: false, issued: true, visibility, facts };
        let agent = Door::Agent {
            group: GroupId::new("demo").unwrap(),
            agent: AgentId::new("alice").unwrap(),
            name: "Alice".into(),
        };
        let participant = Door::Participant { session, attach: "{}".into(), id: Some(0) };
        let whom = Some(VisitorId::new("C-1").unwrap());
        let join = JoinFacts { visitor: whom, record: Some(record), logged: true, follows: true };
        let (text, reason) = ("{}".to_owned(), "later".to_owned());
        let shown = Some(Shown { kind: SessionKind::Cobrowse, now: SessionKind::Screen });
        vec![
            Letter::Open(wire, visitor),
            Letter::Open(wire, agent),
            Letter::Open(wire, participant),
            Letter::Said { wire, text: text.clone(), ask: 3, join: Some(Box::new(join)) },
            Letter::Said { wire, text, ask: 0, join: None },
            Letter::Closed(wire),
            Letter::Attached { wire, role: Role::Publisher, side: Side::Agent, streams: vec![0, 1], shown },
            Letter::Attached { wire, role: Role::Viewer, side: Side::Guest, streams: vec![], shown: None },
            Letter::Tell { wire, text: Bytes::from_static(b"{}"), ask: 4 },
            Letter::End { wire, code: 4000, reason },
            Letter::Stage(
                session,
                Source::Screen,
                StageFacts { term: 5, paused: true, publisher: Some(WireId(0)), wanted: true },
            ),
            Letter::Stage(
                session,
                Source::Camera,
                StageFacts { term: 6, paused: false, publisher: None, wanted: false },
            ),
            Letter::Key(session, 1),
            Letter::Viewers(session, Source::Screen, vec![ViewerFacts { id: 1, sent: 2, lagging: true }]),
            Letter::Viewers(session, Source::Camera, Vec::new()),
            Letter::Relayed(session, 1, 2),
            Letter::Ask(1, "{}".to_owned()),
            Letter::Answer(1, "null".to_owned()),
            Letter::Reset,
        ]
    }

    #[test]
    fn every_letter_is_read_as_it_was_written() {
        let letters = letters().into_iter().map(Some).collect();
        let bundle = Bundle { from: NodeId(u128::MAX - 1), run: 2, first: 3, letters };
        assert_eq!(Bundle::read(&bundle.encode()), Some(bundle));
    }

    #[test]
    fn fields_of_newer_nodes_are_ignored_in_every_letter() {
        /// Field 1,000 with two bytes.
        const MORE: [u8; 5] = [0xc2, 0x3e, 0x02, 1, 2];
        let length = |bytes: &mut Vec<u8>, mut left: usize| {
            while left > 0x7f {
                bytes.push(left as u8 | 0x80);
                left >>= 7;
            }
            bytes.push(left as u8);
        };
        for letter in letters() {
            let known = pb::Letter { what: Some(write(&letter)) }.encode_to_vec();
            // Within the letter's own message, where it is one, and beside it.
            let mut bytes = if known[0] & 7 == 2 {
                let start = 1 + known[1..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
                let mut more = vec![known[0]];
                length(&mut more, known.len() - start + MORE.len());
                more.extend(&known[start..]);
                more.extend(MORE);
                more
            } else {
                known
            };
            bytes.extend(MORE);
            let mut bundle = Bundle { from: NodeId(1), run: 1, first: 1, letters: Vec::new() }.encode();
            bundle.push(0x22);
            length(&mut bundle, bytes.len());
            bundle.extend(bytes);
            bundle.extend(MORE);
            assert_eq!(Bundle::read(&bundle).unwrap().letters, [Some(letter)]);
        }
    }

    #[test]
    fn what_a_newer_node_says_counts_and_is_not_acted_on() {
        // A letter with only a field of number 1,000.
        let unknown = [0xc2, 0x3e, 0x00];
        let mut bytes = Bundle { from: NodeId(1), run: 1, first: 1, letters: Vec::new() }.encode();
        bytes.extend([0x22, unknown.len() as u8]);
        bytes.extend(unknown);
        assert_eq!(Bundle::read(&bytes).unwrap().letters, [None]);
        assert_eq!(Bundle::read(b"junk"), None);
    }
}
