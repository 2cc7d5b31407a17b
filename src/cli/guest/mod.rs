//! `porchlight guest`: shows this computer's screen to the agent who asked for it, and lets it be controlled.
//!
//! The reference for guests that are programs: it speaks the wire contract from the outside, by the door and the socket
//! that guests in browsers use, and reads nothing of the server but its answers. Decides when to come, to come back and to
//! go. What a computer can do is behind [`platform::Platform`].

mod camera;
mod desk;
mod door;
mod keys;
mod line;
#[cfg(target_os = "macos")]
mod mac;
#[cfg(any(target_os = "macos", test))]
mod mac_input;
mod own_input;
mod pace;
pub mod platform;
mod session;
mod shown;
mod words;
mod x11;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

pub use desk::Desk;

use self::door::{About, Answer, Asked, Closed, LetIn, Way};
use self::line::Server;
use self::platform::Platform;
use self::session::{Credential, Gone, Seat};
use crate::auth::random;
use crate::clock::{Clock, Tick};
use crate::limits;
use crate::wire::session::Role;

/// A guest's program.
#[derive(Debug, Args)]
pub struct GuestArgs {
    /// Where the server is, for a session code; a link says it itself.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Certificate of the authority that vouches for the server, if no public one does (PEM).
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Your name.
    #[arg(long)]
    name: Option<String>,
    /// Where you can be written to.
    #[arg(long)]
    email: Option<String>,
    /// Accepts the terms, which are shown all the same.
    #[arg(long)]
    accept_terms: bool,
    /// Lets agents that ask control this computer without a question.
    #[arg(long, conflicts_with = "view_only")]
    allow_control: bool,
    /// Refuses every agent that asks for control.
    #[arg(long)]
    view_only: bool,
    /// The X display to show; otherwise that of the environment, or on a Mac its own.
    #[arg(long, value_name = "NAME")]
    display: Option<String>,
}

/// What the guest decided beforehand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choices {
    /// Accepts the terms without a question.
    pub accept_terms: bool,
    /// Grants control without a question.
    pub allow_control: bool,
    /// Refuses control without a question.
    pub view_only: bool,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// The session is over, for this reason.
    Ended(String),
    /// The terms were not accepted.
    Declined,
    /// The seat was taken by the same guest elsewhere.
    Replaced,
    /// The server closed with this name.
    Refused(&'static str),
    /// The system shows the screen to this program from its next start on; the seat waits.
    StartAnew,
    /// It was interrupted outside of a session.
    Interrupted,
}

impl GuestArgs {
    /// Asks for link or code, and runs to the end of the session.
    ///
    /// # Errors
    /// When the server cannot be reached or lets nobody in, or the screen cannot be seen.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut platform = this_computer(self.display.as_deref())?;
        let mut desk = Desk::standard()?;
        let choices = Choices {
            accept_terms: self.accept_terms,
            allow_control: self.allow_control,
            view_only: self.view_only,
        };
        let about = About { name: self.name, email: self.email };
        let (server, ca) = (self.server.as_deref(), self.ca.as_deref());
        // Both are secrets, and the arguments of a process are seen by everybody on the machine.
        let typed =
            desk.ask("Link or session code:").await.context("neither a link nor a session code was typed")?;
        let (server, way) = find(&typed, server, ca)?;
        match visit(&server, &way, &about, choices, platform.as_mut(), &mut desk).await? {
            Over::Ended(reason) => desk.say(words::ending(&reason)),
            Over::Declined => desk.say("You did not accept, and nothing was shared."),
            Over::Interrupted => desk.say("You left."),
            Over::StartAnew => desk.say("Start this program again with the same link or code."),
            Over::Replaced => bail!("you came in again elsewhere"),
            Over::Refused(name) => bail!("the server closed the connection: {name}"),
        }
        Ok(())
    }
}

/// The computer that this runs on; an X display where one is named, on a Mac as well.
fn this_computer(display: Option<&str>) -> Result<Box<dyn Platform>, platform::PlatformError> {
    #[cfg(target_os = "macos")]
    if display.is_none() {
        return Ok(Box::new(mac::Mac::start()));
    }
    Ok(Box::new(x11::X11::connect(display)?))
}

fn find(typed: &str, server: Option<&str>, ca: Option<&std::path::Path>) -> anyhow::Result<(Server, Way)> {
    let (named, way) = Way::parse(typed)?;
    let url = named.as_deref().or(server).context("a session code needs --server")?;
    Ok((Server::parse(url, ca)?, way))
}

/// Runs a guest on a platform of the caller's choice, by the link or code that was typed.
///
/// # Errors
/// As [`GuestArgs::run`].
pub async fn run(
    typed: &str,
    server: Option<&str>,
    choices: Choices,
    platform: &mut dyn Platform,
    desk: &mut Desk,
) -> anyhow::Result<Over> {
    let (server, way) = find(typed, server, None)?;
    visit(&server, &way, &About::default(), choices, platform, desk).await
}

