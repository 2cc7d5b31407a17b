//! A Redis of a test's own: real servers in a folder of its own, on ports or sockets that nobody else knows.
//!
//! The environment chooses on what the suites of stores run: `PORCHLIGHT_TEST_REDIS=cluster` gives each a Redis
//! Cluster of three, `=sentinels` a primary that Sentinels name, `=user` the user that docs/cluster.md describes, and
//! `PORCHLIGHT_TEST_REDIS_SERVER` names another server program, such as `valkey-server`.

#[path = "redis/cluster.rs"]
pub mod cluster;
#[path = "redis/sentinels.rs"]
pub mod sentinels;
#[path = "redis/tls.rs"]
pub mod tls;

use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use porchlight::redis::{Link, Plan, Servers};
use redis::aio::MultiplexedConnection;
use rustix::process::{Pid, Signal, kill_process};

use self::cluster::RedisCluster;
use self::sentinels::{MASTER, Sentinels};

/// The password of the user of few rights.
const PASSWORD: &str = "canary-of-redis";

/// Where the rights of that user are described.
const DESCRIBED: &str = include_str!("../../../docs/cluster.md");

/// A Redis that can be killed, started again with what it kept, and stopped for a while. It ends with its handle.
#[derive(Debug)]
pub struct Redis {
    folder: tempfile::TempDir,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    Alone(Child),
    /// For a user of few rights.
    Guarded(Child),
    Cluster(RedisCluster),
    Sentinels(Sentinels),
}

impl Drop for Redis {
    fn drop(&mut self) {
        if matches!(self.shape, Shape::Alone(_) | Shape::Guarded(_)) {
            self.kill();
        }
    }
}

impl Redis {
    /// One that keeps every write on the disk before it answers, in the shape that the environment asks for.
    pub async fn start() -> Self {
        match std::env::var("PORCHLIGHT_TEST_REDIS").as_deref() {
            Err(_) => Self::alone().await,
            Ok("user") => Self::guarded().await,
            Ok("cluster") => {
                let shape = Shape::Cluster(RedisCluster::start(3).await);
                Self { folder: tempfile::tempdir().unwrap(), shape }
            }
            Ok("sentinels") => {
                let shape = Shape::Sentinels(Sentinels::start().await);
                Self { folder: tempfile::tempdir().unwrap(), shape }
            }
            Ok(other) => panic!("PORCHLIGHT_TEST_REDIS={other} is no shape of Redis"),
        }
    }

