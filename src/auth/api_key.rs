//! API keys of a group: what its back ends sign with.
//!
//! Decides how a key's secret follows from the master secret, the group and the key id, so that nothing
//! is stored from which it could be read. Does not decide which keys are live: the store's list does.

use secrecy::{ExposeSecret as _, SecretString};

use super::secret::MasterSecret;
use crate::ids::{GroupId, KeyId};

/// Begins every API key secret, so that people and scanners recognise a leaked one.
pub const PREFIX: &str = "plk_";

/// The secret of an API key: `plk_` and 256 bits in URL-safe base64. Its text as it stands, prefix
/// included, is the key of login-key and visitor-token signatures.
#[derive(Clone)]
pub struct ApiKeySecret(SecretString);

impl ApiKeySecret {
    /// The secret of this key.
    pub fn derive(master: &MasterSecret, group: &GroupId, key: &KeyId) -> Self {
        let bytes = master.derive("api-key", &[group.as_str(), key.as_str()]);
        Self(format!("{PREFIX}{}", super::base64url(&bytes)).into())
    }

    /// The secret as its holder was given it.
    pub fn given(text: String) -> Self {
        Self(text.into())
    }

    /// The text, to be shown once or to sign with.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether the presented text is this secret, in constant time.
    pub fn matches(&self, presented: &str) -> bool {
        super::same_secret(self.expose(), presented)
    }
}

impl std::fmt::Debug for ApiKeySecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKeySecret(hidden)")
    }
}

/// The operator's admin key: `pla_` and 256 bits. It follows from the master secret and is stored nowhere.
pub fn admin_key(master: &MasterSecret) -> SecretString {
    format!("pla_{}", super::base64url(&master.derive("admin-key", &[]))).into()
}

/// A fresh key id. Never given out twice, so that a revoked secret cannot come back.
pub fn fresh_id() -> KeyId {
    id_of(super::random::u128())
}

/// The key id around 128 bits.
pub fn id_of(bits: u128) -> KeyId {
    KeyId::new(&format!("k{bits:032x}")).expect("a letter and hex digits are unreserved")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(group: &str, key: &str) -> ApiKeySecret {
        let master = MasterSecret::from_bytes([1; 32]);
        ApiKeySecret::derive(&master, &GroupId::new(group).unwrap(), &KeyId::new(key).unwrap())
    }

    #[test]
    fn follows_from_group_and_id_alone() {
        assert_eq!(secret("a", "k").expose(), secret("a", "k").expose());
        assert_ne!(secret("a", "k").expose(), secret("b", "k").expose());
        assert_ne!(secret("a", "k").expose(), secret("a", "l").expose());
        assert_ne!(secret("a", "bk").expose(), secret("ab", "k").expose());
    }

    #[test]
    fn has_the_documented_form() {
        let text = secret("a", "k").expose().to_owned();
        assert_eq!(text.len(), PREFIX.len() + 43);
        assert!(text.starts_with(PREFIX) && !text.contains('.'));
        assert!(secret("a", "k").matches(&text));
        assert!(!secret("a", "k").matches(&text[..40]));
    }

    #[test]
    fn debug_shows_nothing() {
        assert!(!format!("{:?}", secret("a", "k")).contains(PREFIX));
    }
}
