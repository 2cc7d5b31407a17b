//! The command line over what the server manages: groups, settings, agents, keys, visitors and sessions.

use std::io::{Read as _, Write as _};
use std::process::Command;

use porchlight::ids::{AgentId, AgentKey};
use porchlight::store::Agent;

use crate::common::cli::{BINARY, Told, User, Watching};
use crate::common::site::group_id;
use crate::common::{Site, Value, http, json, within};

#[tokio::test]
async fn groups_are_made_and_listed() {
    let site = Site::start().await;
    let user = User::operator(&site);
    user.run("create-group acme").await.good().says("acme");
    user.run("create-group acme").await.refused(1, "ALREADY_EXISTS");
    user.run("create-group not/a/group").await.refused(1, "BAD_FIELD").refused(1, "group: ");
    let listed = user.run("list-groups --json").await.good().lines();
    let names: Vec<_> = listed.iter().map(|group| group["group"].as_str().unwrap()).collect();
    assert_eq!(names, ["acme", "demo"]);
    assert_eq!((&listed[0]["settingsVersion"], &listed[0]["presenceEnabled"]), (&json!("1"), &json!(false)));
    user.run("get-settings").await.refused(1, "BAD_FIELD");
    user.run("get-settings --group nobody").await.refused(1, "NOT_FOUND");
    // The same request ID again does nothing again.
    let first = user.run("create-group twice --request-id r1 --json").await.good().line();
    assert_eq!(user.run("create-group twice --request-id r1 --json").await.good().line(), first);
    user.run("create-group thrice --request-id r1").await.refused(1, "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn settings_are_set_one_by_one() {
    let site = Site::start().await;
    site.add_group("acme").await;
    let user = User::operator(&site);
    let get = "get-settings --group acme --json";
    let before = user.run(get).await.good().line();
    user.run("get-settings --group acme").await.good().says("grace_seconds").says("(version)");

    let set = "set --group acme presence_enabled=false terms.version=2026-2 sync_frequency=daily \
               visitor_origins=https://a.example,https://b.example";
    let told = user.run(set).await.good();
    for line in [
        "  presence_enabled: true → false\n",
        "  sync_frequency: \"hourly\" → \"daily\"\n",
        "+ visitor_origins: \"https://b.example\"\n",
        "the settings are at version 2\n",
    ] {
        assert!(told.out.contains(line), "{line} in {told:?}");
    }
    let after = user.run(get).await.good().line();
    assert_eq!(after["version"], "2");
    let mut wanted = before["settings"].clone();
    wanted["presenceEnabled"] = json!(false);
    wanted["terms"]["version"] = json!("2026-2");
    wanted["syncFrequency"] = json!("SYNC_FREQUENCY_DAILY");
    wanted["visitorOrigins"] = json!(["https://a.example", "https://b.example"]);
    assert_eq!(after["settings"], wanted);

    user.run("set --group acme presence_enabled=false").await.good().says("no change");
    user.run("set --group acme presense=true").await.refused(2, "presense");
    user.run("set --group acme grace_seconds=61 terms.deadline_seconds=0")
        .await
        .refused(1, "BAD_FIELD")
        .refused(1, "\n  settings.grace_seconds: ")
        .refused(1, "\n  settings.terms.deadline_seconds: ");
    user.run("set --group acme grace_seconds=9 --expected-version 1")
        .await
        .refused(4, "CONFLICT")
        .refused(4, "at version 2")
        .refused(4, "presence_enabled: true → false");
    let history = user.run("list-settings-changes --group acme --json").await.good().lines();
    let versions: Vec<_> = history.iter().map(|change| change["version"].as_str().unwrap()).collect();
    assert_eq!(versions, ["2", "1"]);
    assert_eq!((&history[0]["changedBy"], &history[1]["before"]), (&json!("operator"), &Value::Null));
    let one = user.run("list-settings-changes --group acme --limit 1").await.good();
    assert!(one.out.contains("operator\n") && one.out.contains("  presence_enabled: true → false\n"));
    assert!(!one.out.contains("version 1 "), "{one:?}");
}

#[tokio::test]
async fn settings_go_out_as_a_file_and_come_back() {
    let site = Site::start().await;
    let user = User::operator(&site);
    user.run("export-settings demo.toml --group demo").await.good();
    let file = user.file("demo.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        user.run("export-settings --group demo").await.good().out.lines().skip(1).collect::<Vec<_>>(),
        text.lines().skip(1).collect::<Vec<_>>()
    );
    let import = "import-settings demo.toml --group demo";
    user.run(import).await.good().says("no change; the settings are at version 1");

    let edited = text.replace("presence_enabled = true", "presence_enabled = false");
    assert_ne!(edited, text);
    std::fs::write(&file, &edited).unwrap();
    user.run(import).await.refused(2, "nothing was changed");
    let told = user.run(&format!("{import} --dry-run")).await.good();
    assert_eq!(told.out, "  presence_enabled: true → false\n1 change, not made\n");
    user.run(import).await.refused(2, "nothing was changed").says("presence_enabled");
    let told = user.run(&format!("{import} --yes --json")).await.good();
    assert_eq!(
        told.lines(),
        [
            json!({"field": "presence_enabled", "before": true, "after": false}),
            json!({"version": "2", "applied": true}),
        ]
    );
    assert!(!site.running.accounts.group(&group_id("demo")).unwrap().settings.presence_enabled);
    user.run(import).await.good().says("no change; the settings are at version 2");
    let part = "grace_seconds = 7\n[terms]\nversion = \"3\"\n";
    user.run_with("import-settings - --yes --group demo", part).await.good().says("version 3");
    for (text, told) in [
        ("presense = true\n", "presense: there is no such key"),
        ("[terms]\nverson = \"1\"\n", "terms.verson: there is no such key"),
        ("x =\n", "standard input can't be used"),
    ] {
        user.run_with("import-settings - --yes --group demo", text).await.refused(2, told);
    }
    user.run_with("import-settings - --yes --group demo", "grace_seconds = 99\n")
        .await
        .refused(1, "settings.grace_seconds");
    user.run("import-settings missing.toml --group demo").await.refused(2, "missing.toml");
}

/// On a terminal, made by `script`.
#[tokio::test]
async fn an_import_asks_and_is_refused_when_somebody_was_quicker() {
    let site = Site::start().await;
    let user = User::operator(&site);
    std::fs::write(user.file("demo.toml"), "show_terms = false\n").unwrap();
    for (answer, quicker, code, said) in [
        ("n\n", false, 1, "nothing was changed"),
        ("\n", false, 1, "nothing was changed"),
        ("y\n", true, 4, "grace_seconds: 5 → 9"),
        ("y\n", false, 0, "the settings are at version 3"),
    ] {
        let mut command = Command::new("script");
        user.prepare(&mut command);
        let line = format!("'{BINARY}' admin import-settings demo.toml --group demo");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        let mut child = command.spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let asked = tokio::task::spawn_blocking(move || {
            let (mut text, mut byte) = (Vec::new(), [0]);
            while !text.ends_with(b"[y/N] ") {
                assert_eq!(out.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&text));
                text.push(byte[0]);
            }
            out
        });
        let mut out = within("the question", asked).await.unwrap();
        if quicker {
            site.settings(|settings| settings.grace_seconds = 9).await;
        }
        let told = tokio::task::spawn_blocking(move || {
            child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
            let mut text = String::new();
            out.read_to_string(&mut text).unwrap();
            Told { code: child.wait().unwrap().code().unwrap(), out: text, err: String::new() }
        });
        let told = within("the end of a command", told).await.unwrap();
        assert_eq!(told.code, code, "{told:?}");
        told.says(said);
    }
}

