//! What Redis says on channels of shards.
//!
//! What is said on a channel every server of a cluster tells every other one. A channel of a **shard** (Redis 7.0) is
//! told of by the primary alone that its slot is on, so that what is said there costs the others nothing. Decides
//! which connections that takes: one to each primary that has a channel that is wanted here, and none where none is;
//! one server is like a cluster of one. When a connection ends or falls silent, or a primary hands a channel over, the
//! channels that were heard there are looked for anew, and whoever listens is told so: what was said meanwhile it reads.
//! Channels of a primary that is dead wait for the next one, and no others with them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, Msg, PushInfo, PushKind, RedisError};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::task::AbortOnDropHandle;

use super::cluster::Place;
use super::ear::{Heard, Said, Waiting};
use super::{Link, Way, within};
use crate::auth::random;
use crate::limits::{self, Most};
use crate::telemetry::{Listener, RedisUse};

/// Subscriptions of one listener to channels of shards. They end with it.
pub struct Shards {
    shared: Arc<Shared>,
    _keeper: AbortOnDropHandle<()>,
}

/// What a listener is told.
#[derive(Debug)]
pub enum Told {
    /// From here on a channel is heard. What was said on it before may have been missed.
    Open(String),
    /// A channel is not heard any more, until it is told to be.
    Closed(String),
    /// Somebody said something on a channel.
    Said(Said),
    /// Something that was said, on any of the channels, is lost.
    Missed,
}

struct Shared {
    link: Link,
    waiting: Arc<Waiting>,
    state: Mutex<State>,
    /// Other channels are wanted, or one was sent away by its primary.
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Each channel that is wanted with the number of its wish: who wishes anew is told anew.
    wanted: BTreeMap<String, u64>,
    wishes: u64,
    /// Whether a channel is heard, where the listener was not told so yet.
    turns: BTreeMap<String, bool>,
}

impl Shards {
    pub(super) fn new(link: Link, listener: Listener, most: Most) -> Self {
        let waiting = Waiting::new(most, link.meters.clone().map(|meters| (listener, meters)));
        let shared = Arc::new(Shared { link, waiting, state: Mutex::default(), changed: Notify::new() });
        let keeper = tokio::spawn(keep(Arc::clone(&shared)));
        Self { shared, _keeper: AbortOnDropHandle::new(keeper) }
    }

    /// Hears a channel, as soon as it is told to be open.
    pub fn follow(&self, channel: &str) {
        {
            let mut state = self.shared.state.lock();
            state.wishes += 1;
            let number = state.wishes;
            state.wanted.insert(channel.to_owned(), number);
        }
        self.shared.changed.notify_one();
    }

    /// Hears a channel no more. A word that waits already may still come.
    pub fn leave(&self, channel: &str) {
        {
            let mut state = self.shared.state.lock();
            state.wanted.remove(channel);
            state.turns.remove(channel);
        }
        self.shared.changed.notify_one();
    }

    /// What is told next. Nothing is lost when the wait for it is given up.
    pub async fn next(&mut self) -> Told {
        loop {
            let turn = self.shared.state.lock().turns.pop_first();
            match turn {
                Some((channel, true)) => return Told::Open(channel),
                Some((channel, false)) => return Told::Closed(channel),
                None => {}
            }
            match self.shared.waiting.take() {
                Some(Heard::Said(said)) => return Told::Said(said),
                Some(Heard::Missed) => return Told::Missed,
                None => self.shared.waiting.news().await,
            }
        }
    }
}

impl Shared {
    /// A channel is heard or not, for a wish that still is one.
    fn turn(&self, channel: &str, number: u64, open: bool) {
        let mut state = self.state.lock();
        if state.wanted.get(channel) == Some(&number) {
            state.turns.insert(channel.to_owned(), open);
            drop(state);
            self.waiting.wake();
        }
    }

