//! Login keys: how a company's CRM signs its people in without a password.
//!
//! Decides whether a login key is genuine and in time. Does not decide whether the agent exists or
//! whether the group has SSO switched on. `$1$<exp>$<sig>`, 57 characters, byte for byte as CRMs in the
//! field mint them; the API key's secret is used as the text that it is.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::clock::Wall;
use crate::limits;

/// The only version there is; part of the text and of the signed message.
const VERSION: &str = "1";

/// Characters of a login key: `$1$`, ten digits, `$`, and 32 bytes in base64 without padding.
pub const LENGTH: usize = 57;

/// Why a login key was refused. For logs: the answer to the outside is one and the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginKeyError {
    /// Not of the form `$1$<exp>$<sig>` with 57 characters.
    #[error("login key is malformed")]
    Malformed,
    /// No live API key of the group signed it for this agent.
    #[error("login key is signed by no live api key of the group")]
    NotGenuine,
    /// Its time is over.
    #[error("login key has expired")]
    Expired,
    /// It would live longer than a day.
    #[error("login key expires more than one day ahead")]
    TooFarAhead,
}

/// Mints a login key that expires at `expires` (Unix seconds).
pub fn mint(secret: &str, group: &str, partner_user_id: &str, expires: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, message(group, partner_user_id, expires).as_bytes());
    format!("${VERSION}${expires}${}", super::base64url(tag.as_ref()))
}

/// A login key that is genuine and in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Genuine {
    /// When it expires, in Unix seconds.
    pub expires: u64,
    /// Which of the secrets signed it.
    pub secret: usize,
}

/// Checks a login key against every live secret of the group.
///
/// Valid while `now < exp <= now + 1 day`. The edges are sharp, because the contract names them: what a
/// CRM's clock may be ahead has to come out of the day. All secrets are tried, also after a match.
pub fn verify<'a>(
    secrets: impl IntoIterator<Item = &'a str>,
    group: &str,
    partner_user_id: &str,
    login_key: &str,
    now: Wall,
) -> Result<Genuine, LoginKeyError> {
    let (expires, signature) = parse(login_key).ok_or(LoginKeyError::Malformed)?;
    let message = message(group, partner_user_id, expires);
    let mut signer = None;
    for (at, secret) in secrets.into_iter().enumerate() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        // `verify` compares the decoded bytes in constant time.
        if hmac::verify(&key, message.as_bytes(), &signature).is_ok() {
            signer = Some(at);
        }
    }
    // The signature comes first: only the holder of a key learns from the logs that a time was wrong.
    let secret = signer.ok_or(LoginKeyError::NotGenuine)?;
    let now = now.unix_seconds();
    if expires <= now {
        return Err(LoginKeyError::Expired);
    }
    if expires > now + limits::TOKEN_AHEAD.as_secs() {
        return Err(LoginKeyError::TooFarAhead);
    }
    Ok(Genuine { expires, secret })
}

fn message(group: &str, partner_user_id: &str, expires: u64) -> String {
    format!("{group}{partner_user_id}{VERSION}{expires}")
}

