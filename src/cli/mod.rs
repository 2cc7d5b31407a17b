//! The commands of the binary.
//!
//! Decides arguments, what is printed, and exit codes: 0 done, 1 failed, 2 wrong arguments or settings.
//! Does not decide what a server is; `serve` and `dev` start one through `server`, `admin` talks to one
//! over gRPC like anybody else.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the command line is what prints")]

mod admin;
mod dev;
pub mod load;
mod rows;
mod serve;
mod settings;
mod tls;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Self-hosted, real-time presence and session relay server.
#[derive(Debug, Parser)]
#[command(name = "porchlight", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a server.
    Serve(serve::ServeArgs),
    /// Runs a server on this machine with a demo group, a demo site and an agent console.
    Dev(dev::DevArgs),
    /// Asks a running server about visitors, sessions and itself.
    Admin(admin::AdminArgs),
    /// Puts load on a running server, counts exactly and times honestly.
    Load(load::LoadArgs),
    /// Mints credentials, as a company's back end would.
    Token(token::TokenArgs),
    /// Reads the settings and tells everything that is wrong with them.
    CheckConfig(settings::SettingsArgs),
    /// Prints the settings as the server would use them, secrets hidden.
    PrintConfig(settings::SettingsArgs),
}

/// Why a command ended badly, and with which exit code.
enum Failure {
    /// The arguments or settings are wrong: nothing was started.
    Settings(anyhow::Error),
    /// It was started and failed.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// Reads the arguments, runs the command, and answers with the exit code.
pub fn main() -> ExitCode {
    let (code, error) = match run(Cli::parse().command) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Failed(error)) => (1, error),
        Err(Failure::Settings(error)) => (2, error),
    };
    eprintln!("porchlight: {error:#}");
    ExitCode::from(code)
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => args.run(),
        Command::Dev(args) => args.run(),
        Command::Admin(args) => Ok(block_on(args.run())?),
        Command::Load(args) => Ok(block_on(args.run())?),
        Command::Token(args) => Ok(args.run()?),
        Command::CheckConfig(args) => args.check(),
        Command::PrintConfig(args) => args.print(),
    }
}

/// Runs a command on a runtime of its own.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_commands_of_the_contract_parse() {
        for line in [
            "serve --config porchlight.toml --public-addr 127.0.0.1:0 --insecure",
            "dev --ephemeral --public-addr 127.0.0.1:0 --ops-addr 127.0.0.1:0 --admin-addr 127.0.0.1:0",
            "serve --admin-tls-cert c.pem --admin-tls-key k.pem --admin-client-ca ca.pem",
            "dev --data-dir /tmp/x",
            "admin node --json",
            "admin node --addr https://admin.example:7402 --ca ca.pem --cert c.pem --client-key k.pem",
            "admin lookup --group demo C-1 C-2",
            "admin list-visitors --group demo --state present --page cart",
            "admin list-sessions --group demo --visitor C-1",
            "admin end-session --group demo 0190b2f0-0000-7000-8000-000000000000",
            "load visitors --dev-json .porchlight --count 10",
            "token login-key --group 12345 --user u1 --secret-file secret",
            "token visitor --visitor C-1 --key-id k1 --secret-file secret",
            "token agent --address alice",
            "token admin-key --data-dir /tmp/x",
            "check-config --config porchlight.toml",
            "print-config",
        ] {
            let words = std::iter::once("porchlight").chain(line.split(' '));
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
        }
        assert!(Cli::try_parse_from(["porchlight", "dev", "--ephemeral", "--data-dir", "x"]).is_err());
    }
}
