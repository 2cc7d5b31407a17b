//! What happens leaves the server by itself: signed, in order, repeated under the same name until it is taken,
//! and never into our own network.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use porchlight::clock::{Wall, wall};
use porchlight::config::Flush;
use porchlight::ids::{EventId, SessionId};
use porchlight::model::event::{Actor, Created, Ended, Event, Relayed, What};
use porchlight::model::session::EndReason;
use porchlight::pb::v1;
use porchlight::pb::v1::admin_client::AdminClient;
use porchlight::pb::v1::sink::Target;
use porchlight::server::{Options, Server, StorePlace};
use porchlight::wire::visitor::SessionKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::common::site::{DEMO, config, group_id};
use crate::common::{Site, Value, canary, within};

/// A request as a receiver saw it.
#[derive(Debug)]
pub struct Got {
    head: String,
    body: String,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        let prefix = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_else(|| panic!("{self:?}"))
    }

    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Whether one of the signatures is of this secret.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let text = format!("{}.{}.{}", self.id(), self.header("webhook-timestamp"), self.body);
        self.header("webhook-signature").split(' ').any(|signature| {
            let tag = STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
            hmac::verify(&key, text.as_bytes(), &tag).is_ok()
        })
    }
}

/// A receiver of webhooks. It answers as it is told, and then 204; `hang up` answers nothing.
pub struct Receiver {
    addr: SocketAddr,
    got: mpsc::UnboundedReceiver<Got>,
}

impl Receiver {
    pub async fn start(answers: &[&str]) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let (tell, got) = mpsc::unbounded_channel();
        let mut answers: VecDeque<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = socket.accept().await.unwrap();
                let Some(got) = read(&mut stream).await else { continue };
                let answer = answers.pop_front().unwrap_or_else(|| "204 No Content\r\n".to_owned());
                let _ = tell.send(got);
                if answer != "hang up" {
                    let answer = format!("HTTP/1.1 {answer}content-length: 0\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        });
        Self { addr, got }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.addr)
    }

    pub async fn next(&mut self) -> Got {
        within("a webhook", self.got.recv()).await.unwrap()
    }

    pub fn expect_nothing_more(&mut self) {
        assert!(self.got.try_recv().is_err());
    }
}

