//! A consumer that is cut off at any moment and resumes by the id of what it dealt with last sees every event of a
//! long log once, after what came twice was dropped by its id.
//!
//! `PORCHLIGHT_STREAM_EVENTS` says how long (100,000).

use std::sync::Arc;

use porchlight::ids::{EventId, SessionId};
use porchlight::model::event::{Actor, Event, What};
use porchlight::pb::v1;
use porchlight::pb::v1::admin_client::AdminClient;
use porchlight::pb::v1::stream_events_request::Place;

use crate::admin::{channel, group_key, with_key};
use crate::common::rng::Rng;
use crate::common::site::{DEMO, group_id};
use crate::common::{Site, within};
use crate::kill::number;

const EVENTS: u64 = 100_000;

/// Events of one append.
const BATCH: u64 = 250;

fn event() -> Event {
    Event {
        id: EventId::fresh(),
        group: group_id(DEMO),
        at: porchlight::clock::wall(),
        session: Some(SessionId::from_u128(7)),
        request: None,
        actor: Actor::Server,
        record: None,
        what: What::Paused,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_is_cut_off_and_resumes_sees_each_event_once() {
    let events = number("PORCHLIGHT_STREAM_EVENTS", EVENTS);
    let mut rng = Rng::new(number("PORCHLIGHT_TEST_SEED", 1));
    let site = Site::start().await;
    let (key, channel) = (group_key(&site), channel(&site).await);
    // Written while it is read, so that both what is there and what comes is resumed.
    let log = Arc::clone(&site.running.stores.events);
    let writing = tokio::spawn(async move {
        let mut ids = Vec::new();
        for _ in 0..events / BATCH {
            let batch: Vec<Event> = (0..BATCH).map(|_| event()).collect();
            ids.extend(batch.iter().map(|event| event.id.to_string()));
            log.append(batch).await.unwrap();
        }
        ids
    });
    let wanted = usize::try_from(events / BATCH * BATCH).unwrap();
    // Dealt with by id; `place` is where the consumer noted that it is, which may lag behind.
    let (mut seen, mut order) = (std::collections::HashSet::new(), Vec::with_capacity(wanted));
    let (mut place, mut twice, mut cuts) = (None::<String>, 0, 0);
    while order.len() < wanted {
        let message = v1::StreamEventsRequest {
            group: DEMO.into(),
            place: place.clone().map(Place::AfterId),
            kinds: vec![v1::EventKind::SessionPaused.into()],
        };
        let mut client = AdminClient::new(channel.clone());
        let mut stream = client.stream_events(with_key(&key, message)).await.unwrap().into_inner();
        let first = within("how it stands", stream.message()).await.unwrap().unwrap();
        assert!(first.recovered && first.event.is_none());
        let most = *rng.pick(&[600, 600, 600, 8_000]);
        let mut left = 1 + rng.below(most);
        while left > 0 && order.len() < wanted {
            let told = within("an event", stream.message()).await.unwrap().unwrap();
            assert!(told.recovered);
            let Some(event) = told.event else { continue };
            left -= 1;
            if seen.insert(event.id.clone()) {
                order.push(event.id.clone());
            } else {
                twice += 1;
            }
            // Noted now and then, as a consumer does that commits in batches.
            if rng.below(20) == 0 {
                place = Some(event.id);
            }
        }
        cuts += 1;
    }
    let ids = writing.await.unwrap();
    assert!(order == ids, "each once, in the log's order");
    assert!(cuts > events / 10_000 && twice > 0, "{cuts} cuts, {twice} came twice");
}
