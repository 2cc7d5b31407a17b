//! `porchlight doctor`: what it finds well, and what it does not.

use std::process::Command;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use crate::common::Site;
use crate::common::cli::BINARY;
use crate::common::redis::Redis;

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
