//! From an agent's input to what a Mac is told: events of the pointer, of the wheel and of keys, in its own numbers.
//!
//! Decides the mapping, what is held and which clicks are a double click. Posts nothing ([`super::mac`] does), so that it is
//! tested on any system. Key codes and flags are those of Apple's `HIToolbox/Events.h` and `CGEventTypes.h`.

use std::time::Duration;

use crate::clock::Tick;
use crate::limits;
use crate::wire::session::{InputEvent, InputKind};

/// Two clicks within this time are a double click, as systems have it unless their owner chose otherwise.
const DOUBLE_CLICK: Duration = Duration::from_millis(500);

/// And no farther apart than this, in points.
const DOUBLE_CLICK_POINTS: f64 = 5.0;

/// Flags of events (`CGEventFlags`).
mod flag {
    pub(super) const SHIFT: u64 = 0x0002_0000;
    pub(super) const CONTROL: u64 = 0x0004_0000;
    pub(super) const OPTION: u64 = 0x0008_0000;
    pub(super) const COMMAND: u64 = 0x0010_0000;
}

/// Keys that change others: `key`, the code on the left, that on the right, the flag.
const MODIFIERS: &[(&str, u16, u16, u64)] = &[
    ("Shift", 0x38, 0x3c, flag::SHIFT),
    ("Control", 0x3b, 0x3e, flag::CONTROL),
    ("Alt", 0x3a, 0x3d, flag::OPTION),
    ("AltGraph", 0x3d, 0x3d, flag::OPTION),
    ("Meta", 0x37, 0x36, flag::COMMAND),
];

/// Keys with a name (UI Events `key`).
const NAMED: &[(&str, u16)] = &[
    ("Enter", 0x24),
    ("Tab", 0x30),
    ("Backspace", 0x33),
    ("Escape", 0x35),
    ("Help", 0x72),
    ("Insert", 0x72),
    ("Home", 0x73),
    ("PageUp", 0x74),
    ("Delete", 0x75),
    ("End", 0x77),
    ("PageDown", 0x79),
    ("ArrowLeft", 0x7b),
    ("ArrowRight", 0x7c),
    ("ArrowDown", 0x7d),
    ("ArrowUp", 0x7e),
];

/// F1 and those after it.
const FUNCTION: [u16; 20] = [
    0x7a, 0x78, 0x63, 0x76, 0x60, 0x61, 0x62, 0x64, 0x65, 0x6d, 0x67, 0x6f, 0x69, 0x6b, 0x71, 0x6a, 0x40,
    0x4f, 0x50, 0x5a,
];

/// Keys that write something, by their place (UI Events `code`): what a shortcut is made of.
const PLACES: &[(&str, u16)] = &[
    ("KeyA", 0x00),
    ("KeyS", 0x01),
    ("KeyD", 0x02),
    ("KeyF", 0x03),
    ("KeyH", 0x04),
    ("KeyG", 0x05),
    ("KeyZ", 0x06),
    ("KeyX", 0x07),
    ("KeyC", 0x08),
    ("KeyV", 0x09),
    ("KeyB", 0x0b),
    ("KeyQ", 0x0c),
    ("KeyW", 0x0d),
    ("KeyE", 0x0e),
    ("KeyR", 0x0f),
    ("KeyY", 0x10),
    ("KeyT", 0x11),
    ("Digit1", 0x12),
    ("Digit2", 0x13),
    ("Digit3", 0x14),
    ("Digit4", 0x15),
    ("Digit6", 0x16),
    ("Digit5", 0x17),
    ("Equal", 0x18),
    ("Digit9", 0x19),
    ("Digit7", 0x1a),
    ("Minus", 0x1b),
    ("Digit8", 0x1c),
    ("Digit0", 0x1d),
    ("BracketRight", 0x1e),
    ("KeyO", 0x1f),
    ("KeyU", 0x20),
    ("BracketLeft", 0x21),
    ("KeyI", 0x22),
    ("KeyP", 0x23),
    ("KeyL", 0x25),
    ("KeyJ", 0x26),
    ("Quote", 0x27),
    ("KeyK", 0x28),
    ("Semicolon", 0x29),
    ("Backslash", 0x2a),
    ("Comma", 0x2b),
    ("Slash", 0x2c),
    ("KeyN", 0x2d),
    ("KeyM", 0x2e),
    ("Period", 0x2f),
    ("Space", 0x31),
    ("Backquote", 0x32),
];

