//! Letters through Redis: an inbox for each node, which is a stream that only that node reads.
//!
//! Nothing is lost while Redis lives: who writes repeats what was not confirmed, who reads drops what it has. The
//! letters of a node to another are numbered in **runs**; a number that is left out, or another run, tells that
//! letters were lost (Redis was restarted empty, the inbox was full, the writer gave up). An inbox expires when
//! its node no longer renews it, and what is written to none is lost, which is how a dead node is found.
//!
//! Frames go another way, see [`frames`].

mod frames;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value, cmd};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::coding::Bundle;
use super::{FarFrame, FrameSink, Hearing, Letter, Mailbox, Post, Queue};
use crate::cluster::NodeId;
use crate::ids::SessionId;
use crate::limits;
use crate::redis::{Link, within};

/// Letters and frames of one node through Redis.
pub struct RedisPost {
    link: Link,
    frames: frames::Frames,
    node: OnceLock<Arc<Shared>>,
    /// Whether the inbox is there.
    open: watch::Sender<bool>,
}

struct Shared {
    link: Link,
    node: NodeId,
    inbox: Arc<Queue>,
    out: Mutex<HashMap<NodeId, Outbound>>,
    /// The newest run of all.
    run: AtomicU64,
    /// Something waits to be written.
    work: Notify,
    /// Whether the inbox is there, so that answers find it.
    open: watch::Sender<bool>,
}

/// What waits to be written to one node.
struct Outbound {
    /// The run, which grows each time letters are given up.
    run: u64,
    /// The number of the first letter that waits.
    first: u64,
    waiting: VecDeque<Letter>,
    bytes: usize,
}

impl Outbound {
    fn new(run: u64) -> Self {
        Self { run, first: 1, waiting: VecDeque::new(), bytes: 0 }
    }

    /// As many letters as one entry holds. They wait on until they are written.
    fn bundle(&self, from: NodeId) -> Option<Bundle> {
        let mut bytes = 0;
        let fits = |letter: &&Letter| {
            let first = bytes == 0;
            bytes += letter.size();
            first || bytes <= limits::BUNDLE.1
        };
        let letters: Vec<_> =
            self.waiting.iter().take(limits::BUNDLE.0).take_while(fits).cloned().map(Some).collect();
        (!letters.is_empty()).then_some(Bundle { from, run: self.run, first: self.first, letters })
    }

    fn written(&mut self, count: usize) {
        for letter in self.waiting.drain(..count) {
            self.bytes -= letter.size();
        }
        self.first += count as u64;
    }
}

/// The tasks of an open mailbox, which end with it.
struct Enrolled {
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        // Others need not wait until it expires.
        let shared = Arc::clone(&self.shared);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let gone: Result<(), _> = shared.link.ask(cmd("DEL").arg(inbox(shared.node))).await;
                if let Err(error) = gone {
                    tracing::debug!(%error, "the inbox expires by itself");
                }
            });
        }
    }
}

fn inbox(node: NodeId) -> String {
    format!("pl:inbox:{node}")
}

impl RedisPost {
    /// A post over a connection, with another one for frames: letters do not wait behind them.
    pub fn new(link: Link, frames: Link) -> Self {
        Self::hearing(link, frames, limits::FRAMES_HEARD)
    }

    /// One that keeps so much of what it is to hear.
    fn hearing(link: Link, frames: Link, most: limits::Most) -> Self {
        let (open, frames) = (watch::Sender::new(false), frames::Frames::start(frames, most));
        Self { link, frames, node: OnceLock::new(), open }
    }

    /// Becomes true when letters to this node find its inbox.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.open.subscribe()
    }
}

impl Post for RedisPost {
    /// Opens the mailbox of the one node of this post.
    fn enroll(&self, node: NodeId) -> Mailbox {
        let queue = Arc::<Queue>::default();
        let shared = Arc::new(Shared {
            link: self.link.clone(),
            node,
            inbox: Arc::clone(&queue),
            out: Mutex::default(),
            run: AtomicU64::new(crate::clock::wall().0),
            work: Notify::new(),
            open: self.open.clone(),
        });
        let shared = self.node.get_or_init(|| shared);
        let tasks = [tokio::spawn(read(Arc::clone(shared))), tokio::spawn(write(Arc::clone(shared)))];
        Mailbox::new(queue, Enrolled { shared: Arc::clone(shared), tasks })
    }