fn parse(login_key: &str) -> Option<(u64, Vec<u8>)> {
    if login_key.len() != LENGTH {
        return None;
    }
    let (expires, signature) = login_key.strip_prefix("$1$")?.split_once('$')?;
    let number: u64 = expires.parse().ok()?;
    // One spelling only: signs and leading zeros would let one signature stand for two messages.
    if number.to_string() != expires {
        return None;
    }
    // Both alphabets are in the field; the decoder refuses everything else, stray bits included.
    let signature = STANDARD_NO_PAD.decode(signature.replace('-', "+").replace('_', "/")).ok()?;
    (signature.len() == 32).then_some((number, signature))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &str = "test-api-key";
    const GROUP: &str = "12345";
    const USER: &str = "005xx0000012Q9z";
    const VECTORS: [(u64, &str); 2] = [
        (1_893_456_000, "$1$1893456000$A4T6xaGXGDO5vs8hsokgVcheUgZuZ6Ujh6MbTofJNYs"),
        (1_893_456_003, "$1$1893456003$E9nvUvMPlZzDTLXjp__Kw3kiqS2bbA2EdHfFrg6d-4E"),
    ];

    fn at(seconds: u64) -> Wall {
        Wall(seconds * 1000)
    }

    fn check(login_key: &str, now: u64) -> Result<u64, LoginKeyError> {
        verify([SECRET], GROUP, USER, login_key, at(now)).map(|genuine| genuine.expires)
    }

    #[test]
    fn vectors() {
        for (expires, text) in VECTORS {
            assert_eq!(mint(SECRET, GROUP, USER, expires), text);
            assert_eq!(text.len(), LENGTH);
            assert_eq!(check(text, expires - 60), Ok(expires));
        }
    }

    #[test]
    fn plain_base64_is_accepted() {
        let (expires, text) = VECTORS[1];
        let plain = text.replace('-', "+").replace('_', "/");
        assert_ne!(plain, text);
        assert_eq!(check(&plain, expires - 60), Ok(expires));
    }

    #[test]
    fn the_window_has_sharp_edges() {
        let day = 86_400;
        for (expires, text) in VECTORS {
            for (now, wanted) in [
                (expires - 1, Ok(expires)),
                (expires, Err(LoginKeyError::Expired)),
                (expires + 1, Err(LoginKeyError::Expired)),
                (expires - day, Ok(expires)),
                (expires - day - 1, Err(LoginKeyError::TooFarAhead)),
                // A clock half a minute off in either direction moves the edges and does not blur them.
                (expires - 30, Ok(expires)),
                (expires + 30, Err(LoginKeyError::Expired)),
                (expires - day + 30, Ok(expires)),
                (expires - day - 30, Err(LoginKeyError::TooFarAhead)),
            ] {
                assert_eq!(check(text, now), wanted, "{now}");
            }
        }
    }

    #[test]
    fn malformed_keys() {
        let (expires, good) = VECTORS[1];
        let signature = &good[14..];
        for bad in [
            "",
            "$1$",
            &good[..56],
            &good[1..],
            &format!("{good}="),
            &format!("{good}A"),
            &good.replacen("$1$", "$2$", 1),
            &good.replace('_', "*"),
            &good.replace('_', "é"),
            &format!("$1$+893456003${signature}"),
            &format!("$1$0893456003${signature}"),
            &format!("$1$18934560x3${signature}"),
            // The last character carries two bits that must be zero.
            &format!("{}F", &good[..56]),
        ] {
            assert_eq!(check(bad, expires - 60), Err(LoginKeyError::Malformed), "{bad}");
        }
    }

    #[test]
    fn anything_else_signed_is_not_genuine() {
        let (expires, text) = VECTORS[0];
        let now = at(expires - 60);
        let none: [&str; 0] = [];
        assert_eq!(verify(["other"], GROUP, USER, text, now), Err(LoginKeyError::NotGenuine));
        assert_eq!(verify([SECRET], "12346", USER, text, now), Err(LoginKeyError::NotGenuine));
        assert_eq!(verify([SECRET], GROUP, "005xx0000012Q9y", text, now), Err(LoginKeyError::NotGenuine));
        assert_eq!(verify(none, GROUP, USER, text, now), Err(LoginKeyError::NotGenuine));
        let moved = text.replace("1893456000", "1893456001");
        assert_eq!(check(&moved, expires - 60), Err(LoginKeyError::NotGenuine));
    }

    #[test]
    fn each_live_key_is_tried() {
        let (expires, text) = VECTORS[0];
        for (keys, secret) in [(["other", SECRET], 1), ([SECRET, "other"], 0)] {
            let wanted = Ok(Genuine { expires, secret });
            assert_eq!(verify(keys, GROUP, USER, text, at(expires - 60)), wanted);
        }
    }

    proptest! {
        #[test]
        fn junk_never_panics(text in ".{0,80}", now in 0u64..4_000_000_000) {
            prop_assert!(check(&text, now).is_err());
        }

        #[test]
        fn one_changed_character_is_refused(at in 0usize..LENGTH, to in "[A-Za-z0-9$_-]") {
            let (expires, good) = VECTORS[0];
            let mut bad = good.to_owned();
            bad.replace_range(at..=at, &to);
            prop_assume!(bad != good);
            prop_assert!(check(&bad, expires - 60).is_err());
        }
    }
}