pub async fn read(stream: &mut TcpStream) -> Option<Got> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.unwrap_or("0").parse::<usize>().unwrap() {
                return Some(Got { head: head.to_owned(), body: body.to_owned() });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// The operator, at the demo group.
pub struct Admin {
    pub client: AdminClient<Channel>,
    key: String,
}

impl Admin {
    pub async fn of(addr: SocketAddr, key: &str) -> Self {
        let client =
            within("a gRPC connection", AdminClient::connect(format!("http://{addr}"))).await.unwrap();
        Self { client, key: key.to_owned() }
    }

    pub async fn at(site: &Site) -> Self {
        Self::of(site.running.admin, &site.running.demo.as_ref().unwrap().admin_key).await
    }

    pub fn with_key<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.key).parse().unwrap());
        request
    }

    pub async fn put(&mut self, sink: v1::Sink, rotate_secret: bool) -> v1::PutSinkResponse {
        let message = v1::PutSinkRequest {
            group: DEMO.into(),
            sink: Some(sink),
            rotate_secret,
            request_id: String::new(),
        };
        let request = self.with_key(message);
        let made = within("a sink", self.client.put_sink(request)).await.unwrap().into_inner();
        if !made.secret.is_empty() {
            canary::learn_text(&made.secret);
        }
        made
    }

    pub async fn states(&mut self) -> Vec<v1::SinkState> {
        let request = self.with_key(v1::ListSinksRequest { group: DEMO.into() });
        within("sinks", self.client.list_sinks(request)).await.unwrap().into_inner().sinks
    }

    pub async fn test(&mut self, sink: &str) -> String {
        let message =
            v1::TestSinkRequest { group: DEMO.into(), sink_id: sink.into(), request_id: String::new() };
        let request = self.with_key(message);
        within("a test", self.client.test_sink(request)).await.unwrap().into_inner().error
    }

    /// Makes a run and waits for its end.
    pub async fn sync(&mut self) -> v1::SyncRun {
        let message = v1::SyncNowRequest { group: DEMO.into(), request_id: String::new() };
        let request = self.with_key(message);
        let run = within("a run", self.client.sync_now(request)).await.unwrap().into_inner().run.unwrap();
        within("the end of a run", async {
            loop {
                let message =
                    v1::ListSyncRunsRequest { group: DEMO.into(), page_size: 5, page_token: String::new() };
                let request = self.with_key(message);
                let runs = self.client.list_sync_runs(request).await.unwrap().into_inner().runs;
                let run = runs.into_iter().find(|one| one.run_id == run.run_id).unwrap();
                if run.ended_at.is_some() {
                    return run;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }
}

pub fn webhook(url: String) -> v1::Sink {
    v1::Sink {
        sink_id: "crm".into(),
        target: Some(Target::Webhook(v1::WebhookTarget { url })),
        event_kinds: vec![v1::EventKind::SessionPaused.into()],
        ..v1::Sink::default()
    }
}

pub fn records(sink: v1::Sink) -> v1::Sink {
    v1::Sink { event_kinds: Vec::new(), session_records: true, ..sink }
}

pub fn event(session: Option<SessionId>, what: What) -> Event {
    Event {
        id: EventId::fresh(),
        group: group_id(DEMO),
        at: wall(),
        session,
        request: None,
        actor: Actor::Server,
        record: None,
        what,
    }
}

/// The events of a session from its beginning to its end.
pub fn session() -> (SessionId, Vec<Event>) {
    let id = SessionId::fresh();
    let created = Created { kind: SessionKind::Screen, visitor: None, agent: None };
    let ended = Ended { reason: EndReason::AgentEnded, relayed: Relayed::default() };
    (id, vec![event(Some(id), What::Created(created)), event(Some(id), What::Ended(ended))])
}

async fn site() -> Site {
    Site::with(|config| config.sinks.allow = vec!["127.0.0.0/8".parse().unwrap()]).await
}

async fn pause(site: &Site, count: usize) -> Vec<String> {
    let events: Vec<_> = (0..count).map(|_| event(None, What::Paused)).collect();
    let ids = events.iter().map(|event| format!("evt_{}", event.id)).collect();
    site.running.stores.events.append(events).await.unwrap();
    ids
}

#[tokio::test]
async fn webhooks_are_signed_and_come_in_order() {
    let (site, mut receiver) = (site().await, Receiver::start(&[]).await);
    let mut admin = Admin::at(&site).await;
    let made = admin.put(webhook(receiver.url()), false).await;
    assert!(made.secret.starts_with("whsec_"));
    site.running.stores.events.append(vec![event(None, What::Resumed)]).await.unwrap();
    let ids = pause(&site, 5).await;
    for id in &ids {
        let got = receiver.next().await;
        assert_eq!(got.id(), id);
        assert!(got.is_signed_with(&made.secret), "{got:?}");
        assert!(wall().unix_seconds().abs_diff(got.header("webhook-timestamp").parse().unwrap()) < 60);
        let told = got.json();
        assert_eq!((&told["id"], &told["type"]), (&id.as_str().into(), &"session.paused".into()));
        assert_eq!(told["data"]["group"], DEMO);
    }
    // The secret is told once; another one is told again, and for a while both sign.
    assert_eq!(admin.put(webhook(receiver.url()), false).await.secret, "");
    let fresh = admin.put(webhook(receiver.url()), true).await.secret;
    assert_ne!(fresh, made.secret);
    pause(&site, 1).await;
    let got = receiver.next().await;
    assert!(got.is_signed_with(&fresh) && got.is_signed_with(&made.secret));
    receiver.expect_nothing_more();
}

#[tokio::test]
async fn what_is_not_taken_comes_again_and_no_redirect_is_followed() {
    let mut elsewhere = Receiver::start(&[]).await;
    let redirect = format!("302 Found\r\nlocation: {}\r\n", elsewhere.url());
    let answers = ["500 Internal Server Error\r\n", &redirect, "hang up"];
    let (site, mut receiver) = (site().await, Receiver::start(&answers).await);
    let mut admin = Admin::at(&site).await;
    let secret = admin.put(webhook(receiver.url()), false).await.secret;
    let ids = pause(&site, 2).await;
    let wanted = [&ids[0], &ids[0], &ids[0], &ids[0], &ids[1]];
    for id in wanted {
        let got = receiver.next().await;
        assert_eq!(got.id(), id);
        assert!(got.is_signed_with(&secret));
    }
    receiver.expect_nothing_more();
    elsewhere.expect_nothing_more();
}

#[tokio::test]
async fn who_answers_gone_is_switched_off() {
    let (site, mut receiver) = (site().await, Receiver::start(&["410 Gone\r\n"]).await);
    let mut admin = Admin::at(&site).await;
    admin.put(webhook(receiver.url()), false).await;
    let ids = pause(&site, 2).await;
    assert_eq!(receiver.next().await.id(), ids[0]);
    within("the end of it", async {
        while admin.states().await[0].disabled_why.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(admin.states().await[0].sink.as_ref().unwrap().disabled);
    receiver.expect_nothing_more();
    // Put again, it goes on where it was.
    admin.put(webhook(receiver.url()), false).await;
    for id in ids {
        assert_eq!(receiver.next().await.id(), id);
    }
}

#[tokio::test]
async fn our_own_network_is_out_of_reach() {
    let (site, mut receiver) = (Site::start().await, Receiver::start(&[]).await);
    let mut admin = Admin::at(&site).await;
    let port = receiver.addr.port();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]"] {
        for scheme in ["http", "https"] {
            admin.put(webhook(format!("{scheme}://{host}:{port}/")), false).await;
            let error = admin.test("crm").await;
            assert!(error.contains("not an address that sinks may lead to"), "{scheme} {host}: {error}");
        }
    }
    receiver.expect_nothing_more();
    for url in ["ftp://example.com/", "https://user:pass@example.com/", "/hook"] {
        let sink = Some(webhook(url.to_owned()));
        let message = v1::PutSinkRequest { group: DEMO.into(), sink, ..v1::PutSinkRequest::default() };
        let request = admin.with_key(message);
        let refused = admin.client.put_sink(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{url}");
    }
}

#[tokio::test]
async fn a_run_hands_over_the_records_of_ended_sessions_once() {
    let answers = ["503 Service Unavailable\r\n"];
    let (site, mut receiver) = (site().await, Receiver::start(&answers).await);
    let mut admin = Admin::at(&site).await;
    let (first, events) = session();
    site.running.stores.events.append(events).await.unwrap();
    let open = event(Some(SessionId::fresh()), session().1.remove(0).what);
    site.running.stores.events.append(vec![open]).await.unwrap();
    admin.put(records(webhook(receiver.url())), false).await;

    let failed = admin.sync().await;
    assert_eq!((failed.cause(), failed.sinks[0].count), (v1::SyncCause::Asked, 0));
    assert!(failed.sinks[0].error.contains("503"), "{failed:?}");
    assert_eq!(receiver.next().await.id(), format!("rec_{first}"));
    // Asked again it does not wait for the time of the next try.
    let run = admin.sync().await;
    let again = receiver.next().await;
    assert_eq!(again.id(), format!("rec_{first}"));
    assert_eq!(again.json()["data"]["sessionId"], first.to_string());
    // Unless the retry was quicker.
    assert!(run.sinks[0].count <= 1 && run.sinks[0].error.is_empty(), "{run:?}");
    assert_eq!(admin.sync().await.sinks[0].count, 0);
    let (second, events) = session();
    site.running.stores.events.append(events).await.unwrap();
    assert_eq!(admin.sync().await.sinks[0].count, 1);
    assert_eq!(receiver.next().await.id(), format!("rec_{second}"));
    receiver.expect_nothing_more();

    let request = admin.with_key(v1::GetSyncStatusRequest { group: DEMO.into() });
    let status = admin.client.get_sync_status(request).await.unwrap().into_inner();
    assert!(status.last_run.is_some());
    let next = status.next_run_at.unwrap().seconds.unsigned_abs();
    assert!((1..=3_600).contains(&(next - Wall::unix_seconds(wall()))));
}

#[tokio::test]
async fn a_letter_that_was_taken_and_not_noted_comes_again_under_its_name() {
    canary::listen();
    let dir = tempfile::tempdir().unwrap();
    let start = async || {
        let mut config = config();
        config.store.data_dir = dir.path().join("data");
        // What is acknowledged survives the process, which is all that dies here.
        config.store.flush = Flush::Checkpoint;
        config.sinks.allow = vec!["127.0.0.0/8".parse().unwrap()];
        let options = Options { store: StorePlace::DataDir, ..Options::default() };
        within("a server", Server::start(config, options)).await.unwrap()
    };
    // A receiver that takes the letter and whose answer is never read.
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    let mut running = start().await;
    let key = running.demo.as_ref().unwrap().admin_key.clone();
    canary::learn_text(&key);
    let mut admin = Admin::of(running.admin, &key).await;
    admin.put(webhook(format!("http://{addr}/")), false).await;
    let events: Vec<_> = (0..2).map(|_| event(None, What::Paused)).collect();
    let ids: Vec<_> = events.iter().map(|event| format!("evt_{}", event.id)).collect();
    running.stores.events.append(events).await.unwrap();
    let (mut stream, _) = within("a webhook", socket.accept()).await.unwrap();
    assert_eq!(read(&mut stream).await.unwrap().id(), ids[0]);
    drop(admin);
    running.force();
    within("the end", running.wait()).await.unwrap();
    drop(running);

    let mut running = start().await;
    for id in [&ids[0], &ids[1]] {
        let (mut stream, _) = within("a webhook", socket.accept()).await.unwrap();
        assert_eq!(read(&mut stream).await.unwrap().id(), id);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    }
    running.force();
    within("the end", running.wait()).await.unwrap();
}

#[tokio::test]
async fn files_hold_every_line_once() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_owned();
    let site = Site::with(|config| config.sinks.dir = Some(at)).await;
    let mut admin = Admin::at(&site).await;
    let target = Some(Target::File(v1::FileTarget {}));
    let both = v1::Sink { target, session_records: true, ..webhook(String::new()) };
    assert_eq!(admin.put(both.clone(), false).await.secret, "");
    assert_eq!(admin.test("crm").await, "");
    let ids = pause(&site, 3).await;
    let (ended, events) = session();
    site.running.stores.events.append(events).await.unwrap();
    assert_eq!(admin.sync().await.sinks[0].count, 1);
    let folder = dir.path().join("g-demo").join("s-crm");
    let lines = async |name: &str, count: usize| {
        let path = folder.join(name);
        within("lines", async {
            loop {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                if text.lines().count() >= count && text.ends_with('\n') {
                    let id = |line| serde_json::from_str::<Value>(line).unwrap()["id"].clone();
                    return text.lines().map(id).collect::<Vec<_>>();
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    };
    assert_eq!(lines("events.ndjson", 3).await, ids);
    assert_eq!(lines("records.ndjson", 1).await, [format!("rec_{ended}")]);
    let stores = Arc::clone(&site.running.stores.sync);
    assert_eq!(stores.sinks(Some(&group_id(DEMO))).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_sink_that_becomes_a_webhook_is_given_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_owned();
    let site = Site::with(|config| config.sinks.dir = Some(at)).await;
    let mut admin = Admin::at(&site).await;
    let hook = || webhook("https://crm.example/hook".to_owned());
    let file = || v1::Sink { target: Some(Target::File(v1::FileTarget {})), ..hook() };
    assert_eq!(admin.put(file(), false).await.secret, "");
    let first = admin.put(hook(), false).await.secret;
    assert!(first.starts_with("whsec_"));
    assert_eq!(admin.put(hook(), false).await.secret, "", "told once");
    admin.put(file(), false).await;
    let second = admin.put(hook(), false).await.secret;
    assert!(second.starts_with("whsec_") && second != first);
}
