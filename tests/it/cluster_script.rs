//! The cluster to try out: two nodes, a Redis and a proxy, started and ended by one command.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::cli::BINARY;
use crate::common::{http, within};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/cluster/run");

/// The script at work. What it started ends with it.
struct Script {
    child: Child,
    told: Vec<String>,
}

impl Script {
    fn start(listen: SocketAddr, scratch: &Path) -> Self {
        let mut child = Command::new(SCRIPT)
            .arg(listen.to_string())
            .env("PORCHLIGHT_BIN", BINARY)
            .env("TMPDIR", scratch)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let mut script = Self { child, told: Vec::new() };
        for line in BufReader::new(out).lines() {
            script.told.push(line.unwrap());
            if script.told.last().is_some_and(|line| line.contains("Ctrl-C ends everything")) {
                return script;
            }
        }
        let mut why = String::new();
        err.read_to_string(&mut why).unwrap();
        panic!("the cluster did not start: {:?}\n{why}", script.told);
    }

    /// The process of a node.
    fn process(&self, node: &str) -> Pid {
        let line = self.told.iter().find(|line| line.contains(&format!("node {node} "))).unwrap();
        Pid::from_raw(line.rsplit(' ').next().unwrap().parse().unwrap()).unwrap()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // Its own way to end takes along what it started.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn one_command_starts_two_nodes_and_one_of_them_may_die() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap();
    drop(free);
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().to_owned();
    let starting = tokio::task::spawn_blocking(move || Script::start(listen, &folder));
    let script = within("the cluster's start", starting).await.unwrap();
    for _ in 0..4 {
        assert_eq!(http::get(listen, "/demo/agent").await.status, 200, "both nodes answer by turns");
    }

    kill_process(script.process("a"), Signal::KILL).unwrap();
    // The proxy finds out within seconds; until then it tries the other where it can.
    let served = async {
        let mut good = 0;
        while good < 4 {
            good = if http::get(listen, "/demo/agent").await.status == 200 { good + 1 } else { 0 };
        }
    };
    within("the other node to serve alone", served).await;

    within("the end", tokio::task::spawn_blocking(move || drop(script))).await.unwrap();
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing is left behind");
    assert!(std::net::TcpStream::connect(listen).is_err(), "nobody listens any more");
}
