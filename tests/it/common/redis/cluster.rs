//! A Redis Cluster of a test's own.

#![allow(dead_code, reason = "some tests use what others don't")]

use std::process::Child;

use redis::aio::MultiplexedConnection;
use rustix::process::{Pid, Signal, kill_process};

use super::{ask, connected, end, free_port, spawn, until};

/// Slots that a cluster has.
const SLOTS: usize = 16_384;

/// Primaries with about as many slots each, and perhaps a replica each. They end with their handle.
#[derive(Debug)]
pub struct RedisCluster {
    folder: tempfile::TempDir,
    members: Vec<Member>,
    primaries: usize,
}

#[derive(Debug)]
struct Member {
    port: u16,
    bus: u16,
    child: Option<Child>,
}

impl Drop for RedisCluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            member.child.iter_mut().for_each(end);
        }
    }
}

impl RedisCluster {
    /// So many primaries, all slots shared out.
    pub async fn start(primaries: usize) -> Self {
        Self::with_replicas(primaries, 0).await
    }

    /// The same, the first of them with a replica each.
    pub async fn with_replicas(primaries: usize, replicas: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut cluster = Self { folder, members: Vec::new(), primaries };
        for _ in 0..primaries + replicas {
            cluster.join().await;
        }
        let all = primaries + replicas;
        for at in 0..primaries {
            let (first, last) = (at * SLOTS / primaries, (at + 1) * SLOTS / primaries - 1);
            let mut member = cluster.connect(at).await;
            ask::<()>(&mut member, &format!("CLUSTER ADDSLOTSRANGE {first} {last}")).await.unwrap();
        }
        for at in 0..all {
            let mut member = cluster.connect(at).await;
            ask::<()>(&mut member, &format!("CLUSTER SET-CONFIG-EPOCH {}", at + 1)).await.unwrap();
        }
        let mut first = cluster.connect(0).await;
        for member in &cluster.members[1..] {
            let meet = format!("CLUSTER MEET 127.0.0.1 {} {}", member.port, member.bus);
            ask::<()>(&mut first, &meet).await.unwrap();
        }
        let (known, assigned) =
            (format!("cluster_known_nodes:{all}\r"), format!("cluster_slots_assigned:{SLOTS}\r"));
        for at in 0..all {
            let whole = |told: &str| told.contains(&known) && told.contains(&assigned);
            until(&mut cluster.connect(at).await, "CLUSTER INFO", whole).await;
        }
        for at in 0..replicas {
            let primary = cluster.id(at).await;
            let mut replica = cluster.connect(primaries + at).await;
            ask::<()>(&mut replica, &format!("CLUSTER REPLICATE {primary}")).await.unwrap();
            until(&mut replica, "INFO replication", |told| told.contains("master_link_status:up")).await;
        }
        for at in 0..all {
            let fine = |told: &str| told.contains("cluster_state:ok");
            until(&mut cluster.connect(at).await, "CLUSTER INFO", fine).await;
        }
        cluster
    }

    /// Starts another member, which nobody knows yet.
    async fn join(&mut self) {
        let (port, bus) = (free_port(), free_port());
        let child = self.spawn(port, bus);
        self.members.push(Member { port, bus, child: Some(child) });
        self.connect(self.members.len() - 1).await;
    }

    fn spawn(&self, port: u16, bus: u16) -> Child {
        let folder = self.folder.path().join(port.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let (port, bus) = (port.to_string(), bus.to_string());
        let words = [
            &["--port", &port, "--cluster-port", &bus, "--bind", "127.0.0.1"][..],
            &["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"],
            &["--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0"],
        ];
        spawn(&folder, &words.concat())
    }

    /// Hosts with ports of the members.
    pub fn nodes(&self) -> Vec<String> {
        self.members.iter().map(|member| format!("127.0.0.1:{}", member.port)).collect()
    }

    /// The address of one of them.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.members[0].port)
    }

