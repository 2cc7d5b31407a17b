//! Identity: a visitor ID is a name and not a credential.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use porchlight::auth::api_key::ApiKeySecret;
use porchlight::auth::visitor_token;
use porchlight::clock::wall;
use porchlight::ids::{KeyId, VisitorId};
use porchlight::model::settings::VisitorIdentity;

use crate::common::client::{Client, request};
use crate::common::{Site, Value, json, within};
use tokio::net::TcpStream;

fn id(name: &str) -> VisitorId {
    VisitorId::new(name).unwrap()
}

fn demo_key(site: &Site) -> (KeyId, ApiKeySecret) {
    let (id, secret) = site.running.demo.as_ref().unwrap().api_key.clone();
    (id, ApiKeySecret::given(secret))
}

fn hello(token: &str) -> Value {
    json!({"visitorId": "C-1", "token": token})
}

#[tokio::test]
async fn a_unique_visitor_gets_an_id_a_secret_and_a_code_and_comes_back_with_the_secret() {
    let site = Site::start().await;
    site.settings(|settings| settings.visitor_identity = VisitorIdentity::Signed).await;
    let mut agent = site.agent("alice").await;
    let mut visitor = site.visitor_as("unique", json!({})).await;
    let name = visitor.id().to_owned();
    assert!(name.starts_with("unq-") && name.len() == 36, "{name}");
    let secret = visitor.hello["uniqueSecret"].clone();
    assert!(secret.as_str().unwrap().len() >= 22, "128 bits");
    let code = visitor.hello["code"].clone();
    let digits = code.as_str().unwrap();
    assert!(digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_digit()), "{digits}");
    assert!(visitor.hello["codeExpiresAt"].as_str().unwrap().ends_with('Z'));
    let seen = agent.look(&name).await;
    assert_eq!((&seen["code"], &seen["verified"]), (&code, &json!(true)));

    let extended = visitor.ask(json!({"type": "extendCode"}), "code").await;
    assert_eq!(extended["code"], code, "the same digits, for longer");
    assert!(extended["codeExpiresAt"].as_str() >= visitor.hello["codeExpiresAt"].as_str());

    visitor.go().await;
    let back = site.visitor_as("back", json!({"visitorId": name, "uniqueSecret": secret})).await;
    assert_eq!(back.id(), name);
    assert!(back.hello.get("uniqueSecret").is_none(), "told once");
    assert_eq!(back.hello["code"], code);

    let other = site.visitor_as("other", json!({})).await;
    assert_ne!(other.id(), name);
    assert_ne!(other.hello["code"], code);
    for wrong in [json!("wrong"), json!(""), other.hello["uniqueSecret"].clone(), Value::Null] {
        let hello = json!({"visitorId": name, "uniqueSecret": wrong});
        site.visitor_refused("thief", hello, 4401).await;
    }
    site.visitor_refused("thief", json!({"visitorId": name}), 4401).await;
    site.visitor_refused("guess", json!({"visitorId": "unq-1", "uniqueSecret": secret}), 4401).await;
}

