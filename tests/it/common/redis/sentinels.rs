//! A primary, its replica, and three Sentinels that watch over them.

#![allow(dead_code, reason = "some tests use what others don't")]

use std::process::Child;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use rustix::process::{Pid, Signal, kill_process};

use super::{ask, connected, end, free_port, program, spawn, until};

/// How long a server may take to become the primary.
const PROMOTION: Duration = Duration::from_secs(30);

/// What the Sentinels call the primary.
pub const MASTER: &str = "main";

/// All of them; they end with their handle.
#[derive(Debug)]
pub struct Sentinels {
    folder: tempfile::TempDir,
    servers: Vec<(u16, Option<Child>)>,
    watchers: Vec<(u16, Child)>,
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        self.servers.iter_mut().filter_map(|(_, child)| child.as_mut()).for_each(end);
        self.watchers.iter_mut().for_each(|(_, child)| end(child));
    }
}

impl Sentinels {
    /// The first server is the primary, the second one has all that it has, and the Sentinels know both and each
    /// other.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut all = Self { folder, servers: Vec::new(), watchers: Vec::new() };
        for _ in 0..2 {
            let port = free_port();
            let child = all.spawn(port);
            all.servers.push((port, Some(child)));
        }
        let primary = all.servers[0].0;
        all.connect(0).await;
        let mut replica = all.connect(1).await;
        ask::<()>(&mut replica, &format!("REPLICAOF 127.0.0.1 {primary}")).await.unwrap();
        until(&mut replica, "INFO replication", |told| told.contains("master_link_status:up")).await;
        for _ in 0..3 {
            let port = free_port();
            let file = all.folder.path().join(format!("sentinel-{port}.conf"));
            let settings = format!(
                "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {MASTER} 127.0.0.1 {primary} 2\n\
                 sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 6000\n",
                all.folder.path().display()
            );
            std::fs::write(&file, settings).unwrap();
            let child = program().arg(&file).arg("--sentinel").spawn().expect("redis-server is installed");
            all.watchers.push((port, child));
        }
        for (port, _) in &all.watchers {
            let mut watcher = connected(&format!("redis://127.0.0.1:{port}/")).await;
            let fine = |told: &str| told.contains("status=ok") && told.contains("slaves=1,sentinels=3");
            until(&mut watcher, "INFO sentinel", fine).await;
        }
        all
    }

    fn spawn(&self, port: u16) -> Child {
        let folder = self.folder.path().join(port.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let port = port.to_string();
        spawn(&folder, &["--port", &port, "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"])
    }

    /// Hosts with ports of the Sentinels.
    pub fn nodes(&self) -> Vec<String> {
        self.watchers.iter().map(|(port, _)| format!("127.0.0.1:{port}")).collect()
    }

    /// The host and the port of a server.
    pub fn server(&self, at: usize) -> String {
        format!("127.0.0.1:{}", self.servers[at].0)
    }

    /// A connection to a server.
    pub async fn connect(&self, at: usize) -> MultiplexedConnection {
        connected(&format!("redis://{}/", self.server(at))).await
    }

    /// Kills a server.
    pub fn kill(&mut self, at: usize) {
        end(self.servers[at].1.as_mut().expect("it lives"));
        self.servers[at].1 = None;
    }

    /// Makes a server stand still.
    pub fn pause(&self, at: usize) {
        kill_process(Pid::from_child(self.servers[at].1.as_ref().expect("it lives")), Signal::STOP).unwrap();
    }

    /// Lets it go on.
    pub fn resume(&self, at: usize) {
        kill_process(Pid::from_child(self.servers[at].1.as_ref().expect("it lives")), Signal::CONT).unwrap();
    }

    /// Waits until a server is the primary. The Sentinel that makes it one ends its connections.
    pub async fn promoted(&self, at: usize) {
        let promoted = async {
            loop {
                let told = ask::<String>(&mut self.connect(at).await, "INFO replication").await;
                if told.is_ok_and(|told| told.contains("role:master")) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PROMOTION, promoted).await.expect("it is promoted");
    }

    /// Lets only the first Sentinel watch, one that never takes a server for dead; returns a connection to it.
    pub async fn rule(&self) -> MultiplexedConnection {
        for (port, _) in &self.watchers {
            let mut watcher = connected(&format!("redis://127.0.0.1:{port}/")).await;
            ask::<()>(&mut watcher, &format!("SENTINEL REMOVE {MASTER}")).await.unwrap();
        }
        let mut watcher = connected(&format!("redis://{}/", self.nodes()[0])).await;
        self.watch(&mut watcher, 0).await;
        watcher
    }

    /// Makes that Sentinel name a server.
    pub async fn name(&self, watcher: &mut MultiplexedConnection, at: usize) {
        ask::<()>(watcher, &format!("SENTINEL REMOVE {MASTER}")).await.unwrap();
        self.watch(watcher, at).await;
    }

    async fn watch(&self, watcher: &mut MultiplexedConnection, at: usize) {
        let port = self.servers[at].0;
        ask::<()>(watcher, &format!("SENTINEL MONITOR {MASTER} 127.0.0.1 {port} 1")).await.unwrap();
        let patient = format!("SENTINEL SET {MASTER} down-after-milliseconds 3600000");
        ask::<()>(watcher, &patient).await.unwrap();
    }
}
