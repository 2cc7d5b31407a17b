//! The short numeric codes of a group's visitors, to be read out on the phone: of those without an ID of the company's,
//! and of those who wait for an agent.
//!
//! Decides which code a visitor has, until when, and whose a code is. Codes identify and do not authorise:
//! who may look one up, and how often one may guess, is decided by the caller, the hub's tracker. Chance is
//! an argument. The table is per group, so that no group learns another's codes.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use crate::clock::Tick;
use crate::ids::VisitorId;
use crate::limits::CODES_PER_GROUP;

/// Fewest and most digits of a code.
const DIGITS: (u32, u32) = (4, 12);

/// From a taken code to the next candidate. It shares no factor with a power of ten, so that all codes are
/// visited, and is large, so that neighbours in the table are not neighbours in print.
const STRIDE: u64 = 618_033_988_749;

/// A numeric code; leading zeros count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code {
    number: u64,
    digits: u8,
}

impl Code {
    /// Reads 4 to 12 digits and nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = u8::try_from(text.len()).ok()?;
        let plausible = (DIGITS.0..=DIGITS.1).contains(&u32::from(digits));
        if !plausible || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self { number: text.parse().ok()?, digits })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0width$}", self.number, width = usize::from(self.digits))
    }
}

/// A visitor's code and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issued {
    /// The code.
    pub code: Code,
    /// From this moment on it names nobody.
    pub expires: Tick,
}

/// Why no code was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("group has {live} live codes already")]
pub struct CodesFull {
    /// How many there are, which is how many there may be.
    pub live: usize,
}

/// A code whose time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Whose it was.
    pub visitor: VisitorId,
    /// The code, free again.
    pub code: Code,
}

/// The live codes of one group.
#[derive(Debug, Default)]
pub struct Codes {
    visitors: HashMap<Code, VisitorId>,
    issued: HashMap<VisitorId, Issued>,
    by_end: BTreeSet<(Tick, Code)>,
}

impl Codes {
    /// The visitor's live code, unchanged, or a fresh one of `digits` digits (4 to 12, else the nearest), for
    /// `life` from now, that no other visitor has. `chance` picks it; the same chance yields different codes while they live.
    /// Codes found to be over on the way are named in `out`, as by [`Self::on_deadline`].
    pub fn issue(
        &mut self,
        now: Tick,
        visitor: &VisitorId,
        digits: u32,
        life: Duration,
        chance: u64,
        out: &mut Vec<Expired>,
    ) -> Result<Issued, CodesFull> {
        self.on_deadline(now, out);
        if let Some(issued) = self.issued.get(visitor) {
            return Ok(*issued);
        }
        let digits = digits.clamp(DIGITS.0, DIGITS.1);
        let all = 10u64.pow(digits);
        let most = usize::try_from(all / 10).map_or(CODES_PER_GROUP, |tenth| tenth.min(CODES_PER_GROUP));
        if self.visitors.len() >= most {
            return Err(CodesFull { live: self.visitors.len() });
        }
        let digits = u8::try_from(digits).expect("clamped to two figures");
        let mut code = Code { number: chance % all, digits };
        while self.visitors.contains_key(&code) {
            code.number = (code.number + STRIDE) % all;
        }
        self.visitors.insert(code, visitor.clone());
        Ok(self.put(now, visitor, code, life))
    }

    /// Lets the visitor's code live for `life` from now, and never shorter than it would; none if it has none.
    pub fn extend(&mut self, now: Tick, visitor: &VisitorId, life: Duration) -> Option<Issued> {
        let issued = *self.issued.get(visitor).filter(|issued| now < issued.expires)?;
        if now.after(life) <= issued.expires {
            return Some(issued);
        }
        self.by_end.remove(&(issued.expires, issued.code));
        Some(self.put(now, visitor, issued.code, life))
    }

    /// The visitor's live code.
    pub fn of(&self, now: Tick, visitor: &VisitorId) -> Option<Issued> {
        self.issued.get(visitor).copied().filter(|issued| now < issued.expires)
    }

    /// Whose code it is.
    pub fn lookup(&self, now: Tick, code: Code) -> Option<&VisitorId> {
        let visitor = self.visitors.get(&code)?;
        self.issued.get(visitor).is_some_and(|issued| now < issued.expires).then_some(visitor)
    }

    /// Frees the code of a visitor who is gone.
    pub fn forget(&mut self, visitor: &VisitorId) {
        if let Some(Issued { code, expires }) = self.issued.remove(visitor) {
            self.visitors.remove(&code);
            self.by_end.remove(&(expires, code));
        }
    }

