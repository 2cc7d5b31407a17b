//! The way between clients and a played server: slow, cut, broken off, or with a server that stands still, dies and
//! comes back.
//!
//! What was sent arrives in order, once, late or never, as through TCP. What is under way when a connection breaks
//! may still arrive, seconds later, though whoever sent it was told that it failed. All chance is that of one seed.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use redis::{Msg, PushInfo, PushKind, RedisError, Value};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::super::ear::Waiting;
use super::super::{Ear, within};
use super::{Answers, Patch, Played, Store, Take, Voice, Words};
use crate::limits::{self, Most};

/// What a seed leads to.
#[derive(Clone)]
pub(crate) struct Chance(Arc<Mutex<u64>>);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed)))
    }

    fn next(&self) -> u64 {
        let mut state = self.0.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = *state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Less than `end`.
    pub(crate) fn below(&self, end: u64) -> u64 {
        self.next() % end
    }

    /// Once in `times`.
    pub(crate) fn once_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Milliseconds up to this many.
    pub(crate) fn millis(&self, most: u64) -> Duration {
        Duration::from_millis(self.below(most + 1))
    }

    /// One of them.
    pub(crate) fn of<'a, T>(&self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { all.get(self.below(all.len() as u64) as usize) }
    }
}

/// How a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Up,
    /// It takes connections and what is sent, and does nothing.
    Still,
    Down,
}

/// A played server.
pub(crate) struct Server {
    state: Mutex<State>,
    changed: Notify,
    pub(crate) chance: Chance,
    start: Instant,
}

struct State {
    store: Store,
    phase: Phase,
    /// How far its clock is ahead, in milliseconds.
    ahead: i64,
    ears: Vec<Listening>,
    next: u64,
    /// When something arrived last that was lost to whoever had sent it.
    late: Instant,
}

struct Listening {
    number: u64,
    sharded: bool,
    channels: BTreeSet<String>,
    line: Arc<Line>,
    last: Instant,
    say: mpsc::UnboundedSender<(Instant, Words)>,
}

/// When simulations begin, in milliseconds since 1970.
pub(crate) const BEGIN: u64 = 1_800_000_000_000;

/// The time that a clock tells which is so far ahead.
pub(crate) fn told(start: Instant, ahead: i64) -> u64 {
    (BEGIN + start.elapsed().as_millis() as u64).saturating_add_signed(ahead)
}

impl Server {
    pub(crate) fn new(chance: Chance, patch: Option<Patch>) -> Arc<Self> {
        let (store, start) = (Store::new(patch), Instant::now());
        let state = State { store, phase: Phase::Up, ahead: 0, ears: Vec::new(), next: 0, late: start };
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new(), chance, start })
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state.lock().phase
    }

    /// When something arrived last that was lost to whoever had sent it.
    pub(crate) fn late(&self) -> Instant {
        self.state.lock().late
    }

    /// Stands still, or goes on.
    pub(crate) fn stand(&self, still: bool) {
        self.state.lock().phase = if still { Phase::Still } else { Phase::Up };
        self.changed.notify_waiters();
    }

    /// Dies. The connections do as well.
    pub(crate) fn die(&self) {
        self.state.lock().phase = Phase::Down;
        self.changed.notify_waiters();
    }

    /// Starts again.
    pub(crate) fn start(&self, forgets: bool) {
        let mut state = self.state.lock();
        state.store.restart(forgets);
        state.phase = Phase::Up;
        drop(state);
        self.changed.notify_waiters();
    }

    /// Sets the clock.
    pub(crate) fn set_clock(&self, ahead: i64) {
        self.state.lock().ahead = ahead;
    }

    /// Does commands now.
    fn run(&self, commands: &[Words]) -> Answers {
        let mut state = self.state.lock();
        let State { store, ahead, ears, .. } = &mut *state;
        let now = told(self.start, *ahead);
        let mut answers = Vec::new();
        for words in commands {
            answers.push(store.run(now, words, |said| {
                let Ok(channel) = std::str::from_utf8(&said.channel) else { return };
                for ear in ears.iter_mut().filter(|ear| ear.sharded == said.sharded) {
                    if ear.channels.contains(channel) {
                        ear.last = ear.last.max(Instant::now() + ear.line.delay());
                        let _gone = ear.say.send((ear.last, vec![said.channel.clone(), said.text.clone()]));
                    }
                }
            })?);
        }
        Ok(answers)
    }
}

