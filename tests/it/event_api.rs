//! What happened, as operators and back ends read it: over a real gRPC client and in public.

use std::time::Duration;

use porchlight::admin::reason_of;
use porchlight::auth::signing::PublicKey;
use porchlight::model::receipt;
use porchlight::pb::v1;
use porchlight::pb::v1::admin_client::AdminClient;
use porchlight::pb::v1::stream_events_request::Place;
use porchlight::store::events::protobuf::{kind_number, kind_of};
use prost_types::Timestamp;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::admin::{channel, group_key, operator, with_key};
use crate::common::site::{DEMO, group_id};
use crate::common::{Site, http, json, within};
use porchlight::model::event::Kind;

async fn client(site: &Site) -> AdminClient<Channel> {
    AdminClient::new(channel(site).await)
}

/// A stream of events that is read.
struct Reader(Streaming<v1::StreamEventsResponse>);

impl Reader {
    async fn of(site: &Site, key: &str, place: Option<Place>, kinds: &[Kind]) -> Result<Self, Status> {
        let kinds = kinds.iter().map(|kind| kind_number(*kind).into()).collect();
        let message = v1::StreamEventsRequest { group: DEMO.into(), place, kinds };
        Ok(Self(client(site).await.stream_events(with_key(key, message)).await?.into_inner()))
    }

    async fn next(&mut self) -> v1::StreamEventsResponse {
        within("a message", self.0.message()).await.expect("it goes on").expect("it goes on")
    }

    /// The first message, which tells whether the place could be resumed from.
    async fn opened(&mut self) -> (bool, u64) {
        let first = self.next().await;
        assert!(first.event.is_none(), "{first:?}");
        (first.recovered, first.sequence)
    }

    async fn event(&mut self) -> v1::SessionEvent {
        let message = self.next().await;
        assert!(message.recovered);
        let event = message.event.expect("an event");
        assert_eq!(event.sequence, message.sequence);
        event
    }

    /// Reads until this kind, that event included.
    async fn until(&mut self, kind: Kind) -> Vec<v1::SessionEvent> {
        let mut seen = Vec::new();
        loop {
            seen.push(self.event().await);
            if kind_of(seen[seen.len() - 1].kind()) == Some(kind) {
                return seen;
            }
        }
    }

    async fn end(mut self) -> Status {
        loop {
            match within("the end", self.0.message()).await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended without a word"),
                Err(status) => return status,
            }
        }
    }
}

/// A session from the question to the end.
async fn session(site: &Site, visitor: &str) -> String {
    let mut engagement = site.engage(visitor, json!({})).await;
    let id = engagement.session.as_str().unwrap().to_owned();
    engagement.publisher.send(json!({"type": "end"})).await;
    engagement.agent.expect("sessionEnded").await;
    engagement.agent.go().await;
    id
}

#[tokio::test]
async fn events_are_told_as_they_come_and_again_from_any_place() {
    let site = Site::start().await;
    let key = group_key(&site);
    let mut live = Reader::of(&site, &key, Some(Place::FromNow(true)), &[]).await.unwrap();
    assert!(live.opened().await.0);
    let id = session(&site, "C-1").await;
    let mut told = live.until(Kind::RecordLogged).await;
    // The group's making may still have been on its way to the log.
    told.retain(|event| !event.session_id.is_empty());
    assert!(told.iter().all(|event| event.session_id == id && event.group == DEMO));
    for (event, before) in told.iter().skip(1).zip(&told) {
        assert_eq!(event.sequence, before.sequence + 1);
    }
    // Whoever comes back by any id, or by any sequence, gets the rest.
    for at in [0, told.len() / 2, told.len() - 2] {
        let by_id = Place::AfterId(told[at].id.clone());
        for place in [by_id, Place::AfterSequence(told[at].sequence)] {
            let mut again = Reader::of(&site, &key, Some(place), &[]).await.unwrap();
            assert_eq!(again.opened().await, (true, told[at].sequence));
            assert_eq!(again.until(Kind::RecordLogged).await, told[at + 1..]);
        }
    }
    // A reader of some kinds is told of these only, and goes on with what comes.
    let some = [Kind::Started, Kind::Ended];
    let mut some = Reader::of(&site, &key, None, &some).await.unwrap();
    assert!(some.opened().await.0);
    for kind in [Kind::Started, Kind::Ended] {
        assert_eq!(kind_of(some.event().await.kind()), Some(kind));
    }
    let second = session(&site, "C-2").await;
    for kind in [Kind::Started, Kind::Ended] {
        let event = some.event().await;
        assert_eq!((kind_of(event.kind()), &event.session_id), (Some(kind), &second));
    }
    // The timeline of one session is its own.
    let message = v1::ListSessionEventsRequest { session_id: id.clone(), ..Default::default() };
    let mut client = client(&site).await;
    let timeline = client.list_session_events(with_key(&key, message)).await.unwrap().into_inner();
    assert_eq!((timeline.events, timeline.more), (told, false));
}

