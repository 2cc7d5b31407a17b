//! How long a caller may go on listening: no longer than its credential is good and the node stays.
//!
//! The gate looks at a credential when a call begins. A stream lasts, so its credential is looked at again
//! before each message, whenever accounts change, and when it expires.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use super::gate::bearer;
use super::status::AdminError;
use crate::clock::{self, Wall};
use crate::hub::accounts::{Accounts, AdminCaller, AdminRefused, Changed};

/// A credential under watch.
pub(super) struct Standing {
    accounts: Arc<Accounts>,
    credential: SecretString,
    changes: broadcast::Receiver<Changed>,
    draining: CancellationToken,
}

impl Standing {
    /// Watches the credential of a request from now on: taken before the gate looks, so that no change
    /// falls between the two.
    pub(super) fn of<R>(request: &Request<R>, accounts: &Arc<Accounts>, draining: CancellationToken) -> Self {
        Self {
            changes: accounts.changes(),
            accounts: Arc::clone(accounts),
            credential: bearer(request.metadata()).unwrap_or_default().to_owned().into(),
            draining,
        }
    }

    /// Passes the stream on for as long as it may last, and then says why it ended.
    pub(super) fn guard<T: Send + 'static>(
        self,
        caller: &AdminCaller,
        stream: BoxStream<'static, T>,
    ) -> BoxStream<'static, Result<T, Status>> {
        let guarded = Guarded { expires: self.expiry(), caller: caller.clone(), standing: self, stream };
        stream::unfold(Some(guarded), |guarded| async {
            let mut guarded = guarded?;
            match guarded.next().await {
                Ok(Some(item)) => Some((Ok(item), Some(guarded))),
                Ok(None) => None,
                Err(error) => Some((Err(error.into()), None)),
            }
        })
        .boxed()
    }

    /// As [`Self::guard`], of a stream that may fail on the way.
    pub(super) fn guard_fallible<T: Send + 'static>(
        self,
        caller: &AdminCaller,
        stream: BoxStream<'static, Result<T, AdminError>>,
    ) -> BoxStream<'static, Result<T, Status>> {
        self.guard(caller, stream).map(|told| told.and_then(|told| told.map_err(Status::from))).boxed()
    }

    /// When the credential ends by itself: only an agent's token does.
    fn expiry(&self) -> Option<Wall> {
        let agent = self.accounts.verify_agent(self.credential.expose_secret()).ok()?;
        Some(agent.expires_at)
    }
}

struct Guarded<T> {
    standing: Standing,
    caller: AdminCaller,
    expires: Option<Wall>,
    stream: BoxStream<'static, T>,
}

impl<T> Guarded<T> {
    async fn next(&mut self) -> Result<Option<T>, AdminError> {
        loop {
            let expiry = async {
                match self.expires {
                    Some(at) => {
                        let left = at.0.saturating_sub(clock::wall().0);
                        tokio::time::sleep(Duration::from_millis(left)).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.standing.draining.cancelled() => return Err(AdminError::Unavailable),
                changed = self.standing.changes.recv() => match changed {
                    Ok(_) | Err(RecvError::Lagged(_)) => self.still_good()?,
                    Err(RecvError::Closed) => return Err(AdminError::Unavailable),
                },
                () = expiry => return Err(AdminError::Unauthorized),
                item = self.stream.next() => {
                    // The change may be in force and its announcement still on its way.
                    self.still_good()?;
                    return Ok(item);
                }
            }
        }
    }

    fn still_good(&self) -> Result<(), AdminError> {
        match self.standing.accounts.verify_admin(self.standing.credential.expose_secret()) {
            Ok(caller) if caller == self.caller => Ok(()),
            Ok(_) | Err(AdminRefused::Unknown) => Err(AdminError::Unauthorized),
            Err(AdminRefused::Forbidden) => Err(AdminError::Forbidden),
        }
    }
}