    /// The primary of each channel, if there is one; the one server has no place.
    async fn places(&self, channels: &[String]) -> Result<Vec<Option<Option<Place>>>, RedisError> {
        match &self.link.way {
            Way::Single(_) => Ok(vec![Some(None); channels.len()]),
            #[cfg(test)]
            Way::Played(_) => Ok(vec![Some(None); channels.len()]),
            Way::Cluster(cluster) => {
                let places = self.link.noted(cluster.places(channels).await)?;
                Ok(places.into_iter().map(|place| place.map(Some)).collect())
            }
        }
    }
}

// ── Which primary is asked for what ────────────────────────────────────────────────────────────

/// All primaries that are asked for anything. Their tasks end with this.
struct Keeper {
    shared: Arc<Shared>,
    shards: HashMap<Option<Place>, Shard>,
    lives: JoinSet<Ended>,
    lived: u64,
    /// How long the next connection to a primary waits, where the last one was not any good.
    pauses: HashMap<Option<Place>, Duration>,
}

/// A primary that is asked for channels.
struct Shard {
    life: u64,
    wanted: Arc<Wanted>,
    task: AbortHandle,
}

/// What is wanted of a primary.
#[derive(Default)]
struct Wanted {
    channels: Mutex<BTreeMap<String, u64>>,
    changed: Notify,
}

/// A connection that is over.
struct Ended {
    place: Option<Place>,
    life: u64,
    /// Whether anything was heard there.
    was_good: bool,
}

async fn keep(shared: Arc<Shared>) {
    let (shards, lives, pauses) = (HashMap::new(), JoinSet::new(), HashMap::new());
    let mut keeper = Keeper { shared, shards, lives, lived: 0, pauses };
    let mut pause = limits::REDIS_RECONNECT.0;
    loop {
        let homeless = keeper.hand_on();
        let all = homeless.is_empty() || keeper.settle(homeless).await;
        if all {
            pause = limits::REDIS_RECONNECT.0;
        }
        tokio::select! {
            biased;
            () = keeper.shared.changed.notified() => {}
            Some(ended) = keeper.lives.join_next() => keeper.over(ended),
            () = tokio::time::sleep(pause), if !all => pause = (pause * 2).min(limits::REDIS_RECONNECT.1),
        }
    }
}

impl Keeper {
    /// Tells the primaries what is wanted of them by now, and ends the connections to those of whom nothing is.
    /// Returns what nobody is asked for yet.
    fn hand_on(&mut self) -> BTreeMap<String, u64> {
        let mut wanted = self.shared.state.lock().wanted.clone();
        self.shards.retain(|_, shard| {
            let mut channels = shard.wanted.channels.lock();
            let still: BTreeMap<String, u64> =
                channels.keys().filter_map(|channel| wanted.remove_entry(channel)).collect();
            if still.is_empty() {
                shard.task.abort();
                return false;
            }
            if *channels != still {
                *channels = still;
                shard.wanted.changed.notify_one();
            }
            true
        });
        wanted
    }

    /// Finds a primary for each of these channels. False where one has none now.
    async fn settle(&mut self, homeless: BTreeMap<String, u64>) -> bool {
        let (channels, numbers): (Vec<String>, Vec<u64>) = homeless.into_iter().unzip();
        let places = match self.shared.places(&channels).await {
            Ok(places) => places,
            Err(error) => {
                tracing::debug!(%error, "can't tell which primary says what");
                return false;
            }
        };
        let mut all = true;
        for ((channel, number), place) in channels.into_iter().zip(numbers).zip(places) {
            let Some(place) = place else {
                all = false;
                continue;
            };
            let wanted = self.ask(place);
            wanted.channels.lock().insert(channel, number);
            wanted.changed.notify_one();
        }
        all
    }

    /// What is wanted of a primary, which is connected to if it is not yet.
    fn ask(&mut self, place: Option<Place>) -> Arc<Wanted> {
        if let Some(shard) = self.shards.get(&place) {
            return Arc::clone(&shard.wanted);
        }
        self.lived += 1;
        let (life, wanted) = (self.lived, Arc::<Wanted>::default());
        let after = self.pauses.get(&place).copied().unwrap_or_default();
        let living = live(Arc::clone(&self.shared), Arc::clone(&wanted), place.clone(), life, after);
        let task = self.lives.spawn(living);
        self.shards.insert(place, Shard { life, wanted: Arc::clone(&wanted), task });
        wanted
    }