/// What was under way when its connection broke arrives within this time or never.
const LATE: Duration = Duration::from_secs(8);

/// Milliseconds that anything takes at most when all is well.
const QUICK: u64 = 1;

/// Kinds of connections.
pub(crate) const KINDS: usize = 3;

/// The way of one client.
pub(crate) struct Line {
    server: Arc<Server>,
    state: Mutex<Way>,
    changed: Notify,
    asks: mpsc::UnboundedSender<Ask>,
    late: mpsc::UnboundedSender<(Instant, Vec<Words>)>,
}

struct Way {
    /// What is sent arrives.
    there: bool,
    /// What is answered arrives.
    back: bool,
    /// The longest delay, in milliseconds.
    slow: u64,
    /// Connections for commands, for subscriptions and for those to channels of shards, counted.
    terms: [u64; KINDS],
    asked: Instant,
    answered: Instant,
    dead: bool,
    /// Since when nothing has been answered.
    cut: Option<Instant>,
    /// More than this many words do not wait in its ears.
    most: usize,
}

struct Ask {
    at: Instant,
    term: u64,
    commands: Vec<Words>,
    answer: oneshot::Sender<Answers>,
}

struct Answered {
    at: Instant,
    term: u64,
    answers: Answers,
    answer: oneshot::Sender<Answers>,
}

fn broken() -> RedisError {
    RedisError::from(io::Error::from(io::ErrorKind::ConnectionReset))
}

fn refused() -> RedisError {
    RedisError::from(io::Error::from(io::ErrorKind::ConnectionRefused))
}

impl Line {
    pub(crate) fn new(server: &Arc<Server>) -> Arc<Self> {
        let (asks, mut asked) = mpsc::unbounded_channel::<Ask>();
        let (answers, mut answered) = mpsc::unbounded_channel::<Answered>();
        let (late, mut lingering) = mpsc::unbounded_channel::<(Instant, Vec<Words>)>();
        let now = Instant::now();
        let state = Way {
            there: true,
            back: true,
            slow: QUICK,
            terms: [0; KINDS],
            asked: now,
            answered: now,
            dead: false,
            cut: None,
            most: usize::MAX,
        };
        let line = Arc::new(Self {
            server: Arc::clone(server),
            state: Mutex::new(state),
            changed: Notify::new(),
            asks,
            late,
        });
        let there = Arc::clone(&line);
        tokio::spawn(async move {
            while let Some(Ask { at, term, commands, answer }) = asked.recv().await {
                sleep_until(at).await;
                if there.open(term, 0, |way| way.there).await {
                    let done = there.server.run(&commands);
                    let mut way = there.state.lock();
                    way.answered = way.answered.max(Instant::now() + way.delay(&there.server));
                    let _over = answers.send(Answered { at: way.answered, term, answers: done, answer });
                } else if there.server.phase() != Phase::Down && there.server.chance.once_in(2) {
                    let _over = there.late.send((Instant::now() + LATE, commands));
                }
            }
        });
        let back = Arc::clone(&line);
        tokio::spawn(async move {
            while let Some(Answered { at, term, answers, answer }) = answered.recv().await {
                sleep_until(at).await;
                if back.open(term, 0, |way| way.back).await {
                    let mut way = back.state.lock();
                    way.cut = way.cut.map(|_| Instant::now());
                    drop(way);
                    let _gone = answer.send(answers);
                }
            }
        });
        let stale = Arc::clone(&line);
        tokio::spawn(async move {
            while let Some((until, commands)) = lingering.recv().await {
                let left = until.saturating_duration_since(Instant::now());
                sleep(stale.server.chance.millis(left.as_millis() as u64)).await;
                if stale.server.phase() == Phase::Up {
                    let _nobody_asks = stale.server.run(&commands);
                    stale.server.state.lock().late = Instant::now();
                }
            }
        });
        line
    }

