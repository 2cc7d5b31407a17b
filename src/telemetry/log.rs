//! The process's log: how its lines look, and which of them are written.
//!
//! Decides nothing about what is said: whoever has something to say does.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio_util::task::AbortOnDropHandle;
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
pub struct LogControl(Arc<Control>);

#[derive(Debug)]
struct Control {
    handle: reload::Handle<EnvFilter, tracing_subscriber::Registry>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What the settings say.
    configured: String,
    /// Rises with each change, so that a time that is over ends its own change and no other.
    turn: u64,
    /// Waits for the time to be over.
    timer: Option<AbortOnDropHandle<()>>,
}

impl LogControl {
    /// Takes the filter of the settings from now on; whatever was held is over.
    pub fn configure(&self, filter: &str) -> Result<(), LogError> {
        let parsed = parse_filter(filter)?;
        let mut state = self.0.state.lock();
        self.0.handle.reload(parsed)?;
        filter.clone_into(&mut state.configured);
        state.turn += 1;
        state.timer = None;
        Ok(())
    }

    /// Takes another filter until it is configured anew, or for a time. Called on a runtime.
    pub fn hold(&self, filter: &str, time: Option<Duration>) -> Result<(), LogError> {
        let parsed = parse_filter(filter)?;
        let mut state = self.0.state.lock();
        self.0.handle.reload(parsed)?;
        state.turn += 1;
        let (control, turn) = (self.clone(), state.turn);
        state.timer = time.map(|time| {
            AbortOnDropHandle::new(tokio::spawn(async move {
                tokio::time::sleep(time).await;
                control.over(turn);
            }))
        });
        Ok(())
    }

    /// What the settings say.
    pub fn configured(&self) -> String {
        self.0.state.lock().configured.clone()
    }

    /// The time of one change is over.
    fn over(&self, turn: u64) {
        let configured = {
            let state = self.0.state.lock();
            if state.turn != turn {
                return;
            }
            state.configured.clone()
        };
        match self.configure(&configured) {
            Ok(()) => tracing::info!(filter = configured, "the log filter is that of the settings again"),
            Err(error) => tracing::error!(%error, "the log filter stays as it is"),
        }
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
    let state = State { configured: filter.to_owned(), turn: 0, timer: None };
    let (filter, handle) = reload::Layer::new(parse_filter(filter)?);
    let registry = tracing_subscriber::registry().with(filter);
    // Colours are for terminals; in a file they are noise.
    let colours = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    match format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    }
    .map_err(|_| LogError::Taken)?;
    Ok(LogControl(Arc::new(Control { handle, state: Mutex::new(state) })))
}
