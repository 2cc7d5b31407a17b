//! Which settings contradict each other or the server's safety.
//!
//! Looks at all of them and reports all that is wrong, so that a file is mended in one go. Called by
//! `check-config` and before every start.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use redis::IntoConnectionInfo as _;

use super::{Config, Secret};
use crate::auth::secret::MasterSecret;
use crate::limits::{Limits, Rate};
use crate::{limits, telemetry};

/// One contradiction: the key to change and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The key, with its section.
    pub key: &'static str,
    /// What is wrong with its value.
    pub problem: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

/// Gathers violations.
struct Findings(Vec<Violation>);

impl Findings {
    fn require(&mut self, holds: bool, key: &'static str, problem: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Violation { key, problem: problem() });
        }
    }
}

impl Config {
    /// Everything that is wrong with the settings; empty when the server may start with them.
    pub fn check(&self) -> Vec<Violation> {
        let mut findings = Findings(Vec::new());
        self.check_listeners(&mut findings);
        findings.require(!self.store.data_dir.as_os_str().is_empty(), "store.data_dir", || {
            "no directory is named".to_owned()
        });
        findings.require(!self.events.keep.is_zero(), "events.keep", || "nothing would be kept".to_owned());
        findings.require(self.events.keep_count >= limits::EVENT_QUEUE as u64, "events.keep_count", || {
            format!(
                "{} is less than a disk that was full gives back at once, {}",
                self.events.keep_count,
                limits::EVENT_QUEUE
            )
        });
        let (age, count) = limits::RECORDS_KEPT_LEAST;
        let session = self.limits.waiting + self.limits.session_length + self.limits.resume_window;
        let age = age.max(session);
        findings.require(self.records.keep >= age, "records.keep", || {
            format!("{:?} is less than {age:?}: the record must outlive its session", self.records.keep)
        });
        findings.require(self.records.keep_count >= count, "records.keep_count", || {
            format!("{} is less than {count}: lists of today would have holes", self.records.keep_count)
        });
        if let Some(keep) = self.receipts.keep {
            findings.require(keep >= self.records.keep, "receipts.keep", || {
                format!(
                    "{keep:?} is less than records.keep ({:?}): records would name receipts that are gone",
                    self.records.keep
                )
            });
        }
        let sinks = &self.sinks;
        for (key, time) in [
            ("sinks.retry_first", sinks.retry_first),
            ("sinks.answer_within", sinks.answer_within),
            ("sinks.give_up", sinks.give_up),
        ] {
            findings.require(!time.is_zero(), key, || "must not be 0".to_owned());
        }
        findings.require(sinks.retry_most >= sinks.retry_first, "sinks.retry_most", || {
            format!("{:?} is shorter than sinks.retry_first ({:?})", sinks.retry_most, sinks.retry_first)
        });
        self.check_sinks_redis(&mut findings);
        findings.0.extend(self.redis.check());
        findings.0.extend(self.telemetry.check());
        if let Err(error) = telemetry::parse_filter(&self.log.filter) {
            findings.0.push(Violation { key: "log.filter", problem: error.to_string() });
        }
        if let Some(secret) = &self.auth.master_secret
            && let Err(error) = MasterSecret::from_text(secret.expose())
        {
            findings.0.push(Violation { key: "auth.master_secret", problem: error.to_string() });
        }
        if let Err(error) = self.sinks.salesforce_keys() {
            findings.0.push(Violation { key: "sinks.salesforce", problem: error.to_string() });
        }
        check_limits(&self.limits, &mut findings);
        findings.0
    }

    fn check_sinks_redis(&self, findings: &mut Findings) {
        let read = |url: &Option<Secret>| {
            let info = url.as_ref()?.expose().into_connection_info();
            Some(info.map(|info| (info.addr().to_string(), info.redis_settings().db())))
        };
        let log = read(&self.redis.url).and_then(Result::ok);
        let sinks = read(&self.sinks.redis);
        findings.require(!matches!(sinks, Some(Err(_))), "sinks.redis", || {
            "it is no address of a Redis".to_owned()
        });
        let sinks = sinks.and_then(Result::ok);
        findings.require(sinks.is_none() || sinks != log, "sinks.redis", || {
            "it is the Redis of redis.url, where the log is the stream already; leave it out".to_owned()
        });
    }