fn named(key: &str) -> Option<u16> {
    let function = || key.strip_prefix('F')?.parse::<usize>().ok()?.checked_sub(1);
    let by_name = NAMED.iter().find(|(name, _)| *name == key).map(|(_, code)| *code);
    by_name.or_else(|| FUNCTION.get(function()?).copied())
}

/// Where a display is, in points of the whole desktop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// What the pointer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Press {
    /// It moves; with a held button it drags.
    Moves,
    Down,
    Up,
}

/// One event for the system.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stroke {
    /// `button` by Apple's numbers: 0 left, 1 right, 2 middle and more; none when nothing is held. `clicks` is 2 for a
    /// double click.
    Pointer { press: Press, at: (f64, f64), button: Option<u8>, clicks: u8, flags: u64 },
    /// In pixels, down and to the right.
    Wheel { down: i32, right: i32 },
    /// A key by its code.
    Key { code: u16, down: bool, flags: u64 },
    /// Characters, whatever key they are on.
    Text { text: String, flags: u64 },
}

/// What an agent holds, and where it clicked last.
#[derive(Debug, Default)]
pub(super) struct Player {
    at: (f64, f64),
    buttons: Vec<u8>,
    /// Place, code and flag of the keys that are held.
    keys: Vec<(Box<str>, u16, u64)>,
    clicked: Option<Click>,
}

#[derive(Debug, Clone, Copy)]
struct Click {
    button: u8,
    at: (f64, f64),
    when: Tick,
    times: u8,
}

impl Player {
    fn flags(&self) -> u64 {
        self.keys.iter().fold(0, |flags, (_, _, flag)| flags | flag)
    }

    fn pointer(&self, press: Press, button: Option<u8>) -> Stroke {
        let clicks = match (press, self.clicked) {
            (Press::Down | Press::Up, Some(click)) if Some(click.button) == button => click.times,
            _ => 1,
        };
        Stroke::Pointer { press, at: self.at, button, clicks, flags: self.flags() }
    }

    fn points(&mut self, event: &InputEvent, bounds: Bounds) {
        if let (Some(x), Some(y)) = (event.x, event.y) {
            let share = |part: u16| f64::from(part) / 65_536.0;
            self.at = (bounds.x + share(x) * bounds.width, bounds.y + share(y) * bounds.height);
        }
    }

    /// What the system is told of an event.
    pub(super) fn play(&mut self, event: &InputEvent, bounds: Bounds, now: Tick) -> Vec<Stroke> {
        match event.t {
            InputKind::Move => {
                self.points(event, bounds);
                vec![self.pointer(Press::Moves, self.buttons.last().copied())]
            }
            InputKind::Down | InputKind::Up => {
                self.points(event, bounds);
                self.presses(event, now)
            }
            InputKind::Wheel => {
                self.points(event, bounds);
                let most = f64::from(i16::MAX);
                let pixels = |turned: Option<f64>| {
                    turned.filter(|turned| turned.is_finite()).unwrap_or_default().clamp(-most, most) as i32
                };
                let wheel = Stroke::Wheel { down: pixels(event.dy), right: pixels(event.dx) };
                vec![self.pointer(Press::Moves, self.buttons.last().copied()), wheel]
            }
            InputKind::Keydown => self.key_down(event),
            InputKind::Keyup => self.key_up(event),
            InputKind::Text => {
                event.text.as_deref().unwrap_or_default().chars().take(limits::GUEST_TEXT_CHARS).fold(
                    Vec::new(),
                    |mut strokes, character| {
                        strokes.extend(self.types(character));
                        strokes
                    },
                )
            }
        }
    }

    fn presses(&mut self, event: &InputEvent, now: Tick) -> Vec<Stroke> {
        // In browsers the middle one comes before the second.
        let button = match event.button.unwrap_or_default() {
            1 => 2,
            2 => 1,
            button @ (0 | 3 | 4) => button,
            _ => return Vec::new(),
        };
        let down = event.t == InputKind::Down;
        if self.buttons.contains(&button) == down {
            return Vec::new();
        }
        if down {
            self.buttons.push(button);
            let again = self.clicked.filter(|last| {
                let (x, y) = (self.at.0 - last.at.0, self.at.1 - last.at.1);
                last.button == button
                    && now.since(last.when) < DOUBLE_CLICK
                    && x.hypot(y) < DOUBLE_CLICK_POINTS
            });
            let times = again.map_or(1, |last| last.times.saturating_add(1));
            self.clicked = Some(Click { button, at: self.at, when: now, times });
        } else {
            self.buttons.retain(|held| *held != button);
        }
        vec![self.pointer(if down { Press::Down } else { Press::Up }, Some(button))]
    }

