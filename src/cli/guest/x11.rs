//! A computer with an X server: its root window, and the XTEST extension for pointer and keys.
//!
//! Decides how a picture is fetched and how input is played. X asks its owner about neither, so there is nothing to allow.
//! Screens of 24 or 32 bits are shown, which is all that is left of screens. The pointer of the X server itself is not
//! part of its picture.

use std::collections::HashMap;
use std::sync::Arc;

use x11rb::CURRENT_TIME;
use x11rb::connection::{Connection as _, RequestConnection as _};
use x11rb::protocol::xproto::{
    BUTTON_PRESS_EVENT, BUTTON_RELEASE_EVENT, ConnectionExt as _, ImageFormat, ImageOrder, KEY_PRESS_EVENT,
    KEY_RELEASE_EVENT, Keycode, Keysym, MOTION_NOTIFY_EVENT, Window,
};
use x11rb::protocol::xtest::{self, ConnectionExt as _};
use x11rb::rust_connection::RustConnection;

use super::keys;
use super::platform::{Hands, Picture, Platform, PlatformError, Screen};
use crate::limits;
use crate::wire::permission::{Facts, Permission};
use crate::wire::session::{InputEvent, InputKind};

const SHIFT: Keysym = 0xffe1;

/// A key that has nothing on it.
const NO_SYMBOL: Keysym = 0;

/// How many pixels of a browser's wheel make one click of X's.
const WHEEL_PIXELS: f64 = 100.0;

fn gone(error: impl std::error::Error + Send + Sync + 'static) -> PlatformError {
    PlatformError::by("the X server does not answer", error)
}

/// An X server.
pub(super) struct X11 {
    connection: Arc<RustConnection>,
    root: Window,
}

impl X11 {
    /// Connects to a display; to that of the environment, if none is named.
    pub(super) fn connect(display: Option<&str>) -> Result<Self, PlatformError> {
        let (connection, screen) = RustConnection::connect(display)
            .map_err(|error| PlatformError::by("there is no X display to show", error))?;
        let setup = connection.setup();
        let root = &setup.roots[screen];
        let format = setup.pixmap_formats.iter().find(|format| format.depth == root.root_depth);
        if format.is_none_or(|format| format.bits_per_pixel != 32)
            || setup.image_byte_order != ImageOrder::LSB_FIRST
        {
            return Err(PlatformError::new("this X screen does not have 32 bits a pixel, lowest first"));
        }
        let root = root.root;
        Ok(Self { connection: Arc::new(connection), root })
    }
}

impl Platform for X11 {
    fn name(&self) -> &'static str {
        "x11"
    }

    fn device(&self) -> Option<String> {
        None
    }

    fn facts(&mut self) -> Option<Facts> {
        None
    }

    fn ask(&mut self, _permission: Permission) {}

    fn screen(&mut self) -> Result<Box<dyn Screen>, PlatformError> {
        Ok(Box::new(Root { connection: Arc::clone(&self.connection), root: self.root }))
    }

    fn hands(&mut self) -> Result<Box<dyn Hands>, PlatformError> {
        let connection = Arc::clone(&self.connection);
        if connection.extension_information(xtest::X11_EXTENSION_NAME).map_err(gone)?.is_none() {
            return Err(PlatformError::new("this X server has no XTEST extension"));
        }
        let keyboard = Keyboard::read(&connection)?;
        let (connection, root) = (connection, self.root);
        Ok(Box::new(Fingers {
            connection,
            root,
            keyboard,
            keys: HashMap::new(),
            buttons: Vec::new(),
            wheel: (0.0, 0.0),
        }))
    }
}

/// The whole screen.
struct Root {
    connection: Arc<RustConnection>,
    root: Window,
}

impl Screen for Root {
    fn picture(&mut self) -> Result<Picture, PlatformError> {
        let size = self.connection.get_geometry(self.root).map_err(gone)?.reply().map_err(gone)?;
        let (width, height) = (size.width, size.height);
        let image = self
            .connection
            .get_image(ImageFormat::Z_PIXMAP, self.root, 0, 0, width, height, u32::MAX)
            .map_err(gone)?
            .reply()
            .map_err(gone)?;
        let bytes = image.data;
        if bytes.len() != usize::from(width) * usize::from(height) * 4 {
            return Err(PlatformError::new("the X server's picture has another size than its screen"));
        }
        Ok(Picture { width, height, bytes })
    }
}

/// What is on the keys.
struct Keyboard {
    first: Keycode,
    per_key: u8,
    symbols: Vec<Keysym>,
    /// Keys that have nothing on them, for what has no key; the next to use is the first.
    spare: std::collections::VecDeque<Keycode>,
    /// Those of them that were used.
    lent: HashMap<Keycode, Keysym>,
}

