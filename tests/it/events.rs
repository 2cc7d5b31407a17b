//! What happens is written down once, in order, and reaches whoever reads from any place.

use std::sync::Arc;
use std::time::Duration;

use porchlight::auth::signing::PublicKey;
use porchlight::ids::{EventId, SessionId};
use porchlight::model::event::{Actor, Door, Kind, Logged, What};
use porchlight::model::receipt::{self, Link};
use porchlight::model::session::EndReason;
use porchlight::model::session_record::{Outcome, SessionRecord, Status};
use porchlight::store::events::{After, Tail};
use porchlight::wire::session::Side;

use crate::common::site::{DEMO, group_id};
use crate::common::{Picture, Site, Value, json, within};

/// Follows the demo group's log from now on.
struct Reader {
    tail: Tail,
    seen: Vec<Logged>,
}

impl Reader {
    async fn of(site: &Site) -> Self {
        let log = Arc::clone(&site.running.stores.events);
        // The place is fixed by the first read, and nothing has happened yet that these tests look for.
        let end = log.read(&group_id(DEMO), After::End).await.unwrap().cursor;
        Self { tail: Tail::new(log, group_id(DEMO), After::Sequence(end)), seen: Vec::new() }
    }

    /// Reads until this kind has come; returns everything since the last call, that event included.
    async fn until(&mut self, kind: Kind) -> Vec<Logged> {
        loop {
            if let Some(at) = self.seen.iter().position(|logged| logged.event.what.kind() == kind) {
                return self.seen.drain(..=at).collect();
            }
            let page =
                within(&format!("{kind:?} after {:?}", kinds(&self.seen)), self.tail.next()).await.unwrap();
            assert!(page.recovered);
            self.seen.extend(page.events);
        }
    }
}

fn kinds(events: &[Logged]) -> Vec<Kind> {
    events.iter().map(|logged| logged.event.what.kind()).collect()
}

fn session_of(message: &Value) -> SessionId {
    SessionId::parse(message["sessionId"].as_str().unwrap()).unwrap()
}

fn key(site: &Site) -> PublicKey {
    site.running.accounts.receipt_key(&group_id(DEMO)).public()
}

async fn record(site: &Site, session: SessionId) -> Option<SessionRecord> {
    site.running.stores.records.session_record(&group_id(DEMO), session).await.unwrap()
}

fn case(id: &str) -> Value {
    json!({"type": "openRecord", "record": {"object": "Case", "id": id, "name": "Broken"},
           "fields": {"visitorId": "C-1"}, "parents": {"Contact": {"visitorId": "C-1"}}})
}

#[tokio::test]
async fn a_session_is_told_from_the_question_to_the_end() {
    let site = Site::start().await;
    let mut reader = Reader::of(&site).await;
    let (mut visitor, mut agent) = (site.visitor("C-1").await, site.agent("alice").await);
    agent.ask(case("500"), "record").await;
    let join = json!({"type": "join", "record": {"object": "Case", "id": "500"}, "control": true});
    let request = agent.ask(join, "request").await;
    let offer = visitor.expect("offer").await;
    visitor.accept(&offer).await;
    let (ready, ticket) = (visitor.expect("ready").await, agent.expect("ready").await);
    let mut publisher = site.attach("publisher", &ready).await;
    let mut viewer = site.attach("viewer", &ticket).await;
    publisher.expect_change("joined", &viewer.id()).await;
    publisher.send_frame(Picture::new().key(100)).await;
    viewer.expect_frame().await;
    viewer.send(json!({"type": "requestControl"})).await;
    publisher.expect_where("control", |control| control["state"] == "requested").await;
    publisher.send(json!({"type": "grantControl", "participantId": viewer.id()})).await;
    viewer.expect_where("control", |control| control["state"] == "granted").await;
    publisher.send(json!({"type": "pause"})).await;
    publisher.send(json!({"type": "resume"})).await;
    viewer.expect_where("paused", |paused| paused["paused"] == false).await;
    publisher.send(json!({"type": "end"})).await;
    agent.expect("sessionEnded").await;

    let events = reader.until(Kind::RecordLogged).await;
    assert_eq!(
        kinds(&events),
        [
            Kind::Created,
            Kind::Offered,
            Kind::Displayed,
            Kind::Accepted,
            Kind::Waiting,
            Kind::Joined,
            Kind::Started,
            Kind::FeedPosted,
            Kind::Joined,
            Kind::ControlGranted,
            Kind::ControlRevoked,
            Kind::Paused,
            Kind::Resumed,
            Kind::Ended,
            Kind::RecordLogged,
        ]
    );
    let session = session_of(&request);
    for (logged, before) in events.iter().skip(1).zip(&events) {
        assert_eq!(logged.sequence, before.sequence + 1);
        assert_ne!(logged.event.id, before.event.id);
    }
    for event in events.iter().map(|logged| &logged.event) {
        assert_eq!((event.session, event.record.as_ref().map(|r| &*r.id)), (Some(session), Some("500")));
        assert_eq!(event.request.unwrap().to_string(), request["requestId"].as_str().unwrap());
    }
    let What::Accepted(accepted) = &events[3].event.what else { panic!("{events:?}") };
    let receipt = accepted.receipt.unwrap();
    assert_eq!(receipt.number, 1);

    let record = record(&site, session).await.unwrap();
    assert_eq!((record.status, record.outcome), (Status::Ended, Outcome::Accepted));
    assert_eq!((record.end_reason, record.relayed.frames), (Some(EndReason::GuestEnded), 1));
    assert_eq!(record.receipt, Some(receipt));
    assert!(accepted.connection.is_some());
    assert_eq!(record.connection, accepted.connection);
    assert_eq!((record.side(Side::Agent).count(), record.side(Side::Guest).count()), (1, 1));
    assert!(record.attendance.iter().all(|attendance| attendance.left.is_some()));
    assert_eq!(record.control.len(), 1);
    assert_eq!(record.record.unwrap().name.as_deref(), Some("Broken"));

    // Whoever comes back by the id of what it read last misses nothing and gets nothing twice.
    let log = &site.running.stores.events;
    for (at, logged) in events.iter().enumerate() {
        let page = log.read(&group_id(DEMO), After::Id(logged.event.id)).await.unwrap();
        assert!(page.recovered);
        assert_eq!(page.events, events[at + 1..]);
    }
    let unknown = log.read(&group_id(DEMO), After::Id(EventId::from_u128(1))).await.unwrap();
    assert!(!unknown.recovered);
    let timeline = log.timeline(&group_id(DEMO), session, 0).await.unwrap();
    assert_eq!(timeline.events, events);
}

