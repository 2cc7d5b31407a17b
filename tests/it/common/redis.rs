//! A Redis of a test's own: a real `redis-server` in a folder of its own, which only its socket leads to.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A Redis that can be killed, started again with what it kept, and stopped for a while. It ends with its handle.
#[derive(Debug)]
pub struct Redis {
    folder: tempfile::TempDir,
    child: Child,
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Redis {
    /// One that keeps every write on the disk before it answers.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = spawn(folder.path());
        let redis = Self { folder, child };
        redis.connect().await;
        redis
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.folder.path().join("socket").display())
    }

    /// A connection to it, once it answers.
    pub async fn connect(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
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

    /// Kills it.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Makes one that was killed lose what it kept.
    pub fn lose(&self) {
        std::fs::remove_dir_all(self.folder.path().join("appendonlydir")).unwrap();
    }

    /// Takes away what it kept, while it is dead.
    pub fn forget(&self) {
        std::fs::remove_dir_all(self.folder.path().join("appendonlydir")).unwrap();
    }

    /// Starts it again, with what it kept.
    pub async fn revive(&mut self) {
        self.child = spawn(self.folder.path());
        self.connect().await;
    }

    /// Makes it stand still.
    pub fn pause(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).unwrap();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
    }
}

fn spawn(folder: &Path) -> Child {
    Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", "always"])
        .arg("--unixsocket")
        .arg(folder.join("socket"))
        .arg("--dir")
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed where tests run")
}
