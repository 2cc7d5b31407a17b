//! `porchlight guest` against a whole server, on a computer that a script plays: by code, through the terms, with a Mac's
//! restart, and control that is given, used and taken back. What a real screen shows is tested with a real browser.

use std::sync::Arc;

use parking_lot::Mutex;
use porchlight::cli::guest::platform::{Hands, Picture, Platform, PlatformError, Screen};
use porchlight::cli::guest::{Choices, Desk, Over, run};
use porchlight::wire::permission::{Fact, Facts, Permission};
use porchlight::wire::session::{InputEvent, InputKind};
use tokio::sync::mpsc;

use crate::common::frames::header;
use crate::common::proxy::{Network, Way};
use crate::common::{Picture as Frames, Site, Value, json, within};
use crate::view::{invite_of, view};

/// What a script decides of a computer, and what was done to it.
#[derive(Debug, Default)]
struct State {
    facts: Option<Facts>,
    asked: Vec<Permission>,
    applied: Vec<InputKind>,
    released: usize,
    colour: u8,
}

#[derive(Debug, Clone, Default)]
struct Scripted(Arc<Mutex<State>>);

impl Scripted {
    fn mac(install: Fact, screen_recording: Fact, accessibility: Fact) -> Self {
        let scripted = Self::default();
        scripted.0.lock().facts = Some(Facts { install, screen_recording, accessibility });
        scripted
    }

    fn allows(&self, permission: Permission) {
        self.0.lock().facts.as_mut().unwrap().set(permission, Fact::Granted);
    }
}

impl Platform for Scripted {
    fn name(&self) -> &'static str {
        "macos"
    }

    fn device(&self) -> Option<String> {
        Some("mac-7".to_owned())
    }

    fn facts(&mut self) -> Option<Facts> {
        self.0.lock().facts
    }

    fn ask(&mut self, permission: Permission) {
        self.0.lock().asked.push(permission);
    }

    fn screen(&mut self) -> Result<Box<dyn Screen>, PlatformError> {
        Ok(Box::new(self.clone()))
    }

    fn hands(&mut self) -> Result<Box<dyn Hands>, PlatformError> {
        Ok(Box::new(self.clone()))
    }
}

impl Screen for Scripted {
    fn picture(&mut self) -> Result<Picture, PlatformError> {
        let colour = self.0.lock().colour;
        Ok(Picture { width: 64, height: 32, bytes: vec![colour; 64 * 32 * 4] })
    }
}

impl Hands for Scripted {
    fn apply(&mut self, event: &InputEvent) -> Result<(), PlatformError> {
        self.0.lock().applied.push(event.t);
        Ok(())
    }

    fn release(&mut self) -> Result<(), PlatformError> {
        self.0.lock().released += 1;
        Ok(())
    }
}

/// A guest's program that runs, and the terminal in front of it.
struct Program {
    types: mpsc::Sender<String>,
    told: mpsc::UnboundedReceiver<String>,
    over: tokio::task::JoinHandle<anyhow::Result<Over>>,
}

impl Program {
    fn start(site: &Site, way: &str, choices: Choices, platform: &Scripted) -> Self {
        let (types, lines) = mpsc::channel(8);
        let (say, told) = mpsc::unbounded_channel();
        let (mut platform, way) = (platform.clone(), way.to_owned());
        let server = format!("http://{}", site.running.public);
        let over = tokio::spawn(async move {
            let mut desk = Desk::new(lines, move |text| drop(say.send(text.to_owned())));
            run(&way, Some(&server), choices, &mut platform, &mut desk).await
        });
        Self { types, told, over }
    }

    /// Waits until the person reads this.
    async fn reads(&mut self, text: &str) {
        let mut before = Vec::new();
        loop {
            match within(text, self.told.recv()).await {
                Some(line) if line.contains(text) => return,
                Some(line) => before.push(line),
                None => panic!("the program ended without saying {text:?}: {before:#?}"),
            }
        }
    }

