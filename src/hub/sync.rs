//! The way from the operators' edge to the sync: what may be asked of it, and the secrets of its webhooks.
//!
//! Decides what a question is and how its answer comes back. Does not run or deliver anything: `sinks` takes
//! the questions from the other end.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot};

use super::accounts::Accounts;
use crate::clock::Wall;
use crate::ids::GroupId;
use crate::limits;
use crate::store::StoreError;
use crate::store::sync::{RunRow, SinkRow};

/// Targets that the settings of the process make possible.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offers {
    /// A directory for files is named.
    pub files: bool,
    /// A Redis is named.
    pub redis: bool,
    /// Groups that have a key for Salesforce.
    pub salesforce: BTreeSet<GroupId>,
}

/// What came of sending dead letters again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replayed {
    /// Accepted by now, and forgotten here.
    pub delivered: u64,
    /// Still dead.
    pub left: u64,
    /// What went wrong with the first of these that was tried.
    pub error: Option<String>,
}

/// Something that is asked of the sync.
#[derive(Debug)]
pub enum SyncCall {
    /// Begin a run of a group; one that runs is answered instead.
    Run(GroupId, oneshot::Sender<Result<RunRow, StoreError>>),
    /// A group's sinks were changed.
    Changed(GroupId),
    /// Hand a letter over that says nothing.
    Test(Box<SinkRow>, oneshot::Sender<Result<(), String>>),
    /// Hand dead letters over again.
    Replay(Box<SinkRow>, oneshot::Sender<Result<Replayed, StoreError>>),
}

/// Asks the sync. A clone is the same one.
#[derive(Debug, Clone)]
pub struct SyncDoor {
    calls: mpsc::Sender<SyncCall>,
    offers: Offers,
}

impl SyncDoor {
    /// A door and what comes through it.
    pub fn new(offers: Offers) -> (Self, mpsc::Receiver<SyncCall>) {
        let (calls, questions) = mpsc::channel(limits::SYNC_CALLS);
        (Self { calls, offers }, questions)
    }

    /// Which targets there are.
    pub fn offers(&self) -> &Offers {
        &self.offers
    }

    /// Begins a run of a group, or tells the one that runs.
    pub async fn run(&self, group: &GroupId) -> Result<RunRow, StoreError> {
        self.ask(|answer| SyncCall::Run(group.clone(), answer)).await?
    }

    /// Tells that a group's sinks were changed.
    pub async fn changed(&self, group: &GroupId) {
        // A sync that has ended follows nothing.
        let _ = self.calls.send(SyncCall::Changed(group.clone())).await;
    }

    /// Hands a sink a letter that says nothing, once; the inner error is why it was not taken.
    pub async fn test(&self, row: &SinkRow) -> Result<Result<(), String>, StoreError> {
        self.ask(|answer| SyncCall::Test(Box::new(row.clone()), answer)).await
    }

    /// Hands a sink its oldest dead letters again, at most [`limits::DEAD_LETTER_REPLAY`], until one fails.
    pub async fn replay(&self, row: &SinkRow) -> Result<Replayed, StoreError> {
        self.ask(|answer| SyncCall::Replay(Box::new(row.clone()), answer)).await?
    }

    async fn ask<A>(&self, call: impl FnOnce(oneshot::Sender<A>) -> SyncCall) -> Result<A, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.calls.send(call(answer)).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)
    }
}

/// What stands before a webhook's secret, so that people and scanners know it.
const SECRET_PREFIX: &str = "whsec_";

/// The key that a webhook is signed with. It follows from the master secret and is kept nowhere; another
/// generation is another key, and so is a sink of the same name that was created anew.
pub fn webhook_key(accounts: &Accounts, row: &SinkRow, generation: u64) -> [u8; 32] {
    let (created, generation) = (row.created_at.0.to_string(), generation.to_string());
    let (group, sink) = (row.sink.group.as_str(), row.sink.id.as_str());
    accounts.derive("webhook", &[group, sink, &created, &generation])
}

/// A webhook's secret as its receiver is given it.
pub fn webhook_secret(accounts: &Accounts, row: &SinkRow) -> SecretString {
    format!("{SECRET_PREFIX}{}", STANDARD.encode(webhook_key(accounts, row, row.generation))).into()
}

/// The generations whose keys sign at a moment: the newest, and for a while the one before.
pub fn signing_generations(row: &SinkRow, now: Wall) -> impl Iterator<Item = u64> {
    let old = row.rotated_at.filter(|at| now < at.after(limits::WEBHOOK_SECRET_OVERLAP));
    let old = old.and(row.generation.checked_sub(1)).filter(|generation| *generation > 0);
    std::iter::once(row.generation).chain(old)
}

/// What is wrong with an address that others begin with; a slash at its end is not.
pub fn check_base(url: &str) -> Result<&str, &'static str> {
    if check_url(url)?.query().is_some() {
        return Err("must not have a query");
    }
    Ok(url.trim_end_matches('/'))
}

/// What is wrong with a webhook's address.
pub fn check_url(url: &str) -> Result<Uri, &'static str> {
    if url.len() > limits::WEBHOOK_URL_BYTES {
        return Err("is too long");
    }
    let uri: Uri = url.parse().map_err(|_| "is no URL")?;
    if !matches!(uri.scheme_str(), Some("https" | "http")) {
        return Err("must begin with https://");
    }
    let authority =
        uri.authority().filter(|authority| !authority.host().is_empty()).ok_or("names no host")?;
    if authority.as_str().contains('@') {
        return Err("must not hold credentials");
    }
    if url.contains('#') {
        return Err("must not have a fragment");
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SinkId;
    use crate::model::sink::{Takes, Target};
    use crate::store::sync::Sink;

    #[test]
    fn addresses_are_checked() {
        for good in ["https://example.com/hook?a=b", "http://10.0.0.1:8080", "https://[::1]/x"] {
            assert!(check_url(good).is_ok(), "{good}");
        }
        let long = format!("https://example.com/{}", "a".repeat(limits::WEBHOOK_URL_BYTES));
        for bad in [
            "",
            "/hook",
            "ftp://example.com",
            "https://",
            "https://u:p@example.com/",
            "https://e.com/#x",
            &long,
        ] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_that_others_begin_with_end_in_no_slash() {
        assert_eq!(check_base("https://login.example/"), Ok("https://login.example"));
        assert_eq!(check_base("https://example.com/site"), Ok("https://example.com/site"));
        assert!(check_base("https://example.com/?a=b").is_err() && check_base("example.com").is_err());
    }

    #[test]
    fn the_old_key_signs_for_a_day_more() {
        let mut row = SinkRow {
            sink: Sink {
                group: GroupId::new("g").unwrap(),
                id: SinkId::new("a").unwrap(),
                target: Target::File,
                takes: Takes::default(),
                enabled: true,
            },
            created_at: Wall(0),
            generation: 1,
            rotated_at: None,
            disabled: None,
        };
        let signing = |row: &SinkRow, at| signing_generations(row, at).collect::<Vec<_>>();
        assert_eq!(signing(&row, Wall(5)), [1]);
        row.generation = 2;
        row.rotated_at = Some(Wall(10));
        assert_eq!(signing(&row, Wall(11)), [2, 1]);
        assert_eq!(signing(&row, Wall(10).after(limits::WEBHOOK_SECRET_OVERLAP)), [2]);
    }
}
