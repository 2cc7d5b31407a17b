//! The feeds of records, and the leads.

use super::bad;
use super::convert::{feed_item, lead_message};
use super::gate::Within;
use super::page::{self, Pages};
use super::service::Service;
use super::status::AdminError;
use crate::clock;
use crate::hub::accounts::AdminCaller;
use crate::hub::feed::NewPost;
use crate::ids::{EventId, GroupId};
use crate::limits;
use crate::model::event::Actor;
use crate::model::feed::{Item, Place};
use crate::pb::v1;
use crate::store::feed::PostsQuery;
use crate::wire::agent::Record;
use crate::wire::record::{NO_LINK, is_link};

pub(super) async fn list_feed(
    service: &Service,
    within: &Within,
    request: v1::ListFeedRequest,
) -> Result<v1::ListFeedResponse, AdminError> {
    let place = Place::from(&record_of(request.record)?);
    // A token belongs to one record: lengths tell where its object ends.
    let of = format!("{} {} {} {}", within.group(), place.object.len(), place.object, place.id);
    let pages = Pages { accounts: &service.accounts, call: "ListFeed", of: &of };
    let gone = || bad("page_token", "names a post that is no longer kept");
    let before = match pages.after(&request.page_token)? {
        Some(last) => Some(EventId::parse(&last).map_err(|_| gone())?),
        None => None,
    };
    let most = page::size(request.page_size).min(limits::FEED_PAGE.0);
    let query = PostsQuery { before, after: None, most };
    let posts = service.hub.feed(within.group(), &place, query).await?.ok_or_else(gone)?;
    let last = posts.items.last().filter(|_| posts.more);
    let next_page_token = last.map_or_else(String::new, |last| pages.token(&last.id.to_string()));
    Ok(v1::ListFeedResponse { items: posts.items.into_iter().map(feed_item).collect(), next_page_token })
}

pub(super) async fn post_feed(
    service: &Service,
    within: &Within,
    request: v1::PostFeedRequest,
) -> Result<v1::PostFeedResponse, AdminError> {
    let v1::PostFeedRequest { group: _, record, text, link, request_id } = request;
    let record = record_of(record)?;
    let (group, caller) = (within.group(), within.caller().who());
    let post = NewPost {
        by: Actor::of_audit(&caller.to_string()),
        author: author(service, caller),
        record,
        text: text_of(text)?,
        link: link_of(link)?,
    };
    let id =
        if request_id.is_empty() { EventId::fresh() } else { id_for(service, group, caller, &request_id) };
    // A post that was made while its call was not remembered is not made again.
    let id = match service.hub.feed_post(group, id).await? {
        None => id,
        Some(before) if before.at < clock::wall().before(limits::CALL_MEMORY) => EventId::fresh(),
        Some(before) if is_same(&before, &post) => {
            return Ok(v1::PostFeedResponse { item: Some(feed_item(before)) });
        }
        Some(_) => return Err(AdminError::RequestIdReused),
    };
    let item = service.hub.post_feed(group, id, post).await?;
    Ok(v1::PostFeedResponse { item: Some(feed_item(item)) })
}

pub(super) async fn list_leads(
    service: &Service,
    within: &Within,
    request: v1::ListLeadsRequest,
) -> Result<v1::ListLeadsResponse, AdminError> {
    let pages = Pages { accounts: &service.accounts, call: "ListLeads", of: within.group().as_str() };
    let after = match pages.after(&request.page_token)? {
        Some(last) => last.parse().map_err(|_| AdminError::Internal)?,
        None => 0,
    };
    let size = page::size(request.page_size);
    let mut rows = service.hub.leads(within.group(), after, size + 1).await?;
    let next_page_token = pages.cut(&mut rows, size, |row| row.number.to_string());
    Ok(v1::ListLeadsResponse { leads: rows.into_iter().map(lead_message).collect(), next_page_token })
}

fn record_of(record: Option<v1::RecordReference>) -> Result<Record, AdminError> {
    let record = record.ok_or_else(|| bad("record", "is missing"))?;
    let given = |text: String| (!text.is_empty()).then(|| text.into());
    let record = Record {
        object: record.object.into(),
        id: record.id.into(),
        name: given(record.name),
        url: given(record.url),
    };
    match record.fault() {
        Some((field, problem)) => {
            Err(AdminError::BadField { field: format!("record.{field}").into(), problem })
        }
        None => Ok(record),
    }
}

fn text_of(text: String) -> Result<String, AdminError> {
    let limit = limits::POST_BYTES.0;
    if text.trim().is_empty() || text.len() > limit {
        return Err(bad("text", format!("must have 1 to {limit} bytes and not be blank")));
    }
    if text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')) {
        return Err(bad("text", "holds control characters"));
    }
    Ok(text)
}

fn link_of(link: String) -> Result<Option<String>, AdminError> {
    let limit = limits::POST_BYTES.1;
    if link.len() > limit {
        return Err(bad("link", format!("is longer than {limit} bytes")));
    }
    match link.as_str() {
        "" => Ok(None),
        text if is_link(text) => Ok(Some(link)),
        _ => Err(bad("link", NO_LINK)),
    }
}

/// The caller's name for people.
fn author(service: &Service, caller: &AdminCaller) -> Option<String> {
    match caller {
        AdminCaller::Agent(key) => service.accounts.member(key).map(|member| member.name.as_ref().to_owned()),
        AdminCaller::Key(..) | AdminCaller::Operator => Some(caller.to_string()),
    }
}

/// The id of the post that a request ID stands for, as a UUID of version 8.
fn id_for(service: &Service, group: &GroupId, caller: &AdminCaller, request_id: &str) -> EventId {
    let own = caller.own_group().map_or("", GroupId::as_str);
    let context = [group.as_str(), own, &caller.to_string(), request_id];
    let derived = service.accounts.derive("feed-post-id", &context);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&derived[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    EventId::from_bytes(bytes)
}

fn is_same(before: &Item, post: &NewPost) -> bool {
    (&before.record, &before.post.text, &before.post.link) == (&post.record, &post.text, &post.link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_places() {
        for good in ["https://x.y/z?q#f", "http://localhost:1", "/s/1"] {
            assert_eq!(link_of(good.to_owned()), Ok(Some(good.to_owned())));
        }
        assert_eq!(link_of(String::new()), Ok(None));
        let long = format!("/{}", "x".repeat(limits::POST_BYTES.1));
        for bad in ["javascript:alert(1)", "data:text/html,x", "//x.y", "/\\x.y", "x", " /s", "/a b", &long] {
            assert!(link_of(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn texts_are_bounded() {
        assert!(text_of("One\nline\tand another".to_owned()).is_ok());
        for bad in ["", " \n", "a\0b", "\u{1b}[31m", &"x".repeat(limits::POST_BYTES.0 + 1)] {
            assert!(text_of(bad.to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn records_have_names() {
        let record = |object: &str, id: &str| {
            let (name, url) = (String::new(), String::new());
            record_of(Some(v1::RecordReference { object: object.into(), id: id.into(), name, url }))
        };
        assert!(record("Case", "1").is_ok());
        assert!(record_of(None).is_err());
        let url = "javascript:alert(1)".to_owned();
        let script = v1::RecordReference { object: "Case".into(), id: "1".into(), name: String::new(), url };
        let refused = record_of(Some(script));
        assert!(matches!(refused, Err(AdminError::BadField { field, .. }) if field == "record.url"));
        for (object, id) in [("", "1"), ("Case", ""), (&"x".repeat(limits::RECORD_NAME_BYTES + 1), "1")] {
            assert!(record(object, id).is_err());
        }
    }
}
