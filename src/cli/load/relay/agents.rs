//! The agents' connections: each joins sessions one after the other and keeps listening.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{mpsc, oneshot};

use crate::cli::load::lamps::agent_connect;
use crate::cli::load::messages::{self, AgentHears};
use crate::cli::load::socket::{Fault, Socket, hear_text, patiently, say, sign_in};
use crate::cli::load::target::Target;
use crate::limits;

use super::OPENING;

/// Joins that may wait for one agent's turn; a further one waits outside.
const WAITING_JOINS: usize = 16;

/// Between two joins of one agent: a rate that the server allows for ever.
const BETWEEN_JOINS: Duration = Duration::from_millis(1_000 / limits::AGENT_RATE.0 as u64 + 5);

/// All agent connections of a run.
#[derive(Debug)]
pub(super) struct Desk {
    lines: Vec<mpsc::Sender<Join>>,
}

/// One wish to see a visitor's screen.
#[derive(Debug)]
struct Join {
    visitor_id: String,
    ticket: oneshot::Sender<Result<String, Fault>>,
}

/// A wish that was told to the server.
#[derive(Debug)]
struct Asked {
    id: u64,
    visitor_id: String,
    /// Known from the server's first answer on.
    session_id: Option<String>,
    ticket: oneshot::Sender<Result<String, Fault>>,
}

impl Desk {
    /// Signs in and opens `count` connections; accounts take turns.
    pub(super) async fn open(target: &Target, count: usize) -> anyhow::Result<Self> {
        let mut tokens: HashMap<String, SecretString> = HashMap::new();
        for n in 0..count.min(target.accounts.len().max(1)) {
            let account = target.account(n)?;
            let token = patiently(sign_in(target, account)).await;
            let token = token.with_context(|| format!("agent {} can't sign in", account.address))?;
            tokens.insert(account.address.clone(), token);
        }
        let tokens = &tokens;
        let lines = stream::iter(0..count)
            .map(|n| async move {
                let token = tokens[&target.account(n)?.address].expose_secret();
                let socket = patiently(agent_connect(target, n, token)).await;
                let socket = socket.with_context(|| format!("agent connection {n} can't connect"))?;
                let (line, joins) = mpsc::channel(WAITING_JOINS);
                tokio::spawn(serve(socket, joins));
                anyhow::Ok(line)
            })
            .buffered(OPENING)
            .try_collect()
            .await?;
        Ok(Self { lines })
    }

    /// Lets the nth agent join a visitor's session and waits for the ticket.
    pub(super) async fn join(&self, n: usize, visitor_id: &str) -> Result<String, Fault> {
        let (ticket, answer) = oneshot::channel();
        let join = Join { visitor_id: visitor_id.to_owned(), ticket };
        self.lines[n].send(join).await.map_err(|_| Fault::Lost)?;
        patiently(async { answer.await.map_err(|_| Fault::Lost)? }).await
    }
}

