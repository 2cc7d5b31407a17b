//! Questions of operators to a sync that runs on another node, by way of Redis.
//!
//! Decides how a question is laid down, taken once, and answered. Whoever asks waits a bounded time for somebody to
//! take it, and withdraws it otherwise; what was taken lives on only as long as its taker says so every few
//! seconds, so that nobody waits for a node that died. No secret is in a question: the taker reads the sink anew.

use std::time::Duration;

use redis::{Cmd, RedisError};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::auth::random;
use crate::hub::sync::{Replayed, SyncCall};
use crate::ids::{GroupId, SinkId};
use crate::limits;
use crate::redis::{Link, lease};
use crate::store::sync::RunRow;
use crate::store::{StoreError, SyncStore};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Question {
    /// Begin a run.
    Run(GroupId),
    /// Sinks were changed.
    Changed(GroupId),
    /// Send a letter that says nothing.
    Test(GroupId, SinkId),
    /// Send dead letters again.
    Replay(GroupId, SinkId),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// Somebody works on it.
    Taken,
    /// The run.
    Run(RunRow),
    /// The letter was taken, or why not.
    Test(Result<(), String>),
    /// What came of the dead letters.
    Replay { delivered: u64, left: u64, error: Option<String> },
    /// The one who took it could not do it now.
    Failed,
}

/// Nobody does it; a source of [`StoreError::Failed`].
#[derive(Debug, thiserror::Error)]
#[error("no node runs the sync now")]
struct Nobody;

fn nobody() -> StoreError {
    StoreError::Failed(std::sync::Arc::new(Nobody))
}

/// Where questions lie.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    link: Link,
    name: String,
}

/// A question that was taken, with what is to be called for it; its answer is then carried back.
pub(super) struct Taken {
    pub(super) call: SyncCall,
    pub(super) reply: Reply,
}

/// The way back of an answer.
pub(super) struct Reply {
    desk: Desk,
    id: String,
    answer: Waiting,
}

enum Waiting {
    Run(oneshot::Receiver<Result<RunRow, StoreError>>),
    Test(oneshot::Receiver<Result<(), String>>),
    Replay(oneshot::Receiver<Result<Replayed, StoreError>>),
    Nothing,
}

impl Desk {
    /// The desk beside the lease of this name.
    pub(super) fn new(link: Link, name: &str) -> Self {
        Self { link, name: name.to_owned() }
    }

    fn key(&self, part: &str) -> String {
        lease::key(&self.name, part)
    }

