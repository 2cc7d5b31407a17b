//! What happened: events, records of sessions and statistics, for people and for files.

use prost_types::Timestamp;

use super::{Columns, counted, facts, moment, plain, table, word};
use crate::model::event::Kind;
use crate::pb::v1;
use crate::store::events::protobuf;

fn actor(actor: Option<&v1::Actor>) -> String {
    let Some(actor) = actor else { return String::new() };
    let kind = word(actor.kind().as_str_name(), "ACTOR_KIND_");
    if actor.id.is_empty() { kind } else { format!("{kind} {}", plain(&actor.id)) }
}

fn reference(record: Option<&v1::RecordReference>) -> String {
    record.map_or_else(String::new, |record| plain(&format!("{}/{}", record.object, record.id)))
}

pub(in super::super) const EVENTS: Columns<v1::SessionEvent, 6> = Columns {
    heading: ["SEQUENCE", "TIME", "KIND", "SESSION", "ACTOR", "RECORD"],
    row: |event| {
        [
            event.sequence.to_string(),
            moment(event.time.as_ref()),
            protobuf::kind_of(event.kind()).map_or("unknown", Kind::as_str).to_owned(),
            event.session_id.clone(),
            actor(event.actor.as_ref()),
            reference(event.record.as_ref()),
        ]
    },
};

fn record_kind(record: &v1::SessionRecord) -> String {
    word(record.kind().as_str_name(), "SESSION_KIND_")
}

fn record_state(record: &v1::SessionRecord) -> String {
    word(record.state().as_str_name(), "SESSION_STATE_")
}

fn outcome(record: &v1::SessionRecord) -> String {
    word(record.outcome().as_str_name(), "REQUEST_OUTCOME_")
}

