//! The sync of a group and the sinks that it feeds.

use std::sync::Arc;

use secrecy::ExposeSecret as _;

use super::bad;
use super::convert::timestamp;
use super::gate::Within;
use super::page::{self, Pages};
use super::service::Service;
use super::status::AdminError;
use crate::clock::wall;
use crate::hub::sync::{SyncDoor, check_base, check_url, webhook_secret};
use crate::ids::{GroupId, RunId, SinkId};
use crate::limits;
use crate::model::schedule;
use crate::model::sink::{Lane, Org, Takes, Target};
use crate::pb::v1;
use crate::pb::v1::sink::Target as Wire;
use crate::store::events::protobuf::{kind_number, kind_of};
use crate::store::sync::{Cause, LaneKey, RunCursor, RunRow, Sink, SinkRow};
use crate::store::{StoreError, SyncStore};

/// What the calls about the sync and its sinks work with.
#[derive(Clone)]
pub struct Syncing {
    /// Sinks, and how far they are.
    pub store: Arc<dyn SyncStore>,
    /// Where the sync is asked.
    pub door: SyncDoor,
}

impl std::fmt::Debug for Syncing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Syncing").finish_non_exhaustive()
    }
}

pub(super) async fn sync_now(
    service: &Service,
    within: &Within,
    _request: v1::SyncNowRequest,
) -> Result<v1::SyncNowResponse, AdminError> {
    let run = service.syncing.door.run(within.group()).await?;
    Ok(v1::SyncNowResponse { run: Some(run_message(run)) })
}

pub(super) async fn list_sync_runs(
    service: &Service,
    within: &Within,
    request: v1::ListSyncRunsRequest,
) -> Result<v1::ListSyncRunsResponse, AdminError> {
    let of = within.group().as_str();
    let pages = Pages { accounts: &service.accounts, call: "ListSyncRuns", of };
    let before = match pages.after(&request.page_token)? {
        Some(last) => Some(cursor(&last).ok_or(AdminError::Internal)?),
        None => None,
    };
    let size = page::size(request.page_size).min(limits::SYNC_RUN_PAGE - 1);
    let mut runs = service.syncing.store.runs(within.group(), before, size + 1).await?;
    let next_page_token = pages.cut(&mut runs, size, |run| format!("{} {}", run.started_at.0, run.id));
    Ok(v1::ListSyncRunsResponse { runs: runs.into_iter().map(run_message).collect(), next_page_token })
}

/// A place in the history, as a page's token has it.
fn cursor(text: &str) -> Option<RunCursor> {
    let (at, run) = text.split_once(' ')?;
    Some(RunCursor { started_at: crate::clock::Wall(at.parse().ok()?), run: RunId::parse(run).ok()? })
}

pub(super) async fn get_sync_status(
    service: &Service,
    within: &Within,
    _request: v1::GetSyncStatusRequest,
) -> Result<v1::GetSyncStatusResponse, AdminError> {
    let group = service.accounts.group(within.group()).ok_or(AdminError::NotFound)?;
    let last = service.syncing.store.runs(within.group(), None, 1).await?.pop();
    let next = schedule::next(group.created_at, group.settings.sync_frequency, wall());
    Ok(v1::GetSyncStatusResponse { last_run: last.map(run_message), next_run_at: next.map(timestamp) })
}

pub(super) async fn put_sink(
    service: &Service,
    within: &Within,
    request: v1::PutSinkRequest,
) -> Result<v1::PutSinkResponse, AdminError> {
    let sink = request.sink.ok_or_else(|| bad("sink", "is missing"))?;
    let sink = sink_of(within.group(), sink, service)?;
    let syncing = &service.syncing;
    let webhook = matches!(sink.target, Target::Webhook { .. });
    let before = syncing.store.sink(&sink.group, &sink.id).await?;
    // A sink that led elsewhere has a key that nobody was told.
    let becomes = before.as_ref().is_some_and(|row| !matches!(row.sink.target, Target::Webhook { .. }));
    let rotate = webhook && (request.rotate_secret || becomes);
    let row = match syncing.store.put_sink(&sink, rotate, wall()).await {
        Err(StoreError::Taken { what: "sinks" }) => {
            return Err(AdminError::TooMany { what: "sinks", most: limits::SINKS });
        }
        Err(StoreError::Taken { .. }) => return Err(AdminError::AlreadyExists { field: "sink.redis" }),
        other => other?,
    };
    syncing.door.changed(within.group()).await;
    let secret =
        if rotate || (webhook && before.is_none()) { secret_of(service, &row) } else { String::new() };
    Ok(v1::PutSinkResponse { sink: Some(sink_message(&row)), secret })
}

