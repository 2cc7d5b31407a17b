//! A server that is killed while posts are made, consents are given, events are followed and sinks are fed. What
//! it answered is there afterwards, once, in order; a webhook's receiver misses nothing and gets nothing out of
//! order; a file of lines holds each once; dead letters stay dead until they are sent again.
//!
//! `PORCHLIGHT_EVENT_KILLS` says how often the server is killed (15), `PORCHLIGHT_KILL_SEED` where chance begins;
//! both are printed. `store_faults` kills the log alone, far more often.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use porchlight::auth::signing::PublicKey;
use porchlight::model::receipt;
use porchlight::pb::v1;
use porchlight::pb::v1::sink::Target;
use porchlight::pb::v1::stream_events_request::Place;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::common::rng::Rng;
use crate::common::transcript::Transcript;
use crate::common::{AgentClient, Client, Value, VisitorClient, canary, http, json, within};
use crate::kill::{Node, kill_within, number};
use crate::sinks::read;

const KILLS: u64 = 15;

/// Back ends that post at the same time.
const POSTERS: usize = 3;

/// The kill comes within this time of the first post.
const WORK_US: usize = 300_000;

/// Of events, each with this rest is never taken until it is healed.
const POISON: (u64, u64) = (61, 7);

/// What a receiver was handed.
#[derive(Debug, Clone)]
struct Letter {
    id: String,
    place: u64,
    /// Whether it was answered that it was taken; whether anybody heard so nobody knows.
    taken: bool,
}

/// A receiver of webhooks that answers by chance. It outlives the servers.
struct Receiver {
    addr: SocketAddr,
    heard: Arc<Mutex<Vec<Letter>>>,
    healed: Arc<AtomicBool>,
    secret: Arc<Mutex<String>>,
}

impl Receiver {
    async fn start(mut rng: Rng) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self {
            addr: socket.local_addr().unwrap(),
            heard: Arc::default(),
            healed: Arc::default(),
            secret: Arc::default(),
        };
        let (heard, healed, secret) = (this.heard.clone(), this.healed.clone(), this.secret.clone());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = socket.accept().await.unwrap();
                let Some(got) = read(&mut stream).await else { continue };
                assert!(got.is_signed_with(&secret.lock()), "{got:?}");
                let told = got.json();
                assert_eq!(told["id"], got.id());
                let place = told["place"].as_u64().unwrap();
                let healed = healed.load(Ordering::SeqCst);
                let poisoned = got.id().starts_with("evt_") && place % POISON.0 == POISON.1 && !healed;
                // Refused, cut off, or taken; and sometimes taken without a word.
                let chance = if healed { 9 } else { rng.below(10) };
                let taken = !poisoned && chance > 1;
                heard.lock().push(Letter { id: got.id().to_owned(), place, taken });
                let answer = match (taken, chance) {
                    (_, 0 | 2) => continue,
                    (true, _) => "204 No Content",
                    (false, _) => "503 Service Unavailable",
                };
                let _ = stream
                    .write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").as_bytes())
                    .await;
            }
        });
        this
    }

    /// What came in one lane, in the order in which it came.
    fn lane(&self, prefix: &str) -> Vec<Letter> {
        self.heard.lock().iter().filter(|letter| letter.id.starts_with(prefix)).cloned().collect()
    }
}

/// A post that a back end makes, by its request ID.
fn post(poster: usize, name: &str) -> v1::PostFeedRequest {
    let record = v1::RecordReference { object: "Case".into(), id: poster.to_string(), ..Default::default() };
    v1::PostFeedRequest {
        group: "demo".into(),
        record: Some(record),
        text: name.into(),
        link: String::new(),
        request_id: name.into(),
    }
}

/// Posts until the server is gone; the posts that were answered with their ids, and the name of the one that was
/// not.
fn posts(
    node: &Node,
    poster: usize,
    round: u64,
) -> impl Future<Output = (Vec<(String, String)>, String)> + use<> {
    let mut client = node.client.clone();
    // More than can be made before the kill.
    let asks: Vec<_> = (0..500).map(|at| format!("r{round}-{poster}-{at}")).collect();
    let asks: Vec<_> = asks.into_iter().map(|name| (node.ask(post(poster, &name)), name)).collect();
    async move {
        let mut made = Vec::new();
        for (ask, name) in asks {
            match client.post_feed(ask).await {
                Ok(answer) => made.push((name, answer.into_inner().item.unwrap().post_id)),
                Err(_) => return (made, name),
            }
        }
        panic!("it was to be killed by now");
    }
}

/// Everything the log told, by sequence.
#[derive(Default)]
struct Log {
    events: BTreeMap<u64, v1::SessionEvent>,
    last: Option<String>,
}

