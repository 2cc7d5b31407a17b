//! Salesforce: posts become feed elements, leads and session records are upserted by an id of ours.
//!
//! Decides what is asked of an org and what its answers mean for a lane. Upserts may be repeated, so they go
//! in composite requests, and what lies behind the first that failed is written again. Posts may not, and go
//! one by one (`posts`). `letters` holds what becomes of what, `login` how we sign in, `answer` which
//! refusals are for good.

mod answer;
mod letters;
mod login;
mod posts;

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::Method;
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

pub(super) use self::letters::{of_event, of_record};

use self::answer::{Subject, refusal};
use self::letters::{Sealed, Work};
use self::login::{Call, Hitch, Logins, Reply, VERSION, Who};
use self::posts::Posts;
use super::Trouble;
use super::letter::{Letter, TEST};
use super::reach::Reach;
use crate::clock::Wall;
use crate::ids::GroupId;
use crate::limits;
use crate::model::event::Kind;
use crate::model::sink::Org;
use crate::store::sync::SinkRow;

/// Reaches orgs.
pub(super) struct Salesforce {
    logins: Arc<Logins>,
    posts: Posts,
}

impl Salesforce {
    pub(super) fn new(reach: Arc<Reach>, keys: BTreeMap<GroupId, EncodingKey>) -> Self {
        let logins = Arc::new(Logins::new(reach, keys));
        Self { posts: Posts::new(Arc::clone(&logins)), logins }
    }

    /// Groups that have a key.
    pub(super) fn groups(&self) -> impl Iterator<Item = &GroupId> {
        self.logins.groups()
    }

    /// Hands over the first post, or the upserts up to the next one.
    pub(super) async fn deliver(
        &self,
        row: &SinkRow,
        org: &Org,
        letters: &[Letter],
        now: Wall,
    ) -> (usize, Option<Trouble>) {
        let who = Who { group: row.sink.group.clone(), org: org.clone() };
        let mut upserts = Vec::new();
        for letter in letters.iter().take(limits::SALESFORCE_BATCH) {
            match Sealed::open(letter) {
                Ok(sealed) if matches!(sealed.salesforce, Work::Upsert { .. }) => upserts.push(sealed),
                _ if !upserts.is_empty() => break,
                Ok(sealed) => {
                    let taken = match &sealed.salesforce {
                        Work::Post { .. } => self.posts.next(row, who, sealed, now).await,
                        Work::Nothing | Work::Upsert { .. } => Ok(()),
                    };
                    return (usize::from(taken.is_ok()), taken.err());
                }
                Err(trouble) => return (0, Some(trouble)),
            }
        }
        self.upsert(&who, &upserts, now).await
    }

    /// Hands over a letter that was put aside; for the one that says nothing, sees whether others could be.
    pub(super) async fn single(
        &self,
        row: &SinkRow,
        org: &Org,
        letter: &Letter,
        now: Wall,
    ) -> Result<(), Trouble> {
        let who = Who { group: row.sink.group.clone(), org: org.clone() };
        if letters::kind(letter) == TEST {
            return self.test(row, &who, now).await;
        }
        let sealed = Sealed::open(letter)?;
        match &sealed.salesforce {
            Work::Upsert { .. } => {
                self.upsert(&who, std::slice::from_ref(&sealed), now).await.1.map_or(Ok(()), Err)
            }
            Work::Post { .. } => self.posts.again(&who, &sealed, now).await,
            Work::Nothing => Ok(()),
        }
    }

    /// Writes records with one request; says how many are there up to the first that is not.
    async fn upsert(&self, who: &Who, letters: &[Sealed], now: Wall) -> (usize, Option<Trouble>) {
        let mut parts = Vec::new();
        for (at, letter) in letters.iter().enumerate() {
            let Work::Upsert { object, key, id, fields } = &letter.salesforce else { continue };
            parts.push(json!({
                "method": "PATCH",
                "url": format!("/services/data/{VERSION}/sobjects/{object}/{key}/{id}"),
                "referenceId": reference(at),
                "body": fields,
            }));
        }
        if parts.is_empty() {
            return (letters.len(), None);
        }
        // Without collation they are done in the order in which they stand.
        let body = json!({ "allOrNone": false, "collateSubrequests": false, "compositeRequest": parts });
        let call = Call { method: Method::POST, path: login::path("composite"), body: Some(body) };
        let reply = match self.logins.call(who, &call, now).await {
            Ok(reply) if reply.status.is_success() => reply,
            Ok(reply) => return (0, Some(refusal(&reply, Subject::All))),
            Err(Hitch::Before(trouble) | Hitch::Unsure(trouble)) => return (0, Some(trouble)),
        };
        let empty = Vec::new();
        let results = reply.body.as_ref().and_then(|body| body["compositeResponse"].as_array());
        let results = results.unwrap_or(&empty);
        for at in 0..letters.len() {
            let result = results.iter().find(|result| result["referenceId"] == reference(at));
            let Some(result) = result else {
                return (at, Some(Trouble::later("the answer lacks a part of what was asked")));
            };
            let part = Reply::part(result);
            if !part.status.is_success() {
                if part.is_expired() {
                    self.logins.forget(who);
                }
                return (at, Some(refusal(&part, Subject::Record)));
            }
        }
        (letters.len(), None)
    }

    /// Whether we are let in, and whether what is to be written has its place.
    async fn test(&self, row: &SinkRow, who: &Who, now: Wall) -> Result<(), Trouble> {
        self.logins.forget(who);
        self.logins.sign_in(who, now).await?;
        if row.sink.takes.records {
            let fields = letters::FIELDS.iter().map(|field| field.name);
            self.describe(who, letters::SESSION, letters::SESSION_KEY, fields, now).await?;
        }
        if row.sink.takes.event(Kind::LeadCreated) {
            let fields = letters::LEAD_FIELDS.iter().copied();
            self.describe(who, letters::LEAD, letters::LEAD_KEY, fields, now).await?;
        }
        Ok(())
    }

    async fn describe(
        &self,
        who: &Who,
        object: &str,
        key: &str,
        fields: impl Iterator<Item = &'static str>,
        now: Wall,
    ) -> Result<(), Trouble> {
        let path = login::path(&format!("sobjects/{object}/describe"));
        let reply = self.logins.call(who, &Call { method: Method::GET, path, body: None }, now).await;
        let reply = match reply {
            Ok(reply) if reply.status.is_success() => reply,
            Ok(reply) => {
                let why = refusal(&reply, Subject::All);
                return Err(Trouble::later(format!("object {object} can't be described: {why}")));
            }
            Err(Hitch::Before(trouble) | Hitch::Unsure(trouble)) => return Err(trouble),
        };
        let described = reply.body.as_ref().and_then(|body| body["fields"].as_array());
        let described = described.ok_or_else(|| Trouble::later("a description can't be read"))?;
        let named = |name: &str| described.iter().find(|field| field["name"] == name);
        if named(key).is_none_or(|field| field["externalId"] != Value::Bool(true)) {
            return Err(Trouble::later(format!("object {object} has no external ID field {key}")));
        }
        let writable = |name: &&str| {
            named(name).is_some_and(|field| field["createable"] == true && field["updateable"] == true)
        };
        let missing: Vec<_> = fields.filter(|name| !writable(name)).collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(Trouble::later(format!(
                "object {object} has no fields that we may write: {missing}"
            )));
        }
        Ok(())
    }
}

/// Names a part of a composite request.
fn reference(at: usize) -> String {
    format!("r{at}")
}