    async fn types(&self, line: &str) {
        self.types.send(line.to_owned()).await.unwrap();
    }

    async fn ends(self) -> Over {
        within("the program's end", self.over).await.unwrap().unwrap()
    }
}

const ACCEPTS: Choices = Choices { accept_terms: true, allow_control: false, view_only: false };

fn key_of(waiting: &Value) -> String {
    waiting["sessionKey"].as_str().unwrap().to_owned()
}

fn input(epoch: &Value, kinds: &[&str]) -> Value {
    let events: Vec<_> = kinds.iter().map(|kind| json!({"t": kind, "x": 1, "y": 1})).collect();
    json!({"type": "input", "epoch": epoch, "events": events})
}

#[tokio::test]
async fn a_mac_is_allowed_to_show_its_screen_and_starts_anew_into_the_same_seat() {
    let site = Site::start().await;
    let mut alice = site.agent("alice").await;
    let waiting = view(&mut alice, json!({"control": true})).await;
    let mac = Scripted::mac(Fact::Granted, Fact::Prompt, Fact::Prompt);
    let mut program = Program::start(&site, &key_of(&waiting), Choices::default(), &mac);
    program.reads("Alice would like to see your whole screen, and may ask to control your computer.").await;
    program.reads("Do you accept?").await;
    program.types("yes").await;
    program.reads("Privacy & Security, Screen Recording").await;
    program.reads("choose Later").await;
    let mut watching = site.attach("alice", &alice.expect("ready").await).await;
    assert_eq!(mac.0.lock().asked, [Permission::ScreenRecording]);
    mac.allows(Permission::ScreenRecording);
    assert_eq!(program.ends().await, Over::StartAnew);
    let told = watching.expect_where("steps", |told| told["steps"] == json!(["reenter", "allow"])).await;
    let seat = told["participantId"].clone();

    // The same link or code, a process of its own: the session and the seat are the same.
    let mut program = Program::start(&site, &key_of(&waiting), ACCEPTS, &mac);
    program.reads("You are in the session.").await;
    watching.expect_change("back", &seat).await;
    assert_eq!(watching.hello["sessionId"], waiting["sessionId"]);
    let first = header(&watching.expect_frame().await);
    assert!(first.is_key() && (first.width, first.height) == (64, 32));

    // What it has no place for, an agent's camera, it passes over.
    watching.ask(json!({"type": "startCamera"}), "ok").await;
    watching.send_frame(Frames::of_stream(1).key(500)).await;

    // Accessibility is asked for at the first attempt, after the person's yes.
    watching.ask(json!({"type": "requestControl"}), "ok").await;
    program.reads("Alice asks to control your computer").await;
    program.types("yes").await;
    watching.expect_where("steps", |told| told["steps"] == json!(["allow_accessibility"])).await;
    program.reads("Privacy & Security, Accessibility").await;
    mac.allows(Permission::Accessibility);
    let granted = watching.expect_where("control", |control| control["state"] == "granted").await;
    assert_eq!(mac.0.lock().asked, [Permission::ScreenRecording, Permission::Accessibility]);
    watching.send(input(&granted["epoch"], &["move", "down", "up"])).await;
    program.reads("Alice controls your computer").await;
    program.types("revoke").await;
    watching.expect_where("control", |control| control["state"] == "revoked").await;
    program.reads("Nobody controls your computer any more.").await;
    assert_eq!(watching.refused(input(&granted["epoch"], &["move"])).await, "control_not_granted");
    {
        let state = mac.0.lock();
        assert_eq!(state.applied, [InputKind::Move, InputKind::Down, InputKind::Up]);
        assert!(state.released >= 1);
    }
    program.types("end").await;
    assert_eq!(program.ends().await, Over::Ended("guest_ended".to_owned()));
    assert_eq!(watching.expect("ended").await["reason"], "guest_ended");
}

