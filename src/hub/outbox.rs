//! What waits to be sent to one connection: the control lane, and the newest word on each watched visitor.
//!
//! Anybody may push and nobody waits: the connection's own task takes what is there when its socket has
//! room. Control messages are never dropped; a full lane closes the connection, which may reconnect.
//! Presence is a fact, not a story: a newer word on a visitor replaces the one still waiting. Frames are not
//! here; a viewer takes them from the session's relay.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use crate::ids::VisitorId;
use crate::wire::close::{Close, CloseCode};
use crate::wire::message::Text;

/// What the connection's task sends next.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// A text message.
    Text(Text),
    /// A ping of the heartbeat.
    Ping,
    /// The last word: a close frame, after everything that came before it.
    Close(Close),
}

/// The queue of one connection. An idle one holds no heap memory.
#[derive(Debug)]
pub struct Outbox {
    waker: AtomicWaker,
    lanes: Mutex<Lanes>,
    cut: AtomicBool,
    /// Messages that the control lane holds.
    room: u32,
}

#[derive(Debug, Default)]
struct Lanes {
    control: VecDeque<Text>,
    news: Option<Box<News>>,
    ping: bool,
    close: Option<Box<Close>>,
}

/// The newest word on each visitor, in the order of the first word that was not yet sent.
#[derive(Debug, Default)]
struct News {
    order: VecDeque<VisitorId>,
    newest: HashMap<VisitorId, Text>,
}

impl Outbox {
    /// An empty outbox whose control lane holds so many messages.
    pub fn new(room: usize) -> Self {
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        Self { waker: AtomicWaker::new(), lanes: Mutex::default(), cut: AtomicBool::new(false), room }
    }

    /// Queues a control message. With the lane full the connection is closed as `too_slow` instead: it
    /// then misses nothing silently, because it has to start over.
    pub fn push(&self, text: Text) {
        let mut lanes = self.lanes.lock();
        if lanes.close.is_some() {
            return;
        }
        if lanes.control.len() >= self.room as usize {
            lanes.control.clear();
            lanes.close = Some(Box::new(Close::new(CloseCode::TooSlow, "too many messages are waiting")));
        } else {
            lanes.control.push_back(text);
        }
        drop(lanes);
        self.waker.wake();
    }

    /// Queues the first message of all: what others pushed since the connection was admitted comes after.
    pub fn push_first(&self, text: Text) {
        self.lanes.lock().control.push_front(text);
        self.waker.wake();
    }

    /// Queues the newest word on a visitor, in place of an older one that still waits.
    pub fn push_news(&self, visitor: &VisitorId, text: Text) {
        let mut lanes = self.lanes.lock();
        if lanes.close.is_some() {
            return;
        }
        let news = lanes.news.get_or_insert_default();
        if news.newest.insert(visitor.clone(), text).is_none() {
            news.order.push_back(visitor.clone());
        }
        drop(lanes);
        self.waker.wake();
    }

    /// Asks for a ping.
    pub fn ping(&self) {
        self.lanes.lock().ping = true;
        self.waker.wake();
    }

    /// Closes the connection once what waits is sent. The first reason stands.
    pub fn close(&self, close: Close) {
        self.lanes.lock().close.get_or_insert_with(|| Box::new(close));
        self.waker.wake();
    }

    /// Ends the connection at once, without a word.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether it was cut.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Wakes the connection's task: something else than the lanes has changed.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Where to wake the connection's task. Called before each look, so that nothing is missed.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Whether it is closing.
    pub fn is_closing(&self) -> bool {
        self.lanes.lock().close.is_some()
    }

    /// Takes what is to be sent next: control first, then a ping, then news, and the close last.
    pub fn pop(&self) -> Option<Item> {
        let mut lanes = self.lanes.lock();
        if let Some(text) = lanes.control.pop_front() {
            if lanes.control.is_empty() {
                lanes.control = VecDeque::new();
            }
            return Some(Item::Text(text));
        }
        if lanes.close.is_none() {
            if std::mem::take(&mut lanes.ping) {
                return Some(Item::Ping);
            }
            if let Some(news) = &mut lanes.news {
                if let Some(visitor) = news.order.pop_front()
                    && let Some(text) = news.newest.remove(&visitor)
                {
                    return Some(Item::Text(text));
                }
                lanes.news = None;
            }
            return None;
        }
        lanes.close.as_deref().cloned().map(Item::Close)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    fn text(name: &str) -> Text {
        Text::from_json(name.to_owned())
    }

    fn visitor(name: &str) -> VisitorId {
        VisitorId::new(name).unwrap()
    }

    #[test]
    fn control_goes_before_news_and_the_close_comes_last() {
        let outbox = Outbox::new(limits::CONTROL_LANE);
        outbox.push_news(&visitor("a"), text("news"));
        outbox.push(text("one"));
        outbox.ping();
        outbox.push(text("two"));
        assert_eq!(outbox.pop(), Some(Item::Text(text("one"))));
        assert_eq!(outbox.pop(), Some(Item::Text(text("two"))));
        assert_eq!(outbox.pop(), Some(Item::Ping));
        assert_eq!(outbox.pop(), Some(Item::Text(text("news"))));
        assert_eq!(outbox.pop(), None);
        outbox.push(text("last"));
        let close = Close::new(CloseCode::Ended, "over");
        outbox.close(close.clone());
        outbox.close(Close::new(CloseCode::Drain, "later"));
        outbox.push(text("too late"));
        assert_eq!(outbox.pop(), Some(Item::Text(text("last"))));
        assert_eq!(outbox.pop(), Some(Item::Close(close)));
    }

    #[test]
    fn newer_news_replaces_older() {
        let outbox = Outbox::new(limits::CONTROL_LANE);
        outbox.push_news(&visitor("a"), text("a1"));
        outbox.push_news(&visitor("b"), text("b1"));
        outbox.push_news(&visitor("a"), text("a2"));
        assert_eq!(outbox.pop(), Some(Item::Text(text("a2"))));
        assert_eq!(outbox.pop(), Some(Item::Text(text("b1"))));
        assert_eq!(outbox.pop(), None);
    }

    #[test]
    fn a_full_control_lane_closes() {
        let outbox = Outbox::new(limits::CONTROL_LANE);
        for _ in 0..limits::CONTROL_LANE {
            outbox.push(text("x"));
        }
        assert!(!outbox.is_closing());
        outbox.push(text("x"));
        let Some(Item::Close(close)) = outbox.pop() else { panic!("a close") };
        assert_eq!(close.code, CloseCode::TooSlow);
    }
}