    /// A connection is over: what was wanted there is looked for anew.
    fn over(&mut self, ended: Result<Ended, JoinError>) {
        // One that was ended here has nothing to tell.
        let Ok(Ended { place, life, was_good }) = ended else { return };
        let (least, most) = limits::REDIS_RECONNECT;
        let pause = self.pauses.get(&place).filter(|_| !was_good).map_or(least, |pause| *pause * 2);
        self.pauses.insert(place.clone(), pause.min(most));
        if self.shards.get(&place).is_some_and(|shard| shard.life == life) {
            self.shards.remove(&place);
        }
    }
}

// ── One connection ─────────────────────────────────────────────────────────────────────────────

async fn live(
    shared: Arc<Shared>,
    wanted: Arc<Wanted>,
    place: Option<Place>,
    life: u64,
    after: Duration,
) -> Ended {
    tokio::time::sleep(after).await;
    let mut heard = BTreeMap::new();
    let Err(error) = hear(&shared, &wanted, place.as_ref(), &mut heard).await;
    tracing::debug!(%error, channels = heard.len(), "channels are heard no more");
    for (channel, number) in &heard {
        shared.turn(channel, *number, false);
    }
    Ended { place, life, was_good: !heard.is_empty() }
}

/// Hears what is wanted of a primary, until that can't go on.
async fn hear(
    shared: &Arc<Shared>,
    wanted: &Wanted,
    place: Option<&Place>,
    heard: &mut BTreeMap<String, u64>,
) -> Result<Infallible, RedisError> {
    let hearing = Arc::new(Hearing::new(Arc::clone(&shared.waiting)));
    let mut voice = connect(&shared.link, place, &hearing).await?;
    let mut probing = None;
    // Channels that it says are not its own.
    let mut refused = HashSet::new();
    let mut look = tokio::time::interval(limits::SHARD_PROBE);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let channels = wanted.channels.lock().clone();
        let left: Vec<String> = heard.keys().filter(|name| !channels.contains_key(*name)).cloned().collect();
        for channel in left {
            // Before it is said, so that it is not taken for one that was handed over.
            hearing.followed.lock().remove(&channel);
            heard.remove(&channel);
            voice.turn(&channel, false).await?;
        }
        refused.retain(|channel| channels.contains_key(channel));
        for (channel, number) in channels {
            if heard.get(&channel) == Some(&number) || refused.contains(&channel) {
                continue;
            }
            if !heard.contains_key(&channel) {
                let followed = async {
                    if probing.is_none() {
                        let probe = probe(&channel);
                        hearing.follow(&mut voice, &probe).await?;
                        probing = Some(hearing.probe(&shared.link, probe));
                    }
                    hearing.follow(&mut voice, &channel).await
                };
                match shared.link.noted(followed.await) {
                    Err(error) if matches!(error.kind(), ErrorKind::Server(_)) => {
                        tracing::debug!(%error, channel, "a channel is not this primary's");
                        refused.insert(channel);
                        continue;
                    }
                    done => done?,
                }
            }
            shared.turn(&channel, number, true);
            heard.insert(channel, number);
        }
        tokio::select! {
            biased;
            () = hearing.over.notified() => return Err(gone("the connection ended, or a channel went elsewhere")),
            () = wanted.changed.notified() => {}
            () = tokio::time::sleep(limits::REDIS_REDIRECT.1), if !refused.is_empty() => {
                wanted.channels.lock().retain(|channel, _| !refused.contains(channel));
                shared.changed.notify_one();
            }
            _ = look.tick() => {
                if hearing.since.lock().elapsed() > limits::SHARD_SILENCE {
                    return Err(gone("nothing was heard"));
                }
            }
        }
    }
}

/// How a primary is told what to say.
enum Voice {
    Redis(MultiplexedConnection),
    #[cfg(test)]
    Played(Box<dyn super::played::Voice>),
}

