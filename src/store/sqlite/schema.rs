//! The tables. A migration that was released is never changed; another is added behind it.

use rusqlite_migration::{M, Migrations};

const STEPS: &[M<'_>] = &[
    M::up(ACCOUNTS),
    M::up(CALLS),
    M::up(EVENTS),
    M::up(FEED),
    M::up(SYNC),
    M::up(RETENTION),
    M::up(FIXED_KEYS),
];

const ACCOUNTS: &str = "
    CREATE TABLE groups (
        grp TEXT PRIMARY KEY,
        settings TEXT NOT NULL,
        version INTEGER NOT NULL,
        created_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE settings_changes (
        grp TEXT NOT NULL REFERENCES groups,
        version INTEGER NOT NULL,
        at INTEGER NOT NULL,
        actor TEXT NOT NULL,
        before TEXT,
        after TEXT NOT NULL,
        PRIMARY KEY (grp, version)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE agents (
        grp TEXT NOT NULL REFERENCES groups,
        agent TEXT NOT NULL,
        address TEXT NOT NULL,
        partner_user_id TEXT,
        name TEXT NOT NULL,
        profile TEXT,
        subscription TEXT,
        password TEXT,
        created_at INTEGER NOT NULL,
        PRIMARY KEY (grp, agent),
        UNIQUE (grp, address),
        UNIQUE (grp, partner_user_id)
    ) STRICT, WITHOUT ROWID;

    -- Apart from the agents, because a generation outlives its agent.
    CREATE TABLE token_generations (
        grp TEXT NOT NULL REFERENCES groups,
        agent TEXT NOT NULL,
        generation INTEGER NOT NULL,
        PRIMARY KEY (grp, agent)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE api_keys (
        grp TEXT NOT NULL REFERENCES groups,
        id TEXT NOT NULL,
        label TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        revoked_at INTEGER,
        last_used_at INTEGER,
        PRIMARY KEY (grp, id)
    ) STRICT, WITHOUT ROWID;
    ";

const CALLS: &str = "
    -- The operator's calls have an empty group, hence no reference.
    CREATE TABLE calls (
        grp TEXT NOT NULL,
        caller TEXT NOT NULL,
        request_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        digest BLOB NOT NULL,
        answer BLOB NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (grp, caller, request_id),
        UNIQUE (grp, number)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX calls_by_age ON calls (at);
    ";

const EVENTS: &str = "
    CREATE TABLE events (
        grp TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        id BLOB NOT NULL,
        at INTEGER NOT NULL,
        session BLOB,
        event TEXT NOT NULL,
        PRIMARY KEY (grp, sequence),
        UNIQUE (grp, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX events_of_session ON events (grp, session, sequence) WHERE session IS NOT NULL;

    -- The newest sequence that was given, and the newest that was trimmed.
    CREATE TABLE event_ends (
        grp TEXT PRIMARY KEY,
        head INTEGER NOT NULL,
        low INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE session_records (
        grp TEXT NOT NULL,
        session BLOB NOT NULL,
        created_at INTEGER NOT NULL,
        status TEXT NOT NULL,
        outcome TEXT NOT NULL,
        kind TEXT NOT NULL,
        visitor TEXT,
        object TEXT,
        object_id TEXT,
        started INTEGER NOT NULL,
        duration_ms INTEGER NOT NULL,
        frames INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (grp, session)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX session_records_by_time ON session_records (grp, created_at, session);
    CREATE INDEX session_records_by_visitor ON session_records (grp, visitor, created_at);
    CREATE INDEX session_records_by_record ON session_records (grp, object, object_id, created_at);
    CREATE INDEX session_records_open ON session_records (created_at) WHERE status <> 'ended';

    CREATE TABLE session_record_agents (
        grp TEXT NOT NULL,
        session BLOB NOT NULL,
        agent TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        PRIMARY KEY (grp, session, agent)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX session_records_by_agent ON session_record_agents (grp, agent, created_at, session);

    CREATE TABLE receipts (
        grp TEXT NOT NULL,
        number INTEGER NOT NULL,
        id BLOB NOT NULL,
        session BLOB NOT NULL,
        at INTEGER NOT NULL,
        line TEXT NOT NULL,
        PRIMARY KEY (grp, number),
        UNIQUE (grp, id)
    ) STRICT, WITHOUT ROWID;
    ";

const FEED: &str = "
    CREATE TABLE feed_posts (
        grp TEXT NOT NULL,
        object TEXT NOT NULL,
        object_id TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        id BLOB NOT NULL,
        session BLOB,
        agent TEXT,
        event TEXT NOT NULL,
        PRIMARY KEY (grp, object, object_id, sequence),
        UNIQUE (grp, id)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX feed_posts_on_session ON feed_posts (grp, session, agent) WHERE session IS NOT NULL;

    CREATE TABLE feed_follows (
        grp TEXT NOT NULL,
        agent TEXT NOT NULL,
        object TEXT NOT NULL,
        object_id TEXT NOT NULL,
        PRIMARY KEY (grp, agent, object, object_id)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE leads (
        grp TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        folded TEXT NOT NULL,
        event TEXT NOT NULL,
        PRIMARY KEY (grp, sequence),
        UNIQUE (grp, folded)
    ) STRICT, WITHOUT ROWID;
";

const SYNC: &str = "
    -- The order in which sessions ended: a number never changes, and none is given behind one that was read.
    CREATE TABLE ended_sessions (
        grp TEXT NOT NULL,
        number INTEGER NOT NULL,
        session BLOB NOT NULL,
        PRIMARY KEY (grp, number),
        UNIQUE (grp, session)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO ended_sessions (grp, number, session)
        SELECT grp, row_number() OVER (PARTITION BY grp ORDER BY created_at, session), session
        FROM session_records WHERE status = 'ended';
    CREATE TRIGGER session_ended_at_once AFTER INSERT ON session_records WHEN NEW.status = 'ended'
        AND NOT EXISTS (SELECT 1 FROM ended_sessions WHERE grp = NEW.grp AND session = NEW.session)
    BEGIN
        INSERT INTO ended_sessions (grp, number, session)
            SELECT NEW.grp, coalesce(max(number), 0) + 1, NEW.session FROM ended_sessions WHERE grp = NEW.grp;
    END;
    CREATE TRIGGER session_ended AFTER UPDATE OF status ON session_records WHEN NEW.status = 'ended'
        AND NOT EXISTS (SELECT 1 FROM ended_sessions WHERE grp = NEW.grp AND session = NEW.session)
    BEGIN
        INSERT INTO ended_sessions (grp, number, session)
            SELECT NEW.grp, coalesce(max(number), 0) + 1, NEW.session FROM ended_sessions WHERE grp = NEW.grp;
    END;

    CREATE TABLE sinks (
        grp TEXT NOT NULL REFERENCES groups,
        sink TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (grp, sink)
    ) STRICT, WITHOUT ROWID;

    -- How far each sink was handed what it takes.
    CREATE TABLE sink_lanes (
        grp TEXT NOT NULL,
        sink TEXT NOT NULL,
        lane TEXT NOT NULL,
        after INTEGER NOT NULL,
        failures INTEGER NOT NULL,
        failing_since INTEGER,
        retry_at INTEGER,
        error TEXT,
        PRIMARY KEY (grp, sink, lane),
        FOREIGN KEY (grp, sink) REFERENCES sinks ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE dead_letters (
        grp TEXT NOT NULL,
        sink TEXT NOT NULL,
        number INTEGER NOT NULL,
        id TEXT NOT NULL,
        body TEXT NOT NULL,
        at INTEGER NOT NULL,
        error TEXT NOT NULL,
        PRIMARY KEY (grp, sink, number),
        FOREIGN KEY (grp, sink) REFERENCES sinks ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID;

    -- Outlives its sink: it is history.
    CREATE TABLE sync_runs (
        grp TEXT NOT NULL,
        started_at INTEGER NOT NULL,
        run BLOB NOT NULL,
        cause TEXT NOT NULL,
        ended_at INTEGER,
        body TEXT NOT NULL,
        PRIMARY KEY (grp, started_at, run)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX sync_runs_open ON sync_runs (grp) WHERE ended_at IS NULL;
    ";

const RETENTION: &str = "
    -- What stands for the receipts of a group that were let go of: the last of them.
    CREATE TABLE receipt_cuts (
        grp TEXT PRIMARY KEY,
        number INTEGER NOT NULL,
        hash TEXT NOT NULL,
        at INTEGER NOT NULL,
        line TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    ";

const FIXED_KEYS: &str = "
    -- Since when an agent's sessions have the same key each time.
    ALTER TABLE agents ADD COLUMN fixed_key INTEGER;
    ";

/// All steps, oldest first.
pub(super) const MIGRATIONS: Migrations<'_> = Migrations::from_slice(STEPS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_runs() {
        MIGRATIONS.validate().unwrap();
    }
}
