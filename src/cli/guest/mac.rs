//! A Mac: its main display, pointer and keys, and what it asks its owner about.
//!
//! **Unverified.** It is written against Apple's documentation and type-checked for `aarch64-apple-darwin`; nobody has linked or
//! run it. What the session makes of it, the restart among it, is tested on a computer that a script plays.
//!
//! | what | documented as |
//! |---|---|
//! | may the screen be seen; have its owner asked | `CGPreflightScreenCaptureAccess`, `CGRequestScreenCaptureAccess` (macOS 10.15) |
//! | may pointer and keys be moved; have its owner asked | `CGPreflightPostEventAccess`, `CGRequestPostEventAccess` (10.15) |
//! | pictures | `CGMainDisplayID`, `CGDisplayCreateImage`, `CGImageGetBitmapInfo`, `CGDataProviderCopyData` |
//! | where the display is | `CGDisplayBounds` |
//! | pointer, wheel, keys | `CGEventCreateMouseEvent`, `CGEventCreateScrollWheelEvent2`, `CGEventCreateKeyboardEvent`, `CGEventPost` |
//! | text | `CGEventKeyboardSetUnicodeString` |
//! | the pane of the settings | `open` with a URL of the scheme `x-apple.systempreferences` |
//!
//! The first pair is what System Settings calls Screen Recording, the second is granted by its pane Accessibility. Both
//! answer yes or no: that an owner was asked is known only of questions of this run, and so the others are `prompt`.
//! `CGDisplayCreateImage` is deprecated since macOS 14 in favour of ScreenCaptureKit, which cannot be called from here
//! without unsafe code; a system without it would not start this program.
//!
//! Decides what of the system stands for which fact, and that the screen counts as allowed from the start of the program
//! on and not earlier, as macOS has it. Does not decide what is typed or clicked ([`super::mac_input`]).

use std::process::{Command, Stdio};

use core_graphics::event::{
    CGEvent, CGEventFlags, CGEventTapLocation, CGEventType, CGMouseButton, EventField,
};
use core_graphics::event::{CGKeyCode, ScrollEventUnit};
use core_graphics::event_source::{CGEventSource, CGEventSourceStateID};
use core_graphics::geometry::CGPoint;
use objc2_core_graphics::{
    CGDataProvider, CGDirectDisplayID, CGDisplayBounds, CGImage, CGImageAlphaInfo, CGImageByteOrderInfo,
    CGMainDisplayID, CGPreflightPostEventAccess, CGPreflightScreenCaptureAccess, CGRequestPostEventAccess,
    CGRequestScreenCaptureAccess,
};

use super::mac_input::{Bounds, Player, Press, Stroke};
use super::platform::{Hands, Picture, Platform, PlatformError, Screen};
use crate::clock::Clock;
use crate::wire::permission::{Fact, Facts, Permission};
use crate::wire::session::InputEvent;

/// The panes of System Settings, by the URLs that open them.
const SCREEN_RECORDING: &str =
    "x-apple.systempreferences:com.apple.preference.security?Privacy_ScreenCapture";
const ACCESSIBILITY: &str = "x-apple.systempreferences:com.apple.preference.security?Privacy_Accessibility";

/// This Mac.
pub(super) struct Mac {
    /// Whether the screen could be seen when the program started.
    sees: bool,
    /// What its owner was asked by this run.
    asked_screen: bool,
    asked_hands: bool,
}

impl Mac {
    /// Looks what is allowed by now.
    pub(super) fn start() -> Self {
        Self { sees: CGPreflightScreenCaptureAccess(), asked_screen: false, asked_hands: false }
    }
}

fn fact(granted: bool, asked: bool) -> Fact {
    match (granted, asked) {
        (true, _) => Fact::Granted,
        (false, true) => Fact::Denied,
        (false, false) => Fact::Prompt,
    }
}

/// Opens a pane of the settings. Where that fails the guest finds it by the words that it reads.
fn opens(pane: &str) {
    let opened = Command::new("/usr/bin/open").arg(pane).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match opened {
        Ok(status) if status.success() => {}
        Ok(status) => tracing::debug!(pane, %status, "the settings did not open"),
        Err(error) => tracing::debug!(pane, %error, "the settings did not open"),
    }
}

impl Platform for Mac {
    fn name(&self) -> &'static str {
        "macos"
    }

    /// None: it tells every fact each time, so that there is nothing to remember.
    fn device(&self) -> Option<String> {
        None
    }

    fn facts(&mut self) -> Option<Facts> {
        Some(Facts {
            install: Fact::Granted,
            screen_recording: fact(CGPreflightScreenCaptureAccess(), self.asked_screen),
            accessibility: fact(CGPreflightPostEventAccess(), self.asked_hands),
        })
    }

    fn ask(&mut self, permission: Permission) {
        match permission {
            // Whoever runs this has it.
            Permission::Install => {}
            Permission::ScreenRecording => {
                let first = !std::mem::replace(&mut self.asked_screen, true);
                // The system asks once; later there is only its pane.
                if !CGRequestScreenCaptureAccess() && first {
                    opens(SCREEN_RECORDING);
                }
            }
            Permission::Accessibility => {
                self.asked_hands = true;
                if !CGRequestPostEventAccess() {
                    opens(ACCESSIBILITY);
                }
            }
        }
    }

    fn screen(&mut self) -> Result<Box<dyn Screen>, PlatformError> {
        if !self.sees {
            return Err(PlatformError::new("macOS shows the screen to this program from its next start on"));
        }
        Ok(Box::new(Display(CGMainDisplayID())))
    }

    fn hands(&mut self) -> Result<Box<dyn Hands>, PlatformError> {
        if !CGPreflightPostEventAccess() {
            return Err(PlatformError::new("macOS does not let this program move pointer and keys"));
        }
        Ok(Box::new(Fingers { display: CGMainDisplayID(), clock: Clock::start(), player: Player::default() }))
    }
}

