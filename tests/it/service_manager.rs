//! The process among others: what its service manager is told, and what `healthcheck` finds.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixDatagram};

use crate::common::cli::{BINARY, Told, told};
use crate::common::{Site, within};

/// A server that is ended with its test.
struct Served(Child);

impl Served {
    fn start(dir: &Path, notify: &Path) -> Self {
        let mut command = Command::new(BINARY);
        command.arg("serve").arg("--data-dir").arg(dir.join("data"));
        for listener in ["--public-addr", "--ops-addr", "--admin-addr"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        // A sign of life every 100 ms.
        command.env("NOTIFY_SOCKET", notify).env("WATCHDOG_USEC", "200000").env_remove("WATCHDOG_PID");
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The next word to the manager.
async fn word(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 256];
    let length = within("a word to the service manager", socket.recv(&mut bytes)).await.unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

/// The next word that is no sign of life.
async fn news(socket: &UnixDatagram) -> String {
    loop {
        let word = word(socket).await;
        if word.trim() != "WATCHDOG=1" {
            return word.trim().to_owned();
        }
    }
}

#[tokio::test]
async fn the_service_manager_is_told_what_the_server_is_at() {
    let dir = tempfile::tempdir().unwrap();
    let notify = dir.path().join("notify");
    let socket = UnixDatagram::bind(&notify).unwrap();
    let mut served = Served::start(dir.path(), &notify);
    assert_eq!(word(&socket).await.trim(), "READY=1", "nothing is said before");
    assert_eq!(word(&socket).await.trim(), "WATCHDOG=1");
    assert_eq!(word(&socket).await.trim(), "WATCHDOG=1", "and again");

    served.signal(Signal::HUP);
    let reloading = news(&socket).await;
    let at = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{reloading}"));
    assert!(at.parse::<u64>().unwrap() > 0);
    assert_eq!(news(&socket).await, "READY=1");

    served.signal(Signal::TERM);
    assert_eq!(news(&socket).await, "STOPPING=1");
    let ended = tokio::task::spawn_blocking(move || served.0.wait());
    assert!(within("the end", ended).await.unwrap().unwrap().success());
}

async fn healthcheck(arguments: &[&str]) -> Told {
    let mut command = Command::new(BINARY);
    command.arg("healthcheck").args(arguments).env_remove("PORCHLIGHT_CONFIG");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    told(command, "").await
}

#[tokio::test]
async fn a_healthcheck_ends_as_the_server_is() {
    let site = Site::start().await;
    let ops = site.running.ops.to_string();
    healthcheck(&["--addr", &ops]).await.good().says("ok");
    healthcheck(&["--addr", &ops, "--ready"]).await.good().says("ok");
    let dir = tempfile::tempdir().unwrap();
    let settings = dir.path().join("porchlight.toml");
    std::fs::write(&settings, format!("[ops]\naddr = \"0.0.0.0:{}\"\n", site.running.ops.port())).unwrap();
    healthcheck(&["--config", settings.to_str().unwrap()]).await.good().says("ok");
}

#[tokio::test]
async fn a_healthcheck_fails_where_nobody_is_well() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let draining = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 256];
        let length = stream.read(&mut head).await.unwrap();
        assert!(head[..length].starts_with(b"GET /readyz HTTP/1.1\r\n"));
        let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 8\r\n\r\ndraining";
        stream.write_all(answer.as_bytes()).await.unwrap();
    };
    let arguments = ["--addr", &addr, "--ready"];
    let (told, ()) = tokio::join!(healthcheck(&arguments), draining);
    told.refused(1, "answers 503, draining");
    drop(listener);
    healthcheck(&["--addr", &addr]).await.refused(1, "no server answers");
}