    fn delay(&self) -> Duration {
        self.state.lock().delay(&self.server)
    }

    /// Waits until the way is open; false if the connection has ended. A server that died ends all.
    async fn open(&self, term: u64, which: usize, is_open: impl Fn(&Way) -> bool) -> bool {
        loop {
            let (changed, server) = (self.changed.notified(), self.server.changed.notified());
            let phase = self.server.phase();
            {
                let way = self.state.lock();
                if way.terms[which] != term || phase == Phase::Down {
                    return false;
                }
                if is_open(&way) && phase == Phase::Up {
                    return true;
                }
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = server => {}
            }
        }
    }

    /// Cuts the way there or back, or opens it.
    pub(crate) fn cut(&self, there: bool, back: bool) {
        let mut way = self.state.lock();
        (way.there, way.back) = (!there, !back);
        way.cut = way.cut.or(Some(Instant::now()));
        drop(way);
        self.changed.notify_waiters();
    }

    /// Breaks the connection of a kind.
    pub(crate) fn reset(&self, which: usize) {
        self.state.lock().terms[which] += 1;
        self.changed.notify_waiters();
    }

    /// Delays everything by up to this many milliseconds.
    pub(crate) fn slow(&self, most: u64) {
        self.state.lock().slow = most;
    }

    /// Lets no more words wait in ears that are made from now on.
    pub(crate) fn narrow(&self, most: usize) {
        self.state.lock().most = most;
    }

    /// Its client is no more: what it sent may arrive, and nothing else.
    pub(crate) fn die(&self) {
        self.state.lock().dead = true;
    }

    /// Since when nothing has been answered.
    pub(crate) fn cut_off(&self) -> Option<Instant> {
        self.state.lock().cut
    }

    /// Whether it is open and quick.
    pub(crate) fn is_whole(&self) -> bool {
        let way = self.state.lock();
        way.there && way.back && way.slow == QUICK
    }

    /// It is open and quick.
    pub(crate) fn heal(&self) {
        {
            let mut way = self.state.lock();
            (way.there, way.back, way.slow, way.cut) = (true, true, QUICK, None);
        }
        self.changed.notify_waiters();
    }
}

impl Way {
    fn delay(&self, server: &Server) -> Duration {
        Duration::from_micros(200) + server.chance.millis(self.slow)
    }
}

/// A client's end of its line.
pub(crate) struct Client(pub(crate) Arc<Line>);

impl Played for Client {
    fn ask(&self, commands: Vec<Words>) -> BoxFuture<'static, Answers> {
        let line = Arc::clone(&self.0);
        let (answer, answered) = oneshot::channel();
        {
            let mut way = line.state.lock();
            if way.dead {
                return Box::pin(std::future::pending());
            }
            if line.server.phase() == Phase::Down {
                return Box::pin(async {
                    sleep(Duration::from_millis(1)).await;
                    Err(refused())
                });
            }
            way.asked = way.asked.max(Instant::now() + way.delay(&line.server));
            let _over = line.asks.send(Ask { at: way.asked, term: way.terms[0], commands, answer });
        }
        Box::pin(async { answered.await.unwrap_or_else(|_| Err(broken())) })
    }

    fn ear(&self, most: Most) -> BoxFuture<'static, Result<Ear, RedisError>> {
        let (line, words) = (Arc::clone(&self.0), most.words.min(self.room()));
        Box::pin(within(limits::REDIS_ANSWER, async move {
            let waiting = Waiting::new(Most { words, ..most }, None);
            let hears = Arc::clone(&waiting);
            let hear = move |words: Option<Words>| match words {
                Some(words) => {
                    let message = std::iter::once(b"message".to_vec()).chain(words);
                    let message = Value::Array(message.map(Value::BulkString).collect());
                    hears.push(Msg::from_owned_value(message).expect("this is a message"));
                }
                None => hears.end(),
            };
            let voice = line.listens(1, hear).await?;
            Ok(Ear::played(Box::new(voice), waiting))
        }))
    }

    fn shards(&self, take: Take) -> BoxFuture<'static, Result<Box<dyn Voice>, RedisError>> {
        let line = Arc::clone(&self.0);
        Box::pin(async move {
            let hear = move |words: Option<Words>| {
                let kind = if words.is_some() { PushKind::SMessage } else { PushKind::Disconnection };
                let data = words.into_iter().flatten().map(Value::BulkString).collect();
                take(PushInfo { kind, data });
            };
            let voice: Box<dyn Voice> = Box::new(line.listens(2, hear).await?);
            Ok(voice)
        })
    }

    fn room(&self) -> usize {
        self.0.state.lock().most
    }
}

