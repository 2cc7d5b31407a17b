//! The records of sessions with their indices, the order in which sessions ended, and the place of the fold.

use super::super::super::StoreError;
use super::super::super::migrate::Source as _;
use super::super::super::records::{RecordQuery, SessionRecords as _};
use super::super::fold::{Facts, Place, indices};
use super::super::keys::Keys;
use super::super::rows::json;
use super::Import;
use crate::clock::Wall;
use crate::ids::GroupId;
use crate::model::session_record::Status;

impl Import {
    /// All records, and last how far the log is folded into them: as far as it goes.
    pub(super) async fn records(&self, group: &GroupId) -> Result<(), StoreError> {
        let (keys, mut after) = (Keys(group), None);
        loop {
            let page =
                self.from.session_records(group, RecordQuery { after, ..RecordQuery::default() }).await?;
            let mut put = redis::pipe();
            for record in &page.records {
                let (session, place) = (record.session.bytes(), Place::new(record.created, record.session));
                put.cmd("HSET").arg(keys.records()).arg(&session[..]).arg(json(record)).ignore();
                put.cmd("HSET").arg(keys.facts()).arg(&session[..]).arg(json(&Facts::from(record))).ignore();
                for index in indices(&keys, record).into_iter().chain([keys.created()]) {
                    put.cmd("ZADD").arg(index).arg(0).arg(&place.0[..]).ignore();
                }
                if record.status == Status::Ended {
                    put.cmd("ZREM").arg(keys.open()).arg(&place.0[..]).ignore();
                } else {
                    put.cmd("ZADD").arg(keys.open()).arg(0).arg(&place.0[..]).ignore();
                }
            }
            self.put(&put).await?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        self.ended(group).await?;
        let head = self.from.ends(group).await?.head;
        Ok(self.link.ask(redis::cmd("SET").arg(keys.folded()).arg(head)).await?)
    }

    async fn ended(&self, group: &GroupId) -> Result<(), StoreError> {
        let (key, mut after) = (Keys(group).ended(), 0);
        loop {
            let page = self.from.ended_behind(group, after).await?;
            let Some((last, _, _)) = page.last() else { return Ok(()) };
            after = *last;
            let mut put = redis::pipe();
            for (number, session, created) in page {
                // Of a record that is gone only the number counts.
                let place = Place::new(created.unwrap_or(Wall(0)), session);
                put.cmd("ZADD").arg(&key).arg(number).arg(&place.0[..]).ignore();
            }
            self.put(&put).await?;
        }
    }
}