fn secret_of(service: &Service, row: &SinkRow) -> String {
    webhook_secret(&service.accounts, row).expose_secret().to_owned()
}

pub(super) async fn list_sinks(
    service: &Service,
    within: &Within,
    _request: v1::ListSinksRequest,
) -> Result<v1::ListSinksResponse, AdminError> {
    let store = &service.syncing.store;
    let mut sinks = Vec::new();
    for row in store.sinks(Some(within.group())).await? {
        sinks.push(v1::SinkState {
            sink: Some(sink_message(&row)),
            created_at: Some(timestamp(row.created_at)),
            disabled_why: row.disabled.clone().unwrap_or_default(),
            events: lane_message(&**store, &row, Lane::Events).await?,
            session_records: lane_message(&**store, &row, Lane::Records).await?,
            dead_letters: store.count_dead_letters(&row.sink.group, &row.sink.id).await?,
        });
    }
    Ok(v1::ListSinksResponse { sinks })
}

pub(super) async fn delete_sink(
    service: &Service,
    within: &Within,
    request: v1::DeleteSinkRequest,
) -> Result<v1::DeleteSinkResponse, AdminError> {
    let row = named(service, within, &request.sink_id).await?;
    if !service.syncing.store.delete_sink(within.group(), &row.sink.id).await? {
        return Err(AdminError::NotFound);
    }
    service.syncing.door.changed(within.group()).await;
    Ok(v1::DeleteSinkResponse {})
}

pub(super) async fn test_sink(
    service: &Service,
    within: &Within,
    request: v1::TestSinkRequest,
) -> Result<v1::TestSinkResponse, AdminError> {
    let row = named(service, within, &request.sink_id).await?;
    let error = service.syncing.door.test(&row).await?.err().unwrap_or_default();
    Ok(v1::TestSinkResponse { error })
}

pub(super) async fn replay_dead_letters(
    service: &Service,
    within: &Within,
    request: v1::ReplayDeadLettersRequest,
) -> Result<v1::ReplayDeadLettersResponse, AdminError> {
    let row = named(service, within, &request.sink_id).await?;
    let replayed = service.syncing.door.replay(&row).await?;
    let error = replayed.error.unwrap_or_default();
    Ok(v1::ReplayDeadLettersResponse { delivered: replayed.delivered, left: replayed.left, error })
}

async fn named(service: &Service, within: &Within, id: &str) -> Result<SinkRow, AdminError> {
    let id = SinkId::new(id).map_err(|_| AdminError::NotFound)?;
    service.syncing.store.sink(within.group(), &id).await?.ok_or(AdminError::NotFound)
}

