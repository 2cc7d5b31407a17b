//! What becomes of what in an org: a post a feed element, a lead and a session's record a row each.
//!
//! Decides objects, fields and values. A letter says what is to be written there and not what it was made
//! of, so that one that was put aside is the same whenever it is handed over again.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::letter::{Letter, RECORD};
use super::Trouble;
use crate::clock::Wall;
use crate::model::event::{Logged, Post, What};
use crate::model::feed::Item;
use crate::model::session_record::SessionRecord;
use crate::wire::session::Side;

/// The object of session records, and the field of its external id.
pub(super) const SESSION: &str = "Porchlight_Session__c";
/// See [`SESSION`].
pub(super) const SESSION_KEY: &str = "Session_Id__c";

/// The object of leads, and the field of its external id.
pub(super) const LEAD: &str = "Lead";
/// See [`LEAD`].
pub(super) const LEAD_KEY: &str = "Porchlight_Lead_Id__c";

/// What is written of a lead.
pub(super) const LEAD_FIELDS: [&str; 4] = ["Email", "FirstName", "LastName", "Company"];

/// What stands for a company that nobody named; the field must not be empty.
const NO_COMPANY: &str = "[not provided]";

/// The link's words.
const LINK_NAME: &str = "Open the session";

/// Lengths of a lead's names.
const NAMES: (usize, usize) = (40, 80);

/// How far the clocks of an org and ours may differ.
const SKEW: std::time::Duration = std::time::Duration::from_secs(3600);

/// A field of a session's record.
pub(super) struct Field {
    pub(super) name: &'static str,
    /// Its type as administrators choose it.
    pub(super) of: Type,
    value: fn(&SessionRecord) -> Option<Value>,
}

/// A type of field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Text(usize),
    LongText(usize),
    Number,
    Moment,
}

/// Every field that is written, in the order of the page on sinks. A value that there is none of is cleared.
pub(super) const FIELDS: &[Field] = &[
    Field { name: "Group__c", of: Type::Text(64), value: |r| Some(json!(r.group.as_str())) },
    Field { name: "Kind__c", of: Type::Text(20), value: |r| Some(json!(r.kind.as_str())) },
    Field { name: "Outcome__c", of: Type::Text(20), value: |r| Some(json!(r.outcome.as_str())) },
    Field { name: "End_Reason__c", of: Type::Text(20), value: |r| Some(json!(r.end_reason?.as_str())) },
    Field { name: "Visitor_Id__c", of: Type::Text(62), value: |r| Some(json!(r.visitor.as_ref()?.as_str())) },
    Field { name: "Record_Object__c", of: Type::Text(80), value: |r| Some(json!(r.record.as_ref()?.object)) },
    Field { name: "Record_Id__c", of: Type::Text(255), value: |r| Some(json!(r.record.as_ref()?.id)) },
    Field { name: "Agents__c", of: Type::LongText(32_768), value: agents },
    Field { name: "Participants__c", of: Type::LongText(32_768), value: participants },
    Field { name: "Asked_At__c", of: Type::Moment, value: |r| moment(Some(r.created)) },
    Field { name: "Answered_At__c", of: Type::Moment, value: |r| moment(r.answered) },
    Field { name: "Started_At__c", of: Type::Moment, value: |r| moment(r.started) },
    Field { name: "Ended_At__c", of: Type::Moment, value: |r| moment(r.ended) },
    Field { name: "Duration_Seconds__c", of: Type::Number, value: |r| Some(json!(r.duration_ms() / 1000)) },
    Field { name: "Control_Seconds__c", of: Type::Number, value: control },
    Field {
        name: "Terms_Version__c",
        of: Type::Text(255),
        value: |r| Some(json!(r.terms_version.as_deref()?)),
    },
    Field { name: "Receipt_Id__c", of: Type::Text(36), value: |r| Some(json!(r.receipt?.id.to_string())) },
    Field { name: "Relayed_Bytes__c", of: Type::Number, value: |r| Some(json!(r.relayed.bytes)) },
];

fn moment(at: Option<Wall>) -> Option<Value> {
    Some(json!(at?.to_string()))
}

fn agents(record: &SessionRecord) -> Option<Value> {
    let agents: Vec<_> = record.agents.iter().map(|agent| agent.as_str()).collect();
    Some(json!(agents.join("\n")))
}

