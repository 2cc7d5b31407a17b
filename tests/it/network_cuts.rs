//! Cuts of the network under running sessions, at random moments: everybody comes back as who it was, the others hear
//! both, and each picture that is seen is whole.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use porchlight::wire::frame::flag;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::common::client::{Client, Heard};
use crate::common::frames::{Picture, header};
use crate::common::proxy::{Network, Way};
use crate::common::rng::Rng;
use crate::common::transcript::Transcript;
use crate::common::{ParticipantClient, Site, Value, json};

/// Between two pictures.
const PACE: Duration = Duration::from_millis(100);

/// How long what has to come may take behind the end of a cut.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whose network is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Publisher,
    Viewer,
    Both,
}

/// What comes next, however long nothing but heartbeats comes.
async fn hear(client: &mut Client) -> Heard {
    loop {
        if let Ok(heard) = tokio::time::timeout(Duration::from_secs(1), client.hear()).await {
            return heard;
        }
    }
}

/// A page that is open and needs nothing.
fn keep(mut client: Client) -> JoinHandle<()> {
    tokio::spawn(async move { while !matches!(hear(&mut client).await, Heard::Closed(_)) {} })
}

/// A participant with a network of its own.
struct Place {
    name: &'static str,
    way: Way,
    transcript: Transcript,
    /// Who was told to be away, to anybody.
    away: watch::Sender<Vec<Value>>,
}

impl Place {
    async fn new(site: &Site, name: &'static str, away: &watch::Sender<Vec<Value>>) -> Self {
        let way = Way::before(site.running.public).await;
        Self { name, way, transcript: site.transcript.clone(), away: away.clone() }
    }

    async fn attach(&self, credential: Value) -> ParticipantClient {
        let client = Client::open(&self.transcript, self.name, self.way.addr(), "/v1/session").await;
        ParticipantClient::attach(client, credential).await
    }

    /// As soon as the network carries again, and the server has noticed: whoever is quicker was never away.
    async fn comes_back(&self, was: &ParticipantClient) -> ParticipantClient {
        self.way.carries().await;
        let mut away = self.away.subscribe();
        let noticed = away.wait_for(|away| away.contains(&was.id()));
        tokio::time::timeout(PATIENCE, noticed).await.expect("somebody hears of it").unwrap();
        let back = self.attach(json!({"resumeToken": was.token()})).await;
        assert_eq!(back.id(), was.id(), "{} is who it was", self.name);
        back
    }
}

/// What a publisher sent, by sequence, and how often it came back.
struct Sent {
    frames: HashMap<u32, Bytes>,
    returns: usize,
    /// Still there.
    _client: ParticipantClient,
}

/// Shows pictures until there were enough, then only those it is asked for; tells which is the last, and stays until
/// told to stop.
async fn publish(
    place: &Place,
    mut client: ParticipantClient,
    mut enough: watch::Receiver<bool>,
    last: watch::Sender<Option<u32>>,
    mut stop: watch::Receiver<bool>,
) -> Sent {
    let (mut picture, mut frames, mut returns, mut key) = (Picture::new(), HashMap::new(), 0, true);
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Sent { frames, returns, _client: client },
            _ = enough.wait_for(|enough| *enough), if last.borrow().is_none() => {
                last.send_replace(frames.keys().max().copied());
            }
            _ = pace.tick(), if key || last.borrow().is_none() => {
                let frame = if key { picture.key(2_000) } else { picture.delta(500) };
                key = false;
                frames.insert(header(&frame).sequence, frame.clone());
                last.send_if_modified(|last| last.as_mut().map(|last| *last = header(&frame).sequence).is_some());
                client.send_frame(frame).await;
            }
            heard = hear(&mut client) => match heard {
                Heard::Text(text) => key |= text["type"] == "keyFrameRequest",
                Heard::Closed(_) => {
                    client = place.comes_back(&client).await;
                    returns += 1;
                    key = true;
                }
                Heard::Frame(_) => panic!("a publisher is sent no frames"),
            }
        }
    }
}

