//! A node that has no room: who is there goes on, who comes is told when to come back, operators still get in, and
//! when there is room again everybody does.

use std::net::SocketAddr;

use porchlight::admin::reason_of;
use porchlight::pb::v1;
use porchlight::pb::v1::admin_client::AdminClient;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::common::raw::{SUBPROTOCOL, handshake};
use crate::common::transcript::Transcript;
use crate::common::{Client, DEADLINE, Site, VisitorClient, http, json, within};
use crate::kill::Node;

/// Waits until something is so.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + DEADLINE;
    while !so().await {
        assert!(tokio::time::Instant::now() < end, "{what}: not within {DEADLINE:?}");
        tokio::task::yield_now().await;
    }
}

async fn metric(ops: SocketAddr, line: &str) -> f64 {
    let scraped = http::get(ops, "/metrics").await.body;
    scraped.lines().find_map(|other| other.strip_prefix(line)?.trim().parse().ok()).unwrap_or(0.0)
}

async fn readiness(ops: SocketAddr) -> u16 {
    http::get(ops, "/readyz").await.status
}

async fn visitor(transcript: &Transcript, addr: SocketAddr, id: &str) -> VisitorClient {
    let client = Client::open(transcript, id, addr, "/v1/visitor").await;
    VisitorClient::connect(client, json!({"type": "connect", "group": "demo", "visitorId": id})).await
}

/// A connection that has asked for something, and the beginning of what it was told.
async fn asked(addr: SocketAddr) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // It may have been turned away before it asked.
    let _ = stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut told = vec![0; 1024];
    let read = within("an answer", stream.read(&mut told)).await.unwrap_or(0);
    told.truncate(read);
    (stream, String::from_utf8(told).unwrap())
}

