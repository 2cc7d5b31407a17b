//! Changes made once: the same call with the same request ID does nothing again and gets the first answer.
//!
//! Only answers that say it was done are remembered: what was refused may be asked for again. Writes the
//! audit line of every change.

use tonic::{Response, Status};

use super::again::Again;
use super::gate::{Caller, Changes, Within, request_id};
use super::service::Service;
use super::status::AdminError;
use crate::hub::accounts::{AdminCaller, Begun};
use crate::ids::GroupId;

/// A change that somebody asks for.
pub(super) struct Call {
    method: &'static str,
    caller: AdminCaller,
    /// The group that it concerns; as the caller named it, if that is no group's name.
    group: Option<String>,
    named: Option<Named>,
}

/// What a request ID stands for.
struct Named {
    request_id: String,
    request: Vec<u8>,
}

impl Call {
    /// A change that concerns a group which may not exist, or none.
    pub(super) fn of<R: Changes>(
        method: &'static str,
        caller: &Caller,
        group: Option<&str>,
        request: &R,
    ) -> Result<Self, AdminError> {
        let named = request_id(request)?
            .map(|id| Named { request_id: id.to_owned(), request: request.encode_to_vec() });
        Ok(Self { method, caller: caller.who().clone(), group: group.map(ToOwned::to_owned), named })
    }

    /// A change within a group.
    pub(super) fn within<R: Changes>(
        method: &'static str,
        within: &Within,
        request: &R,
    ) -> Result<Self, AdminError> {
        Self::of(method, within.caller(), Some(within.group().as_str()), request)
    }

    /// The line of the audit. Texts of the caller's are quoted and escaped by whatever writes them; what a
    /// request holds beside them is not told, since it may be a secret.
    fn audit(&self, outcome: &str) {
        tracing::info!(
            target: "audit",
            call = self.method,
            by = %self.caller,
            group = self.group.as_deref(),
            request = self.named.as_ref().map(|named| named.request_id.as_str()),
            outcome,
        );
    }
}

/// An answer, and whether it was given before.
type Made<A> = (A, &'static str);

impl Service {
    /// Does the work of a call unless it was done before. It comes to its end when the caller hangs up: what
    /// was begun is then done and remembered, and asking again tells how it went.
    pub(super) async fn once<A: Again>(
        &self,
        call: Call,
        work: impl Future<Output = Result<A, AdminError>> + Send + 'static,
    ) -> Result<Response<A>, Status> {
        let this = self.clone();
        let made = tokio::spawn(async move {
            let made = this.make(&call, work).await;
            match &made {
                Ok((_, outcome)) => call.audit(outcome),
                Err(error) => call.audit(error.reason().as_str()),
            }
            made
        });
        match made.await {
            Ok(made) => Ok(Response::new(made?.0)),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is ending.
                Err(_) => Err(AdminError::Unavailable.into()),
            },
        }
    }

    async fn make<A: Again>(
        &self,
        call: &Call,
        work: impl Future<Output = Result<A, AdminError>>,
    ) -> Result<Made<A>, AdminError> {
        let Some(named) = &call.named else {
            return Ok((work.await?, "done"));
        };
        let digest = self.accounts.request_digest(call.method, &named.request);
        match self.accounts.begin_call(&call.caller, &named.request_id, digest).await? {
            Begun::New(running) => {
                let answer = match work.await {
                    Ok(answer) => answer,
                    Err(error) => {
                        running.given_up().await;
                        return Err(error);
                    }
                };
                if let Err(error) = running.answered(answer.kept().encode_to_vec()).await {
                    // It is done, and that is what the caller must hear.
                    tracing::error!(%error, call = call.method, "a call was made but is not remembered");
                }
                Ok((answer, "done"))
            }
            Begun::Before(kept) => {
                let kept = A::decode(kept.as_slice()).map_err(|error| {
                    tracing::error!(%error, call = call.method, "a remembered answer cannot be read");
                    AdminError::Internal
                })?;
                let group = call.group.as_deref().and_then(|group| GroupId::new(group).ok());
                let answer = match group {
                    Some(group) => kept.restored(&self.accounts, &group).await?,
                    None => kept,
                };
                Ok((answer, "done before"))
            }
            Begun::Running => Err(AdminError::RequestRunning),
            Begun::Other => Err(AdminError::RequestIdReused),
        }
    }
}