#[tokio::test]
async fn agents_come_and_go() {
    let site = Site::start().await;
    let user = User::operator(&site);
    let password = "a long enough password";
    let made = user
        .run_with(
            "upsert-agent dora --group demo --address Dora@example.com --partner-user-id 005D --name Dora \
             --profile Support --password-file - --json",
            &format!("{password}\n"),
        )
        .await
        .good();
    assert!(!made.out.contains(password));
    assert_eq!(
        (&made.line()["address"], &made.line()["hasPassword"]),
        (&json!("dora@example.com"), &json!(true))
    );
    let sign_in = async || {
        let body = json!({"group": "demo", "address": "dora@example.com", "password": password});
        http::post(site.running.public, "/v1/auth/agent", &body).await.status
    };
    assert_eq!(sign_in().await, 200);

    // What is not given stays.
    let changed = user.run("upsert-agent dora --group demo --profile Sales --json").await.good().line();
    for (field, wanted) in [("address", "dora@example.com"), ("partnerUserId", "005D"), ("profile", "Sales")]
    {
        assert_eq!(changed[field], wanted);
    }
    assert_eq!(sign_in().await, 200, "the password too");
    user.run("upsert-agent erin --group demo --address dora@example.com").await.refused(1, "ALREADY_EXISTS");
    user.run("upsert-agent erin --group demo --password-file missing").await.refused(2, "missing");
    user.run_with("upsert-agent dora --group demo --password-file -", "short")
        .await
        .refused(1, "BAD_FIELD")
        .refused(1, "password");

    let held = user.run("set-permissions dora user agent_video --group demo --json").await.good().line();
    assert_eq!(held["permissions"], json!({"user": true, "admin": false, "agentVideo": true}));
    let held = user.run("set-permissions dora --none --group demo --json").await.good().line();
    assert_eq!(held["permissions"], json!({"user": false, "admin": false, "agentVideo": false}));
    user.run("set-permissions nobody user --group demo").await.refused(1, "NOT_FOUND");

    user.run("list-users --group demo").await.good().says("dora@example.com");
    user.run("revoke-tokens dora --group demo").await.good();
    user.run("revoke-tokens --all --group demo --json").await.good().says("{}");
    let left = user.run("remove-association dora --group demo --json").await.good().line();
    assert_eq!(left["hasPassword"], false);
    assert_eq!(sign_in().await, 401);
    let users = user.run("list-users --group demo").await.good();
    assert!(!users.out.contains("dora"), "{users:?}");
    user.run("list-agents --group demo").await.good().says("dora@example.com");
    user.run("delete-agent dora --group demo").await.good().says("dora is deleted");
    user.run("delete-agent dora --group demo").await.refused(1, "NOT_FOUND");
}