    /// A connection to a member; its primaries come first.
    pub async fn connect(&self, at: usize) -> MultiplexedConnection {
        connected(&format!("redis://127.0.0.1:{}/", self.members[at].port)).await
    }

    async fn id(&self, at: usize) -> String {
        ask(&mut self.connect(at).await, "CLUSTER MYID").await.unwrap()
    }

    /// The slot of a key, and the primary that had it at first.
    pub async fn home(&self, key: &str) -> (usize, usize) {
        let slot: usize = ask(&mut self.connect(0).await, &format!("CLUSTER KEYSLOT {key}")).await.unwrap();
        let owner = (0..self.primaries)
            .find(|at| slot < (at + 1) * SLOTS / self.primaries)
            .expect("slots end with the last primary's");
        (slot, owner)
    }

    /// Moves a slot with its keys from one primary to another one, as operators do.
    pub async fn move_slot(&self, slot: usize, from: usize, to: usize) {
        let (giver, taker) = (self.id(from).await, self.id(to).await);
        let (mut source, mut target) = (self.connect(from).await, self.connect(to).await);
        ask::<()>(&mut target, &format!("CLUSTER SETSLOT {slot} IMPORTING {giver}")).await.unwrap();
        ask::<()>(&mut source, &format!("CLUSTER SETSLOT {slot} MIGRATING {taker}")).await.unwrap();
        loop {
            let keys: Vec<String> =
                ask(&mut source, &format!("CLUSTER GETKEYSINSLOT {slot} 1")).await.unwrap();
            let Some(key) = keys.first() else { break };
            let port = self.members[to].port;
            // Until nothing is left; what is appended meanwhile is asked for at the other end.
            let _: redis::RedisResult<String> =
                ask(&mut source, &format!("MIGRATE 127.0.0.1 {port} {key} 0 5000")).await;
        }
        // The taker first: it counts the epoch that all others believe.
        let others = (0..self.primaries).filter(|at| *at != to);
        for at in std::iter::once(to).chain(others) {
            let mut member = self.connect(at).await;
            ask::<()>(&mut member, &format!("CLUSTER SETSLOT {slot} NODE {taker}")).await.unwrap();
        }
        // The next move counts on from it, so all must have heard of it.
        let epoch = |told: &str| {
            let line = told.lines().find(|line| line.starts_with(&taker))?;
            line.split(' ').nth(6).map(str::to_owned)
        };
        let told: String = ask(&mut target, "CLUSTER NODES").await.unwrap();
        let own = epoch(&told).expect("it knows itself");
        for at in 0..self.members.len() {
            let heard = |told: &str| epoch(told).as_ref() == Some(&own);
            until(&mut self.connect(at).await, "CLUSTER NODES", heard).await;
        }
    }

    /// Makes a member stand still.
    pub fn pause(&self, at: usize) {
        self.signal(at, Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self, at: usize) {
        self.signal(at, Signal::CONT);
    }

    fn signal(&self, at: usize, signal: Signal) {
        let child = self.members[at].child.as_ref().expect("it lives");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// Kills a member.
    pub fn kill(&mut self, at: usize) {
        end(self.members[at].child.as_mut().expect("it lives"));
        self.members[at].child = None;
    }

    /// Waits until the replica of a dead primary has its place.
    pub async fn replaced(&self, at: usize) {
        let mut replica = self.connect(self.primaries + at).await;
        until(&mut replica, "INFO replication", |told| told.contains("role:master")).await;
    }

    /// Starts it again, with what it kept.
    pub async fn revive(&mut self, at: usize) {
        let (port, bus) = (self.members[at].port, self.members[at].bus);
        self.members[at].child = Some(self.spawn(port, bus));
        let fine = |told: &str| told.contains("cluster_state:ok");
        until(&mut self.connect(at).await, "CLUSTER INFO", fine).await;
    }
}
