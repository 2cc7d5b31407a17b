//! The private keys that groups sign in to Salesforce with.
//!
//! Decides whether they can be used. Each group has its own: with another's it could write to that company's
//! org, by naming its connected app. Called by the check of the settings and once more at the start, which
//! keeps what it read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jsonwebtoken::EncodingKey;
use serde::{Deserialize, Serialize};

use super::Sinks;
use crate::ids::GroupId;

/// An entry of `sinks.salesforce`: a group and its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SalesforceKey {
    /// Whose.
    pub group: GroupId,
    /// The file of the RSA key (PEM) whose certificate the connected app has.
    pub key_file: PathBuf,
}

/// Why a key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A group has two.
    #[error("group {group} has more than one key")]
    Twice {
        /// Which.
        group: GroupId,
    },
    /// A file can't be read.
    #[error("file {} can't be read: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("file {} {problem}", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What is wrong with it; nothing of its content.
        problem: String,
    },
    /// The program was built without the feature.
    #[error("this program was built without the Salesforce sink")]
    Unsupported,
}

impl Sinks {
    /// Reads the key of each group.
    pub(crate) fn salesforce_keys(&self) -> Result<BTreeMap<GroupId, EncodingKey>, KeyError> {
        let mut keys = BTreeMap::new();
        for SalesforceKey { group, key_file } in &self.salesforce {
            if keys.insert(group.clone(), read(key_file)?).is_some() {
                return Err(KeyError::Twice { group: group.clone() });
            }
        }
        Ok(keys)
    }
}

#[cfg(not(feature = "salesforce"))]
fn read(_path: &std::path::Path) -> Result<EncodingKey, KeyError> {
    Err(KeyError::Unsupported)
}

#[cfg(feature = "salesforce")]
fn read(path: &std::path::Path) -> Result<EncodingKey, KeyError> {
    use crate::limits::SALESFORCE_KEY_BITS;

    let unusable = |problem: String| KeyError::Unusable { path: path.to_owned(), problem };
    let pem = std::fs::read(path).map_err(|source| KeyError::Unreadable { path: path.to_owned(), source })?;
    let key = EncodingKey::from_rsa_pem(&pem)
        .map_err(|_| unusable("holds no private RSA key in PEM, or one under a passphrase".to_owned()))?;
    let pair = aws_lc_rs::rsa::KeyPair::from_der(key.as_bytes())
        .map_err(|_| unusable("holds an RSA key that can't be used".to_owned()))?;
    let bits = 8 * pair.public_modulus_len();
    if bits < SALESFORCE_KEY_BITS {
        return Err(unusable(format!("holds a key of {bits} bits, less than {SALESFORCE_KEY_BITS}")));
    }
    Ok(key)
}

#[cfg(test)]
#[cfg(feature = "salesforce")]
mod tests {
    use super::*;
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use base64::Engine as _;

    fn pem(kind: &str, der: &[u8]) -> String {
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n")
    }

    fn entry(group: &str, file: &std::path::Path) -> SalesforceKey {
        SalesforceKey { group: GroupId::new(group).unwrap(), key_file: file.to_owned() }
    }

    #[test]
    fn only_a_private_rsa_key_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let good = dir.path().join("good.pem");
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
        std::fs::write(&good, pem("PRIVATE KEY", der.as_ref())).unwrap();
        let keys =
            |entries: Vec<SalesforceKey>| Sinks { salesforce: entries, ..Sinks::default() }.salesforce_keys();
        let read = keys(vec![entry("a", &good), entry("b", &good)]).unwrap();
        assert_eq!(read.keys().map(GroupId::as_str).collect::<Vec<_>>(), ["a", "b"]);
        let twice = keys(vec![entry("a", &good), entry("a", &good)]);
        assert!(matches!(twice, Err(KeyError::Twice { .. })));
        let missing = keys(vec![entry("a", &dir.path().join("none"))]);
        assert!(matches!(missing, Err(KeyError::Unreadable { .. })));
        let hollow = pem("PRIVATE KEY", b"secret words");
        for (at, bad) in ["", "secret words", &hollow].iter().enumerate() {
            let file = dir.path().join(format!("bad{at}"));
            std::fs::write(&file, bad).unwrap();
            let refused = keys(vec![entry("a", &file)]).unwrap_err();
            assert!(matches!(refused, KeyError::Unusable { .. }), "{bad}: {refused}");
            assert!(!refused.to_string().contains("secret"), "{refused}");
        }
    }
}