#[tokio::test]
async fn lists_are_followed_to_their_end() {
    let site = Site::start().await;
    let accounts = &site.running.accounts;
    for number in 0..230 {
        let name = format!("agent-{number:03}");
        let agent = Agent {
            key: AgentKey { group: group_id("demo"), agent: AgentId::new(&name).unwrap() },
            address: name.clone(),
            partner_user_id: None,
            name,
            profile: None,
            subscription: None,
            fixed_key: None,
        };
        accounts.upsert_agent(&agent).await.unwrap();
    }
    let listed = User::operator(&site).run("list-agents --group demo --json").await.good().lines();
    let mut names: Vec<_> = listed.iter().map(|agent| agent["agentId"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 232);
    names.dedup();
    assert_eq!(names.len(), 232, "each once");
}

#[tokio::test]
async fn keys_are_made_used_and_revoked() {
    let site = Site::start().await;
    let user = User::operator(&site);
    let made = user.run("create-api-key --label crm --group demo --json").await.good().line();
    let (id, secret) = (made["apiKey"]["keyId"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let back_end = User::with_key(&site, &format!("{id}.{secret}"));
    // Its own group needs no name.
    back_end.run("list-api-keys").await.good().says("crm").says(id);
    back_end.run("node").await.refused(1, "FORBIDDEN");

    // The key may also come from a file or standard input.
    let elsewhere = User::with_key(&site, "");
    elsewhere.run("list-api-keys").await.refused(2, "no admin key");
    elsewhere.run_with("list-api-keys --key-file -", &format!("{id}.{secret}\n")).await.good();

    let told = user.run("create-api-key --group demo --secret-file secret --json").await.good();
    let kept = std::fs::read_to_string(user.file("secret")).unwrap();
    assert!(!told.out.contains(kept.trim()) && kept.trim().len() > 20, "{told:?}");
    user.run("create-api-key --group demo --secret-file secret").await.refused(2, "secret");
    user.run("create-api-key --group nobody --secret-file other").await.refused(1, "NOT_FOUND");
    assert!(!user.file("other").exists());

    let revoked = user.run(&format!("revoke-api-key {id} --group demo --json")).await.good().line();
    assert!(revoked["revokedAt"].is_string());
    back_end.run("list-api-keys").await.refused(1, "UNAUTHORIZED");
    user.run("revoke-api-key nothing --group demo").await.refused(1, "NOT_FOUND");
}

#[tokio::test]
async fn visitors_are_seen_and_spoken_to() {
    let site = Site::start().await;
    let user = User::operator(&site);
    let mut visitor = site.visitor_as("C-1", json!({"visitorId": "C-1", "data": {"plan": "gold"}})).await;
    let found = user.run("lookup C-1 C-2 --group demo --json").await.good().lines();
    let states: Vec<_> = found.iter().map(|visitor| visitor["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["PRESENCE_STATE_PRESENT", "PRESENCE_STATE_ABSENT"]);
    assert_eq!(found[0]["data"], json!({"plan": "gold"}));
    user.run("list-visitors --group demo --state present").await.good().says("C-1      present");
    assert_eq!(user.run("list-visitors --group demo --json --state hidden").await.good().out, "");

    let mut watching = Watching::start(user.command("watch-visitors C-1 --group demo"));
    assert!(watching.line().await.starts_with("VISITOR  STATE"));
    assert!(watching.line().await.starts_with("C-1      present"));
    visitor.send(json!({"type": "presence", "visibility": "hidden"})).await;
    while !watching.line().await.starts_with("C-1      hidden") {}

    let sent = user.run(r#"signal C-1 hello --group demo --data {"a":1}"#).await.good();
    assert_eq!(sent.out, "delivered\n");
    let signal = visitor.expect("signal").await;
    assert_eq!((&signal["name"], &signal["data"]), (&json!("hello"), &json!({"a": 1})));
    user.run("signal C-2 hello --group demo").await.refused(1, "VISITOR_NOT_PRESENT");
    user.run("signal C-1 hello --group demo --data 1").await.refused(2, "JSON object");
    let gone = user.run("disconnect C-1 --group demo --json").await.good().line();
    assert_eq!(gone, json!({"connections": 1}));
}

#[tokio::test]
async fn sessions_are_seen_and_ended() {
    let site = Site::start().await;
    let user = User::operator(&site);
    let engagement = site.engage("C-1", json!({})).await;
    let session = engagement.session.as_str().unwrap();
    user.run("list-sessions --group demo").await.good().says(session).says("active");
    assert_eq!(user.run("list-sessions --group demo --visitor C-2 --json").await.good().out, "");
    let one = user.run(&format!("session {session} --group demo --json")).await.good().line();
    assert_eq!((&one["state"], &one["visitorId"]), (&json!("SESSION_STATE_ACTIVE"), &json!("C-1")));
    user.run(&format!("session {session} --group demo")).await.good().says("publisher").says("alice");
    user.run("session 0190b2f0-0000-7000-8000-000000000000 --group demo").await.refused(1, "NOT_FOUND");

    let mut watching = Watching::start(user.command("watch-sessions --group demo --json"));
    let told: Value = serde_json::from_str(&watching.line().await).unwrap();
    assert_eq!((&told["sessionId"], &told["state"]), (&json!(session), &json!("SESSION_STATE_ACTIVE")));
    assert_eq!(user.run(&format!("end-session {session} --group demo")).await.good().out, "ended\n");
    loop {
        let told: Value = serde_json::from_str(&watching.line().await).unwrap();
        if told["state"] == "SESSION_STATE_ENDED" {
            break;
        }
    }
    let again = user.run(&format!("end-session {session} --group demo --json")).await.good().line();
    assert_eq!(again, json!({"endedNow": false}));
}