impl Voice {
    /// Turns a channel on or off. Returns when that was confirmed.
    async fn turn(&mut self, channel: &str, on: bool) -> Result<(), RedisError> {
        let turning = async {
            match self {
                Self::Redis(connection) => {
                    let mut turn = redis::cmd(if on { "SSUBSCRIBE" } else { "SUNSUBSCRIBE" });
                    turn.arg(channel).exec_async(connection).await
                }
                #[cfg(test)]
                Self::Played(voice) => voice.turn(&[channel], on).await,
            }
        };
        within(limits::REDIS_ANSWER, turning).await
    }
}

/// A connection whose words go where they are waited for.
async fn connect(link: &Link, place: Option<&Place>, hearing: &Arc<Hearing>) -> Result<Voice, RedisError> {
    let takes = Arc::clone(hearing);
    let take = move |push: PushInfo| -> Result<(), Infallible> {
        takes.take(push);
        Ok(())
    };
    let connecting = async {
        let client = match (&link.way, place) {
            (Way::Single(single), _) => single.listener().await?,
            (Way::Cluster(cluster), Some(place)) => cluster.listener(place)?,
            (Way::Cluster(_), None) => return Err(gone("a member of a cluster has a place")),
            #[cfg(test)]
            (Way::Played(played), _) => {
                let take = move |push| take(push).unwrap_or_else(|never| match never {});
                return played.shards(Box::new(take)).await.map(Voice::Played);
            }
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limits::REDIS_MEMBER))
            .set_response_timeout(None)
            .set_push_sender(take);
        client.get_multiplexed_async_connection_with_config(&config).await.map(Voice::Redis)
    };
    let voice = link.noted(within(limits::REDIS_ANSWER, connecting).await)?;
    if let Some(meters) = &link.meters {
        meters.redis_connected(RedisUse::Subscriptions);
    }
    Ok(voice)
}

/// What comes over a connection.
struct Hearing {
    waiting: Arc<Waiting>,
    /// What is wanted there.
    followed: Mutex<HashSet<String>>,
    /// When a word of this node's own was heard last.
    since: Mutex<Instant>,
    /// It ended, or a channel was handed over.
    over: Notify,
}

impl Hearing {
    fn new(waiting: Arc<Waiting>) -> Self {
        Self { waiting, followed: Mutex::default(), since: Mutex::new(Instant::now()), over: Notify::new() }
    }

    fn take(&self, push: PushInfo) {
        match push.kind {
            PushKind::SMessage => match Msg::from_push_info(push) {
                Some(said) if is_probe(said.get_channel_name()) => *self.since.lock() = Instant::now(),
                Some(said) => self.waiting.push(said),
                None => {}
            },
            PushKind::SUnsubscribe if self.is_wanted(&push) => self.over.notify_one(),
            PushKind::Disconnection => self.over.notify_one(),
            _ => {}
        }
    }

    fn is_wanted(&self, push: &PushInfo) -> bool {
        let name = push.data.first().and_then(|name| redis::from_redis_value_ref::<String>(name).ok());
        name.is_some_and(|name| self.followed.lock().contains(&name))
    }

    async fn follow(&self, voice: &mut Voice, channel: &str) -> Result<(), RedisError> {
        // Before it is heard: it may be handed over right after.
        self.followed.lock().insert(channel.to_owned());
        let followed = voice.turn(channel, true).await;
        if followed.is_err() {
            self.followed.lock().remove(channel);
        }
        followed
    }

    /// Says a word on a channel every now and then. Sockets die without a word, and a primary that others have replaced
    /// may not know it yet: then it is not heard.
    fn probe(&self, link: &Link, channel: String) -> AbortOnDropHandle<()> {
        *self.since.lock() = Instant::now();
        let link = link.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut beat = tokio::time::interval(limits::SHARD_PROBE);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                beat.tick().await;
                if let Err(error) = link.ask::<u64>(redis::cmd("SPUBLISH").arg(&channel).arg("")).await {
                    tracing::debug!(%error, "a word to this node itself is lost");
                }
            }
        }))
    }
}

