//! A group's settings: read, set one by one, taken out as a file and put back in.
//!
//! No setting is named here; names, kinds and comments are those of the proto files. Whatever is changed is
//! changed only if the settings are still as they were when they were read.

use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};
use prost_types::FieldMask;
use serde_json::json;

use super::super::{Failure, secret};
use super::call::Next;
use super::diff::{Change, diff};
use super::rows::{Print, counted, moment, plain, say, say_line, table};
use super::{Client, Server, document, value};
use crate::clock;
use crate::pb::{self, v1};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Tells the settings and their version.
    GetSettings,
    /// Changes single settings: `presence_enabled=true terms.version=2026-2`.
    Set {
        /// A setting by its name in the proto files, and its new value. A list is replaced as a whole.
        #[arg(required = true, value_name = "PATH=VALUE")]
        assignments: Vec<String>,
        /// Only if the settings are at this version; without it, if nobody changes them meanwhile.
        #[arg(long, value_name = "VERSION")]
        expected_version: Option<u64>,
    },
    /// Writes the settings as a TOML file that explains itself.
    ExportSettings {
        /// Where to; standard output if left out.
        file: Option<PathBuf>,
    },
    /// Shows how a file differs from the settings, and makes them so once that is agreed to.
    ///
    /// What the file leaves out stays as it is; a list that is there replaces the list that was.
    ImportSettings {
        /// A file as `export-settings` writes it; `-` for standard input.
        file: PathBuf,
        /// Agrees beforehand. Without it the terminal is asked.
        #[arg(long, short)]
        yes: bool,
        /// Only shows what would change.
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
    },
    /// Tells who changed what and when, newest first.
    ListSettingsChanges {
        /// At most so many.
        #[arg(long, value_name = "COUNT")]
        limit: Option<usize>,
    },
}

impl Command {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        match self {
            Self::GetSettings => get(server).await,
            Self::Set { assignments, expected_version } => set(server, &assignments, expected_version).await,
            Self::ExportSettings { file } => export(server, file.as_deref()).await,
            Self::ImportSettings { file, yes, dry_run } => import(server, &file, yes, dry_run).await,
            Self::ListSettingsChanges { limit } => list_changes(server, limit).await,
        }
    }
}

/// The settings at one version.
struct Read {
    answer: v1::GetSettingsResponse,
    settings: DynamicMessage,
    version: u64,
}

async fn read(server: &Server) -> Result<Read, Failure> {
    let message = v1::GetSettingsRequest { group: server.group.clone() };
    let answer = server.ask(message, async |mut client, request| client.get_settings(request).await).await?;
    let settings = pb::dynamic(&answer.settings.clone().unwrap_or_default());
    Ok(Read { settings, version: answer.version, answer })
}

async fn get(server: &Server) -> Result<(), Failure> {
    let read = read(server).await?;
    server.print(&read.answer, |_| {
        let mut rows = vec![["(version)".to_owned(), read.version.to_string()]];
        leaves(&read.settings, "", &mut rows);
        table(["SETTING", "VALUE"], &rows)
    })
}

/// Each field that holds no others, with its value; of lists, each entry.
fn leaves(message: &DynamicMessage, path: &str, rows: &mut Vec<[String; 2]>) {
    for field in message.descriptor().fields() {
        let path = value::below(path, field.name());
        let held = message.get_field(&field);
        match &*held {
            Value::Message(inner) => leaves(inner, &path, rows),
            Value::List(entries) if entries.iter().any(|entry| entry.as_message().is_some()) => {
                let entries = entries.iter().enumerate();
                rows.extend(
                    entries.map(|(at, entry)| [format!("{path}[{at}]"), value::text(&field.kind(), entry)]),
                );
            }
            other => rows.push([path, value::text(&field.kind(), other)]),
        }
    }
}

