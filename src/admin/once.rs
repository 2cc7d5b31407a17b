//! Changes made once: the same call with the same request ID does nothing again and gets the first answer.
//!
//! Writes the audit line of every change.

use prost::Message;
use tonic::{Response, Status};

use super::gate::{Caller, Changes, request_id};
use super::service::Service;
use super::status::AdminError;

/// A change that somebody asks for.
pub(super) struct Call {
    method: &'static str,
    by: String,
    request_id: Option<String>,
}

impl Call {
    pub(super) fn of<R: Changes>(
        method: &'static str,
        caller: &Caller,
        request: &R,
    ) -> Result<Self, AdminError> {
        let request_id = request_id(request)?.map(ToOwned::to_owned);
        Ok(Self { method, by: caller.who().to_string(), request_id })
    }
}

impl Service {
    /// Does the work of a call unless it was done before.
    pub(super) async fn once<A: Message>(
        &self,
        call: Call,
        work: impl Future<Output = Result<A, AdminError>> + Send,
    ) -> Result<Response<A>, Status> {
        let done = work.await;
        tracing::info!(
            target: "audit",
            call = call.method,
            by = %call.by,
            // Quoted and escaped: it is the caller's text.
            request = ?call.request_id,
            refused = done.as_ref().err().map(tracing::field::display),
        );
        Ok(Response::new(done?))
    }
}