#[tokio::test]
async fn where_ids_are_signed_a_token_is_needed_and_only_the_right_one_will_do() {
    let site = Site::start().await;
    site.settings(|settings| settings.visitor_identity = VisitorIdentity::Signed).await;
    site.add_group("other").await;
    let (kid, secret) = demo_key(&site);
    let now = wall().unix_seconds();
    let mint = |kid: &KeyId, secret: &ApiKeySecret, name: &str, exp| {
        visitor_token::mint(kid, secret, &id(name), exp)
    };
    let good = mint(&kid, &secret, "C-1", now + 600);
    let _visitor = site.visitor_as("C-1", hello(&good)).await;
    let mut agent = site.agent("alice").await;
    assert_eq!(agent.look("C-1").await["verified"], true);

    let other =
        site.running.accounts.create_api_key(&crate::common::site::group_id("other"), "it").await.unwrap();
    let revoked =
        site.running.accounts.create_api_key(&crate::common::site::group_id("demo"), "it").await.unwrap();
    let of_revoked = mint(&revoked.row.id, &revoked.secret, "C-1", now + 600);
    site.visitor_as("C-1", hello(&of_revoked)).await;
    let demo = crate::common::site::group_id("demo");
    site.running.accounts.revoke_api_key(&demo, &revoked.row.id).await.unwrap();

    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = encode(json!({"aud": "visitor", "sub": "C-1", "exp": now + 600}));
    let none =
        |alg: &str| format!("{}.{claims}.", encode(json!({"alg": alg, "typ": "JWT", "kid": kid.as_str()})));
    let mut forged = good.clone();
    forged.replace_range(good.len() - 4.., "AAAA");
    let agent_token = site.token("demo", "alice").await;
    let table = [
        ("another visitor's", mint(&kid, &secret, "C-2", now + 600)),
        ("expired", mint(&kid, &secret, "C-1", now - 1)),
        ("too far ahead", mint(&kid, &secret, "C-1", now + 3 * 86_400)),
        ("another group's key", mint(&other.row.id, &other.secret, "C-1", now + 600)),
        ("another group's secret", mint(&kid, &other.secret, "C-1", now + 600)),
        ("a revoked key", of_revoked),
        ("alg none", none("none")),
        ("alg None", none("None")),
        ("alg RS256", none("RS256")),
        ("forged", forged),
        ("an agent's token", agent_token),
        ("junk", "junk".to_owned()),
        ("empty", String::new()),
    ];
    let missing = site.visitor_refused("missing", json!({"visitorId": "C-1"}), 4401).await;
    for (name, token) in table {
        let told = site.visitor_refused(name, hello(&token), 4401).await;
        assert_eq!(told, missing, "{name}: one answer for all");
    }
    // A bad token is refused where none would be needed, too.
    site.settings(|settings| settings.visitor_identity = VisitorIdentity::Open).await;
    site.visitor_refused("open", hello("junk"), 4401).await;
    // And nobody vouches for the server's own ids.
    let unique = mint(&kid, &secret, "unq-1", now + 600);
    site.visitor_refused("unique", json!({"visitorId": "unq-1", "token": unique}), 4401).await;
}

#[tokio::test]
async fn an_unknown_group_and_a_foreign_page_get_the_very_same_answer() {
    let site = Site::start().await;
    site.add_group("other").await;
    let origin = "https://other.example";
    site.settings_of("other", |settings| settings.visitor_origins = vec![origin.to_owned()]).await;
    let mut answers = Vec::new();
    for group in ["demo", "nowhere"] {
        let stream = TcpStream::connect(site.running.public).await.unwrap();
        let request = request(site.running.public, "/v1/visitor", Some(origin));
        let mut client = Client::over(&site.transcript, group, stream, request).await;
        client.send(json!({"type": "connect", "group": group, "visitorId": "C-1"})).await;
        client.expect_close(4403).await;
        answers.push(client.reason);
    }
    assert_eq!(answers[0], answers[1]);
    let mut agent = site.agent("alice").await;
    assert_eq!(agent.look("C-1").await["state"], "absent", "and no state was made");
}

#[tokio::test]
async fn an_agent_needs_a_good_token() {
    let site = Site::start().await;
    let token = site.token("demo", "alice").await;
    let mut forged = token.clone();
    forged.replace_range(token.len() - 4.., "AAAA");
    let (kid, secret) = demo_key(&site);
    let visitors = visitor_token::mint(&kid, &secret, &id("alice"), wall().unix_seconds() + 600);
    let mut told = Vec::new();
    for bad in ["", "junk", &forged, &visitors] {
        let mut client = site.open("agent", "/v1/agent").await;
        client.send(json!({"type": "connect", "token": bad})).await;
        client.expect_close(4401).await;
        told.push(client.reason);
    }
    site.running.accounts.revoke_tokens(&crate::common::site::group_id("demo"), None).await.unwrap();
    let mut client = site.open("revoked", "/v1/agent").await;
    client.send(json!({"type": "connect", "token": token})).await;
    client.expect_close(4401).await;
    told.push(client.reason);
    told.dedup();
    assert_eq!(told.len(), 1, "one answer for all: {told:?}");
}

#[tokio::test]
async fn an_agent_is_told_who_it_is() {
    let site = Site::start().await;
    let agent = site.agent("alice").await;
    let hello = &agent.hello;
    assert_eq!(hello["agent"]["id"], "alice");
    assert_eq!(hello["agent"]["profile"], "Support");
    assert_eq!(hello["agent"]["permissions"], json!(["user", "admin", "agent_video"]));
    assert_eq!(hello["group"], "demo");
    assert_eq!(hello["settings"], json!({"openSessionRecords": false, "presenceEnabled": true}));
    assert_eq!(hello["heartbeat"], 60);
    within("goodbye", agent.go()).await;
}