impl Log {
    /// A reader that goes on behind what it was told last.
    async fn follow(&self, node: &Node) -> tonic::Streaming<v1::StreamEventsResponse> {
        let place = self.last.clone().map(Place::AfterId);
        let message = v1::StreamEventsRequest { group: "demo".into(), place, kinds: Vec::new() };
        // A stream goes on for longer than a call.
        let mut ask = node.ask(message);
        ask.metadata_mut().remove("grpc-timeout");
        let mut stream = node.client.clone().stream_events(ask).await.unwrap().into_inner();
        let first = within("how it stands", stream.message()).await.unwrap().unwrap();
        assert!(first.recovered && first.event.is_none(), "{first:?}");
        assert_eq!(first.sequence, self.newest(), "it goes on where it was");
        stream
    }

    fn newest(&self) -> u64 {
        self.events.last_key_value().map_or(0, |(sequence, _)| *sequence)
    }

    fn take(&mut self, told: v1::StreamEventsResponse) {
        assert!(told.recovered);
        let event = told.event.unwrap();
        assert_eq!(event.sequence, self.newest() + 1, "no gap, nothing twice");
        self.last = Some(event.id.clone());
        self.events.insert(event.sequence, event);
    }

    /// Reads until an event that fits.
    async fn until(&mut self, node: &Node, fits: impl Fn(&v1::SessionEvent) -> bool) {
        let mut stream = self.follow(node).await;
        loop {
            let told = within("an event", stream.message()).await.unwrap().unwrap();
            let found = told.event.as_ref().is_some_and(&fits);
            self.take(told);
            if found {
                return;
            }
        }
    }

    /// The posts by what they say: where they stand, and their ids.
    fn posts(&self) -> HashMap<&str, (u64, &str)> {
        let mut posts = HashMap::new();
        for (sequence, event) in &self.events {
            if let Some(v1::session_event::Details::Post(post)) = &event.details {
                let twin = posts.insert(post.text.as_str(), (*sequence, post.post_id.as_str()));
                assert!(twin.is_none(), "{} was posted twice", post.text);
            }
        }
        posts
    }
}

async fn sinks(node: &Node) -> Vec<v1::SinkState> {
    let ask = node.ask(v1::ListSinksRequest { group: "demo".into() });
    node.client.clone().list_sinks(ask).await.unwrap().into_inner().sinks
}

async fn put(node: &Node, id: &str, target: Target) -> String {
    let sink = v1::Sink {
        sink_id: id.into(),
        target: Some(target),
        every_event: true,
        session_records: true,
        ..Default::default()
    };
    let message = v1::PutSinkRequest { group: "demo".into(), sink: Some(sink), ..Default::default() };
    node.client.clone().put_sink(node.ask(message)).await.unwrap().into_inner().secret
}

async fn sync(node: &Node) {
    let message = v1::SyncNowRequest { group: "demo".into(), request_id: String::new() };
    node.client.clone().sync_now(node.ask(message)).await.unwrap();
}

/// An agent and a visitor who says yes; returns the session when both have their tickets.
pub async fn consent(node: &Node, token: &str, visitor: &str) -> String {
    let (transcript, public) = (Transcript::new(), node.addr("public"));
    let client = Client::open(&transcript, visitor, public, "/v1/visitor").await;
    let hello = json!({"type": "connect", "group": "demo", "visitorId": visitor});
    let mut page = VisitorClient::connect(client, hello).await;
    let client = Client::open(&transcript, "alice", public, "/v1/agent").await;
    let mut agent = AgentClient::connect(client, token).await;
    agent.join(visitor).await;
    let offer = page.expect("offer").await;
    page.accept(&offer).await;
    agent.expect("ready").await;
    page.expect("ready").await["sessionId"].as_str().unwrap().to_owned()
}

/// The lines of a lane's files, oldest first: place and id of each.
fn lines(folder: &Path, lane: &str) -> Vec<(u64, String)> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let ours = |path: &std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(lane);
    let mut files: Vec<_> = files.filter(ours).collect();
    files.sort();
    let text: String = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let line = |line: &str| {
        let told: Value = serde_json::from_str(line).unwrap();
        (told["place"].as_u64().unwrap(), told["id"].as_str().unwrap().to_owned())
    };
    text.lines().map(line).collect()
}

