//! Letters between nodes: what is said on wires, in order, and told as lost where it is not delivered.
//!
//! A **wire** is a client's connection whose socket is on one node, the **edge**, and whose seat is on another,
//! its **home**. Letters from one node to another arrive in order and once, or the receiver is told that the
//! sender is lost, and drops every wire between the two; so a wire never misses a word silently. Frames of
//! sessions travel apart: they may be lost, and carry numbers by which that is seen.
//!
//! Does not decide what letters lead to: the hub does.

pub mod memory;
pub mod redis;

mod coding;
#[cfg(test)]
mod suite;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::NodeId;
use crate::ids::{AgentId, GroupId, SessionId, VisitorKey};
use crate::limits;
use crate::model::session::Shown;
use crate::wire::agent::Record;
use crate::wire::frame::Source;
use crate::wire::session::{Role, Side};
use crate::wire::visitor::Visibility;

/// Names a wire among those of its edge node. Never reused while that node lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WireId(pub u64);

/// Who is at the other end of a wire. What the edge says of it was checked there.
#[derive(Debug, Clone, PartialEq)]
pub enum Door {
    /// A visitor's tab.
    Visitor {
        /// Who it is.
        key: VisitorKey,
        /// Whether it proved that.
        verified: bool,
        /// Whether the id is one of the server's own.
        unique: bool,
        /// Whether the id was issued just now.
        issued: bool,
        /// Whether the tab can be seen.
        visibility: Visibility,
        /// What its page told, as JSON.
        facts: String,
    },
    /// An agent's page, for its requests.
    Agent {
        /// Its group.
        group: GroupId,
        /// Its name there.
        agent: AgentId,
        /// Name for people.
        name: Arc<str>,
    },
    /// A participant of a session.
    Participant {
        /// The session.
        session: SessionId,
        /// Its `attach` message, as JSON.
        attach: String,
        /// The id that the answer must carry.
        id: Option<u64>,
    },
}

/// What an edge adds to an agent's `join`, which only it can know.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JoinFacts {
    /// The visitor, where a record led to it.
    pub visitor: Option<crate::ids::VisitorId>,
    /// The record on the agent's screen.
    pub record: Option<Record>,
    /// Whether the session is to become events and a record.
    pub logged: bool,
    /// The agent is in the session already, which came to this node: its page only hears of it again.
    pub follows: bool,
}

/// Where a session's frames come from and whether they are wanted, as its home tells a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageFacts {
    /// Grows with each change of the publisher and each pause; frames carry it.
    pub term: u64,
    /// Whether nobody may see anything now.
    pub paused: bool,
    /// The wire of the publisher, if it is one of the node told.
    pub publisher: Option<WireId>,
    /// Whether viewers on other nodes want the frames of a publisher on the node told.
    pub wanted: bool,
}

/// A viewer as other nodes count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewerFacts {
    /// Tells it from others.
    pub id: u64,
    /// Bytes of frames handed to its socket so far.
    pub sent: u64,
    /// Whether it waits for a key frame.
    pub lagging: bool,
}

