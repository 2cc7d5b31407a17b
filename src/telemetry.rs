//! Every metric name and the set-up of log, metrics and traces.
//!
//! Decides names, kinds, units and help of what the server counts. Decides
//! nothing about when something is counted: the layers above hold [`Meters`] and say so. No metric is
//! labelled by visitor, session or agent: their number has no bound, and they are nobody's business.
//! Meters belong to a server, not to the process, so that two nodes in one test count apart.

use std::sync::{Arc, OnceLock};

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

mod log;
mod redis;
mod room;
mod tls;
mod traces;

pub use log::{LogControl, LogError, LogFormat, init_log, parse_filter};
pub use redis::{Listener, RedisUse};
pub use traces::{Collector, HAS_TRACES, Parent, Span, Traces, TracesError};

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
}

/// One row of [`METRICS`].
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The name as scraped.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it counts in.
    pub unit: Unit,
    /// One sentence for people.
    pub help: &'static str,
}

/// Declares the names and, from the same text, the table.
macro_rules! metrics_table {
    ($($constant:ident = $name:literal, $kind:ident, $unit:ident, $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = $name;)*

        /// Every metric the server emits.
        pub const METRICS: &[Metric] = &[
            $(Metric { name: $name, kind: Kind::$kind, unit: Unit::$unit, help: $help },)*
        ];
    };
}

