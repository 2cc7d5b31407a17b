//! Webhooks by the Standard Webhooks specification: one request for one letter, signed with HMAC-SHA256.
//!
//! Decides how a request is signed and which answers count. What is not an answer of the 200s was not taken;
//! no redirect is followed. Where a request may go, `reach` decides.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode};

use super::Trouble;
use super::letter::Letter;
use super::reach::{Asked, Reach};
use crate::clock::Wall;
use crate::limits;

/// Sends webhooks.
pub(super) struct Webhooks {
    reach: Arc<Reach>,
    within: Duration,
}

impl Webhooks {
    /// Waits for an answer no longer than that.
    pub(super) fn new(reach: Arc<Reach>, within: Duration) -> Self {
        Self { reach, within }
    }

    /// Sends one letter, signed with each of the keys.
    pub(super) async fn send(
        &self,
        url: &str,
        keys: &[[u8; 32]],
        letter: &Letter,
        now: Wall,
    ) -> Result<(), Trouble> {
        // The status counts; the rest is courtesy to the connection.
        let asked = Asked { time: self.within, answer: limits::WEBHOOK_ANSWER };
        match self.reach.ask(url, request(keys, letter, now), asked).await {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) if answer.status == StatusCode::GONE => {
                Err(Trouble::Gone("answered 410 Gone".to_owned()))
            }
            Ok(answer) => Err(Trouble::Later(format!("answered {}", answer.status), answer.wait)),
            Err(error) => Err(Trouble::Later(error.to_string(), None)),
        }
    }
}

/// The signature of what is sent: `v1,` and the HMAC of `id.timestamp.body`.
fn signature(key: &[u8; 32], id: &str, seconds: u64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut signed = hmac::Context::with_key(&key);
    signed.update(format!("{id}.{seconds}.").as_bytes());
    signed.update(body.as_bytes());
    format!("v1,{}", STANDARD.encode(signed.sign()))
}

fn request(keys: &[[u8; 32]], letter: &Letter, now: Wall) -> Request<Full<Bytes>> {
    let seconds = now.unix_seconds();
    let signatures: Vec<_> =
        keys.iter().map(|key| signature(key, &letter.id, seconds, &letter.body)).collect();
    Request::post("/")
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", &letter.id)
        .header("webhook-timestamp", seconds)
        .header("webhook-signature", signatures.join(" "))
        .body(Full::new(Bytes::from(letter.body.clone())))
        .expect("names, numbers and base64 fit a request")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_the_specifications() {
        // The example of the Standard Webhooks libraries.
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let mut key = [0; 32];
        key[..24].copy_from_slice(&secret);
        let body = r#"{"test": 2432232314}"#;
        // A key shorter than the block is filled with zeros, so that these are the same key.
        assert_eq!(
            signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }
}
