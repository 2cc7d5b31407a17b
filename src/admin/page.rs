//! Pages of long lists.
//!
//! A token says behind which entry its page begins, and is sealed to the call and the group that gave it:
//! any other is refused, so that nobody builds on what is inside.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::bad;
use super::status::AdminError;
use crate::auth::same_secret;
use crate::hub::accounts::Accounts;
use crate::limits;

/// Bytes of a token's seal.
const SEAL: usize = 12;

/// One call's pages.
pub(super) struct Pages<'a> {
    /// Who derives the seal.
    pub(super) accounts: &'a Accounts,
    /// The call.
    pub(super) call: &'static str,
    /// What the list belongs to: a group, or a caller's groups.
    pub(super) of: &'a str,
}

impl Pages<'_> {
    /// The entry behind which the page begins; none for the first page.
    pub(super) fn after(&self, token: &str) -> Result<Option<String>, AdminError> {
        if token.is_empty() {
            return Ok(None);
        }
        self.open(token).map(Some).ok_or_else(|| bad("page_token", "is none that this list gave"))
    }

    /// The token of the page behind an entry.
    pub(super) fn token(&self, last: &str) -> String {
        let mut bytes = self.seal(last).to_vec();
        bytes.extend_from_slice(last.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Cuts what was read, one entry more than fits, to a page, and tells the token of the next.
    pub(super) fn cut<T>(&self, rows: &mut Vec<T>, size: usize, name: impl Fn(&T) -> String) -> String {
        if rows.len() <= size {
            return String::new();
        }
        rows.truncate(size);
        rows.last().map_or_else(String::new, |last| self.token(&name(last)))
    }

    fn open(&self, token: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let last = std::str::from_utf8(bytes.get(SEAL..)?).ok()?;
        same_secret(token, &self.token(last)).then(|| last.to_owned())
    }

    fn seal(&self, last: &str) -> [u8; SEAL] {
        let key = self.accounts.derive("page-token", &[self.call, self.of, last]);
        let mut seal = [0; SEAL];
        seal.copy_from_slice(&key[..SEAL]);
        seal
    }
}

/// Entries of a page: the caller's wish as far as it goes.
pub(super) fn size(asked: u32) -> usize {
    match asked {
        0 => limits::ADMIN_PAGE,
        asked => (asked as usize).min(limits::ADMIN_PAGE_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::secret::MasterSecret;
    use crate::clock::Clock;
    use crate::store::sqlite::SqliteStore;
    use std::sync::Arc;

    #[tokio::test]
    async fn tokens_fit_the_call_that_gave_them() {
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        let master = MasterSecret::from_bytes([4; 32]);
        let accounts = Accounts::open(store, master, Clock::start()).await.unwrap();
        let pages = |call, of| Pages { accounts: &accounts, call, of };
        let token = pages("ListAgents", "a").token("alice");
        assert_eq!(pages("ListAgents", "a").after(&token), Ok(Some("alice".to_owned())));
        assert_eq!(pages("ListAgents", "a").after(""), Ok(None));
        for (call, of) in [("ListAgents", "b"), ("ListAssociatedUsers", "a")] {
            assert!(pages(call, of).after(&token).is_err());
        }
        let mut other = token.clone().into_bytes();
        other[3] ^= 1;
        for bad in ["x", "alice", &URL_SAFE_NO_PAD.encode("alice"), &String::from_utf8_lossy(&other), "%"] {
            let refused = pages("ListAgents", "a").after(bad);
            assert!(matches!(refused, Err(AdminError::BadField { .. })), "{bad}");
        }
    }

    #[test]
    fn sizes_are_the_callers_within_bounds() {
        for (asked, wanted) in [(0, 100), (1, 1), (1_000, 1_000), (u32::MAX, 1_000)] {
            assert_eq!(size(asked), wanted);
        }
    }
}