async fn set(server: &Server, assignments: &[String], expected: Option<u64>) -> Result<(), Failure> {
    let before = read(server).await?;
    let mut wanted = before.settings.clone();
    let assigned = assignments.iter().map(|assignment| value::assign(&mut wanted, assignment));
    let paths =
        assigned.collect::<Result<Vec<_>, _>>().map_err(|problem| Failure::Settings(anyhow!(problem)))?;
    let expected = expected.unwrap_or(before.version);
    let after = update(server, &wanted, paths, expected).await?;
    if server.print == Print::Json {
        return say_line(pb::json(&after));
    }
    let changes = diff(&before.settings, &pb::dynamic(&after.settings.unwrap_or_default()));
    say(&format!("{}{}", lines(&changes), outcome(&changes, after.version)))
}

fn outcome(changes: &[Change], version: u64) -> String {
    match changes.is_empty() {
        true => format!("no change; the settings are at version {version}\n"),
        false => format!("the settings are at version {version}\n"),
    }
}

fn lines(changes: &[Change]) -> String {
    changes.iter().fold(String::new(), |mut text, change| {
        let _ = writeln!(text, "{}", change.line());
        text
    })
}

/// Changes what the paths name. If somebody else was first, tells what they did.
async fn update(
    server: &Server,
    wanted: &DynamicMessage,
    paths: Vec<String>,
    expected_version: u64,
) -> Result<v1::UpdateSettingsResponse, Failure> {
    let settings: v1::Settings = wanted.transcode_to().context("the settings can't be sent")?;
    let message = v1::UpdateSettingsRequest {
        group: server.group.clone(),
        settings: Some(settings),
        update_mask: Some(FieldMask { paths }),
        expected_version,
        request_id: server.request_id.clone(),
    };
    let call = async |mut client: Client, request| client.update_settings(request).await;
    let done = server.change(message, call).await;
    if matches!(done, Err(Failure::Conflict(_))) {
        // Only to help: the refusal stands whether or not the history can be read.
        if let Ok(changes) = changes_since(server, Some(expected_version), None).await {
            changes.iter().rev().for_each(|change| eprint!("{}", told(change)));
        }
    }
    done
}

async fn export(server: &Server, file: Option<&Path>) -> Result<(), Failure> {
    let read = read(server).await?;
    let group = if server.group.is_empty() { "the group" } else { &server.group };
    let head = [
        format!("Settings of {group}, version {}, as of {}.", read.version, clock::wall()),
        "To put them back: porchlight admin import-settings FILE. What is left out here stays as it is then; a \
         list that is here replaces the list there is."
            .to_owned(),
    ];
    let text = document::write(&read.settings, &head);
    match file.filter(|file| *file != Path::new("-")) {
        None => say(&text),
        Some(file) => {
            Ok(std::fs::write(file, text).with_context(|| format!("can't write {}", file.display()))?)
        }
    }
}

fn document(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = match file == Path::new("-") {
        true => std::io::stdin().read_to_string(&mut text).map(|_| text),
        false => std::fs::read_to_string(file),
    };
    read.with_context(|| format!("can't read {}", secret::name(file)))
}

async fn import(server: &Server, file: &Path, yes: bool, dry_run: bool) -> Result<(), Failure> {
    let text = document(file).map_err(Failure::Settings)?;
    let before = read(server).await?;
    let wanted = document::read(&text, &before.settings).map_err(|problem| {
        Failure::Settings(anyhow!("{} can't be used:\n  {problem}", secret::name(file)))
    })?;
    let changes = diff(&before.settings, &wanted);
    match server.print {
        Print::Json => changes.iter().try_for_each(|change| say_line(change.json()))?,
        Print::Table => say(&lines(&changes))?,
    }
    if changes.is_empty() || dry_run {
        return match server.print {
            Print::Json => say_line(json!({"version": before.version.to_string(), "applied": false})),
            Print::Table if dry_run => say(&format!("{}, not made\n", counted(changes.len(), "change"))),
            Print::Table => say(&outcome(&changes, before.version)),
        };
    }
    if !yes {
        agree(server, file, changes.len())?;
    }
    let mut paths: Vec<String> = changes.iter().map(|change| change.top().to_owned()).collect();
    paths.dedup();
    let after = update(server, &wanted, paths, before.version).await?;
    match server.print {
        Print::Json => say_line(json!({"version": after.version.to_string(), "applied": true})),
        Print::Table => say(&outcome(&changes, after.version)),
    }
}