impl Keyboard {
    fn read(connection: &RustConnection) -> Result<Self, PlatformError> {
        let setup = connection.setup();
        let (first, last) = (setup.min_keycode, setup.max_keycode);
        let mapping =
            connection.get_keyboard_mapping(first, last - first + 1).map_err(gone)?.reply().map_err(gone)?;
        let (per_key, symbols) = (mapping.keysyms_per_keycode, mapping.keysyms);
        let mut keyboard = Self { first, per_key, symbols, spare: [].into(), lent: HashMap::new() };
        let is_spare = |code: &Keycode| keyboard.on(*code).iter().all(|symbol| *symbol == NO_SYMBOL);
        keyboard.spare = (first..=last).filter(is_spare).collect();
        Ok(keyboard)
    }

    fn on(&self, code: Keycode) -> &[Keysym] {
        let per_key = usize::from(self.per_key);
        self.symbols.chunks(per_key).nth(usize::from(code - self.first)).unwrap_or(&[])
    }

    /// The key of a symbol, and whether Shift has to be held for it.
    fn find(&self, symbol: Keysym) -> Option<(Keycode, bool)> {
        let at = |place: usize| {
            let found =
                self.symbols.chunks(usize::from(self.per_key)).position(|on| on.get(place) == Some(&symbol));
            found.and_then(|at| Keycode::try_from(usize::from(self.first) + at).ok())
        };
        at(0).map(|code| (code, false)).or_else(|| at(1).map(|code| (code, true)))
    }

    /// A key for what has none: one that has nothing on it gets it. They take turns, since programs hear of a change
    /// later than of a key. Xlib forgets a change that it hears of while it reads the one before: there is time for that.
    fn lend(
        &mut self,
        connection: &RustConnection,
        symbol: Keysym,
    ) -> Result<Option<Keycode>, PlatformError> {
        if let Some((code, _)) = self.lent.iter().find(|(_, lent)| **lent == symbol) {
            return Ok(Some(*code));
        }
        let Some(code) = self.spare.pop_front() else { return Ok(None) };
        self.spare.push_back(code);
        connection.change_keyboard_mapping(1, code, 1, &[symbol]).map_err(gone)?.check().map_err(gone)?;
        std::thread::sleep(limits::GUEST_KEY_LENT);
        self.lent.insert(code, symbol);
        Ok(Some(code))
    }

    /// Takes back what was lent.
    fn restore(&mut self, connection: &RustConnection) -> Result<(), PlatformError> {
        for (code, _) in self.lent.drain() {
            connection.change_keyboard_mapping(1, code, 1, &[NO_SYMBOL]).map_err(gone)?;
        }
        connection.flush().map_err(gone)
    }
}

/// Pointer and keys.
struct Fingers {
    connection: Arc<RustConnection>,
    root: Window,
    keyboard: Keyboard,
    /// Keys that change others and are held, by what a browser calls their place.
    keys: HashMap<Box<str>, (Keycode, Keysym)>,
    /// Buttons that are held, by X's numbers.
    buttons: Vec<u8>,
    /// What is left of the wheel's turns, to the right and down.
    wheel: (f64, f64),
}

impl Fingers {
    fn play(&self, kind: u8, detail: u8, x: i16, y: i16) -> Result<(), PlatformError> {
        self.connection.xtest_fake_input(kind, detail, CURRENT_TIME, self.root, x, y, 0).map_err(gone)?;
        Ok(())
    }

    fn points(&self, event: &InputEvent) -> Result<(), PlatformError> {
        let (Some(x), Some(y)) = (event.x, event.y) else { return Ok(()) };
        let size = self.connection.get_geometry(self.root).map_err(gone)?.reply().map_err(gone)?;
        let at = |share: u16, length: u16| {
            let pixel = (u32::from(share) * u32::from(length)) >> 16;
            i16::try_from(pixel).unwrap_or(i16::MAX)
        };
        self.play(MOTION_NOTIFY_EVENT, 0, at(x, size.width), at(y, size.height))
    }

    fn presses(&mut self, event: &InputEvent, down: bool) -> Result<(), PlatformError> {
        // Beside the three there are back and forward; between them X counts the wheel.
        let button = match event.button.unwrap_or_default() {
            button @ 0..=2 => button + 1,
            button @ 3..=4 => button + 5,
            _ => return Ok(()),
        };
        let held = self.buttons.contains(&button);
        if held == down {
            return Ok(());
        }
        if down {
            self.buttons.push(button);
        } else {
            self.buttons.retain(|held| *held != button);
        }
        self.play(if down { BUTTON_PRESS_EVENT } else { BUTTON_RELEASE_EVENT }, button, 0, 0)
    }

    fn turns(&mut self, event: &InputEvent) -> Result<(), PlatformError> {
        let clicks = |left: &mut f64, turned: Option<f64>| {
            *left += turned.filter(|turned| turned.is_finite()).unwrap_or_default() / WHEEL_PIXELS;
            let most = limits::GUEST_WHEEL_CLICKS as f64;
            let whole = left.trunc().clamp(-most, most);
            *left = left.fract();
            whole as i64
        };
        let (right, down) = (clicks(&mut self.wheel.0, event.dx), clicks(&mut self.wheel.1, event.dy));
        for (clicks, backward, forward) in [(down, 4, 5), (right, 6, 7)] {
            let button = if clicks < 0 { backward } else { forward };
            for _ in 0..clicks.unsigned_abs() {
                self.play(BUTTON_PRESS_EVENT, button, 0, 0)?;
                self.play(BUTTON_RELEASE_EVENT, button, 0, 0)?;
            }
        }
        Ok(())
    }

