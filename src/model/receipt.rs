//! Consent receipts: what a visitor accepted, signed, and chained to the group's receipt before it.
//!
//! Decides what a receipt says, its bytes, and whether a file of them is whole. Does not decide when one is
//! made (the hub, at each acceptance) or where it is kept (the store). The form is described for others in
//! `docs/receipts.md`; verifying needs a file and a public key, no server.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::auth::signing::{PublicKey, SIGNATURE_TEXT, SigningKey, hex, sha256};
use crate::clock::Wall;
use crate::ids::{AgentId, GroupId, ParticipantId, ReceiptId, RequestId, SessionId, VisitorId};
use crate::limits;
use crate::wire::visitor::{SessionKind, TermsShown};

/// The version of the form.
const VERSION: u32 = 1;
/// The version of a receipt of a guest's consent: it names no visitor, and who knows version 1 alone says so.
const OF_GUEST: u32 = 2;

const RECEIPT: &str = "{\"receipt\":";
const HEAD: &str = "{\"head\":";
const START: &str = "{\"start\":";
const MIDDLE: &str = ",\"signature\":\"";
const END: &str = "\"}";

/// What a visitor accepted. The order of the fields is the order in a receipt's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consent {
    /// The receipt's id.
    pub id: ReceiptId,
    /// The group.
    pub group: GroupId,
    /// The session that was consented to.
    pub session: SessionId,
    /// The question that was answered.
    pub request: RequestId,
    /// Who accepted, where it is a visitor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visitor: Option<VisitorId>,
    /// Who accepted, where it is a guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<ConsentingGuest>,
    /// From which connection.
    pub connection: String,
    /// Who asked, as the visitor was told.
    pub asked_by: Arc<str>,
    /// The agents that were asking.
    pub agents: Vec<AgentId>,
    /// What may be shared.
    pub kind: SessionKind,
    /// Whether the agents may ask for control.
    pub control: bool,
    /// The version of the terms.
    pub terms_version: Arc<str>,
    /// [`terms_hash`] of the terms as shown.
    pub terms_hash: String,
    /// When they were on the screen, if the page told.
    pub displayed_at: Option<Wall>,
    /// When they were accepted.
    pub accepted_at: Wall,
}

/// A guest who accepted. It has no name but the one that it told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsentingGuest {
    /// Who it is in the session.
    pub participant: ParticipantId,
    /// How it calls itself.
    pub name: Arc<str>,
}

/// A receipt as it is signed: a consent in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The version of the form.
    pub v: u32,
    /// Its place in the group's chain, from 1.
    pub number: u64,
    /// SHA-256 of the line before it, in hexadecimal; zeros before the first.
    pub previous: String,
    /// The id of the key that signs.
    pub key: String,
    /// What was accepted.
    pub consent: Consent,
}

/// What stands at the end of a file, so that lines missing there are missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// The version of the form.
    pub v: u32,
    /// Whose chain.
    pub group: GroupId,
    /// How many receipts there were, and so the number of the last.
    pub count: u64,
    /// SHA-256 of the last receipt's line, in hexadecimal; zeros when there was none.
    pub last: String,
    /// As of when.
    pub at: Wall,
    /// The id of the key that signs.
    pub key: String,
}

/// What stands at the beginning of a file whose oldest receipts the server let go of, so that they are known
/// from receipts that somebody removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// The version of the form.
    pub v: u32,
    /// Whose chain.
    pub group: GroupId,
    /// The number of the last receipt that was let go of.
    pub count: u64,
    /// SHA-256 of its line, in hexadecimal.
    pub last: String,
    /// When it was let go of.
    pub at: Wall,
    /// The id of the key that signs.
    pub key: String,
}

/// Where the next receipt of a chain goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub number: u64,
    /// The hash of the line before it.
    pub previous: String,
}

impl Link {
    /// The link of a group's first receipt.
    pub fn first() -> Self {
        Self { number: 1, previous: hex(&[0; 32]) }
    }