#[tokio::test]
async fn every_consent_has_a_receipt_in_one_chain() {
    let site = Site::start().await;
    for visitor in ["C-1", "C-2", "C-3"] {
        let mut engagement = site.engage(visitor, json!({"control": visitor == "C-2"})).await;
        engagement.publisher.send(json!({"type": "end"})).await;
        engagement.agent.expect("sessionEnded").await;
        engagement.agent.go().await;
    }
    let receipts = site.running.stores.receipts.receipts(&group_id(DEMO), 0).await.unwrap();
    let (mut lines, mut link) = (String::new(), Link::first());
    for sealed in &receipts {
        link = Link::behind(sealed.number, &sealed.line);
        lines += &format!("{}\n", sealed.line);
    }
    let signing = site.running.accounts.receipt_key(&group_id(DEMO));
    lines += &format!("{}\n", receipt::head(&group_id(DEMO), &link, porchlight::clock::wall(), &signing));
    let verified = receipt::verify(lines.as_bytes(), &[key(&site)]).unwrap();
    assert_eq!((verified.count, verified.group), (3, group_id(DEMO)));
    let second = receipt::verify_line(&receipts[1].line, &[key(&site)]).unwrap().consent;
    assert_eq!(
        (second.visitor.as_ref().unwrap().as_str(), second.control, &*second.asked_by),
        ("C-2", true, "Alice")
    );
    assert_eq!((&*second.terms_version, second.terms_hash.len()), ("2026-1", 64));
    assert!(second.displayed_at.is_some());
    assert_eq!(second.agents.iter().map(|agent| agent.as_str()).collect::<Vec<_>>(), ["alice"]);
}

