//! Tables for people and JSON lines for programs, from the answers of the admin service.

mod past;

use std::io::Write as _;

use prost::{Message, Name};
use prost_types::Timestamp;

pub(super) use past::{EVENTS, RECORDS, RECORDS_CSV, STATS, STATS_CSV, record};

use super::super::Failure;
use super::Server;
use crate::clock::Wall;
use crate::pb::{self, v1};

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Print {
    /// Aligned columns with a heading.
    Table,
    /// One JSON object a line.
    Json,
}

/// Prints to standard output. A reader that has seen enough, as `head`, ends the command quietly.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Failure::Unread),
        Err(error) => Err(Failure::Failed(error.into())),
    }
}

/// One line.
pub(super) fn say_line(text: impl std::fmt::Display) -> Result<(), Failure> {
    say(&format!("{text}\n"))
}

/// How one kind of thing is listed.
pub(super) struct Columns<T, const N: usize> {
    /// Over the columns.
    pub(super) heading: [&'static str; N],
    /// What stands in them.
    pub(super) row: fn(&T) -> [String; N],
}

impl Server {
    /// Prints one message as JSON, or as a person likes it.
    pub(super) fn print<M: Message + Name>(
        &self,
        message: &M,
        human: impl FnOnce(&M) -> String,
    ) -> Result<(), Failure> {
        match self.print {
            Print::Json => say_line(pb::json(message)),
            Print::Table => say(&human(message)),
        }
    }

    /// Prints a list that is known as a whole.
    pub(super) fn print_list<M: Message + Name, const N: usize>(
        &self,
        items: &[M],
        columns: &Columns<M, N>,
    ) -> Result<(), Failure> {
        match self.print {
            Print::Json => items.iter().try_for_each(|item| say_line(pb::json(item))),
            Print::Table => say(&table(columns.heading, &items.iter().map(columns.row).collect::<Vec<_>>())),
        }
    }
}

/// Lines of a list that has no end: columns grow when something wider comes.
pub(super) struct Growing<const N: usize> {
    widths: [usize; N],
}

impl<const N: usize> Growing<N> {
    /// Columns under a heading, which is the first line to print.
    pub(super) fn under(heading: [&str; N]) -> Self {
        Self { widths: heading.map(str::len) }
    }

    /// One line.
    pub(super) fn line(&mut self, cells: &[String; N]) -> String {
        for (width, cell) in self.widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
        line(cells.each_ref().map(String::as_str), self.widths)
    }
}

fn line<const N: usize>(cells: [&str; N], widths: [usize; N]) -> String {
    let padded: Vec<String> =
        cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    format!("{}\n", padded.join("  ").trim_end())
}

/// Rows in columns as wide as their widest cell.
pub(super) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let mut columns = Growing::under(heading);
    for row in rows {
        columns.line(row);
    }
    let rows = rows.iter().map(|row| line(row.each_ref().map(String::as_str), columns.widths));
    std::iter::once(line(heading, columns.widths)).chain(rows).collect()
}

/// Names and values, one a line.
fn facts<const N: usize>(heading: &str, facts: [(&str, String); N]) -> String {
    table([heading, ""], &facts.map(|(name, value)| [name.to_owned(), value]))
}

/// What a visitor could write into a terminal: control characters would move the cursor or worse.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

pub(super) fn moment(at: Option<&Timestamp>) -> String {
    at.map_or_else(String::new, |at| {
        let seconds = u64::try_from(at.seconds).unwrap_or(0);
        let millis = u64::try_from(at.nanos).unwrap_or(0) / 1_000_000;
        Wall(seconds.saturating_mul(1000).saturating_add(millis)).to_string()
    })
}

/// `1 change`, `2 changes`.
pub(super) fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

/// The last word of an enum's name in the proto file, in lower case.
pub(super) fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

fn session_state(session: &v1::Session) -> String {
    word(session.state().as_str_name(), "SESSION_STATE_")
}

fn session_kind(session: &v1::Session) -> String {
    let kind = |kind: v1::SessionKind| word(kind.as_str_name(), "SESSION_KIND_");
    match session.shows() {
        v1::SessionKind::Unspecified => kind(session.kind()),
        shows => format!("{}, now {}", kind(session.kind()), kind(shows)),
    }
}

