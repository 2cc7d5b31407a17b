//! Posts: each once in its record's feed, although a feed element cannot be posted under an id of ours.
//!
//! Decides when a post is looked for before it is posted. It carries our name for it, and one whose last
//! attempt had no clear end is looked for first: nothing was heard, the org broke down, the process died.
//! What a process that died has tried was one post at most, for the next waits until it was noted. An
//! attempt is not given up half way when its sink is put anew; the next one waits for its end.

use std::collections::HashMap;
use std::sync::Arc;

use hyper::Method;
use parking_lot::Mutex;
use tokio::sync::Mutex as Turn;

use super::Trouble;
use super::answer::{Subject, code, refusal};
use super::letters::Sealed;
use super::login::{self, Call, Hitch, Logins, Who};
use crate::clock::Wall;
use crate::ids::{GroupId, SinkId};
use crate::limits;
use crate::store::sync::SinkRow;

/// The lane of events of a sink.
type Lane = (GroupId, SinkId);

/// How the last attempt of a sink ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Last {
    /// Nobody knows.
    Unknown,
    /// It is not there and never will be.
    Refused,
    /// It is there.
    Posted(String),
}

/// Posts to feeds.
pub(super) struct Posts {
    logins: Arc<Logins>,
    turns: Mutex<HashMap<Lane, Arc<Turn<Last>>>>,
}

impl Posts {
    pub(super) fn new(logins: Arc<Logins>) -> Self {
        Self { logins, turns: Mutex::default() }
    }

    /// Posts what comes next in a sink's lane.
    pub(super) async fn next(
        &self,
        row: &SinkRow,
        who: Who,
        sealed: Sealed,
        now: Wall,
    ) -> Result<(), Trouble> {
        let turn = self.turn((row.sink.group.clone(), row.sink.id.clone()));
        let mut last = turn.lock_owned().await;
        if matches!(&*last, Last::Posted(id) if *id == sealed.id) {
            return Ok(());
        }
        let logins = Arc::clone(&self.logins);
        // On its own, so that its end is known even if nobody waits for it any more.
        let attempt = tokio::spawn(async move {
            let before = std::mem::replace(&mut *last, Last::Unknown);
            let posted = match before {
                Last::Unknown => find_or_post(&logins, &who, &sealed, now).await,
                Last::Refused | Last::Posted(_) => post(&logins, &who, &sealed, now).await,
            };
            match posted {
                Ok(()) => {
                    *last = Last::Posted(sealed.id);
                    Ok(())
                }
                Err(Hitch::Before(trouble)) => {
                    // Nothing was done this time; what was unknown before that still is.
                    if before != Last::Unknown {
                        *last = Last::Refused;
                    }
                    Err(trouble)
                }
                Err(Hitch::Unsure(trouble)) => Err(trouble),
            }
        });
        attempt.await.unwrap_or_else(|error| Err(Trouble::later(error)))
    }

    /// Posts what was put aside, unless it is there: nobody knows any more how its last attempt ended.
    pub(super) async fn again(&self, who: &Who, sealed: &Sealed, now: Wall) -> Result<(), Trouble> {
        match find_or_post(&self.logins, who, sealed, now).await {
            Ok(()) => Ok(()),
            Err(Hitch::Before(trouble) | Hitch::Unsure(trouble)) => Err(trouble),
        }
    }

    fn turn(&self, lane: Lane) -> Arc<Turn<Last>> {
        let mut turns = self.turns.lock();
        if turns.len() >= limits::SALESFORCE_KNOWN && !turns.contains_key(&lane) {
            turns.clear();
        }
        Arc::clone(turns.entry(lane).or_insert_with(|| Arc::new(Turn::new(Last::Unknown))))
    }
}

async fn find_or_post(logins: &Logins, who: &Who, sealed: &Sealed, now: Wall) -> Result<(), Hitch> {
    if is_posted(logins, who, sealed, now).await? { Ok(()) } else { post(logins, who, sealed, now).await }
}

async fn post(logins: &Logins, who: &Who, sealed: &Sealed, now: Wall) -> Result<(), Hitch> {
    let body = sealed.element(who.org.site_url.as_deref()).map_err(Hitch::Before)?;
    let path = login::path("chatter/feed-elements");
    let reply = logins.call(who, &Call { method: Method::POST, path, body: Some(body) }, now).await?;
    if reply.status.is_success() {
        return Ok(());
    }
    let trouble = refusal(&reply, Subject::Post);
    // A refusal in the org's own words undoes what was begun. A server that broke down says nothing of the
    // sort, nor does what stands in between.
    let refused = reply.status.is_client_error() && code(&reply).is_some();
    Err(if refused { Hitch::Before(trouble) } else { Hitch::Unsure(trouble) })
}

/// Whether a post is in its record's feed: looks through what came since then, newest first, as far as
/// [`limits::SALESFORCE_FEED`] goes.
async fn is_posted(logins: &Logins, who: &Who, sealed: &Sealed, now: Wall) -> Result<bool, Hitch> {
    let record = sealed.record().map_err(Hitch::Before)?;
    let (size, pages) = limits::SALESFORCE_FEED;
    let rest = format!("chatter/feeds/record/{record}/feed-elements?sort=CreatedDateDesc&pageSize={size}");
    let mut path = login::path(&rest);
    for _ in 0..pages {
        let call = Call { method: Method::GET, path, body: None };
        let reply = logins.call(who, &call, now).await.map_err(Hitch::looking)?;
        if !reply.status.is_success() {
            return Err(Hitch::Before(refusal(&reply, Subject::Post)));
        }
        let page = reply.body.ok_or_else(|| Hitch::Before(Trouble::later("a feed can't be read")))?;
        let empty = Vec::new();
        let elements = page["elements"].as_array().unwrap_or(&empty);
        if elements.iter().any(|element| sealed.is_in(element)) {
            return Ok(true);
        }
        match page["nextPageUrl"].as_str() {
            Some(next) if next.starts_with(login::ROOT) && !sealed.is_newer_than(elements.last()) => {
                path = next.to_owned();
            }
            _ => return Ok(false),
        }
    }
    Ok(false)
}