metrics_table! {
    CONNECTIONS = "porchlight_connections", Gauge, Count,
        "WebSockets open now, by kind.";
    CONNECTS = "porchlight_connects_total", Counter, Count,
        "WebSocket handshakes, by kind and outcome.";
    CLOSES = "porchlight_closes_total", Counter, Count,
        "WebSockets ended by the server, by the name of the close code.";
    VISITORS_PRESENT = "porchlight_visitors_present", Gauge, Count,
        "Visitors with at least one live connection to this node.";
    PRESENCE_CHANGES = "porchlight_presence_changes_total", Counter, Count,
        "Changes of a visitor's presence.";
    LAMP_PUSHES = "porchlight_lamp_pushes_total", Counter, Count,
        "Presence pushes to agents.";
    OFFERS = "porchlight_offers_total", Counter, Count,
        "Offers to visitors, by outcome.";
    SESSIONS_ACTIVE = "porchlight_sessions_active", Gauge, Count,
        "Sessions not yet ended.";
    SESSIONS_ENDED = "porchlight_sessions_ended_total", Counter, Count,
        "Sessions ended, by reason.";
    FRAMES_IN = "porchlight_frames_in_total", Counter, Count,
        "Frames received from publishers.";
    FRAMES_OUT = "porchlight_frames_out_total", Counter, Count,
        "Frames sent to viewers.";
    FRAME_BYTES_IN = "porchlight_frame_bytes_in_total", Counter, Bytes,
        "Bytes of frames received from publishers.";
    FRAME_BYTES_OUT = "porchlight_frame_bytes_out_total", Counter, Bytes,
        "Bytes of frames sent to viewers.";
    FRAMES_SHED = "porchlight_frames_shed_total", Counter, Count,
        "Frames not sent to a viewer that could not keep up, by reason.";
    VIEWERS_LAGGING = "porchlight_viewers_lagging", Gauge, Count,
        "Viewers that wait for a key frame.";
    KEY_FRAME_REQUESTS = "porchlight_key_frame_requests_total", Counter, Count,
        "Key frames asked of publishers.";
    SIGN_INS = "porchlight_sign_ins_total", Counter, Count,
        "Sign-ins of agents, by outcome.";
    SIGN_IN_SECONDS = "porchlight_sign_in_seconds", Histogram, Seconds,
        "Time to answer a sign-in, most of it the deliberate cost of a password hash.";
    GUESTS = "porchlight_guests_total", Counter, Count,
        "Guests who asked for a way into a session by key or link, by outcome.";
    REFUSALS = "porchlight_refusals_total", Counter, Count,
        "Connections, requests and messages refused, by the limit they met.";
    EVENTS = "porchlight_events_total", Counter, Count,
        "Events written to the log.";
    EVENTS_WAITING = "porchlight_events_waiting", Gauge, Count,
        "Events that wait to be written.";
    EVENT_FAILURES = "porchlight_event_write_failures_total", Counter, Count,
        "Writes to the event log that failed; most are tried again.";
    EVENTS_REFUSED = "porchlight_events_refused_total", Counter, Count,
        "Events given up, by reason.";
    RECEIPTS = "porchlight_receipts_total", Counter, Count,
        "Consent receipts, by outcome.";
    RECEIPT_SECONDS = "porchlight_receipt_seconds", Histogram, Seconds,
        "Time that a visitor's acceptance waits for its receipt to be on the disk.";
    SINK_LETTERS = "porchlight_sink_letters_total", Counter, Count,
        "Events and session records for sinks, by target and outcome.";
    SYNC_RUNS = "porchlight_sync_runs_total", Counter, Count,
        "Runs of the sync, each sink by itself, by outcome.";
    WIRES = "porchlight_wires", Gauge, Count,
        "Connections to other nodes whose seats are on this node.";
    WIRES_LOST = "porchlight_wires_lost_total", Counter, Count,
        "Wires given up because another node fell silent or letters were lost.";
    WIRE_LETTERS = "porchlight_wire_letters_total", Counter, Count,
        "Letters sent to other nodes.";
    FAR_FRAMES = "porchlight_far_frames_total", Counter, Count,
        "Frames of sessions sent to other nodes and taken of them, by direction.";
    CLAIMS = "porchlight_claims_total", Counter, Count,
        "Visitors that arrived here where nodes share a directory, by where their home is.";
    DISPLACED = "porchlight_displaced_total", Counter, Count,
        "Visitors of this node that were found to have their home on another.";
    REREADS = "porchlight_rereads_total", Counter, Count,
        "Groups whose watched visitors on other nodes were read again, because something may have been missed.";
    DIRECTORY_BATCHES = "porchlight_directory_batch_visitors", Histogram, Count,
        "Visitors told to the shared directory in one write.";
    HINT_SECONDS = "porchlight_hint_seconds", Histogram, Seconds,
        "Time from telling the other nodes to hearing it, measured with this node's own beat.";
    ADMIN_WATCHES = "porchlight_admin_watches", Gauge, Count,
        "Watches of presence or sessions that operators hold open.";
    ADMIN_READERS = "porchlight_admin_readers", Gauge, Count,
        "Streams of events and exports of receipts that operators have open.";
    REDIS_CONNECTS = "porchlight_redis_connects_total", Counter, Count,
        "Connections made to Redis, by use; beyond the first they are reconnects.";
    REDIS_FAILURES = "porchlight_redis_failures_total", Counter, Count,
        "Commands to Redis that failed, by kind.";
    REDIS_UNHEARD = "porchlight_redis_unheard_total", Counter, Count,
        "Words of Redis that were dropped because a listener was too slow, by listener; what they told of is read instead.";
    REDIS_ANSWERED = "porchlight_redis_answered_timestamp_seconds", Gauge, Seconds,
        "When Redis last answered, in seconds since 1970; the time since is how long nothing was heard.";
    CERTIFICATE_EXPIRES = "porchlight_certificate_expires_timestamp_seconds", Gauge, Seconds,
        "When the certificate of a listener that speaks TLS expires, in seconds since 1970.";
    CERTIFICATE_ORDERS = "porchlight_certificate_orders_total", Counter, Count,
        "Certificates that the public listener asked an authority for, by outcome.";
    CERTIFICATE_READS = "porchlight_certificate_reads_total", Counter, Count,
        "Changed certificates that were read, by listener and outcome; one that can't be used changes nothing.";
    TRACE_SPANS = "porchlight_trace_spans_total", Counter, Count,
        "Spans for the collector of traces, by outcome.";
    BUILD_INFO = "porchlight_build_info", Gauge, Count,
        "Always 1; the version is a label.";
    FILE_LIMIT = "porchlight_process_file_limit", Gauge, Count,
        "File descriptors the process may open.";
    OPEN_FILES = "porchlight_process_open_files", Gauge, Count,
        "File descriptors the process has open.";
    RESIDENT = "porchlight_process_resident_bytes", Gauge, Bytes,
        "Memory the process occupies.";
    MEMORY_LIMIT = "porchlight_process_memory_limit_bytes", Gauge, Bytes,
        "Memory there is for the process, where the settings or its control group say.";
    FULL = "porchlight_full", Gauge, Count,
        "1 while new work is refused for want of something, by what that is.";
    ACCEPT_FAILURES = "porchlight_accept_failures_total", Counter, Count,
        "Times a listener could not accept a connection as usual, by listener.";
}