    fn send(&self, _from: NodeId, to: NodeId, letter: Letter) {
        let Some(shared) = self.node.get() else { return };
        let size = letter.size();
        let fits = {
            let mut out = shared.out.lock();
            let outbound = out.entry(to).or_insert_with(|| Outbound::new(shared.fresh_run()));
            let fits = outbound.waiting.len() < limits::LETTERS_WAITING
                && outbound.bytes + size <= limits::LETTER_BYTES_WAITING;
            if fits {
                outbound.bytes += size;
                outbound.waiting.push_back(letter);
            } else {
                *outbound = Outbound::new(shared.fresh_run());
            }
            fits
        };
        if fits { shared.work.notify_one() } else { shared.inbox.lose(to) }
    }

    fn send_frame(&self, _from: NodeId, session: SessionId, frame: FarFrame) {
        self.frames.send(session, frame);
    }

    fn hear_frames(&self, _node: NodeId, session: SessionId, sink: Arc<FrameSink>) -> Hearing {
        self.frames.hear(session, sink)
    }
}

// ── Writing ────────────────────────────────────────────────────────────────────────────────────

async fn write(shared: Arc<Shared>) {
    let mut open = shared.open.subscribe();
    let mut pause = limits::REDIS_RECONNECT.0;
    loop {
        // The sender lives as long as this task.
        if open.wait_for(|open| *open).await.is_err() {
            return;
        }
        let bundles: Vec<(NodeId, Bundle)> = {
            let out = shared.out.lock();
            out.iter().filter_map(|(to, letters)| Some((*to, letters.bundle(shared.node)?))).collect()
        };
        if bundles.is_empty() {
            shared.work.notified().await;
            continue;
        }
        let written = join_all(bundles.iter().map(|(to, bundle)| shared.write_one(*to, bundle))).await;
        if written.contains(&false) {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(limits::REDIS_RECONNECT.1);
        } else {
            pause = limits::REDIS_RECONNECT.0;
        }
    }
}

impl Shared {
    /// A run that is greater than any before, so that none is taken for an older one.
    fn fresh_run(&self) -> u64 {
        self.run.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes letters to a node's inbox; false where that is to be tried again.
    async fn write_one(&self, to: NodeId, bundle: &Bundle) -> bool {
        let mut add = cmd("XADD");
        add.arg(inbox(to)).arg("NOMKSTREAM").arg("MAXLEN").arg("~").arg(limits::INBOX_ENTRIES);
        let entry: Result<Option<String>, _> =
            self.link.ask(add.arg("*").arg("b").arg(bundle.encode())).await;
        match entry {
            Ok(Some(_)) => {
                if let Some(outbound) = self.out.lock().get_mut(&to)
                    && outbound.run == bundle.run
                    && outbound.first == bundle.first
                {
                    outbound.written(bundle.letters.len());
                }
                true
            }
            Ok(None) => {
                // Nobody reads it any more. What is all over needs not be told.
                let told = bundle.letters.iter().flatten().any(|letter| *letter != Letter::Reset);
                self.out.lock().remove(&to);
                if told {
                    self.inbox.lose(to);
                }
                true
            }
            Err(error) => {
                tracing::debug!(%error, %to, "letters wait");
                false
            }
        }
    }

    /// Creates the inbox, or renews it. True where it was there.
    async fn renew(&self) -> Result<bool, RedisError> {
        let key = inbox(self.node);
        let life = limits::INBOX_LIFE.as_millis() as u64;
        let renewed: bool = self.link.ask(cmd("PEXPIRE").arg(&key).arg(life)).await?;
        if renewed {
            return Ok(true);
        }
        let mut made = redis::pipe();
        made.cmd("XADD").arg(&key).arg("*").arg("h").arg("").ignore();
        made.cmd("PEXPIRE").arg(&key).arg(life).ignore();
        let () = self.link.ask_all(&made).await?;
        Ok(false)
    }

    /// Whether a node's inbox is there.
    async fn is_there(&self, node: NodeId) -> Result<bool, RedisError> {
        self.link.ask(cmd("EXISTS").arg(inbox(node))).await
    }
}

// ── Reading ────────────────────────────────────────────────────────────────────────────────────

/// What a reader knows of those who write to it.
struct Reader {
    shared: Arc<Shared>,
    /// The run of each sender, and the number that comes next.
    senders: HashMap<NodeId, (u64, u64)>,
    /// The entry that was read last.
    last: String,
}

async fn read(shared: Arc<Shared>) {
    let mut reader = Reader { shared, senders: HashMap::new(), last: "0-0".to_owned() };
    let mut pause = limits::REDIS_RECONNECT.0;
    loop {
        if let Err(error) = reader.over_one_connection(&mut pause).await {
            tracing::debug!(%error, "the inbox cannot be read");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::REDIS_RECONNECT.1);
    }
}

impl Reader {
    /// Reads until the connection fails.
    async fn over_one_connection(&mut self, pause: &mut Duration) -> Result<(), RedisError> {
        let mut connection = self.shared.link.own(&inbox(self.shared.node)).await?;
        self.beat().await?;
        *pause = limits::REDIS_RECONNECT.0;
        let mut beaten = Instant::now();
        loop {
            self.shared.inbox.at_most(limits::LETTERS_WAITING / 2).await;
            self.read_some(&mut connection).await?;
            if beaten.elapsed() >= limits::INBOX_BEAT {
                beaten = Instant::now();
                self.beat().await?;
            }
        }
    }

