//! Agent tokens: what a signed-in agent shows with each connection.
//!
//! Decides whether a token was issued by this server (or one with the same master secret) and is in time.
//! Does not decide whether the agent still exists or was signed out: the caller compares `generation`
//! with the agent's current one. JWT, HS256 only; a header's `jku`, `jwk`, `x5u` and `kid` are ignored.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::Refused;
use super::permissions::Permissions;
use super::secret::MasterSecret;
use crate::clock::Wall;
use crate::ids::{AgentId, GroupId};

/// Who issues agent tokens.
pub const ISSUER: &str = "porchlight";
/// For whom agent tokens are.
pub const AUDIENCE: &str = "agent";
/// The kind of token in its header, so that no other JWT under any of our keys can pass for one.
pub const TYPE: &str = "agent+jwt";

/// What an agent token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentClaims {
    /// The agent.
    pub sub: AgentId,
    /// Its group.
    pub group: GroupId,
    /// Its profile when the token was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Its permissions when the token was issued.
    #[serde(default)]
    pub permissions: Permissions,
    /// When it was issued, in Unix seconds.
    pub iat: u64,
    /// When it expires, in Unix seconds.
    pub exp: u64,
    /// When the agent last proved who it is, in Unix seconds; renewals keep it.
    pub auth_time: u64,
    /// Whether the agent proved it by a login key; renewals keep it, and need single sign-on to be on still.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sso: bool,
    /// The agent's token generation; raised to revoke.
    pub generation: u64,
}

/// Mints and checks agent tokens under a key derived from the master secret.
pub struct AgentTokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

/// The claims as they travel.
#[derive(Serialize)]
struct Minted<'a> {
    iss: &'static str,
    aud: &'static str,
    #[serde(flatten)]
    claims: &'a AgentClaims,
}

impl AgentTokens {
    /// The token key of this server.
    pub fn new(master: &MasterSecret) -> Self {
        let key = master.derive("agent-token", &[]);
        let mut validation = super::visitor_token::validation(AUDIENCE);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        Self {
            encoding: EncodingKey::from_secret(&key),
            decoding: DecodingKey::from_secret(&key),
            validation,
        }
    }

    /// Mints a token.
    pub fn mint(&self, claims: &AgentClaims) -> String {
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TYPE.to_owned());
        let minted = Minted { iss: ISSUER, aud: AUDIENCE, claims };
        jsonwebtoken::encode(&header, &minted, &self.encoding)
            .expect("claims are plain JSON, the key is HMAC")
    }

    /// Checks a token. Its expiry is sharp: all of it is measured by our own clock.
    pub fn verify(&self, token: &str, now: Wall) -> Result<AgentClaims, Refused> {
        let data = jsonwebtoken::decode::<AgentClaims>(token, &self.decoding, &self.validation)
            .map_err(super::visitor_token::refusal)?;
        if data.header.typ.as_deref() != Some(TYPE) || data.header.crit.is_some() {
            return Err(Refused::Malformed);
        }
        if data.claims.exp <= now.unix_seconds() {
            return Err(Refused::Expired);
        }
        Ok(data.claims)
    }
}

