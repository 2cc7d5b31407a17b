//! What happened: the log as it grows, and the events of one session.
//!
//! A reader pulls: one that is slow holds one page and nothing waits for it. What it was not told it finds
//! in the log when it resumes.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use super::gate::Within;
use super::readers::Reading;
use super::service::Service;
use super::status::AdminError;
use super::{bad, convert};
use crate::ids::EventId;
use crate::limits;
use crate::model::event::Kind;
use crate::pb::v1;
use crate::pb::v1::stream_events_request::Place;
use crate::store::events::{After, Page, Tail, protobuf};

/// Messages of a stream that may fail on the way.
pub(super) type Messages<T> = BoxStream<'static, Result<T, AdminError>>;

pub(super) async fn stream_events(
    service: &Service,
    within: &Within,
    request: v1::StreamEventsRequest,
) -> Result<Messages<v1::StreamEventsResponse>, AdminError> {
    let kinds = asked_kinds(&request.kinds)?;
    let after = place(request.place)?;
    let reading = service.readers.open()?;
    let log = &service.archive.events;
    let page = log.read(within.group(), after).await?;
    let tail = Tail::new(Arc::clone(log), within.group().clone(), After::Sequence(page.cursor));
    let mut telling = Telling { tail, kinds, waiting: VecDeque::new(), left_out: 0, _reading: reading };
    telling.waiting.push_back(standing(&page));
    telling.take(page);
    let next = |telling: Option<Telling>| async {
        let mut telling = telling?;
        match telling.next().await {
            Ok(message) => Some((Ok(message), Some(telling))),
            Err(error) => Some((Err(error), None)),
        }
    };
    Ok(stream::unfold(Some(telling), next).boxed())
}

/// One reader's way through the log.
struct Telling {
    tail: Tail,
    /// Empty for all.
    kinds: Vec<Kind>,
    waiting: VecDeque<v1::StreamEventsResponse>,
    /// Events that were passed over since the reader was last told how far it is.
    left_out: usize,
    _reading: Reading,
}

impl Telling {
    async fn next(&mut self) -> Result<v1::StreamEventsResponse, AdminError> {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return Ok(message);
            }
            let page = self.tail.next().await?;
            if !page.recovered {
                self.waiting.push_back(standing(&page));
            }
            self.take(page);
        }
    }

    fn take(&mut self, page: Page) {
        for logged in &page.events {
            if !self.kinds.is_empty() && !self.kinds.contains(&logged.event.what.kind()) {
                self.left_out += 1;
                continue;
            }
            self.left_out = 0;
            self.waiting.push_back(v1::StreamEventsResponse {
                event: Some(protobuf::encode(logged)),
                recovered: true,
                sequence: logged.sequence,
            });
        }
        // Whoever asks for what is rare keeps a place that is still in the log.
        if self.left_out >= limits::EVENT_PAGE {
            self.left_out = 0;
            self.waiting.push_back(v1::StreamEventsResponse {
                event: None,
                recovered: true,
                sequence: page.cursor,
            });
        }
    }
}

/// Where a page begins, and whether that is where it was asked to.
fn standing(page: &Page) -> v1::StreamEventsResponse {
    let sequence = page.events.first().map_or(page.cursor, |first| first.sequence.saturating_sub(1));
    v1::StreamEventsResponse { event: None, recovered: page.recovered, sequence }
}

fn asked_kinds(numbers: &[i32]) -> Result<Vec<Kind>, AdminError> {
    let kind = |number: &i32| v1::EventKind::try_from(*number).ok().and_then(protobuf::kind_of);
    numbers
        .iter()
        .map(|number| kind(number).ok_or_else(|| bad("kinds", format!("holds {number}, which is no kind"))))
        .collect()
}

fn place(place: Option<Place>) -> Result<After, AdminError> {
    Ok(match place {
        None | Some(Place::FromNow(false)) => After::Start,
        Some(Place::FromNow(true)) => After::End,
        Some(Place::AfterSequence(sequence)) => After::Sequence(sequence),
        Some(Place::AfterId(id)) => After::Id(EventId::parse(&id).map_err(|error| bad("after_id", error))?),
    })
}

pub(super) async fn list_session_events(
    service: &Service,
    within: &Within,
    request: v1::ListSessionEventsRequest,
) -> Result<v1::ListSessionEventsResponse, AdminError> {
    let session = convert::session_id(&request.session_id)?;
    let log = &service.archive.events;
    let page = log.timeline(within.group(), session, request.after_sequence).await?;
    let events: Vec<_> = page.events.iter().map(protobuf::encode).collect();
    // A page ends early at its bytes as well, so that only an empty one is surely the last.
    let more =
        !events.is_empty() && !log.timeline(within.group(), session, page.cursor).await?.events.is_empty();
    Ok(v1::ListSessionEventsResponse { events, more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_may_be_asked_for_and_nothing_else() {
        let numbers: Vec<i32> = Kind::ALL.iter().map(|kind| protobuf::kind_number(*kind).into()).collect();
        assert_eq!(asked_kinds(&numbers), Ok(Kind::ALL.to_vec()));
        for number in [0, -1, 10_000] {
            assert!(matches!(asked_kinds(&[number]), Err(AdminError::BadField { .. })), "{number}");
        }
    }

    #[test]
    fn places_are_read() {
        let id = EventId::from_u128(7);
        for (asked, wanted) in [
            (None, After::Start),
            (Some(Place::FromNow(false)), After::Start),
            (Some(Place::FromNow(true)), After::End),
            (Some(Place::AfterSequence(3)), After::Sequence(3)),
            (Some(Place::AfterId(id.to_string())), After::Id(id)),
        ] {
            assert_eq!(place(asked), Ok(wanted));
        }
        assert!(place(Some(Place::AfterId("x".to_owned()))).is_err());
    }
}