    async fn read_some(&mut self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        type Entries = Vec<(String, Vec<(String, Vec<(String, Value)>)>)>;
        let block = limits::INBOX_BEAT.as_millis() as u64;
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(limits::INBOX_READ).arg("BLOCK").arg(block);
        read.arg("STREAMS").arg(inbox(self.shared.node)).arg(&self.last);
        let answer = within(limits::REDIS_ANSWER, read.query_async::<Option<Entries>>(connection)).await?;
        for (id, fields) in answer.into_iter().flatten().flat_map(|(_, entries)| entries) {
            self.last = id;
            for (name, value) in fields {
                if let ("b", Value::BulkString(bytes)) = (name.as_str(), &value)
                    && let Some(bundle) = Bundle::read(bytes)
                {
                    self.take(bundle);
                }
            }
        }
        Ok(())
    }

    /// Puts letters into the mailbox, and tells what was lost before them.
    fn take(&mut self, bundle: Bundle) {
        let Bundle { from, run, first, letters } = bundle;
        let inbox = &self.shared.inbox;
        let (known, next) = self.senders.entry(from).or_insert((run, 1));
        if run < *known {
            // Written long ago, by a connection that was given up.
            return;
        }
        if run > *known {
            (*known, *next) = (run, 1);
            inbox.lose(from);
        }
        for (number, letter) in (first..).zip(letters) {
            if number < *next {
                continue;
            }
            if number > *next {
                inbox.lose(from);
            }
            *next = number + 1;
            if let Some(letter) = letter {
                inbox.push(from, letter);
            }
        }
    }

    /// Renews the inbox, lets go of what was read, and looks who else is there.
    async fn beat(&mut self) -> Result<(), RedisError> {
        let was_there = self.shared.renew().await?;
        if was_there {
            let mut trim = cmd("XTRIM");
            trim.arg(inbox(self.shared.node)).arg("MINID").arg(&self.last);
            let _trimmed: u64 = self.shared.link.ask(&trim).await?;
        }
        let first = !self.shared.open.send_replace(true);
        let writers: HashSet<NodeId> = self.shared.out.lock().keys().copied().collect();
        let peers: HashSet<NodeId> = self.senders.keys().copied().chain(writers).collect();
        if !was_there && !first {
            tracing::warn!("Redis forgot this node's inbox, letters may be lost");
            self.last = "0-0".to_owned();
            peers.iter().for_each(|peer| self.shared.inbox.lose(*peer));
        }
        for peer in peers {
            if !self.shared.is_there(peer).await? {
                self.senders.remove(&peer);
                self.shared.out.lock().remove(&peer);
                self.shared.inbox.lose(peer);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
