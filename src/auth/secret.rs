//! The server's master secret, the root of every key that it derives.
//!
//! Decides how keys are derived and how the secret is kept. Does not decide what a key is for: the
//! callers' labels do. Who holds the secret can mint every credential of every group; changing it
//! revokes them all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::hkdf;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::zeroize::Zeroize as _;
use secrecy::{ExposeSecret as _, SecretBox};

/// Bytes of the master secret.
const SIZE: usize = 32;

/// Fixes the version of the derivation: another salt is another key tree.
const SALT: &[u8] = b"porchlight/1";

/// 32 bytes that only this server knows. Cheap to clone, wiped from memory with its last clone.
#[derive(Clone)]
pub struct MasterSecret(Arc<SecretBox<[u8; SIZE]>>);

/// Why there is no master secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The text is neither form, or of another length.
    #[error("master secret must be 32 bytes, as 64 hexadecimal digits or as base64")]
    Malformed,
    /// Others on this machine may read it.
    #[error("master secret {path} may be read by others (mode {mode:03o}); make it 600")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file can be neither read nor written.
    #[error("master secret {path} is out of reach")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl MasterSecret {
    /// Takes these bytes as the secret.
    pub fn from_bytes(mut bytes: [u8; SIZE]) -> Self {
        let secret = SecretBox::new(Box::new(bytes));
        bytes.zeroize();
        Self(Arc::new(secret))
    }

    /// A fresh one.
    pub fn fresh() -> Self {
        Self::from_bytes(super::random::bytes())
    }

    /// Reads 64 hexadecimal digits, or base64 of either alphabet with or without padding. White space
    /// around it is passed over, because files end in a line feed.
    pub fn from_text(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        let mut bytes =
            if text.len() == 2 * SIZE { hex(text) } else { base64(text) }.ok_or(SecretError::Malformed)?;
        let fixed = <[u8; SIZE]>::try_from(bytes.as_slice()).map_err(|_| SecretError::Malformed);
        bytes.zeroize();
        fixed.map(Self::from_bytes)
    }

    /// Reads the file, or creates it (mode 600, on disk before this returns) with a fresh secret. Of two
    /// processes that create it at once, both end up with the same secret.
    pub fn load_or_create(path: &Path) -> Result<Self, SecretError> {
        let wrap = |source| SecretError::Io { path: path.to_owned(), source };
        match fs::metadata(path) {
            Ok(meta) => {
                let mode = meta.permissions().mode() & 0o777;
                if mode & 0o077 != 0 {
                    return Err(SecretError::Exposed { path: path.to_owned(), mode });
                }
                let mut text = fs::read_to_string(path).map_err(wrap)?;
                let secret = Self::from_text(&text);
                text.zeroize();
                secret
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create(path).map_err(wrap)?;
                Self::load_or_create(path)
            }
            Err(error) => Err(wrap(error)),
        }
    }

    /// A key for one purpose (`label`) and one subject (`context`), by HKDF-SHA256.
    ///
    /// Each part is preceded by its length, so that no two different lists of parts give the same key.
    pub fn derive(&self, label: &str, context: &[&str]) -> [u8; 32] {
        let mut info = Vec::with_capacity(128);
        for part in std::iter::once(&label).chain(context) {
            info.extend_from_slice(&(part.len() as u64).to_be_bytes());
            info.extend_from_slice(part.as_bytes());
        }
        let mut key = [0; 32];
        hkdf::Salt::new(hkdf::HKDF_SHA256, SALT)
            .extract(self.0.expose_secret())
            .expand(&[&info], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut key))
            .expect("one hash length can always be expanded");
        key
    }
}

impl std::fmt::Debug for MasterSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterSecret(hidden)")
    }
}

/// Writes a fresh secret beside the path and links it there complete; an existing file is left alone.
fn create(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:032x}", super::random::u128()));
    let draft = folder.join(name);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let mut bytes = super::random::bytes::<SIZE>();
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.push('\n');
    bytes.zeroize();
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    text.zeroize();
    let linked = written.and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    fs::remove_file(&draft)?;
    linked?;
    File::open(folder)?.sync_all()
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text = text.replace('-', "+").replace('_', "/");
    GeneralPurpose::new(&alphabet::STANDARD, lenient).decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed() -> MasterSecret {
        MasterSecret::from_bytes([7; 32])
    }

    #[test]
    fn every_spelling_gives_the_same_secret() {
        let bytes = [0xfb; 32];
        let standard = base64::engine::general_purpose::STANDARD.encode(bytes);
        let url = super::super::base64url(&bytes);
        assert!(standard.contains('+') && url.contains('-'));
        let wanted = MasterSecret::from_bytes(bytes).derive("x", &[]);
        for text in ["fb".repeat(32), "FB".repeat(32), standard, url.clone(), format!(" {url}\n")] {
            assert_eq!(MasterSecret::from_text(&text).unwrap().derive("x", &[]), wanted, "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "short", &"f".repeat(63), &"+f".repeat(32), &"zz".repeat(32), &"A".repeat(86)] {
            assert!(matches!(MasterSecret::from_text(text), Err(SecretError::Malformed)), "{text}");
        }
    }

    #[test]
    fn parts_cannot_be_shifted_into_each_other() {
        let secret = fixed();
        let keys = [
            secret.derive("ab", &["c"]),
            secret.derive("a", &["bc"]),
            secret.derive("abc", &[]),
            secret.derive("ab", &["", "c"]),
            secret.derive("ab", &["c", ""]),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{at}");
        }
    }

    #[test]
    fn derivation_is_pinned() {
        assert_eq!(
            super::super::base64url(&fixed().derive("pin", &["group", "id"])),
            "LQ61CV31VvI2Z8-1qPeqj7PT_ZN1pIaUo5XCXHBU_Mg",
            "another derivation would revoke every credential in the field"
        );
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", fixed()), "MasterSecret(hidden)");
    }

    #[test]
    fn the_file_is_created_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/master.key");
        let first = MasterSecret::load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = MasterSecret::load_or_create(&path).unwrap();
        assert_eq!(first.derive("x", &[]), again.derive("x", &[]));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn an_exposed_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        MasterSecret::load_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(MasterSecret::load_or_create(&path), Err(SecretError::Exposed { mode: 0o644, .. })));
    }

    #[test]
    fn a_damaged_file_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        file.write_all(b"half a sec").unwrap();
        assert!(matches!(MasterSecret::load_or_create(&path), Err(SecretError::Malformed)));
        assert_eq!(fs::read(&path).unwrap(), b"half a sec");
    }
}
