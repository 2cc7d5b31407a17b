//! What happened.

use clap::{ArgGroup, Subcommand};

use super::super::Failure;
use super::rows::{EVENTS, Growing, Print, say, say_line};
use super::{Client, Server};
use crate::model::event::Kind;
use crate::pb::v1::stream_events_request::Place;
use crate::pb::{self, v1};
use crate::store::events::protobuf;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Tells events in order, those that are kept and then those that come, until it is interrupted.
    #[command(group = ArgGroup::new("place"))]
    StreamEvents {
        /// Only what stands behind the event with this id.
        #[arg(long, value_name = "ID", group = "place")]
        after: Option<String>,
        /// Only what stands behind this sequence.
        #[arg(long, value_name = "N", group = "place")]
        after_sequence: Option<u64>,
        /// Only what happens from now on.
        #[arg(long, group = "place")]
        from_now: bool,
        /// Only events of this kind, as `session.started`; may be repeated.
        #[arg(long, value_parser = kind)]
        kind: Vec<Kind>,
    },
    /// Tells the events of one session that are still kept.
    ListSessionEvents {
        /// The session ID.
        session: String,
    },
}

fn kind(name: &str) -> Result<Kind, String> {
    Kind::parse(name).ok_or_else(|| {
        let all: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("the kinds are {}", all.join(", "))
    })
}

impl Command {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        match self {
            Self::StreamEvents { after, after_sequence, from_now, kind } => {
                let place = after.map(Place::AfterId).or(after_sequence.map(Place::AfterSequence));
                stream(server, place.or(from_now.then_some(Place::FromNow(true))), &kind).await
            }
            Self::ListSessionEvents { session } => list(server, session).await,
        }
    }
}

async fn stream(server: &Server, place: Option<Place>, kinds: &[Kind]) -> Result<(), Failure> {
    let kinds = kinds.iter().map(|kind| protobuf::kind_number(*kind).into()).collect();
    let message = v1::StreamEventsRequest { group: server.group.clone(), place, kinds };
    let stream = server.ask(message, async |mut client, request| client.stream_events(request).await).await?;
    let mut lines = Growing::under(EVENTS.heading);
    if server.print == Print::Table {
        say(&lines.line(&EVENTS.heading.map(str::to_owned)))?;
    }
    let told = server.each(stream, |answer: v1::StreamEventsResponse| {
        if !answer.recovered {
            eprintln!("porchlight: events behind that place are no longer kept, this is what there is");
        }
        match (answer.event, server.print) {
            (None, _) => Ok(()),
            (Some(event), Print::Json) => say_line(pb::json(&event)),
            (Some(event), Print::Table) => say(&lines.line(&(EVENTS.row)(&event))),
        }
    });
    told.await
}

async fn list(server: &Server, session_id: String) -> Result<(), Failure> {
    let (mut events, mut after_sequence) = (Vec::new(), 0);
    loop {
        let message = v1::ListSessionEventsRequest {
            group: server.group.clone(),
            session_id: session_id.clone(),
            after_sequence,
        };
        let call = async |mut client: Client, request| client.list_session_events(request).await;
        let page = server.ask(message, call).await?;
        events.extend(page.events);
        let last = events.last().map_or(0, |event: &v1::SessionEvent| event.sequence);
        if !page.more || last <= after_sequence {
            return server.print_list(&events, &EVENTS);
        }
        after_sequence = last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_named_as_everywhere() {
        for known in Kind::ALL {
            assert_eq!(kind(known.as_str()), Ok(*known));
        }
        assert!(kind("session").unwrap_err().contains("session.started"));
    }
}
