//! The guest in a session: its seat, who controls what, and the way back after a lost connection.
//!
//! Decides what is done with what the server says and the person types. Input of an agent is applied under the grant that
//! this guest gave, under its epoch and while it lives: the server holds to that too, and neither relies on the other.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::task::AbortOnDropHandle;

use super::camera::{Camera, Order};
use super::desk::{Desk, is_yes};
use super::door;
use super::line::Socket;
use super::own_input::{OwnInput, Use};
use super::platform::{Hands, Platform, PlatformError};
use super::words;
use super::{Choices, Over};
use crate::clock::Clock;
use crate::limits;
use crate::wire::close::CloseCode;
use crate::wire::held::HeldReason;
use crate::wire::permission::{Fact, Facts, Permission, Step};
use crate::wire::session::Input;

/// Words that wait for the socket. More than a person and a session say in a moment.
const WORDS: usize = 64;

/// How a connection ended.
pub(super) enum Gone {
    /// There is nothing more to do.
    Over(Over),
    /// It broke, or the server asks to come back after this long.
    Lost(Duration),
    /// What was shown to come in is worth nothing any more.
    Unknown,
}

/// What a guest attaches with.
pub(super) enum Credential {
    Ticket(String),
    Resume(String),
}

impl Credential {
    fn hello(&self) -> Value {
        match self {
            Self::Ticket(ticket) => json!({"type": "attach", "ticket": ticket}),
            Self::Resume(token) => json!({"type": "attach", "resumeToken": token}),
        }
    }
}

/// Control as it stands.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Control {
    state: String,
    participant_id: Option<String>,
    epoch: u64,
}

impl Control {
    fn is_granted(&self) -> bool {
        self.state == "granted"
    }
}

/// The guest in its seat.
pub(super) struct Seat<'a> {
    pub(super) platform: &'a mut dyn Platform,
    pub(super) desk: &'a mut Desk,
    pub(super) choices: Choices,
    pub(super) clock: Clock,
    camera: Option<Camera>,
    hands: Option<Box<dyn Hands>>,
    /// Of the person who sits at this computer.
    own: OwnInput,
    facts: Option<Facts>,
    control: Control,
    /// Whose question waits for an answer, and whose yes waits for the system's.
    asks: Option<String>,
    allowed: Option<String>,
    names: HashMap<String, String>,
    paused: bool,
    steps: Vec<Step>,
    welcomed: bool,
    /// It sat since this was asked last.
    pub(super) was_seated: bool,
    /// What to come back with.
    pub(super) resume: Option<String>,
    /// The server's wish for when to come back.
    come_back: Duration,
}

/// The sending side of a connection.
struct Line {
    words: mpsc::Sender<String>,
    frames: mpsc::Sender<Bytes>,
}

impl Line {
    /// Says something. A connection that takes no more words is about to be found lost.
    fn say(&self, message: &Value) {
        let _lost = self.words.try_send(message.to_string());
    }
}

impl<'a> Seat<'a> {
    pub(super) fn new(
        platform: &'a mut dyn Platform,
        desk: &'a mut Desk,
        choices: Choices,
        facts: Option<Facts>,
    ) -> Self {
        Self {
            platform,
            desk,
            choices,
            clock: Clock::start(),
            camera: None,
            hands: None,
            own: OwnInput::default(),
            facts,
            control: Control::default(),
            asks: None,
            allowed: None,
            names: HashMap::new(),
            paused: false,
            steps: Vec::new(),
            welcomed: false,
            was_seated: false,
            resume: None,
            come_back: Duration::ZERO,
        }
    }

