//! `porchlight verify-receipts`: whether a file of consent receipts is whole. Needs no server.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::{Failure, secret};
use crate::auth::signing::PublicKey;
use crate::limits;
use crate::model::receipt::{Flaw, Verified, Verifier};

/// Verifies a file of consent receipts: every signature, every link of the chain, and the signed end. Exit
/// codes: 0 whole, 1 broken, with the line and why, 2 wrong arguments, or a file that can't be read.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The file, as `porchlight admin export-consent-receipts` writes it; `-` for standard input.
    file: PathBuf,
    /// The group's public key, as `porchlight admin receipt-key` tells it; may be repeated when the server
    /// has had other master secrets.
    #[arg(long, required_unless_present = "key_file")]
    key: Vec<String>,
    /// A file with such keys, one a line.
    #[arg(long, value_name = "FILE")]
    key_file: Vec<PathBuf>,
}

impl VerifyArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let keys = self.keys().map_err(Failure::Settings)?;
        let verified = verify(open(&self.file).map_err(Failure::Settings)?, &keys)
            .with_context(|| cannot_read(&self.file))
            .map_err(Failure::Settings)?
            .map_err(|flaw| Failure::Failed(anyhow!(flaw).context(secret::name(&self.file))))?;
        let receipts = if verified.count == 1 { "receipt" } else { "receipts" };
        println!(
            "{} {receipts} of the group {}, complete as of {}: nothing was changed, removed or added",
            verified.count, verified.group, verified.at
        );
        if let Some((count, at)) = verified.let_go {
            println!(
                "begins with number {}: those before were let go of by the server, on {at} at the latest",
                count + 1
            );
        }
        Ok(())
    }

    fn keys(&self) -> anyhow::Result<Vec<PublicKey>> {
        let mut keys: Vec<PublicKey> = self.key.iter().map(|text| key(text)).collect::<Result<_, _>>()?;
        for file in &self.key_file {
            let mut text = Vec::new();
            open(file)?.read_to_end(&mut text).with_context(|| cannot_read(file))?;
            let text = std::str::from_utf8(&text).map_err(|_| anyhow!("{} holds no key", file.display()))?;
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            let found = lines.map(key).collect::<Result<Vec<_>, _>>();
            keys.extend(found.with_context(|| secret::name(file))?);
        }
        if keys.is_empty() {
            return Err(anyhow!("no key was given"));
        }
        Ok(keys)
    }
}

fn key(text: &str) -> anyhow::Result<PublicKey> {
    PublicKey::parse(text).with_context(|| format!("{text:?} is no public key: 43 characters of base64url"))
}

/// Verifies a file without holding more than one line of it.
fn verify(mut file: impl BufRead, keys: &[PublicKey]) -> io::Result<Result<Verified, Flaw>> {
    let (mut verifier, mut line) = (Verifier::new(keys), Vec::new());
    loop {
        line.clear();
        // With its line feed a line of the greatest length fits; without one it is too long, or the last.
        file.by_ref().take(limits::RECEIPT_LINE as u64 + 1).read_until(b'\n', &mut line)?;
        match line.split_last() {
            Some((b'\n', whole)) => {
                if let Err(flaw) = verifier.line(whole) {
                    return Ok(Err(flaw));
                }
            }
            _ => return Ok(verifier.finish(&line)),
        }
    }
}

fn open(file: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let opened = File::open(file).with_context(|| cannot_read(file))?;
    Ok(Box::new(BufReader::new(opened)))
}

