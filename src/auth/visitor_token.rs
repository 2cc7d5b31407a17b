//! Visitor tokens: how a company's back end vouches for the visitor ID that a page names.
//!
//! Decides whether a token is signed by one of the group's live API keys, for this very visitor, and in
//! time. JWT, HS256 only: `kid` names the API key, whose secret as text is the HMAC key; `aud` is
//! `visitor`, `sub` the visitor ID, `exp` at most 24 hours ahead, `nbf` honoured. Minted by others, so
//! their clocks may differ from ours by [`limits::CLOCK_SKEW`] where a time lies ahead; an expired token
//! is expired.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::Refused;
use super::api_key::ApiKeySecret;
use crate::clock::Wall;
use crate::ids::{KeyId, VisitorId};
use crate::limits;

/// For whom visitor tokens are.
pub const AUDIENCE: &str = "visitor";

#[derive(Serialize, Deserialize)]
struct Claims {
    #[serde(default, skip_serializing)]
    nbf: Option<u64>,
    sub: VisitorId,
    exp: u64,
}

#[derive(Serialize)]
struct Minted<'a> {
    aud: &'static str,
    #[serde(flatten)]
    claims: &'a Claims,
}

/// Mints a token as a company's back end does; for the `token` command, the demo site and tests.
pub fn mint(key: &KeyId, secret: &ApiKeySecret, visitor: &VisitorId, expires: u64) -> String {
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(key.as_str().to_owned());
    let claims = Claims { nbf: None, sub: visitor.clone(), exp: expires };
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    jsonwebtoken::encode(&header, &Minted { aud: AUDIENCE, claims: &claims }, &key)
        .expect("claims are plain JSON, the key is HMAC")
}

/// Checks a token for this visitor; `live` finds the secret of a live API key of the visitor's group.
/// Returns when it expires.
pub fn verify<'a>(
    live: impl FnOnce(&str) -> Option<&'a ApiKeySecret>,
    visitor: &VisitorId,
    token: &str,
    now: Wall,
) -> Result<Wall, Refused> {
    let header = jsonwebtoken::decode_header(token).map_err(refusal)?;
    let typed = header.typ.as_deref().is_none_or(|typ| typ.eq_ignore_ascii_case("JWT"));
    if !typed || header.crit.is_some() {
        return Err(Refused::Malformed);
    }
    let secret = live(header.kid.as_deref().ok_or(Refused::Malformed)?).ok_or(Refused::NotGenuine)?;
    let mut validation = validation(AUDIENCE);
    validation.set_required_spec_claims(&["aud", "sub", "exp"]);
    let key = DecodingKey::from_secret(secret.expose().as_bytes());
    let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation).map_err(refusal)?.claims;
    if &claims.sub != visitor {
        return Err(Refused::OtherSubject);
    }
    let (now, skew) = (now.unix_seconds(), limits::CLOCK_SKEW.as_secs());
    if claims.exp <= now {
        return Err(Refused::Expired);
    }
    if claims.exp > now + limits::TOKEN_AHEAD.as_secs() + skew {
        return Err(Refused::TooFarAhead);
    }
    if claims.nbf.is_some_and(|from| from > now + skew) {
        return Err(Refused::NotYet);
    }
    Ok(Wall(claims.exp.saturating_mul(1000)))
}

/// What both kinds of token share: HS256 and nothing else, one audience. Times are checked by the
/// callers, to whom time is an argument.
pub(super) fn validation(audience: &str) -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&[audience]);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation
}