/// What one node says to another.
#[derive(Debug, Clone, PartialEq)]
pub enum Letter {
    /// Edge to home: a client is there.
    Open(WireId, Door),
    /// Edge to home: it said this, which the edge could read. `ask` names the question where an answer is owed.
    Said {
        /// On which wire.
        wire: WireId,
        /// The message, as JSON.
        text: String,
        /// The edge's name for the question; 0 where no answer is owed.
        ask: u64,
        /// With an agent's `join`.
        join: Option<Box<JoinFacts>>,
    },
    /// Edge to home: it is gone.
    Closed(WireId),
    /// Home to edge: a participant is let in. Its first message follows.
    Attached {
        /// On which wire.
        wire: WireId,
        /// What it may do.
        role: Role,
        /// Whose side it is on.
        side: Side,
        /// The streams that the home has seen.
        streams: Vec<u32>,
        /// What is shown in the session; none of an older node.
        shown: Option<Shown>,
    },
    /// Home to edge: say this.
    Tell {
        /// On which wire.
        wire: WireId,
        /// The message, as JSON.
        text: Bytes,
        /// The question it answers, 0 where it answers none.
        ask: u64,
    },
    /// Home to edge: close it.
    End {
        /// Which.
        wire: WireId,
        /// The close code.
        code: u16,
        /// For people.
        reason: String,
    },
    /// Home to edge: where a session's frames come from.
    Stage(SessionId, Source, StageFacts),
    /// Edge to home: somebody needs a key frame of this stream.
    Key(SessionId, u32),
    /// The viewers that a node has, or, from the home to the publisher's node, that all others have.
    Viewers(SessionId, Source, Vec<ViewerFacts>),
    /// Edge to home: frames and bytes taken of the publisher since the last such letter.
    Relayed(SessionId, u64, u64),
    /// A question that is answered once, by its number, as JSON.
    Ask(u64, String),
    /// The answer.
    Answer(u64, String),
    /// Everything between the two nodes is over: something that one said was lost. Where this cannot be sent
    /// either, nobody is told.
    Reset,
}

impl Letter {
    /// About how much room it takes.
    pub fn size(&self) -> usize {
        let fields = match self {
            Self::Open(_, Door::Visitor { facts, .. }) => facts.len(),
            Self::Open(_, Door::Participant { attach, .. }) => attach.len(),
            Self::Said { text, .. } => text.len(),
            Self::Tell { text, .. } => text.len(),
            Self::Ask(_, text) | Self::Answer(_, text) => text.len(),
            Self::Viewers(_, _, viewers) => viewers.len() * 24,
            _ => 0,
        };
        64 + fields
    }
}

/// What a node finds in its mailbox.
#[derive(Debug, Clone, PartialEq)]
pub enum Mail {
    /// A letter.
    Letter(Letter),
    /// Letters of this node, or to it, were lost, or it is gone: no wire between the two goes on.
    Lost,
}

/// A frame of a session on its way to other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FarFrame {
    /// The term of the stage under which it was published.
    pub term: u64,
    /// Its place among the frames that were sent under that term: one that is left out was lost.
    pub number: u64,
    /// The whole message, unchanged.
    pub bytes: Bytes,
}

/// What is heard of a session's frames.
#[derive(Debug, Clone)]
pub enum Heard {
    /// From here on they are heard, after the start or after an interruption.
    Open,
    /// One of them.
    Frame(FarFrame),
}

/// What a node does with frames. Must not wait.
pub type FrameSink = dyn Fn(Heard) + Send + Sync;

/// Frames are heard for as long as this lives.
pub struct Hearing(#[expect(dead_code, reason = "its end is what matters")] Box<dyn Send + Sync>);

impl Hearing {
    /// Ends when the guard does.
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self(Box::new(guard))
    }
}

impl std::fmt::Debug for Hearing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hearing")
    }
}

/// Carries letters and frames between nodes.
pub trait Post: Send + Sync + 'static {
    /// Opens a node's mailbox. Its end is the node's.
    fn enroll(&self, node: NodeId) -> Mailbox;

    /// Sends a letter. Never waits; what cannot be sent is told to both sides as [`Mail::Lost`].
    fn send(&self, from: NodeId, to: NodeId, letter: Letter);

    /// Sends a frame to whoever hears the session's. Never waits.
    fn send_frame(&self, from: NodeId, session: SessionId, frame: FarFrame);

    /// Hands the session's frames to a sink until the guard ends.
    fn hear_frames(&self, node: NodeId, session: SessionId, sink: Arc<FrameSink>) -> Hearing;
}

/// Where a node's letters wait, in the order of each sender.
pub struct Mailbox {
    queue: Arc<Queue>,
    /// What its end means to the post.
    _enrolled: Box<dyn Send + Sync>,
}

impl Mailbox {
    /// A mailbox over a queue, and what is to be dropped with it.
    pub fn new(queue: Arc<Queue>, enrolled: impl Send + Sync + 'static) -> Self {
        Self { queue, _enrolled: Box::new(enrolled) }
    }

