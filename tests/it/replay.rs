//! What may be used once is used once, however many present it, on however many nodes, at the same time; also when Redis
//! starts again, and when it has lost everything.

use futures_util::future::join_all;

use crate::common::client::Heard;
use crate::common::redis::Redis;
use crate::common::{Client, Site, Value, json};
use crate::everywhere::{sites, until};

/// So many present it on each node.
const EACH: usize = 8;

/// Presents a ticket or resume token. Its socket if it is let in.
async fn present(site: &Site, credential: &Value) -> Option<(Client, Value)> {
    let mut client = site.open("replay", "/v1/session").await;
    let mut attach = credential.clone();
    attach["type"] = json!("attach");
    client.send(attach).await;
    loop {
        match client.hear().await {
            Heard::Text(text) if text["type"] == "attached" => return Some((client, text)),
            // Refused, or come back later: not let in.
            Heard::Closed(code) => {
                assert!(matches!(code, Some(4000 | 4003 | 4401 | 4404 | 4409)), "{code:?}");
                return None;
            }
            _ => {}
        }
    }
}

/// Everybody at once, on both nodes: who is let in.
async fn storm(sites: &[Site; 2], credential: &Value) -> Vec<(Client, Value)> {
    let tries = (0..2 * EACH).map(|at| present(&sites[at % 2], credential));
    join_all(tries).await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tickets_and_resume_tokens_are_used_once_on_all_nodes_together() {
    let mut redis = Redis::start().await;
    let sites = sites(&redis).await;
    let [one, other] = &sites;
    let (mut visitor, mut agent) = (one.visitor("C-1").await, other.agent("alice").await);
    until("it is here", async || agent.look("C-1").await["state"] == "present").await;
    agent.join("C-1").await;
    let offer = visitor.expect("offer").await;
    visitor.accept(&offer).await;
    let (publishes, watches) = (visitor.expect("ready").await, agent.expect("ready").await);
    let mut inside = Vec::new();
    let mut used = Vec::new();
    for ready in [&publishes, &watches] {
        let ticket = json!({"ticket": ready["ticket"]});
        let mut in_it = storm(&sites, &ticket).await;
        assert_eq!(in_it.len(), 1, "one of {}", 2 * EACH);
        inside.append(&mut in_it);
        used.push(ticket);
    }
    // Who comes back does so with the newest token, and each is used once.
    for round in 0..3 {
        let mut back = Vec::new();
        for (client, hello) in inside {
            let token = json!({"resumeToken": hello["resumeToken"]});
            client.vanish();
            let mut in_it = storm(&sites, &token).await;
            assert_eq!(in_it.len(), 1, "round {round}");
            back.append(&mut in_it);
            used.push(token);
        }
        inside = back;
    }
    // A Redis that starts again knows no less, and one that has lost everything opens nothing.
    for loses in [false, true] {
        redis.kill();
        if loses {
            redis.forget();
        }
        redis.revive().await;
        for credential in &used {
            assert!(storm(&sites, credential).await.is_empty(), "{loses}: {credential}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_question_is_accepted_once_from_all_nodes_together() {
    let redis = Redis::start().await;
    let sites = sites(&redis).await;
    let [one, other] = &sites;
    let mut pages = vec![one.visitor("C-1").await];
    for at in 0..EACH {
        pages.push(sites[at % 2].visitor("C-1").await);
    }
    let mut agent = other.agent("alice").await;
    until("it is here", async || agent.look("C-1").await["state"] == "present").await;
    // Whichever page has the focus is asked; all of them say yes, and twice.
    let request = agent.join("C-1").await;
    let (request, version) = {
        let mut offers = Vec::new();
        until("one of them is asked", async || {
            for page in &mut pages {
                offers.extend(page.settled("offer").await);
            }
            !offers.is_empty()
        })
        .await;
        let offer = offers.pop().expect("one of them is asked");
        assert_eq!(offer["requestId"], request["requestId"]);
        (offer["requestId"].clone(), offer["terms"]["version"].clone())
    };
    let yes = json!({"type": "terms", "requestId": request, "accepted": true, "termsVersion": version});
    let answers = join_all(pages.iter_mut().map(|page| async {
        let first = page.call(yes.clone()).await;
        [first, page.call(yes.clone()).await]
    }));
    let answers = answers.await.into_iter().flatten();
    let (ok, refused): (Vec<Value>, Vec<Value>) = answers.partition(|answer| answer["type"] == "ok");
    assert_eq!((ok.len(), refused.len()), (1, 2 * (EACH + 1) - 1));
    let ready = agent.expect("ready").await;
    assert!(agent.settled("ready").await.is_empty());
    assert_eq!(storm(&sites, &json!({"ticket": ready["ticket"]})).await.len(), 1);
}