async fn visit(
    server: &Server,
    way: &Way,
    about: &About,
    choices: Choices,
    platform: &mut dyn Platform,
    desk: &mut Desk,
) -> anyhow::Result<Over> {
    let clock = Clock::start();
    // Since when nobody sees the screen of a guest that was seen.
    let (mut lost, mut tries) = (None, 0);
    loop {
        let entered = tokio::select! {
            entered = enter(server, way, about, choices, platform, desk) => entered,
            _ = tokio::signal::ctrl_c() => return Ok(Over::Interrupted),
        };
        let let_in = match entered {
            Ok(Some(let_in)) => let_in,
            Ok(None) => return Ok(Over::Declined),
            // The session waits, and the network may come back.
            Err(error) if error.is::<Closed>() || !is_within(&clock, lost, limits::WAITING) => {
                return Err(error);
            }
            Err(_) => {
                if waits(backoff(tries)).await.is_break() {
                    return Ok(Over::Interrupted);
                }
                tries += 1;
                continue;
            }
        };
        if let_in.role != Role::Publisher {
            bail!("this leads to a screen to watch: open the link in a browser");
        }
        let facts = platform.facts();
        let mut seat = Seat::new(platform, desk, choices, facts);
        let mut credential = Credential::Ticket(let_in.ticket);
        loop {
            let gone = match server.open().await {
                Ok(socket) => seat.sit(socket, credential).await?,
                Err(error) if seat.resume.is_none() => return Err(error),
                Err(_) => Gone::Lost(Duration::ZERO),
            };
            if std::mem::take(&mut seat.was_seated) {
                (lost, tries) = (Some(clock.tick()), 0);
            }
            let (wish, token) = match (gone, seat.resume.clone()) {
                (Gone::Over(over), _) => return Ok(over),
                (_, None) => bail!("the server did not let you in"),
                (Gone::Unknown, Some(_)) => break,
                (Gone::Lost(wish), Some(token)) => (wish, token),
            };
            if tries == 0 {
                seat.desk.say("The connection is lost. Coming back.");
            }
            if !is_within(&clock, lost, limits::RESUME_WINDOW) {
                break;
            }
            credential = Credential::Resume(token);
            if waits(wish.max(backoff(tries))).await.is_break() {
                return Ok(Over::Interrupted);
            }
            tries += 1;
        }
        // The token is worth nothing any more; the session may still wait for who comes by the key or link.
        desk.say("Coming in again.");
    }
}

/// Whether that was not longer ago.
fn is_within(clock: &Clock, since: Option<Tick>, time: Duration) -> bool {
    since.is_some_and(|since| clock.tick().since(since) < time)
}

/// Waits, unless it is interrupted.
async fn waits(time: Duration) -> ControlFlow<()> {
    tokio::select! {
        () = tokio::time::sleep(time) => ControlFlow::Continue(()),
        _ = tokio::signal::ctrl_c() => ControlFlow::Break(()),
    }
}

/// A random part of a step that doubles.
fn backoff(tries: u32) -> Duration {
    let (first, longest) = limits::GUEST_BACKOFF;
    let step = first.saturating_mul(1 << tries.min(16)).min(longest);
    step.mul_f64(f64::from(u16::from_be_bytes(random::bytes())) / f64::from(u16::MAX))
}

/// From the door to a ticket; none when the terms are not accepted.
async fn enter(
    server: &Server,
    way: &Way,
    about: &About,
    choices: Choices,
    platform: &mut dyn Platform,
    desk: &mut Desk,
) -> anyhow::Result<Option<LetIn>> {
    let mut asked = match door::knock(server, way, about, platform, None).await? {
        Answer::In(let_in) => return Ok(Some(let_in)),
        Answer::Asked(asked) => asked,
    };
    loop {
        show(desk, &asked);
        if choices.accept_terms {
            desk.say("Accepted, by --accept-terms.");
        } else if !desk.agrees("Do you accept?").await {
            door::decline(server, way, about, platform, &asked).await?;
            return Ok(None);
        }
        match door::knock(server, way, about, platform, Some(&asked)).await {
            Ok(Answer::In(let_in)) => return Ok(Some(let_in)),
            Ok(Answer::Asked(again)) => asked = again,
            // What was asked is another by now: it is shown, and asked, anew.
            Err(error) if changed(&error) && !choices.accept_terms => {
                match door::knock(server, way, about, platform, None).await? {
                    Answer::In(let_in) => return Ok(Some(let_in)),
                    Answer::Asked(again) => asked = again,
                }
            }
            Err(error) => return Err(error),
        }
    }
}

fn changed(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(|Closed { code, .. }| code == "terms_changed")
}

fn show(desk: &Desk, asked: &Asked) {
    let control = if asked.control { ", and may ask to control your computer" } else { "" };
    desk.say(format!("{} would like to see your whole screen{control}.", asked.agent.name));
    for text in [&asked.terms.text, &asked.terms.url].into_iter().flatten() {
        desk.say(text);
    }
}