/// One agent connection. Ends with its socket or when the desk is gone; who waits then hears that it is lost.
async fn serve(mut socket: Socket, mut joins: mpsc::Receiver<Join>) {
    let mut asked: Vec<Asked> = Vec::new();
    let mut next_id = 1;
    let mut next_join = Instant::now();
    loop {
        tokio::select! {
            biased;
            heard = hear_text::<AgentHears>(&mut socket) => match heard {
                Ok(heard) => answer(&mut asked, heard),
                Err(fault) => {
                    tracing::debug!(%fault, "agent connection ended");
                    return;
                }
            },
            join = turn(&mut joins, next_join) => {
                let Some(Join { visitor_id, ticket }) = join else { return };
                let text = messages::join(next_id, &visitor_id);
                asked.push(Asked { id: next_id, visitor_id, session_id: None, ticket });
                next_id += 1;
                next_join = Instant::now() + BETWEEN_JOINS;
                if say(&mut socket, text).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The next join, not before its time.
async fn turn(joins: &mut mpsc::Receiver<Join>, not_before: Instant) -> Option<Join> {
    tokio::time::sleep_until(not_before.into()).await;
    joins.recv().await
}

/// Gives an answer to whom it is for.
fn answer(asked: &mut Vec<Asked>, heard: AgentHears) {
    match heard {
        AgentHears::Request { id, session_id, visitor_id, state, reason } => {
            let Some(at) = whose(asked, id, session_id.as_deref(), visitor_id.as_deref()) else { return };
            asked[at].session_id = session_id.or(asked[at].session_id.take());
            if matches!(
                state.as_str(),
                "ended" | "declined" | "cancelled" | "expired" | "visitor_gone" | "failed"
            ) {
                let reason = reason.map(|reason| format!(", {reason}")).unwrap_or_default();
                finish(asked, at, Err(Fault::Request(format!("{state}{reason}"))));
            }
        }
        AgentHears::Ready { id, session_id, visitor_id, ticket } => {
            if let Some(at) = whose(asked, id, session_id.as_deref(), visitor_id.as_deref()) {
                finish(asked, at, Ok(ticket));
            }
        }
        AgentHears::Error { id: Some(id), code, message } => {
            if let Some(at) = whose(asked, Some(id), None, None) {
                finish(asked, at, Err(Fault::Told { code, message }));
            }
        }
        _ => {}
    }
}

/// Answers carry the request's id, later steps the session or the visitor.
fn whose(asked: &[Asked], id: Option<u64>, session: Option<&str>, visitor: Option<&str>) -> Option<usize> {
    let by = |matches: &dyn Fn(&Asked) -> bool| asked.iter().position(matches);
    if let Some(id) = id {
        return by(&|asked| asked.id == id);
    }
    session
        .and_then(|session| by(&|asked| asked.session_id.as_deref() == Some(session)))
        .or_else(|| visitor.and_then(|visitor| by(&|asked| asked.visitor_id == visitor)))
}

/// Whoever asked may have lost patience; then nobody needs the answer.
fn finish(asked: &mut Vec<Asked>, at: usize, outcome: Result<String, Fault>) {
    let _ = asked.swap_remove(at).ticket.send(outcome);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(session: &str, visitor: Option<&str>) -> AgentHears {
        AgentHears::Ready {
            id: None,
            session_id: Some(session.to_owned()),
            visitor_id: visitor.map(str::to_owned),
            ticket: format!("ticket of {session}"),
        }
    }

    fn request(id: Option<u64>, session: &str, state: &str) -> AgentHears {
        AgentHears::Request {
            id,
            session_id: Some(session.to_owned()),
            visitor_id: None,
            state: state.to_owned(),
            reason: None,
        }
    }

    #[tokio::test]
    async fn tickets_find_who_asked() {
        let mut asked = Vec::new();
        let mut answers = Vec::new();
        for (id, visitor) in [(1, "a"), (2, "b"), (3, "c")] {
            let (ticket, answer) = oneshot::channel();
            asked.push(Asked { id, visitor_id: visitor.to_owned(), session_id: None, ticket });
            answers.push(answer);
        }
        answer(&mut asked, request(Some(1), "s1", "offered"));
        answer(&mut asked, request(Some(3), "s3", "offered"));
        // By session, by visitor, and an end without a ticket.
        answer(&mut asked, ready("s1", None));
        answer(&mut asked, ready("s2", Some("b")));
        answer(&mut asked, request(None, "s3", "declined"));
        assert!(asked.is_empty());
        let [first, second, third] = answers.try_into().unwrap();
        assert_eq!(first.await.unwrap().unwrap(), "ticket of s1");
        assert_eq!(second.await.unwrap().unwrap(), "ticket of s2");
        assert!(matches!(third.await.unwrap(), Err(Fault::Request(state)) if state == "declined"));
    }
}