    /// The link behind a line.
    pub fn behind(number: u64, line: &str) -> Self {
        Self { number: number + 1, previous: hex(&sha256(line.as_bytes())) }
    }
}

/// A receipt as it is kept and handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Its id.
    pub id: ReceiptId,
    /// Its place in the chain.
    pub number: u64,
    /// The session it is about.
    pub session: SessionId,
    /// When it was accepted.
    pub at: Wall,
    /// Its text, without a line feed.
    pub line: String,
}

impl Consent {
    /// Signs it for its place in the chain.
    pub fn seal(&self, link: &Link, key: &SigningKey) -> Sealed {
        let receipt = Receipt {
            v: if self.guest.is_some() { OF_GUEST } else { VERSION },
            number: link.number,
            previous: link.previous.clone(),
            key: key.public().id(),
            consent: self.clone(),
        };
        let line = signed(RECEIPT, &receipt, key);
        Sealed { id: self.id, number: link.number, session: self.session, at: self.accepted_at, line }
    }
}

/// The line that ends a file of the receipts before `next`.
pub fn head(group: &GroupId, next: &Link, at: Wall, key: &SigningKey) -> String {
    let head = Head {
        v: VERSION,
        group: group.clone(),
        count: next.number - 1,
        last: next.previous.clone(),
        at,
        key: key.public().id(),
    };
    signed(HEAD, &head, key)
}

/// The line that begins a file of the receipts from `next` on, when those before were let go of.
pub fn start(group: &GroupId, next: &Link, at: Wall, key: &SigningKey) -> String {
    let start = Start {
        v: VERSION,
        group: group.clone(),
        count: next.number - 1,
        last: next.previous.clone(),
        at,
        key: key.public().id(),
    };
    signed(START, &start, key)
}

fn signed<T: Serialize>(opening: &str, what: &T, key: &SigningKey) -> String {
    let text = serde_json::to_string(what).expect("names, numbers and texts have a JSON form");
    let signature = key.sign(format!("{opening}{text}").as_bytes());
    format!("{opening}{text}{MIDDLE}{signature}{END}")
}

/// The hash by which a receipt names the terms: SHA-256, in hexadecimal, of
/// `{"version":…,"text":…,"url":…}` as JSON without spaces, with null for what there is not.
pub fn terms_hash(terms: &TermsShown) -> String {
    #[derive(Serialize)]
    struct Terms<'a> {
        version: &'a str,
        text: Option<&'a str>,
        url: Option<&'a str>,
    }
    let terms = Terms { version: &terms.version, text: terms.text.as_deref(), url: terms.url.as_deref() };
    hex(&sha256(&serde_json::to_vec(&terms).expect("texts have a JSON form")))
}

/// What is wrong with a file of receipts, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Flaw {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub why: Why,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Not a line of this form.
    #[error("is neither a receipt nor the end of a file of receipts")]
    Malformed,
    /// Written by a newer server.
    #[error("is of version {0}, of which this program knows nothing")]
    Version(u32),
    /// No such key was given.
    #[error("is signed with the key {0}, which was not given")]
    Key(String),
    /// The text is not what was signed.
    #[error("was changed, or was not signed by this key")]
    Signature,
    /// Lines are missing, were added or stand elsewhere.
    #[error("has the number {actual} where {expected} belongs")]
    Number {
        /// The place it stands in.
        expected: u64,
        /// The place it was made for.
        actual: u64,
    },
    /// The line before it is not the one that stood there.
    #[error("does not follow the line before it")]
    Chain,
    /// Another group's.
    #[error("belongs to the group {0}")]
    Group(GroupId),
    /// The signed end is missing: lines before it may be as well.
    #[error("the signed end of the file is missing")]
    NoHead,
    /// Something stands behind the end.
    #[error("stands behind the end of the file")]
    AfterHead,
    /// The end was signed before the receipts at the beginning were let go of: it is another file's.
    #[error("ends the file as of {0}, before the receipts at its beginning were let go of")]
    Older(Wall),
}