    /// When [`Self::on_deadline`] is due: the end of the oldest code.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.by_end.first().map(|(end, _)| *end)
    }

    /// Frees the codes whose time is over and names them.
    pub fn on_deadline(&mut self, now: Tick, out: &mut Vec<Expired>) {
        while let Some(&(end, code)) = self.by_end.first().filter(|(end, _)| *end <= now) {
            self.by_end.remove(&(end, code));
            let visitor = self.visitors.remove(&code).expect("each end belongs to a live code");
            self.issued.remove(&visitor);
            out.push(Expired { visitor, code });
        }
    }

    fn put(&mut self, now: Tick, visitor: &VisitorId, code: Code, life: Duration) -> Issued {
        let issued = Issued { code, expires: now.after(life) };
        self.issued.insert(visitor.clone(), issued);
        self.by_end.insert((issued.expires, code));
        issued
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{CODE_DIGITS, CODE_LIFE};

    fn visitor(n: u128) -> VisitorId {
        VisitorId::unique(n)
    }

    #[test]
    fn codes_keep_leading_zeros() {
        for (text, good) in [
            ("0042", true),
            ("004217", true),
            ("123456789012", true),
            ("", false),
            ("123", false),
            ("1234567890123", false),
            ("12a4", false),
            ("+123", false),
            ("١٢٣٤", false),
        ] {
            assert_eq!(
                Code::parse(text).map(|code| code.to_string()),
                good.then(|| text.to_owned()),
                "{text}"
            );
        }
        assert_ne!(Code::parse("0042"), Code::parse("00042"));
    }

    #[test]
    fn a_code_lives_its_life_and_no_longer() {
        let (mut codes, mut out) = (Codes::default(), Vec::new());
        let (a, b) = (visitor(1), visitor(2));
        let first = codes.issue(Tick(0), &a, CODE_DIGITS, CODE_LIFE, 4_217, &mut out).unwrap();
        assert_eq!((first.code.to_string().as_str(), first.expires), ("004217", Tick(300_000)));
        // Asking again neither changes nor prolongs it.
        assert_eq!(codes.issue(Tick(9), &a, CODE_DIGITS, CODE_LIFE, 5, &mut out), Ok(first));
        let other = codes.issue(Tick(10), &b, CODE_DIGITS, CODE_LIFE, 4_217, &mut out).unwrap();
        assert_ne!(other.code, first.code);
        assert_eq!(codes.lookup(Tick(299_999), first.code), Some(&a));
        assert_eq!(codes.lookup(Tick(300_000), first.code), None);

        let extended = codes.extend(Tick(299_999), &a, CODE_LIFE).unwrap();
        assert_eq!((extended.code, extended.expires), (first.code, Tick(599_999)));
        assert_eq!(codes.extend(Tick(300_000), &a, Duration::from_secs(1)), Some(extended), "never shorter");
        assert_eq!(
            (codes.of(Tick(300_000), &a), codes.of(Tick(300_000), &visitor(3))),
            (Some(extended), None)
        );
        assert_eq!(codes.next_deadline(), Some(other.expires));
        codes.on_deadline(other.expires, &mut out);
        assert_eq!(out, [Expired { visitor: b.clone(), code: other.code }]);
        assert_eq!(codes.extend(other.expires, &b, CODE_LIFE), None);

        codes.forget(&a);
        assert_eq!((codes.lookup(Tick(0), first.code), codes.next_deadline()), (None, None));
    }

    #[test]
    fn a_tenth_of_all_codes_may_be_live() {
        let (mut codes, mut out) = (Codes::default(), Vec::new());
        for n in 0..1_000 {
            codes.issue(Tick(0), &visitor(n), 4, CODE_LIFE, 7, &mut out).unwrap();
        }
        assert_eq!(
            codes.issue(Tick(0), &visitor(1_000), 4, CODE_LIFE, 7, &mut out),
            Err(CodesFull { live: 1_000 })
        );
        assert!(codes.issue(Tick(0).after(CODE_LIFE), &visitor(1_000), 4, CODE_LIFE, 7, &mut out).is_ok());
        assert_eq!(out.len(), 1_000);
    }

    proptest! {
        #[test]
        fn a_code_names_one_visitor_and_a_visitor_has_one_code(
            steps in prop::collection::vec((0u8..4, 0u128..6, 0u64..8, 0u64..400), 1..80)
        ) {
            let (mut codes, life) = (Codes::default(), Duration::from_millis(1_000));
            let mut now = Tick(0);
            let mut out = Vec::new();
            for (what, n, chance, wait) in steps {
                let visitor = visitor(n);
                match what {
                    0 => {
                        let issued = codes.issue(now, &visitor, 4, life, chance, &mut out).unwrap();
                        prop_assert_eq!(codes.lookup(now, issued.code), Some(&visitor));
                    }
                    1 => { codes.extend(now, &visitor, life * u32::try_from(chance).unwrap()); }
                    2 => codes.forget(&visitor),
                    _ => {
                        now = Tick(now.0 + wait);
                        codes.on_deadline(now, &mut out);
                        prop_assert!(codes.next_deadline().is_none_or(|end| end > now));
                    }
                }
                prop_assert_eq!(codes.visitors.len(), codes.issued.len());
                prop_assert_eq!(codes.visitors.len(), codes.by_end.len());
                for (visitor, issued) in &codes.issued {
                    prop_assert_eq!(codes.visitors.get(&issued.code), Some(visitor));
                    prop_assert!(codes.by_end.contains(&(issued.expires, issued.code)));
                }
            }
        }
    }
}
