//! What is posted to the feed of a record: who started a session there and who joined it.
//!
//! Decides which words of a session become posts, what they say and where they lead. Does not decide where
//! posts are kept ([`crate::store::Feed`]) or who hears of them. Driven by the hub, which gives it each word
//! of a session in order, with the group's setting of the moment.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::event::{Actor, Event, Post, What};
use super::session::{Happened, Person};
use crate::clock::Wall;
use crate::ids::{AgentId, EventId, SessionId, VisitorId};
use crate::wire::agent::Record;

/// A record, by what tells it from others: object and id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Its object.
    pub object: Box<str>,
    /// Its id there.
    pub id: Box<str>,
}

impl From<&Record> for Place {
    fn from(record: &Record) -> Self {
        Self { object: record.object.clone(), id: record.id.clone() }
    }
}

/// A post in its record's feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its id, which is that of its event.
    pub id: EventId,
    /// The record.
    pub record: Record,
    /// When.
    pub at: Wall,
    /// Who wrote it.
    pub by: Actor,
    /// The session it is about.
    pub session: Option<SessionId>,
    /// What it says and where it leads.
    pub post: Post,
}

impl Item {
    /// The post that an event tells of, if it does.
    pub fn of(event: &Event) -> Option<Self> {
        let (What::FeedPosted(post), Some(record)) = (&event.what, &event.record) else { return None };
        Some(Self {
            id: event.id,
            record: record.clone(),
            at: event.at,
            by: event.actor.clone(),
            session: event.session,
            post: post.clone(),
        })
    }
}

/// The page behind a post's link: it opens the session.
pub fn link(session: SessionId) -> String {
    format!("/s/{session}")
}

/// What one session posts: one post for the agent that started it and one for each other that joined,
/// however often they come back.
///
/// Nothing is posted before the visitor's side is there: until then nothing has started. It is saved with its
/// session, so that nobody posts again on another node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chatter {
    session: SessionId,
    visitor: Option<VisitorId>,
    asker: (AgentId, Arc<str>),
    started: bool,
    /// Agents that are there already, while nothing has started.
    early: Vec<(AgentId, Arc<str>)>,
    posted: Vec<AgentId>,
}

/// An agent's post, still without an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Who posts.
    pub agent: AgentId,
    /// The agent's name for people.
    pub name: Arc<str>,
    /// What it says.
    pub text: String,
    /// Where it leads.
    pub link: String,
}

impl Draft {
    /// The details of its event.
    pub fn post(self, id: EventId) -> Post {
        Post {
            post: id.to_string(),
            text: self.text,
            link: Some(self.link),
            author: Some(self.name.as_ref().to_owned()),
        }
    }
}

impl Chatter {
    /// Of a session that an agent asked for; without a visitor it is the agent's own screen.
    pub fn new(session: SessionId, visitor: Option<VisitorId>, asker: (AgentId, Arc<str>)) -> Self {
        Self { session, visitor, asker, started: false, early: Vec::new(), posted: Vec::new() }
    }

    /// Takes the session's next word and returns what is to be posted. `on` is the setting: what happens
    /// while it is off is not posted later.
    pub fn handle(&mut self, happened: &Happened, on: bool) -> SmallVec<[Draft; 1]> {
        let mut drafts = SmallVec::new();
        match happened {
            Happened::Started => {
                self.started = true;
                let early = std::mem::take(&mut self.early);
                if on {
                    let (agent, name) = self.asker.clone();
                    drafts.extend(self.draft(agent, name, "started"));
                    for (agent, name) in early {
                        drafts.extend(self.draft(agent, name, "joined"));
                    }
                }
            }
            Happened::Joined(Person { agent: Some(agent), name, .. }) => {
                let (agent, name) = (agent.clone(), Arc::clone(name));
                if !self.started {
                    self.early.push((agent, name));
                } else if on {
                    drafts.extend(self.draft(agent, name, "joined"));
                }
            }
            Happened::Left(Person { agent: Some(agent), .. }) => self.early.retain(|early| early.0 != *agent),
            _ => {}
        }
        drafts
    }

