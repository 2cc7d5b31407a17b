//! The processes of a run: a node, and load commands against it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use porchlight::cli::load::Usage;
use serde_json::Value;
use tempfile::TempDir;

/// The binary under measurement, built with this bench.
const PORCHLIGHT: &str = env!("CARGO_BIN_EXE_porchlight");

/// How long a node may take to be ready.
const STARTING: Duration = Duration::from_secs(30);

/// How long a load may take beyond its own duration: sign-in, connects, settling.
const SLACK: Duration = Duration::from_secs(90);

/// How often a child is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How long a node may settle before its memory is read.
const SETTLE: Duration = Duration::from_secs(2);

/// A child that is ended with its owner.
#[derive(Debug)]
pub(crate) struct Owned(pub(crate) Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running node with a data directory that is thrown away.
#[derive(Debug)]
pub(crate) struct Node {
    child: Owned,
    folder: TempDir,
}

impl Node {
    /// Starts `porchlight dev` on free ports and waits until it has told its addresses.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let log = File::create(folder.path().join("log"))?;
        let child = Command::new(PORCHLIGHT)
            .args(["dev", "--public-addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0"])
            .args(["--admin-addr", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{PORCHLIGHT} does not start"))?;
        let mut node = Self { child: Owned(child), folder };
        let deadline = Instant::now() + STARTING;
        while !node.told() {
            if let Some(status) = node.child.0.try_wait()? {
                bail!("node ended with {status}: {}", node.log());
            }
            if Instant::now() >= deadline {
                bail!("node has not written dev.json within {} s: {}", STARTING.as_secs(), node.log());
            }
            std::thread::sleep(LOOK);
        }
        std::thread::sleep(SETTLE);
        Ok(node)
    }

    fn dev_json(&self) -> PathBuf {
        self.folder.path().join("dev.json")
    }

    fn told(&self) -> bool {
        let text = std::fs::read(self.dev_json()).unwrap_or_default();
        serde_json::from_slice::<Value>(&text).is_ok()
    }

    fn log(&self) -> String {
        last_lines(&self.folder.path().join("log"))
    }

    /// What the node has used by now.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.child.0.id())
    }

    /// Runs a load command against it: its report, and why it failed if it did.
    pub(crate) fn load(&self, arguments: &str, lasts: Duration) -> anyhow::Result<(Value, Option<String>)> {
        let (out, err) = (self.folder.path().join("load.out"), self.folder.path().join("load.err"));
        let child = Command::new(PORCHLIGHT)
            .arg("load")
            .args(arguments.split_ascii_whitespace())
            .args(["--json", "--server-pid", &self.child.0.id().to_string(), "--dev-json"])
            .arg(self.dev_json())
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(&err)?)
            .spawn()?;
        let mut child = Owned(child);
        let deadline = Instant::now() + lasts + SLACK;
        let status = loop {
            if let Some(status) = child.0.try_wait()? {
                break status;
            }
            if Instant::now() >= deadline {
                bail!("load {arguments} has not ended within {} s", (lasts + SLACK).as_secs());
            }
            std::thread::sleep(LOOK);
        };
        let failure = (!status.success()).then(|| last_lines(&err));
        let report = serde_json::from_slice(&std::fs::read(&out)?).with_context(|| {
            format!("load {arguments} made no report: {}; node: {}", last_lines(&err), self.log())
        })?;
        Ok((report, failure))
    }
}

fn last_lines(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join(" | ")
}
