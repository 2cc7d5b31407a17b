//! Secrets: none of them is in the log, in the metrics, or in what somebody else is told.

use porchlight::auth::api_key::ApiKeySecret;
use porchlight::auth::visitor_token;
use porchlight::clock::wall;
use porchlight::ids::VisitorId;
use porchlight::pb::v1;
use porchlight::pb::v1::admin_client::AdminClient;

use crate::common::{Site, Value, canary, http, json};

/// Every level of our own modules and of what lies below, down to where libraries print bytes.
const LEVELS: &str = "debug,porchlight=trace";

#[tokio::test]
async fn no_secret_is_logged_or_counted() {
    canary::listen_at(LEVELS);
    let site = Site::start().await;
    let mut secrets: Vec<(&str, String)> = Vec::new();
    let mut keep =
        |name: &'static str, value: &Value| secrets.push((name, value.as_str().unwrap().to_owned()));
    let demo = site.running.demo.as_ref().unwrap();

    // Signing in, rightly and wrongly.
    let token = site.token("demo", "alice").await;
    keep("agent token", &json!(token));
    keep("password", &json!(site.password("demo", "alice")));
    keep("admin key", &json!(demo.admin_key));
    keep("api key", &json!(demo.api_key.1));
    let wrong = json!({"group": "demo", "address": "alice", "password": "canary-wrong-password"});
    assert_eq!(http::post(site.running.public, "/v1/auth/agent", &wrong).await.status, 401);
    keep("wrong password", &json!("canary-wrong-password"));
    let wrong =
        json!({"group": "demo", "partnerUserId": "demo-alice", "loginKey": "$1$1893456000$canary-login-key"});
    assert_eq!(http::post(site.running.public, "/v1/auth/agent", &wrong).await.status, 401);
    keep("wrong login key", &json!("canary-login-key"));
    let renewed = http::post(site.running.public, "/v1/auth/agent", &json!({"token": token})).await.json();
    keep("renewed token", &renewed["token"]);

    // Visitors with each kind of credential.
    let secret = ApiKeySecret::given(demo.api_key.1.clone());
    let vouched = VisitorId::new("C-1").unwrap();
    let signed = visitor_token::mint(&demo.api_key.0, &secret, &vouched, wall().unix_seconds() + 600);
    keep("visitor token", &json!(signed));
    let visitor = site.visitor_as("C-1", json!({"visitorId": "C-1", "token": signed})).await;
    site.visitor_refused("bad", json!({"visitorId": "C-1", "token": "canary-visitor-token"}), 4401).await;
    keep("wrong visitor token", &json!("canary-visitor-token"));
    let unique = site.visitor_as("unique", json!({})).await;
    keep("unique secret", &unique.hello["uniqueSecret"]);
    let guess = json!({"visitorId": unique.id(), "uniqueSecret": "canary-unique-secret"});
    site.visitor_refused("guess", guess, 4401).await;
    keep("wrong unique secret", &json!("canary-unique-secret"));
    let mut junk = site.open("junk", "/v1/agent").await;
    junk.send(json!({"type": "connect", "token": "canary-agent-token"})).await;
    junk.expect_close(4401).await;
    keep("wrong agent token", &json!("canary-agent-token"));

    // A session, with everything that opens it and everything said in it.
    let (mut visitor, mut agent) = (visitor, site.agent("alice").await);
    agent.join("C-1").await;
    let offer = visitor.expect("offer").await;
    visitor.accept(&offer).await;
    let (ready, ticket) = (visitor.expect("ready").await, agent.expect("ready").await);
    keep("publisher's ticket", &ready["ticket"]);
    keep("viewer's ticket", &ticket["ticket"]);
    let mut publisher = site.attach("publisher", &ready).await;
    let viewer = site.attach("viewer", &ticket).await;
    keep("publisher's resume token", &publisher.token());
    keep("viewer's resume token", &viewer.token());
    let back = site.resume("viewer", &viewer.token()).await;
    keep("next resume token", &back.token());
    site.attach_refused("used", json!({"ticket": ticket["ticket"]}), 4401).await;
    site.attach_refused("wrong", json!({"ticket": "canary-ticket"}), 4401).await;
    keep("wrong ticket", &json!("canary-ticket"));
    publisher.ask(json!({"type": "chat", "text": "canary-chat"}), "ok").await;
    keep("chat", &json!("canary-chat"));
    publisher.send(json!({"type": "canary-type", "text": "canary-field"})).await;
    keep("a junk message", &json!("canary-field"));
    let page = json!({"type": "presence", "page": {"url": "https://shop.example/?canary-page=1"}, "data": {"k": "canary-data"}});
    visitor.ask(page, "ok").await;
    keep("page", &json!("canary-page"));
    keep("data", &json!("canary-data"));
    publisher.send(json!({"type": "end"})).await;
    publisher.expect_close(4409).await;

    // Operators.
    let mut admin = AdminClient::connect(format!("http://{}", site.running.admin)).await.unwrap();
    for (key, good) in [(demo.admin_key.as_str(), true), ("canary-admin-key", false)] {
        let mut request = tonic::Request::new(v1::GetNodeRequest {});
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        assert_eq!(admin.get_node(request).await.is_ok(), good);
    }
    keep("wrong admin key", &json!("canary-admin-key"));
    let (bearer, group) = (format!("Bearer {}", demo.admin_key), "demo".to_owned());
    let ask = |request_id: &str| v1::CreateApiKeyRequest {
        group: group.clone(),
        label: "shop".to_owned(),
        request_id: request_id.to_owned(),
    };
    for request_id in ["audited 1", "audited 1", "audited\n2"] {
        let mut request = tonic::Request::new(ask(request_id));
        request.metadata_mut().insert("authorization", bearer.parse().unwrap());
        let made = admin.create_api_key(request).await.unwrap().into_inner();
        keep("made key", &json!(made.secret));
    }
    for (password, good) in
        [("canary-set-password", true), (&*format!("canary-long-{}", "x".repeat(300)), false)]
    {
        let agent = v1::Agent {
            agent_id: "dora".to_owned(),
            address: "dora".to_owned(),
            name: "Dora".to_owned(),
            ..Default::default()
        };
        let mut request = tonic::Request::new(v1::UpsertAgentRequest {
            group: group.clone(),
            agent: Some(agent),
            password: password.to_owned(),
            ..Default::default()
        });
        request.metadata_mut().insert("authorization", bearer.parse().unwrap());
        assert_eq!(admin.upsert_agent(request).await.is_ok(), good);
        keep("set password", &json!(password));
    }
    http::get(site.running.public, "/v1/visitor?token=canary-in-query").await;
    keep("query", &json!("canary-in-query"));

    let metrics = http::get(site.running.ops, "/metrics").await.body;
    let verbose = http::get(site.running.ops, "/readyz?verbose").await.body;
    let log = canary::log();
    // What happened is there: who asked, what was accepted from where, and how it ended.
    for said in [
        "=\"offered\"",
        "AgentId(alice)",
        "the visitor answered",
        "accepted=true",
        "=\"accepted\"",
        "=\"guest_ended\"",
    ] {
        let noted = log.lines().any(|line| line.contains("porchlight::session") && line.contains(said));
        assert!(noted, "{said} is not in the log: {log}");
    }
    // Every change, with the caller's own words quoted.
    for said in [
        r#"call="CreateApiKey" by=operator group="demo" request="audited 1" outcome="done""#,
        r#"call="CreateApiKey" by=operator group="demo" request="audited 1" outcome="done before""#,
        r#"request="audited\n2" outcome="done""#,
        r#"call="UpsertAgent" by=operator group="demo" outcome="done""#,
        r#"call="UpsertAgent" by=operator group="demo" outcome="BAD_FIELD""#,
    ] {
        let noted = log.lines().any(|line| line.contains("audit:") && line.contains(said));
        assert!(noted, "{said} is not in the audit: {log}");
    }
    for (name, secret) in secrets {
        assert!(secret.len() >= 10, "{name} is long enough to be looked for");
        for (place, text) in [("the log", &log), ("the metrics", &metrics), ("the health", &verbose)] {
            let line = text.lines().find(|line| line.contains(&secret));
            assert!(line.is_none(), "{name} is in {place}: {line:?}");
        }
    }
    assert!(!metrics.contains("C-1"), "no metric names a visitor");
}