/// A file that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Whose receipts.
    pub group: GroupId,
    /// How many the file holds.
    pub count: u64,
    /// As of when the file is complete.
    pub at: Wall,
    /// How many the server let go of before, and when it did so last.
    pub let_go: Option<(u64, Wall)>,
}

/// Verifies one receipt by itself. That none is missing around it only a whole file shows.
pub fn verify_line(line: &str, keys: &[PublicKey]) -> Result<Receipt, Why> {
    verified(RECEIPT, line, keys)
}

/// Verifies a file line by line, so that it need not fit into memory: receipts from the group's first on, or from
/// the signed statement of which were let go of, and the signed end. Any line that was changed, removed, added or moved is found. What it cannot tell is whether
/// there were later receipts: it is complete as of [`Verified::at`].
#[derive(Debug)]
pub struct Verifier<'k> {
    keys: &'k [PublicKey],
    /// Lines that were taken.
    lines: usize,
    link: Link,
    group: Option<GroupId>,
    let_go: Option<(u64, Wall)>,
    end: Option<Verified>,
}

impl<'k> Verifier<'k> {
    /// Begins with a file's first line.
    pub fn new(keys: &'k [PublicKey]) -> Self {
        Self { keys, lines: 0, link: Link::first(), group: None, let_go: None, end: None }
    }

    /// Takes the next line, without its line feed. After a flaw the file is not whole, whatever follows.
    pub fn line(&mut self, line: &[u8]) -> Result<(), Flaw> {
        self.take(line).map_err(|why| Flaw { line: self.lines + 1, why })?;
        self.lines += 1;
        Ok(())
    }

    /// The end of the file; a whole one has nothing behind its last line feed.
    pub fn finish(mut self, rest: &[u8]) -> Result<Verified, Flaw> {
        if (self.end.is_some() && !rest.is_empty()) || rest.len() > limits::RECEIPT_LINE {
            self.line(rest)?;
        }
        self.end.ok_or(Flaw { line: self.lines + 1, why: Why::NoHead })
    }

    fn take(&mut self, line: &[u8]) -> Result<(), Why> {
        if self.end.is_some() {
            return Err(Why::AfterHead);
        }
        if line.len() > limits::RECEIPT_LINE {
            return Err(Why::Malformed);
        }
        let line = std::str::from_utf8(line).map_err(|_| Why::Malformed)?;
        if line.starts_with(HEAD) {
            let head: Head = verified(HEAD, line, self.keys)?;
            self.same_group(&head.group)?;
            if head.count != self.link.number - 1 {
                return Err(Why::Number { expected: self.link.number - 1, actual: head.count });
            }
            if head.last != self.link.previous {
                return Err(Why::Chain);
            }
            if self.let_go.is_some_and(|(_, at)| at > head.at) {
                return Err(Why::Older(head.at));
            }
            let count = head.count - self.let_go.map_or(0, |(count, _)| count);
            self.end = Some(Verified { group: head.group, count, at: head.at, let_go: self.let_go });
            return Ok(());
        }
        if self.lines == 0 && line.starts_with(START) {
            let start: Start = verified(START, line, self.keys)?;
            self.link =
                Link { number: start.count.checked_add(1).ok_or(Why::Malformed)?, previous: start.last };
            self.let_go = Some((start.count, start.at));
            self.group = Some(start.group);
            return Ok(());
        }
        let receipt = verify_line(line, self.keys)?;
        self.same_group(&receipt.consent.group)?;
        if receipt.number != self.link.number {
            return Err(Why::Number { expected: self.link.number, actual: receipt.number });
        }
        if receipt.previous != self.link.previous {
            return Err(Why::Chain);
        }
        self.link = Link::behind(receipt.number, line);
        self.group = Some(receipt.consent.group);
        Ok(())
    }

