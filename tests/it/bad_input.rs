//! Bad input: a documented answer for everything, and nobody else feels it.

use std::time::Duration;

use porchlight::limits;
use tokio_tungstenite::tungstenite::Message;

use crate::common::raw::{RawClient, SUBPROTOCOL, handshake};
use crate::common::rng::Rng;
use crate::common::site::Engagement;
use crate::common::{Client, Heard, ParticipantClient, Site, Value, http, json};

const PATHS: [&str; 3] = ["/v1/visitor", "/v1/agent", "/v1/session"];

/// A client of each kind past its first message.
struct Trio {
    visitor: Client,
    agent: Client,
    publisher: Client,
    viewer: Client,
}

async fn trio(site: &Site, visitor: &str) -> Trio {
    let Engagement { visitor, agent, publisher, viewer, .. } = site.engage(visitor, json!({})).await;
    Trio { visitor: visitor.client, agent: agent.client, publisher: publisher.client, viewer: viewer.client }
}

impl Trio {
    fn each(self) -> [Client; 4] {
        [self.visitor, self.agent, self.publisher, self.viewer]
    }
}

#[tokio::test]
async fn what_is_not_a_message_closes() {
    let site = Site::start().await;
    let junk =
        ["", "hello", "{", "[]", "7", "null", r#"{"id":1}"#, r#"{"type":7}"#, r#"{"type":"x","id":-1}"#];
    for (n, junk) in junk.into_iter().enumerate() {
        for mut client in trio(&site, &format!("C-{n}")).await.each() {
            client.raw(Message::text(junk)).await;
            client.expect_close(4400).await;
        }
    }
}

#[tokio::test]
async fn an_unknown_type_or_a_bad_field_is_an_error_and_the_connection_stays() {
    let site = Site::start().await;
    let known = [
        json!({"type": "terms", "requestId": 1}),
        json!({"type": "watch", "visitorIds": "C-1"}),
        json!({"type": "chat", "text": 7}),
        json!({"type": "chat", "text": 7}),
    ];
    for (mut client, bad) in trio(&site, "C-1").await.each().into_iter().zip(known) {
        assert_eq!(client.refused(json!({"type": "dance"})).await, "unknown_type");
        assert_eq!(client.refused(json!({"type": "", "x": [1, 2]})).await, "unknown_type");
        assert_eq!(client.refused(bad).await, "bad_message");
        // Without an id the error has none either.
        client.send(json!({"type": "dance"})).await;
        let error = client.expect("error").await;
        assert_eq!((&error["code"], error.get("id")), (&json!("unknown_type"), None));
        client.settle().await;
    }
}

#[tokio::test]
async fn the_first_message_is_the_right_one() {
    let site = Site::start().await;
    let token = site.token("demo", "alice").await;
    let wrong = [
        json!({"type": "presence"}).to_string(),
        json!({"type": "dance"}).to_string(),
        json!({"type": "connect"}).to_string(),
        json!({"type": "attach"}).to_string(),
        json!({"type": "connect", "token": 7, "group": 7}).to_string(),
        json!({"type": "connect", "group": "not a group", "visitorId": "C-1"}).to_string(),
        json!({"type": "connect", "group": "demo", "visitorId": "C 1", "uniqueSecret": 1}).to_string(),
        "junk".to_owned(),
        String::new(),
    ];
    for path in PATHS {
        for first in &wrong {
            let mut client = site.open(path, path).await;
            client.raw(Message::text(first.clone())).await;
            client.expect_close(4400).await;
        }
        let mut client = site.open(path, path).await;
        client.raw(Message::binary(vec![0xff, 0xfe])).await;
        client.expect_close(4400).await;
    }
    // A hello of one socket is none on another.
    let hellos = [
        ("/v1/agent", json!({"type": "connect", "group": "demo", "visitorId": "C-1"})),
        ("/v1/visitor", json!({"type": "connect", "token": token})),
        ("/v1/session", json!({"type": "connect", "token": token})),
    ];
    for (path, hello) in hellos {
        let mut client = site.open(path, path).await;
        client.send(hello).await;
        client.expect_close(4400).await;
    }
}

#[tokio::test]
async fn text_may_come_in_a_binary_message_from_visitors_and_agents_only() {
    let site = Site::start().await;
    let token = site.token("demo", "alice").await;
    let ping = json!({"type": "ping", "id": 7}).to_string().into_bytes();
    let hellos = [
        ("/v1/visitor", json!({"type": "connect", "group": "demo", "visitorId": "C-1"})),
        ("/v1/agent", json!({"type": "connect", "token": token})),
    ];
    for (path, hello) in hellos {
        let mut client = site.open(path, path).await;
        client.raw(Message::binary(hello.to_string().into_bytes())).await;
        client.expect("connected").await;
        client.raw(Message::binary(ping.clone())).await;
        assert_eq!(client.expect("error").await["id"], 7);
        client.raw(Message::binary(vec![0xff])).await;
        client.expect_close(4400).await;
    }
    let mut agent = site.agent("alice").await;
    let mut visitor = site.visitor("C-1").await;
    agent.join("C-1").await;
    let offer = visitor.expect("offer").await;
    visitor.accept(&offer).await;
    let ready = visitor.expect("ready").await;
    let attach = json!({"type": "attach", "ticket": ready["ticket"]}).to_string().into_bytes();
    let mut client = site.open("binary", "/v1/session").await;
    client.raw(Message::binary(attach)).await;
    client.expect_close(4400).await;
    // The ticket was not touched.
    let mut publisher = site.attach("publisher", &ready).await;
    publisher.raw(Message::binary(ping)).await;
    publisher.expect_close(4400).await;
}

#[tokio::test]
async fn oversize_messages_close() {
    let site = Site::start().await;
    let Trio { visitor, agent, publisher, viewer } = trio(&site, "C-1").await;
    let table = [
        (visitor, limits::VISITOR_MESSAGE),
        (agent, limits::AGENT_MESSAGE),
        (publisher, limits::SESSION_TEXT),
        (viewer, limits::SESSION_TEXT),
    ];
    for (mut client, limit) in table {
        let text = |len: usize| {
            let envelope = r#"{"type":"ping","id":7,"x":""}"#.len();
            format!(r#"{{"type":"ping","id":7,"x":"{}"}}"#, "x".repeat(len - envelope))
        };
        client.raw(Message::text(text(limit))).await;
        assert_eq!(client.expect("error").await["id"], 7, "{}: as large as may be", client.name);
        client.raw(Message::text(text(limit + 1))).await;
        client.expect_close(4400).await;
    }
    // Before the first message a participant is nobody and sends little.
    let mut nobody = site.open("nobody", "/v1/session").await;
    nobody.raw(Message::binary(vec![0; limits::SESSION_TEXT + 1])).await;
    nobody.expect_close(4400).await;
}

#[tokio::test]
async fn silence_instead_of_a_first_message_is_closed() {
    let site = Site::with(|config| config.limits.first_message = Duration::from_secs(1)).await;
    let mut silent = Vec::new();
    for path in PATHS {
        silent.push(site.open(path, path).await);
    }
    // A ping is a sign of life, but it is no message.
    silent[0].raw(Message::Ping("hi".into())).await;
    for client in &mut silent {
        client.expect_close(4002).await;
    }
}

#[tokio::test]
async fn a_handshake_is_refused_before_any_state() {
    let site = Site::start().await;
    site.settings(|settings| {
        settings.visitor_origins = vec!["https://good.example".to_owned()];
        settings.agent_origins = vec!["https://crm.example".to_owned()];
        settings.loopback_origins = false;
    })
    .await;
    let addr = site.running.public;
    let origin = |origin: &str| format!("origin: {origin}\r\n{SUBPROTOCOL}");
    for path in PATHS {
        let evil = [
            "null",
            "https://good.example.evil",
            "https://evilgood.example",
            "http://good.example",
            "https://good.example:8443",
            "https://good.example/",
            "http://127.0.0.1:7400",
            "",
            "file://",
        ];
        for evil in evil {
            let (status, _) = RawClient::open(addr, &handshake(path, &origin(evil))).await;
            assert_eq!(status, 403, "{path} {evil:?}");
        }
    }
    let table = [
        ("/v1/visitor", "https://good.example", 101),
        ("/v1/visitor", "HTTPS://GOOD.example:443", 101),
        ("/v1/visitor", "https://crm.example", 403),
        ("/v1/agent", "https://crm.example", 101),
        ("/v1/agent", "https://good.example", 403),
        ("/v1/session", "https://crm.example", 101),
        ("/v1/session", "https://good.example", 101),
    ];
    for (path, allowed, wanted) in table {
        let (status, _) = RawClient::open(addr, &handshake(path, &origin(allowed))).await;
        assert_eq!(status, wanted, "{path} {allowed}");
    }
    for path in PATHS {
        for (extra, wanted) in [
            ("", 400),
            ("sec-websocket-protocol: chat\r\n", 400),
            ("sec-websocket-protocol: chat, porchlight.v1\r\n", 101),
        ] {
            let (status, _) = RawClient::open(addr, &handshake(path, extra)).await;
            assert_eq!(status, wanted, "{path} {extra}");
        }
        let answer = http::get(addr, path).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!("bad_message")));
        let mut old = handshake(path, SUBPROTOCOL);
        old = old.replace("version: 13", "version: 8");
        assert_eq!(RawClient::open(addr, &old).await.0, 400);
        assert_eq!(http::post(addr, path, &json!({})).await.status, 405);
    }
    // Compression is never negotiated.
    let deflate = format!("sec-websocket-extensions: permessage-deflate\r\n{SUBPROTOCOL}");
    let (status, mut raw) = RawClient::open(addr, &handshake("/v1/visitor", &deflate)).await;
    assert_eq!(status, 101);
    raw.frame(0xc1, b"compressed").await;
    assert_eq!(raw.close_code().await, Some(4400));
}