impl Line {
    /// Makes a connection of a kind, whose words are heard, and its end.
    async fn listens(
        self: Arc<Self>,
        which: usize,
        hear: impl Fn(Option<Words>) + Send + Sync + 'static,
    ) -> Result<Mouth, RedisError> {
        if self.state.lock().dead {
            return std::future::pending().await;
        }
        let term = self.state.lock().terms[which];
        sleep(self.delay()).await;
        if !self.open(term, which, |way| way.there && way.back).await {
            return Err(refused());
        }
        let (say, mut said) = mpsc::unbounded_channel::<(Instant, Words)>();
        let number = {
            let mut state = self.server.state.lock();
            state.next += 1;
            let (number, line) = (state.next, Arc::clone(&self));
            let (channels, last, sharded) = (BTreeSet::new(), Instant::now(), which == 2);
            state.ears.push(Listening { number, sharded, channels, line, last, say });
            number
        };
        let line = Arc::clone(&self);
        let task = tokio::spawn(async move {
            let hearing = async {
                while let Some((at, words)) = said.recv().await {
                    sleep_until(at).await;
                    if !line.open(term, which, |way| way.back).await {
                        return;
                    }
                    hear(Some(words));
                }
            };
            tokio::select! {
                biased;
                () = line.over(term, which) => {}
                () = hearing => {}
            }
            hear(None);
        });
        Ok(Mouth { line: self, number, term, which, _task: AbortOnDropHandle::new(task) })
    }

    /// Waits for the end of a subscription's connection.
    async fn over(&self, term: u64, which: usize) {
        loop {
            let (changed, server) = (self.changed.notified(), self.server.changed.notified());
            if self.state.lock().terms[which] != term || self.server.phase() == Phase::Down {
                return;
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = server => {}
            }
        }
    }
}

/// Says which channels an ear hears.
struct Mouth {
    line: Arc<Line>,
    number: u64,
    term: u64,
    which: usize,
    _task: AbortOnDropHandle<()>,
}

impl Drop for Mouth {
    fn drop(&mut self) {
        self.line.server.state.lock().ears.retain(|ear| ear.number != self.number);
    }
}

impl Voice for Mouth {
    fn turn(&mut self, channels: &[&str], on: bool) -> BoxFuture<'static, Result<(), RedisError>> {
        let (line, number) = (Arc::clone(&self.line), self.number);
        let (term, which) = (self.term, self.which);
        let channels: Vec<String> = channels.iter().map(|&channel| channel.to_owned()).collect();
        Box::pin(async move {
            sleep(line.delay()).await;
            if !line.open(term, which, |way| way.there).await {
                return Err(broken());
            }
            {
                let mut state = line.server.state.lock();
                let ear = state.ears.iter_mut().find(|ear| ear.number == number);
                let heard = &mut ear.ok_or_else(broken)?.channels;
                for channel in channels {
                    if on {
                        heard.insert(channel);
                    } else {
                        heard.remove(&channel);
                    }
                }
            }
            sleep(line.delay()).await;
            if line.open(term, which, |way| way.back).await { Ok(()) } else { Err(broken()) }
        })
    }
}