/// Receipts of everything that a ticket was handed out for are in the chain.
pub async fn check_receipts(node: &Node, sessions: &[String]) {
    let mut client = node.client.clone();
    let ask = node.ask(v1::GetReceiptKeyRequest { group: "demo".into() });
    let key = client.get_receipt_key(ask).await.unwrap().into_inner().key.unwrap();
    let key = PublicKey::parse(&key.public_key).unwrap();
    let ask = node.ask(v1::ExportConsentReceiptsRequest { group: "demo".into() });
    let mut stream = client.export_consent_receipts(ask).await.unwrap().into_inner();
    let mut file = String::new();
    while let Some(told) = within("a line", stream.message()).await.unwrap() {
        file += &format!("{}\n", told.line);
    }
    let verified = receipt::verify(file.as_bytes(), &[key]).unwrap();
    let found: Vec<String> = file
        .lines()
        .take(usize::try_from(verified.count).unwrap())
        .map(|line| receipt::verify_line(line, &[key]).unwrap().consent.session.to_string())
        .collect();
    assert_eq!(found, sessions, "each consent once, in order");
}

/// The receiver's side of a lane: nothing skipped, nothing out of order, but for what is dead.
fn check_order(letters: &[Letter], dead: &BTreeSet<u64>, log: impl Fn(u64) -> Option<String>) {
    let mut last = letters[0].place - 1;
    for letter in letters {
        assert_eq!(log(letter.place).as_ref(), Some(&letter.id), "a place has one name for good");
        let between = (last + 1..letter.place).all(|place| dead.contains(&place));
        // What was taken without the server's hearing so comes again, and nothing before it.
        assert!(letter.place + 1 > last && between, "{letter:?} behind {last}");
        if letter.taken {
            last = letter.place;
        }
    }
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "whoever runs it again needs the seed")]
async fn events_posts_receipts_and_sinks_survive_being_killed() {
    let (kills, seed) = (number("PORCHLIGHT_EVENT_KILLS", KILLS), number("PORCHLIGHT_KILL_SEED", 1));
    eprintln!("{kills} kills, seed {seed}");
    canary::listen();
    let (dir, mut rng) = (tempfile::tempdir().unwrap(), Rng::new(seed));
    let receiver = Receiver::start(Rng::new(rng.u64())).await;
    let files = dir.path().join("files");
    let settings = [
        ("PORCHLIGHT__SINKS__ALLOW", "127.0.0.0/8"),
        ("PORCHLIGHT__SINKS__DIR", files.to_str().unwrap()),
        ("PORCHLIGHT__SINKS__RETRY_FIRST", "1ms"),
        ("PORCHLIGHT__SINKS__RETRY_MOST", "8ms"),
        ("PORCHLIGHT__SINKS__GIVE_UP", "20ms"),
    ];
    let start = async || Node::start_with(dir.path(), &settings).await;
    let mut node = start().await;
    let alice = &node.facts["agents"][0];
    let sign_in = json!({"group": "demo", "address": alice["address"], "password": alice["password"]});
    let token = http::post(node.addr("public"), "/v1/auth/agent", &sign_in).await.json();
    canary::learn(&token);
    let token = token["token"].as_str().unwrap().to_owned();
    *receiver.secret.lock() =
        put(&node, "hook", Target::Webhook(v1::WebhookTarget { url: format!("http://{}/", receiver.addr) }))
            .await;
    canary::learn_text(&receiver.secret.lock());
    put(&node, "file", Target::File(v1::FileTarget {})).await;

    let (mut log, mut sessions) = (Log::default(), Vec::new());
    let (mut answered, mut repeated) = (Vec::new(), 0);
    for round in 0..kills {
        sessions.push(consent(&node, &token, &format!("C-{round}")).await);
        let mut stream = log.follow(&node).await;
        sync(&node).await;
        let mut posting = Vec::new();
        for poster in 0..POSTERS {
            posting.push(tokio::spawn(posts(&node, poster, round)));
        }
        let killer = kill_within(&node, &mut rng, WORK_US);
        while let Ok(Some(told)) = within("an event or the end", stream.message()).await {
            log.take(told);
        }
        killer.await.unwrap();
        let mut unanswered = Vec::new();
        for (poster, posting) in posting.into_iter().enumerate() {
            let (made, lost) = within("the end of the posts", posting).await.unwrap();
            answered.push(made);
            unanswered.push((poster, lost));
        }
        drop(node);

        node = start().await;
        for (poster, name) in unanswered {
            let again = node.client.clone().post_feed(node.ask(post(poster, &name))).await.unwrap();
            repeated += 1;
            answered.push(vec![(name, again.into_inner().item.unwrap().post_id)]);
        }
        // A post that is the last of all: whatever was answered before stands before it.
        let name = format!("r{round}-last");
        let last = node.client.clone().post_feed(node.ask(post(0, &name))).await.unwrap();
        let last_id = last.into_inner().item.unwrap().post_id;
        answered.push(vec![(name, last_id.clone())]);
        log.until(&node, |event| event.id == last_id).await;
        let posts = log.posts();
        for made in &answered {
            let places: Vec<u64> = made
                .iter()
                .map(|(name, id)| {
                    let (place, found) = posts[name.as_str()];
                    assert_eq!(found, id, "{name}");
                    place
                })
                .collect();
            assert!(places.is_sorted(), "posts stand in the order in which they were answered");
        }
        check_receipts(&node, &sessions).await;
    }
    let made: usize = answered.iter().map(Vec::len).sum();
    eprintln!("{made} posts were answered, {repeated} of them by asking again; {} events", log.newest());

    // Everything leaves in the end: what is poisoned is put aside, the rest is taken.
    let records = sessions.len() as u64;
    let mut stands = Vec::new();
    within("records at every sink", async {
        loop {
            sync(&node).await;
            stands = sinks(&node).await;
            if stands.iter().all(|one| one.session_records.as_ref().unwrap().after == records) {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Runs tell of themselves: behind the last nothing more comes.
    within("the end of the runs", async {
        loop {
            let message = v1::ListSyncRunsRequest { group: "demo".into(), ..Default::default() };
            let runs = node.client.clone().list_sync_runs(node.ask(message)).await.unwrap().into_inner().runs;
            let metrics = http::get(node.addr("ops"), "/metrics").await.body;
            if runs[0].ended_at.is_some() && metrics.contains("porchlight_events_waiting 0\n") {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let end = node.client.clone().post_feed(node.ask(post(0, "the end"))).await.unwrap().into_inner();
    let end = end.item.unwrap().post_id;
    log.until(&node, |event| event.id == end).await;
    let (mut before, newest) = (0, log.newest());
    while before < newest {
        let moved = within("the next letters", async {
            loop {
                stands = sinks(&node).await;
                let after = stands.iter().map(|one| one.events.as_ref().unwrap().after).min().unwrap();
                if after > before {
                    return after;
                }
                tokio::task::yield_now().await;
            }
        });
        before = moved.await;
    }
    // What was put aside with the last of them is counted by now.
    stands = sinks(&node).await;
    let first = receiver.lane("evt_")[0].place;
    let dead: BTreeSet<u64> = (first..=newest).filter(|place| place % POISON.0 == POISON.1).collect();
    let buried = |stands: &[v1::SinkState]| stands.iter().map(|one| one.dead_letters).sum::<u64>();
    assert_eq!(buried(&stands), dead.len() as u64, "each is put aside once");
    kill_within(&node, &mut rng, 1).await.unwrap();
    drop(node);

    let node = start().await;
    assert_eq!(buried(&sinks(&node).await), dead.len() as u64, "the dead survive");
    let evt = |place: u64| log.events.get(&place).map(|event| format!("evt_{}", event.id));
    let letters = receiver.lane("evt_");
    check_order(&letters, &dead, evt);
    receiver.healed.store(true, Ordering::SeqCst);
    loop {
        let message = v1::ReplayDeadLettersRequest {
            group: "demo".into(),
            sink_id: "hook".into(),
            ..Default::default()
        };
        let replayed = node.client.clone().replay_dead_letters(node.ask(message)).await.unwrap().into_inner();
        assert_eq!(replayed.error, "");
        if replayed.left == 0 {
            break;
        }
    }
    let taken = |prefix| -> BTreeSet<u64> {
        receiver.lane(prefix).iter().filter(|letter| letter.taken).map(|letter| letter.place).collect()
    };
    assert!(taken("evt_").is_superset(&(first..=newest).collect()), "each at least once");
    let folder = files.join("g-demo").join("s-file");
    let written = lines(&folder, "events");
    assert!(written.len() as u64 > newest - written[0].0);
    for (at, (place, id)) in written.iter().enumerate() {
        assert_eq!(*place, written[0].0 + at as u64, "each exactly once, in order");
        assert!(*place > newest || evt(*place).as_ref() == Some(id));
    }
    let written: BTreeMap<u64, String> = lines(&folder, "records").into_iter().collect();
    assert_eq!(lines(&folder, "records").len(), sessions.len(), "each record exactly once");
    let names: BTreeSet<&str> = written.values().map(|id| id.strip_prefix("rec_").unwrap()).collect();
    assert_eq!(names, sessions.iter().map(String::as_str).collect());
    assert_eq!(taken("rec_"), (1..=records).collect());
    check_order(&receiver.lane("rec_"), &BTreeSet::new(), |place| written.get(&place).cloned());
    check_receipts(&node, &sessions).await;
    drop(node);
    canary::told("the log", &std::fs::read_to_string(dir.path().join("log")).unwrap());
}
