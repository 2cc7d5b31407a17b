//! `porchlight serve`: one server until it is told to stop.
//!
//! Decides what the signals mean: SIGTERM and SIGINT drain, a second one forces, SIGHUP reads the
//! settings again and takes what can change without a restart (the log filter, and what is in the files of
//! certificates). The service manager is told.

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::manager::Manager;
use super::settings::{self, SettingsArgs};
use super::{Failure, block_on};
use crate::config::Config;
use crate::server::{Options, Running, Server};
use crate::telemetry::{self, LogControl};

/// Runs a server.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

impl ServeArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let loaded = self.settings.load()?;
        let config = settings::checked(loaded.config)?;
        let announce = |running: &Running| {
            tracing::info!(
                public = %running.public,
                ops = %running.ops,
                admin = %running.admin,
                version = super::VERSION,
                "serving"
            );
            Ok(())
        };
        Ok(block_on(run(config, &loaded.warnings, Some(&self.settings), announce))?)
    }
}

/// Starts a server, announces it, and runs it until a signal ends it. `reload` is what SIGHUP reads again.
pub(super) async fn run(
    config: Config,
    warnings: &[String],
    reload: Option<&SettingsArgs>,
    announce: impl FnOnce(&Running) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let log = telemetry::init_log(config.log.format, &config.log.filter)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let mut terminate = signal(SignalKind::terminate()).context("can't listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("can't listen for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("can't listen for SIGHUP")?;
    let mut running = Server::start(config, Options { log: Some(log.clone()), ..Options::default() }).await?;
    announce(&running)?;
    let mut manager = Manager::of_process();
    manager.ready();
    let mut draining = false;
    loop {
        tokio::select! {
            ended = running.wait() => return Ok(ended?),
            () = manager.sign() => continue,
            _ = hangup.recv() => {
                manager.reloading();
                match reload {
                    Some(settings) => read_again(settings, &log),
                    None => tracing::info!("there is no settings file to read again"),
                }
                running.read_certificates().await;
                manager.ready();
                continue;
            }
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if draining {
            tracing::warn!("told to stop twice, stopping at once");
            running.force();
        } else {
            tracing::info!("draining; a second signal stops at once");
            manager.stopping();
            running.drain();
            draining = true;
        }
    }
}

/// Takes from the settings what can change under way, and says that the rest waits.
fn read_again(settings: &SettingsArgs, log: &LogControl) {
    let read = settings.load().and_then(|loaded| settings::checked(loaded.config));
    let config = match read {
        Ok(config) => config,
        Err(failure) => {
            if let Some((_, error)) = failure.told() {
                tracing::error!("the settings stay as they are: {error:#}");
            }
            return;
        }
    };
    match log.configure(&config.log.filter) {
        Ok(()) => tracing::info!(
            filter = config.log.filter,
            "took the log filter; the rest of the settings needs a restart"
        ),
        Err(error) => tracing::error!(%error, "the log filter stays as it is"),
    }
}