/// What the JWT library's error means to us.
pub(super) fn refusal(error: jsonwebtoken::errors::Error) -> Refused {
    match error.kind() {
        ErrorKind::InvalidSignature => Refused::NotGenuine,
        _ => Refused::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::secret::MasterSecret;
    use crate::ids::GroupId;
    use serde_json::{Value, json};

    const NOW: u64 = 1_800_000_000;
    const DAY: u64 = 86_400;

    fn key() -> KeyId {
        KeyId::new("k1").unwrap()
    }

    fn secret(byte: u8) -> ApiKeySecret {
        ApiKeySecret::derive(&MasterSecret::from_bytes([byte; 32]), &GroupId::new("g").unwrap(), &key())
    }

    fn visitor(name: &str) -> VisitorId {
        VisitorId::new(name).unwrap()
    }

    fn check(token: &str) -> Result<Wall, Refused> {
        let live = secret(1);
        verify(|kid| (kid == "k1").then_some(&live), &visitor("C-1"), token, Wall(NOW * 1000))
    }

    fn signed(kid: Option<&str>, typ: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = kid.map(str::to_owned);
        header.typ = typ.map(str::to_owned);
        let key = EncodingKey::from_secret(secret(1).expose().as_bytes());
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    }

    #[test]
    fn times() {
        for (ahead, wanted) in [
            (-1, Err(Refused::Expired)),
            (0, Err(Refused::Expired)),
            (1, Ok(())),
            (DAY as i64, Ok(())),
            (DAY as i64 + 30, Ok(())),
            (DAY as i64 + 31, Err(Refused::TooFarAhead)),
        ] {
            let token = mint(&key(), &secret(1), &visitor("C-1"), NOW.saturating_add_signed(ahead));
            assert_eq!(check(&token).map(|_| ()), wanted, "{ahead}");
        }
        let token = mint(&key(), &secret(1), &visitor("C-1"), u64::MAX);
        assert_eq!(check(&token), Err(Refused::TooFarAhead));
    }

    #[test]
    fn vouches_for_one_visitor_only() {
        let token = mint(&key(), &secret(1), &visitor("C-2"), NOW + 60);
        assert_eq!(check(&token), Err(Refused::OtherSubject));
    }

    #[test]
    fn another_key_is_refused() {
        let wrong = mint(&key(), &secret(2), &visitor("C-1"), NOW + 60);
        assert_eq!(check(&wrong), Err(Refused::NotGenuine));
        let unknown = mint(&KeyId::new("k2").unwrap(), &secret(1), &visitor("C-1"), NOW + 60);
        assert_eq!(check(&unknown), Err(Refused::NotGenuine));
    }

    #[test]
    fn headers_and_claims() {
        let good = json!({"aud":"visitor","sub":"C-1","exp":NOW+60});
        let with = |field: &str, value: Value| {
            let mut claims = good.clone();
            claims[field] = value;
            claims
        };
        let rows = [
            ("typ absent", signed(Some("k1"), None, &good), None),
            ("typ lower case", signed(Some("k1"), Some("jwt"), &good), None),
            ("audience list", signed(Some("k1"), None, &with("aud", json!(["visitor", "x"]))), None),
            ("nbf within skew", signed(Some("k1"), None, &with("nbf", json!(NOW + 30))), None),
            ("nbf", signed(Some("k1"), None, &with("nbf", json!(NOW + 31))), Some(Refused::NotYet)),
            ("other typ", signed(Some("k1"), Some("agent+jwt"), &good), Some(Refused::Malformed)),
            ("no kid", signed(None, None, &good), Some(Refused::Malformed)),
            ("other aud", signed(Some("k1"), None, &with("aud", json!("agent"))), Some(Refused::Malformed)),
            (
                "no aud",
                signed(Some("k1"), None, &json!({"sub":"C-1","exp":NOW+60})),
                Some(Refused::Malformed),
            ),
            (
                "no exp",
                signed(Some("k1"), None, &json!({"aud":"visitor","sub":"C-1"})),
                Some(Refused::Malformed),
            ),
            (
                "no sub",
                signed(Some("k1"), None, &json!({"aud":"visitor","exp":NOW+60})),
                Some(Refused::Malformed),
            ),
        ];
        for (name, token, wanted) in rows {
            assert_eq!(check(&token).err(), wanted, "{name}");
        }
    }

    #[test]
    fn junk_is_refused() {
        for junk in ["", "..", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
            assert_eq!(check(junk), Err(Refused::Malformed), "{junk}");
        }
    }
}