    /// One server.
    pub async fn alone() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shape = Shape::Alone(spawn_in(folder.path()));
        let redis = Self { folder, shape };
        redis.connect().await;
        redis
    }

    /// One that is used as the user of few rights.
    pub async fn guarded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shape = Shape::Guarded(spawn_in(folder.path()));
        let redis = Self { folder, shape };
        redis.guard().await;
        redis
    }

    /// Makes that user, as it is described.
    async fn guard(&self) {
        let line = DESCRIBED.lines().find(|line| line.starts_with("ACL SETUSER porchlight ")).unwrap();
        let mut words = line.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word.replace("<password>", PASSWORD));
        }
        let _: String = command.query_async(&mut self.connect().await).await.unwrap();
    }

    /// Its address.
    pub fn url(&self) -> String {
        let socket = self.folder.path().join("socket");
        match &self.shape {
            Shape::Alone(_) => format!("redis+unix://{}", socket.display()),
            Shape::Guarded(_) => format!("redis+unix://{}?user=porchlight&pass={PASSWORD}", socket.display()),
            Shape::Cluster(cluster) => cluster.url(),
            Shape::Sentinels(_) => panic!("this test is about an address"),
        }
    }

    /// The way to it that servers take.
    pub async fn link(&self) -> Link {
        let plan = match &self.shape {
            Shape::Sentinels(all) => Plan {
                servers: Servers::Sentinels {
                    nodes: all.nodes(),
                    master: MASTER.to_owned(),
                    user: None,
                    password: None,
                },
                user: None,
                password: None,
                tls: None,
            },
            _ => Plan::of_url(&self.url()),
        };
        Link::connect(&plan, Duration::ZERO, None).await.unwrap()
    }

    /// A connection to it, once it answers, with all rights.
    pub async fn connect(&self) -> MultiplexedConnection {
        match &self.shape {
            Shape::Cluster(cluster) => cluster.connect(0).await,
            Shape::Sentinels(all) => all.connect(0).await,
            _ => connected(&format!("redis+unix://{}", self.folder.path().join("socket").display())).await,
        }
    }

    fn child(&self) -> &Child {
        match &self.shape {
            Shape::Alone(child) | Shape::Guarded(child) => child,
            Shape::Cluster(_) | Shape::Sentinels(_) => panic!("this test is about one server"),
        }
    }

    /// Kills it.
    pub fn kill(&mut self) {
        match &mut self.shape {
            Shape::Alone(child) | Shape::Guarded(child) => end(child),
            Shape::Cluster(_) | Shape::Sentinels(_) => panic!("this test is about one server"),
        }
    }

    /// Takes away what it kept, while it is dead.
    pub fn forget(&self) {
        std::fs::remove_dir_all(self.folder.path().join("appendonlydir")).unwrap();
    }

    /// Starts it again, with what it kept.
    pub async fn revive(&mut self) {
        let again = spawn_in(self.folder.path());
        match &mut self.shape {
            Shape::Alone(child) => {
                *child = again;
                self.connect().await;
            }
            Shape::Guarded(child) => {
                *child = again;
                self.guard().await;
            }
            Shape::Cluster(_) | Shape::Sentinels(_) => panic!("this test is about one server"),
        }
    }

    /// Makes it stand still.
    pub fn pause(&self) {
        kill_process(Pid::from_child(self.child()), Signal::STOP).unwrap();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        kill_process(Pid::from_child(self.child()), Signal::CONT).unwrap();
    }
}

fn spawn_in(folder: &Path) -> Child {
    spawn(folder, &["--port", "0", "--unixsocket", folder.join("socket").to_str().unwrap()])
}

/// A server that keeps what it has in a folder.
fn spawn(folder: &Path, words: &[&str]) -> Child {
    program()
        .args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
        .arg("--dir")
        .arg(folder)
        .args(words)
        .spawn()
        .expect("redis-server is installed where tests run")
}

fn program() -> Command {
    let name = std::env::var("PORCHLIGHT_TEST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
    let mut command = Command::new(name);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn end(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A port that nobody uses now, and that no connection is given as its own until somebody listens there: those that the
/// kernel gives begin at 32,768.
pub fn free_port() -> u16 {
    loop {
        let port = 10_000 + (RandomState::new().hash_one(()) % 22_000) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A connection to an address, once it answers.
async fn connected(url: &str) -> MultiplexedConnection {
    connected_by(&redis::Client::open(url).unwrap()).await
}

async fn connected_by(client: &redis::Client) -> MultiplexedConnection {
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let connected = async {
        loop {
            if let Ok(mut connection) = client.get_multiplexed_async_connection_with_config(&config).await
                && redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
            {
                return connection;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), connected).await.expect("Redis starts")
}

/// Asks with words.
async fn ask<T: redis::FromRedisValue>(
    connection: &mut MultiplexedConnection,
    words: &str,
) -> redis::RedisResult<T> {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    for word in words {
        command.arg(word);
    }
    command.query_async(connection).await
}

/// Waits until an answer says so.
async fn until(connection: &mut MultiplexedConnection, words: &str, says: impl Fn(&str) -> bool) {
    let told = async {
        while !ask::<String>(connection, words).await.is_ok_and(|told| says(&told)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.unwrap_or_else(|_| panic!("{words}"));
}
