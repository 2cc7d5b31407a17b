//! Settings, agents and credentials change, and whoever is connected feels it at once.

use porchlight::ids::{AgentId, AgentKey};

use crate::common::site::{DEMO, group_id};
use crate::common::{Site, json};

fn alice() -> AgentKey {
    AgentKey { group: group_id(DEMO), agent: AgentId::new("alice").unwrap() }
}

#[tokio::test]
async fn presence_switched_off_ends_every_visitor_of_the_group_and_of_no_other() {
    let site = Site::start().await;
    site.add_group("other").await;
    let mut agent = site.agent("alice").await;
    agent.watch("C-1").await;
    let mut pages = [site.visitor("C-1").await, site.visitor("C-1").await];
    let mut namesake = site.visitor_as("namesake", json!({"group": "other", "visitorId": "C-1"})).await;
    site.settings(|settings| settings.presence_enabled = false).await;
    for page in &mut pages {
        let told = page.expect("reconnect").await;
        assert_eq!(told, json!({"type": "reconnect", "afterMs": 60_000, "reason": "presence_disabled"}));
        page.expect_close(4409).await;
    }
    agent.expect_state("C-1", "absent").await;
    let settings = agent.expect("settings").await["settings"].clone();
    assert_eq!(settings, json!({"openSessionRecords": false, "presenceEnabled": false}));
    namesake.settle().await;
}

#[tokio::test]
async fn presence_switched_on_again_needs_nobody_to_load_a_page() {
    let site = Site::start().await;
    let mut agent = site.agent("alice").await;
    agent.watch("C-1").await;
    site.settings(|settings| settings.presence_enabled = false).await;
    let mut early = site.open("early", "/v1/visitor").await;
    early.send(json!({"type": "connect", "group": "demo", "visitorId": "C-1"})).await;
    assert_eq!(early.expect("reconnect").await["reason"], "presence_disabled");
    early.expect_close(4409).await;
    site.settings(|settings| settings.presence_enabled = true).await;
    let _page = site.visitor("C-1").await;
    agent.expect_state("C-1", "present").await;
}

#[tokio::test]
async fn a_revoked_token_closes_its_connections() {
    let site = Site::start().await;
    let (mut alice_page, mut bob) = (site.agent("alice").await, site.agent("bob").await);
    let accounts = &site.running.accounts;
    accounts.revoke_tokens(&group_id(DEMO), Some(&alice().agent)).await.unwrap();
    alice_page.expect_close(4401).await;
    bob.expect_nothing().await;
    let mut again = site.agent("alice").await;
    accounts.remove_agent(&alice(), "it").await.unwrap();
    again.expect_close(4401).await;
    accounts.revoke_tokens(&group_id(DEMO), None).await.unwrap();
    bob.expect_close(4401).await;
}

#[tokio::test]
async fn open_records_are_told_their_buttons_anew() {
    let site = Site::start().await;
    let mut agent = site.agent("alice").await;
    let _visitor = site.visitor("C-1").await;
    let _other = site.visitor("C-2").await;
    let open = json!({"type": "openRecord", "record": {"object": "Contact", "id": "1"},
                      "fields": {"visitorId": "C-1", "webId": "C-2"}});
    let record = agent.ask(open, "record").await;
    assert_eq!((&record["visitorId"], &record["buttons"]["join"]["light"]), (&json!("C-1"), &json!("lit")));
    site.settings(|settings| settings.profiles[0].join = false).await;
    agent.expect_where("record", |record| record["buttons"]["join"]["visible"] == false).await;
    site.settings(|settings| {
        settings.profiles[0].join = true;
        let contact = settings.objects.iter_mut().find(|object| object.object == "Contact").unwrap();
        contact.visitor_id_field = Some("webId".to_owned());
    })
    .await;
    agent.expect_where("record", |record| record["visitorId"] == "C-2").await;
    site.settings(|settings| {
        settings.permission_set.user.remove(&alice().agent);
    })
    .await;
    agent.expect_where("record", |record| record["reason"] == "no_permission").await;
    let join = json!({"type": "join", "visitorId": "C-1"});
    assert_eq!(agent.refused(join).await, "forbidden", "what was allowed at sign-in no longer is");
}
