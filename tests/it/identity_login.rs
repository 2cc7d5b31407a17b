//! Login keys over HTTP: a CRM signs its people in, and whatever is not its very word is refused.

use std::time::Duration;

use porchlight::auth::login_key::mint;
use porchlight::clock::wall;

use crate::common::http::{self, Answer};
use crate::common::site::{agent_key, group_id};
use crate::common::{Site, Value, canary, json};

/// Seconds of a day, as far ahead as a login key may expire.
const DAY: u64 = 86_400;

/// Servers among which the wrong ones are shared out.
const PARTS: usize = 3;

/// Time enough for a request, and less than anything that is tested here.
const SLACK: u64 = 10;

async fn sign_in(site: &Site, group: &str, user: &str, key: &str) -> Answer {
    let body = json!({"group": group, "partnerUserId": user, "loginKey": key});
    http::post(site.running.public, "/v1/auth/agent", &body).await
}

/// What a refusal looks like but for the ID of the request.
fn face(answer: &Answer) -> (u16, Value) {
    let mut told = answer.json();
    told["error"].as_object_mut().expect("it is refused").remove("requestId");
    (answer.status, told)
}

#[tokio::test]
async fn a_login_key_signs_its_agent_in() {
    let site = Site::start().await;
    let demo = site.running.demo.as_ref().unwrap();
    let (secret, user) = (&demo.api_key.1, &demo.agents[1].partner_user_id);
    let now = wall().unix_seconds();
    // The CRM's clock may be half a minute off in both directions: what it means by minutes or hours holds.
    for ahead in [60 - 30, 60 + 30, 3_600 - 30, 3_600 + 30, DAY - 30, DAY - SLACK] {
        let key = mint(secret, "demo", user, now + ahead);
        let answer = sign_in(&site, "demo", user, &key).await;
        assert_eq!((answer.status, &answer.json()["agent"]["id"]), (200, &json!("bob")), "{ahead} s ahead");
    }
    // Both alphabets: find one that differs.
    let key =
        (0..100).map(|more| mint(secret, "demo", user, now + 600 + more)).find(|key| key[14..].contains('-'));
    let plain = key.expect("of a hundred signatures one has the letter").replace('-', "+").replace('_', "/");
    assert_eq!(sign_in(&site, "demo", user, &plain).await.status, 200);
    // The same key again, within its time: a login key is no ticket.
    assert_eq!(sign_in(&site, "demo", user, &plain).await.status, 200);
}

#[tokio::test]
async fn any_other_login_key_gets_one_and_the_same_refusal() {
    // Too many wrong ones lock the door, which is another promise; so each server sees a part of them.
    let mut faces = Vec::new();
    for part in 0..PARTS {
        faces.extend(refusals(part).await);
    }
    faces.dedup();
    assert_eq!(faces.len(), 1, "{faces:?}");
}

/// How every so many-th wrong login key is refused.
async fn refusals(part: usize) -> Vec<(u16, Value)> {
    let site = Site::start().await;
    site.add_group("other").await;
    let accounts = &site.running.accounts;
    let demo = site.running.demo.as_ref().unwrap();
    let (secret, user) = (demo.api_key.1.clone(), demo.agents[1].partner_user_id.clone());
    let other = accounts.create_api_key(&group_id("other"), "it").await.unwrap();
    let revoked = accounts.create_api_key(&group_id("demo"), "it").await.unwrap();
    accounts.revoke_api_key(&group_id("demo"), &revoked.row.id).await.unwrap();
    let now = wall().unix_seconds();
    let soon = now + 600;
    let good = mint(&secret, "demo", &user, soon);
    let mut flipped = good.clone();
    flipped.replace_range(20..21, if &good[20..21] == "A" { "B" } else { "A" });
    let key = |secret: &str, group: &str, user: &str, expires| mint(secret, group, user, expires);
    let table = [
        ("expired long ago", key(&secret, "demo", &user, now - DAY)),
        ("expired by half a minute", key(&secret, "demo", &user, now - 30)),
        ("expired now", key(&secret, "demo", &user, now)),
        ("half a minute more than a day", key(&secret, "demo", &user, now + DAY + 30)),
        ("more than a day", key(&secret, "demo", &user, now + 2 * DAY)),
        ("a wrong alphabet", good.replace(&good[20..21], "*")),
        ("a wrong letter", flipped),
        ("truncated", good[..56].to_owned()),
        ("padded", format!("{good}=")),
        ("another version", good.replacen("$1$", "$2$", 1)),
        ("another time", good.replace(&soon.to_string(), &(soon + 1).to_string())),
        ("another group's key", key(other.secret.expose(), "demo", &user, soon)),
        ("another group's word", key(other.secret.expose(), "other", &user, soon)),
        ("a revoked key", key(revoked.secret.expose(), "demo", &user, soon)),
        ("another agent's", key(&secret, "demo", &demo.agents[0].partner_user_id, soon)),
        ("empty", String::new()),
    ];
    canary::learn_text(&good);
    let wrong = table.into_iter().map(|(what, key)| (what, "demo", user.as_str(), key));
    let nobody = ("nobody's", "demo", "nobody", key(&secret, "demo", "nobody", soon));
    let nowhere = ("of no group", "nowhere", user.as_str(), key(&secret, "nowhere", &user, soon));
    let mut faces = Vec::new();
    for (what, group, user, key) in wrong.chain([nobody, nowhere]).skip(part).step_by(PARTS) {
        let refused = sign_in(&site, group, user, &key).await;
        assert_eq!(refused.status, 401, "{what}");
        faces.push(face(&refused));
    }
    assert_eq!(sign_in(&site, "demo", &user, &good).await.status, 200, "the right one still opens");
    faces
}

#[tokio::test]
async fn login_keys_obey_the_groups_settings_at_once() {
    let site = Site::start().await;
    let accounts = &site.running.accounts;
    let demo = site.running.demo.as_ref().unwrap();
    let (named, first, user) =
        (demo.api_key.0.clone(), demo.api_key.1.clone(), &demo.agents[1].partner_user_id);
    let second = accounts.create_api_key(&group_id("demo"), "it").await.unwrap();
    let soon = wall().unix_seconds() + 600;
    let by_first = mint(&first, "demo", user, soon);
    let by_second = mint(second.secret.expose(), "demo", user, soon);
    let status = async |key: &str| sign_in(&site, "demo", user, key).await.status;
    assert_eq!((status(&by_first).await, status(&by_second).await), (200, 200), "any live key");
    site.settings(|settings| settings.sso.api_key_id = Some(named)).await;
    assert_eq!((status(&by_first).await, status(&by_second).await), (200, 401), "the named one alone");
    site.settings(|settings| settings.sso.enabled = false).await;
    assert_eq!((status(&by_first).await, status(&by_second).await), (401, 401), "switched off");
    site.settings(|settings| {
        settings.sso.enabled = true;
        settings.sso.api_key_id = None;
        settings.sso.login_expiration_seconds = 60;
    })
    .await;
    let signed = sign_in(&site, "demo", user, &by_second).await.json();
    let expires = signed["expiresAt"].as_str().unwrap();
    let latest = wall().after(Duration::from_secs(61));
    assert!(expires < json!(latest).as_str().unwrap(), "a login lasts as long as the group says: {expires}");
    accounts.revoke_api_key(&group_id("demo"), &second.row.id).await.unwrap();
    assert_eq!((status(&by_first).await, status(&by_second).await), (200, 401), "revoked");
    accounts.remove_agent(&agent_key("demo", "bob"), "it").await.unwrap();
    assert_eq!(status(&by_first).await, 401, "the agent is gone");
}