impl std::fmt::Debug for AgentTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AgentTokens(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    const NOW: u64 = 1_800_000_000;

    fn tokens() -> AgentTokens {
        AgentTokens::new(&MasterSecret::from_bytes([9; 32]))
    }

    fn claims() -> AgentClaims {
        AgentClaims {
            sub: AgentId::new("alice").unwrap(),
            group: GroupId::new("demo").unwrap(),
            profile: Some("Support".to_owned()),
            permissions: Permissions { user: true, ..Default::default() },
            iat: NOW,
            exp: NOW + 3600,
            auth_time: NOW,
            sso: false,
            generation: 3,
        }
    }

    fn at(seconds: u64) -> Wall {
        Wall(seconds * 1000)
    }

    /// A token with other header fields and claims, correctly signed by the server's key.
    fn forged(header: impl FnOnce(&mut Header), change: impl FnOnce(&mut Value)) -> String {
        let minted = Minted { iss: ISSUER, aud: AUDIENCE, claims: &claims() };
        let mut value = serde_json::to_value(minted).unwrap();
        change(&mut value);
        let mut head = Header::new(Algorithm::HS256);
        head.typ = Some(TYPE.to_owned());
        header(&mut head);
        let key = MasterSecret::from_bytes([9; 32]).derive("agent-token", &[]);
        jsonwebtoken::encode(&head, &value, &EncodingKey::from_secret(&key)).unwrap()
    }

    #[test]
    fn what_was_minted_is_read() {
        let token = tokens().mint(&claims());
        assert_eq!(tokens().verify(&token, at(NOW)), Ok(claims()));
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(
            payload,
            json!({"iss":"porchlight","aud":"agent","sub":"alice","group":"demo","profile":"Support",
                   "permissions":["user"],"iat":NOW,"exp":NOW+3600,"auth_time":NOW,"generation":3})
        );
    }

    #[test]
    fn a_token_that_came_by_a_login_key_says_so() {
        let by_login_key = AgentClaims { sso: true, ..claims() };
        assert_eq!(tokens().verify(&tokens().mint(&by_login_key), at(NOW)), Ok(by_login_key));
    }

    #[test]
    fn expiry_is_sharp() {
        let token = tokens().mint(&claims());
        assert!(tokens().verify(&token, at(NOW + 3599)).is_ok());
        assert_eq!(tokens().verify(&token, at(NOW + 3600)), Err(Refused::Expired));
    }

    #[test]
    fn another_server_is_refused() {
        let other = AgentTokens::new(&MasterSecret::from_bytes([8; 32]));
        assert_eq!(tokens().verify(&other.mint(&claims()), at(NOW)), Err(Refused::NotGenuine));
    }

    #[test]
    fn wrong_headers_and_claims_are_refused() {
        type Change = fn(&mut Value);
        let set: [(&str, Change); 9] = [
            ("iss", |v| v["iss"] = json!("other")),
            ("aud", |v| v["aud"] = json!("visitor")),
            ("no iss", |v| drop(v.as_object_mut().unwrap().remove("iss"))),
            ("no aud", |v| drop(v.as_object_mut().unwrap().remove("aud"))),
            ("no sub", |v| drop(v.as_object_mut().unwrap().remove("sub"))),
            ("no exp", |v| drop(v.as_object_mut().unwrap().remove("exp"))),
            ("no generation", |v| drop(v.as_object_mut().unwrap().remove("generation"))),
            ("exp text", |v| v["exp"] = json!("9999999999")),
            ("bad group", |v| v["group"] = json!("a b")),
        ];
        for (name, change) in set {
            assert_eq!(tokens().verify(&forged(|_| {}, change), at(NOW)), Err(Refused::Malformed), "{name}");
        }
        for (name, typ) in [("absent", None), ("plain", Some("JWT".to_owned()))] {
            let token = forged(|head| head.typ = typ, |_| {});
            assert_eq!(tokens().verify(&token, at(NOW)), Err(Refused::Malformed), "{name}");
        }
        let critical = forged(|head| head.crit = Some(vec!["b64".to_owned()]), |_| {});
        assert_eq!(tokens().verify(&critical, at(NOW)), Err(Refused::Malformed));
        let pointing = forged(|head| head.jku = Some("https://evil.example/keys".to_owned()), |_| {});
        assert!(tokens().verify(&pointing, at(NOW)).is_ok(), "a key address is ignored");
    }

    #[test]
    fn other_algorithms_are_refused() {
        let payload = tokens().mint(&claims()).split('.').nth(1).unwrap().to_owned();
        for alg in ["none", "HS384", "RS256", "ES256"] {
            let head = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}","typ":"{TYPE}"}}"#));
            for signature in ["", "AAAA"] {
                let token = format!("{head}.{payload}.{signature}");
                assert!(tokens().verify(&token, at(NOW)).is_err(), "{alg}");
            }
        }
    }

    #[test]
    fn junk_is_refused() {
        for junk in ["", ".", "..", "a.b.c", "Bearer x", &"x".repeat(10_000)] {
            assert_eq!(tokens().verify(junk, at(NOW)), Err(Refused::Malformed), "{}", junk.len());
        }
    }
}
