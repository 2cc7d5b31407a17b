//! The commands of the binary.
//!
//! Decides arguments, what is printed, and exit codes: 0 done, 1 failed, 2 wrong arguments or settings; of
//! `admin` also 3 no answer, 4 somebody else changed it first.
//! Does not decide what a server is; `serve` and `dev` start one through `server`, `admin` talks to one
//! over gRPC like anybody else.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the command line is what prints")]

mod admin;
mod dev;
mod doctor;
pub mod guest;
mod healthcheck;
pub mod load;
mod man;
mod manager;
mod migrate;
mod secret;
mod serve;
mod settings;
mod tls;
mod token;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

/// The version, and the commit behind it where the build knew one.
const VERSION: &str = env!("PORCHLIGHT_VERSION");

/// Self-hosted, real-time presence and session relay server.
#[derive(Debug, Parser)]
#[command(name = "porchlight", version = VERSION, about, max_term_width = 100)]
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
    /// Asks a running server about its groups, settings, agents, visitors and sessions, and changes them.
    Admin(admin::AdminArgs),
    /// Puts load on a running server, counts exactly and times honestly.
    Load(load::LoadArgs),
    /// Shows the screen of this computer to an agent who asked to see it.
    Guest(guest::GuestArgs),
    /// Mints credentials, as a company's back end would.
    Token(token::TokenArgs),
    /// Moves the database of a server into the Redis that its settings name.
    Migrate(migrate::MigrateArgs),
    /// Verifies a file of consent receipts; needs no server.
    VerifyReceipts(verify::VerifyArgs),
    /// Reads the settings and tells everything that is wrong with them.
    CheckConfig(settings::SettingsArgs),
    /// Prints the settings as the server would use them, secrets hidden.
    PrintConfig(settings::SettingsArgs),
    /// Asks a server on this machine whether it is well; ends with 0 if it is.
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Looks at the machine, the addresses, certificates and Redis as a server with these settings would.
    Doctor(doctor::DoctorArgs),
    /// Prints the completions of this command line for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Writes the manual: a page for each command.
    Man(man::ManArgs),
}

/// Why a command ended badly, and with which exit code.
enum Failure {
    /// The arguments or settings are wrong: nothing was started.
    Settings(anyhow::Error),
    /// It was started and failed, or was refused.
    Failed(anyhow::Error),
    /// The server gave no answer.
    NoAnswer(anyhow::Error),
    /// Somebody else changed it first.
    Conflict(anyhow::Error),
    /// Whoever reads what is printed wants no more; no reason to complain.
    Unread,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl Failure {
    /// The exit code and what to say, if there is anything to say.
    fn told(self) -> Option<(u8, anyhow::Error)> {
        match self {
            Self::Failed(error) => Some((1, error)),
            Self::Settings(error) => Some((2, error)),
            Self::NoAnswer(error) => Some((3, error)),
            Self::Conflict(error) => Some((4, error)),
            Self::Unread => None,
        }
    }
}

/// Reads the arguments, runs the command, and answers with the exit code.
pub fn main() -> ExitCode {
    match run(Cli::parse().command).err().and_then(Failure::told) {
        None => ExitCode::SUCCESS,
        Some((code, error)) => {
            eprintln!("porchlight: {error:#}");
            ExitCode::from(code)
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => args.run(),
        Command::Dev(args) => args.run(),
        Command::Admin(args) => block_on(async { Ok(args.run().await) })?,
        Command::Load(args) => Ok(block_on(args.run())?),
        Command::Guest(args) => Ok(block_on(args.run())?),
        Command::Token(args) => Ok(args.run()?),
        Command::Migrate(args) => args.run(),
        Command::VerifyReceipts(args) => args.run(),
        Command::CheckConfig(args) => args.check(),
        Command::PrintConfig(args) => args.print(),
        Command::Healthcheck(args) => args.run(),
        Command::Doctor(args) => args.run(),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "porchlight", &mut text);
            print!("{}", String::from_utf8_lossy(&text));
            Ok(())
        }
        Command::Man(args) => Ok(args.run(Cli::command())?),
    }
}

