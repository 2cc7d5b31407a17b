//! Signatures that others verify: Ed25519 (RFC 8032) and SHA-256.
//!
//! Decides how keys and signatures are made and written. Does not decide what is signed: its callers do.
//! The same key and message give the same signature; there is no chance in it.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bytes of a signature.
const SIGNATURE: usize = 64;

/// Characters of a signature as text.
pub const SIGNATURE_TEXT: usize = 86;

/// The algorithm, as others name it.
pub const ALGORITHM: &str = "Ed25519";

/// A key that signs.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// The key that follows from a seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed");
        let bytes = pair.public_key().as_ref().try_into().expect("a public key has 32 bytes");
        Self { pair, public: PublicKey(bytes) }
    }

    /// Signs a message; the signature as URL-safe base64 without padding, [`SIGNATURE_TEXT`] characters.
    pub fn sign(&self, message: &[u8]) -> String {
        super::base64url(self.pair.sign(message).as_ref())
    }

    /// The key that verifies.
    pub fn public(&self) -> PublicKey {
        self.public
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.public.id())
    }
}

/// A key that verifies. Not a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads URL-safe base64 without padding.
    pub fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text.trim()).ok()?.try_into().ok().map(Self)
    }

    /// Its short name: the first 8 bytes of its SHA-256 in hexadecimal.
    pub fn id(&self) -> String {
        hex(&sha256(&self.0)[..8])
    }

    /// Whether a signature of this key stands under the message. There is one text for each signature.
    pub fn verify(&self, message: &[u8], signature: &str) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        bytes.len() == SIGNATURE && UnparsedPublicKey::new(&ED25519, self.0).verify(message, &bytes).is_ok()
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&super::base64url(&self.0))
    }
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("the digest has 32 bytes")
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex<const N: usize>(text: &str) -> [u8; N] {
        let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
        std::array::from_fn(byte)
    }

    #[test]
    fn follows_rfc_8032() {
        // Section 7.1, test 3.
        let seed = unhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7");
        let key = SigningKey::from_seed(&seed);
        assert_eq!(hex(&key.public().0), "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025");
        let wanted: [u8; 64] = unhex(concat!(
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac",
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ));
        let signature = key.sign(&[0xaf, 0x82]);
        assert_eq!(signature, super::super::base64url(&wanted));
        assert_eq!(signature.len(), SIGNATURE_TEXT);
        assert!(key.public().verify(&[0xaf, 0x82], &signature));
        assert!(!key.public().verify(&[0xaf, 0x83], &signature));
    }

    #[test]
    fn a_signature_has_one_text() {
        let key = SigningKey::from_seed(&[7; 32]);
        let good = key.sign(b"m");
        for other in [format!("{good}="), format!(" {good}"), good[..85].to_owned(), String::new()] {
            assert!(!key.public().verify(b"m", &other), "{other}");
        }
        // The last character carries two bits; one that differs in the other four is another text.
        let twin = format!("{}{}", &good[..85], char::from(good.as_bytes()[85] + 1));
        assert!(!key.public().verify(b"m", &twin));
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        let key = SigningKey::from_seed(&[1; 32]).public();
        assert_eq!(PublicKey::parse(&key.to_string()), Some(key));
        assert_eq!(key.id().len(), 16);
        assert_eq!(PublicKey::parse("AAAA"), None);
    }

    #[test]
    fn sha256_is_the_known_one() {
        assert_eq!(hex(&sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
