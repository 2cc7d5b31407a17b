//! The order in which sessions ended, where their records are on Redis.
//!
//! Decides how places are given ([`GIVE_PLACE`], in the script that writes the record that ends), read and let go
//! of. Does not decide what a record is or how long it is kept; the store of records does.

use std::sync::Arc;

use async_trait::async_trait;

use super::super::sync::EndedRecords;
use super::super::{SessionRecords, StoreError};
use crate::ids::{GroupId, SessionId};
use crate::model::session_record::SessionRecord;
use crate::redis::Link;

/// What a script that writes records has in front: `give_place(places, session)`, with [`places`] among its keys and
/// the session's id as hyphenated text.
pub const GIVE_PLACE: &str = include_str!("lua/ended.lua");

/// The key of a group's places.
pub fn places(group: &GroupId) -> String {
    format!("pl:{{{group}}}:ended")
}

/// Sessions that ended, behind a place, in order.
pub async fn ended(
    link: &Link,
    group: &GroupId,
    after: u64,
    most: usize,
) -> Result<Vec<(u64, SessionId)>, StoreError> {
    let mut look = redis::cmd("ZRANGEBYSCORE");
    look.arg(places(group)).arg(format!("({after}")).arg("+inf");
    look.arg("WITHSCORES").arg("LIMIT").arg(0).arg(most);
    let found: Vec<(String, u64)> = link.ask(&look).await?;
    let read = |(session, place): (String, u64)| {
        let session = SessionId::parse(&session).map_err(|error| StoreError::Unreadable {
            what: "place of a session that ended".to_owned(),
            why: error.to_string(),
        })?;
        Ok((place, session))
    };
    found.into_iter().map(read).collect()
}

/// Lets go of the places up to one, but never of the newest, so that none is given twice.
pub async fn forget_ended(link: &Link, group: &GroupId, last: u64) -> Result<(), StoreError> {
    let mut look = redis::cmd("ZREVRANGE");
    look.arg(places(group)).arg(0).arg(0).arg("WITHSCORES");
    let newest: Vec<(String, u64)> = link.ask(&look).await?;
    let Some((_, newest)) = newest.first() else { return Ok(()) };
    let mut forget = redis::cmd("ZREMRANGEBYSCORE");
    forget.arg(places(group)).arg("-inf").arg(last.min(newest - 1));
    let _gone: u64 = link.ask(&forget).await?;
    Ok(())
}

/// Records on Redis in the order in which their sessions ended.
pub struct RedisEnded {
    link: Link,
    records: Arc<dyn SessionRecords>,
}

impl std::fmt::Debug for RedisEnded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisEnded").finish_non_exhaustive()
    }
}

impl RedisEnded {
    /// The order of these records.
    pub fn new(link: Link, records: Arc<dyn SessionRecords>) -> Self {
        Self { link, records }
    }
}

#[async_trait]
impl EndedRecords for RedisEnded {
    async fn ended_records(
        &self,
        group: &GroupId,
        after: u64,
        most: usize,
    ) -> Result<Vec<(u64, SessionRecord)>, StoreError> {
        let ended = ended(&self.link, group, after, most).await?;
        let records = ended.iter().map(|(_, session)| self.records.session_record(group, *session));
        let records = futures_util::future::try_join_all(records).await?;
        // What was let go of meanwhile is passed over.
        Ok(ended.into_iter().zip(records).filter_map(|((place, _), record)| Some((place, record?))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::Redis;
    use super::*;

    #[tokio::test]
    async fn a_session_has_one_place_and_none_is_given_twice() {
        let redis = Redis::start().await;
        let link = Link::open(&redis.url()).await.unwrap();
        let group = GroupId::new("g").unwrap();
        let script = redis::Script::new(&format!("{GIVE_PLACE} give_place(KEYS[1], ARGV[1])"));
        let session = SessionId::from_u128;
        let end = async |number| {
            let mut call = script.key(places(&group));
            call.arg(session(number).to_string());
            link.run::<()>(&call).await.unwrap();
        };
        for number in [7, 5, 7, 9] {
            end(number).await;
        }
        let all = ended(&link, &group, 0, 9).await.unwrap();
        assert_eq!(all, [(1, session(7)), (2, session(5)), (3, session(9))]);
        assert_eq!(ended(&link, &group, 1, 1).await.unwrap(), [(2, session(5))]);
        forget_ended(&link, &group, 2).await.unwrap();
        assert_eq!(ended(&link, &group, 0, 9).await.unwrap(), [(3, session(9))]);
        forget_ended(&link, &group, 3).await.unwrap();
        assert_eq!(ended(&link, &group, 0, 9).await.unwrap(), [(3, session(9))], "the newest stays");
        end(4).await;
        assert_eq!(ended(&link, &group, 3, 9).await.unwrap(), [(4, session(4))]);
        let other = GroupId::new("h").unwrap();
        forget_ended(&link, &other, 3).await.unwrap();
        assert_eq!(ended(&link, &other, 0, 9).await.unwrap(), []);
    }
}