/// A channel of nobody else's on the same slot as another one.
fn probe(channel: &str) -> String {
    let tagged = channel.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let tag = tagged.map(|(tag, _)| tag).filter(|tag| !tag.is_empty()).unwrap_or(channel);
    format!("pl:{{{tag}}}{PROBE}{:016x}", u64::from_be_bytes(random::bytes()))
}

const PROBE: &str = ":probe:";

fn is_probe(channel: &str) -> bool {
    channel.rsplit_once('}').is_some_and(|(_, rest)| rest.starts_with(PROBE))
}

fn gone(why: &'static str) -> RedisError {
    RedisError::from((ErrorKind::Io, why))
}

#[cfg(test)]
mod tests {
    use redis::cluster_routing::Slot;

    use super::*;
    use crate::redis::server::Redis;
    use crate::redis::server::cluster::RedisCluster;

    async fn next(shards: &mut Shards) -> Told {
        tokio::time::timeout(Duration::from_secs(60), shards.next()).await.expect("something is told")
    }

    async fn opens(shards: &mut Shards, channel: &str) {
        while !matches!(next(shards).await, Told::Open(open) if open == channel) {}
    }

    async fn closes(shards: &mut Shards, channel: &str) {
        while !matches!(next(shards).await, Told::Closed(closed) if closed == channel) {}
    }

    async fn say(link: &Link, channel: &str, word: &str) {
        let _heard: u64 = link.ask(redis::cmd("SPUBLISH").arg(channel).arg(word)).await.unwrap();
    }

    /// What is said next is this.
    async fn hears(shards: &mut Shards, channel: &str, word: &str) {
        match next(shards).await {
            Told::Said(said) => assert_eq!((said.channel(), said.payload()), (channel, word.as_bytes())),
            other => panic!("{other:?} in place of {word} on {channel}"),
        }
    }

    async fn kill(redis: &mut MultiplexedConnection) -> u64 {
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("pubsub").query_async(redis).await.unwrap()
    }

    /// Whether a member has listeners of this node on a channel of a shard.
    async fn listeners(redis: &mut MultiplexedConnection, channel: &str) -> u64 {
        let mut look = redis::cmd("PUBSUB");
        let told: (String, u64) = look.arg("SHARDNUMSUB").arg(channel).query_async(redis).await.unwrap();
        told.1
    }

    const ROOM: Most = Most { words: 1_000, bytes: 1 << 20 };

    #[tokio::test]
    async fn one_server_is_heard_over_one_connection_that_comes_back_by_itself() {
        let redis = Redis::alone().await;
        let link = redis.link().await;
        let mut shards = link.shards(Listener::Presence, ROOM);
        let (one, two) = ("pl:{g}:one", "pl:{h}:two");
        for channel in [one, two] {
            shards.follow(channel);
            opens(&mut shards, channel).await;
            say(&link, channel, "x").await;
            hears(&mut shards, channel, "x").await;
        }
        shards.leave(two);
        // Who wishes anew is told anew, whether it was left meanwhile or not.
        shards.leave(one);
        shards.follow(one);
        opens(&mut shards, one).await;
        for channel in [two, one] {
            say(&link, channel, "y").await;
        }
        hears(&mut shards, one, "y").await;
        for round in ["1", "2", "3"] {
            assert!(kill(&mut redis.connect().await).await >= 1);
            closes(&mut shards, one).await;
            opens(&mut shards, one).await;
            say(&link, one, round).await;
            hears(&mut shards, one, round).await;
        }
    }

    #[tokio::test]
    async fn nobody_is_connected_to_for_nothing() {
        let redis = Redis::alone().await;
        let (link, mut all) = (redis.link().await, redis.connect().await);
        let mut shards = link.shards(Listener::Frames, ROOM);
        let count = async |all: &mut MultiplexedConnection| {
            let mut list = redis::cmd("CLIENT");
            let told: String = list.arg("LIST").arg("TYPE").arg("pubsub").query_async(all).await.unwrap();
            told.lines().filter(|line| !line.is_empty()).count()
        };
        assert_eq!(count(&mut all).await, 0);
        shards.follow("pl:{g}:one");
        opens(&mut shards, "pl:{g}:one").await;
        assert_eq!(count(&mut all).await, 1);
        shards.leave("pl:{g}:one");
        until(async || count(&mut all).await == 0).await;
        shards.follow("pl:{g}:one");
        opens(&mut shards, "pl:{g}:one").await;
        drop(shards);
        until(async || count(&mut all).await == 0).await;
    }