/// Buckets of [`SIGN_IN_SECONDS`]: a login key takes under a millisecond, a password hash 20–200 ms.
const SIGN_IN_BUCKETS: &[f64] = &[0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];

/// Buckets of [`RECEIPT_SECONDS`]: a flush of a good disk takes 1–5 ms, of a bad one 20–100 ms; 5 s is the
/// longest wait.
const RECEIPT_BUCKETS: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Buckets of [`DIRECTORY_BATCHES`]: one by one while all is quiet, 250 at most.
const BATCH_BUCKETS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 250.0];

/// Buckets of [`HINT_SECONDS`]: a Redis nearby takes under a millisecond, one under load some hundred.
const HINT_BUCKETS: &[f64] = &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.25, 1.0, 2.0];

/// Which WebSocket a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocketKind {
    /// A page of the website.
    Visitor,
    /// An agent's client.
    Agent,
    /// A participant of a session.
    Session,
}

impl SocketKind {
    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Visitor => "visitor",
            Self::Agent => "agent",
            Self::Session => "session",
        }
    }
}

/// Handles of one server's metrics, made once. The hot ones are fields, ready to use without a lookup;
/// the labelled ones are methods.
pub struct Meters {
    recorder: PrometheusRecorder,
    /// Made with the first answer: a server without Redis has none.
    redis_answered: OnceLock<Gauge>,
    visitor_connections: Gauge,
    agent_connections: Gauge,
    session_connections: Gauge,
    /// See [`VISITORS_PRESENT`].
    pub visitors_present: Gauge,
    /// See [`PRESENCE_CHANGES`].
    pub presence_changes: Counter,
    /// See [`LAMP_PUSHES`].
    pub lamp_pushes: Counter,
    /// See [`SESSIONS_ACTIVE`].
    pub sessions_active: Gauge,
    /// See [`FRAMES_IN`].
    pub frames_in: Counter,
    /// See [`FRAMES_OUT`].
    pub frames_out: Counter,
    /// See [`FRAME_BYTES_IN`].
    pub frame_bytes_in: Counter,
    /// See [`FRAME_BYTES_OUT`].
    pub frame_bytes_out: Counter,
    /// See [`FRAMES_SHED`]: a droppable temporal layer.
    pub frames_shed_layer: Counter,
    /// See [`FRAMES_SHED`]: everything up to the next key frame.
    pub frames_shed_lagging: Counter,
    /// See [`VIEWERS_LAGGING`].
    pub viewers_lagging: Gauge,
    /// See [`KEY_FRAME_REQUESTS`].
    pub key_frame_requests: Counter,
    /// See [`WIRES`].
    pub wires: Gauge,
    /// See [`WIRES_LOST`].
    pub wires_lost: Counter,
    /// See [`WIRE_LETTERS`].
    pub wire_letters: Counter,
    /// See [`FAR_FRAMES`].
    pub far_frames_in: Counter,
    /// See [`FAR_FRAMES`].
    pub far_frames_out: Counter,
    /// See [`DISPLACED`].
    pub displaced: Counter,
    /// See [`REREADS`].
    pub rereads: Counter,
    /// See [`DIRECTORY_BATCHES`].
    pub directory_batch: Histogram,
    /// See [`HINT_SECONDS`].
    pub hint_seconds: Histogram,
    /// See [`ADMIN_WATCHES`].
    pub admin_watches: Gauge,
    /// See [`ADMIN_READERS`].
    pub admin_readers: Gauge,
    /// See [`SIGN_IN_SECONDS`].
    pub sign_in_seconds: Histogram,
    /// See [`EVENTS`].
    pub events: Counter,
    /// See [`EVENTS_WAITING`].
    pub events_waiting: Gauge,
    /// See [`EVENT_FAILURES`].
    pub event_failures: Counter,
    /// See [`EVENTS_REFUSED`]: no more could wait.
    pub events_refused_full: Counter,
    /// See [`EVENTS_REFUSED`]: the log would never take it.
    pub events_refused_unwritable: Counter,
    /// See [`EVENTS_REFUSED`]: the server ended before it could be written.
    pub events_refused_ended: Counter,
    /// See [`EVENTS_REFUSED`]: a back end's post, which waits for nothing; the back end was told.
    pub events_refused_post: Counter,
    /// See [`RECEIPT_SECONDS`].
    pub receipt_seconds: Histogram,
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

const METADATA: Metadata<'static> = Metadata::new("porchlight", Level::INFO, None);

impl Meters {
    /// A fresh registry with every metric described, and the handle that renders it.
    pub fn new() -> (Arc<Self>, PrometheusHandle) {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(SIGN_IN_SECONDS.to_owned()), SIGN_IN_BUCKETS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Full(RECEIPT_SECONDS.to_owned()), RECEIPT_BUCKETS)
            })
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Full(DIRECTORY_BATCHES.to_owned()), BATCH_BUCKETS)
            })
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Full(HINT_SECONDS.to_owned()), HINT_BUCKETS)
            })
            .expect("the buckets are constants that are not empty")
            .build_recorder();
        describe(&recorder);
        let handle = recorder.handle();
        let gauge = |name| recorder.register_gauge(&Key::from_static_name(name), &METADATA);
        let counter = |name| recorder.register_counter(&Key::from_static_name(name), &METADATA);
        let connections = |kind: SocketKind| {
            recorder.register_gauge(&labelled(CONNECTIONS, &[("kind", kind.name())]), &METADATA)
        };
        let shed =
            |reason| recorder.register_counter(&labelled(FRAMES_SHED, &[("reason", reason)]), &METADATA);
        let far = |direction| {
            recorder.register_counter(&labelled(FAR_FRAMES, &[("direction", direction)]), &METADATA)
        };
        let refused =
            |reason| recorder.register_counter(&labelled(EVENTS_REFUSED, &[("reason", reason)]), &METADATA);
        recorder
            .register_gauge(&labelled(BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))]), &METADATA)
            .set(1.0);
        let meters = Self {
            visitor_connections: connections(SocketKind::Visitor),
            agent_connections: connections(SocketKind::Agent),
            session_connections: connections(SocketKind::Session),
            visitors_present: gauge(VISITORS_PRESENT),
            presence_changes: counter(PRESENCE_CHANGES),
            lamp_pushes: counter(LAMP_PUSHES),
            sessions_active: gauge(SESSIONS_ACTIVE),
            frames_in: counter(FRAMES_IN),
            frames_out: counter(FRAMES_OUT),
            frame_bytes_in: counter(FRAME_BYTES_IN),
            frame_bytes_out: counter(FRAME_BYTES_OUT),
            frames_shed_layer: shed("layer"),
            frames_shed_lagging: shed("lagging"),
            viewers_lagging: gauge(VIEWERS_LAGGING),
            key_frame_requests: counter(KEY_FRAME_REQUESTS),
            wires: gauge(WIRES),
            wires_lost: counter(WIRES_LOST),
            wire_letters: counter(WIRE_LETTERS),
            far_frames_in: far("in"),
            far_frames_out: far("out"),
            displaced: counter(DISPLACED),
            rereads: counter(REREADS),
            directory_batch: recorder
                .register_histogram(&Key::from_static_name(DIRECTORY_BATCHES), &METADATA),
            hint_seconds: recorder.register_histogram(&Key::from_static_name(HINT_SECONDS), &METADATA),
            admin_watches: gauge(ADMIN_WATCHES),
            admin_readers: gauge(ADMIN_READERS),
            sign_in_seconds: recorder.register_histogram(&Key::from_static_name(SIGN_IN_SECONDS), &METADATA),
            events: counter(EVENTS),
            events_waiting: gauge(EVENTS_WAITING),
            event_failures: counter(EVENT_FAILURES),
            events_refused_full: refused("full"),
            events_refused_unwritable: refused("unwritable"),
            events_refused_ended: refused("ended"),
            events_refused_post: refused("post"),
            receipt_seconds: recorder.register_histogram(&Key::from_static_name(RECEIPT_SECONDS), &METADATA),
            redis_answered: OnceLock::new(),
            recorder,
        };
        (Arc::new(meters), handle)
    }

    /// The gauge of open WebSockets of one kind.
    pub fn connections(&self, kind: SocketKind) -> &Gauge {
        match kind {
            SocketKind::Visitor => &self.visitor_connections,
            SocketKind::Agent => &self.agent_connections,
            SocketKind::Session => &self.session_connections,
        }
    }

    /// Counts a WebSocket handshake. `outcome` is `ok` or the error code it was refused with.
    pub fn connect(&self, kind: SocketKind, outcome: &'static str) {
        self.count(CONNECTS, &[("kind", kind.name()), ("outcome", outcome)]);
    }

    /// Counts a WebSocket ended by the server; `code` is the name in the close table.
    pub fn close(&self, code: &'static str) {
        self.count(CLOSES, &[("code", code)]);
    }

    /// Counts a visitor's arrival by its home: `here`, `taken_over`, `there`, or `unclaimed` where nobody could be
    /// asked.
    pub fn claim(&self, home: &'static str) {
        self.count(CLAIMS, &[("home", home)]);
    }

    /// Counts an offer that came to its end.
    pub fn offer(&self, outcome: &'static str) {
        self.count(OFFERS, &[("outcome", outcome)]);
    }

    /// Counts a session that ended.
    pub fn session_ended(&self, reason: &'static str) {
        self.count(SESSIONS_ENDED, &[("reason", reason)]);
    }

    /// Counts a sign-in.
    pub fn sign_in(&self, outcome: &'static str) {
        self.count(SIGN_INS, &[("outcome", outcome)]);
    }

    /// Counts a guest at the door: `ok`, or why it was not let in.
    pub fn guest(&self, outcome: &'static str) {
        self.count(GUESTS, &[("outcome", outcome)]);
    }

    /// Counts something refused; `limit` names the limit it met.
    pub fn refusal(&self, limit: &'static str) {
        self.count(REFUSALS, &[("limit", limit)]);
    }

    /// Counts a consent receipt: `ok`, or `failed` when it could not be kept.
    pub fn receipt(&self, outcome: &'static str) {
        self.count(RECEIPTS, &[("outcome", outcome)]);
    }

    /// Counts letters for a sink, by what became of them.
    pub fn letters(&self, target: &'static str, outcome: &'static str, count: u64) {
        let labels = [("target", target), ("outcome", outcome)];
        self.recorder.register_counter(&labelled(SINK_LETTERS, &labels), &METADATA).increment(count);
    }

    /// Counts a run of a sync for one sink.
    pub fn sync_run(&self, outcome: &'static str) {
        self.count(SYNC_RUNS, &[("outcome", outcome)]);
    }

    /// Counts spans for the collector of traces: `sent`, or `failed` when it did not take them.
    pub fn spans(&self, outcome: &'static str, count: u64) {
        self.add(TRACE_SPANS, &[("outcome", outcome)], count);
    }

    fn count(&self, name: &'static str, labels: &[(&'static str, &'static str)]) {
        self.add(name, labels, 1);
    }

    fn add(&self, name: &'static str, labels: &[(&'static str, &'static str)], count: u64) {
        self.recorder.register_counter(&labelled(name, labels), &METADATA).increment(count);
    }
}

