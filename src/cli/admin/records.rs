//! Records of sessions, as lists, as files for other programs, and as statistics.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use prost::{Message, Name};
use prost_types::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::Failure;
use super::rows::{self, Columns, Print, RECORDS, STATS, say, say_line};
use super::{Client, Server, csv};
use crate::limits;
use crate::pb::{self, v1};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Lists the records of sessions that fit, newest first.
    ListSessionRecords {
        #[command(flatten)]
        filter: Box<Filter>,
        /// At most so many.
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        #[command(flatten)]
        form: Form,
    },
    /// Describes what is left of a session.
    SessionRecord {
        /// The session ID.
        session: String,
    },
    /// Tells what each agent did on each day, in UTC.
    SessionStats {
        /// From this day or moment on [default: 30 days before the end].
        #[arg(long, value_name = "TIME", value_parser = moment)]
        from: Option<Timestamp>,
        /// Until this day or moment, which is not part of it [default: now].
        #[arg(long, value_name = "TIME", value_parser = moment)]
        until: Option<Timestamp>,
        #[command(flatten)]
        form: Form,
    },
}

/// Which records; all that is given must hold.
#[derive(Debug, Args)]
pub(super) struct Filter {
    /// Only sessions created on this day or at this moment, or later: `2026-01-31`, `2026-01-31T08:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Timestamp>,
    /// Only sessions created before.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Only those that this agent asked for or watched.
    #[arg(long, default_value = "")]
    agent: String,
    /// Only those of this visitor.
    #[arg(long, default_value = "")]
    visitor: String,
    /// Only those of this CRM record, as `Case/500`.
    #[arg(long, value_name = "OBJECT/ID", value_parser = record)]
    record: Option<v1::RecordReference>,
    /// Only those of this kind.
    #[arg(long, value_parser = PossibleValuesParser::new(["cobrowse", "screen", "view", "show"]))]
    kind: Option<String>,
    /// Only those with this outcome.
    #[arg(long, value_parser = PossibleValuesParser::new([
        "pending", "accepted", "not_required", "declined", "cancelled", "expired", "visitor_gone", "failed",
    ]))]
    outcome: Option<String>,
    /// Only those that are this far.
    #[arg(long, value_parser = PossibleValuesParser::new(["requested", "connecting", "active", "ended"]))]
    state: Option<String>,
}

/// What a list is for.
#[derive(Debug, Args)]
pub(super) struct Form {
    /// Comma-separated values with a heading, for spreadsheets.
    #[arg(long, conflicts_with = "ndjson")]
    csv: bool,
    /// One JSON object a line; the same as `--json`.
    #[arg(long)]
    ndjson: bool,
}

/// How a list is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Table,
    Json,
    Csv,
}

impl Form {
    fn told(&self, print: Print) -> Told {
        match print {
            _ if self.csv => Told::Csv,
            Print::Json => Told::Json,
            Print::Table if self.ndjson => Told::Json,
            Print::Table => Told::Table,
        }
    }
}

/// A day, from its beginning in UTC, or a moment by RFC 3339.
fn moment(text: &str) -> Result<Timestamp, String> {
    let at = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339))
        .map_err(|_| "neither a day as 2026-01-31 nor a moment as 2026-01-31T08:00:00Z".to_owned())?;
    let nanos = i32::try_from(at.nanosecond()).unwrap_or(0);
    Ok(Timestamp { seconds: at.unix_timestamp(), nanos })
}

fn record(text: &str) -> Result<v1::RecordReference, String> {
    match text.split_once('/') {
        Some((object, id)) if !object.is_empty() && !id.is_empty() => {
            Ok(v1::RecordReference { object: object.to_owned(), id: id.to_owned(), ..Default::default() })
        }
        _ => Err("not of the form OBJECT/ID".to_owned()),
    }
}

/// The number of a value by the last words of its name.
fn number<T: Into<i32>>(prefix: &str, word: Option<&str>, read: impl FnOnce(&str) -> Option<T>) -> i32 {
    word.and_then(|word| read(&format!("{prefix}{}", word.to_ascii_uppercase()))).map_or(0, Into::into)
}

