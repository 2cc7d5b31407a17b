//! The command line over what happened: events, records as files, and receipts that are verified offline.

use std::process::{Command, Stdio};

use crate::common::cli::{BINARY, Told, User, Watching, told};
use crate::common::{Site, Value, json};

/// A session of this visitor from a CRM record, from the question to the end.
async fn session(site: &Site, visitor: &str, case: &str) -> String {
    let (mut page, mut agent) = (site.visitor(visitor).await, site.agent("alice").await);
    let record = json!({"object": "Case", "id": case, "name": "=1+1, \"broken\""});
    let fields = json!({"visitorId": visitor});
    let open = json!({"type": "openRecord", "record": record, "fields": fields,
                      "parents": {"Contact": {"visitorId": visitor}}});
    agent.ask(open, "record").await;
    agent.join(visitor).await;
    let offer = page.expect("offer").await;
    page.accept(&offer).await;
    let (ready, ticket) = (page.expect("ready").await, agent.expect("ready").await);
    let mut publisher = site.attach("publisher", &ready).await;
    let _viewer = site.attach("viewer", &ticket).await;
    publisher.send(json!({"type": "end"})).await;
    agent.expect("sessionEnded").await;
    agent.go().await;
    offer["sessionId"].as_str().unwrap().to_owned()
}

/// Follows the group's log until so many records are complete.
async fn logged(user: &User, count: usize) {
    let mut events = Watching::start(user.command("stream-events --group demo --json --kind record.logged"));
    for _ in 0..count {
        assert!(events.line().await.contains("EVENT_KIND_RECORD_LOGGED"));
    }
}

#[tokio::test]
async fn events_are_streamed_and_resumed() {
    let site = Site::start().await;
    let user = User::operator(&site);
    let mut live = Watching::start(user.command("stream-events --group demo --kind session.created"));
    assert!(live.line().await.starts_with("SEQUENCE  TIME"));
    let id = session(&site, "C-1", "500").await;
    let first = live.line().await;
    for word in ["session.created", id.as_str(), "agent alice", "Case/500"] {
        assert!(first.contains(word), "{word} in {first}");
    }
    logged(&user, 1).await;
    let events = user.run(&format!("list-session-events {id} --group demo --json")).await.good().lines();
    let created = events[0]["id"].as_str().unwrap();
    let after = format!("stream-events --group demo --json --after {created}");
    let mut resumed = Watching::start(user.command(&after));
    for event in &events[1..] {
        let line: Value = serde_json::from_str(&resumed.line().await).unwrap();
        assert_eq!(line, *event);
    }
    user.run("stream-events --group demo --kind started").await.refused(2, "session.started");
    user.run("stream-events --group demo --after x").await.refused(1, "after_id");
}

