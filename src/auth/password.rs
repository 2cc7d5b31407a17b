//! Passwords of agents: Argon2id, kept as PHC strings.
//!
//! Decides how a password is hashed and compared. Both functions burn about 20 ms and 19 MiB on purpose:
//! callers run them off the async threads and bound how many run at once.

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _, phc};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::limits;

/// A salted hash with its parameters, as a PHC string. Hidden in logs all the same.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// Why a password cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Fewer bytes than [`limits::PASSWORD_BYTES`] asks for.
    #[error("password of {0} bytes is shorter than {min}", min = limits::PASSWORD_BYTES.0)]
    TooShort(usize),
    /// More bytes than [`limits::PASSWORD_BYTES`] allows.
    #[error("password of {0} bytes exceeds {max}", max = limits::PASSWORD_BYTES.1)]
    TooLong(usize),
    /// Not an Argon2id PHC string.
    #[error("password hash is not an argon2id phc string")]
    BadHash,
}

impl PasswordHash {
    /// Hashes a new password under a fresh salt. Blocks for the time of a check.
    pub fn new(password: &str) -> Result<Self, PasswordError> {
        may_be(password)?;
        Ok(Self(hash(password)))
    }

    /// Takes a stored PHC string.
    pub fn parse(text: &str) -> Result<Self, PasswordError> {
        match phc::PasswordHash::new(text) {
            Ok(parsed) if parsed.algorithm.as_str() == "argon2id" && parsed.hash.is_some() => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(PasswordError::BadHash),
        }
    }

    /// The PHC string, for the store.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(hidden)")
    }
}

/// Whether a new password can be taken. Hashes nothing.
pub fn may_be(password: &str) -> Result<(), PasswordError> {
    match password.len() {
        n if n < limits::PASSWORD_BYTES.0 => Err(PasswordError::TooShort(n)),
        n if n > limits::PASSWORD_BYTES.1 => Err(PasswordError::TooLong(n)),
        _ => Ok(()),
    }
}

/// Whether the password is the right one. Blocks. Without a hash (unknown agent, agent without a
/// password) the same work is done on a dummy and the answer is no.
pub fn verify(hash: Option<&PasswordHash>, password: &str) -> bool {
    let known = hash.is_some();
    let Ok(parsed) = phc::PasswordHash::new(hash.map_or(DUMMY, |hash| &hash.0)) else {
        return false;
    };
    let right = argon2().verify_password(password.as_bytes(), &parsed).is_ok();
    known && right
}

/// What passwords of nobody are held against, at the cost of [`limits::PASSWORD_COST`]. Written down rather than hashed
/// at the start: that would occupy its memory in every server, and be a delay by which the first unknown agent is told.
/// It proves nothing, whoever knows a password to it.
const DUMMY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$XJM/1hAcZDgW6GU1t97U8Q$yMuw8bj3sZHxJJ+Rktj6ZpgTtKmQa+XZ/Cd32cA3NVw";

fn argon2() -> Argon2<'static> {
    let (memory, passes, lanes) = limits::PASSWORD_COST;
    let params = Params::new(memory, passes, lanes, None).expect("the cost in limits is in argon2's range");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &str) -> String {
    let salt = super::random::bytes::<16>();
    let hash: phc::PasswordHash = argon2()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .expect("password and salt are in argon2's range");
    hash.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_wrong_and_absent() {
        let hash = PasswordHash::new("correct horse").unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.as_str());
        assert!(verify(Some(&hash), "correct horse"));
        assert!(!verify(Some(&hash), "correct horsf"));
        assert!(!verify(Some(&hash), ""));
        assert!(!verify(None, "correct horse"));
    }

    #[test]
    fn nobodys_password_costs_what_anybodys_does() {
        let cost = |hash: &str| phc::PasswordHash::new(hash).unwrap().params.to_string();
        assert_eq!(cost(DUMMY), cost(&hash("correct horse")));
        assert!(PasswordHash::parse(DUMMY).is_ok());
    }

    #[test]
    fn the_same_password_is_salted_differently() {
        assert_ne!(PasswordHash::new("correct horse").unwrap(), PasswordHash::new("correct horse").unwrap());
    }

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(PasswordHash::new("1234567"), Err(PasswordError::TooShort(7)));
        assert_eq!(PasswordHash::new(&"x".repeat(257)), Err(PasswordError::TooLong(257)));
    }

    #[test]
    fn only_argon2id_hashes_are_read() {
        let hash = PasswordHash::new("correct horse").unwrap();
        assert_eq!(PasswordHash::parse(hash.as_str()).unwrap(), hash);
        for bad in
            ["", "plain", "$argon2id$", "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4"]
        {
            assert_eq!(PasswordHash::parse(bad), Err(PasswordError::BadHash), "{bad}");
        }
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", PasswordHash::new("correct horse").unwrap()), "PasswordHash(hidden)");
    }
}