/// However a secret reaches the settings of the process, and whether they are right or wrong, they are shown
/// without it.
#[test]
fn what_prints_settings_keeps_their_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let [file, secret] = ["porchlight.toml", "secret"].map(|name| dir.path().join(name));
    std::fs::write(&secret, canary::MASTER).unwrap();
    let run = |command: &str, settings: &str, environment: &[(&str, &str)]| {
        std::fs::write(&file, settings).unwrap();
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_porchlight"));
        program.arg(command).arg("--config").arg(&file).envs(environment.iter().copied());
        let told = program.output().unwrap();
        (told.status.code(), [told.stdout, told.stderr].concat())
    };
    let written = format!("[auth]\nmaster_secret = \"{}\"\n", canary::MASTER);
    let named = format!("[auth]\nmaster_secret_file = {:?}\n", secret.display().to_string());
    let wrong = format!("{written}\n[public]\nno_such_key = 1\n");
    let spoilt = format!("[auth]\nmaster_secret = \"{}!\"\n", canary::MASTER);
    let broken = format!("[auth]\nmaster_secret = [\"{}\"\n", canary::MASTER);
    let listed = format!("[auth]\nmaster_secret = [\"{}\"]\n", canary::MASTER);
    let misplaced = format!("auth = \"{}\"\n", canary::MASTER);
    let given = [("PORCHLIGHT__AUTH__MASTER_SECRET", canary::MASTER)];
    let by_file = [("PORCHLIGHT__AUTH__MASTER_SECRET_FILE", secret.to_str().unwrap())];
    for command in ["print-config", "check-config"] {
        for (settings, environment, fine) in [
            (written.as_str(), &[][..], true),
            (&named, &[], true),
            ("", &given, true),
            ("", &by_file, true),
            (&wrong, &[], false),
            (&spoilt, &[], false),
            (&broken, &[], false),
            (&listed, &[], false),
            (&misplaced, &[], false),
        ] {
            let (code, told) = run(command, settings, environment);
            let told = String::from_utf8(told).unwrap();
            assert!(!told.contains(canary::MASTER), "{command} of {settings:?} told: {told}");
            if fine && command == "print-config" {
                assert_eq!(code, Some(0), "{told}");
                assert!(told.contains("<hidden>"), "{told}");
            }
        }
    }
}
