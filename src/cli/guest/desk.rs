//! The guest's terminal: what is told to the person in front of it, and what that person types.
//!
//! Decides how a question is asked and what counts as yes. Does not decide what is asked. Where nobody types, because what
//! is read has ended, no question has a yes.

use std::io::BufRead as _;

use tokio::sync::mpsc;

/// Lines read ahead: what somebody types while the program is busy.
const LINES: usize = 16;

/// The terminal.
pub struct Desk {
    lines: mpsc::Receiver<String>,
    say: Box<dyn Fn(&str) + Send>,
    is_over: bool,
}

impl Desk {
    /// A terminal of these lines, which tells what it is told to `say`.
    pub fn new(lines: mpsc::Receiver<String>, say: impl Fn(&str) + Send + 'static) -> Self {
        Self { lines, say: Box::new(say), is_over: false }
    }

    /// Standard input and output.
    pub(super) fn standard() -> std::io::Result<Self> {
        let (sender, lines) = mpsc::channel(LINES);
        // Reading cannot be ended from outside; the thread ends with the process.
        std::thread::Builder::new().name("terminal".into()).spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self::new(lines, |text| println!("{text}")))
    }

    /// Tells something.
    pub(super) fn say(&self, text: impl AsRef<str>) {
        (self.say)(text.as_ref());
    }

    /// Whether anybody may still type.
    pub(super) fn is_manned(&self) -> bool {
        !self.is_over
    }

    /// The next line; waits for ever when there will be none.
    pub(super) async fn line(&mut self) -> String {
        if !self.is_over {
            match self.lines.recv().await {
                Some(line) => return line.trim().to_owned(),
                None => self.is_over = true,
            }
        }
        std::future::pending().await
    }

    /// Asks for one line; none when there will be none.
    pub(super) async fn ask(&mut self, question: &str) -> Option<String> {
        self.say(question);
        let line = if self.is_over { None } else { self.lines.recv().await };
        self.is_over |= line.is_none();
        line.map(|line| line.trim().to_owned())
    }

    /// Asks for a yes.
    pub(super) async fn agrees(&mut self, question: &str) -> bool {
        self.ask(&format!("{question} [yes/no]")).await.is_some_and(|line| is_yes(&line))
    }
}

/// Whether somebody said yes.
pub(super) fn is_yes(line: &str) -> bool {
    matches!(line.to_lowercase().as_str(), "y" | "yes")
}