    /// Hands a call to the node that runs the sync, and its answer back.
    pub(super) async fn forward(&self, call: SyncCall) {
        match call {
            SyncCall::Run(group, answer) => {
                let told = match self.ask(&Question::Run(group)).await {
                    Ok(Answer::Run(run)) => Ok(run),
                    other => Err(refusal(other)),
                };
                // Who asked may be gone, here and below.
                let _ = answer.send(told);
            }
            SyncCall::Changed(group) => {
                // Who does not hear of it sees it when it looks at all sinks.
                if let Err(error) = self.lay(&random_id(), &Question::Changed(group)).await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "nobody was told of a sink");
                }
            }
            SyncCall::Test(row, answer) => {
                let sink = row.sink;
                // Without an answer it is as if the sync had ended.
                if let Ok(Answer::Test(taken)) = self.ask(&Question::Test(sink.group, sink.id)).await {
                    let _ = answer.send(taken);
                }
            }
            SyncCall::Replay(row, answer) => {
                let sink = row.sink;
                let told = match self.ask(&Question::Replay(sink.group, sink.id)).await {
                    Ok(Answer::Replay { delivered, left, error }) => Ok(Replayed { delivered, left, error }),
                    other => Err(refusal(other)),
                };
                let _ = answer.send(told);
            }
        }
    }

    async fn lay(&self, id: &str, question: &Question) -> Result<(), RedisError> {
        let text = serde_json::to_string(question).expect("names have a JSON form");
        let asked = self.key("asked");
        let mut both = redis::pipe();
        both.atomic();
        both.cmd("SET").arg(self.key(&format!("ask:{id}"))).arg(text);
        both.arg("PX").arg(millis(limits::SYNC_TAKEN)).ignore();
        both.cmd("RPUSH").arg(&asked).arg(id).ignore();
        both.cmd("PEXPIRE").arg(asked).arg(millis(limits::SYNC_TAKEN)).ignore();
        self.link.ask_all(&both).await
    }

    async fn ask(&self, question: &Question) -> Result<Answer, RedisError> {
        let (id, begun) = (random_id(), Instant::now());
        self.lay(&id, question).await?;
        let mut look = redis::cmd("GET");
        look.arg(self.key(&format!("answer:{id}")));
        let mut taken = false;
        loop {
            sleep(limits::SYNC_LOOK).await;
            let text: Option<String> = self.link.ask(&look).await?;
            match text.map(|text| serde_json::from_str(&text)) {
                Some(Ok(Answer::Taken)) => taken = true,
                Some(Ok(answer)) => return Ok(answer),
                // Of another version, or whoever took it is gone.
                Some(Err(_)) => return Ok(Answer::Failed),
                None if taken => return Ok(Answer::Failed),
                None => {}
            }
            let late = if taken { limits::SYNC_ANSWER } else { limits::SYNC_TAKEN };
            if begun.elapsed() >= late {
                let mut withdraw = redis::cmd("DEL");
                let _there: u64 = self.link.ask(withdraw.arg(self.key(&format!("ask:{id}")))).await?;
                return Ok(Answer::Failed);
            }
        }
    }

    /// Takes what was asked of the node that runs the sync, each question once.
    pub(super) async fn take(&self, store: &dyn SyncStore) -> Result<Vec<Taken>, StoreError> {
        let mut look = redis::cmd("LPOP");
        look.arg(self.key("asked")).arg(limits::SYNC_CALLS);
        let ids: Option<Vec<String>> = self.link.ask(&look).await?;
        let mut all = Vec::new();
        for id in ids.unwrap_or_default() {
            let mut take = redis::cmd("GETDEL");
            take.arg(self.key(&format!("ask:{id}")));
            // What is not there was withdrawn.
            let Some(text) = self.link.ask::<Option<String>>(&take).await? else { continue };
            let Ok(question) = serde_json::from_str(&text) else {
                tracing::warn!("a question to the sync is of another version, it is passed over");
                continue;
            };
            let reply = |answer| Reply { desk: self.clone(), id, answer };
            let row = async |group: &GroupId, sink: &SinkId| store.sink(group, sink).await;
            let (call, answer) = match question {
                Question::Run(group) => {
                    let (tell, told) = oneshot::channel();
                    (SyncCall::Run(group, tell), Waiting::Run(told))
                }
                Question::Changed(group) => (SyncCall::Changed(group), Waiting::Nothing),
                Question::Test(group, sink) => {
                    let Some(row) = row(&group, &sink).await? else { continue };
                    let (tell, told) = oneshot::channel();
                    (SyncCall::Test(Box::new(row), tell), Waiting::Test(told))
                }
                Question::Replay(group, sink) => {
                    let Some(row) = row(&group, &sink).await? else { continue };
                    let (tell, told) = oneshot::channel();
                    (SyncCall::Replay(Box::new(row), tell), Waiting::Replay(told))
                }
            };
            all.push(Taken { call, reply: reply(answer) });
        }
        Ok(all)
    }
}

impl Reply {
    /// Carries the answer back, and until then that somebody works on it.
    pub(super) async fn carry(self) {
        let Self { desk, id, answer } = self;
        let key = desk.key(&format!("answer:{id}"));
        let told = async {
            match answer {
                Waiting::Run(told) => match told.await {
                    Ok(Ok(run)) => Some(Answer::Run(run)),
                    _ => Some(Answer::Failed),
                },
                Waiting::Test(told) => Some(told.await.map_or(Answer::Failed, Answer::Test)),
                Waiting::Replay(told) => match told.await {
                    Ok(Ok(Replayed { delivered, left, error })) => {
                        Some(Answer::Replay { delivered, left, error })
                    }
                    _ => Some(Answer::Failed),
                },
                Waiting::Nothing => None,
            }
        };
        tokio::pin!(told);
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut told => break answer,
                () = async {
                    desk.put(&key, &Answer::Taken).await;
                    sleep(limits::REDIS_LEASE_RENEW).await;
                } => {}
            }
        };
        if let Some(answer) = answer {
            desk.put(&key, &answer).await;
        }
    }
}

impl Desk {
    async fn put(&self, key: &str, answer: &Answer) {
        let text = serde_json::to_string(answer).expect("names, numbers and texts have a JSON form");
        let put: Cmd =
            redis::cmd("SET").arg(key).arg(text).arg("PX").arg(millis(limits::REDIS_LEASE)).clone();
        if let Err(error) = self.link.ask::<()>(&put).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "an answer of the sync is not told");
        }
    }
}

fn refusal(answer: Result<Answer, RedisError>) -> StoreError {
    answer.err().map_or_else(nobody, StoreError::from)
}

fn random_id() -> String {
    format!("{:032x}", random::u128())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