    fn check_listeners(&self, findings: &mut Findings) {
        let (public, admin) = (&self.public, &self.admin);
        findings.require(public.insecure || public.has_tls() || public.addr.ip().is_loopback(), "public.addr", || {
            format!(
                "{} is reachable from other machines without TLS; name public.tls_cert and public.tls_key, or public.acme.names, put a \
                 proxy that terminates TLS in front and say so with --insecure, or listen on 127.0.0.1",
                public.addr
            )
        });
        let guarded = admin.insecure || admin.has_tls() || admin.addr.ip().is_loopback();
        findings.require(guarded, "admin.addr", || {
            format!(
                "{} is reachable from other machines without TLS; name admin.tls_cert and admin.tls_key, \
                 put a proxy that terminates TLS in front and say so with --insecure-admin, or listen on \
                 127.0.0.1",
                admin.addr
            )
        });
        for paths in [public.tls(), admin.tls()] {
            if let Err(error) = paths.and_then(|paths| paths.map(|paths| paths.read()).transpose()) {
                findings.0.push(Violation { key: error.key(), problem: error.to_string() });
            }
        }
        findings.0.extend(super::acme::check(public));
        findings.require(public.url.as_deref().is_none_or(is_base), "public.url", || {
            "must be http:// or https://, a host and perhaps a port, and nothing after it".to_owned()
        });
        let bounded = public.trusted_proxies.iter().all(|network| network.prefix_len() > 0);
        findings.require(bounded, "public.trusted_proxies", || {
            "a network of all addresses would let anybody say who they are".to_owned()
        });
        let told = !public.proxy_protocol || !public.trusted_proxies.is_empty();
        findings.require(told, "public.proxy_protocol", || {
            "public.trusted_proxies is empty: nobody could connect".to_owned()
        });
        let listeners =
            [("public.addr", self.public.addr), ("ops.addr", self.ops.addr), ("admin.addr", self.admin.addr)];
        for (index, (key, addr)) in listeners.iter().enumerate() {
            for (other, taken) in &listeners[..index] {
                findings.require(!collide(*addr, *taken), key, || format!("{addr} is taken by {other}"));
            }
        }
    }
}

/// Whether paths may be put behind it as it is.
fn is_base(url: &str) -> bool {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let plain = |host: &str| !host.is_empty() && !host.contains(['/', '?', '#', '@']);
    host.is_some_and(plain) && url.parse::<hyper::Uri>().is_ok()
}

/// Whether two listeners can't both be opened.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (everywhere || one.ip() == other.ip())
}

fn check_limits(limits: &Limits, findings: &mut Findings) {
    check_positive(limits, findings);
    let mut longer = |key, value: Duration, than: Duration, other: &str| {
        findings.require(value > than, key, || format!("{value:?} is not longer than {other} ({than:?})"));
    };
    longer("limits.dead_after", limits.dead_after, 2 * limits.heartbeat, "two limits.heartbeat");
    let beats = limits.node_beat * limits::NODE_BEATS;
    longer("limits.node_lease", limits.node_lease, beats, "five limits.node_beat");
    longer("limits.outbox_age", limits.outbox_age, limits.shed_age, "limits.shed_age");
    longer("limits.stuck", limits.stuck, limits.outbox_age, "limits.outbox_age");
    longer("limits.session_length", limits.session_length, limits.waiting, "limits.waiting");
    longer("limits.waiting", limits.waiting, limits.ticket_life, "limits.ticket_life");
    longer("limits.cache_span", limits.cache_span, limits.key_frame_spacing, "limits.key_frame_spacing");

    let digits = limits::GUEST_KEY_DIGITS_RANGE;
    findings.require(
        (digits.0..=digits.1).contains(&limits.guest_key_digits),
        "limits.guest_key_digits",
        || format!("{} is not within {} to {}", limits.guest_key_digits, digits.0, digits.1),
    );
    findings.require(
        (1..=limits::WRONG_TRIES_MOST).contains(&limits.wrong_tries),
        "limits.wrong_tries",
        || format!("{} is not within 1 to {}", limits.wrong_tries, limits::WRONG_TRIES_MOST),
    );
    for (key, percent) in
        [("limits.files_percent", limits.files_percent), ("limits.memory_percent", limits.memory_percent)]
    {
        findings.require((1..=100).contains(&percent), key, || format!("{percent} is not within 1 to 100"));
    }
    let mut holds = |key, value: usize, least: usize, why: &str| {
        findings.require(value >= least, key, || format!("{value} is less than {least}: {why}"));
    };
    holds(
        "limits.visitor_message",
        limits.visitor_message,
        limits.presence_data.saturating_mul(2),
        "presence data must fit with its JSON, twice limits.presence_data",
    );
    holds(
        "limits.presence_data",
        limits.presence_data,
        limits.data_key_bytes.saturating_add(limits.data_value_bytes),
        "one key with its value must fit",
    );
    holds(
        "limits.agent_message",
        limits.agent_message,
        limits.watched.saturating_mul(limits::WATCHED_ENTRY),
        "limits.watched visitor IDs must fit in one message",
    );
    holds("limits.cache_bytes", limits.cache_bytes, limits.frame, "one limits.frame must fit");
    holds("limits.outbox_bytes", limits.outbox_bytes, limits.shed_bytes, "limits.shed_bytes comes first");
}