fn participants(record: &SessionRecord) -> Option<Value> {
    let told = record.attendance.iter().map(|one| {
        let side = if one.person.side == Side::Agent { "agent" } else { "guest" };
        format!("{} ({side})", one.person.name)
    });
    Some(json!(told.collect::<Vec<_>>().join("\n")))
}

fn control(record: &SessionRecord) -> Option<Value> {
    let end = |ended: Option<Wall>| ended.or(record.ended).unwrap_or(record.touched);
    let spans = record.control.iter().map(|used| end(used.ended).0.saturating_sub(used.granted.0));
    Some(json!(spans.sum::<u64>() / 1000))
}

impl Field {
    /// What is written for a record: no longer than the field.
    fn of_record(&self, record: &SessionRecord) -> Value {
        match ((self.value)(record), self.of) {
            (Some(Value::String(text)), Type::Text(most) | Type::LongText(most)) => cut(&text, most).into(),
            (value, _) => value.unwrap_or_default(),
        }
    }
}

fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(text[..end].to_owned()),
        None => Cow::Borrowed(text),
    }
}

/// What is to be done in an org.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "do")]
pub(super) enum Work {
    /// Writing a row, anew or over what it was.
    Upsert { object: String, key: String, id: String, fields: Map<String, Value> },
    /// Posting to the feed of a record.
    Post {
        record: String,
        text: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<String>,
    },
    /// It has no place there.
    Nothing,
}

/// A letter for an org.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Sealed {
    /// Our name for it.
    pub(super) id: String,
    place: u64,
    r#type: String,
    timestamp: Wall,
    pub(super) salesforce: Work,
}

/// The letter of an event.
pub(in crate::sinks) fn of_event(logged: &Logged) -> Letter {
    let event = &logged.event;
    let work = match (&event.what, Item::of(event)) {
        (_, Some(Item { record, post: Post { text, link, .. }, .. })) => {
            Work::Post { record: record.id.to_string(), text, link }
        }
        (What::LeadCreated(lead), None) => {
            let (first, last) = names(lead.name.as_deref().unwrap_or_default());
            let last = if last.is_empty() { &*lead.email } else { last };
            let values = [
                json!(lead.email),
                if first.is_empty() { Value::Null } else { cut(first, NAMES.0).into() },
                cut(last, NAMES.1).into(),
                json!(NO_COMPANY),
            ];
            let fields = LEAD_FIELDS.iter().map(|name| (*name).to_owned()).zip(values).collect();
            Work::Upsert { object: LEAD.to_owned(), key: LEAD_KEY.to_owned(), id: lead.lead.clone(), fields }
        }
        _ => Work::Nothing,
    };
    let kind = event.what.kind().as_str();
    sealed(format!("evt_{}", event.id), logged.sequence, kind, event.at, work)
}

/// The letter of a session's record.
pub(in crate::sinks) fn of_record(place: u64, record: &SessionRecord) -> Letter {
    let fields = FIELDS.iter().map(|field| (field.name.to_owned(), field.of_record(record))).collect();
    let id = record.session.to_string();
    let work = Work::Upsert { object: SESSION.to_owned(), key: SESSION_KEY.to_owned(), id, fields };
    let at = record.ended.unwrap_or(record.touched);
    sealed(format!("rec_{}", record.session), place, RECORD, at, work)
}

