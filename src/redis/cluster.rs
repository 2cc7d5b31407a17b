//! A Redis Cluster: keys are where their slot is, and slots move.
//!
//! Decides what is done when a member refuses a call. A refusal for the slot's sake (it is elsewhere, on its way,
//! or has no primary just now) is one of a call that was not begun: it is repeated until its time is over. What
//! may have been begun is not repeated here, which is why the crate's own repeating, which makes no difference
//! between the two, is off.

use std::ops::RangeInclusive;
use std::sync::Arc;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::Slot;
use redis::{AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value};

use super::call::{Door, Work};
use super::plan::{Plan, Servers};
use super::{OpenError, late};
use crate::auth::random;
use crate::limits;
use crate::telemetry::{Meters, RedisUse};

/// Connections to all members.
#[derive(Clone)]
pub(super) struct Cluster {
    plan: Arc<Plan>,
    connection: ClusterConnection,
}

impl Cluster {
    pub(super) async fn open(plan: &Plan, meters: Option<Arc<Meters>>) -> Result<Self, OpenError> {
        let Servers::Cluster(nodes) = &plan.servers else { unreachable!("only a cluster is one") };
        let client = plan
            .cluster(nodes)?
            .retries(0)
            .connection_timeout(limits::REDIS_MEMBER)
            .response_timeout(limits::REDIS_ANSWER)
            .build()
            .map_err(OpenError::Address)?;
        let connecting = client.get_async_connection();
        let connection =
            super::within(limits::REDIS_ANSWER, connecting).await.map_err(OpenError::of_cluster)?;
        if let Some(meters) = &meters {
            meters.redis_connected(RedisUse::Commands);
        }
        Ok(Self { plan: Arc::new(plan.clone()), connection })
    }

    /// Does something through the member that its keys are on.
    pub(super) async fn through<T: FromRedisValue>(&self, work: Work<'_>) -> Result<T, RedisError> {
        let mut refused = None;
        let doing = async {
            let mut pause = limits::REDIS_REDIRECT.0;
            let mut door = Door::Member(self.connection.clone());
            loop {
                let error = match work.done(door).await {
                    Err(error) if may_repeat(&error, work) => error,
                    done => return done,
                };
                door = match asked_elsewhere(&error) {
                    // Its other half is where the slot goes: a connection of its own, since the word that goes
                    // before the call must not be parted from it.
                    Some((host, port)) if !matches!(work, Work::Commands(_)) => {
                        Door::Asking(self.member(host, port).await?)
                    }
                    _ => {
                        refused = Some(error);
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(limits::REDIS_REDIRECT.1);
                        Door::Member(self.connection.clone())
                    }
                };
            }
        };
        let done = tokio::time::timeout(limits::REDIS_ANSWER, doing).await;
        done.unwrap_or_else(|_| Err(refused.unwrap_or_else(late)))
    }

    /// A connection to one member.
    async fn member(&self, host: &str, port: u16) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limits::REDIS_MEMBER))
            .set_response_timeout(None);
        let client = self.plan.client(self.plan.of_server(host, port))?;
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// A connection of its own to one of the primaries, by chance: one that does not hear the others is not chosen
    /// for ever.
    pub(super) async fn listen(&self) -> Result<PubSub, RedisError> {
        let mut places = self.primaries().await?;
        let mut failed =
            RedisError::from((ErrorKind::ClusterConnectionNotFound, "the cluster names no primary"));
        while !places.is_empty() {
            let chance = u64::from_be_bytes(random::bytes());
            let at = usize::try_from(chance % places.len() as u64).unwrap_or_default();
            let (host, port) = places.swap_remove(at);
            let client = self.plan.client(self.plan.of_server(&host, port))?;
            match super::within(limits::REDIS_MEMBER, client.get_async_pubsub()).await {
                Ok(listener) => return Ok(listener),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// A connection of its own to the primary that a key is on.
    pub(super) async fn own(&self, key: &str) -> Result<MultiplexedConnection, RedisError> {
        match self.places(&[key.to_owned()]).await?.swap_remove(0) {
            Some((host, port)) => self.member(&host, port).await,
            None => Err(RedisError::from((ErrorKind::ClusterConnectionNotFound, "the slot has no primary"))),
        }
    }

    /// The primaries that keys, or channels of shards, are on, where there are any.
    pub(super) async fn places(&self, keys: &[String]) -> Result<Vec<Option<Place>>, RedisError> {
        let ranges = self.ranges().await?;
        let place = |key: &String| {
            let slot = Some(Slot::for_key(key));
            let has = |range: &&Range| range.slots.clone().any(|number| Slot::new(number) == slot);
            ranges.iter().find(has).map(|range| range.place.clone())
        };
        Ok(keys.iter().map(place).collect())
    }

    /// A client of a primary whose connections may subscribe to channels of shards.
    pub(super) fn listener(&self, (host, port): &Place) -> Result<Client, RedisError> {
        self.plan.listener(self.plan.of_server(host, *port))
    }

    /// Where the primaries are that have slots.
    async fn primaries(&self) -> Result<Vec<Place>, RedisError> {
        let mut places = Vec::new();
        for Range { place, .. } in self.ranges().await? {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        Ok(places)
    }

    async fn ranges(&self) -> Result<Vec<Range>, RedisError> {
        let mut look = redis::cmd("CLUSTER");
        look.arg("SLOTS");
        let told: Vec<Vec<Value>> = self.through(Work::Command(&look)).await?;
        let mut ranges = Vec::new();
        for range in told {
            let [first, last, primary, ..] = &range[..] else { continue };
            let slots = redis::from_redis_value_ref(first)?..=redis::from_redis_value_ref(last)?;
            let primary: Vec<Value> = redis::from_redis_value_ref(primary)?;
            let [host, port, ..] = &primary[..] else { continue };
            let place = (redis::from_redis_value_ref::<String>(host)?, redis::from_redis_value_ref(port)?);
            // One that does not know its own name is found under the name that is known here.
            if !place.0.is_empty() {
                ranges.push(Range { slots, place });
            }
        }
        Ok(ranges)
    }
}

/// Host and port of a member.
pub(super) type Place = (String, u16);

/// Slots that are on one primary.
struct Range {
    slots: RangeInclusive<u16>,
    place: Place,
}

/// Whether work may be done again after this: none of it was begun, or it only reads. Of several commands that met a slot
/// which is elsewhere one error may be all that is told.
fn may_repeat(error: &RedisError, work: Work<'_>) -> bool {
    match error.clone().into_server_errors() {
        Some(errors) => {
            (errors.len() == work.commands() || work.only_reads())
                && errors.iter().all(|(_, error)| error.kind().is_some_and(is_about_slots))
        }
        None => error.kind() == ErrorKind::ClusterConnectionNotFound,
    }
}

fn is_about_slots(kind: ServerErrorKind) -> bool {
    matches!(
        kind,
        ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::ReadOnly
    )
}

/// Where to ask this once.
fn asked_elsewhere(error: &RedisError) -> Option<(&str, u16)> {
    let asked = error.kind() == ErrorKind::Server(ServerErrorKind::Ask);
    error.redirect_node().filter(|_| asked).and_then(|(node, _slot)| {
        let (host, port) = node.rsplit_once(':')?;
        Some((host, port.parse().ok()?))
    })
}
