//! The same cuts in the kernel's own network: Redis lies in a network namespace, with an address for each node, and
//! what comes to an address or goes from it is dropped there. Nothing is reset; TCP sends again until it gives up.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::common::redis::free_port;

/// A namespace with a Redis in it. Both end with their handle.
struct Namespace {
    name: String,
    /// The host's end of the way into it.
    link: String,
    /// The first three parts of its addresses, from the range that RFC 2544 sets aside for tests.
    prefix: String,
    port: u16,
    redis: Option<Child>,
    folder: tempfile::TempDir,
}

/// Runs a command as root.
fn as_root(words: &[&str]) -> Command {
    let is_root = rustix::process::geteuid().is_root();
    let words: Vec<&str> = if is_root { words.to_vec() } else { [&["sudo", "-n"], words].concat() };
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

fn done(words: &[&str]) {
    let output = as_root(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Namespace {
    async fn start() -> Self {
        let number = std::process::id();
        let (name, link) = (format!("porchlight-{number}"), format!("plh{number}"));
        let inner = format!("pln{number}");
        let prefix = format!("198.{}.{}", 18 + number / 256 % 2, number % 256);
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        done(&["ip", "netns", "add", &name]);
        let mut space = Self { name, link, prefix, port, redis: None, folder };
        done(&[
            "ip",
            "link",
            "add",
            &space.link,
            "type",
            "veth",
            "peer",
            "name",
            &inner,
            "netns",
            &space.name,
        ]);
        done(&["ip", "addr", "add", &format!("{}.1/29", space.prefix), "dev", &space.link]);
        done(&["ip", "link", "set", &space.link, "up"]);
        let within = ["ip", "-n", &space.name];
        for node in 0..2 {
            done(
                &[&within[..], &["addr", "add", &format!("{}/29", space.addr(node)), "dev", &inner]].concat(),
            );
        }
        done(&[&within[..], &["link", "set", &inner, "up"]].concat());
        space.redis = Some(space.spawn());
        space
    }

    fn spawn(&self) -> Child {
        let (port, socket) = (self.port.to_string(), self.socket());
        let words = ["ip", "netns", "exec", &self.name, "redis-server", "--bind", "0.0.0.0", "--port", &port];
        let mut command = as_root(&words);
        command.args(["--protected-mode", "no", "--save", "", "--unixsocketperm", "777", "--unixsocket"]);
        command.arg(&socket).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("socket")
    }

    /// The address under which a node finds Redis.
    fn addr(&self, node: usize) -> String {
        format!("{}.{}", self.prefix, node + 2)
    }

    fn url(&self, node: usize) -> String {
        format!("redis://{}:{}/", self.addr(node), self.port)
    }

    /// What becomes of everything between a node and Redis.
    fn set(&self, node: usize, network: Network) {
        let addr = self.addr(node);
        let drops = |swallows: bool, what: &str| {
            if swallows { format!("ip {what} {addr} drop") } else { String::new() }
        };
        let there = drops(matches!(network, Network::Swallows | Network::DeafToServer), "daddr");
        let back = drops(matches!(network, Network::Swallows | Network::DeafToRedis), "saddr");
        let rules = format!(
            "flush ruleset; table ip cut {{
                chain there {{ type filter hook input priority 0; {there}; }}
                chain back {{ type filter hook output priority 0; {back}; }}
            }}"
        );
        done(&["ip", "netns", "exec", &self.name, "nft", &rules]);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Some(mut redis) = self.redis.take() {
            // It may be another user's process, and it may not have begun to listen yet.
            let asked = UnixStream::connect(self.socket()).and_then(|mut told| {
                told.write_all(b"SHUTDOWN NOSAVE\r\n")?;
                told.read_to_end(&mut Vec::new())
            });
            if asked.is_err() {
                drop(redis.kill());
            }
            drop(redis.wait());
        }
        for words in [["ip", "link", "del", &self.link], ["ip", "netns", "del", &self.name]] {
            drop(as_root(&words).status());
        }
    }
}

/// F4, where packets are lost and nobody ends a connection.
#[tokio::test]
async fn packets_that_are_dropped_cut_a_node_off_as_well() {
    let space = Namespace::start().await;
    let urls = [space.url(0), space.url(1)];
    let mut cluster = Cluster::over(space);
    for url in urls {
        cluster.add(&url).await;
    }
    cut_off(&cluster, |network| cluster.net.set(0, network)).await;
}
