//! A consumer that loses its connection at random and goes on where it was sees every event once, wherever the log
//! is kept.

use porchlight::clock::Wall;
use porchlight::config::Secret;
use porchlight::ids::{EventId, SessionId};
use porchlight::model::event::{Actor, Event, What};
use porchlight::pb::v1;
use porchlight::pb::v1::admin_client::AdminClient;
use porchlight::pb::v1::stream_events_request::Place;

use crate::admin::{channel, group_key, with_key};
use crate::common::redis::Redis;
use crate::common::rng::Rng;
use crate::common::site::{DEMO, group_id};
use crate::common::{Site, within};

const EVENTS: u64 = 100_000;

/// Events of one append.
const BATCH: u64 = 500;

/// At most so many are read before the connection is lost: some 50 losses.
const READ: usize = 4_000;

fn event(number: u64) -> Event {
    Event {
        id: EventId::from_u128(u128::from(number)),
        group: group_id(DEMO),
        at: Wall(number),
        session: Some(SessionId::from_u128(u128::from(number / 20))),
        request: None,
        actor: Actor::Server,
        record: None,
        what: What::Paused,
    }
}

fn number(event: &v1::SessionEvent) -> u64 {
    u64::try_from(u128::from_be_bytes(EventId::parse(&event.id).unwrap().bytes())).unwrap_or(0)
}

/// Reads everything over gRPC while it is written, and loses the connection at random.
async fn every_event_once(site: &Site) {
    let log = std::sync::Arc::clone(&site.running.stores.events);
    let writing = tokio::spawn(async move {
        for first in (1..=EVENTS).step_by(BATCH as usize) {
            log.append((first..first + BATCH).map(event).collect()).await.unwrap();
        }
    });
    let (key, mut client, mut rng) =
        (group_key(site), AdminClient::new(channel(site).await), Rng::new(0x4e5));
    let (mut seen, mut twice, mut losses) = (Vec::new(), 0u64, 0u64);
    let mut known = std::collections::HashSet::new();
    let mut read: Vec<(String, u64)> = Vec::new();
    while seen.len() < EVENTS as usize {
        // It may not have noted the last few that it dealt with.
        let behind = rng.below(30).min(read.len().saturating_sub(1));
        let place = match read.get(read.len().wrapping_sub(1 + behind)) {
            None => None,
            Some((id, _)) if rng.below(2) == 0 => Some(Place::AfterId(id.clone())),
            Some((_, sequence)) => Some(Place::AfterSequence(*sequence)),
        };
        let message = v1::StreamEventsRequest { group: DEMO.into(), place, kinds: Vec::new() };
        let mut stream = client.stream_events(with_key(&key, message)).await.unwrap().into_inner();
        for _ in 0..=rng.below(READ) {
            let message = within("a message", stream.message()).await.unwrap().unwrap();
            assert!(message.recovered, "nothing is missing");
            let Some(event) = message.event else { continue };
            if known.insert(event.id.clone()) {
                let number = number(&event);
                // The group's own making comes first.
                if number > 0 && number <= EVENTS {
                    seen.push(number);
                }
                read.push((event.id, event.sequence));
            } else {
                twice += 1;
            }
            if seen.len() == EVENTS as usize {
                break;
            }
        }
        losses += 1;
    }
    writing.await.unwrap();
    assert_eq!(seen, (1..=EVENTS).collect::<Vec<_>>());
    assert!(losses > 20 && twice > 20, "{losses} losses, {twice} came twice");
}

#[tokio::test]
async fn every_event_is_seen_once_in_the_database() {
    every_event_once(&Site::start().await).await;
}

#[tokio::test]
async fn every_event_is_seen_once_on_redis() {
    let redis = Redis::start().await;
    let url = redis.url();
    let site = Site::with(|config| config.redis.url = Some(Secret::from(url))).await;
    every_event_once(&site).await;
}