    /// The key of a symbol, and whether Shift has to be held for it.
    fn key_of(&mut self, symbol: Keysym) -> Result<Option<(Keycode, bool)>, PlatformError> {
        if let Some(found) = self.keyboard.find(symbol) {
            return Ok(Some(found));
        }
        Ok(self.keyboard.lend(&self.connection, symbol)?.map(|code| (code, false)))
    }

    /// Whether an agent holds Shift.
    fn shifted(&self) -> bool {
        self.keys.values().any(|(_, symbol)| *symbol == SHIFT)
    }

    /// Does something while Shift is as it has to be, and then as it was.
    fn with_shift(
        &self,
        wanted: bool,
        act: impl FnOnce() -> Result<(), PlatformError>,
    ) -> Result<(), PlatformError> {
        let shift = self.keyboard.find(SHIFT).map(|(code, _)| code).filter(|_| wanted != self.shifted());
        let (to, back) =
            if wanted { (KEY_PRESS_EVENT, KEY_RELEASE_EVENT) } else { (KEY_RELEASE_EVENT, KEY_PRESS_EVENT) };
        shift.map_or(Ok(()), |shift| self.play(to, shift, 0, 0))?;
        act()?;
        shift.map_or(Ok(()), |shift| self.play(back, shift, 0, 0))
    }

    /// Only keys that change others are held: the repetition of a held key comes from the agent's side, and the X server,
    /// which would repeat it as well, must not take a slow network for a slow finger.
    fn key_down(&mut self, event: &InputEvent) -> Result<(), PlatformError> {
        let Some(symbol) = event.key.as_deref().and_then(keys::keysym) else { return Ok(()) };
        let Some((code, shift)) = self.key_of(symbol)? else { return Ok(()) };
        if keys::is_modifier(symbol) {
            let place = event.code.clone().or_else(|| event.key.clone()).unwrap_or_default();
            if self.keys.len() < limits::INPUT_EVENTS && self.keys.insert(place, (code, symbol)).is_none() {
                self.play(KEY_PRESS_EVENT, code, 0, 0)?;
            }
            return Ok(());
        }
        // A character says itself whether it is shifted; with any other key Shift means something of its own.
        let shift = if keys::is_character(symbol) { shift } else { self.shifted() };
        self.taps(code, shift)
    }

    fn taps(&self, code: Keycode, shift: bool) -> Result<(), PlatformError> {
        self.with_shift(shift, || {
            self.play(KEY_PRESS_EVENT, code, 0, 0)?;
            self.play(KEY_RELEASE_EVENT, code, 0, 0)
        })
    }

    fn key_up(&mut self, event: &InputEvent) -> Result<(), PlatformError> {
        let place = event.code.as_ref().or(event.key.as_ref());
        match place.and_then(|place| self.keys.remove(place)) {
            Some((code, _)) => self.play(KEY_RELEASE_EVENT, code, 0, 0),
            None => Ok(()),
        }
    }

    fn types(&mut self, text: &str) -> Result<(), PlatformError> {
        for character in text.chars().take(limits::GUEST_TEXT_CHARS) {
            let Some((code, shift)) = self.key_of(keys::of_char(character))? else { continue };
            self.taps(code, shift)?;
        }
        Ok(())
    }
}

impl Hands for Fingers {
    fn apply(&mut self, event: &InputEvent) -> Result<(), PlatformError> {
        match event.t {
            InputKind::Move => self.points(event)?,
            InputKind::Down | InputKind::Up => {
                self.points(event)?;
                self.presses(event, event.t == InputKind::Down)?;
            }
            InputKind::Wheel => {
                self.points(event)?;
                self.turns(event)?;
            }
            InputKind::Keydown => self.key_down(event)?,
            InputKind::Keyup => self.key_up(event)?,
            InputKind::Text => self.types(event.text.as_deref().unwrap_or_default())?,
        }
        self.connection.flush().map_err(gone)
    }

    fn release(&mut self) -> Result<(), PlatformError> {
        for (code, _) in std::mem::take(&mut self.keys).into_values() {
            self.play(KEY_RELEASE_EVENT, code, 0, 0)?;
        }
        for button in std::mem::take(&mut self.buttons) {
            self.play(BUTTON_RELEASE_EVENT, button, 0, 0)?;
        }
        self.connection.flush().map_err(gone)
    }

    fn pointer(&mut self) -> Result<Option<(i16, i16)>, PlatformError> {
        let at = self.connection.query_pointer(self.root).map_err(gone)?.reply().map_err(gone)?;
        Ok(Some((at.root_x, at.root_y)))
    }
}

impl Drop for Fingers {
    fn drop(&mut self) {
        // Not when a grant ends: a program may still have to look up what was typed last.
        if let Err(error) = self.release().and_then(|()| self.keyboard.restore(&self.connection)) {
            tracing::debug!(%error, "the X server was gone before its keys were as they had been");
        }
    }
}
