//! Every message of every client of a test, in order, for whoever reads why it failed.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

/// Lines that are printed; a flood says nothing more at its beginning.
const SHOWN: usize = 300;

/// Longest part of a message that is kept.
const LINE: usize = 400;

/// The transcript of a test. A clone is the same one.
#[derive(Clone)]
pub struct Transcript {
    begun: Instant,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Transcript {
    pub fn new() -> Self {
        Self { begun: Instant::now(), lines: Arc::default() }
    }

    pub fn note(&self, who: &str, what: impl Display) {
        let mut line = format!("{:>6} ms  {who}  {what}", self.begun.elapsed().as_millis());
        if line.len() > LINE {
            line.truncate(line.floor_char_boundary(LINE));
            line.push('…');
        }
        self.lines.lock().push(line);
    }

    /// Fails the test with everything that was said.
    pub fn fail(&self, why: impl Display) -> ! {
        let lines = self.lines.lock();
        let from = lines.len().saturating_sub(SHOWN);
        panic!("{why}\n── transcript ──\n{}\n────────────────", lines[from..].join("\n"));
    }
}