/// Runs a command on a runtime of its own.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "admin session 0190b2f0-0000-7000-8000-000000000000",
            "admin watch-sessions --visitor C-1",
            "admin watch-visitors C-1 C-2",
            "admin signal C-1 hello --data {}",
            "admin disconnect C-1",
            "admin create-group acme --request-id r1",
            "admin list-groups",
            "admin get-settings",
            "admin set presence_enabled=true terms.version=2026-2 --expected-version 3",
            "admin export-settings",
            "admin export-settings acme.toml",
            "admin import-settings acme.toml --dry-run",
            "admin import-settings - --yes",
            "admin list-settings-changes --limit 5",
            "admin create-api-key --label crm --secret-file key",
            "admin list-api-keys",
            "admin revoke-api-key k1",
            "admin upsert-agent alice --address a@example.com --partner-user-id 005 --name Alice \
             --profile Support --subscription x --password-file -",
            "admin list-agents",
            "admin delete-agent alice",
            "admin set-permissions alice user admin agent_video",
            "admin set-permissions alice --none",
            "admin list-users",
            "admin remove-association alice",
            "admin revoke-tokens alice",
            "admin revoke-tokens --all",
            "admin list-nodes --key-file - --addr 127.0.0.1:7402",
            "admin drain",
            "admin log-level",
            "admin log-level info,porchlight::redis=debug --for 10m",
            "admin stream-events --after 0190b2f0-0000-7000-8000-000000000000 --kind session.started",
            "admin stream-events --after-sequence 7 --json",
            "admin stream-events --from-now",
            "admin list-session-events 0190b2f0-0000-7000-8000-000000000000",
            "admin list-session-records --from 2026-01-01 --until 2026-02-01T00:00:00Z --agent alice \
             --visitor C-1 --record Case/500 --kind screen --outcome declined --state ended --csv",
            "admin list-session-records --ndjson --limit 3",
            "admin session-record 0190b2f0-0000-7000-8000-000000000000",
            "admin session-stats --from 2026-01-01 --csv",
            "admin get-consent-receipt 0190b2f0-0000-7000-8000-000000000000",
            "admin export-consent-receipts receipts.ndjson",
            "admin receipt-key",
            "migrate --config porchlight.toml --data-dir data --check",
            "verify-receipts receipts.ndjson --key abc",
            "verify-receipts - --key-file keys",
            "load visitors --dev-json .porchlight --count 10",
            "guest",
            "guest --server https://help.example.com --name Gina --accept-terms --allow-control --display :1",
            "token login-key --group 12345 --user u1 --secret-file secret",
            "token visitor --visitor C-1 --key-id k1 --secret-file secret",
            "token agent --address alice",
            "token admin-key --data-dir /tmp/x",
            "check-config --config porchlight.toml",
            "print-config",
            "healthcheck --config porchlight.toml --ready",
            "healthcheck --addr 127.0.0.1:7401",
            "completions bash",
            "completions zsh",
            "completions fish",
            "man target/man",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("porchlight").chain(line.split_whitespace()))
    }

    #[test]
    fn what_would_be_a_slip_does_not_parse() {
        for line in [
            "dev --ephemeral --data-dir x",
            "admin revoke-tokens",
            "admin revoke-tokens alice --all",
            "admin set-permissions alice",
            "admin set-permissions alice user --none",
            "admin import-settings acme.toml --yes --dry-run",
            "admin set",
            "admin stream-events --after x --from-now",
            "admin stream-events --kind session",
            "admin list-session-records --csv --ndjson",
            "admin list-session-records --record 500",
            "admin session-stats --from yesterday",
            "admin log-level --for 10m",
            "admin log-level debug --for long",
            "verify-receipts receipts.ndjson",
            // No secret is an argument.
            "admin node --key abc",
            "guest 123456789",
            "guest --key 123456789",
            "guest --allow-control --view-only",
            "admin upsert-agent alice --password abc",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    /// The service has no call without a command.
    #[test]
    fn every_call_of_the_service_has_a_command() {
        let renamed = [
            ("update-settings", "set"),
            ("list-associated-users", "list-users"),
            ("lookup-visitors", "lookup"),
            ("watch-presence", "watch-visitors"),
            ("signal-visitor", "signal"),
            ("disconnect-visitor", "disconnect"),
            ("get-session", "session"),
            ("get-node", "node"),
            ("set-log-filter", "log-level"),
            ("get-session-record", "session-record"),
            ("list-session-stats", "session-stats"),
            ("get-receipt-key", "receipt-key"),
        ];
        let cli = Cli::command();
        let admin = cli.find_subcommand("admin").expect("there is admin");
        let service =
            crate::pb::descriptors().get_service_by_name("porchlight.v1.Admin").expect("the service");
        for method in service.methods() {
            let mut name = String::new();
            for character in method.name().chars() {
                if character.is_ascii_uppercase() && !name.is_empty() {
                    name.push('-');
                }
                name.push(character.to_ascii_lowercase());
            }
            let name = renamed.iter().find(|(call, _)| *call == name).map_or(name.as_str(), |(_, verb)| verb);
            assert!(admin.find_subcommand(name).is_some(), "{} has no command {name}", method.name());
        }
    }
}
