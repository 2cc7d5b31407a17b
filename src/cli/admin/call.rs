//! How the service is asked: with the key, and once more if no answer came and asking again is safe.
//!
//! A question may always be asked again. A change may be, because it carries a request ID that the server
//! makes once; when that fails too, whether it was made is not known, and that is what is said.

use anyhow::anyhow;
use tonic::{Code, Request, Response, Status, Streaming};

use super::super::Failure;
use super::refusal::Refusal;
use super::{Client, Server};

/// Whether the connection broke before an answer came. What the server itself says has a reason.
fn unanswered(status: &Status) -> bool {
    // Cancelled is what a connection that goes while it is being written to ends with.
    let broken =
        matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled);
    broken && !Refusal::of(status).is_ours()
}

/// As [`unanswered`], or nobody waited long enough.
fn unknown_outcome(status: &Status) -> bool {
    let late = status.code() == Code::DeadlineExceeded;
    unanswered(status) || (late && !Refusal::of(status).is_ours())
}

impl Server {
    async fn once<M, A>(
        &self,
        client: Client,
        message: M,
        call: impl AsyncFnOnce(Client, Request<M>) -> Result<Response<A>, Status>,
    ) -> Result<A, Status> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        Ok(call(client, request).await?.into_inner())
    }

    async fn twice<M: Clone, A>(
        &self,
        message: M,
        call: impl AsyncFn(Client, Request<M>) -> Result<Response<A>, Status>,
    ) -> Result<A, Status> {
        match self.once(self.client.clone(), message.clone(), &call).await {
            Err(status) if unanswered(&status) => {
                eprintln!("porchlight: no answer ({}), asking once more", status.message());
                // The old channel may not know yet that its connection is gone.
                let Ok(channel) = self.endpoint.connect().await else { return Err(status) };
                self.once(Client::new(channel), message, &call).await
            }
            answer => answer,
        }
    }

    /// Asks for something that changes nothing.
    pub(super) async fn ask<M: Clone, A>(
        &self,
        message: M,
        call: impl AsyncFn(Client, Request<M>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        self.twice(message, call).await.map_err(|status| refused(&status))
    }

    /// Asks for a change that carries the request ID of this command.
    pub(super) async fn change<M: Clone, A>(
        &self,
        message: M,
        call: impl AsyncFn(Client, Request<M>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        self.twice(message, call).await.map_err(|status| self.unsure(&status))
    }

    /// Asks for a change that must not be asked for twice, whoever answers the second time.
    pub(super) async fn change_once<M, A>(
        &self,
        message: M,
        call: impl AsyncFnOnce(Client, Request<M>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        self.once(self.client.clone(), message, call).await.map_err(|status| self.unsure(&status))
    }

    fn unsure(&self, status: &Status) -> Failure {
        if !unknown_outcome(status) {
            return refused(status);
        }
        Failure::NoAnswer(anyhow!(
            "no answer: {}. Whether it was done is not known; the same command with --request-id {} does it \
             at most once",
            status.message(),
            self.request_id
        ))
    }

    /// Hands on what a stream brings, until it ends or the reader wants no more.
    pub(super) async fn each<A>(
        &self,
        mut stream: Streaming<A>,
        mut take: impl FnMut(A) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        while let Some(answer) = stream.message().await.map_err(|status| refused(&status))? {
            take(answer)?;
        }
        Ok(())
    }

    /// The items of a list, its pages followed to the end; `page` asks for the one that a token names.
    pub(super) async fn collect<T>(
        &self,
        page: impl AsyncFn(String) -> Result<(Vec<T>, String, Next), Failure>,
    ) -> Result<Vec<T>, Failure> {
        let (mut items, mut token) = (Vec::new(), String::new());
        loop {
            let (page, following, next) = page(token.clone()).await?;
            items.extend(page);
            if next == Next::Enough || following.is_empty() {
                return Ok(items);
            }
            if following == token {
                return Err(Failure::Failed(anyhow!("the list does not end: a page leads to itself")));
            }
            token = following;
        }
    }
}

/// Whether the pages that follow are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// They are.
    More,
    /// What was asked for has been found.
    Enough,
}

fn refused(status: &Status) -> Failure {
    if unknown_outcome(status) {
        return Failure::NoAnswer(anyhow!("no answer: {}", status.message()));
    }
    let refusal = Refusal::of(status);
    match refusal.is_conflict() {
        true => Failure::Conflict(refusal.into()),
        false => Failure::Failed(refusal.into()),
    }
}