    async fn until(mut fact: impl AsyncFnMut() -> bool) {
        let waited = async {
            while !fact().await {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waited).await.expect("it becomes true");
    }

    #[tokio::test]
    async fn what_had_no_room_is_told_as_missed() {
        let redis = Redis::start().await;
        let link = redis.link().await;
        let mut shards = link.shards(Listener::Presence, Most { words: 10, bytes: 1_000 });
        shards.follow("pl:{g}:one");
        opens(&mut shards, "pl:{g}:one").await;
        say(&link, "pl:{g}:one", &"x".repeat(2_000)).await;
        assert!(matches!(next(&mut shards).await, Told::Missed));
        say(&link, "pl:{g}:one", "y").await;
        hears(&mut shards, "pl:{g}:one", "y").await;
    }

    #[tokio::test]
    async fn each_primary_of_a_cluster_tells_of_its_channels_alone() {
        let mut all = RedisCluster::start(3).await;
        let link = Link::open(&all.url()).await.unwrap();
        let mut shards = link.shards(Listener::Presence, ROOM);
        let channels: Vec<String> = (0..9).map(|number| format!("pl:{{g{number}}}:shard")).collect();
        let mut homes = Vec::new();
        for channel in &channels {
            shards.follow(channel);
            opens(&mut shards, channel).await;
            homes.push(all.home(channel).await.1);
        }
        for (channel, home) in channels.iter().zip(&homes) {
            say(&link, channel, "x").await;
            hears(&mut shards, channel, "x").await;
            for at in 0..3 {
                let listeners = listeners(&mut all.connect(at).await, channel).await;
                assert_eq!(listeners, u64::from(at == *home), "{channel} is on {home}, not on {at}");
            }
        }
        let [one, two, three] = [0, 1, 2].map(|at| {
            let found = homes.iter().position(|home| *home == at).expect("each primary has some");
            channels[found].as_str()
        });
        // A slot goes elsewhere: its primary says so.
        let (slot, _) = all.home(one).await;
        all.move_slot(slot, 0, 1).await;
        opens(&mut shards, one).await;
        say(&link, one, "moved").await;
        hears_at_last(&mut shards, one, "moved").await;
        assert_eq!(listeners(&mut all.connect(1).await, one).await, 1);
        // A primary that stands still, and breaks no connection, is not heard; the others are.
        all.pause(2);
        closes(&mut shards, three).await;
        say(&link, two, "meanwhile").await;
        hears_at_last(&mut shards, two, "meanwhile").await;
        all.resume(2);
        opens(&mut shards, three).await;
        // One that is dead keeps none of the others' channels waiting.
        all.kill(2);
        closes(&mut shards, three).await;
        shards.leave(two);
        shards.follow(two);
        opens(&mut shards, two).await;
        say(&link, two, "alone").await;
        hears_at_last(&mut shards, two, "alone").await;
        all.revive(2).await;
        opens(&mut shards, three).await;
    }

    /// The same after whatever else is told.
    async fn hears_at_last(shards: &mut Shards, channel: &str, word: &str) {
        loop {
            if let Told::Said(said) = next(shards).await {
                return assert_eq!((said.channel(), said.payload()), (channel, word.as_bytes()));
            }
        }
    }

    #[test]
    fn a_probe_is_on_the_same_slot() {
        for channel in ["pl:{g}:presence", "pl:frames:7f", "pl:{a}{b}"] {
            let (slot, probe) = (Slot::for_key(channel), probe(channel));
            assert!(is_probe(&probe) && !is_probe(channel));
            assert_eq!(Slot::for_key(&probe), slot, "{probe}");
        }
    }
}