/// What a viewer saw, connection by connection, and what it was told of the others.
struct Seen {
    frames: Vec<Vec<Bytes>>,
    changes: Vec<(String, Value)>,
    /// Still there.
    _client: ParticipantClient,
}

/// Looks until told to stop, and tells how many frames came by now, and the newest.
async fn look(
    place: &Place,
    mut client: ParticipantClient,
    newest: watch::Sender<(usize, u32)>,
    mut stop: watch::Receiver<bool>,
) -> Seen {
    let (mut frames, mut changes) = (vec![Vec::new()], Vec::new());
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Seen { frames, changes, _client: client },
            heard = hear(&mut client) => match heard {
                Heard::Frame(frame) => {
                    let sequence = header(&frame).sequence;
                    frames.last_mut().unwrap().push(frame);
                    newest.send_modify(|(count, newest)| (*count, *newest) = (*count + 1, sequence));
                }
                Heard::Text(news) if news["type"] == "participant" => {
                    let change = news["change"].as_str().unwrap().to_owned();
                    if change == "reconnecting" {
                        place.away.send_modify(|away| away.push(news["participant"]["participantId"].clone()));
                    }
                    changes.push((change, news["participant"]["participantId"].clone()));
                }
                Heard::Text(_) => {}
                Heard::Closed(_) => {
                    client = place.comes_back(&client).await;
                    frames.push(Vec::new());
                }
            }
        }
    }
}

/// Each picture can be drawn: a key frame first, and no change without what it changes; and it is what was sent.
fn assert_whole(seen: &Seen, sent: &Sent) {
    for frames in &seen.frames {
        let mut before: Option<(u32, u32)> = None;
        for frame in frames {
            let it = header(frame);
            assert_eq!(Some(frame), sent.frames.get(&it.sequence), "frame {}", it.sequence);
            if it.flags & flag::KEY == 0 {
                assert_eq!(before.map(|(group, at)| (group, at + 1)), Some((it.group, it.sequence)));
            }
            before = Some((it.group, it.sequence));
        }
    }
}

async fn until(what: &str, newest: &mut watch::Receiver<(usize, u32)>, so: impl Fn(usize, u32) -> bool) {
    let waited = newest.wait_for(|(count, newest)| so(*count, *newest));
    let came = tokio::time::timeout(PATIENCE, waited).await.is_ok();
    assert!(came, "{what}: {:?}", *newest.borrow());
}

/// Waits until all show the last picture. Somebody who was left behind asks for another one, which is the last then.
async fn until_all_see(last: &watch::Receiver<Option<u32>>, newest: [&mut watch::Receiver<(usize, u32)>; 2]) {
    let [one, other] = newest;
    let all = async {
        let mut last = last.clone();
        while ![&*one, &*other].iter().all(|seen| last.borrow().is_some_and(|last| seen.borrow().1 == last)) {
            tokio::select! {
                changed = last.changed() => changed.unwrap(),
                changed = one.changed() => changed.unwrap(),
                changed = other.changed() => changed.unwrap(),
            }
        }
    };
    let came = tokio::time::timeout(PATIENCE, all).await.is_ok();
    assert!(came, "the last picture {:?}: {:?}, {:?}", *last.borrow(), *one.borrow(), *other.borrow());
}