fn labelled(name: &'static str, labels: &[(&'static str, &'static str)]) -> Key {
    let labels: Vec<Label> = labels.iter().map(|(key, value)| Label::from_static_parts(key, value)).collect();
    Key::from_parts(name, labels)
}

/// Tells a recorder what each metric means.
pub fn describe(recorder: &impl Recorder) {
    for metric in METRICS {
        let (name, unit, help) = (metric.name.into(), Some(metric.unit), metric.help.into());
        match metric.kind {
            Kind::Counter => recorder.describe_counter(name, unit, help),
            Kind::Gauge => recorder.describe_gauge(name, unit, help),
            Kind::Histogram => recorder.describe_histogram(name, unit, help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_follow_the_convention() {
        let names: BTreeSet<_> = METRICS.iter().map(|m| m.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            assert!(metric.name.starts_with("porchlight_"), "{}", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
    }

    #[test]
    fn every_metric_is_emitted_with_its_help() {
        let (meters, handle) = Meters::new();
        for kind in [SocketKind::Visitor, SocketKind::Agent, SocketKind::Session] {
            meters.connections(kind).increment(1.0);
            meters.connect(kind, "ok");
        }
        meters.close("drain");
        meters.offer("accepted");
        meters.session_ended("agent_ended");
        meters.sign_in("ok");
        meters.sign_in_seconds.record(0.03);
        meters.guest("ok");
        meters.refusal("connections_per_ip");
        meters.receipt("ok");
        meters.claim("here");
        meters.directory_batch.record(1.0);
        meters.hint_seconds.record(0.001);
        meters.letters("webhook", "accepted", 1);
        meters.sync_run("ok");
        meters.receipt_seconds.record(0.003);
        meters.redis_connected(RedisUse::Commands);
        meters.redis_failed("away");
        meters.redis_answered();
        meters.redis_unheard(Listener::Presence, 1);
        meters.file_limit(20_000);
        meters.open_files(100);
        meters.resident(1);
        meters.memory_limit(1);
        meters.short_of("files", false);
        meters.accept_failed("public");
        meters.certificate_expires("public", 1_900_000_000);
        meters.certificate_read("public", "ok");
        meters.certificate_ordered("got");
        meters.spans("sent", 1);
        let text = handle.render();
        for metric in METRICS {
            assert!(
                text.contains(&format!("# HELP {} {}", metric.name, metric.help)),
                "{}\n{text}",
                metric.name
            );
        }
        assert!(text.contains(r#"porchlight_connects_total{kind="visitor",outcome="ok"} 1"#), "{text}");
        assert!(text.contains(r#"porchlight_sign_in_seconds_bucket{le="0.05"} 1"#), "{text}");
    }

    #[test]
    fn servers_count_apart() {
        let (one, _) = Meters::new();
        let (_two, other) = Meters::new();
        one.frames_in.increment(7);
        assert!(other.render().contains("porchlight_frames_in_total 0"));
    }

    #[test]
    fn filters_are_checked() {
        assert!(parse_filter("info,porchlight::ws=debug").is_ok());
        assert!(parse_filter("porchlight=loud").is_err());
    }
}
