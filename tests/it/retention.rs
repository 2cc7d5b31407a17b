//! What is kept for long enough is let go of by the running server, and whoever asks for it is told so.

use std::path::Path;
use std::time::Duration;

use porchlight::auth::signing::PublicKey;
use porchlight::config::Config;
use porchlight::model::receipt;
use porchlight::pb::v1;
use porchlight::pb::v1::admin_client::AdminClient;
use porchlight::pb::v1::stream_events_request::Place;
use porchlight::server::{Options, Server};
use porchlight::store::events::After;
use tonic::transport::Channel;

use crate::admin::{channel, operator, with_key};
use crate::cli_events::verify;
use crate::common::cli::User;
use crate::common::site::{DEMO, config, group_id};
use crate::common::transcript::Transcript;
use crate::common::{Site, canary, json, within};

const MOMENT: Duration = Duration::from_millis(1);

/// A server over what another left in a folder.
async fn site(folder: &Path, change: impl FnOnce(&mut Config)) -> Site {
    canary::listen();
    let mut config = config();
    config.store.data_dir = folder.join("data");
    config.limits.drain = Duration::from_secs(5);
    change(&mut config);
    let running = within("the start of a server", Server::start(config, Options::default())).await.unwrap();
    Site { running, transcript: Transcript::new() }
}

async fn over(mut site: Site) {
    site.running.drain();
    within("the drain", site.running.wait()).await.unwrap();
}

async fn session(site: &Site, visitor: &str) {
    let mut engagement = site.engage(visitor, json!({})).await;
    engagement.publisher.send(json!({"type": "end"})).await;
    engagement.agent.expect("sessionEnded").await;
    engagement.agent.go().await;
}

async fn client(site: &Site) -> AdminClient<Channel> {
    AdminClient::new(channel(site).await)
}

/// The first messages of a stream behind a place: what it says of the place, and the first event.
async fn resumed(site: &Site, place: Place) -> (bool, v1::SessionEvent) {
    let message = v1::StreamEventsRequest { group: DEMO.into(), place: Some(place), kinds: Vec::new() };
    let stream = client(site).await.stream_events(with_key(&operator(site), message)).await;
    let mut stream = stream.unwrap().into_inner();
    let opened = within("the opening", stream.message()).await.unwrap().unwrap();
    loop {
        let next = within("an event", stream.message()).await.unwrap().unwrap();
        if let Some(event) = next.event {
            return (opened.recovered, event);
        }
    }
}

/// The ids and sequences of all events that are there.
async fn events(site: &Site) -> Vec<(String, u64)> {
    let page = site.running.stores.events.read(&group_id(DEMO), After::Start).await.unwrap();
    page.events.iter().map(|logged| (logged.event.id.to_string(), logged.sequence)).collect()
}

#[tokio::test]
async fn events_go_by_count_and_by_age_and_the_gap_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let first = site(folder.path(), |_| ()).await;
    session(&first, "C-1").await;
    over(first).await;

    let second = site(folder.path(), |config| config.events.keep_count = 4).await;
    within("what is more than four", async { while events(&second).await.len() > 4 {} }).await;
    let kept = events(&second).await;
    let (id, sequence) = kept[0].clone();
    assert_eq!(kept.len(), 4, "and no fewer");
    assert!(sequence > 4, "{kept:?}");
    // A place that is kept, and one that went.
    let (recovered, event) = resumed(&second, Place::AfterId(id.clone())).await;
    assert_eq!((recovered, event.id), (true, kept[1].0.clone()));
    let (recovered, event) = resumed(&second, Place::AfterSequence(1)).await;
    assert_eq!((recovered, event.id), (false, id.clone()), "it goes on with the oldest there is");
    over(second).await;

    let third = site(folder.path(), |config| config.events.keep = MOMENT).await;
    within("what is old", async { while !events(&third).await.is_empty() {} }).await;
    // What comes after a log that let go of everything is numbered on, and a reader of before is told.
    let last = kept[3].clone();
    let (told, ()) = tokio::join!(resumed(&third, Place::AfterId(last.0)), session(&third, "C-2"));
    assert!(!told.0, "{told:?}");
    assert!(told.1.sequence > last.1);
}

#[tokio::test]
async fn records_and_receipts_go_when_the_settings_say_so_and_the_chain_stays_whole() {
    let folder = tempfile::tempdir().unwrap();
    let first = site(folder.path(), |_| ()).await;
    for visitor in ["C-1", "C-2"] {
        session(&first, visitor).await;
    }
    over(first).await;

    let short = |config: &mut Config| {
        config.records.keep = MOMENT;
        config.receipts.keep = Some(MOMENT);
    };
    let second = site(folder.path(), short).await;
    let list = v1::ListSessionRecordsRequest { group: DEMO.into(), ..Default::default() };
    let mut client = client(&second).await;
    within("the end of the records", async {
        while !client
            .list_session_records(with_key(&operator(&second), list.clone()))
            .await
            .unwrap()
            .into_inner()
            .records
            .is_empty()
        {}
    })
    .await;
    let receipts = &second.running.stores.receipts;
    within("the end of the receipts", async {
        while !receipts.receipts(&group_id(DEMO), 0).await.unwrap().is_empty() {}
    })
    .await;
    session(&second, "C-3").await;

    // The file says by itself that it begins with the third, and why.
    let user = User::operator(&second);
    user.run("export-consent-receipts receipts --group demo").await.good();
    let key = user.run("receipt-key --group demo").await.good().out.trim().to_owned();
    let told = verify(&user, &format!("receipts --key {key}")).await.good();
    told.says("1 receipt of the group demo").says("begins with number 3: those before were let go of");
    let file = std::fs::read_to_string(user.file("receipts")).unwrap();
    let verified = receipt::verify(file.as_bytes(), &[PublicKey::parse(&key).unwrap()]).unwrap();
    assert_eq!((verified.count, verified.let_go.map(|(count, _)| count)), (1, Some(2)));
    // Without that line it is a file that somebody shortened.
    let (_, rest) = file.split_once('\n').unwrap();
    std::fs::write(user.file("shortened"), rest).unwrap();
    let shortened = verify(&user, &format!("shortened --key {key}")).await;
    shortened.refused(1, "shortened: line 1: has the number 3 where 1 belongs");
}
