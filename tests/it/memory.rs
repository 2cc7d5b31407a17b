//! What a node without visitors occupies, and that what a sign-in takes for a moment is given back.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;

use crate::common::cli::BINARY;
use crate::common::{Value, http, json};

/// Longer than idle threads of the pool live, whose memory goes with them.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a node may hold of its own, beside its program. Four passwords that are checked at once take 76 MiB more.
const BOUND: u64 = 64 << 20;

struct Trial(Child, tempfile::TempDir);

impl Trial {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(BINARY);
        command.arg("dev").arg("--data-dir").arg(dir.path());
        for listener in ["--public-addr", "--ops-addr", "--admin-addr"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(), dir)
    }

    fn told(&self) -> Option<Value> {
        let text = std::fs::read(self.1.path().join("dev.json")).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }

    /// Bytes of memory that are not a file's.
    fn own_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Waits until it holds no more than it may.
    async fn is_within_bound(&self) {
        let mut looks = tokio::time::interval(Duration::from_millis(200));
        let fits = async {
            while self.own_memory() > BOUND {
                looks.tick().await;
            }
        };
        let fits = tokio::time::timeout(PATIENCE, fits).await;
        assert!(fits.is_ok(), "it holds {} bytes", self.own_memory());
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn a_node_gives_back_what_sign_ins_take() {
    let trial = Trial::start();
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    let told = async {
        loop {
            if let Some(told) = trial.told() {
                return told;
            }
            looks.tick().await;
        }
    };
    let told = tokio::time::timeout(PATIENCE, told).await.unwrap();
    let public: SocketAddr = told["public"].as_str().unwrap().parse().unwrap();
    let agent = &told["agents"][0];
    let body = json!({"group": "demo", "address": agent["address"], "password": agent["password"]});
    trial.is_within_bound().await;
    for _ in 0..2 {
        let signed = join_all((0..10).map(|_| http::post(public, "/v1/auth/agent", &body))).await;
        assert!(signed.iter().all(|answer| answer.status == 200), "{signed:?}");
        trial.is_within_bound().await;
    }
}
