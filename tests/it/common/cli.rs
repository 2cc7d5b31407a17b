//! The command line as people use it: how the real binary is run, by whom, and what it answers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::{Site, Value, within};

pub const BINARY: &str = env!("CARGO_BIN_EXE_porchlight");

/// What a command came to.
#[derive(Debug)]
pub struct Told {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Told {
    #[track_caller]
    pub fn good(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// It ended with this code and said this.
    #[track_caller]
    pub fn refused(self, code: i32, said: &str) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(said), "{said} in {self:?}");
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.out.contains(text), "{text} in {self:?}");
        self
    }

    /// The lines as JSON.
    pub fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn line(&self) -> Value {
        let [line] = &self.lines()[..] else { panic!("{self:?}") };
        line.clone()
    }
}

/// A shell's user, somewhere no trial has left its file.
pub struct User {
    dir: tempfile::TempDir,
    /// Where the server is thought to be.
    pub addr: SocketAddr,
    key: String,
}

impl User {
    pub fn operator(site: &Site) -> Self {
        Self::with_key(site, &site.running.demo.as_ref().unwrap().admin_key)
    }

    pub fn with_key(site: &Site, key: &str) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), addr: site.running.admin, key: key.to_owned() }
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(BINARY);
        self.prepare(&mut command);
        command.arg("admin").args(line.split_whitespace());
        command
    }

    pub fn prepare(&self, command: &mut Command) {
        command.current_dir(self.dir.path());
        command.env("PORCHLIGHT_ADMIN_KEY", &self.key).env("PORCHLIGHT_ADMIN_ADDR", self.addr.to_string());
        command.env_remove("PORCHLIGHT_ADMIN_KEY_FILE");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    }

    /// Runs `porchlight admin …`; words are split at spaces.
    pub async fn run(&self, line: &str) -> Told {
        self.run_with(line, "").await
    }

    pub async fn run_with(&self, line: &str, input: &str) -> Told {
        told(self.command(line), input).await
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

pub async fn told(mut command: Command, input: &str) -> Told {
    let input = input.to_owned();
    let run = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        // A command that is refused early does not read what it is given.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    });
    let output = within("the end of a command", run).await.unwrap();
    Told {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A command that goes on until it is stopped.
pub struct Watching(Child, Option<BufReader<ChildStdout>>);

impl Watching {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self(child, Some(out))
    }

    pub async fn line(&mut self) -> String {
        let mut out = self.1.take().unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            (line, out)
        });
        let (line, out) = within("a line", read).await.unwrap();
        self.1 = Some(out);
        line
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