fn cannot_read(file: &Path) -> String {
    if file == Path::new("-") {
        "can't read standard input".to_owned()
    } else {
        format!("can't read {}", file.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::signing::SigningKey;
    use crate::clock::Wall;
    use crate::ids::{GroupId, ReceiptId, RequestId, SessionId, VisitorId};
    use crate::model::receipt::{self, Consent, Link, Why};
    use crate::wire::visitor::SessionKind;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    fn key() -> SigningKey {
        SigningKey::from_seed(&[5; 32])
    }

    fn file(count: u64) -> Vec<u8> {
        let (mut file, mut link, key) = (Vec::new(), Link::first(), key());
        let group = GroupId::new("g").unwrap();
        for number in 1..=count {
            let id = u128::from(number);
            let consent = Consent {
                id: ReceiptId::from_u128(id),
                group: group.clone(),
                session: SessionId::from_u128(id),
                request: RequestId::from_u128(id),
                visitor: Some(VisitorId::new("C-1").unwrap()),
                guest: None,
                connection: "c1".into(),
                asked_by: "Zoë".into(),
                agents: Vec::new(),
                kind: SessionKind::Screen,
                control: false,
                terms_version: "v1".into(),
                terms_hash: String::new(),
                displayed_at: None,
                accepted_at: Wall(number),
            };
            let sealed = consent.seal(&link, &key);
            link = Link::behind(number, &sealed.line);
            file.extend_from_slice(sealed.line.as_bytes());
            file.push(b'\n');
        }
        file.extend_from_slice(receipt::head(&group, &link, Wall(9), &key).as_bytes());
        file.push(b'\n');
        file
    }

    fn read(file: &[u8], keys: &[PublicKey]) -> Result<Verified, Flaw> {
        // Small reads, so that lines lie across them.
        verify(BufReader::with_capacity(700, file), keys).expect("memory can be read")
    }

    /// A file, and how many of its bytes were asked for.
    struct Asked<'a>(&'a [u8], usize);

    impl io::Read for Asked<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read(into)?;
            self.1 += read;
            Ok(read)
        }
    }

    static SMALL: LazyLock<Vec<u8>> = LazyLock::new(|| file(4));

    proptest! {
        #[test]
        fn a_file_that_is_read_by_lines_is_judged_as_a_whole_one(
            at in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(), bit in 0u8..8, how in 0..5,
        ) {
            let keys = [key().public()];
            let mut broken = SMALL.clone();
            let mut lines: Vec<&[u8]> = SMALL.split_inclusive(|byte| *byte == b'\n').collect();
            let (from, to) = (at.index(lines.len()), to.index(lines.len()));
            match how {
                0 => { let at = at.index(broken.len()); broken[at] ^= 1 << bit; }
                1 => { broken.truncate(at.index(broken.len())); }
                2 => { lines.swap(from, to); broken = lines.concat(); }
                3 => { lines.remove(from); broken = lines.concat(); }
                _ => { lines.insert(to, lines[from]); broken = lines.concat(); }
            }
            let verdict = read(&broken, &keys);
            prop_assert_eq!(&verdict, &receipt::verify(&broken, &keys));
            prop_assert_eq!(verdict.is_ok(), broken == *SMALL);
        }
    }

    #[test]
    fn a_long_file_is_verified_and_any_flaw_in_it_is_found() {
        let (count, keys) = (20_000, [key().public()]);
        let whole = file(count);
        let verified = read(&whole, &keys).unwrap();
        assert_eq!((verified.count, verified.at), (count, Wall(9)));
        let ends: Vec<usize> =
            whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
        let line = |number: usize| ends[number - 1] + 1..ends[number] + 1;
        let flaw = |file: &[u8]| read(file, &keys).unwrap_err();

        // From the first line to the last, which is where a whole file has to be read.
        let mut broken = whole.clone();
        for (at, bit) in [(3, 0), (ends[9_999] + 400, 3), (whole.len() - 50, 6)] {
            broken[at] ^= 1 << bit;
            let line = ends.partition_point(|end| *end < at) + 1;
            assert_eq!(flaw(&broken).line, line, "bit {bit} of byte {at}");
            broken[at] ^= 1 << bit;
        }
        let torn = Flaw { line: 5_001, why: Why::NoHead };
        assert_eq!(flaw(&whole[..ends[5_000] - 7]), torn, "its tail is cut off");
        let (one, other) = (line(3_000), line(3_001));
        let swapped =
            [&whole[..one.start], &whole[other.clone()], &whole[one.clone()], &whole[other.end..]].concat();
        assert_eq!(flaw(&swapped), Flaw { line: 3_001, why: Why::Number { expected: 3_001, actual: 3_002 } });
        let removed = [&whole[..one.start], &whole[one.end..]].concat();
        assert_eq!(flaw(&removed), Flaw { line: 3_001, why: Why::Number { expected: 3_001, actual: 3_002 } });
        let doubled = [&whole[..one.end], &whole[one.start..]].concat();
        assert_eq!(flaw(&doubled), Flaw { line: 3_002, why: Why::Number { expected: 3_002, actual: 3_001 } });
        let foreign = SigningKey::from_seed(&[6; 32]).public();
        assert_eq!(
            read(&whole, &[foreign]).unwrap_err(),
            Flaw { line: 1, why: Why::Key(key().public().id()) }
        );
        assert_eq!(flaw(b""), Flaw { line: 1, why: Why::NoHead });
    }

    #[test]
    fn no_more_than_a_line_is_held() {
        let endless = vec![b'x'; 8 * limits::RECEIPT_LINE];
        let mut asked = Asked(&endless, 0);
        let verdict = verify(BufReader::with_capacity(4096, &mut asked), &[key().public()]).unwrap();
        assert_eq!(verdict, Err(Flaw { line: 1, why: Why::Malformed }));
        assert!(asked.1 <= limits::RECEIPT_LINE + 2 * 4096, "{} bytes were read", asked.1);
    }
}
