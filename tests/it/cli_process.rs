//! The command line as a process: exit codes, a node, a lost answer, completions, the manual, and trials.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::common::cli::{BINARY, User, told};
use crate::common::site::group_id;
use crate::common::{Site, Value, http, json, within};
use crate::public_tls::{Pair, client, shake};

#[tokio::test]
async fn a_node_is_described_and_drained() {
    let site = Site::start().await;
    let user = User::operator(&site);
    let node = user.run("node --json").await.good().line();
    assert_eq!((&node["draining"], &node["version"]), (&json!(false), &json!(env!("CARGO_PKG_VERSION"))));
    user.run("node").await.good().says("visitors present");
    let all = user.run("list-nodes --json").await.good().lines();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0]["nodeId"], node["nodeId"]);
    let drained = user.run("drain --json").await.good().line();
    assert_eq!(drained["draining"], true);
    let mut site = site;
    within("the end of the drain", site.running.wait()).await.unwrap();
    user.run("node").await.refused(3, "no server answers");
}

#[tokio::test]
async fn what_is_wrong_before_asking_is_exit_code_2() {
    let site = Site::start().await;
    let user = User::operator(&site);
    user.run("node --key abc").await.refused(2, "--key");
    user.run("node --key-file missing").await.refused(2, "missing");
    user.run("frobnicate").await.refused(2, "frobnicate");
    user.run("node --addr :::").await.refused(2, "no address");
    User::with_key(&site, "wrong").run("node").await.refused(1, "UNAUTHORIZED");
}

/// The first connection is cut once the change is made and before the answer is told.
#[tokio::test]
async fn a_change_whose_answer_is_lost_is_asked_for_once_more_and_made_once() {
    let site = Site::start().await;
    let accounts = &site.running.accounts;
    let keys = || accounts.group(&group_id("demo")).unwrap().keys.len();
    let before = keys();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut user = User::operator(&site);
    user.addr = listener.local_addr().unwrap();
    let proxy = async {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(site.running.admin).await.unwrap();
        let (mut from, mut into) = (vec![0; 65536], vec![0; 65536]);
        loop {
            tokio::select! {
                read = client.read(&mut from) => {
                    let read = read.unwrap();
                    assert!(read > 0, "the command gave up");
                    server.write_all(&from[..read]).await.unwrap();
                }
                read = server.read(&mut into) => {
                    assert!(read.unwrap() > 0);
                    if keys() > before {
                        break;
                    }
                }
            }
        }
        drop(client);
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(site.running.admin).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    };
    let both = async { tokio::join!(user.run("create-api-key --group demo --json"), proxy) };
    let (told, ()) = within("a second question", both).await;
    let told = told.good();
    assert!(told.err.contains("asking once more"), "{told:?}");
    assert!(told.line()["secret"].is_string());
    assert_eq!(keys(), before + 1, "made once");
}

#[tokio::test]
async fn completions_are_scripts_of_their_shells() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let mut command = Command::new(BINARY);
        command.args(["completions", shell]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let script = told(command, "").await.good().says("import-settings");
        if shell == "bash" {
            let mut check = Command::new("bash");
            check.arg("-n").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            told(check, &script.out).await.good();
        }
    }
}