/// The sink that a message describes.
fn sink_of(group: &GroupId, sink: v1::Sink, service: &Service) -> Result<Sink, AdminError> {
    let offers = service.syncing.door.offers();
    let v1::Sink { sink_id, target, event_kinds, every_event, session_records, disabled } = sink;
    let id = SinkId::new(&sink_id).map_err(|error| bad("sink.sink_id", error))?;
    let target = match target {
        Some(Wire::Webhook(webhook)) => {
            check_url(&webhook.url).map_err(|problem| bad("sink.webhook.url", problem))?;
            Target::Webhook { url: webhook.url }
        }
        Some(Wire::File(_)) if offers.files => Target::File,
        Some(Wire::File(_)) => return Err(bad("sink.file", "needs a directory in the server's settings")),
        Some(Wire::Redis(_)) if offers.redis => Target::Redis,
        Some(Wire::Redis(_)) => return Err(bad("sink.redis", "needs a Redis in the server's settings")),
        Some(Wire::Salesforce(_)) if !offers.salesforce.contains(group) => {
            return Err(bad("sink.salesforce", "needs a key for the group in the server's settings"));
        }
        Some(Wire::Salesforce(org)) => Target::Salesforce(org_of(org)?),
        None => return Err(bad("sink", "leads nowhere")),
    };
    if target == Target::Redis && session_records {
        return Err(bad("sink.session_records", "are not for Redis"));
    }
    let mut kinds = Vec::new();
    for number in event_kinds {
        let kind = v1::EventKind::try_from(number).ok().and_then(kind_of);
        let kind = kind.ok_or_else(|| bad("sink.event_kinds", "holds a kind that is unknown"))?;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if matches!(target, Target::Salesforce(_)) {
        if every_event {
            return Err(bad("sink.every_event", "has no place in Salesforce"));
        }
        if kinds.iter().any(|kind| !Org::KINDS.contains(kind)) {
            return Err(bad("sink.event_kinds", "holds a kind that has no place in Salesforce"));
        }
    }
    let takes = Takes { every_event, kinds, records: session_records };
    if !takes.events() && !takes.records {
        return Err(bad("sink", "takes nothing"));
    }
    Ok(Sink { group: group.clone(), id, target, takes, enabled: !disabled })
}

/// The org that a message describes.
fn org_of(org: v1::SalesforceTarget) -> Result<Org, AdminError> {
    let v1::SalesforceTarget { login_url, client_id, username, site_url } = org;
    let base = |field, url: &str| check_base(url).map(str::to_owned).map_err(|problem| bad(field, problem));
    let name = |field, text: String| match text.len() {
        1..=limits::SALESFORCE_NAME if !text.chars().any(char::is_control) => Ok(text),
        0 => Err(bad(field, "is missing")),
        _ => Err(bad(field, "is too long or holds control characters")),
    };
    Ok(Org {
        login_url: base("sink.salesforce.login_url", &login_url)?,
        client_id: name("sink.salesforce.client_id", client_id)?,
        username: name("sink.salesforce.username", username)?,
        site_url: match &*site_url {
            "" => None,
            url => Some(base("sink.salesforce.site_url", url)?),
        },
    })
}

fn sink_message(row: &SinkRow) -> v1::Sink {
    let target = match &row.sink.target {
        Target::Webhook { url } => Wire::Webhook(v1::WebhookTarget { url: url.clone() }),
        Target::File => Wire::File(v1::FileTarget {}),
        Target::Redis => Wire::Redis(v1::RedisTarget {}),
        Target::Salesforce(org) => Wire::Salesforce(v1::SalesforceTarget {
            login_url: org.login_url.clone(),
            client_id: org.client_id.clone(),
            username: org.username.clone(),
            site_url: org.site_url.clone().unwrap_or_default(),
        }),
    };
    let takes = &row.sink.takes;
    v1::Sink {
        sink_id: row.sink.id.to_string(),
        target: Some(target),
        event_kinds: takes.kinds.iter().map(|kind| kind_number(*kind).into()).collect(),
        every_event: takes.every_event,
        session_records: takes.records,
        disabled: !row.sink.enabled,
    }
}

async fn lane_message(
    store: &dyn SyncStore,
    row: &SinkRow,
    lane: Lane,
) -> Result<Option<v1::SinkLane>, StoreError> {
    let key = LaneKey { group: row.sink.group.clone(), sink: row.sink.id.clone(), lane };
    Ok(store.progress(&key).await?.map(|progress| v1::SinkLane {
        after: progress.after,
        failures: progress.failures,
        retry_at: progress.retry_at.map(timestamp),
        error: progress.error.unwrap_or_default(),
    }))
}

fn run_message(run: RunRow) -> v1::SyncRun {
    let cause = match run.cause {
        Cause::Schedule => v1::SyncCause::Schedule,
        Cause::Asked => v1::SyncCause::Asked,
        Cause::Retry => v1::SyncCause::Retry,
    };
    let sinks = run.sinks.into_iter().map(|sink| v1::SinkRun {
        sink_id: sink.sink.to_string(),
        count: sink.count,
        error: sink.error.unwrap_or_default(),
    });
    v1::SyncRun {
        run_id: run.id.to_string(),
        cause: cause.into(),
        started_at: Some(timestamp(run.started_at)),
        ended_at: run.ended_at.map(timestamp),
        sinks: sinks.collect(),
        lost: run.lost,
    }
}