#[tokio::test]
async fn a_process_of_few_files_takes_all_it_may_have_and_refuses_cleanly_beyond() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start_with_files(dir.path(), 400, &[]).await;
    let (public, ops) = (node.addr("public"), node.addr("ops"));
    assert_eq!(metric(ops, "porchlight_process_file_limit").await, 400.0, "raised from 64");
    let transcript = Transcript::new();
    // 200 are kept back, and a twentieth of the rest is for requests.
    let mut all = Vec::new();
    for n in 0..190 {
        all.push(visitor(&transcript, public, &format!("C-{n}")).await);
    }
    let mut late = Client::open(&transcript, "late", public, "/v1/visitor").await;
    late.expect_close(4003).await;
    drop(late);
    until("readiness to tell", async || readiness(ops).await == 503).await;
    assert_eq!(metric(ops, r#"porchlight_full{of="connections"}"#).await, 1.0);
    let mut open = Vec::new();
    let refused = loop {
        let (stream, told) = asked(public).await;
        if !told.starts_with("HTTP/1.1 200") {
            break told;
        }
        open.push(stream);
        assert!(open.len() < 20, "nobody is refused");
    };
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 5"), "{refused}");
    assert!(refused.contains(r#""code":"overload""#), "{refused}");
    // Who is there goes on.
    for at in [0, 100, 189] {
        all[at].settle().await;
    }
    drop(open);
    all.truncate(150);
    until("room again", async || readiness(ops).await == 200).await;
    visitor(&transcript, public, "C-new").await.settle().await;
    all[0].settle().await;
}

/// Leaves the process no descriptor beyond those it has by now.
fn squeeze(node: &Node) {
    let pid = node.child.id();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let maximum = files.split_whitespace().filter_map(|word| word.parse().ok()).next_back();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open: Vec<u64> = open.map(|fd| fd.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    // New ones get the lowest number that is free.
    let current = (0..).find(|number| !open.contains(number));
    prlimit(Pid::from_raw(i32::try_from(pid).unwrap()), Resource::Nofile, Rlimit { current, maximum })
        .unwrap();
}

#[tokio::test]
async fn without_a_descriptor_left_everybody_is_told_and_operators_are_served() {
    let dir = tempfile::tempdir().unwrap();
    // Between a request of an operator and the next one the descriptor that served it is free for a moment.
    let settings = [("PORCHLIGHT__LIMITS__FILES_PERCENT", "95")];
    let node = Node::start_with(dir.path(), &settings).await;
    let (public, ops) = (node.addr("public"), node.addr("ops"));
    let transcript = Transcript::new();
    let mut here = visitor(&transcript, public, "C-1").await;
    let mut open = Vec::new();
    for n in 0..16 {
        open.push(visitor(&transcript, public, &format!("D-{n}")).await);
    }
    squeeze(&node);
    for _ in 0..20 {
        let (_stream, told) = asked(public).await;
        assert!(told.starts_with("HTTP/1.1 503") && told.contains("retry-after: 5"), "{told}");
    }
    // The ops and the admin listener have descriptors of their own.
    let failures = metric(ops, r#"porchlight_accept_failures_total{listener="public"}"#).await;
    assert!((20.0..=200.0).contains(&failures), "each of them, and it did not spin: {failures}");
    assert!(metric(ops, r#"porchlight_accept_failures_total{listener="ops"}"#).await >= 1.0);
    assert!(metric(ops, r#"porchlight_refusals_total{limit="files"}"#).await >= 20.0);
    until("readiness to tell", async || readiness(ops).await == 503).await;
    let endpoint = Channel::from_shared(format!("http://{}", node.addr("admin"))).unwrap();
    let mut operator = AdminClient::new(within("a gRPC connection", endpoint.connect()).await.unwrap());
    let found = operator.get_node(node.ask(v1::GetNodeRequest {})).await.unwrap().into_inner();
    assert_eq!(found.node.unwrap().visitors_present, 17);
    here.settle().await;
    drop(operator);
    drop(open);
    until("room again", async || readiness(ops).await == 200).await;
    visitor(&transcript, public, "C-2").await.settle().await;
    here.settle().await;
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    let warned = log.lines().filter(|line| line.contains("can't accept connections as usual")).count();
    assert!((1..=10).contains(&warned), "{warned} warnings in\n{log}");
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    kib.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn a_node_of_little_memory_takes_no_new_work_and_goes_on_with_what_it_has() {
    let site = Site::with(|config| config.limits.memory = Some(resident() + 256 * MIB)).await;
    let (public, ops) = (site.running.public, site.running.ops);
    let (mut visitor, mut agent) = (site.visitor("C-1").await, site.agent("alice").await);
    let endpoint = Channel::from_shared(format!("http://{}", site.running.admin)).unwrap();
    let mut operator = AdminClient::new(within("a gRPC connection", endpoint.connect()).await.unwrap());
    let key = site.running.demo.as_ref().unwrap().admin_key.clone();
    let list = || {
        let mut request =
            Request::new(v1::ListVisitorsRequest { group: "demo".into(), ..Default::default() });
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        request
    };
    assert_eq!(readiness(ops).await, 200);
    assert!(operator.list_visitors(list()).await.is_ok());

    // The server is in this process.
    let ballast = std::hint::black_box(vec![1_u8; 512 * MIB as usize]);
    until("readiness to tell", async || readiness(ops).await == 503).await;
    let parts = http::get(ops, "/readyz?verbose").await.json()["parts"].clone();
    assert_eq!((&parts["memory"]["status"], &parts["files"]["status"]), (&json!("down"), &json!("ok")));
    assert_eq!(http::get(ops, "/livez").await.status, 200);
    assert!(metric(ops, "porchlight_process_resident_bytes").await >= (512 * MIB) as f64);
    for path in ["/v1/visitor", "/v1/agent", "/v1/session"] {
        let head = handshake(path, &format!("{SUBPROTOCOL}content-length: 0\r\n"));
        let mut stream = TcpStream::connect(public).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut told = vec![0; 1024];
        let read = within("an answer", stream.read(&mut told)).await.unwrap();
        let told = String::from_utf8_lossy(&told[..read]);
        assert!(told.starts_with("HTTP/1.1 503") && told.contains("retry-after: 5"), "{told}");
        assert!(told.contains(r#""code":"overload""#), "{told}");
    }
    let refused = operator.list_visitors(list()).await.unwrap_err();
    assert_eq!((refused.code(), reason_of(&refused).as_deref()), (Code::Unavailable, Some("OVERLOAD")));
    let mut request = Request::new(v1::GetNodeRequest {});
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    operator.get_node(request).await.unwrap();
    assert_eq!(agent.refused(json!({"type": "join", "visitorId": "C-1"})).await, "unavailable");
    visitor.settle().await;
    assert!(site.metric(r#"porchlight_connects_total{kind="visitor",outcome="overload"}"#).await >= 1.0);
    assert_eq!(site.metric(r#"porchlight_refusals_total{limit="admin_streams"}"#).await, 1.0);

    drop(ballast);
    until("room again", async || readiness(ops).await == 200).await;
    assert!(operator.list_visitors(list()).await.is_ok());
    site.visitor("C-2").await.settle().await;
    let _engagement = site.engage_with(visitor, agent, json!({})).await;
}