#[tokio::test]
async fn who_speaks_too_fast_is_refused_and_then_closed() {
    let site = Site::start().await;
    let Trio { visitor, agent, publisher, viewer } = trio(&site, "C-1").await;
    let bursts = [limits::VISITOR_RATE, limits::AGENT_RATE, limits::SESSION_RATE, limits::SESSION_RATE];
    for (mut client, (_, burst)) in [visitor, agent, publisher, viewer].into_iter().zip(bursts) {
        // As fast as can be: what is let through meanwhile only makes it longer.
        let mut refused = 0;
        let mut closed = None;
        for n in 0..burst * 40 {
            client.send(json!({"type": "ping", "id": n})).await;
            if n % 50 == 49 || n < 2 {
                match client.hear().await {
                    Heard::Closed(code) => closed = Some(code),
                    _ => continue,
                }
                break;
            }
        }
        while closed.is_none() {
            match client.hear().await {
                Heard::Closed(code) => closed = Some(code),
                Heard::Text(text) if text["code"] == "rate_limited" => refused += 1,
                _ => {}
            }
        }
        assert_eq!(closed, Some(Some(4429)), "{}", client.name);
        assert!(refused > 0, "{} was told before", client.name);
    }
    assert!(site.metric("porchlight_refusals_total{limit=\"message_rate\"}").await > 0.0);
}