/// Zero would switch the thing off, not its limit.
fn check_positive(limits: &Limits, findings: &mut Findings) {
    let counts = [
        ("limits.connections", limits.connections.unwrap_or(1)),
        ("limits.connections_per_ip", limits.connections_per_ip),
        ("limits.connections_per_visitor", limits.connections_per_visitor),
        ("limits.session_text", limits.session_text),
        ("limits.frame", limits.frame),
        ("limits.watched", limits.watched),
        ("limits.viewers", limits.viewers),
        ("limits.shed_bytes", limits.shed_bytes),
        ("limits.control_lane", limits.control_lane),
    ];
    findings.require(limits.memory != Some(0), "limits.memory", || "must not be 0".to_owned());
    for (key, count) in counts {
        findings.require(count > 0, key, || "must not be 0".to_owned());
    }
    let times = [
        ("limits.http_header", limits.http_header),
        ("limits.first_message", limits.first_message),
        ("limits.heartbeat", limits.heartbeat),
        ("limits.code_life", limits.code_life),
        ("limits.ticket_life", limits.ticket_life),
        ("limits.resume_window", limits.resume_window),
        ("limits.presence_retry", limits.presence_retry),
        ("limits.lock_window", limits.lock_window),
        ("limits.lock_time", limits.lock_time),
        ("limits.shed_age", limits.shed_age),
        ("limits.node_beat", limits.node_beat),
        ("limits.key_frame_spacing", limits.key_frame_spacing),
    ];
    for (key, time) in times {
        findings.require(!time.is_zero(), key, || "must not be 0".to_owned());
    }
    let rates = [
        ("limits.visitor_rate", limits.visitor_rate),
        ("limits.agent_rate", limits.agent_rate),
        ("limits.session_rate", limits.session_rate),
    ];
    for (key, Rate { per_second, burst }) in rates {
        findings.require(per_second > 0 && burst >= per_second, key, || {
            format!("burst {burst} must be at least per_second {per_second}, and both more than 0")
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(change: impl FnOnce(&mut Config)) -> Vec<&'static str> {
        let mut config = Config::default();
        config.public.insecure = true;
        change(&mut config);
        config.check().into_iter().map(|violation| violation.key).collect()
    }

    #[test]
    fn the_defaults_only_miss_a_decision_about_tls() {
        let keys: Vec<_> = Config::default().check().into_iter().map(|violation| violation.key).collect();
        assert_eq!(keys, ["public.addr"]);
        assert!(broken(|_| ()).is_empty());
    }

    #[test]
    fn each_contradiction_names_its_key() {
        type Change = fn(&mut Config);
        let table: &[(Change, &str)] = &[
            (|c| c.limits.dead_after = c.limits.heartbeat * 2, "limits.dead_after"),
            (|c| c.public.trusted_proxies = vec!["::/0".parse().unwrap()], "public.trusted_proxies"),
            (|c| c.public.proxy_protocol = true, "public.proxy_protocol"),
            (|c| c.limits.node_lease = c.limits.node_beat * 5, "limits.node_lease"),
            (|c| c.limits.visitor_message = 8191, "limits.visitor_message"),
            (|c| c.limits.agent_message = 64_999, "limits.agent_message"),
            (|c| c.limits.cache_bytes = c.limits.frame - 1, "limits.cache_bytes"),
            (|c| c.limits.outbox_bytes = c.limits.shed_bytes - 1, "limits.outbox_bytes"),
            (|c| c.limits.outbox_age = c.limits.shed_age, "limits.outbox_age"),
            (|c| c.limits.visitor_rate.burst = 1, "limits.visitor_rate"),
            (|c| c.limits.connections = Some(0), "limits.connections"),
            (|c| c.limits.guest_key_digits = 8, "limits.guest_key_digits"),
            (|c| c.limits.guest_key_digits = 13, "limits.guest_key_digits"),
            (|c| c.limits.wrong_tries = 0, "limits.wrong_tries"),
            (|c| c.limits.wrong_tries = 101, "limits.wrong_tries"),
            (|c| c.limits.lock_time = Duration::ZERO, "limits.lock_time"),
            (|c| c.limits.files_percent = 0, "limits.files_percent"),
            (|c| c.limits.memory_percent = 101, "limits.memory_percent"),
            (|c| c.limits.memory = Some(0), "limits.memory"),
            (|c| c.public.url = Some("https://help.example/x".to_owned()), "public.url"),
            (|c| c.limits.ticket_life = Duration::ZERO, "limits.ticket_life"),
            (|c| c.records.keep = Duration::from_secs(3600), "records.keep"),
            (|c| c.records.keep_count = 9_999, "records.keep_count"),
            (|c| c.receipts.keep = Some(c.records.keep - Duration::from_secs(1)), "receipts.keep"),
            (|c| c.log.filter = "porchlight=loud".to_owned(), "log.filter"),
            (|c| c.auth.master_secret = Some("short".to_owned().into()), "auth.master_secret"),
            (|c| c.store.data_dir = "".into(), "store.data_dir"),
            (|c| c.sinks.retry_first = Duration::ZERO, "sinks.retry_first"),
            (|c| c.sinks.retry_most = c.sinks.retry_first / 2, "sinks.retry_most"),
            (|c| c.sinks.give_up = Duration::ZERO, "sinks.give_up"),
            (|c| c.sinks.answer_within = Duration::ZERO, "sinks.answer_within"),
            (|c| c.redis.url = Some("127.0.0.1".to_owned().into()), "redis.url"),
            (|c| c.sinks.redis = Some("http://127.0.0.1".to_owned().into()), "sinks.redis"),
            (
                |c| {
                    c.redis.url = Some("redis://127.0.0.1/".to_owned().into());
                    c.sinks.redis = Some("redis://:password@127.0.0.1:6379/0".to_owned().into());
                },
                "sinks.redis",
            ),
            (|c| c.admin.addr = "0.0.0.0:7402".parse().unwrap(), "admin.addr"),
            (|c| c.admin.tls_cert = Some("cert.pem".into()), "admin.tls_key"),
            (|c| c.admin.client_ca = Some("ca.pem".into()), "admin.tls_cert"),
            (|c| c.ops.addr = "127.0.0.1:7400".parse().unwrap(), "ops.addr"),
            (
                |c| {
                    let group = crate::ids::GroupId::new("acme").unwrap();
                    c.sinks.salesforce =
                        vec![crate::config::SalesforceKey { group, key_file: "none.pem".into() }];
                },
                "sinks.salesforce",
            ),
        ];
        for (change, key) in table {
            assert_eq!(broken(change), [*key]);
        }
    }

    #[test]
    fn receipts_are_kept_for_good_unless_a_time_is_named() {
        assert_eq!(Config::default().receipts.keep, None);
        let named: Config =
            toml::from_str("public.insecure = true\n[receipts]\nkeep = \"1200days\"").unwrap();
        assert_eq!(named.receipts.keep, Some(Duration::from_secs(1_200 * 24 * 3_600)));
        assert!(named.check().is_empty());
    }

    #[test]
    fn all_contradictions_are_told_at_once() {
        let keys = broken(|c| {
            c.limits.dead_after = Duration::from_secs(1);
            c.limits.frame = 0;
            c.log.filter = "=".to_owned();
        });
        assert!(keys.len() >= 3, "{keys:?}");
    }

    #[test]
    fn free_ports_and_loopback_never_collide() {
        let config = |c: &mut Config| {
            for addr in [&mut c.public.addr, &mut c.ops.addr, &mut c.admin.addr] {
                *addr = "127.0.0.1:0".parse().unwrap();
            }
            c.public.insecure = false;
        };
        assert!(broken(config).is_empty());
    }
}
