//! Visitors and what may be said to them.

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use prost_reflect::DynamicMessage;

use super::super::Failure;
use super::Server;
use super::rows::{Growing, Print, VISITORS, counted, say, say_line, word};
use crate::pb::{self, v1};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Tells the presence of visitors by their IDs.
    Lookup {
        /// Visitor IDs.
        #[arg(required = true)]
        visitors: Vec<String>,
    },
    /// Lists the visitors who are here.
    ListVisitors {
        /// Only visitors in this state; may be repeated.
        #[arg(long)]
        state: Vec<State>,
        /// Only visitors whose page's address contains this text.
        #[arg(long, default_value = "")]
        page: String,
    },
    /// Tells visitors as they are now, and each again whenever it changes, until it is interrupted.
    WatchVisitors {
        /// Visitor IDs; none means every visitor of the group.
        visitors: Vec<String>,
    },
    /// Hands a signal to the visitor's page that has the focus.
    Signal {
        /// The visitor ID.
        visitor: String,
        /// The signal's name, for the page to branch on.
        name: String,
        /// What the page is told with it, as a JSON object.
        #[arg(long, default_value = "{}")]
        data: String,
    },
    /// Closes a visitor's connections; their pages do not come back by themselves.
    Disconnect {
        /// The visitor ID.
        visitor: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum State {
    Present,
    Hidden,
    Unknown,
}

impl From<State> for v1::PresenceState {
    fn from(state: State) -> Self {
        match state {
            State::Present => Self::Present,
            State::Hidden => Self::Hidden,
            State::Unknown => Self::Unknown,
        }
    }
}

impl Command {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        match self {
            Self::Lookup { visitors } => lookup(server, visitors).await,
            Self::ListVisitors { state, page } => list(server, &state, page).await,
            Self::WatchVisitors { visitors } => watch(server, visitors).await,
            Self::Signal { visitor, name, data } => signal(server, visitor, name, &data).await,
            Self::Disconnect { visitor } => disconnect(server, visitor).await,
        }
    }
}

async fn lookup(server: &Server, visitor_ids: Vec<String>) -> Result<(), Failure> {
    let message = v1::LookupVisitorsRequest { group: server.group.clone(), visitor_ids };
    let found =
        server.ask(message, async |mut client, request| client.lookup_visitors(request).await).await?;
    server.print_list(&found.visitors, &VISITORS)
}

async fn list(server: &Server, states: &[State], page_contains: String) -> Result<(), Failure> {
    let states = states.iter().map(|state| v1::PresenceState::from(*state).into()).collect();
    let message = v1::ListVisitorsRequest { group: server.group.clone(), states, page_contains };
    let stream = server.ask(message, async |mut client, request| client.list_visitors(request).await).await?;
    let mut visitors = Vec::new();
    let listed = server.each(stream, |answer: v1::ListVisitorsResponse| {
        let visitor = answer.visitor.unwrap_or_default();
        match server.print {
            // A line as soon as it is known: the list may be long and the reader a program.
            Print::Json => say_line(pb::json(&visitor)),
            Print::Table => {
                visitors.push(visitor);
                Ok(())
            }
        }
    });
    listed.await?;
    match server.print {
        Print::Json => Ok(()),
        Print::Table => server.print_list(&visitors, &VISITORS),
    }
}

async fn watch(server: &Server, visitor_ids: Vec<String>) -> Result<(), Failure> {
    let message = v1::WatchPresenceRequest { group: server.group.clone(), visitor_ids };
    let stream =
        server.ask(message, async |mut client, request| client.watch_presence(request).await).await?;
    let mut lines = Growing::under(VISITORS.heading);
    if server.print == Print::Table {
        say(&lines.line(&VISITORS.heading.map(str::to_owned)))?;
    }
    let told = server.each(stream, |answer: v1::WatchPresenceResponse| {
        server.print(&answer.visitor.unwrap_or_default(), |visitor| lines.line(&(VISITORS.row)(visitor)))
    });
    told.await
}

/// A JSON object as protobuf holds it.
fn object(text: &str) -> anyhow::Result<prost_types::Struct> {
    let kind = pb::descriptors().get_message_by_name("google.protobuf.Struct");
    let kind = kind.expect("the proto files use google.protobuf.Struct");
    let mut json = serde_json::Deserializer::from_str(text);
    let read = DynamicMessage::deserialize(kind, &mut json).context("--data must be a JSON object")?;
    json.end().context("--data must be one JSON object")?;
    Ok(read.transcode_to()?)
}

async fn signal(server: &Server, visitor_id: String, name: String, data: &str) -> Result<(), Failure> {
    let message = v1::SignalVisitorRequest {
        group: server.group.clone(),
        visitor_id,
        name,
        data: Some(object(data).map_err(Failure::Settings)?),
        request_id: server.request_id.clone(),
    };
    let done =
        server.change(message, async |mut client, request| client.signal_visitor(request).await).await?;
    server.print(&done, |done| format!("{}\n", word(done.delivery().as_str_name(), "SIGNAL_DELIVERY_")))
}

async fn disconnect(server: &Server, visitor_id: String) -> Result<(), Failure> {
    let request_id = server.request_id.clone();
    let message = v1::DisconnectVisitorRequest { group: server.group.clone(), visitor_id, request_id };
    let call = async |mut client: super::Client, request| client.disconnect_visitor(request).await;
    let done = server.change(message, call).await?;
    server.print(&done, |done| format!("{} closed\n", counted(done.connections as usize, "connection")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::value::Kind;

    #[test]
    fn data_is_a_json_object() {
        let data = object(r#"{"a": "b", "n": 1.5, "deep": {"yes": true}}"#).unwrap();
        assert_eq!(data.fields["a"].kind, Some(Kind::StringValue("b".into())));
        assert_eq!(data.fields["n"].kind, Some(Kind::NumberValue(1.5)));
        assert!(object("{}").unwrap().fields.is_empty());
        for bad in ["", "1", "[]", "{} {}", "{"] {
            assert!(object(bad).is_err(), "{bad}");
        }
    }
}