/// `1:02:03`.
fn lasted(millis: u64) -> String {
    let seconds = millis / 1000;
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

pub(in super::super) const RECORDS: Columns<v1::SessionRecord, 8> = Columns {
    heading: ["SESSION", "CREATED", "KIND", "STATE", "OUTCOME", "LASTED", "VISITOR", "AGENTS"],
    row: |record| {
        [
            record.session_id.clone(),
            moment(record.created_at.as_ref()),
            record_kind(record),
            record_state(record),
            outcome(record),
            lasted(record.duration_ms),
            plain(&record.visitor_id),
            plain(&record.agent_ids.join(", ")),
        ]
    },
};

/// The columns of a file; none is ever taken away, new ones stand at the end.
pub(in super::super) const RECORDS_CSV: Columns<v1::SessionRecord, 27> = Columns {
    heading: [
        "session_id",
        "request_id",
        "kind",
        "state",
        "outcome",
        "created_at",
        "started_at",
        "ended_at",
        "end_reason",
        "duration_ms",
        "visitor_id",
        "agent_ids",
        "participants",
        "record_object",
        "record_id",
        "record_name",
        "record_url",
        "terms_version",
        "displayed_at",
        "answered_at",
        "connection_id",
        "receipt_id",
        "receipt_number",
        "frames",
        "bytes",
        "also_shown",
        "also_shown_ms",
    ],
    row: |record| {
        let people: Vec<&str> = record.attendance.iter().map(|one| one.name.as_str()).collect();
        let about = record.record.clone().unwrap_or_default();
        let number =
            if record.receipt_number == 0 { String::new() } else { record.receipt_number.to_string() };
        [
            record.session_id.clone(),
            record.request_id.clone(),
            record_kind(record),
            record_state(record),
            outcome(record),
            moment(record.created_at.as_ref()),
            moment(record.started_at.as_ref()),
            moment(record.ended_at.as_ref()),
            record.end_reason.clone(),
            record.duration_ms.to_string(),
            record.visitor_id.clone(),
            record.agent_ids.join("; "),
            people.join("; "),
            about.object,
            about.id,
            about.name,
            about.url,
            record.terms_version.clone(),
            moment(record.displayed_at.as_ref()),
            moment(record.answered_at.as_ref()),
            record.connection_id.clone(),
            record.receipt_id.clone(),
            number,
            record.frames.to_string(),
            record.bytes.to_string(),
            also_shown(record),
            shown_ms(record),
        ]
    },
};

/// What was shown instead of what the kind says: each thing once.
fn also_shown(record: &v1::SessionRecord) -> String {
    let mut kinds: Vec<_> =
        record.also_shown.iter().map(|one| word(one.kind().as_str_name(), "SESSION_KIND_")).collect();
    kinds.dedup();
    kinds.join("; ")
}

/// How long, without what lasts; empty where nothing else was shown.
fn shown_ms(record: &v1::SessionRecord) -> String {
    let millis = |at: &Timestamp| at.seconds * 1000 + i64::from(at.nanos) / 1_000_000;
    let lasted = |one: &v1::Shown| Some(millis(one.ended_at.as_ref()?) - millis(one.shown_at.as_ref()?));
    let told = (!record.also_shown.is_empty())
        .then(|| record.also_shown.iter().filter_map(lasted).sum::<i64>().to_string());
    told.unwrap_or_default()
}

const ATTENDANCE: Columns<v1::Attendance, 6> = Columns {
    heading: ["PARTICIPANT", "ROLE", "AGENT", "NAME", "JOINED", "LEFT"],
    row: |one| {
        [
            one.participant_id.clone(),
            word(one.role().as_str_name(), "PARTICIPANT_ROLE_"),
            plain(&one.agent_id),
            plain(&one.name),
            moment(one.joined_at.as_ref()),
            moment(one.left_at.as_ref()),
        ]
    },
};

const CONTROL: Columns<v1::ControlUse, 3> = Columns {
    heading: ["CONTROL", "GRANTED", "ENDED"],
    row: |one| [plain(&one.agent_id), moment(one.granted_at.as_ref()), moment(one.ended_at.as_ref())],
};

const SHOWN: Columns<v1::Shown, 3> = Columns {
    heading: ["ALSO SHOWN", "FROM", "TO"],
    row: |one| {
        [
            word(one.kind().as_str_name(), "SESSION_KIND_"),
            moment(one.shown_at.as_ref()),
            moment(one.ended_at.as_ref()),
        ]
    },
};

pub(in super::super) fn record(record: &v1::SessionRecord) -> String {
    let receipt = match record.receipt_number {
        0 => String::new(),
        number => format!("{} (number {number})", record.receipt_id),
    };
    let mut told = facts(
        "SESSION",
        [
            ("session", record.session_id.clone()),
            ("request", record.request_id.clone()),
            ("kind", record_kind(record)),
            ("state", record_state(record)),
            ("visitor", plain(&record.visitor_id)),
            ("agents", plain(&record.agent_ids.join(", "))),
            ("record", reference(record.record.as_ref())),
            ("outcome", outcome(record)),
            ("terms", plain(&record.terms_version)),
            ("receipt", receipt),
            ("created", moment(record.created_at.as_ref())),
            ("displayed", moment(record.displayed_at.as_ref())),
            ("answered", moment(record.answered_at.as_ref())),
            ("answered from", plain(&record.connection_id)),
            ("started", moment(record.started_at.as_ref())),
            ("ended", moment(record.ended_at.as_ref())),
            ("reason", plain(&record.end_reason)),
            ("lasted", lasted(record.duration_ms)),
            ("relayed", format!("{}, {} bytes", counted(record.frames as usize, "frame"), record.bytes)),
        ],
    );
    let people: Vec<_> = record.attendance.iter().map(ATTENDANCE.row).collect();
    told.push_str(&format!("\n{}", table(ATTENDANCE.heading, &people)));
    if !record.control.is_empty() {
        let uses: Vec<_> = record.control.iter().map(CONTROL.row).collect();
        told.push_str(&format!("\n{}", table(CONTROL.heading, &uses)));
    }
    if !record.also_shown.is_empty() {
        let times: Vec<_> = record.also_shown.iter().map(SHOWN.row).collect();
        told.push_str(&format!("\n{}", table(SHOWN.heading, &times)));
    }
    told
}

pub(in super::super) const STATS: Columns<v1::SessionStats, 7> = Columns {
    heading: ["DAY", "AGENT", "SESSIONS", "ACCEPTED", "DECLINED", "STARTED", "LASTED"],
    row: |stats| {
        [
            stats.day.clone(),
            plain(&stats.agent_id),
            stats.sessions.to_string(),
            stats.accepted.to_string(),
            stats.declined.to_string(),
            stats.started.to_string(),
            lasted(stats.duration_ms),
        ]
    },
};

/// As [`RECORDS_CSV`].
pub(in super::super) const STATS_CSV: Columns<v1::SessionStats, 9> = Columns {
    heading: [
        "day",
        "agent_id",
        "sessions",
        "accepted",
        "declined",
        "started",
        "duration_ms",
        "frames",
        "bytes",
    ],
    row: |stats| {
        [
            stats.day.clone(),
            stats.agent_id.clone(),
            stats.sessions.to_string(),
            stats.accepted.to_string(),
            stats.declined.to_string(),
            stats.started.to_string(),
            stats.duration_ms.to_string(),
            stats.frames.to_string(),
            stats.bytes.to_string(),
        ]
    },
};
