//! Letters between the hubs of one process: all that a single node needs, and the reference that other
//! implementations are held to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::{FarFrame, FrameSink, Heard, Hearing, Letter, Mailbox, Post, Queue};
use crate::cluster::NodeId;
use crate::ids::SessionId;

/// Hands letters from one hub of the process to the other.
#[derive(Default)]
pub struct MemoryPost(Arc<Shared>);

#[derive(Default)]
struct Shared {
    nodes: RwLock<HashMap<NodeId, Arc<Queue>>>,
    frames: RwLock<HashMap<SessionId, Vec<Ear>>>,
    next: AtomicU64,
}

struct Ear {
    id: u64,
    node: NodeId,
    sink: Arc<FrameSink>,
}

/// A node that can be written to.
struct Enrolled(Arc<Shared>, NodeId);

impl Drop for Enrolled {
    fn drop(&mut self) {
        let others: Vec<_> = {
            let mut nodes = self.0.nodes.write();
            nodes.remove(&self.1);
            nodes.values().cloned().collect()
        };
        others.iter().for_each(|other| other.lose(self.1));
    }
}

/// A sink that hears.
struct Listening(Arc<Shared>, SessionId, u64);

impl Drop for Listening {
    fn drop(&mut self) {
        let mut frames = self.0.frames.write();
        if let Some(ears) = frames.get_mut(&self.1) {
            ears.retain(|ear| ear.id != self.2);
            if ears.is_empty() {
                frames.remove(&self.1);
            }
        }
    }
}

impl Post for MemoryPost {
    fn enroll(&self, node: NodeId) -> Mailbox {
        let queue = Arc::<Queue>::default();
        self.0.nodes.write().insert(node, Arc::clone(&queue));
        Mailbox::new(queue, Enrolled(Arc::clone(&self.0), node))
    }

    fn send(&self, from: NodeId, to: NodeId, letter: Letter) {
        let (sender, receiver) = {
            let nodes = self.0.nodes.read();
            (nodes.get(&from).cloned(), nodes.get(&to).cloned())
        };
        // Who has left says nothing any more.
        let Some(sender) = sender else { return };
        // Who cannot even be told that all is over needs not be told.
        let matters = letter != Letter::Reset;
        if !receiver.is_some_and(|receiver| receiver.push(from, letter)) && matters {
            sender.lose(to);
        }
    }

    fn send_frame(&self, from: NodeId, session: SessionId, frame: FarFrame) {
        let frames = self.0.frames.read();
        let Some(ears) = frames.get(&session) else { return };
        let sinks: Vec<_> =
            ears.iter().filter(|ear| ear.node != from).map(|ear| Arc::clone(&ear.sink)).collect();
        drop(frames);
        for sink in sinks {
            sink(Heard::Frame(frame.clone()));
        }
    }

    fn hear_frames(&self, node: NodeId, session: SessionId, sink: Arc<FrameSink>) -> Hearing {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let ear = Ear { id, node, sink: Arc::clone(&sink) };
        self.0.frames.write().entry(session).or_default().push(ear);
        sink(Heard::Open);
        Hearing::new(Listening(Arc::clone(&self.0), session, id))
    }
}
