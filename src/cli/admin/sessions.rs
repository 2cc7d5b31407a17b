//! Sessions.

use clap::Subcommand;

use super::super::Failure;
use super::Server;
use super::rows::{self, Growing, Print, SESSIONS, say};
use crate::pb::v1;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Lists the sessions that have not ended.
    ListSessions {
        /// Only the sessions of this visitor.
        #[arg(long, default_value = "")]
        visitor: String,
    },
    /// Describes a session and who is in it.
    Session {
        /// The session ID.
        session: String,
    },
    /// Ends a session for everybody in it.
    EndSession {
        /// The session ID.
        session: String,
    },
    /// Tells the sessions that have not ended, and each again whenever it changes, until it is interrupted.
    WatchSessions {
        /// Only the sessions of this visitor.
        #[arg(long, default_value = "")]
        visitor: String,
    },
}

impl Command {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        match self {
            Self::ListSessions { visitor } => list(server, visitor).await,
            Self::Session { session } => describe(server, session).await,
            Self::EndSession { session } => end(server, session).await,
            Self::WatchSessions { visitor } => watch(server, visitor).await,
        }
    }
}

async fn list(server: &Server, visitor_id: String) -> Result<(), Failure> {
    let message = v1::ListSessionsRequest { group: server.group.clone(), visitor_id };
    let found = server.ask(message, async |mut client, request| client.list_sessions(request).await).await?;
    server.print_list(&found.sessions, &SESSIONS)
}

async fn describe(server: &Server, session_id: String) -> Result<(), Failure> {
    let message = v1::GetSessionRequest { group: server.group.clone(), session_id };
    let found = server.ask(message, async |mut client, request| client.get_session(request).await).await?;
    server.print(&found.session.unwrap_or_default(), rows::session)
}

async fn end(server: &Server, session_id: String) -> Result<(), Failure> {
    let request_id = server.request_id.clone();
    let message = v1::EndSessionRequest { group: server.group.clone(), session_id, request_id };
    let done = server.change(message, async |mut client, request| client.end_session(request).await).await?;
    server.print(&done, |done| {
        let told = if done.ended_now { "ended" } else { "had ended before" };
        format!("{told}\n")
    })
}

async fn watch(server: &Server, visitor_id: String) -> Result<(), Failure> {
    let message = v1::WatchSessionsRequest { group: server.group.clone(), visitor_id };
    let stream =
        server.ask(message, async |mut client, request| client.watch_sessions(request).await).await?;
    let mut lines = Growing::under(SESSIONS.heading);
    if server.print == Print::Table {
        say(&lines.line(&SESSIONS.heading.map(str::to_owned)))?;
    }
    let told = server.each(stream, |answer: v1::WatchSessionsResponse| {
        server.print(&answer.session.unwrap_or_default(), |session| lines.line(&(SESSIONS.row)(session)))
    });
    told.await
}
