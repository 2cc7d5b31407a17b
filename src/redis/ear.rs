//! What Redis says by itself, for listeners that may be slow.
//!
//! A subscription takes whatever comes and keeps it until somebody wants it, without end. So a task of its own takes
//! it at once, and no more of it waits than may: where there is no room everything that waits goes, and the listener
//! is told that it missed something, which it makes up for as it does for a lost connection. Does not decide how.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::StreamExt as _;
use parking_lot::Mutex;
use redis::aio::{PubSub, PubSubSink};
use redis::{Msg, RedisError};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::limits::{self, Most};
use crate::redis::within;
use crate::telemetry::{Listener, Meters};

/// A subscription of one listener. It ends with its connection, and its connection with it.
pub struct Ear {
    voice: Voice,
    waiting: Arc<Waiting>,
    _task: Option<AbortOnDropHandle<()>>,
}

/// How Redis is told what to say.
enum Voice {
    Redis(PubSubSink),
    #[cfg(test)]
    Played(Box<dyn super::played::Voice>),
}

/// What a listener hears.
#[derive(Debug)]
pub enum Heard {
    /// Somebody said something on a channel.
    Said(Said),
    /// Something that was said is lost.
    Missed,
}

/// What was said on a channel.
#[derive(Debug)]
pub struct Said(Msg);

impl Said {
    /// The channel.
    pub fn channel(&self) -> &str {
        self.0.get_channel_name()
    }

    /// What was said.
    pub fn payload(&self) -> &[u8] {
        self.0.get_payload_bytes()
    }

    fn size(&self) -> usize {
        self.channel().len() + self.payload().len()
    }
}

/// What was said and not taken yet.
pub(super) struct Waiting {
    state: Mutex<State>,
    news: Notify,
    most: Most,
    meters: Option<(Listener, Arc<Meters>)>,
}

#[derive(Default)]
struct State {
    words: VecDeque<Said>,
    bytes: usize,
    missed: bool,
    over: bool,
}

impl Waiting {
    pub(super) fn new(most: Most, meters: Option<(Listener, Arc<Meters>)>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), news: Notify::new(), most, meters })
    }

    /// Something was said.
    pub(super) fn push(&self, said: Msg) {
        let said = Said(said);
        let lost = {
            let mut state = self.state.lock();
            if state.words.len() < self.most.words && state.bytes + said.size() <= self.most.bytes {
                state.bytes += said.size();
                state.words.push_back(said);
                0
            } else {
                let lost = state.words.len() + 1;
                *state = State { missed: true, over: state.over, ..State::default() };
                lost
            }
        };
        self.news.notify_one();
        if lost > 0 {
            if let Some((listener, meters)) = &self.meters {
                meters.redis_unheard(*listener, lost as u64);
            }
            tracing::debug!(lost, "a listener is too slow for what Redis says");
        }
    }

    /// Nothing more will be.
    pub(super) fn end(&self) {
        self.state.lock().over = true;
        self.news.notify_one();
    }

    /// What was said, or is missed.
    pub(super) fn take(&self) -> Option<Heard> {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.missed) {
            return Some(Heard::Missed);
        }
        let said = state.words.pop_front()?;
        state.bytes -= said.size();
        Some(Heard::Said(said))
    }

    /// Whether all was taken and nothing more will come.
    fn is_over(&self) -> bool {
        let state = self.state.lock();
        state.over && !state.missed && state.words.is_empty()
    }

    /// Whoever waits is to look again.
    pub(super) fn wake(&self) {
        self.news.notify_one();
    }

    /// Waits until there may be something to take.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }
}

impl Ear {
    pub(super) fn new(
        subscription: PubSub,
        listener: Listener,
        most: Most,
        meters: Option<Arc<Meters>>,
    ) -> Self {
        let (sink, mut stream) = subscription.split();
        let waiting = Waiting::new(most, meters.map(|meters| (listener, meters)));
        let taking = Arc::clone(&waiting);
        let task = tokio::spawn(async move {
            while let Some(said) = stream.next().await {
                taking.push(said);
            }
            taking.end();
        });
        Self { voice: Voice::Redis(sink), waiting, _task: Some(AbortOnDropHandle::new(task)) }
    }

    #[cfg(test)]
    pub(super) fn played(voice: Box<dyn super::played::Voice>, waiting: Arc<Waiting>) -> Self {
        Self { voice: Voice::Played(voice), waiting, _task: None }
    }

    /// Hears channels from now on.
    pub async fn subscribe(&mut self, channels: &[&str]) -> Result<(), RedisError> {
        let subscribing = async {
            match &mut self.voice {
                Voice::Redis(sink) => sink.subscribe(channels).await,
                #[cfg(test)]
                Voice::Played(voice) => voice.turn(channels, true).await,
            }
        };
        within(limits::REDIS_ANSWER, subscribing).await
    }