pub(super) const VISITORS: Columns<v1::Visitor, 6> = Columns {
    heading: ["VISITOR", "STATE", "SINCE", "TABS", "SESSION", "PAGE"],
    row: |visitor| {
        [
            plain(&visitor.visitor_id),
            word(visitor.state().as_str_name(), "PRESENCE_STATE_"),
            moment(visitor.since.as_ref()),
            visitor.connections.to_string(),
            visitor.session_id.clone(),
            visitor.page.as_ref().map_or_else(String::new, |page| plain(&page.url)),
        ]
    },
};

pub(super) const SESSIONS: Columns<v1::Session, 6> = Columns {
    heading: ["SESSION", "KIND", "STATE", "VISITOR", "CREATED", "PEOPLE"],
    row: |session| {
        let people: Vec<String> = session.participants.iter().map(|one| plain(&one.name)).collect();
        [
            session.session_id.clone(),
            session_kind(session),
            session_state(session),
            plain(&session.visitor_id),
            moment(session.created_at.as_ref()),
            people.join(", "),
        ]
    },
};

const PARTICIPANTS: Columns<v1::Participant, 5> = Columns {
    heading: ["PARTICIPANT", "ROLE", "AGENT", "NAME", "CONNECTED"],
    row: |one| {
        [
            one.participant_id.clone(),
            word(one.role().as_str_name(), "PARTICIPANT_ROLE_"),
            plain(&one.agent_id),
            plain(&one.name),
            yes(one.connected),
        ]
    },
};

pub(super) fn session(session: &v1::Session) -> String {
    let told = facts(
        "SESSION",
        [
            ("session", session.session_id.clone()),
            ("kind", session_kind(session)),
            ("state", session_state(session)),
            ("visitor", plain(&session.visitor_id)),
            ("created", moment(session.created_at.as_ref())),
            ("started", moment(session.started_at.as_ref())),
            ("paused", yes(session.paused)),
        ],
    );
    let people: Vec<_> = session.participants.iter().map(PARTICIPANTS.row).collect();
    format!("{told}\n{}", table(PARTICIPANTS.heading, &people))
}

pub(super) const FEED: Columns<v1::FeedItem, 5> = Columns {
    heading: ["POST", "TIME", "AUTHOR", "TEXT", "LINK"],
    row: |item| {
        [
            plain(&item.post_id),
            moment(item.time.as_ref()),
            plain(&item.author_name),
            plain(&item.text),
            plain(&item.link),
        ]
    },
};

pub(super) const LEADS: Columns<v1::Lead, 5> = Columns {
    heading: ["LEAD", "EMAIL", "NAME", "CREATED", "SESSION"],
    row: |lead| {
        [
            plain(&lead.lead_id),
            plain(&lead.email),
            plain(&lead.name),
            moment(lead.created_at.as_ref()),
            plain(&lead.session_id),
        ]
    },
};

pub(super) const NODES: Columns<v1::Node, 7> = Columns {
    heading: ["NODE", "VERSION", "STARTED", "DRAINING", "CONNECTIONS", "VISITORS", "SESSIONS"],
    row: |node| {
        let connections = node.connections.unwrap_or_default();
        [
            plain(&node.node_id),
            plain(&node.version),
            moment(node.started_at.as_ref()),
            yes(node.draining),
            (connections.visitor + connections.agent + connections.session).to_string(),
            node.visitors_present.to_string(),
            node.sessions.to_string(),
        ]
    },
};

pub(super) fn node(node: &v1::Node) -> String {
    let connections = node.connections.unwrap_or_default();
    facts(
        "NODE",
        [
            ("node", plain(&node.node_id)),
            ("version", plain(&node.version)),
            ("started", moment(node.started_at.as_ref())),
            ("draining", yes(node.draining)),
            ("visitor connections", connections.visitor.to_string()),
            ("agent connections", connections.agent.to_string()),
            ("session connections", connections.session.to_string()),
            ("visitors present", node.visitors_present.to_string()),
            ("sessions", node.sessions.to_string()),
        ],
    )
}