    /// Only keys that change others are held, as with X: the repetition of a held key comes from the agent's side.
    fn key_down(&mut self, event: &InputEvent) -> Vec<Stroke> {
        let Some(key) = event.key.as_deref() else { return Vec::new() };
        let place = event.code.as_deref().unwrap_or(key);
        if let Some((_, left, right, flag)) = MODIFIERS.iter().find(|(name, ..)| *name == key) {
            if self.keys.len() >= limits::INPUT_EVENTS || self.keys.iter().any(|(held, ..)| &**held == place)
            {
                return Vec::new();
            }
            let code = if place.ends_with("Right") { *right } else { *left };
            self.keys.push((place.into(), code, *flag));
            return vec![Stroke::Key { code, down: true, flags: self.flags() }];
        }
        if let Some(code) = named(key) {
            return self.taps(code);
        }
        let mut characters = key.chars();
        let (Some(character), None) = (characters.next(), characters.next()) else { return Vec::new() };
        // What is typed is a character, wherever it is on this keyboard; a shortcut is made by the place of its key.
        let shortcut = self.flags() & (flag::COMMAND | flag::CONTROL) != 0;
        match PLACES.iter().find(|(name, _)| shortcut && *name == place) {
            Some((_, code)) => self.taps(*code),
            None => self.types(character),
        }
    }

    fn taps(&self, code: u16) -> Vec<Stroke> {
        let flags = self.flags();
        [true, false].map(|down| Stroke::Key { code, down, flags }).into()
    }

    fn types(&self, character: char) -> Vec<Stroke> {
        match character {
            '\n' | '\r' => self.taps(0x24),
            '\t' => self.taps(0x30),
            '\u{8}' => self.taps(0x33),
            // A character is shifted already, and what Option would make of it is made.
            other => {
                let flags = self.flags() & !(flag::SHIFT | flag::OPTION);
                vec![Stroke::Text { text: other.to_string(), flags }]
            }
        }
    }

    fn key_up(&mut self, event: &InputEvent) -> Vec<Stroke> {
        let place = event.code.as_deref().or(event.key.as_deref());
        let Some(at) = self.keys.iter().position(|(held, ..)| Some(&**held) == place) else {
            return Vec::new();
        };
        let (_, code, _) = self.keys.remove(at);
        vec![Stroke::Key { code, down: false, flags: self.flags() }]
    }