    fn same_group(&self, named: &GroupId) -> Result<(), Why> {
        match &self.group {
            Some(group) if group != named => Err(Why::Group(named.clone())),
            _ => Ok(()),
        }
    }
}

/// Verifies a file that is in memory, as [`Verifier`] does.
pub fn verify(file: &[u8], keys: &[PublicKey]) -> Result<Verified, Flaw> {
    let mut verifier = Verifier::new(keys);
    let mut lines = file.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        if lines.peek().is_none() {
            return verifier.finish(line);
        }
        verifier.line(line)?;
    }
    verifier.finish(&[])
}

/// What says by which version of the form and with which key it is signed.
trait Signed: for<'a> Deserialize<'a> {
    fn signed(&self) -> (u32, &str);
}

impl Signed for Receipt {
    fn signed(&self) -> (u32, &str) {
        (self.v, &self.key)
    }
}

impl Signed for Head {
    fn signed(&self) -> (u32, &str) {
        (self.v, &self.key)
    }
}

impl Signed for Start {
    fn signed(&self) -> (u32, &str) {
        (self.v, &self.key)
    }
}

/// Reads a line and verifies its signature.
fn verified<T: Signed>(opening: &str, line: &str, keys: &[PublicKey]) -> Result<T, Why> {
    let (what, signature) = open::<T>(opening, line)?;
    let (version, key) = what.signed();
    check(version, key, line, signature, keys)?;
    Ok(what)
}

/// Takes a line apart: what was signed, read, and the signature.
fn open<'a, T: Deserialize<'a>>(opening: &str, line: &'a str) -> Result<(T, &'a str), Why> {
    let rest = line.strip_prefix(opening).and_then(|rest| rest.strip_suffix(END)).ok_or(Why::Malformed)?;
    let cut = rest.len().checked_sub(SIGNATURE_TEXT).filter(|cut| rest.is_char_boundary(*cut));
    let (text, signature) = rest.split_at(cut.ok_or(Why::Malformed)?);
    let text = text.strip_suffix(MIDDLE).ok_or(Why::Malformed)?;
    Ok((serde_json::from_str(text).map_err(|_| Why::Malformed)?, signature))
}

