//! Secrets from files and standard input: an argument is seen by every user of the machine.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};

/// Reads a secret from a file, or from standard input for `-`. The line's end is no part of it.
pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("can't read standard input")?;
    } else {
        text = fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
    }
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        bail!("{} holds no secret", name(file));
    }
    Ok(secret.to_owned())
}

/// A file as people know it.
pub(super) fn name(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() }
}

/// A new file that only its owner can read, made before the secret is asked for: a secret that is told once
/// must not be lost because there is nowhere to put it.
#[derive(Debug)]
pub(super) struct SecretFile<'a> {
    path: &'a Path,
    file: fs::File,
}

impl<'a> SecretFile<'a> {
    /// Makes the file; one that exists is left alone.
    pub(super) fn create(path: &'a Path) -> anyhow::Result<Self> {
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = made.with_context(|| format!("can't make {}", path.display()))?;
        Ok(Self { path, file })
    }

    /// Writes the secret.
    pub(super) fn write(mut self, secret: &str) -> anyhow::Result<()> {
        let written = writeln!(self.file, "{secret}").and_then(|()| self.file.sync_all());
        written.with_context(|| format!("can't write {}", self.path.display()))
    }

    /// Takes the empty file away again: there is no secret to keep.
    pub(super) fn discard(self) {
        let _ = fs::remove_file(self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_end_of_the_line_is_no_part_of_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        for (text, wanted) in
            [("abc", Some("abc")), ("abc\r\n", Some("abc")), (" a b \n", Some(" a b ")), ("\n", None)]
        {
            fs::write(&file, text).unwrap();
            assert_eq!(read(&file).ok().as_deref(), wanted, "{text:?}");
        }
        assert!(read(&dir.path().join("missing")).is_err());
    }

    #[test]
    fn a_secret_file_is_its_owners_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        SecretFile::create(&path).unwrap().write("abc").unwrap();
        assert_eq!(read(&path).unwrap(), "abc");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(SecretFile::create(&path).is_err());
        let other = dir.path().join("other");
        SecretFile::create(&other).unwrap().discard();
        assert!(!other.exists());
    }
}
