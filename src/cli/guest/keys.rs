//! From what a key means in a browser to what it means to X: keysyms.
//!
//! Decides the mapping and nothing of keyboards. A character is its own keysym (Latin-1), or its code point with a bit of its
//! own set; named keys have theirs.

/// Bit of keysyms that are code points.
const UNICODE: u32 = 0x0100_0000;

/// Keysyms of keys with a name (UI Events `key`).
const NAMED: &[(&str, u32)] = &[
    ("Backspace", 0xff08),
    ("Tab", 0xff09),
    ("Enter", 0xff0d),
    ("Pause", 0xff13),
    ("ScrollLock", 0xff14),
    ("PrintScreen", 0xff61),
    ("Escape", 0xff1b),
    ("Home", 0xff50),
    ("ArrowLeft", 0xff51),
    ("ArrowUp", 0xff52),
    ("ArrowRight", 0xff53),
    ("ArrowDown", 0xff54),
    ("PageUp", 0xff55),
    ("PageDown", 0xff56),
    ("End", 0xff57),
    ("Insert", 0xff63),
    ("ContextMenu", 0xff67),
    ("NumLock", 0xff7f),
    ("Shift", 0xffe1),
    ("Control", 0xffe3),
    ("CapsLock", 0xffe5),
    ("Alt", 0xffe9),
    ("AltGraph", 0xfe03),
    ("Meta", 0xffeb),
    ("Delete", 0xffff),
];

/// F1; the others follow.
const F1: u32 = 0xffbe;

/// The keysym of a key; none for what no keyboard of X has.
pub(super) fn keysym(key: &str) -> Option<u32> {
    let mut characters = key.chars();
    if let (Some(one), None) = (characters.next(), characters.next()) {
        return Some(of_char(one));
    }
    if let Some(number) = key.strip_prefix('F').and_then(|number| number.parse::<u32>().ok()) {
        return (1..=24).contains(&number).then(|| F1 + number - 1);
    }
    NAMED.iter().find(|(name, _)| *name == key).map(|(_, keysym)| *keysym)
}

/// The keysym of a character.
pub(super) fn of_char(character: char) -> u32 {
    match character {
        '\n' | '\r' => 0xff0d,
        '\t' => 0xff09,
        '\u{8}' => 0xff08,
        ' '..='~' | '\u{a0}'..='ÿ' => character.into(),
        other => UNICODE | u32::from(other),
    }
}

/// Whether it is a key that changes others while it is held.
pub(super) fn is_modifier(keysym: u32) -> bool {
    matches!(keysym, 0xffe1..=0xffe4 | 0xffe7..=0xffee | 0xfe03)
}

/// Whether it writes something.
pub(super) fn is_character(keysym: u32) -> bool {
    !(0xfe00..UNICODE).contains(&keysym)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_what_they_mean_in_a_browser() {
        for (key, expected) in [
            ("a", Some(0x61)),
            ("A", Some(0x41)),
            (" ", Some(0x20)),
            ("é", Some(0xe9)),
            ("€", Some(0x0100_20ac)),
            ("語", Some(0x0100_8a9e)),
            ("Enter", Some(0xff0d)),
            ("F1", Some(0xffbe)),
            ("F12", Some(0xffc9)),
            ("F", Some(0x46)),
            ("F99", None),
            ("Dead", None),
            ("Process", None),
        ] {
            assert_eq!(keysym(key), expected, "{key}");
        }
        assert_eq!(of_char('\n'), 0xff0d);
        let of = |key: &str| keysym(key).unwrap();
        for key in ["Shift", "Control", "Alt", "AltGraph", "Meta"] {
            assert!(is_modifier(of(key)) && !is_character(of(key)), "{key}");
        }
        for key in ["Enter", "F1", "CapsLock", "ArrowUp", "Delete"] {
            assert!(!is_modifier(of(key)) && !is_character(of(key)), "{key}");
        }
        assert!(["a", "é", "€"].iter().all(|key| is_character(of(key))));
    }
}