    /// One connection, from its first word to its end.
    pub(super) async fn sit(&mut self, socket: Socket, credential: Credential) -> anyhow::Result<Gone> {
        let (sink, mut source) = socket.split();
        let (words, said) = mpsc::channel(WORDS);
        let (frames, shot) = mpsc::channel(1);
        let writer = AbortOnDropHandle::new(tokio::spawn(write(sink, said, shot)));
        let line = Line { words, frames };
        self.come_back = Duration::ZERO;
        line.say(&credential.hello());
        let mut look = tokio::time::interval(limits::GUEST_LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut heartbeat = limits::GUEST_ANSWER;
        let mut is_seated = false;
        let gone = loop {
            tokio::select! {
                heard = tokio::time::timeout(heartbeat, next(&mut source)) => match heard {
                    Err(_silence) => break Gone::Lost(Duration::ZERO),
                    Ok(Heard::Closed(code)) => break self.closed(code),
                    Ok(Heard::Life) => {}
                    Ok(Heard::Said(message)) => {
                        if message["type"] == "attached" {
                            is_seated = true;
                            let seconds = message["heartbeat"].as_u64().unwrap_or_default();
                            heartbeat = Duration::from_secs(seconds).max(limits::GUEST_ANSWER);
                        }
                        if let Some(gone) = self.hears(&line, message)? {
                            break gone;
                        }
                    }
                },
                typed = self.desk.line(), if is_seated => self.types(&line, &typed),
                _ = look.tick(), if is_seated => {
                    self.notices(&line);
                    if let Some(gone) = self.looks(&line) {
                        break gone;
                    }
                }
                failed = failure(&mut self.camera) => {
                    self.desk.say(format!("The screen can be shown no longer: {failed}"));
                    line.say(&json!({"type": "end", "reason": "failed"}));
                    self.camera = None;
                }
                _ = tokio::signal::ctrl_c(), if is_seated => line.say(&json!({"type": "end"})),
            }
        };
        self.lets_go();
        if let Some(camera) = &self.camera {
            camera.tell(Order::Rest);
        }
        // What was said last goes out, if the connection takes it.
        drop(line);
        let _said = tokio::time::timeout(limits::GUEST_LAST_WORD, writer).await;
        Ok(gone)
    }

    fn closed(&self, code: Option<u16>) -> Gone {
        let known = CloseCode::ALL.iter().find(|known| Some(known.code()) == code);
        match known {
            Some(CloseCode::Unauthorized) => Gone::Unknown,
            Some(CloseCode::Ended | CloseCode::NotFound) => Gone::Over(Over::Ended("ended".to_owned())),
            Some(CloseCode::Replaced) => Gone::Over(Over::Replaced),
            Some(known) if !known.reconnect() => Gone::Over(Over::Refused(known.name())),
            _ => Gone::Lost(self.come_back),
        }
    }

    /// Acts on what the server says.
    fn hears(&mut self, line: &Line, message: Value) -> anyhow::Result<Option<Gone>> {
        match message["type"].as_str().unwrap_or_default() {
            "attached" => return self.seated(line, &message),
            "participant" => self.meets(&message),
            "control" => self.controlled(line, serde_json::from_value(message)?),
            "input" => self.moved(line, serde_json::from_value(message)?),
            "keyFrameRequest" => self.shoots(Order::Again),
            "feedback" => self.shoots(Order::Heard(serde_json::from_value(message)?)),
            "steps" => self.guided(serde_json::from_value(message["steps"].clone())?),
            "paused" => self.pauses(line, message["paused"] == true),
            "chat" => {
                let who = message["participantId"].as_str().unwrap_or_default();
                let name = self.names.get(who).map_or("Somebody", String::as_str);
                self.desk.say(format!("{name}: {}", message["text"].as_str().unwrap_or_default()));
            }
            "reconnect" => {
                self.come_back = Duration::from_millis(message["afterMs"].as_u64().unwrap_or_default());
            }
            "ended" => {
                let reason = message["reason"].as_str().unwrap_or("ended").to_owned();
                return Ok(Some(Gone::Over(Over::Ended(reason))));
            }
            "error" => self.desk.say(format!("The server refused: {}", message["message"])),
            _ => {}
        }
        Ok(None)
    }

    fn seated(&mut self, line: &Line, hello: &Value) -> anyhow::Result<Option<Gone>> {
        self.resume = hello["resumeToken"].as_str().map(str::to_owned);
        self.paused = hello["paused"] == true;
        self.control = serde_json::from_value(hello["control"].clone())?;
        self.names.clear();
        for one in hello["participants"].as_array().into_iter().flatten() {
            self.knows(one);
        }
        self.was_seated = true;
        self.desk.say("You are in the session.");
        if !std::mem::replace(&mut self.welcomed, true) {
            self.desk.say(words::HELP);
        }
        self.guided(serde_json::from_value(hello.get("steps").cloned().unwrap_or_else(|| json!([])))?);
        if self.lacks(|facts| facts.screen_recording) {
            self.platform.ask(Permission::ScreenRecording);
            return Ok(None);
        }
        if self.camera.is_none() {
            self.camera = Some(Camera::start(self.platform.screen()?, self.clock)?);
        }
        self.pauses(line, self.paused);
        if self.control.state == "requested" {
            self.asked(line);
        }
        Ok(None)
    }

    fn lacks(&self, fact: impl Fn(&Facts) -> Fact) -> bool {
        self.facts.as_ref().is_some_and(|facts| matches!(fact(facts), Fact::Prompt | Fact::Denied))
    }

    fn knows(&mut self, participant: &Value) -> Option<(String, bool)> {
        let id = participant["participantId"].as_str()?.to_owned();
        let name = participant["name"].as_str().unwrap_or("Somebody").to_owned();
        self.names.insert(id, name.clone());
        Some((name, participant["role"] == "viewer"))
    }

    fn meets(&mut self, message: &Value) {
        if let Some((name, true)) = self.knows(&message["participant"]) {
            match message["change"].as_str() {
                Some("joined" | "back") => self.desk.say(format!("{name} sees your screen.")),
                Some("left") => self.desk.say(format!("{name} has left.")),
                Some("reconnecting") => self.desk.say(format!("{name} lost the connection.")),
                _ => {}
            }
        }
    }

    /// Says which step comes next, when that is another one.
    fn guided(&mut self, steps: Vec<Step>) {
        if steps != self.steps {
            for (at, step) in steps.iter().enumerate() {
                self.desk.say(format!("{}. {}", at + 1, words::step(*step, self.platform.name())));
            }
            self.steps = steps;
        }
    }

    fn shoots(&self, order: Order) {
        if let Some(camera) = &self.camera {
            camera.tell(order);
        }
    }

    fn pauses(&mut self, line: &Line, paused: bool) {
        if std::mem::replace(&mut self.paused, paused) != paused {
            self.desk.say(if paused {
                "Paused: nobody sees your screen."
            } else {
                "Your screen is shown again."
            });
        }
        self.shoots(if paused { Order::Rest } else { Order::Send(line.frames.clone()) });
    }

    // ---- control --------------------------------------------------------------------------------

    fn name_of(&self, id: Option<&str>) -> String {
        id.and_then(|id| self.names.get(id)).cloned().unwrap_or_else(|| "The agent".to_owned())
    }

    fn controlled(&mut self, line: &Line, control: Control) {
        let had = std::mem::replace(&mut self.control, control);
        let who = self.name_of(self.control.participant_id.as_deref());
        (self.asks, self.allowed) = (None, None);
        if had.is_granted() && (!self.control.is_granted() || had.epoch != self.control.epoch) {
            self.lets_go();
            self.desk.say("Nobody controls your computer any more.");
        }
        if self.control.is_granted() {
            self.own = OwnInput::default();
            self.desk.say(format!("{who} controls your computer. Type revoke to take that back."));
        } else if self.control.state == "requested" {
            self.asked(line);
        }
    }

    fn asked(&mut self, line: &Line) {
        let Some(id) = self.control.participant_id.clone() else { return };
        let who = self.name_of(Some(&id));
        if self.choices.view_only || !(self.choices.allow_control || self.desk.is_manned()) {
            self.desk.say(format!("{who} asked to control your computer, and was refused."));
            line.say(&json!({"type": "rejectControl", "participantId": id}));
        } else if self.choices.allow_control {
            self.allows(line, id);
        } else {
            self.desk.say(format!("{who} asks to control your computer: yes or no?"));
            self.asks = Some(id);
        }
    }

    /// The person says yes; what the system has to allow as well is asked first.
    fn allows(&mut self, line: &Line, id: String) {
        if self.lacks(|facts| facts.accessibility) {
            self.platform.ask(Permission::Accessibility);
            self.allowed = Some(id);
            return;
        }
        if self.hands.is_none() {
            match self.platform.hands() {
                Ok(hands) => self.hands = Some(hands),
                Err(error) => {
                    self.desk.say(format!("This computer cannot be controlled: {error}"));
                    line.say(&json!({"type": "rejectControl", "participantId": id}));
                    return;
                }
            }
        }
        line.say(&json!({"type": "grantControl", "participantId": id}));
    }

    fn moved(&mut self, line: &Line, input: Input) {
        if self.paused || !self.control.is_granted() || input.epoch != self.control.epoch {
            return;
        }
        self.notices(line);
        let now = self.clock.tick();
        if let Some(hands) = &mut self.hands
            && let Err(error) = self.own.play(now, hands.as_mut(), input.events)
        {
            self.fails(line, &error);
        }
    }

    fn fails(&mut self, line: &Line, error: &PlatformError) {
        self.desk.say(format!("This computer can be controlled no longer: {error}"));
        self.hands = None;
        line.say(&json!({"type": "revokeControl"}));
    }

    /// Looks whether the person moved the pointer: for a while nothing of the agent is played then.
    fn notices(&mut self, line: &Line) {
        let is_granted = self.control.is_granted();
        let Some(hands) = self.hands.as_mut().filter(|_| is_granted) else { return };
        match self.own.look(self.clock.tick(), hands.as_mut()) {
            Ok(Use::None) => return,
            Ok(Use::Goes) => {}
            Ok(Use::Begins) => {
                self.desk.say("You moved the pointer: the agent waits until you have stopped.")
            }
            Err(error) => return self.fails(line, &error),
        }
        line.say(&json!({"type": "inputHeld", "reason": HeldReason::OwnInput}));
    }

    /// Whatever an agent held is let go of, or it would stay pressed for ever.
    fn lets_go(&mut self) {
        if let Some(hands) = &mut self.hands
            && hands.release().is_err()
        {
            self.hands = None;
        }
    }

    // ---- the person and its computer ------------------------------------------------------------

    fn types(&mut self, line: &Line, typed: &str) {
        if let Some(id) = self.asks.take() {
            if is_yes(typed) {
                self.allows(line, id);
            } else {
                line.say(&json!({"type": "rejectControl", "participantId": id}));
            }
            return;
        }
        match typed.split_once(' ').unwrap_or((typed, "")) {
            ("pause" | "resume" | "end", "") => line.say(&json!({"type": typed})),
            ("revoke", "") => line.say(&json!({"type": "revokeControl"})),
            ("say", text) if !text.is_empty() => line.say(&json!({"type": "chat", "text": text})),
            _ => self.desk.say(words::HELP),
        }
    }

    /// Looks what the computer's owner has allowed by now.
    fn looks(&mut self, line: &Line) -> Option<Gone> {
        let (before, now) = (self.facts?, self.platform.facts()?);
        for told in door::news(before, now) {
            line.say(&told);
        }
        let waited = self.lacks(|facts| facts.screen_recording);
        self.facts = Some(now);
        if waited && !self.lacks(|facts| facts.screen_recording) {
            // The system lets it see the screen from its next start on: nobody says goodbye, the seat is kept.
            return Some(Gone::Over(Over::StartAnew));
        }
        if !self.lacks(|facts| facts.accessibility)
            && let Some(id) = self.allowed.take()
        {
            self.allows(line, id);
        }
        None
    }
}

/// What came out of the socket.
enum Heard {
    Said(Value),
    Life,
    Closed(Option<u16>),
}

async fn next(source: &mut SplitStream<Socket>) -> Heard {
    match source.next().await {
        Some(Ok(Message::Text(text))) => serde_json::from_str(text.as_str()).map_or(Heard::Life, Heard::Said),
        Some(Ok(Message::Close(close))) => Heard::Closed(close.map(|close| close.code.into())),
        Some(Ok(_)) => Heard::Life,
        Some(Err(_)) | None => Heard::Closed(None),
    }
}

async fn failure(camera: &mut Option<Camera>) -> PlatformError {
    match camera {
        Some(camera) => camera.failed().await,
        None => std::future::pending().await,
    }
}

/// Writes what is said and shown, words first.
async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut words: mpsc::Receiver<String>,
    mut frames: mpsc::Receiver<Bytes>,
) -> Result<(), tungstenite::Error> {
    loop {
        let message = tokio::select! {
            biased;
            word = words.recv() => match word {
                Some(word) => Message::text(word),
                None => return Ok(()),
            },
            Some(frame) = frames.recv() => Message::binary(frame),
        };
        sink.send(message).await?;
    }
}