/// One session, with one cut.
async fn a_session_with_a_cut(site: &Site, visitor: String, whose: Whose, cut: Duration, after: usize) {
    let mut page = site.visitor(&visitor).await;
    let (mut alice, mut bob) = (site.agent("alice").await, site.agent("bob").await);
    alice.join(&visitor).await;
    let offer = page.expect("offer").await;
    page.accept(&offer).await;
    let away = watch::Sender::new(Vec::new());
    let places = [
        Place::new(site, "publisher", &away).await,
        Place::new(site, "viewer", &away).await,
        Place::new(site, "onlooker", &away).await,
    ];
    let [shares, looks, beside] = &places;
    let publisher = shares.attach(json!({"ticket": page.expect("ready").await["ticket"]})).await;
    let viewer = looks.attach(json!({"ticket": alice.expect("ready").await["ticket"]})).await;
    bob.join(&visitor).await;
    let onlooker = beside.attach(json!({"ticket": bob.expect("ready").await["ticket"]})).await;
    let (publisher_id, viewer_id, onlooker_id) = (publisher.id(), viewer.id(), onlooker.id());
    let pages = [page.client, alice.client, bob.client].map(keep);

    let (over, stop) = watch::channel(false);
    let (enough, shown) = watch::channel(false);
    let (newest, mut seen_by_viewer) = watch::channel((0, 0));
    let (newest_beside, mut seen_beside) = watch::channel((0, 0));
    let mut last_of_viewer = seen_by_viewer.clone();
    let plan = async {
        until("pictures before the cut", &mut seen_by_viewer, |count, _| count > after).await;
        let cuts: &[&Place] = match whose {
            Whose::Publisher => &[shares],
            Whose::Viewer => &[looks],
            Whose::Both => &[shares, looks],
        };
        let began = Instant::now();
        cuts.iter().for_each(|place| place.way.set(Network::Swallows));
        tokio::time::sleep_until(began + cut).await;
        cuts.iter().for_each(|place| place.way.set(Network::Up));
        let count = seen_by_viewer.borrow().0;
        until("pictures after the cut", &mut seen_by_viewer, |now, _| now > count + 20).await;
        // Nothing more is shown: both end with the same picture.
        enough.send_replace(true);
    };
    let (last, told_last) = watch::channel(None);
    let ending = async {
        plan.await;
        until_all_see(&told_last, [&mut last_of_viewer, &mut seen_beside]).await;
        over.send_replace(true);
    };
    let (viewer, onlooker, sent, ()) = tokio::join!(
        look(looks, viewer, newest, stop.clone()),
        look(beside, onlooker, newest_beside, stop.clone()),
        publish(shares, publisher, shown, last, stop.clone()),
        ending
    );

    assert_whole(&viewer, &sent);
    assert_whole(&onlooker, &sent);
    assert_eq!(onlooker.frames.len(), 1, "whose network holds stays");
    let told = |id: &Value| -> Vec<&str> {
        let its = onlooker.changes.iter().filter(|(_, of)| of == id);
        its.map(|(change, _)| change.as_str()).filter(|change| *change != "joined").collect()
    };
    let (publisher_told, viewer_told) = (told(&publisher_id), told(&viewer_id));
    let (is_cut, is_not) = (["reconnecting", "back"], [""; 0]);
    assert_eq!(publisher_told, if whose == Whose::Viewer { &is_not[..] } else { &is_cut });
    assert_eq!(viewer_told, if whose == Whose::Publisher { &is_not[..] } else { &is_cut });
    assert_eq!((sent.returns, viewer.frames.len() - 1), (publisher_told.len() / 2, viewer_told.len() / 2));

    // Who comes now finds everybody once.
    let mut bob = site.agent("bob").await;
    bob.join(&visitor).await;
    let late = beside.attach(json!({"ticket": bob.expect("ready").await["ticket"]})).await;
    let there = late.hello["participants"].as_array().unwrap();
    let count = |id: &Value| there.iter().filter(|one| one["participantId"] == *id).count();
    assert_eq!([&publisher_id, &viewer_id, &onlooker_id, &late.id()].map(count), [1; 4], "{there:?}");
    assert_eq!(there.len(), 4, "{there:?}");
    pages.into_iter().for_each(|page| page.abort());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_outlive_cuts_of_one_ten_and_fifty_seconds() {
    let site = Site::start().await;
    let mut rng = Rng::new(0x0c07);
    let mut sessions = Vec::new();
    for seconds in [1, 10, 50] {
        for whose in [Whose::Publisher, Whose::Viewer, Whose::Both] {
            let (visitor, cut) = (format!("{whose:?}-{seconds}"), Duration::from_secs(seconds));
            sessions.push(a_session_with_a_cut(&site, visitor, whose, cut, rng.below(30)));
        }
    }
    futures_util::future::join_all(sessions).await;
}