#[tokio::test]
async fn a_guest_pauses_answers_key_frame_requests_and_refuses_control() {
    let site = Site::start().await;
    let mut alice = site.agent("alice").await;
    let waiting = view(&mut alice, json!({"control": true})).await;
    let computer = Scripted::default();
    let choices = Choices { view_only: true, ..ACCEPTS };
    let link = format!("http://{}/join#{}", site.running.public, invite_of(&waiting));
    let mut program = Program::start(&site, &link, choices, &computer);
    program.reads("You are in the session.").await;
    let mut watching = site.attach("alice", &alice.expect("ready").await).await;
    let first = header(&watching.expect_frame().await);
    watching.send(json!({"type": "keyFrameRequest"})).await;
    let second = header(&watching.expect_frame().await);
    assert!(second.is_key() && second.sequence > first.sequence);
    program.types("pause").await;
    watching.expect_where("paused", |told| told["paused"] == true).await;
    program.reads("Paused").await;
    computer.0.lock().colour = 200;
    program.types("resume").await;
    watching.expect_where("paused", |told| told["paused"] == false).await;
    let mut moved = header(&watching.expect_frame().await);
    while moved.sequence <= second.sequence {
        moved = header(&watching.expect_frame().await);
    }
    watching.ask(json!({"type": "requestControl"}), "ok").await;
    watching.expect_where("control", |control| control["state"] == "rejected").await;
    program.reads("was refused").await;
    assert_eq!(watching.refused(input(&json!(0), &["move"])).await, "control_not_granted");
    watching.send(json!({"type": "chat", "text": "hello Gina"})).await;
    program.reads("Alice: hello Gina").await;
    program.types("say hello Alice").await;
    watching.expect_where("chat", |chat| chat["text"] == "hello Alice").await;
    alice.ask(json!({"type": "endSession", "sessionId": waiting["sessionId"]}), "ok").await;
    assert_eq!(program.ends().await, Over::Ended("agent_ended".to_owned()));
    assert!(computer.0.lock().applied.is_empty() && computer.0.lock().asked.is_empty());
}

#[tokio::test]
async fn a_guest_that_loses_its_connection_comes_back_by_itself() {
    let site = Site::start().await;
    let mut alice = site.agent("alice").await;
    let waiting = view(&mut alice, json!({})).await;
    let network = Way::before(site.running.public).await;
    let (types, lines) = mpsc::channel(8);
    let (server, key) = (format!("http://{}", network.addr()), key_of(&waiting));
    let over = tokio::spawn(async move {
        let mut desk = Desk::new(lines, |_| {});
        run(&key, Some(&server), ACCEPTS, &mut Scripted::default(), &mut desk).await
    });
    let mut watching = site.attach("alice", &alice.expect("ready").await).await;
    let first = header(&watching.expect_frame().await);
    network.set(Network::Refuses);
    let lost = watching.expect_where("participant", |news| news["change"] == "reconnecting").await;
    network.set(Network::Up);
    watching.expect_change("back", &lost["participant"]["participantId"]).await;
    let mut next = header(&watching.expect_frame().await);
    while next.sequence <= first.sequence {
        next = header(&watching.expect_frame().await);
    }
    types.send("end".to_owned()).await.unwrap();
    let over = within("the program's end", over).await.unwrap().unwrap();
    assert_eq!(over, Over::Ended("guest_ended".to_owned()));
}

#[tokio::test]
async fn a_guest_who_declines_shares_nothing_and_a_wrong_code_leads_nowhere() {
    let site = Site::start().await;
    let mut alice = site.agent("alice").await;
    let waiting = view(&mut alice, json!({})).await;
    let computer = Scripted::default();
    let wrong = Program::start(&site, "000 000 000", ACCEPTS, &computer);
    let error = within("the refusal", wrong.over).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("leads to no session"), "{error}");
    let mut program = Program::start(&site, &key_of(&waiting), Choices::default(), &computer);
    program.reads("Do you accept?").await;
    program.types("no").await;
    assert_eq!(program.ends().await, Over::Declined);
    alice.expect_request("declined").await;
}