#[tokio::test]
async fn a_flood_of_pings_is_closed() {
    let site = Site::start().await;
    for mut client in trio(&site, "C-1").await.each() {
        for _ in 0..100 {
            client.raw(Message::Ping("hi".into())).await;
        }
        client.expect_close(4429).await;
    }
}

#[tokio::test]
async fn a_message_that_never_ends_is_closed() {
    let site = Site::start().await;
    for path in PATHS {
        let mut raw = RawClient::upgraded(site.running.public, path).await;
        let mut wrote = raw.frame(0x01, b"").await;
        // Far more than the largest message of any socket takes.
        for _ in 0..40 {
            let many: Vec<u8> = (0..1_000).flat_map(|_| crate::common::raw::masked(0x00, b"")).collect();
            wrote = wrote && raw.write(&many).await;
        }
        assert_eq!(raw.close_code().await, Some(4400), "{path}");
    }
}

#[tokio::test]
async fn broken_framing_is_closed() {
    let site = Site::start().await;
    let table: [(&str, &[u8]); 5] = [
        ("not masked", &[0x81, 0x02, b'h', b'i']),
        ("reserved bits", &[0xf1, 0x80, 0, 0, 0, 0]),
        ("unknown opcode", &[0x83, 0x80, 0, 0, 0, 0]),
        ("continuation of nothing", &[0x80, 0x80, 0, 0, 0, 0]),
        ("a fragmented ping", &[0x09, 0x80, 0, 0, 0, 0]),
    ];
    for path in PATHS {
        for (name, bytes) in table {
            let mut raw = RawClient::upgraded(site.running.public, path).await;
            raw.write(bytes).await;
            assert_eq!(raw.close_code().await, Some(4400), "{path} {name}");
        }
    }
}

#[tokio::test]
async fn a_visitor_has_at_most_twenty_connections() {
    let site = Site::start().await;
    let mut tabs = Vec::new();
    for _ in 0..limits::CONNECTIONS_PER_VISITOR {
        tabs.push(site.visitor("C-1").await);
    }
    site.visitor_refused("one too many", json!({"visitorId": "C-1"}), 4429).await;
    let _other = site.visitor("C-2").await;
    let mut agent = site.agent("alice").await;
    assert_eq!(agent.look("C-1").await["connections"], limits::CONNECTIONS_PER_VISITOR);
    tabs.pop().unwrap().go().await;
    site.visitor("C-1").await;
}

// ── Random messages ────────────────────────────────────────────────────────────────────────────

/// Codes a server may close with whatever comes.
const FOR_JUNK: [u16; 6] = [4400, 4401, 4403, 4404, 4409, 4429];

/// Messages of each socket in all.
const JUNK: usize = 10_000;

/// Messages in one connection, at most: beyond it only the rate would be tested.
const IN_ONE: usize = 40;