impl Command {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        match self {
            Self::ListSessionRecords { filter, limit, form } => {
                let ask = filter.request(server);
                let page = async |page_token: String| {
                    let message = v1::ListSessionRecordsRequest { page_token, ..ask.clone() };
                    let call = async |mut client: Client, request| client.list_session_records(request).await;
                    let page = server.ask(message, call).await?;
                    Ok((page.records, page.next_page_token))
                };
                print(form.told(server.print), page, limit, &RECORDS, &rows::RECORDS_CSV).await
            }
            Self::SessionRecord { session } => describe(server, session).await,
            Self::SessionStats { from, until, form } => {
                // The end is fixed once, or the pages would be of different lists.
                let now = Timestamp::from(std::time::SystemTime::now());
                let ask = v1::ListSessionStatsRequest {
                    group: server.group.clone(),
                    from,
                    until: Some(until.unwrap_or(now)),
                    ..Default::default()
                };
                let page = async |page_token: String| {
                    let message = v1::ListSessionStatsRequest { page_token, ..ask.clone() };
                    let call = async |mut client: Client, request| client.list_session_stats(request).await;
                    let page = server.ask(message, call).await?;
                    Ok((page.stats, page.next_page_token))
                };
                print(form.told(server.print), page, None, &STATS, &rows::STATS_CSV).await
            }
        }
    }
}

impl Filter {
    fn request(self, server: &Server) -> v1::ListSessionRecordsRequest {
        v1::ListSessionRecordsRequest {
            group: server.group.clone(),
            from: self.from,
            until: self.until,
            agent_id: self.agent,
            visitor_id: self.visitor,
            record: self.record,
            kind: number("SESSION_KIND_", self.kind.as_deref(), v1::SessionKind::from_str_name),
            outcome: number("REQUEST_OUTCOME_", self.outcome.as_deref(), v1::RequestOutcome::from_str_name),
            state: number("SESSION_STATE_", self.state.as_deref(), v1::SessionState::from_str_name),
            page_size: u32::try_from(limits::RECORD_PAGE).unwrap_or(0),
            page_token: String::new(),
        }
    }
}

/// Prints a list, its pages followed to the end. Only a table waits for all of it.
async fn print<M: Message + Name, const N: usize, const C: usize>(
    told: Told,
    page: impl AsyncFn(String) -> Result<(Vec<M>, String), Failure>,
    limit: Option<usize>,
    columns: &Columns<M, N>,
    cells: &Columns<M, C>,
) -> Result<(), Failure> {
    if told == Told::Csv {
        say(&csv::row(cells.heading))?;
    }
    let (mut left, mut token, mut kept) = (limit.unwrap_or(usize::MAX), String::new(), Vec::new());
    loop {
        let (mut items, next) = page(token.clone()).await?;
        items.truncate(left);
        left -= items.len();
        match told {
            Told::Table => kept.extend(items.iter().map(columns.row)),
            Told::Json => items.iter().try_for_each(|item| say_line(pb::json(item)))?,
            Told::Csv => items
                .iter()
                .try_for_each(|item| say(&csv::row((cells.row)(item).iter().map(String::as_str))))?,
        }
        if next == token && !next.is_empty() {
            return Err(Failure::Failed(anyhow::anyhow!("the list does not end: a page leads to itself")));
        }
        if next.is_empty() || left == 0 {
            break;
        }
        token = next;
    }
    match told {
        Told::Table => say(&rows::table(columns.heading, &kept)),
        Told::Json | Told::Csv => Ok(()),
    }
}

async fn describe(server: &Server, session_id: String) -> Result<(), Failure> {
    let message = v1::GetSessionRecordRequest { group: server.group.clone(), session_id };
    let call = async |mut client: Client, request| client.get_session_record(request).await;
    let found = server.ask(message, call).await?;
    server.print(&found.record.unwrap_or_default(), rows::record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_or_moments() {
        let at = |seconds, nanos| Ok(Timestamp { seconds, nanos });
        assert_eq!(moment("2030-01-01"), at(1_893_456_000, 0));
        assert_eq!(moment("2030-01-01T01:00:00.5+01:00"), at(1_893_456_000, 500_000_000));
        for bad in ["", "yesterday", "2030-13-01", "2030-01-01T"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn records_are_named_by_object_and_id() {
        let case = record("Case/500/x").unwrap();
        assert_eq!((case.object.as_str(), case.id.as_str()), ("Case", "500/x"));
        for bad in ["", "Case", "/500", "Case/"] {
            assert!(record(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn words_are_values() {
        let read = |word| number("REQUEST_OUTCOME_", word, v1::RequestOutcome::from_str_name);
        assert_eq!(read(Some("not_required")), v1::RequestOutcome::NotRequired as i32);
        assert_eq!(read(None), 0);
    }
}