fn sealed(id: String, place: u64, kind: &str, timestamp: Wall, salesforce: Work) -> Letter {
    let sealed = Sealed { id: id.clone(), place, r#type: kind.to_owned(), timestamp, salesforce };
    let body = serde_json::to_string(&sealed).expect("texts, numbers and values have a JSON form");
    Letter { id, place, body, event: None }
}

/// First and last name: the last word is the last name.
fn names(name: &str) -> (&str, &str) {
    let name = name.trim();
    name.rsplit_once(char::is_whitespace).map_or(("", name), |(first, last)| (first.trim_end(), last))
}

/// The kind of a letter.
pub(super) fn kind(letter: &Letter) -> String {
    #[derive(Deserialize)]
    struct Kind {
        r#type: String,
    }
    serde_json::from_str::<Kind>(&letter.body).map(|kind| kind.r#type).unwrap_or_default()
}

impl Sealed {
    /// Reads a letter.
    pub(super) fn open(letter: &Letter) -> Result<Self, Trouble> {
        let sealed: Self = serde_json::from_str(&letter.body)
            .map_err(|_| Trouble::Never("was put aside for another kind of sink".to_owned()))?;
        match &sealed.salesforce {
            Work::Upsert { id, .. }
                if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') =>
            {
                Err(Trouble::Never("its ID fits no path".to_owned()))
            }
            _ => Ok(sealed),
        }
    }

    /// The record whose feed a post is for.
    pub(super) fn record(&self) -> Result<&str, Trouble> {
        match &self.salesforce {
            Work::Post { record, .. }
                if matches!(record.len(), 15 | 18)
                    && record.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
            {
                Ok(record)
            }
            _ => Err(Trouble::Never("the record's ID is none of Salesforce".to_owned())),
        }
    }

    /// The feed element. Our name for it is in the link, or below the text where there is no link.
    pub(super) fn element(&self, site: Option<&str>) -> Result<Value, Trouble> {
        let record = self.record()?;
        let Work::Post { text, link, .. } = &self.salesforce else {
            return Err(Trouble::Never("is no post".to_owned()));
        };
        let url = link.as_deref().and_then(|link| match site {
            _ if link.starts_with("https://") || link.starts_with("http://") => Some(Cow::Borrowed(link)),
            Some(site) if link.starts_with('/') => Some(Cow::Owned(format!("{site}{link}"))),
            _ => None,
        });
        let url = url.filter(|url| !url.contains('#')).map(|url| format!("{url}#{}", self.id));
        let text = if url.is_some() { text.clone() } else { format!("{text}\n\n{}", self.id) };
        let mut element = json!({
            "feedElementType": "FeedItem",
            "subjectId": record,
            "body": { "messageSegments": [{ "type": "Text", "text": text }] },
        });
        if let Some(url) = url {
            element["capabilities"] = json!({ "link": { "url": url, "urlName": LINK_NAME } });
        }
        Ok(element)
    }

    /// Whether an element of a feed is this post.
    pub(super) fn is_in(&self, element: &Value) -> bool {
        let texts = [&element["capabilities"]["link"]["url"], &element["body"]["text"]];
        texts.iter().any(|text| text.as_str().is_some_and(|text| text.contains(&self.id)))
    }

    /// Whether it was written after an element of a feed was, surely.
    pub(super) fn is_newer_than(&self, element: Option<&Value>) -> bool {
        let at = element.and_then(|element| Wall::deserialize(&element["createdDate"]).ok());
        at.is_some_and(|at| at.after(SKEW) < self.timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{GroupId, SessionId};
    use crate::model::event::{Created, Lead, samples};
    use crate::wire::agent::Record;
    use crate::wire::visitor::SessionKind;

    fn posted(record: &str, link: Option<&str>) -> Sealed {
        let post = Post { post: "p".into(), text: "Hi.".into(), link: link.map(str::to_owned), author: None };
        let mut event = samples::event("g", 1, What::FeedPosted(post));
        event.record = Some(Record { object: "Case".into(), id: record.into(), name: None, url: None });
        Sealed::open(&of_event(&Logged { sequence: 7, event })).unwrap()
    }

    #[test]
    fn every_field_is_documented_as_it_is() {
        let page = include_str!("../../../docs/sinks.md");
        let kind = |of| match of {
            Type::Text(most) => format!("Text({most})"),
            Type::LongText(most) => format!("Long Text Area({most})"),
            Type::Number => "Number(18, 0)".to_owned(),
            Type::Moment => "Date/Time".to_owned(),
        };
        let wanted = FIELDS.iter().map(|field| format!("| `{}` | {} |", field.name, kind(field.of)));
        let key = format!("| `{SESSION_KEY}` | Text(36), external ID, unique |");
        let written = page.lines().filter(|line| line.starts_with("| `") && line.contains("__c` | "));
        let written: Vec<_> =
            written.map(|line| line.rsplit_once(" | ").unwrap().0.to_owned() + " |").collect();
        assert_eq!(written, std::iter::once(key).chain(wanted).collect::<Vec<_>>());
        assert!(page.contains(&format!("`{SESSION}`")) && page.contains(&format!("`{LEAD_KEY}`")));
    }

    #[test]
    fn a_link_leads_to_the_site_and_carries_the_name() {
        let case = "5005g00000AbCdEAAV";
        let url = |link, site| {
            let element = posted(case, link).element(site).unwrap();
            element["capabilities"]["link"]["url"].as_str().map(str::to_owned)
        };
        let (site, id) = (Some("https://help.example"), posted(case, None).id);
        assert_eq!(url(Some("/s/1"), site), Some(format!("https://help.example/s/1#{id}")));
        assert_eq!(url(Some("https://a.example/b"), None), Some(format!("https://a.example/b#{id}")));
        for (link, site) in [(None, site), (Some("/s/1"), None), (Some("https://a.example/#b"), site)] {
            assert_eq!(url(link, site), None, "{link:?}");
            let element = posted(case, link).element(site).unwrap();
            assert_eq!(element["body"]["messageSegments"][0]["text"], format!("Hi.\n\n{id}"));
        }
        for link in [None, Some("/s/1")] {
            let (post, text) = (posted(case, link), format!("Hi.\n\n{id}"));
            let told = json!({"body": {"text": text}, "capabilities": {"link": null}});
            assert!(post.is_in(&told) && !post.is_in(&json!({"body": {"text": "Hi."}})));
        }
    }

    #[test]
    fn only_ids_of_an_org_are_records() {
        for good in ["5005g00000AbCdE", "5005g00000AbCdEAAV"] {
            assert_eq!(posted(good, None).record(), Ok(good));
        }
        for bad in ["", "C-1001", "5005g00000AbCdEAA", "5005g00000AbCd/", "5005g00000AbCdÉAA"] {
            assert!(matches!(posted(bad, None).record(), Err(Trouble::Never(_))), "{bad}");
        }
    }

    #[test]
    fn what_has_no_place_is_nothing() {
        for what in samples::everything() {
            let logged = Logged { sequence: 7, event: samples::event("g", 1, what) };
            let letter = of_event(&logged);
            let sealed = Sealed::open(&letter).unwrap();
            let wanted = matches!(logged.event.what, What::LeadCreated(_))
                || (matches!(logged.event.what, What::FeedPosted(_)) && logged.event.record.is_some());
            assert_eq!(sealed.salesforce != Work::Nothing, wanted, "{letter:?}");
            assert_eq!(letter, of_event(&logged), "the same again");
        }
        let other = Letter::again("evt_1".to_owned(), r#"{"id":"evt_1","data":{}}"#.to_owned());
        assert!(matches!(Sealed::open(&other), Err(Trouble::Never(_))));
    }

    #[test]
    fn long_values_are_cut_and_missing_ones_cleared() {
        let name = format!("{} {}", "ä".repeat(50), "ß".repeat(90));
        let lead = Lead { lead: "1".into(), email: "a@b.c".into(), name: Some(name) };
        let logged = Logged { sequence: 7, event: samples::event("g", 1, What::LeadCreated(lead)) };
        let Work::Upsert { fields, .. } = Sealed::open(&of_event(&logged)).unwrap().salesforce else {
            panic!()
        };
        assert_eq!(fields["FirstName"], "ä".repeat(40));
        assert_eq!(fields["LastName"], "ß".repeat(80));

        let created = Created { kind: SessionKind::Screen, visitor: None, agent: None };
        let mut event = samples::event("g", 1, What::Created(created));
        event.session = Some(SessionId::from_u128(1));
        event.group = GroupId::new("g").unwrap();
        event.record =
            Some(Record { object: "Case".into(), id: "x".repeat(300).into(), name: None, url: None });
        let record = SessionRecord::apply(None, &Logged { sequence: 7, event }).unwrap();
        let Work::Upsert { fields, id, .. } = Sealed::open(&of_record(3, &record)).unwrap().salesforce else {
            panic!()
        };
        assert_eq!((fields.len(), id), (FIELDS.len(), record.session.to_string()));
        assert_eq!(fields["Record_Id__c"], "x".repeat(255));
        assert_eq!((&fields["Ended_At__c"], &fields["Duration_Seconds__c"]), (&Value::Null, &json!(0)));
    }
}
