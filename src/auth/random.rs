//! Chance from the operating system, for drivers to pass into rules. Decides nothing.

use aws_lc_rs::rand;

/// Random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system's random source works");
    bytes
}

/// 128 random bits.
pub fn u128() -> u128 {
    u128::from_be_bytes(bytes())
}

/// A random number of `count` decimal digits, leading zeros kept, each digit equally likely.
pub fn digits(count: u32) -> String {
    let mut text = String::with_capacity(count as usize);
    while text.len() < count as usize {
        for byte in bytes::<16>() {
            // 250 is the largest multiple of ten in a byte: what lies above would favour low digits.
            if byte < 250 && text.len() < count as usize {
                text.push(char::from(b'0' + byte % 10));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_as_many_as_asked() {
        for count in [0, 1, 6, 12, 40] {
            let text = digits(count);
            assert_eq!(text.len(), count as usize);
            assert!(text.bytes().all(|b| b.is_ascii_digit()));
        }
    }

    #[test]
    fn every_digit_turns_up() {
        let text = digits(2_000);
        assert!(('0'..='9').all(|digit| text.contains(digit)));
    }

    #[test]
    fn chance_differs() {
        assert_ne!(u128(), u128());
    }
}