#[tokio::test]
async fn a_gap_is_told() {
    let site = Site::start().await;
    let key = group_key(&site);
    let mut first = Reader::of(&site, &key, None, &[]).await.unwrap();
    first.opened().await;
    session(&site, "C-1").await;
    let oldest = first.until(Kind::RecordLogged).await;
    // A place that never was.
    let never = Place::AfterId("00000000-0000-0000-0000-000000000007".to_owned());
    let mut lost = Reader::of(&site, &key, Some(never), &[]).await.unwrap();
    assert!(!lost.opened().await.0);
    assert_eq!(lost.event().await, oldest[0], "it goes on with the oldest there is");
    // A place that is no longer kept.
    let log = &site.running.stores.events;
    let keep = porchlight::store::events::Retention { age: Duration::from_secs(3600), count: 2 };
    while log.trim(&group_id(DEMO), keep, porchlight::clock::wall()).await.unwrap() > 0 {}
    let behind = Place::AfterId(oldest[1].id.clone());
    let mut lost = Reader::of(&site, &key, Some(behind), &[Kind::RecordLogged]).await.unwrap();
    assert!(!lost.opened().await.0);
    assert_eq!(kind_of(lost.event().await.kind()), Some(Kind::RecordLogged));
}

#[tokio::test]
async fn a_stream_ends_with_its_credential_and_with_the_node() {
    let site = Site::with(|config| config.limits.drain = Duration::from_secs(4)).await;
    let accounts = &site.running.accounts;
    let doomed = accounts.create_api_key(&group_id(DEMO), "it").await.unwrap();
    let key = format!("{}.{}", doomed.row.id, doomed.secret.expose());
    let mut by_key = Reader::of(&site, &key, None, &[]).await.unwrap();
    let mut stays = Reader::of(&site, &operator(&site), None, &[]).await.unwrap();
    by_key.opened().await;
    stays.opened().await;
    accounts.revoke_api_key(&group_id(DEMO), &doomed.row.id).await.unwrap();
    assert_eq!(by_key.end().await.code(), Code::Unauthenticated);
    site.running.drain();
    assert_eq!(stays.end().await.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_node_has_room_for_so_many_readers() {
    let site = Site::start().await;
    let key = group_key(&site);
    let mut open = Vec::new();
    for _ in 0..porchlight::limits::ADMIN_READERS {
        open.push(Reader::of(&site, &key, None, &[]).await.unwrap());
    }
    let full = Reader::of(&site, &key, None, &[]).await.err().unwrap();
    assert_eq!((full.code(), reason_of(&full).as_deref()), (Code::Unavailable, Some("OVERLOAD")));
    assert_eq!(site.metric("porchlight_admin_readers").await, open.len() as f64);
    drop(open);
    within("room again", async { while Reader::of(&site, &key, None, &[]).await.is_err() {} }).await;
}

#[tokio::test]
async fn records_are_found_by_what_they_hold_page_by_page() {
    let site = Site::start().await;
    let key = group_key(&site);
    let mut events = Reader::of(&site, &key, Some(Place::FromNow(true)), &[]).await.unwrap();
    events.opened().await;
    let mut sessions = Vec::new();
    for visitor in ["C-1", "C-2", "C-1"] {
        sessions.push(session(&site, visitor).await);
        events.until(Kind::RecordLogged).await;
    }
    sessions.reverse();
    let mut client = client(&site).await;
    let mut list = async |request: v1::ListSessionRecordsRequest| {
        client.list_session_records(with_key(&key, request)).await.map(tonic::Response::into_inner)
    };
    let ask = v1::ListSessionRecordsRequest::default;
    let ids = |page: &v1::ListSessionRecordsResponse| -> Vec<String> {
        page.records.iter().map(|record| record.session_id.clone()).collect()
    };
    let all = list(ask()).await.unwrap();
    assert_eq!((ids(&all), all.next_page_token.as_str()), (sessions.clone(), ""));
    let record = &all.records[0];
    assert_eq!((record.visitor_id.as_str(), record.end_reason.as_str()), ("C-1", "guest_ended"));
    assert_eq!(record.outcome(), v1::RequestOutcome::Accepted);
    assert_eq!((record.state(), record.receipt_number), (v1::SessionState::Ended, 3));
    assert_eq!((record.agent_ids.as_slice(), record.attendance.len()), (&["alice".to_owned()][..], 2));

    // One by one, and no page twice.
    let (mut one_by_one, mut token) = (Vec::new(), String::new());
    for _ in 0..3 {
        let page =
            list(v1::ListSessionRecordsRequest { page_size: 1, page_token: token, ..ask() }).await.unwrap();
        one_by_one.extend(ids(&page));
        token = page.next_page_token;
    }
    assert_eq!((one_by_one, token.as_str()), (sessions.clone(), ""));

    let by_visitor = v1::ListSessionRecordsRequest { visitor_id: "C-2".into(), ..ask() };
    assert_eq!(ids(&list(by_visitor).await.unwrap()), sessions[1..2]);
    let newest = all.records[0].created_at;
    let since = v1::ListSessionRecordsRequest { from: newest, ..ask() };
    assert!(ids(&list(since).await.unwrap()).contains(&sessions[0]));
    let none = [
        v1::ListSessionRecordsRequest { agent_id: "bob".into(), ..ask() },
        v1::ListSessionRecordsRequest { kind: v1::SessionKind::Show.into(), ..ask() },
        v1::ListSessionRecordsRequest { outcome: v1::RequestOutcome::Declined.into(), ..ask() },
        v1::ListSessionRecordsRequest { state: v1::SessionState::Active.into(), ..ask() },
        v1::ListSessionRecordsRequest { until: Some(Timestamp { seconds: 1, nanos: 0 }), ..ask() },
        v1::ListSessionRecordsRequest {
            record: Some(v1::RecordReference { object: "Case".into(), id: "1".into(), ..Default::default() }),
            ..ask()
        },
    ];
    for request in none {
        assert!(list(request.clone()).await.unwrap().records.is_empty(), "{request:?}");
    }
    let foreign = v1::ListSessionRecordsRequest { page_token: "x".into(), ..ask() };
    assert_eq!(list(foreign).await.unwrap_err().code(), Code::InvalidArgument);

    let get = |id: &str| v1::GetSessionRecordRequest { session_id: id.to_owned(), ..Default::default() };
    let mut client = AdminClient::new(channel(&site).await);
    let got = client.get_session_record(with_key(&key, get(&sessions[0]))).await.unwrap().into_inner();
    assert_eq!(got.record.as_ref(), Some(&all.records[0]));
    site.add_group("other").await;
    let elsewhere = v1::GetSessionRecordRequest { group: "other".into(), ..get(&sessions[0]) };
    let foreign = client.get_session_record(with_key(&operator(&site), elsewhere)).await.unwrap_err();
    let unknown = get("00000000-0000-0000-0000-000000000000");
    let unknown = client.get_session_record(with_key(&key, unknown)).await.unwrap_err();
    assert_eq!((foreign.code(), foreign.message()), (unknown.code(), unknown.message()));

    let stats = v1::ListSessionStatsRequest::default();
    let stats = client.list_session_stats(with_key(&key, stats)).await.unwrap().into_inner().stats;
    let sum = |of: fn(&v1::SessionStats) -> u64| stats.iter().map(of).sum::<u64>();
    assert_eq!((sum(|day| day.sessions), sum(|day| day.accepted), sum(|day| day.started)), (3, 3, 3));
    assert!(stats.iter().all(|day| day.agent_id == "alice" && day.day.len() == 10));
    let ages =
        v1::ListSessionStatsRequest { from: Some(Timestamp { seconds: 0, nanos: 0 }), ..Default::default() };
    let refused = client.list_session_stats(with_key(&key, ages)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

/// The lines of an export, as a file.
async fn export(site: &Site, key: &str) -> String {
    let message = v1::ExportConsentReceiptsRequest::default();
    let answer = client(site).await.export_consent_receipts(with_key(key, message)).await.unwrap();
    let (mut stream, mut file) = (answer.into_inner(), String::new());
    while let Some(answer) = within("a line", stream.message()).await.unwrap() {
        file += &format!("{}\n", answer.line);
    }
    file
}

#[tokio::test]
async fn receipts_are_exported_and_verify_with_the_public_key_alone() {
    let site = Site::start().await;
    let key = group_key(&site);
    let told = http::get(site.running.public, "/v1/receipts/key?group=demo").await;
    assert_eq!(told.status, 200);
    let told = told.json();
    assert_eq!((&told["group"], &told["algorithm"]), (&json!(DEMO), &json!("Ed25519")));
    let public = PublicKey::parse(told["publicKey"].as_str().unwrap()).unwrap();
    assert_eq!(told["keyId"], json!(public.id()));
    let mut client = client(&site).await;
    let asked = client.get_receipt_key(with_key(&key, v1::GetReceiptKeyRequest::default())).await.unwrap();
    assert_eq!(asked.into_inner().key.unwrap().public_key, public.to_string());

    let none = export(&site, &key).await;
    assert_eq!(receipt::verify(none.as_bytes(), &[public]).unwrap().count, 0);
    for visitor in ["C-1", "C-2"] {
        session(&site, visitor).await;
    }
    let file = export(&site, &key).await;
    let verified = receipt::verify(file.as_bytes(), &[public]).unwrap();
    assert_eq!((verified.count, verified.group), (2, group_id(DEMO)));

    let first = receipt::verify_line(file.lines().next().unwrap(), &[public]).unwrap().consent;
    let get = |id: String| v1::GetConsentReceiptRequest { receipt_id: id, ..Default::default() };
    let got = client.get_consent_receipt(with_key(&key, get(first.id.to_string()))).await.unwrap();
    let got = got.into_inner().receipt.unwrap();
    assert_eq!((got.line.as_str(), got.number), (file.lines().next().unwrap(), 1));
    assert_eq!(got.session_id, first.session.to_string());
    let unknown = get("00000000-0000-0000-0000-000000000000".into());
    let unknown = client.get_consent_receipt(with_key(&key, unknown)).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn a_group_that_does_not_exist_has_no_key() {
    let site = Site::start().await;
    let elsewhere = http::get(site.running.public, "/nowhere").await;
    for path in ["?group=nowhere", "?group=", "", "?group=a%20b"] {
        let answer = http::get(site.running.public, &format!("/v1/receipts/key{path}")).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.json()["error"]["message"], elsewhere.json()["error"]["message"]);
    }
}
