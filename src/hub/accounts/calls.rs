//! Calls of the admin service that are made once: what is running, and what was answered before.
//!
//! Decides whether a call with a request ID is new. Does not know what a call does or what its answer
//! means. What was answered is in the store; what is running is in memory, because it ends with the process.

use aws_lc_rs::hmac;

use super::{Accounts, AdminCaller, to_the_end};
use crate::auth::opaque::Digest;
use crate::limits;
use crate::store::{CallKey, CallRow, StoreError};

/// What a request ID stands for, when a call begins.
#[derive(Debug)]
pub enum Begun {
    /// A new call.
    New(RunningCall),
    /// The same call, which was answered so.
    Before(Vec<u8>),
    /// The same call, which has not come to its end.
    Running,
    /// Another call.
    Other,
}

/// A new call, running until this is dropped.
pub struct RunningCall {
    accounts: Accounts,
    key: CallKey,
    digest: Digest,
}

impl std::fmt::Debug for RunningCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningCall").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Accounts {
    /// What stands for a request where it must not be kept: keyed, because requests hold passwords, which
    /// could be guessed from a plain digest.
    pub fn request_digest(&self, method: &str, request: &[u8]) -> Digest {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.inner.master.derive("request-digest", &[method]));
        hmac::sign(&key, request).as_ref().try_into().expect("an HMAC-SHA256 tag has 32 bytes")
    }

    /// Begins a call, unless its caller has used the request ID within the last day.
    pub async fn begin_call(
        &self,
        caller: &AdminCaller,
        request_id: &str,
        digest: Digest,
    ) -> Result<Begun, StoreError> {
        let key = CallKey {
            group: caller.own_group().cloned(),
            caller: caller.to_string(),
            request_id: request_id.to_owned(),
        };
        // Running before it is looked up: a call that ends between is then in the store.
        let running = {
            let mut running = self.inner.running.lock();
            match running.get(&key) {
                Some(other) if *other == digest => return Ok(Begun::Running),
                Some(_) => return Ok(Begun::Other),
                None => running.insert(key.clone(), digest),
            };
            RunningCall { accounts: self.clone(), key, digest }
        };
        let since = self.inner.clock.now().wall.before(limits::CALL_MEMORY);
        Ok(match self.inner.store.call(&running.key, since).await? {
            None => Begun::New(running),
            Some(row) if row.digest == digest => Begun::Before(row.answer),
            Some(_) => Begun::Other,
        })
    }
}

impl RunningCall {
    /// Remembers what was answered, for a day.
    pub async fn answered(self, answer: Vec<u8>) -> Result<(), StoreError> {
        to_the_end(async move {
            let at = self.accounts.inner.clock.now().wall;
            let row = CallRow { key: self.key.clone(), digest: self.digest, answer, at };
            let since = at.before(limits::CALL_MEMORY);
            self.accounts.inner.store.remember_call(&row, since).await
        })
        .await
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.accounts.inner.running.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Clock, MasterSecret};
    use super::*;
    use crate::store::sqlite::SqliteStore;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_request_id_stands_for_one_call_of_one_caller() {
        let store: Arc<SqliteStore> = Arc::new(SqliteStore::in_memory().unwrap());
        let open = async || {
            Accounts::open(store.clone(), MasterSecret::from_bytes([4; 32]), Clock::start()).await.unwrap()
        };
        let accounts = open().await;
        let ask = accounts.request_digest("A", b"1");
        let other = accounts.request_digest("B", b"1");
        assert_ne!(ask, other, "the same bytes to another call");
        let operator = AdminCaller::Operator;
        let begin = async |digest| accounts.begin_call(&operator, "r", digest).await.unwrap();
        let Begun::New(running) = begin(ask).await else { panic!() };
        assert!(matches!(begin(ask).await, Begun::Running));
        assert!(matches!(begin(other).await, Begun::Other));
        drop(running);
        let Begun::New(running) = begin(ask).await else { panic!("a call that failed may be made again") };
        running.answered(b"done".to_vec()).await.unwrap();
        for accounts in [accounts.clone(), open().await] {
            let begin = async |digest| accounts.begin_call(&operator, "r", digest).await.unwrap();
            assert!(matches!(begin(ask).await, Begun::Before(answer) if answer == b"done"));
            assert!(matches!(begin(other).await, Begun::Other));
            let fresh = accounts.begin_call(&operator, "r2", other).await.unwrap();
            assert!(matches!(fresh, Begun::New(_)));
        }
    }
}