/// Asks the terminal. Where there is none, nobody agrees.
fn agree(server: &Server, file: &Path, changes: usize) -> Result<(), Failure> {
    let stdin = std::io::stdin();
    if file == Path::new("-") || !stdin.is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::Settings(anyhow!(
            "nothing was changed: say --yes where there is no terminal to ask"
        )));
    }
    let group = if server.group.is_empty() { "the group" } else { &server.group };
    eprint!("Change {group} in {}? [y/N] ", counted(changes, "place"));
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).context("can't read the answer")?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::Failed(anyhow!("nothing was changed"))),
    }
}

async fn list_changes(server: &Server, limit: Option<usize>) -> Result<(), Failure> {
    let changes = changes_since(server, None, limit).await?;
    match server.print {
        Print::Json => changes.iter().try_for_each(|change| say_line(pb::json(change))),
        Print::Table => changes.iter().try_for_each(|change| say(&told(change))),
    }
}

/// The changes after a version, newest first.
async fn changes_since(
    server: &Server,
    version: Option<u64>,
    limit: Option<usize>,
) -> Result<Vec<v1::SettingsChange>, Failure> {
    let limit = limit.unwrap_or(usize::MAX);
    let old = |change: &v1::SettingsChange| version.is_some_and(|version| change.version <= version);
    let taken = std::cell::Cell::new(0);
    let mut changes = server
        .collect(async |page_token| {
            // A page holds no more than is asked for, or what the server likes.
            let page_size = u32::try_from(limit - taken.get()).unwrap_or(0);
            let group = server.group.clone();
            let message = v1::ListSettingsChangesRequest { group, page_size, page_token };
            let call = async |mut client: Client, request| client.list_settings_changes(request).await;
            let page = server.ask(message, call).await?;
            taken.set(limit.min(taken.get() + page.changes.len()));
            let enough = taken.get() == limit || page.changes.last().is_some_and(old);
            Ok((page.changes, page.next_page_token, if enough { Next::Enough } else { Next::More }))
        })
        .await?;
    changes.truncate(limit);
    changes.retain(|change| !old(change));
    Ok(changes)
}

/// One change of the history for people.
fn told(change: &v1::SettingsChange) -> String {
    let by = plain(&change.changed_by);
    let head = format!("version {}  {}  {by}\n", change.version, moment(change.changed_at.as_ref()));
    let Some(before) = &change.before else { return format!("{head}  the group was made\n") };
    let after = change.after.clone().unwrap_or_default();
    format!("{head}{}", lines(&diff(&pb::dynamic(before), &pb::dynamic(&after))))
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::sample;
    use super::*;

    #[test]
    fn every_setting_is_shown() {
        let mut rows = Vec::new();
        leaves(&pb::dynamic(&sample()), "", &mut rows);
        let has = |name: &str, value: &str| rows.contains(&[name.to_owned(), value.to_owned()]);
        assert!(has("presence_enabled", "false"));
        assert!(has("terms.version", "\"2026-1\""));
        assert!(has("visitor_origins", "[\"https://a.example\", \"https://b.example\"]"));
        assert!(has("profiles", "[]"));
        assert!(has("create_leads", "\"new_email_and_name\""));
        assert!(
            rows.iter().any(|[name, value]| name == "objects[0]" && value.starts_with("{ object = \"Case\""))
        );
    }

    #[test]
    fn the_history_tells_who_and_what() {
        let mut after = sample();
        after.presence_enabled = true;
        let change = v1::SettingsChange {
            version: 7,
            changed_at: Some(prost_types::Timestamp { seconds: 1_893_456_000, nanos: 0 }),
            changed_by: "key k1".into(),
            before: Some(sample()),
            after: Some(after),
        };
        assert_eq!(
            told(&change),
            "version 7  2030-01-01T00:00:00.000Z  key k1\n  presence_enabled: false → true\n"
        );
        let made = v1::SettingsChange { before: None, version: 1, ..change };
        assert!(told(&made).ends_with("the group was made\n"));
    }
}
