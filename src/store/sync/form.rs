//! The form in which every store keeps a sink: JSON, beside the names it is found by.

use serde::{Deserialize, Serialize};

use super::{Sink, SinkRow};
use crate::clock::Wall;
use crate::ids::{GroupId, SinkId};
use crate::model::sink::{Takes, Target};

/// A sink's row, but for its name.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct SinkBody {
    target: Target,
    takes: Takes,
    enabled: bool,
    created_at: Wall,
    generation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rotated_at: Option<Wall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disabled: Option<String>,
}

impl SinkBody {
    /// The text that stands for a row.
    pub(in super::super) fn text(row: &SinkRow) -> String {
        let body = Self {
            target: row.sink.target.clone(),
            takes: row.sink.takes.clone(),
            enabled: row.sink.enabled,
            created_at: row.created_at,
            generation: row.generation,
            rotated_at: row.rotated_at,
            disabled: row.disabled.clone(),
        };
        serde_json::to_string(&body).expect("names, numbers and texts have a JSON form")
    }

    /// The row of a name.
    pub(in super::super) fn row(text: &str, group: GroupId, id: SinkId) -> serde_json::Result<SinkRow> {
        let body: Self = serde_json::from_str(text)?;
        let sink = Sink { group, id, target: body.target, takes: body.takes, enabled: body.enabled };
        let Self { created_at, generation, rotated_at, disabled, .. } = body;
        Ok(SinkRow { sink, created_at, generation, rotated_at, disabled })
    }
}

impl SinkRow {
    /// What a sink becomes that is put, in place of what was there.
    pub(in super::super) fn put(before: Option<Self>, sink: Sink, rotate: bool, at: Wall) -> Self {
        match before {
            Some(before) => Self {
                generation: before.generation + u64::from(rotate),
                rotated_at: if rotate { Some(at) } else { before.rotated_at },
                created_at: before.created_at,
                disabled: None,
                sink,
            },
            None => Self { sink, created_at: at, generation: 1, rotated_at: None, disabled: None },
        }
    }
}
