//! What a server writes to its log, changed under way: by SIGHUP and by an operator, who is not obeyed for ever.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::cli::{BINARY, Told, User, told};
use crate::common::{DEADLINE, Site, http};

/// `porchlight serve` with a file of settings; its log goes to a file, too.
struct Served {
    child: Child,
    dir: tempfile::TempDir,
    public: SocketAddr,
    admin: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a line of the log with all of these in it, behind so many others like it.
async fn line(log: &Path, behind: usize, parts: &[&str]) -> String {
    let end = tokio::time::Instant::now() + DEADLINE;
    loop {
        let text = fs::read_to_string(log).unwrap();
        let mut found = text.lines().filter(|line| parts.iter().all(|part| line.contains(part)));
        if let Some(line) = found.nth(behind) {
            return line.to_owned();
        }
        assert!(tokio::time::Instant::now() < end, "{parts:?} within {DEADLINE:?} in\n{text}");
        tokio::task::yield_now().await;
    }
}

impl Served {
    async fn start(filter: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("porchlight.toml");
        let settings = |filter: &str| format!("[log]\nfilter = \"{filter}\"\n");
        fs::write(&file, settings(filter)).unwrap();
        let log = dir.path().join("log");
        let mut command = Command::new(BINARY);
        command.arg("serve").arg("--config").arg(&file).arg("--data-dir").arg(dir.path().join("data"));
        for listener in ["--public-addr", "--ops-addr", "--admin-addr"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        let log_file = fs::File::create(&log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log_file).spawn().unwrap();
        let serving = line(&log, 0, &["serving", "public="]).await;
        let addr = |name: &str| {
            let word = serving.split_whitespace().find_map(|word| word.strip_prefix(name)).unwrap();
            word.to_owned()
        };
        let (public, admin) = (addr("public=").parse().unwrap(), addr("admin="));
        Self { child, dir, public, admin }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn hang_up(&self, settings: &str) {
        fs::write(self.dir.path().join("porchlight.toml"), settings).unwrap();
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
    }

    /// Asks for what is not there, which is written at `debug`. Returns whether it was, this time.
    async fn is_verbose(&self) -> bool {
        let count = || fs::read_to_string(self.log()).unwrap().matches("refused a request").count();
        let before = count();
        assert_eq!(http::get(self.public, "/nothing").await.status, 404);
        // What is said of a request is written before its answer.
        count() > before
    }

    async fn admin(&self, line: &str) -> Told {
        let mut mint = Command::new(BINARY);
        mint.args(["token", "admin-key", "--data-dir"]).arg(self.dir.path().join("data"));
        mint.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let key = told(mint, "").await.good().out;
        let mut command = Command::new(BINARY);
        command.arg("admin").args(line.split_whitespace()).current_dir(self.dir.path());
        command.env("PORCHLIGHT_ADMIN_KEY", key.trim()).env("PORCHLIGHT_ADMIN_ADDR", &self.admin);
        command.env_remove("PORCHLIGHT_ADMIN_KEY_FILE");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        told(command, "").await
    }
}

#[tokio::test]
async fn hanging_up_takes_the_filter_of_the_file() {
    let served = Served::start("info").await;
    let log = served.log();
    assert!(!served.is_verbose().await);
    served.hang_up("[log]\nfilter = \"info,porchlight::http=debug\"\n");
    line(&log, 0, &["took the log filter", "info,porchlight::http=debug"]).await;
    assert!(served.is_verbose().await);
    // What can't be used changes nothing.
    served.hang_up("[log]\nfilter = \"porchlight=loud\"\n");
    line(&log, 0, &["the settings stay as they are"]).await;
    line(&log, 0, &["log.filter", "porchlight=loud"]).await;
    assert!(served.is_verbose().await);
    served.hang_up("[log]\nfilter = \"info\"\n");
    line(&log, 1, &["took the log filter"]).await;
    assert!(!served.is_verbose().await);
}

#[tokio::test]
async fn an_operator_hears_more_for_a_while() {
    let served = Served::start("info").await;
    let log = served.log();
    let held = served.admin("log-level info,porchlight::http=debug --json").await.good().line();
    assert_eq!(
        (held["filter"].as_str(), held["configured"].as_str()),
        (Some("info,porchlight::http=debug"), Some("info"))
    );
    assert!(held["until"].is_null(), "{held}");
    line(&log, 0, &["an operator changes the log filter", "porchlight::http=debug"]).await;
    assert!(served.is_verbose().await);
    // Back by a word.
    served.admin("log-level").await.good().says("info");
    assert!(!served.is_verbose().await);
    // By the time.
    let held = served.admin("log-level debug --for 1s --json").await.good().line();
    assert!(held["until"].is_string(), "{held}");
    line(&log, 0, &["the log filter is that of the settings again"]).await;
    assert!(!served.is_verbose().await);
    // By hanging up, although its time is not over.
    served.admin("log-level info,porchlight=debug --for 1h").await.good();
    assert!(served.is_verbose().await);
    served.hang_up("[log]\nfilter = \"info\"\n");
    line(&log, 0, &["took the log filter"]).await;
    assert!(!served.is_verbose().await);

    served.admin("log-level porchlight=loud").await.refused(1, "filter");
    served.admin("log-level info --for 25h").await.refused(1, "seconds");
    served.admin(&format!("log-level {}", "a".repeat(1025))).await.refused(1, "filter");
    assert!(!served.is_verbose().await);
}

#[tokio::test]
async fn a_log_that_is_not_the_servers_is_left_alone() {
    let site = Site::start().await;
    User::operator(&site).run("log-level debug").await.refused(1, "OVERLOAD");
    let key = site.running.demo.as_ref().unwrap().api_key.clone();
    let group = User::with_key(&site, &format!("{}.{}", key.0, key.1));
    group.run("log-level debug").await.refused(1, "FORBIDDEN");
}