#[tokio::test]
async fn sessions_without_a_record_are_written_down_when_the_group_says_so() {
    let site = Site::start().await;
    let mut reader = Reader::of(&site).await;
    site.settings(|settings| settings.log_sessions_outside_crm = false).await;
    reader.until(Kind::SettingsChanged).await;
    let decline = async |visitor_id: &str| {
        let (mut visitor, mut agent) = (site.visitor(visitor_id).await, site.agent("alice").await);
        let request = agent.join(visitor_id).await;
        let offer = visitor.expect("offer").await;
        let no = json!({"type": "terms", "requestId": offer["requestId"], "accepted": false});
        visitor.ask(no, "ok").await;
        agent.expect_request("declined").await;
        session_of(&request)
    };
    let unlogged = decline("C-1").await;
    site.settings(|settings| settings.log_sessions_outside_crm = true).await;
    let logged = decline("C-2").await;
    let events = reader.until(Kind::RecordLogged).await;
    let order = [
        Kind::SettingsChanged,
        Kind::Created,
        Kind::Offered,
        Kind::Declined,
        Kind::Ended,
        Kind::RecordLogged,
    ];
    assert_eq!(kinds(&events), order);
    let What::SettingsChanged(changed) = &events[0].event.what else { panic!("{events:?}") };
    assert_eq!(changed.fields, ["logSessionsOutsideCrm"]);
    assert_eq!(events[0].event.actor, Actor::Server, "`it` is neither an operator nor an agent");
    assert!(record(&site, unlogged).await.is_none());
    let record = record(&site, logged).await.unwrap();
    assert_eq!((record.outcome, record.end_reason), (Outcome::Declined, Some(EndReason::Declined)));
    let What::Declined(declined) = &events[3].event.what else { panic!("{events:?}") };
    assert!(declined.connection.is_some());
    assert_eq!(record.connection, declined.connection);
    assert!(record.record.is_none());
    assert!(site.running.stores.receipts.receipts(&group_id(DEMO), 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_agents_page_is_told_to_open_the_record_of_a_session_that_has_one() {
    let site = Site::start().await;
    let ready = async |visitor_id: &str, named: bool| {
        let (mut visitor, mut agent) = (site.visitor(visitor_id).await, site.agent("alice").await);
        if named {
            agent.ask(case("500"), "record").await;
            agent.ask(json!({"type": "join", "record": {"object": "Case", "id": "500"}}), "request").await;
        } else {
            agent.join(visitor_id).await;
        }
        let offer = visitor.expect("offer").await;
        visitor.accept(&offer).await;
        let ready = agent.expect("ready").await;
        let mut publisher = site.attach("publisher", &visitor.expect("ready").await).await;
        publisher.send(json!({"type": "end"})).await;
        agent.expect("sessionEnded").await;
        agent.go().await;
        ready["openRecord"].clone()
    };
    assert_eq!(ready("C-1", true).await, json!(null), "nobody wants it");
    site.settings(|settings| {
        settings.open_session_records = true;
        settings.log_sessions_outside_crm = false;
    })
    .await;
    assert_eq!(ready("C-1", true).await, json!(true));
    assert_eq!(ready("C-2", false).await, json!(null), "there is none");
    site.settings(|settings| settings.log_sessions_outside_crm = true).await;
    assert_eq!(ready("C-2", false).await, json!(true));
}

#[tokio::test]
async fn the_record_on_the_screen_belongs_to_the_session_however_join_is_pressed() {
    let site = Site::start().await;
    let mut reader = Reader::of(&site).await;
    let (mut visitor, mut agent) = (site.visitor("C-1").await, site.agent("alice").await);
    agent.ask(case("700"), "record").await;
    agent.join("C-1").await;
    visitor.expect("offer").await;
    let events = reader.until(Kind::Offered).await;
    assert_eq!(events[0].event.record.as_ref().map(|record| &*record.id), Some("700"));
}

#[tokio::test]
async fn whoever_is_not_let_in_is_written_down() {
    let site = Site::start().await;
    let mut reader = Reader::of(&site).await;
    let body = json!({"group": DEMO, "address": "alice", "password": "not this one"});
    let answer = crate::common::http::post(site.running.public, "/v1/auth/agent", &body).await;
    assert_eq!(answer.status, 401);
    let events = reader.until(Kind::AuthRefused).await;
    let What::AuthRefused(refused) = &events[0].event.what else { panic!("{events:?}") };
    assert_eq!((refused.door, refused.untold), (Door::SignIn, 0));
    site.visitor_refused("forger", json!({"visitorId": "C-1", "token": "forged"}), 4401).await;
    let events = reader.until(Kind::AuthRefused).await;
    let What::AuthRefused(refused) = &events[0].event.what else { panic!("{events:?}") };
    assert_eq!(refused.door, Door::Visitor);
    assert!(!format!("{events:?}").contains("forged"), "no credential is written down");
}

#[tokio::test]
async fn what_happened_outlives_the_server() {
    use porchlight::server::{Options, Server};
    let folder = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for run in 0..2 {
        let mut config = crate::common::site::config();
        config.store.data_dir = folder.path().join("data");
        config.limits.drain = Duration::from_secs(5);
        let running = Server::start(config, Options::default()).await.unwrap();
        let transcript = crate::common::transcript::Transcript::new();
        let mut site = Site { running, transcript };
        let log = Arc::clone(&site.running.stores.events);
        if run == 0 {
            let (mut visitor, mut agent) = (site.visitor("C-1").await, site.agent("alice").await);
            agent.ask(case("500"), "record").await;
            agent.join("C-1").await;
            visitor.expect("offer").await;
            site.running.drain();
            within("the drain", site.running.wait()).await.unwrap();
        } else {
            seen = log.read(&group_id(DEMO), After::Start).await.unwrap().events;
        }
    }
    let last: Vec<Kind> = kinds(&seen).into_iter().rev().take(3).collect();
    assert_eq!(last, [Kind::RecordLogged, Kind::Ended, Kind::Failed], "a drain ends what runs, and says so");
    let sequences: Vec<u64> = seen.iter().map(|logged| logged.sequence).collect();
    assert_eq!(sequences, (1..=seen.len() as u64).collect::<Vec<_>>());
}
