//! Behind a trusted proxy limits by address count the proxy's clients, and nobody can say they are somebody else.

use crate::common::http::{Answer, exchange};
use crate::common::{Site, json};
use porchlight::config::{Config, ForwardedHeader};

fn trust_this_machine(config: &mut Config) {
    config.public.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
}

/// A guest's try with a key that nobody has, with a line of a proxy that says whom it saw.
async fn wrong_key(site: &Site, line: &str) -> Answer {
    let body = json!({"sessionKey": "123456789"}).to_string();
    let request = format!(
        "POST /v1/guest HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         {line}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(site.running.public, &request).await
}

#[tokio::test]
async fn a_guesser_behind_a_proxy_is_locked_and_others_are_not() {
    let site = Site::with(trust_this_machine).await;
    for at in 0..10 {
        let made_up = format!("x-forwarded-for: 203.0.113.{at}, 198.51.100.7, 127.0.0.9");
        let answer = wrong_key(&site, &made_up).await;
        assert_eq!(answer.status, 404, "{answer:?}");
    }
    let made_up = "x-forwarded-for: 203.0.113.99\r\nx-forwarded-for: 198.51.100.7";
    assert_eq!(wrong_key(&site, made_up).await.status, 429, "made-up addresses help nobody");
    // Nor does the header that these proxies don't write.
    let other = "forwarded: for=203.0.113.99\r\nx-forwarded-for: 198.51.100.7";
    assert_eq!(wrong_key(&site, other).await.status, 429);
    let neighbour = "x-forwarded-for: 198.51.100.7, 198.51.100.8";
    assert_eq!(wrong_key(&site, neighbour).await.status, 404, "another client is not locked");
}

#[tokio::test]
async fn the_standard_header_tells_it_as_well() {
    let site = Site::with(|config| {
        trust_this_machine(config);
        config.public.forwarded_header = ForwardedHeader::Forwarded;
    })
    .await;
    for at in 0..10 {
        let made_up = format!("forwarded: for=203.0.113.{at}, for=\"[2001:db8::7]:{at}\"");
        assert_eq!(wrong_key(&site, &made_up).await.status, 404);
    }
    assert_eq!(wrong_key(&site, "forwarded: for=\"[2001:db8::7]\"").await.status, 429);
    assert_eq!(wrong_key(&site, "forwarded: for=\"[2001:db8:0:1::7]\"").await.status, 404);
}

#[tokio::test]
async fn what_cannot_be_read_counts_for_the_proxy() {
    let site = Site::with(trust_this_machine).await;
    let long = "1".repeat(4000);
    let junk = ["x: y", "x-forwarded-for: ", "x-forwarded-for: unknown", &format!("x-forwarded-for: {long}")];
    for line in junk.into_iter().cycle().take(10) {
        assert_eq!(wrong_key(&site, line).await.status, 404, "{line}");
    }
    assert_eq!(wrong_key(&site, "x-forwarded-for: 198.51.100.7, junk").await.status, 429);
    assert_eq!(wrong_key(&site, "x-forwarded-for: 198.51.100.7").await.status, 404);
    let endless = format!("x-forwarded-for: {}", "1".repeat(9000));
    assert_eq!(wrong_key(&site, &endless).await.status, 431);
}

#[tokio::test]
async fn what_others_say_of_themselves_counts_for_nothing() {
    let site = Site::start().await;
    for at in 0..10 {
        assert_eq!(wrong_key(&site, &format!("x-forwarded-for: 198.51.100.{at}")).await.status, 404);
    }
    assert_eq!(wrong_key(&site, "x-forwarded-for: 198.51.100.99").await.status, 429);
}