#[tokio::test]
async fn the_manual_has_a_page_for_each_command() {
    let dir = tempfile::tempdir().unwrap();
    let folders = [dir.path().join("deep/one"), dir.path().join("two")];
    for folder in &folders {
        let mut command = Command::new(BINARY);
        command.arg("man").arg(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        told(command, "").await.good();
    }
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(&folders[0]).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let [page, again] = [0, 1].map(|at| std::fs::read_to_string(folders[at].join(&name)).unwrap());
        assert_eq!(page, again, "{name}: the same every time");
        let command = name.strip_suffix(".1").unwrap().replace('-', r"\-");
        assert!(page.contains(&format!("\n.SH NAME\n{command} \\- ")), "{name}: {page}");
        assert!(page.contains("\n.SH SYNOPSIS\n"), "{name}: {page}");
        pages.push(name);
    }
    for page in
        ["porchlight.1", "porchlight-serve.1", "porchlight-admin.1", "porchlight-admin-set-permissions.1"]
    {
        assert!(pages.iter().any(|name| name == page), "{page} in {pages:?}");
    }
    assert!(!pages.iter().any(|name| name.contains("help")), "{pages:?}");
    let serve = std::fs::read_to_string(folders[0].join("porchlight-serve.1")).unwrap();
    assert!(serve.contains(r"\-\-public\-addr"), "{serve}");
    assert!(serve.contains("\n.TH porchlight-serve 1 \" \" \"Porchlight "), "{serve}");
}

#[tokio::test]
async fn a_version_is_told_with_the_commit_if_any() {
    let mut command = Command::new(BINARY);
    command.arg("--version");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let told = told(command, "").await.good().out.clone();
    let (version, commit) = told
        .trim_end()
        .split_once(' ')
        .map(|(name, rest)| {
            assert_eq!(name, "porchlight");
            rest.split_once(' ').unwrap_or((rest, ""))
        })
        .unwrap();
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let digits = commit.trim_matches(['(', ')']);
    assert!(digits.len() <= 12 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{told}");
}

#[tokio::test]
async fn a_trial_over_tls_tells_addresses_that_work() {
    let dir = tempfile::tempdir().unwrap();
    let pair = Pair::new();
    pair.lay(dir.path());
    let mut command = Command::new(BINARY);
    command.args(["dev", "--ephemeral"]);
    for listener in ["--public-addr", "--ops-addr", "--admin-addr"] {
        command.args([listener, "127.0.0.1:0"]);
    }
    command.env("PORCHLIGHT__PUBLIC__TLS_CERT", dir.path().join("cert.pem"));
    command.env("PORCHLIGHT__PUBLIC__TLS_KEY", dir.path().join("key.pem"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let told = tokio::task::spawn_blocking(move || {
        out.lines().map_while(Result::ok).take_while(|line| !line.contains("Ctrl+C")).collect::<Vec<_>>()
    });
    let told = within("the addresses", told).await.unwrap();
    let of = |name: &str| {
        let line = told.iter().find_map(|line| line.trim().strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {told:?}")).trim().to_owned()
    };
    let public = of("Public").strip_prefix("https://").unwrap().parse::<SocketAddr>().unwrap();
    for (name, path) in
        [("Demo site", "/demo/site"), ("Agent console", "/demo/agent"), ("History", "/history")]
    {
        assert_eq!(of(name), format!("https://{public}{path}"));
    }
    assert!(of("Ops").starts_with("http://"), "{told:?}");
    let trusting = client(&pair, rustls::DEFAULT_VERSIONS, &[]);
    assert!(shake(public, &trusting).await.is_ok());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn a_trial_goes_on_when_nobody_reads_what_it_prints() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(BINARY);
    command.arg("dev").arg("--data-dir").arg(dir.path());
    for listener in ["--public-addr", "--ops-addr", "--admin-addr"] {
        command.args([listener, "127.0.0.1:0"]);
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let log = BufReader::new(child.stderr.take().unwrap());
    let told = tokio::task::spawn_blocking(move || {
        log.lines().map_while(Result::ok).any(|line| line.contains("can't print how to reach the server"))
    });
    assert!(within("a word about what could not be printed", told).await.unwrap());
    let facts: Value = serde_json::from_slice(&std::fs::read(dir.path().join("dev.json")).unwrap()).unwrap();
    let ops: SocketAddr = facts["ops"].as_str().unwrap().parse().unwrap();
    assert_eq!(http::get(ops, "/livez").await.status, 200);
    assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
    child.kill().unwrap();
    child.wait().unwrap();
}
