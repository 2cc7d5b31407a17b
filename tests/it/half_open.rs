//! A client that is gone without a word, as behind a network that fails or a machine that lost its power: no FIN, no
//! RST. Its connection is found dead by the heartbeat, given back, and whoever watches is told once.

use std::time::Duration;

use porchlight::config::Secret;

use crate::common::proxy::{Network, Way};
use crate::common::redis::Redis;
use crate::common::{Heard, Site, json, within};

async fn until(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !fact().await {
            tokio::task::yield_now().await;
        }
    };
    within(what, waited).await;
}

#[tokio::test]
async fn a_client_that_vanished_without_a_word_is_reaped_and_its_leave_is_told_once() {
    let redis = Redis::start().await;
    let (url, other) = (redis.url(), redis.url());
    let home = Site::with(|config| {
        config.redis.url = Some(Secret::from(url));
        config.limits.heartbeat = Duration::from_millis(500);
        config.limits.dead_after = Duration::from_millis(1_500);
    })
    .await;
    home.settings(|settings| settings.grace_seconds = 1).await;
    let away = Site::with(|config| config.redis.url = Some(Secret::from(other))).await;

    let way = Way::before(home.running.public).await;
    let mut agent = away.agent("alice").await;
    assert_eq!(agent.watch("C-1").await["state"], "absent");
    let client = home.open_at(way.addr(), "C-1", "/v1/visitor").await;
    let hello = json!({"type": "connect", "group": "demo", "visitorId": "C-1"});
    let visitor = crate::common::VisitorClient::connect(client, hello).await;
    let mut version = agent.expect_state("C-1", "present").await["version"].as_u64().unwrap();
    let open = "porchlight_connections{kind=\"visitor\"}";
    until("one is open", async || home.metric(open).await == 1.0).await;

    way.set(Network::Swallows);
    // All that the agent is told from now on.
    let mut told = Vec::new();
    while told.last().is_none_or(|state| state != "absent") {
        let Heard::Text(text) = within("the visitor's absence", agent.hear()).await else { continue };
        if text["type"] == "presence" && text["visitor"]["visitorId"] == "C-1" {
            let now = text["visitor"]["version"].as_u64().unwrap();
            assert!(now > version, "{text} behind version {version}");
            version = now;
            told.push(text["visitor"]["state"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(told, ["absent"]);
    // The server has closed its end of a connection of which nobody told it that it is over.
    within("the descriptor is given back", way.empty()).await;
    until("none is open", async || home.metric(open).await == 0.0).await;
    assert!(agent.settled("presence").await.is_empty(), "and it is told once");
    assert_eq!(agent.look("C-1").await["state"], "absent");
    drop(visitor);
}
