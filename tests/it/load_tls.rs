//! `porchlight load` over TLS: against a trial that serves https, trusting whom it is told to and nobody else.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::cli::{BINARY, Told};
use crate::common::proxy::{Network, Way};
use crate::common::{Site, Value, http};
use crate::public_tls::Pair;

/// Longer than a load gives a server that does not answer.
const PATIENCE: Duration = Duration::from_secs(90);

/// A trial over TLS on this machine.
struct Trial {
    child: Child,
    dir: tempfile::TempDir,
    public: SocketAddr,
    ops: SocketAddr,
}

impl Trial {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Pair::of(&["127.0.0.1"]).lay(dir.path());
        let mut command = Command::new(BINARY);
        command.arg("dev").arg("--data-dir").arg(dir.path());
        for listener in ["--public-addr", "--ops-addr", "--admin-addr"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        command.env("PORCHLIGHT__PUBLIC__TLS_CERT", dir.path().join("cert.pem"));
        command.env("PORCHLIGHT__PUBLIC__TLS_KEY", dir.path().join("key.pem"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let file = dir.path().join("dev.json");
        let told = async {
            loop {
                if let Ok(text) = std::fs::read(&file) {
                    return serde_json::from_slice::<Value>(&text).unwrap();
                }
                tokio::task::yield_now().await;
            }
        };
        let told = tokio::time::timeout(PATIENCE, told).await.unwrap();
        let [public, ops] = ["public", "ops"].map(|name| told[name].as_str().unwrap().parse().unwrap());
        Self { child, dir, public, ops }
    }

    /// Waits until so many visitors are present, and for one answer more: whoever was let in has heard it by then.
    async fn has_present(&self, count: usize) {
        let line = format!("porchlight_visitors_present {count}\n");
        let present = async {
            while !http::get(self.ops, "/metrics").await.body.contains(&line) {}
            http::get(self.ops, "/metrics").await
        };
        tokio::time::timeout(PATIENCE, present).await.unwrap();
    }

    fn dir(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }

    fn cert(&self) -> String {
        self.dir.path().join("cert.pem").to_str().unwrap().to_owned()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn load(line: &str) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("load").args(line.split_whitespace());
    // Whom this machine trusts by itself is none of a test's business.
    command.env("SSL_CERT_FILE", "/nowhere").env("SSL_CERT_DIR", "/nowhere");
    command
}

async fn ended(mut command: Command) -> Told {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
    Told {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

const VISITORS: &str = "visitors --json --count 20 --rate 100 --hold 100ms";
const LAMPS: &str = "lamps --json --visitors 20 --agents 2 --changes-per-second 50 --duration 300ms";
const RELAY: &str = "relay --json --sessions 2 --viewers 2 --fps 20 --duration 300ms";

#[tokio::test]
async fn every_load_runs_over_tls() {
    let trial = Trial::start().await;
    let (dir, cert) = (trial.dir(), trial.cert());
    let of = |load: &str| format!("{load} --dev-json {dir} --ca-file {cert}");
    let visitors = ended(load(&of(VISITORS))).await.good().line();
    assert_eq!((&visitors["stillConnected"], visitors["failed"].as_u64()), (&20.into(), Some(0)));
    let lamps = ended(load(&of(LAMPS))).await.good().line();
    assert_eq!(lamps["missingFinal"], 0, "{lamps}");
    let relay = ended(load(&of(RELAY))).await.good().line();
    assert_eq!(relay["missingFrames"], 0, "{relay}");
    let cluster = "cluster --json --rounds 1 --fps 20 --changes-per-second 50 --duration 300ms";
    let cluster = ended(load(&format!("{cluster} --nodes {dir} {dir} --ca-file {cert}"))).await.good().line();
    assert_eq!(cluster["frameP50Us"]["across"].as_array().unwrap().len(), 1, "{cluster}");
    // Whom the system trusts, it trusts.
    let mut by_system = load(&format!("{VISITORS} --dev-json {dir}"));
    by_system.env("SSL_CERT_FILE", &cert);
    ended(by_system).await.good();
}

#[tokio::test]
async fn visitors_whose_connections_are_cut_come_back_over_tls() {
    let trial = Trial::start().await;
    let way = Way::before(trial.public).await;
    let line = "visitors --json --count 10 --rate 100 --hold 5s";
    let (dir, cert, addr) = (trial.dir(), trial.cert(), way.addr());
    let running =
        tokio::spawn(ended(load(&format!("{line} --dev-json {dir} --ca-file {cert} --url wss://{addr}"))));
    trial.has_present(10).await;
    way.set(Network::Refuses);
    tokio::time::timeout(PATIENCE, way.empty()).await.unwrap();
    way.set(Network::Up);
    let told = running.await.unwrap().good().line();
    assert_eq!((&told["stillConnected"], &told["lost"]), (&10.into(), &0.into()), "{told}");
    let back: u64 = told["reconnects"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert!(back >= 10, "{told}");
}

#[tokio::test]
async fn a_certificate_that_is_not_accepted_is_told_before_anything_is_counted() {
    let trial = Trial::start().await;
    let (dir, cert, port) = (trial.dir(), trial.cert(), trial.public.port());
    let stranger = tempfile::tempdir().unwrap();
    Pair::of(&["127.0.0.1"]).lay(stranger.path());
    let stranger = stranger.path().join("cert.pem");
    let stranger = stranger.to_str().unwrap();
    for kind in [VISITORS, LAMPS, RELAY] {
        let told = ended(load(&format!("{kind} --dev-json {dir} --ca-file {stranger}"))).await;
        let told = told.refused(1, "the server's certificate is not accepted");
        assert!(told.out.is_empty() && told.err.contains("wss://127.0.0.1"), "{told:?}");
    }
    let cluster = format!("cluster --nodes {dir} {dir} --ca-file {stranger}");
    ended(load(&cluster)).await.refused(1, "the server's certificate is not accepted");
    // Of another name.
    let named = format!("{VISITORS} --dev-json {dir} --ca-file {cert} --url wss://localhost:{port}");
    ended(load(&named)).await.refused(1, "the server's certificate is not accepted");
    // Nobody is trusted at all.
    let alone = ended(load(&format!("{VISITORS} --dev-json {dir}"))).await;
    alone.refused(1, "this system trusts no authority; name one with --ca-file");
    let missing = Path::new(dir).join("missing.pem");
    let missing = format!("{VISITORS} --dev-json {dir} --ca-file {}", missing.display());
    ended(load(&missing)).await.refused(1, "missing.pem holds no certificate");
}

#[tokio::test]
async fn tls_is_spoken_where_the_address_says_so_and_nowhere_else() {
    let trial = Trial::start().await;
    let (dir, cert, public) = (trial.dir(), trial.cert(), trial.public);
    let in_clear = format!("{VISITORS} --dev-json {dir} --url ws://{public}");
    ended(load(&format!("{in_clear} --ca-file {cert}"))).await.refused(1, "--ca-file would protect nothing");
    let told = ended(load(&in_clear)).await.refused(1, "0 of 20 visitors are connected at the end");
    assert_eq!(told.line()["failed"], 20, "{told:?}");
    let plain = Site::start().await;
    let secured = format!("{VISITORS} --group demo --ca-file {cert} --url wss://{}", plain.running.public);
    ended(load(&secured)).await.refused(1, "tls:");
}