fn check(version: u32, key: &str, line: &str, signature: &str, keys: &[PublicKey]) -> Result<(), Why> {
    if version != VERSION && version != OF_GUEST {
        return Err(Why::Version(version));
    }
    let known = keys.iter().find(|known| known.id() == key).ok_or_else(|| Why::Key(key.to_owned()))?;
    let text = &line[..line.len() - END.len() - SIGNATURE_TEXT - MIDDLE.len()];
    if known.verify(text.as_bytes(), signature) { Ok(()) } else { Err(Why::Signature) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn consent(number: u128) -> Consent {
        let terms =
            TermsShown { required: true, version: "v1".into(), text: Some("Ö \"t\"".into()), url: None };
        Consent {
            id: ReceiptId::from_u128(number),
            group: GroupId::new("g").unwrap(),
            session: SessionId::from_u128(number),
            request: RequestId::from_u128(number),
            visitor: Some(VisitorId::new("C-1").unwrap()),
            guest: None,
            connection: "c1".into(),
            asked_by: "Zoë \"Z\" }\n".into(),
            agents: vec![AgentId::new("zoe").unwrap()],
            kind: SessionKind::Screen,
            control: true,
            terms_version: "v1".into(),
            terms_hash: terms_hash(&terms),
            displayed_at: Some(Wall(5)),
            accepted_at: Wall(6),
        }
    }

    fn chain(count: u64, key: &SigningKey) -> Vec<String> {
        let (mut lines, mut link) = (Vec::new(), Link::first());
        for number in 1..=count {
            let sealed = consent(u128::from(number)).seal(&link, key);
            link = Link::behind(sealed.number, &sealed.line);
            lines.push(sealed.line);
        }
        lines.push(head(&GroupId::new("g").unwrap(), &link, Wall(9), key));
        lines
    }

    fn file(lines: &[String]) -> Vec<u8> {
        lines.iter().flat_map(|line| [line.as_bytes(), b"\n"]).flatten().copied().collect()
    }

    fn verdict(lines: &[String]) -> Result<Verified, Flaw> {
        verify(&file(lines), &[key(1).public()])
    }

    #[test]
    fn the_bytes_are_as_documented() {
        let sealed = consent(1).seal(&Link::first(), &key(1));
        let id = "00000000-0000-0000-0000-000000000001";
        let text = [
            r#"{"receipt":{"v":1,"number":1,"#,
            r#""previous":"0000000000000000000000000000000000000000000000000000000000000000","#,
            &format!(r#""key":"{}","#, key(1).public().id()),
            &format!(r#""consent":{{"id":"{id}","group":"g","session":"{id}","request":"{id}","#),
            r#""visitor":"C-1","connection":"c1","askedBy":"Zoë \"Z\" }\n","agents":["zoe"],"#,
            r#""kind":"screen","control":true,"termsVersion":"v1","#,
            r#""termsHash":"c7c73c6a4fe2eea8bf03ea5a5a5f1ad5fc0b5cf0f4b5a40aa4e8a8c80b1ab0de","#,
            r#""displayedAt":"1970-01-01T00:00:00.005Z","acceptedAt":"1970-01-01T00:00:00.006Z"}}"#,
        ]
        .concat();
        let hash = hex(&sha256("{\"version\":\"v1\",\"text\":\"Ö \\\"t\\\"\",\"url\":null}".as_bytes()));
        let text = text.replace("c7c73c6a4fe2eea8bf03ea5a5a5f1ad5fc0b5cf0f4b5a40aa4e8a8c80b1ab0de", &hash);
        let signature = key(1).sign(text.as_bytes());
        assert_eq!(sealed.line, format!("{text},\"signature\":\"{signature}\"}}"));
        assert!(serde_json::from_str::<serde_json::Value>(&sealed.line).is_ok(), "a line is JSON");
    }

    #[test]
    fn a_whole_file_verifies() {
        for count in [0, 1, 3] {
            let verified = verdict(&chain(count, &key(1))).unwrap();
            assert_eq!((verified.count, verified.at, verified.group.as_str()), (count, Wall(9), "g"));
        }
        let both = [key(2).public(), key(1).public()];
        assert!(verify(&file(&chain(2, &key(1))), &both).is_ok());
    }

    #[test]
    fn flaws_are_named() {
        let lines = chain(3, &key(1));
        let at = |line, why| Err(Flaw { line, why });
        let number = |expected, actual| Why::Number { expected, actual };
        assert_eq!(verdict(&lines[1..]), at(1, number(1, 2)));
        assert_eq!(verdict(&[&lines[..1], &lines[2..]].concat()), at(2, number(2, 3)));
        assert_eq!(verdict(&[&lines[..2], &lines[3..]].concat()), at(3, number(2, 3)));
        assert_eq!(verdict(&lines[..3]), at(4, Why::NoHead));
        assert_eq!(verdict(&[]), at(1, Why::NoHead));
        assert_eq!(verdict(&[&lines[..], &lines[3..]].concat()), at(5, Why::AfterHead));
        assert_eq!(verify(&file(&lines), &[]), at(1, Why::Key(key(1).public().id())));
        let forged = verify(&file(&chain(1, &key(2))), &[key(1).public()]);
        assert_eq!(forged, at(1, Why::Key(key(2).public().id())));
        let file = file(&lines);
        assert_eq!(verify(&file[..file.len() - 1], &[key(1).public()]), at(4, Why::NoHead));
        let more = [&file[..], b"x"].concat();
        assert_eq!(verify(&more, &[key(1).public()]), at(5, Why::AfterHead));
        let endless = [&file[..], &vec![b'x'; limits::RECEIPT_LINE + 1]].concat();
        assert_eq!(verify(&endless, &[key(1).public()]), at(5, Why::AfterHead));
        let long = format!("{}{}\n", lines[0], " ".repeat(limits::RECEIPT_LINE));
        assert_eq!(verify(long.as_bytes(), &[key(1).public()]), at(1, Why::Malformed));
        let newer = signed(
            RECEIPT,
            &Receipt { v: 3, ..verify_line(&lines[0], &[key(1).public()]).unwrap() },
            &key(1),
        );
        assert_eq!(verify_line(&newer, &[key(1).public()]), Err(Why::Version(3)));
    }

    #[test]
    fn a_guest_is_named_as_it_named_itself() {
        let guest = ConsentingGuest { participant: ParticipantId::from_u128(7), name: "Gina".into() };
        let of_guest = Consent { visitor: None, guest: Some(guest), connection: String::new(), ..consent(1) };
        let line = of_guest.seal(&Link::first(), &key(1)).line;
        assert!(line.starts_with("{\"receipt\":{\"v\":2,"), "{line}");
        let named = "\"guest\":{\"participant\":\"00000000-0000-0000-0000-000000000007\",\"name\":\"Gina\"},\"connection\":\"\"";
        assert!(line.contains(named) && !line.contains("visitor"), "{line}");
        assert_eq!(verify_line(&line, &[key(1).public()]).unwrap().consent, of_guest);
        let changed = line.replace("Gina", "Mara");
        assert_eq!(verify_line(&changed, &[key(1).public()]), Err(Why::Signature));
    }

    #[test]
    fn a_line_of_another_chain_does_not_fit() {
        let ours = chain(2, &key(1));
        let mut other = consent(1);
        other.asked_by = "Mallory".into();
        let line = other.seal(&Link::first(), &key(1)).line;
        assert_eq!(
            verdict(&[line, ours[1].clone(), ours[2].clone()]),
            Err(Flaw { line: 2, why: Why::Chain })
        );
        other.group = GroupId::new("h").unwrap();
        let line = other.seal(&Link::behind(1, &ours[0]), &key(1)).line;
        let flaw = Flaw { line: 2, why: Why::Group(other.group) };
        assert_eq!(verdict(&[ours[0].clone(), line, ours[2].clone()]), Err(flaw));
    }

    #[test]
    fn what_was_shown_tells_terms_apart() {
        let terms = TermsShown { required: true, version: "1".into(), text: Some("a".into()), url: None };
        let hash = terms_hash(&terms);
        for other in [
            TermsShown { version: "2".into(), ..terms.clone() },
            TermsShown { text: None, ..terms.clone() },
            TermsShown { text: Some("b".into()), ..terms.clone() },
            TermsShown { text: None, url: Some("a".into()), ..terms },
        ] {
            assert_ne!(terms_hash(&other), hash);
        }
    }

    /// A chain of so many receipts of which the first were let go of.
    fn cut(count: u64, gone: u64, at: Wall) -> Vec<String> {
        let mut lines = chain(count, &key(1));
        let link = Link::behind(gone, &lines[gone as usize - 1]);
        let start = start(&GroupId::new("g").unwrap(), &link, at, &key(1));
        lines.splice(..gone as usize, [start]);
        lines
    }

    #[test]
    fn what_was_let_go_of_is_told_from_what_was_removed() {
        let lines = cut(5, 2, Wall(7));
        let verified = verdict(&lines).unwrap();
        assert_eq!((verified.count, verified.let_go, verified.at), (3, Some((2, Wall(7))), Wall(9)));
        assert_eq!(verdict(&cut(2, 2, Wall(7))).unwrap().count, 0, "all of them were");
        let at = |line, why| Err(Flaw { line, why });
        let number = |expected, actual| Why::Number { expected, actual };
        assert_eq!(verdict(&lines[1..]), at(1, number(1, 3)), "without the statement they are missing");
        assert_eq!(verdict(&[&lines[..1], &lines[2..]].concat()), at(2, number(3, 4)));
        let twice = [&lines[..1], &lines[..]].concat();
        assert_eq!(verdict(&twice), at(2, Why::Malformed), "it stands in the first line alone");
        // A statement that was made later does not fit an older file.
        assert_eq!(verdict(&cut(5, 2, Wall(10))), at(5, Why::Older(Wall(9))));
        // Nor does one about another chain.
        let other =
            start(&GroupId::new("g").unwrap(), &Link { number: 3, ..Link::first() }, Wall(7), &key(1));
        assert_eq!(verdict(&[&[other], &lines[1..]].concat()), at(2, Why::Chain));
        let forged = start(&GroupId::new("g").unwrap(), &Link::first(), Wall(7), &key(2));
        assert_eq!(verdict(&[&[forged], &lines[1..]].concat()), at(1, Why::Key(key(2).public().id())));
        let written = format!(
            r#"{{"start":{{"v":1,"group":"g","count":2,"last":"{}","at":""#,
            Link::behind(2, &chain(2, &key(1))[1]).previous
        );
        assert!(lines[0].starts_with(&written), "{}", lines[0]);
    }

    #[test]
    fn each_bit_of_a_file_counts() {
        let mut file = file(&chain(1, &key(1)));
        let keys = [key(1).public()];
        for at in 0..file.len() * 8 {
            file[at / 8] ^= 1 << (at % 8);
            assert!(verify(&file, &keys).is_err(), "bit {at}");
            file[at / 8] ^= 1 << (at % 8);
        }
        assert!(verify(&file, &keys).is_ok());
    }

    proptest! {
        #[test]
        fn a_chain_that_was_cut_is_as_closed_as_a_whole_one(
            count in 2u64..7,
            gone in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            to in any::<prop::sample::Index>(),
            how in 0..4, bit in 0u8..8,
        ) {
            let gone = gone.index(count as usize) as u64 + 1;
            let whole = cut(count, gone, Wall(8));
            let verified = verdict(&whole).unwrap();
            prop_assert_eq!((verified.count, verified.let_go), (count - gone, Some((gone, Wall(8)))));
            let mut lines = whole.clone();
            let (from, to) = (at.index(lines.len()), to.index(lines.len()));
            let mut bytes = file(&whole);
            match how {
                0 => { lines.remove(from); bytes = file(&lines); }
                1 => { let line = lines.remove(from); lines.insert(to, line); bytes = file(&lines); }
                2 => { lines.insert(to, whole[from].clone()); bytes = file(&lines); }
                _ => { let at = at.index(bytes.len()); bytes[at] ^= 1 << bit; }
            }
            prop_assert_eq!(verify(&bytes, &[key(1).public()]).is_ok(), bytes == file(&whole));
        }

        #[test]
        fn one_bit_changed_anywhere_is_found(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut file = file(&chain(3, &key(1)));
            let at = at.index(file.len());
            file[at] ^= 1 << bit;
            prop_assert!(verify(&file, &[key(1).public()]).is_err());
        }

        #[test]
        fn any_line_removed_moved_or_doubled_is_found(
            count in 1u64..6,
            from in any::<prop::sample::Index>(),
            to in any::<prop::sample::Index>(),
            how in 0..3,
        ) {
            let whole = chain(count, &key(1));
            let mut lines = whole.clone();
            let (from, to) = (from.index(lines.len()), to.index(lines.len()));
            match how {
                0 => { lines.remove(from); }
                1 => { let line = lines.remove(from); lines.insert(to, line); }
                _ => lines.insert(to, whole[from].clone()),
            }
            prop_assert_eq!(verdict(&lines).is_ok(), lines == whole);
        }

        #[test]
        fn junk_is_refused(junk in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(verify(&junk, &[key(1).public()]).is_err());
            let line = format!("{RECEIPT}{}{END}", String::from_utf8_lossy(&junk));
            prop_assert!(verify_line(&line, &[key(1).public()]).is_err());
        }
    }
}
