//! `porchlight doctor`: what it finds well, and what it does not.

use std::fs::{Permissions, create_dir, set_permissions, write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use crate::common::Site;
use crate::common::cli::BINARY;
use crate::common::redis::Redis;
use crate::public_tls::{Pair, site};

/// What it says with these settings, and whether all is well.
async fn doctor(settings: &[(&str, String)], flags: &[&str]) -> (bool, String) {
    let mut command = Command::new(BINARY);
    command.arg("doctor").args(flags);
    for which in ["public", "ops", "admin"] {
        command.env(format!("PORCHLIGHT__{}__ADDR", which.to_uppercase()), "127.0.0.1:0");
    }
    for (name, value) in settings {
        command.env(name, value);
    }
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (done.status.success(), String::from_utf8(done.stdout).unwrap())
}

#[track_caller]
fn says(told: &str, state: &str, what: &str, text: &str) {
    let found = told.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(state) && words.next() == Some(what) && line.contains(text)
    });
    assert!(found, "{state} {what} {text} in:\n{told}");
}

#[tokio::test]
async fn what_is_well_is_said_to_be() {
    let site = Site::start().await;
    let url = format!("http://{}", site.running.public);
    let (well, told) = doctor(&[("PORCHLIGHT__PUBLIC__URL", url.clone())], &[]).await;
    assert!(well, "{told}");
    says(&told, "good", "settings", "");
    says(&told, "good", "public.addr", "is free");
    says(&told, "look", "public.url", &url);
    let taken = [("PORCHLIGHT__OPS__ADDR", site.running.ops.to_string())];
    let (well, told) = doctor(&taken, &[]).await;
    assert!(well, "{told}");
    says(&told, "look", "ops.addr", "in use");
}

#[tokio::test]
async fn what_is_not_is_told_all_at_once() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
    let (cert, secret) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&secret, key.serialize_pem()).unwrap();
    let settings = [
        ("PORCHLIGHT__PUBLIC__URL", format!("https://{closed}")),
        ("PORCHLIGHT__PUBLIC__ADDR", "192.0.2.1:7400".to_owned()),
        ("PORCHLIGHT__PUBLIC__TLS_CERT", cert.display().to_string()),
        ("PORCHLIGHT__PUBLIC__TLS_KEY", secret.display().to_string()),
        ("PORCHLIGHT__REDIS__URL", format!("redis://{closed}/")),
        ("PORCHLIGHT__LIMITS__CONNECTIONS", "4000000000".to_owned()),
        ("PORCHLIGHT__LIMITS__DEAD_AFTER", "1s".to_owned()),
    ];
    let (well, told) = doctor(&settings, &[]).await;
    assert!(!well, "{told}");
    says(&told, "bad", "settings", "limits.dead_after");
    says(&told, "bad", "file", "not for 4000000000");
    says(&told, "bad", "public.addr", "192.0.2.1:7400");
    says(&told, "bad", "public.tls_cert", "has expired");
    says(&told, "bad", "redis", "");
    says(&told, "bad", "public.url", "nobody answers there");
}

/// Asks as a browser does: by name, over TLS, of an authority that it trusts.
#[tokio::test]
async fn the_address_of_browsers_is_asked_over_tls() {
    let pair = Pair::new();
    let (site, dir) = site(&pair, |_| ()).await;
    let port = site.running.public.port();
    let authority = dir.path().join("cert.pem").display().to_string();
    let named = |host: &str| [("PORCHLIGHT__PUBLIC__URL", format!("https://{host}:{port}"))];
    let (well, told) = doctor(&named("localhost"), &["--public-ca", &authority]).await;
    assert!(well, "{told}");
    says(&told, "good", "public.url", &format!("https://localhost:{port} answers"));

    let (well, told) = doctor(&named("localhost"), &[]).await;
    assert!(!well, "{told}");
    says(&told, "bad", "public.url", "TLS fails");
    let (well, told) = doctor(&named("127.0.0.1"), &["--public-ca", &authority]).await;
    assert!(!well, "it is in the certificate by its name alone: {told}");
    says(&told, "bad", "public.url", "TLS fails");
    let other = tempfile::tempdir().unwrap();
    Pair::new().lay(other.path());
    let stranger = other.path().join("cert.pem").display().to_string();
    let (well, told) = doctor(&named("localhost"), &["--public-ca", &stranger]).await;
    assert!(!well, "{told}");
    says(&told, "bad", "public.url", "TLS fails");
}

#[tokio::test]
async fn where_the_data_is_must_be_writable_and_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &Path| [("PORCHLIGHT__STORE__DATA_DIR", path.display().to_string())];
    let what = "store.data_dir";

    let missing = dir.path().join("not/yet");
    let (well, told) = doctor(&at(&missing), &[]).await;
    assert!(well, "{told}");
    says(&told, "good", what, "can be made");
    assert!(!dir.path().join("not").exists(), "nothing is changed");

    let data = dir.path().join("data");
    create_dir(&data).unwrap();
    for (mode, state, text) in [
        (0o700, "good", "nobody else has access"),
        (0o750, "look", "others may read what is in it (mode 750)"),
        (0o777, "bad", "others may change what is in it (mode 777)"),
    ] {
        set_permissions(&data, Permissions::from_mode(mode)).unwrap();
        let (well, told) = doctor(&at(&data), &[]).await;
        assert_eq!(well, state != "bad", "{told}");
        says(&told, state, what, text);
    }
    set_permissions(&data, Permissions::from_mode(0o700)).unwrap();
    write(data.join("master.key"), "x").unwrap();
    set_permissions(data.join("master.key"), Permissions::from_mode(0o644)).unwrap();
    let (well, told) = doctor(&at(&data), &[]).await;
    assert!(!well, "{told}");
    says(&told, "bad", what, "others may read the master secret");

    let (well, told) = doctor(&at(&data.join("master.key")), &[]).await;
    assert!(!well, "{told}");
    says(&told, "bad", what, "is no directory");
    // Nobody can write there, or what is written has no room.
    let (well, told) = doctor(&at(Path::new("/proc/self/data")), &[]).await;
    assert!(!well, "{told}");
    says(&told, "bad", what, "/proc/self/data: ");
}

#[tokio::test]
async fn redis_is_looked_at_with_its_clock_and_its_policy() {
    let redis = Redis::alone().await;
    let settings = [("PORCHLIGHT__REDIS__URL", redis.url())];
    let (well, told) = doctor(&settings, &[]).await;
    assert!(well, "{told}");
    says(&told, "good", "redis", "evicts nothing");
    says(&told, "good", "clock", "apart");
    let mut policy = ::redis::cmd("CONFIG");
    policy.arg("SET").arg("maxmemory-policy").arg("allkeys-lru");
    policy.exec_async(&mut redis.connect().await).await.unwrap();
    let (well, told) = doctor(&settings, &[]).await;
    assert!(!well, "{told}");
    says(&told, "bad", "redis", "allkeys-lru");
}