    /// The next piece of mail and who it is of. Cancel-safe.
    pub async fn next(&mut self) -> (NodeId, Mail) {
        loop {
            let arrived = self.queue.arrived.notified();
            if let Some(found) = self.queue.pop() {
                return found;
            }
            arrived.await;
        }
    }
}

/// The letters of a mailbox. One task takes them out.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    taken: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    mail: VecDeque<(NodeId, Mail)>,
    /// Letters and bytes of each sender.
    of: HashMap<NodeId, (usize, usize)>,
}

impl Queue {
    /// Puts a letter in; false where its sender has no room left. It is then lost, with all of that sender that
    /// still wait.
    pub fn push(&self, from: NodeId, letter: Letter) -> bool {
        let size = letter.size();
        let fits = {
            let mut waiting = self.waiting.lock();
            let (count, bytes) = waiting.of.entry(from).or_default();
            let fits = *count < limits::LETTERS_WAITING && *bytes + size <= limits::LETTER_BYTES_WAITING;
            if fits {
                *count += 1;
                *bytes += size;
                waiting.mail.push_back((from, Mail::Letter(letter)));
            }
            fits
        };
        if fits {
            self.arrived.notify_one()
        } else {
            self.lose(from)
        }
        fits
    }

    /// Tells that letters of a node are lost, instead of those that still wait.
    pub fn lose(&self, from: NodeId) {
        {
            let mut waiting = self.waiting.lock();
            waiting.mail.retain(|(sender, _)| *sender != from);
            waiting.of.remove(&from);
            waiting.mail.push_back((from, Mail::Lost));
        }
        self.arrived.notify_one();
    }

    /// Letters that wait.
    pub fn len(&self) -> usize {
        self.waiting.lock().mail.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until at most so many wait. Cancel-safe; for the one task that fills it.
    pub async fn at_most(&self, most: usize) {
        while self.len() > most {
            self.taken.notified().await;
        }
    }

    fn pop(&self) -> Option<(NodeId, Mail)> {
        let mut waiting = self.waiting.lock();
        let (from, mail) = waiting.mail.pop_front()?;
        if let Mail::Letter(letter) = &mail
            && let Some((count, bytes)) = waiting.of.get_mut(&from)
        {
            *count -= 1;
            *bytes -= letter.size();
            if *count == 0 {
                waiting.of.remove(&from);
            }
        }
        if waiting.mail.is_empty() {
            waiting.mail.shrink_to(64);
        }
        drop(waiting);
        self.taken.notify_one();
        Some((from, mail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn letter(n: u64) -> Letter {
        Letter::Closed(WireId(n))
    }

    #[tokio::test]
    async fn a_sender_without_room_loses_its_letters_and_others_keep_theirs() {
        let queue = Arc::new(Queue::default());
        let mut mailbox = Mailbox::new(Arc::clone(&queue), ());
        assert!(queue.push(B, letter(0)));
        for n in 0..limits::LETTERS_WAITING as u64 {
            assert!(queue.push(A, letter(n)));
        }
        assert!(!queue.push(A, letter(0)));
        assert!(queue.push(A, letter(7)), "what comes after the loss is taken");
        assert_eq!(mailbox.next().await, (B, Mail::Letter(letter(0))));
        assert_eq!(mailbox.next().await, (A, Mail::Lost));
        assert_eq!(mailbox.next().await, (A, Mail::Letter(letter(7))));
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn large_letters_are_bounded_by_their_bytes() {
        let queue = Arc::new(Queue::default());
        let mut mailbox = Mailbox::new(Arc::clone(&queue), ());
        let large = Letter::Tell { wire: WireId(1), text: Bytes::from(vec![0; 1 << 20]), ask: 0 };
        let mut sent = 0;
        while queue.push(A, large.clone()) {
            sent += 1;
        }
        assert_eq!(sent, limits::LETTER_BYTES_WAITING / large.size());
        assert_eq!(mailbox.next().await, (A, Mail::Lost));
    }
}
