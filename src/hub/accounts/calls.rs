//! Calls of the admin service that are made once: what is running, and what was answered before.
//!
//! Decides whether a call with a request ID is new. Does not know what a call does or what its answer
//! means. What was answered is in the store; what is running is in memory, because it ends with the process, and
//! where nodes share a store it is also claimed there: of two nodes one makes the call.

use aws_lc_rs::hmac;

use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::{Accounts, AdminCaller, to_the_end};
use crate::auth::opaque::Digest;
use crate::auth::random;
use crate::limits;
use crate::store::{CallKey, CallRow, Claimed, StoreError};

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

/// What somebody else makes under a request ID.
enum Held {
    /// The same call.
    Same,
    /// Another call.
    Other,
}

/// A new call, running until this is dropped.
pub struct RunningCall {
    accounts: Accounts,
    key: CallKey,
    digest: Digest,
    holder: u128,
    claim: Option<AbortOnDropHandle<()>>,
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
        let running = match self.running_here(key.clone(), digest) {
            Ok(running) => running.claimed().await?,
            Err(held) => Err(held),
        };
        // Held before it is looked up: a call that ends between is then in the store. And looked up whoever holds
        // it: a call that was answered is also held while somebody who asks again is told so.
        let since = self.inner.clock.now().wall.before(limits::CALL_MEMORY);
        let known = self.inner.store.call(&key, since).await;
        match (known, running) {
            (Ok(None), Ok(running)) => Ok(Begun::New(running)),
            (Ok(None), Err(Held::Same)) => Ok(Begun::Running),
            (Ok(None), Err(Held::Other)) => Ok(Begun::Other),
            (known, running) => {
                // Before anybody is told, so that nobody who hears it finds it held.
                if let Ok(running) = running {
                    running.given_up().await;
                }
                Ok(match known?.filter(|row| row.digest == digest) {
                    Some(row) => Begun::Before(row.answer),
                    None => Begun::Other,
                })
            }
        }
    }

    /// Makes a call one that runs on this node, unless it does already.
    fn running_here(&self, key: CallKey, digest: Digest) -> Result<RunningCall, Held> {
        let mut running = self.inner.running.lock();
        match running.get(&key) {
            Some(other) if *other == digest => return Err(Held::Same),
            Some(_) => return Err(Held::Other),
            None => running.insert(key.clone(), digest),
        };
        Ok(RunningCall { accounts: self.clone(), key, digest, holder: random::u128(), claim: None })
    }
}

impl RunningCall {
    /// The same, with nobody else making it on any node; or what is made there.
    async fn claimed(mut self) -> Result<Result<Self, Held>, StoreError> {
        let claim =
            self.accounts.inner.store.claim_call(&self.key, &self.digest, self.holder, limits::CALL_CLAIM);
        match claim.await? {
            Claimed::Here => {}
            Claimed::There => return Ok(Err(Held::Same)),
            Claimed::Other => return Ok(Err(Held::Other)),
        }
        let (accounts, key, digest, holder) =
            (self.accounts.clone(), self.key.clone(), self.digest, self.holder);
        let renewed = tokio::spawn(async move {
            loop {
                tokio::time::sleep(limits::CALL_CLAIM / 3).await;
                let claim = accounts.inner.store.claim_call(&key, &digest, holder, limits::CALL_CLAIM);
                if let Err(error) = claim.await {
                    tracing::debug!(%error, ?key, "a call that is made is not told to the other nodes");
                }
            }
        });
        self.claim = Some(AbortOnDropHandle::new(renewed));
        Ok(Ok(self))
    }

    /// It was not made, and may be asked for again.
    pub async fn given_up(mut self) {
        self.release().await;
    }

    async fn release(&mut self) {
        if let Some(claim) = self.claim.take() {
            drop(claim);
            give_back(self.accounts.clone(), self.key.clone(), self.holder).await;
        }
    }

    /// Remembers what was answered, for a day.
    pub async fn answered(mut self, answer: Vec<u8>) -> Result<(), StoreError> {
        to_the_end(async move {
            let at = self.accounts.inner.clock.now().wall;
            let row = CallRow { key: self.key.clone(), digest: self.digest, answer, at };

            let since = at.before(limits::CALL_MEMORY);
            let remembered = self.accounts.inner.store.remember_call(&row, since).await;
            // Whoever comes now finds the answer.
            self.release().await;
            remembered
        })
        .await
    }
}

/// A claim that is not given back ends by itself.
async fn give_back(accounts: Accounts, key: CallKey, holder: u128) {
    if let Err(error) = accounts.inner.store.release_call(&key, holder).await {
        tracing::debug!(%error, ?key, "other nodes do not know yet that a call was made");
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.accounts.inner.running.lock().remove(&self.key);
        // Only a call that panicked still has its claim. A runtime that is ending leaves it to end by itself.
        if let (Some(claim), Ok(runtime)) = (self.claim.take(), Handle::try_current()) {
            drop(claim);
            runtime.spawn(give_back(self.accounts.clone(), self.key.clone(), self.holder));
        }
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