    /// Hears a channel no more.
    pub async fn unsubscribe(&mut self, channel: &str) -> Result<(), RedisError> {
        let unsubscribing = async {
            match &mut self.voice {
                Voice::Redis(sink) => sink.unsubscribe(channel).await,
                #[cfg(test)]
                Voice::Played(voice) => voice.turn(&[channel], false).await,
            }
        };
        within(limits::REDIS_ANSWER, unsubscribing).await
    }

    /// What is heard next; `None` once the connection has ended. Nothing is lost when the wait for it is given up.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some(heard) = self.waiting.take() {
                return Some(heard);
            }
            if self.waiting.is_over() {
                return None;
            }
            self.waiting.news().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::redis::Link;
    use crate::redis::server::Redis;

    async fn ear(link: &Link, most: Most, meters: &Arc<Meters>) -> Ear {
        let subscription = link.listen().await.unwrap();
        let mut ear = Ear::new(subscription, Listener::Store, most, Some(Arc::clone(meters)));
        ear.subscribe(&["pl:flood", "pl:other"]).await.unwrap();
        ear
    }

    async fn next(ear: &mut Ear) -> Heard {
        tokio::time::timeout(Duration::from_secs(60), ear.next()).await.unwrap().unwrap()
    }

    async fn flood(link: &Link, words: std::ops::Range<usize>, size: usize) {
        for word in words {
            let mut text = word.to_string().into_bytes();
            text.resize(size, b' ');
            let _heard: u64 = link.ask(redis::cmd("PUBLISH").arg("pl:flood").arg(text)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_slow_listener_keeps_no_more_than_it_may_and_is_told_what_it_missed() {
        let redis = Redis::start().await;
        let link = redis.link().await;
        for (most, size) in
            [(Most { words: 10, bytes: 1 << 20 }, 8), (Most { words: 1 << 20, bytes: 4_096 }, 1_000)]
        {
            let (meters, counted) = Meters::new();
            let mut ear = ear(&link, most, &meters).await;
            flood(&link, 0..500, size).await;
            // It has not taken anything yet, and hears of the flood once it looks.
            let mut heard = vec![next(&mut ear).await];
            assert!(matches!(heard[0], Heard::Missed), "{heard:?}");
            flood(&link, 500..501, size).await;
            loop {
                heard.push(next(&mut ear).await);
                if matches!(heard.last(), Some(Heard::Said(said)) if said.payload().starts_with(b"500")) {
                    break;
                }
            }
            let missed = heard.iter().filter(|heard| matches!(heard, Heard::Missed)).count();
            // Whatever is heard is in order and the newest there was.
            let words: Vec<usize> = heard
                .iter()
                .filter_map(|heard| match heard {
                    Heard::Said(said) => {
                        Some(std::str::from_utf8(said.payload()).unwrap().trim().parse().unwrap())
                    }
                    Heard::Missed => None,
                })
                .collect();
            assert!(words.is_sorted() && words.len() <= 500 && missed >= 1, "{words:?}");
            let state = ear.waiting.state.lock();
            assert!((state.words.len(), state.bytes) == (0, 0), "what was taken takes no room");
            drop(state);
            let counted = counted.render();
            let line = counted.lines().find(|line| line.starts_with("porchlight_redis_unheard_total{"));
            let lost: usize = line.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap();
            assert_eq!(lost + words.len(), 501, "each word was heard or counted");
        }
    }

    #[tokio::test]
    async fn an_ear_hears_what_it_wants_until_its_connection_ends() {
        let redis = Redis::start().await;
        let link = redis.link().await;
        let (meters, _) = Meters::new();
        let mut ear = ear(&link, limits::STORE_HEARD, &meters).await;
        ear.unsubscribe("pl:other").await.unwrap();
        for channel in ["pl:other", "pl:flood"] {
            let _heard: u64 = link.ask(redis::cmd("PUBLISH").arg(channel).arg("x")).await.unwrap();
        }
        assert!(matches!(next(&mut ear).await, Heard::Said(said) if said.channel() == "pl:flood"));
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("pubsub");
        let _killed: u64 = link.ask(&kill).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(60), ear.next()).await.unwrap().is_none());
    }

    #[test]
    fn there_is_never_more_than_may_be() {
        let said = |text: &str| {
            let value = redis::Value::Array(
                ["message", "c", text].map(|word| redis::Value::BulkString(word.into())).to_vec(),
            );
            Msg::from_owned_value(value).unwrap()
        };
        let waiting = Waiting::new(Most { words: 3, bytes: 100 }, None);
        for round in 0..50 {
            waiting.push(said("word"));
            let state = waiting.state.lock();
            assert!(state.words.len() <= 3 && state.bytes == 5 * state.words.len(), "{round}");
        }
        waiting.push(said(&"x".repeat(1_000)));
        assert!(matches!(waiting.take(), Some(Heard::Missed)));
        assert!(waiting.take().is_none(), "a word that never fits is missed like any other");
        assert!(!waiting.is_over());
        waiting.end();
        assert!(waiting.is_over());
    }
}