    fn draft(&mut self, agent: AgentId, name: Arc<str>, did: &str) -> Option<Draft> {
        if self.posted.contains(&agent) {
            return None;
        }
        self.posted.push(agent.clone());
        let text = match &self.visitor {
            Some(visitor) => format!("{name} {did} a session with {visitor}."),
            None => format!("{name} {did} a screen share."),
        };
        Some(Draft { agent, name, text, link: link(self.session) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ParticipantId;
    use crate::wire::session::{Role, Side};
    use proptest::prelude::*;

    const SESSION: SessionId = SessionId::from_u128(1);

    fn agent(name: &str) -> AgentId {
        AgentId::new(name).unwrap()
    }

    fn chatter() -> Chatter {
        Chatter::new(SESSION, VisitorId::new("C-1").ok(), (agent("alice"), "Alice".into()))
    }

    fn person(name: &str) -> Person {
        let side = if name == "guest" { Side::Guest } else { Side::Agent };
        Person {
            participant: ParticipantId::from_u128(1),
            role: Role::Viewer,
            side,
            name: name.into(),
            agent: (side == Side::Agent).then(|| agent(name)),
        }
    }

    /// What happened, and whether the setting was on.
    type Word = (Happened, bool);

    fn told(words: &[Word]) -> Vec<String> {
        let mut chatter = chatter();
        let drafts = words.iter().flat_map(|(word, on)| chatter.handle(word, *on));
        drafts.map(|draft| draft.text).collect()
    }

    #[test]
    fn start_and_join_are_posted_once_for_each_agent() {
        use Happened::{Joined, Left, Started};
        let (alice, bob) = (|| person("alice"), || person("bob"));
        let start = "Alice started a session with C-1.".to_owned();
        let join = "bob joined a session with C-1.".to_owned();
        let cases: Vec<(Vec<Word>, Vec<String>)> = vec![
            (vec![(Joined(alice()), true)], vec![]),
            (vec![(Joined(alice()), true), (Started, true)], vec![start.clone()]),
            (vec![(Started, true), (Joined(alice()), true)], vec![start.clone()]),
            (
                vec![(Joined(bob()), true), (Joined(person("guest")), true), (Started, true)],
                vec![start.clone(), join.clone()],
            ),
            (vec![(Joined(bob()), true), (Left(bob()), true), (Started, true)], vec![start.clone()]),
            (
                vec![(Started, true), (Joined(bob()), true), (Left(bob()), true), (Joined(bob()), true)],
                vec![start, join.clone()],
            ),
            (vec![(Started, false), (Joined(alice()), false), (Joined(bob()), true)], vec![join]),
        ];
        for (words, wanted) in cases {
            assert_eq!(told(&words), wanted, "{words:?}");
        }
    }

    #[test]
    fn a_post_leads_to_the_session() {
        let mut chatter = chatter();
        let draft = chatter.handle(&Happened::Started, true).pop().unwrap();
        let post = draft.post(EventId::from_u128(7));
        assert_eq!(post.link.as_deref(), Some("/s/00000000-0000-0000-0000-000000000001"));
        assert_eq!(post.author.as_deref(), Some("Alice"));
        assert_eq!(post.post, EventId::from_u128(7).to_string());
    }

    proptest! {
        #[test]
        fn no_agent_posts_twice(words in prop::collection::vec((0..4u8, 0..3usize, any::<bool>()), 0..40)) {
            let mut chatter = chatter();
            let mut posted = Vec::new();
            for (word, who, on) in words {
                let who = person(["alice", "bob", "carol"][who]);
                let word = match word {
                    0 => Happened::Started,
                    1 | 2 => Happened::Joined(who),
                    _ => Happened::Left(who),
                };
                for draft in chatter.handle(&word, on) {
                    prop_assert!(on && !posted.contains(&draft.agent));
                    posted.push(draft.agent);
                }
            }
        }
    }
}
