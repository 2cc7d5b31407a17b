//! The tables. A migration that was released is never changed; another is added behind it.

use rusqlite_migration::{M, Migrations};

const STEPS: &[M<'_>] = &[
    M::up(
        "
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
    ",
    ),
    M::up(
        "
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
    ",
    ),
];

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