    /// Lets go of whatever is held.
    pub(super) fn release(&mut self) -> Vec<Stroke> {
        let mut strokes = Vec::new();
        while let Some((_, code, _)) = self.keys.pop() {
            strokes.push(Stroke::Key { code, down: false, flags: self.flags() });
        }
        while let Some(button) = self.buttons.pop() {
            strokes.push(self.pointer(Press::Up, Some(button)));
        }
        strokes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SECOND_DISPLAY: Bounds = Bounds { x: 1_000.0, y: -100.0, width: 800.0, height: 600.0 };
    const MIDDLE: (f64, f64) = (1_400.0, 200.0);

    fn plays(player: &mut Player, at: u64, event: Value) -> Vec<Stroke> {
        player.play(&serde_json::from_value(event).unwrap(), SECOND_DISPLAY, Tick(at))
    }

    fn keys(player: &mut Player, kind: &str, key: &str, code: &str) -> Vec<Stroke> {
        plays(player, 0, json!({"t": kind, "key": key, "code": code}))
    }

    fn pointer(press: Press, button: Option<u8>, clicks: u8) -> Stroke {
        Stroke::Pointer { press, at: MIDDLE, button, clicks, flags: 0 }
    }

    fn tap(code: u16, flags: u64) -> Vec<Stroke> {
        vec![Stroke::Key { code, down: true, flags }, Stroke::Key { code, down: false, flags }]
    }

    #[test]
    fn the_pointer_moves_on_the_display_that_is_shown_and_drags_what_it_holds() {
        let mut player = Player::default();
        let middle = |kind: &str| json!({"t": kind, "x": 32_768, "y": 32_768, "button": 2});
        assert_eq!(plays(&mut player, 0, middle("move")), [pointer(Press::Moves, None, 1)]);
        assert_eq!(plays(&mut player, 0, middle("down")), [pointer(Press::Down, Some(1), 1)]);
        assert_eq!(plays(&mut player, 0, middle("down")), [], "it is down");
        assert_eq!(plays(&mut player, 0, middle("move")), [pointer(Press::Moves, Some(1), 1)]);
        assert_eq!(plays(&mut player, 0, middle("up")), [pointer(Press::Up, Some(1), 1)]);
        assert_eq!(plays(&mut player, 0, middle("up")), [], "it is up");
        let corner = plays(&mut player, 0, json!({"t": "move", "x": 0, "y": 0}));
        assert!(matches!(corner[..], [Stroke::Pointer { at: (1_000.0, -100.0), .. }]), "{corner:?}");
        let wheel =
            plays(&mut player, 0, json!({"t": "wheel", "x": 32_768, "y": 32_768, "dy": 120.0, "dx": -1e9}));
        assert_eq!(wheel, [pointer(Press::Moves, None, 1), Stroke::Wheel { down: 120, right: -32_767 }]);
    }

    #[test]
    fn two_quick_clicks_at_one_place_are_a_double_click() {
        let mut player = Player::default();
        let mut clicks = |at: u64, x: u16| {
            let down = plays(&mut player, at, json!({"t": "down", "x": x, "y": 0}));
            let up = plays(&mut player, at, json!({"t": "up", "x": x, "y": 0}));
            match (&down[..], &up[..]) {
                ([Stroke::Pointer { clicks: down, .. }], [Stroke::Pointer { clicks: up, .. }])
                    if down == up =>
                {
                    *up
                }
                _ => panic!("{down:?} {up:?}"),
            }
        };
        assert_eq!([clicks(0, 0), clicks(300, 0), clicks(600, 0)], [1, 2, 3]);
        assert_eq!([clicks(1_100, 0), clicks(1_200, 30_000)], [1, 1], "too late, and too far");
    }

    #[test]
    fn text_is_typed_as_characters_and_shortcuts_by_the_place_of_their_key() {
        let mut player = Player::default();
        let text = |text: &str| Stroke::Text { text: text.to_owned(), flags: 0 };
        assert_eq!(keys(&mut player, "keydown", "é", "Digit2"), [text("é")]);
        assert_eq!(keys(&mut player, "keydown", "Enter", "Enter"), tap(0x24, 0));
        assert_eq!(keys(&mut player, "keydown", "F12", "F12"), tap(0x6f, 0));
        for none in ["F0", "F21", "Dead", "Process"] {
            assert_eq!(keys(&mut player, "keydown", none, "X"), [], "{none}");
        }
        let shift = Stroke::Key { code: 0x3c, down: true, flags: flag::SHIFT };
        assert_eq!(keys(&mut player, "keydown", "Shift", "ShiftRight"), [shift]);
        assert_eq!(keys(&mut player, "keydown", "A", "KeyA"), [text("A")], "it is a capital already");
        assert_eq!(keys(&mut player, "keydown", "Tab", "Tab"), tap(0x30, flag::SHIFT));
        let up = Stroke::Key { code: 0x3c, down: false, flags: 0 };
        assert_eq!(keys(&mut player, "keyup", "Shift", "ShiftRight"), [up]);
        assert_eq!(keys(&mut player, "keyup", "Shift", "ShiftRight"), []);
        keys(&mut player, "keydown", "Meta", "MetaLeft");
        assert_eq!(keys(&mut player, "keydown", "c", "KeyC"), tap(0x08, flag::COMMAND));
        keys(&mut player, "keyup", "Meta", "MetaLeft");
        let mut typed = vec![text("h"), text("語")];
        typed.extend(tap(0x24, 0));
        assert_eq!(plays(&mut player, 0, json!({"t": "text", "text": "h語\n"})), typed);
    }

    #[test]
    fn whatever_is_held_is_let_go_of() {
        let mut player = Player::default();
        keys(&mut player, "keydown", "Control", "ControlLeft");
        keys(&mut player, "keydown", "Alt", "AltLeft");
        plays(&mut player, 0, json!({"t": "down", "x": 32_768, "y": 32_768}));
        let released = [
            Stroke::Key { code: 0x3a, down: false, flags: flag::CONTROL },
            Stroke::Key { code: 0x3b, down: false, flags: 0 },
            pointer(Press::Up, Some(0), 1),
        ];
        assert_eq!(player.release(), released);
        assert_eq!(player.release(), []);
    }
}