/// A display.
struct Display(CGDirectDisplayID);

impl Screen for Display {
    fn picture(&mut self) -> Result<Picture, PlatformError> {
        #[expect(deprecated, reason = "what took its place cannot be called without unsafe code")]
        let image = objc2_core_graphics::CGDisplayCreateImage(self.0);
        let image = image.ok_or_else(|| PlatformError::new("the display can be seen no longer"))?;
        let image = Some(&*image);
        let (width, height) = (CGImage::width(image), CGImage::height(image));
        let alpha = CGImage::alpha_info(image);
        let blue_first = CGImage::byte_order_info(image) == CGImageByteOrderInfo::Order32Little
            && [
                CGImageAlphaInfo::First,
                CGImageAlphaInfo::PremultipliedFirst,
                CGImageAlphaInfo::NoneSkipFirst,
            ]
            .contains(&alpha);
        if CGImage::bits_per_pixel(image) != 32 || CGImage::bits_per_component(image) != 8 || !blue_first {
            return Err(PlatformError::new("this display does not have 32 bits a pixel, blue first"));
        }
        let provider = CGImage::data_provider(image);
        let data = CGDataProvider::data(provider.as_deref())
            .ok_or_else(|| PlatformError::new("the display's picture cannot be read"))?;
        Picture::packed(width, height, CGImage::bytes_per_row(image), data.to_vec())
    }
}

/// Pointer and keys.
struct Fingers {
    display: CGDirectDisplayID,
    clock: Clock,
    player: Player,
}

fn refused(_: ()) -> PlatformError {
    PlatformError::new("macOS makes no event")
}

impl Fingers {
    fn bounds(&self) -> Bounds {
        let rect = CGDisplayBounds(self.display);
        Bounds { x: rect.origin.x, y: rect.origin.y, width: rect.size.width, height: rect.size.height }
    }
}

fn post(stroke: &Stroke) -> Result<(), PlatformError> {
    let source = CGEventSource::new(CGEventSourceStateID::HIDSystemState).map_err(refused)?;
    match stroke {
        Stroke::Pointer { press, at, button, clicks, flags } => {
            let (kind, named) = kind(*press, *button);
            let at = CGPoint::new(at.0, at.1);
            let event = CGEvent::new_mouse_event(source, kind, at, named).map_err(refused)?;
            if let Some(button) = button {
                event.set_integer_value_field(EventField::MOUSE_EVENT_BUTTON_NUMBER, i64::from(*button));
            }
            event.set_integer_value_field(EventField::MOUSE_EVENT_CLICK_STATE, i64::from(*clicks));
            event.set_flags(CGEventFlags::from_bits_truncate(*flags));
            event.post(CGEventTapLocation::HID);
        }
        // Apple counts up and to the left.
        Stroke::Wheel { down, right } => {
            CGEvent::new_scroll_event(source, ScrollEventUnit::PIXEL, 2, -down, -right, 0)
                .map_err(refused)?
                .post(CGEventTapLocation::HID);
        }
        Stroke::Key { code, down, flags } => key(source, *code, *down, *flags)?.post(CGEventTapLocation::HID),
        Stroke::Text { text, flags } => {
            for down in [true, false] {
                let event = key(source.clone(), 0, down, *flags)?;
                event.set_string(text);
                event.post(CGEventTapLocation::HID);
            }
        }
    }
    Ok(())
}

fn key(source: CGEventSource, code: CGKeyCode, down: bool, flags: u64) -> Result<CGEvent, PlatformError> {
    let event = CGEvent::new_keyboard_event(source, code, down).map_err(refused)?;
    event.set_flags(CGEventFlags::from_bits_truncate(flags));
    Ok(event)
}

/// What the system calls it. Buttons behind the second are told apart by their number.
fn kind(press: Press, button: Option<u8>) -> (CGEventType, CGMouseButton) {
    let named = match button {
        None | Some(0) => CGMouseButton::Left,
        Some(1) => CGMouseButton::Right,
        Some(_) => CGMouseButton::Center,
    };
    let kind = match (press, button) {
        (Press::Moves, None) => CGEventType::MouseMoved,
        (Press::Moves, Some(0)) => CGEventType::LeftMouseDragged,
        (Press::Moves, Some(1)) => CGEventType::RightMouseDragged,
        (Press::Moves, Some(_)) => CGEventType::OtherMouseDragged,
        (Press::Down, None | Some(0)) => CGEventType::LeftMouseDown,
        (Press::Down, Some(1)) => CGEventType::RightMouseDown,
        (Press::Down, Some(_)) => CGEventType::OtherMouseDown,
        (Press::Up, None | Some(0)) => CGEventType::LeftMouseUp,
        (Press::Up, Some(1)) => CGEventType::RightMouseUp,
        (Press::Up, Some(_)) => CGEventType::OtherMouseUp,
    };
    (kind, named)
}

impl Hands for Fingers {
    fn apply(&mut self, event: &InputEvent) -> Result<(), PlatformError> {
        // Events that nobody may post are dropped without a word.
        if !CGPreflightPostEventAccess() {
            return Err(PlatformError::new("macOS lets this program move pointer and keys no longer"));
        }
        let bounds = self.bounds();
        self.player.play(event, bounds, self.clock.tick()).iter().try_for_each(post)
    }

    fn release(&mut self) -> Result<(), PlatformError> {
        self.player.release().iter().try_for_each(post)
    }
}

impl Drop for Fingers {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            tracing::debug!(%error, "macOS did not let go of what was held");
        }
    }
}
