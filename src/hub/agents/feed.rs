//! The feed's messages: every agent of a group may follow and read the feeds of its records.

use super::{AgentSeat, check_record};
use crate::hub::feed::told;
use crate::ids::EventId;
use crate::limits;
use crate::model::feed::Place;
use crate::store::StoreError;
use crate::store::feed::{Follow, PostsQuery};
use crate::wire::agent::{Feed, Record, ToAgent};
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::message::Text;

impl AgentSeat {
    /// What the agent follows is pushed to this connection from now on.
    pub async fn follow_again(&self) {
        self.hub.feed_arrives(&self.me(), &self.connection).await;
    }

    pub(super) async fn follow(&self, record: &Record, id: Option<u64>) -> Result<Text, Refusal> {
        check_record(record)?;
        match self.hub.follow(&self.me(), Place::from(record)).await.map_err(|error| failed(&error))? {
            Follow::Follows => Ok(Text::answer(id, &ToAgent::Ok {})),
            Follow::TooMany => {
                let limit = limits::FOLLOWS;
                Err(Refusal::new(ErrorCode::TooMany, format!("{limit} records are followed already")))
            }
        }
    }

    pub(super) async fn unfollow(&self, record: &Record, id: Option<u64>) -> Result<Text, Refusal> {
        self.hub.unfollow(&self.me(), &Place::from(record)).await.map_err(|error| failed(&error))?;
        Ok(Text::answer(id, &ToAgent::Ok {}))
    }

    pub(super) async fn feed(&self, wanted: Feed, id: Option<u64>) -> Result<Text, Refusal> {
        check_record(&wanted.record)?;
        let place = Place::from(&wanted.record);
        let query = PostsQuery {
            before: wanted.before.as_deref().map(post_id).transpose()?,
            after: wanted.after.as_deref().map(post_id).transpose()?,
            most: wanted.limit.unwrap_or(limits::FEED_PAGE.1),
        };
        let posts = self.hub.feed(&self.identity.group, &place, query).await;
        let posts = posts.map_err(|error| failed(&error))?.ok_or_else(|| Refusal::not_found("post"))?;
        let items = posts.items.iter().map(told).collect();
        let following = self.hub.follows(&self.me(), &place);
        Ok(Text::answer(id, &ToAgent::Feed { items, more: posts.more, following }))
    }
}

fn post_id(text: &str) -> Result<EventId, Refusal> {
    EventId::parse(text).map_err(|_| Refusal::not_found("post"))
}

fn failed(error: &StoreError) -> Refusal {
    tracing::warn!(%error, "the feed cannot be read or changed");
    Refusal::new(ErrorCode::Unavailable, "the feed cannot be read or changed now")
}
