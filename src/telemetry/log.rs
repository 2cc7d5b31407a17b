//! The process's log: how its lines look, and which of them are written.
//!
//! Decides nothing about what is said: whoever has something to say does.

use std::io::IsTerminal as _;

use serde::{Deserialize, Serialize};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt, reload};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter does not parse.
    #[error("log filter {filter:?} is not understood")]
    Filter {
        /// The text as given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Somebody else set up logging for the process.
    #[error("a log is set up already")]
    Taken,
    /// The subscriber is gone.
    #[error("the log's filter can no longer be changed")]
    Gone(#[from] reload::Error),
}

/// Changes the filter of a running log.
#[derive(Debug, Clone)]
pub struct LogControl(reload::Handle<EnvFilter, tracing_subscriber::Registry>);

impl LogControl {
    /// Takes another filter from now on.
    pub fn set_filter(&self, filter: &str) -> Result<(), LogError> {
        Ok(self.0.reload(parse_filter(filter)?)?)
    }
}

/// Reads a filter such as `info,porchlight::ws=debug`.
pub fn parse_filter(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| LogError::Filter { filter: filter.to_owned(), source })
}

/// Sends the process's log to standard error. Once per process.
pub fn init_log(format: LogFormat, filter: &str) -> Result<LogControl, LogError> {
    let (filter, control) = reload::Layer::new(parse_filter(filter)?);
    let registry = tracing_subscriber::registry().with(filter);
    // Colours are for terminals; in a file they are noise.
    let colours = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    match format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    }
    .map_err(|_| LogError::Taken)?;
    Ok(LogControl(control))
}