/// A message between bare noise and something nearly right.
fn junk(rng: &mut Rng, types: &[&str]) -> Message {
    let words = ["C-1", "", "demo", "0", "null", "00000000-0000-0000-0000-000000000000", "ä\u{0}", "screen"];
    let value = |rng: &mut Rng| match rng.below(8) {
        0 => Value::Null,
        1 => json!(rng.u64()),
        2 => json!(-1),
        3 => json!([rng.u64() % 9, "x"]),
        4 => json!({"object": "Case", "id": *rng.pick(&words)}),
        5 => json!(rng.below(2) == 0),
        6 => json!("x".repeat(rng.below(300))),
        _ => json!(*rng.pick(&words)),
    };
    let fields = [
        "visitorIds",
        "visitorId",
        "record",
        "sessionId",
        "requestId",
        "data",
        "page",
        "visibility",
        "accepted",
        "name",
        "filter",
        "limit",
        "cursor",
        "participantId",
        "epoch",
        "events",
        "text",
        "stream",
        "seq",
        "id",
        "fields",
        "parents",
        "kind",
        "reason",
        "token",
        "ticket",
        "group",
        "client",
    ];
    let noise = rng.below(200);
    match rng.below(100) {
        0 => Message::binary(rng.bytes(noise)),
        1 => Message::text(String::from_utf8_lossy(&rng.bytes(noise)).into_owned()),
        _ => {
            let mut message = json!({"type": *rng.pick(types)});
            for _ in 0..rng.below(5) {
                message[*rng.pick(&fields)] = value(rng);
            }
            if message["id"].as_i64() == Some(-1) {
                message["id"] = json!(1);
            }
            Message::text(message.to_string())
        }
    }
}

/// Sends junk until this many messages are sent or the server has closed; returns how many were sent.
async fn pester(client: &mut Client, rng: &mut Rng, types: &[&str], most: usize) -> usize {
    for _ in 0..most {
        client.raw(junk(rng, types)).await;
    }
    client.raw(Message::binary(vec![0xff; 3])).await;
    loop {
        match client.hear().await {
            Heard::Closed(Some(code)) => {
                assert!(FOR_JUNK.contains(&code), "closed with {code}");
                return most + 1;
            }
            Heard::Closed(None) => client.fail("closed without a code"),
            Heard::Text(text) => assert!(text["type"].is_string(), "{text}"),
            Heard::Frame(_) => client.fail("a frame of nobody"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_random_messages_on_each_socket_hurt_nobody() {
    use porchlight::wire::{agent::FromAgent, session::FromParticipant, visitor::FromVisitor};
    let panics = crate::common::panics::count();
    let site = Site::start().await;
    let mut rng = Rng::new(20_260_101);
    let mut healthy = site.engage("healthy", json!({})).await;
    let token = site.token("demo", "alice").await;

    let mut sent = 0;
    while sent < JUNK {
        let mut client = site.open("visitor", "/v1/visitor").await;
        if rng.below(4) > 0 {
            client.send(json!({"type": "connect", "group": "demo", "visitorId": "C-1"})).await;
        }
        sent += pester(&mut client, &mut rng, FromVisitor::KINDS, IN_ONE).await;
    }
    let mut sent = 0;
    while sent < JUNK {
        let mut client = site.open("agent", "/v1/agent").await;
        if rng.below(4) > 0 {
            client.send(json!({"type": "connect", "token": token})).await;
        }
        sent += pester(&mut client, &mut rng, FromAgent::KINDS, IN_ONE).await;
    }
    let mut victims = site.engage("victim", json!({})).await;
    let (mut sent, mut rounds) = (0, 0);
    while sent < JUNK {
        let client = site.open("participant", "/v1/session").await;
        if rng.below(4) == 0 {
            let mut client = client;
            sent += pester(&mut client, &mut rng, FromParticipant::KINDS, IN_ONE).await;
            continue;
        }
        // Junk may end the session or leave it: then there is another.
        let publishes = rng.below(2) == 0;
        let token = if publishes { victims.publisher.token() } else { victims.viewer.token() };
        let mut client = client;
        client.send(json!({"type": "attach", "resumeToken": token})).await;
        let back = match client.hear().await {
            Heard::Text(hello) => ParticipantClient { client, hello },
            _ => {
                rounds += 1;
                victims = site.engage(&format!("victim-{rounds}"), json!({})).await;
                continue;
            }
        };
        let place = if publishes { &mut victims.publisher } else { &mut victims.viewer };
        *place = back;
        sent += pester(place, &mut rng, FromParticipant::KINDS, IN_ONE).await;
    }

    assert_eq!(crate::common::panics::count(), panics, "nothing panicked");
    let frame = crate::common::Picture::new().key(1_000);
    healthy.publisher.send_frame(frame.clone()).await;
    assert_eq!(healthy.viewer.expect_frame().await, frame);
    assert_eq!(healthy.agent.look("healthy").await["sessionId"], healthy.session);
    healthy.visitor.settle().await;
}