pub(super) fn log_filter(told: &v1::SetLogFilterResponse) -> String {
    facts(
        "LOG",
        [
            ("filter", plain(&told.filter)),
            ("of the settings", plain(&told.configured)),
            ("until", moment(told.until.as_ref())),
        ],
    )
}

pub(super) const GROUPS: Columns<v1::Group, 4> = Columns {
    heading: ["GROUP", "CREATED", "SETTINGS", "PRESENCE"],
    row: |group| {
        let presence = if group.presence_enabled { "on" } else { "off" };
        [
            plain(&group.group),
            moment(group.created_at.as_ref()),
            format!("version {}", group.settings_version),
            presence.to_owned(),
        ]
    },
};

pub(super) const API_KEYS: Columns<v1::ApiKey, 5> = Columns {
    heading: ["KEY", "LABEL", "CREATED", "LAST USED", "REVOKED"],
    row: |key| {
        [
            plain(&key.key_id),
            plain(&key.label),
            moment(key.created_at.as_ref()),
            moment(key.last_used_at.as_ref()),
            moment(key.revoked_at.as_ref()),
        ]
    },
};

/// What an agent may do, in the words of the command line.
fn permissions(agent: &v1::Agent) -> String {
    let held = agent.permissions.unwrap_or_default();
    let all = [(held.user, "user"), (held.admin, "admin"), (held.agent_video, "agent_video")];
    all.into_iter().filter_map(|(held, name)| held.then_some(name)).collect::<Vec<_>>().join(", ")
}

pub(super) const AGENTS: Columns<v1::Agent, 7> = Columns {
    heading: ["AGENT", "ADDRESS", "PARTNER USER ID", "NAME", "PROFILE", "PERMISSIONS", "PASSWORD"],
    row: |agent| {
        [
            plain(&agent.agent_id),
            plain(&agent.address),
            plain(&agent.partner_user_id),
            plain(&agent.name),
            plain(&agent.profile),
            permissions(agent),
            yes(agent.has_password),
        ]
    },
};

/// Those who sign in with a password, as the list of users shows them.
pub(super) const USERS: Columns<v1::Agent, 5> = Columns {
    heading: ["ADDRESS", "AGENT", "PARTNER USER ID", "PROFILE", "SUBSCRIPTION"],
    row: |agent| {
        [
            plain(&agent.address),
            plain(&agent.agent_id),
            plain(&agent.partner_user_id),
            plain(&agent.profile),
            plain(&agent.subscription),
        ]
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["a".to_owned(), "long".to_owned()], ["bcd".to_owned(), "x".to_owned()]];
        assert_eq!(table(["A", "B"], &rows), "A    B\na    long\nbcd  x\n");
    }

    #[test]
    fn lines_that_come_one_by_one_are_aligned_from_the_widest_on() {
        let mut lines = Growing::under(["A", "B"]);
        let told: String = [["abc", "x"], ["d", "y"]].map(|row| lines.line(&row.map(str::to_owned))).concat();
        assert_eq!(told, "abc  x\nd    y\n");
    }

    #[test]
    fn what_a_visitor_writes_cannot_move_the_cursor() {
        let visitor = v1::Visitor {
            visitor_id: "C-1".into(),
            state: v1::PresenceState::Hidden.into(),
            since: Some(Timestamp { seconds: 1_893_456_000, nanos: 0 }),
            connections: 2,
            page: Some(v1::Page { url: "https://a\u{1b}[2J".into(), ..Default::default() }),
            ..Default::default()
        };
        assert_eq!(
            (VISITORS.row)(&visitor),
            ["C-1", "hidden", "2030-01-01T00:00:00.000Z", "2", "", "https://a\u{fffd}[2J"].map(String::from)
        );
    }

    #[test]
    fn permissions_read_as_they_are_typed() {
        let held = v1::Permissions { user: true, admin: false, agent_video: true };
        let agent = v1::Agent { permissions: Some(held), ..Default::default() };
        assert_eq!(permissions(&agent), "user, agent_video");
    }
}
