//! Posts and leads.

use super::timestamp;
use crate::model::feed::Item;
use crate::pb::v1;
use crate::store::events::protobuf::{actor, record_reference};
use crate::store::feed::LeadRow;

/// A post as protobuf tells it.
pub(in crate::admin) fn feed_item(item: Item) -> v1::FeedItem {
    v1::FeedItem {
        post_id: item.id.to_string(),
        record: Some(record_reference(&item.record)),
        time: Some(timestamp(item.at)),
        author: Some(actor(&item.by)),
        author_name: item.post.author.unwrap_or_default(),
        text: item.post.text,
        link: item.post.link.unwrap_or_default(),
        session_id: item.session.map(|session| session.to_string()).unwrap_or_default(),
    }
}

/// A lead as protobuf tells it.
pub(in crate::admin) fn lead_message(row: LeadRow) -> v1::Lead {
    v1::Lead {
        lead_id: row.lead.lead,
        email: row.lead.email,
        name: row.lead.name.unwrap_or_default(),
        created_at: Some(timestamp(row.at)),
        session_id: row.session.map(|session| session.to_string()).unwrap_or_default(),
    }
}