#[tokio::test]
async fn a_visitor_that_showed_a_screen_instead_of_its_page_is_told_by_events_and_record() {
    let site = Site::with_cobrowse().await;
    let user = User::operator(&site);
    let mut live = Watching::start(user.command("stream-events --group demo --json --kind session.shows"));
    let mut engagement = site.engage("C-1", json!({})).await;
    let id = engagement.session.as_str().unwrap().to_owned();
    let record = format!("session-record {id} --group demo");
    let kind = |kind: &str| json!({"type": "shows", "kind": kind});
    engagement.publisher.ask(kind("cobrowse"), "ok").await;
    for (shown, told) in [("screen", "SESSION_KIND_SCREEN"), ("cobrowse", "SESSION_KIND_COBROWSE")] {
        engagement.publisher.ask(kind(shown), "ok").await;
        let event: Value = serde_json::from_str(&live.line().await).unwrap();
        assert_eq!(
            (&event["kind"], &event["shows"]),
            (&json!("EVENT_KIND_SESSION_SHOWS"), &json!({"kind": told}))
        );
        assert_eq!((&event["sessionId"], &event["actor"]["id"]), (&json!(id), &json!("C-1")));
        // It is known as long as it lasts, too.
        let found = &user.run(&format!("{record} --json")).await.good().lines()[0];
        let [now] = found["alsoShown"].as_array().unwrap().as_slice() else { panic!("{found}") };
        assert_eq!(
            (&found["kind"], &now["kind"]),
            (&json!("SESSION_KIND_COBROWSE"), &json!("SESSION_KIND_SCREEN"))
        );
        assert_eq!(
            (now["shownAt"].is_string(), now["endedAt"].is_string()),
            (true, shown == "cobrowse"),
            "{now}"
        );
    }
    engagement.publisher.ask(kind("screen"), "ok").await;
    engagement.publisher.send(json!({"type": "end"})).await;
    engagement.agent.expect("sessionEnded").await;
    logged(&user, 1).await;
    let table = user.run(&record).await.good().says("ALSO SHOWN");
    let told = table.out.split("ALSO SHOWN").nth(1).unwrap();
    assert_eq!(told.lines().filter(|line| line.starts_with("screen")).count(), 2, "{told}");
    let csv = user.run("list-session-records --group demo --csv").await.good().out;
    let [heading, row] = csv.lines().collect::<Vec<_>>()[..] else { panic!("{csv}") };
    assert!(heading.ends_with(",frames,bytes,also_shown,also_shown_ms"), "{heading}");
    let [.., shown, ms] = row.split(',').collect::<Vec<_>>()[..] else { panic!("{row}") };
    assert_eq!((shown, ms.parse::<u64>().is_ok()), ("screen", true), "{row}");
    // What was agreed to is what was agreed to.
    let receipt = user.run("export-consent-receipts --group demo").await.good().out;
    assert!(receipt.contains(r#""kind":"cobrowse""#) && !receipt.contains("screen"), "{receipt}");
}

#[tokio::test]
async fn records_go_out_as_files() {
    let site = Site::start().await;
    let user = User::operator(&site);
    let id = session(&site, "C-1", "500").await;
    session(&site, "C-2", "501").await;
    logged(&user, 2).await;
    let list = "list-session-records --group demo";
    user.run(list).await.good().says(&id).says("accepted");
    let lines = user.run(&format!("{list} --ndjson --record Case/500")).await.good().lines();
    assert_eq!((lines.len(), &lines[0]["sessionId"]), (1, &json!(id)));
    assert_eq!(user.run(&format!("{list} --json --limit 1")).await.good().lines().len(), 1);
    let csv = user.run(&format!("{list} --csv --visitor C-1")).await.good();
    let rows: Vec<&str> = csv.out.split("\r\n").collect();
    let [heading, row, ""] = rows[..] else { panic!("{csv:?}") };
    assert!(heading.starts_with("session_id,request_id,kind,state,outcome,created_at"));
    assert!(row.starts_with(&id) && row.contains(",screen,ended,accepted,"), "{row}");
    assert!(row.contains(",Case,500,\"'=1+1, \"\"broken\"\"\","), "a formula is none: {row}");
    assert!(user.run(&format!("{list} --until 2020-01-01 --csv")).await.good().out.lines().count() == 1);
    user.run(&format!("session-record {id} --group demo")).await.good().says("Case/500").says("viewer");
    user.run("session-record 00000000-0000-0000-0000-000000000000 --group demo")
        .await
        .refused(1, "NOT_FOUND");
    let stats = user.run("session-stats --group demo --json").await.good().lines();
    let sessions: u64 =
        stats.iter().map(|day| day["sessions"].as_str().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(sessions, 2);
    user.run("session-stats --group demo --csv").await.good().says("day,agent_id,sessions");
    user.run("session-stats --group demo").await.good().says("alice");
}

/// `porchlight verify-receipts`, which asks no server.
pub async fn verify(user: &User, line: &str) -> Told {
    let mut command = Command::new(BINARY);
    command.current_dir(user.file("")).arg("verify-receipts").args(line.split_whitespace());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    told(command, "").await
}

#[tokio::test]
async fn receipts_are_verified_without_a_server() {
    let mut site = Site::start().await;
    let user = User::operator(&site);
    session(&site, "C-1", "500").await;
    session(&site, "C-2", "501").await;
    user.run("export-consent-receipts receipts --group demo").await.good();
    let told = user.run("export-consent-receipts --group demo").await.good();
    let file = std::fs::read_to_string(user.file("receipts")).unwrap();
    assert_eq!(told.out.lines().take(2).collect::<Vec<_>>(), file.lines().take(2).collect::<Vec<_>>());
    assert!(!user.file("receipts.part").exists());
    let key = user.run("receipt-key --group demo").await.good().out.trim().to_owned();
    std::fs::write(user.file("key"), format!("{key}\n")).unwrap();
    let records = user.run("list-session-records --group demo --json").await.good().lines();
    let receipt = records[1]["receiptId"].as_str().unwrap();
    let one = user.run(&format!("get-consent-receipt {receipt} --group demo")).await.good();
    assert_eq!(one.out.lines().next(), file.lines().next());
    site.running.force();
    let _ = site.running.wait().await;

    verify(&user, "receipts --key-file key").await.good().says("2 receipts of the group demo");
    verify(&user, &format!("receipts --key {key}")).await.good();
    let lines: Vec<&str> = file.lines().collect();
    let last = lines[..2].join("\n") + "\n";
    for (name, text, line, why) in [
        ("changed", file.replacen("\"visitor\":\"C-2\"", "\"visitor\":\"C-9\"", 1), 2, "was changed"),
        ("shorter", last, 3, "the signed end of the file is missing"),
        ("removed", format!("{}\n{}\n", lines[1], lines[2]), 1, "has the number 2 where 1 belongs"),
        ("empty", String::new(), 1, "the signed end of the file is missing"),
    ] {
        std::fs::write(user.file(name), text).unwrap();
        let broken = verify(&user, &format!("{name} --key-file key")).await;
        broken.refused(1, &format!("{name}: line {line}: ")).refused(1, why);
    }
    // Another group's key, no key, no file.
    let other = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    verify(&user, &format!("receipts --key {other}")).await.refused(1, "which was not given");
    verify(&user, "receipts --key abc").await.refused(2, "no public key");
    verify(&user, "missing --key-file key").await.refused(2, "can't read missing");
    verify(&user, "receipts").await.refused(2, "--key");
}
