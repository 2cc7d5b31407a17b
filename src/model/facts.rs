//! What a page tells about its visitor: the page itself, the client, and the company's own `data`.
//!
//! Decides what is cut, what is refused and how it is encoded. Everything is encoded once, on arrival, and
//! spliced as text from then on. Does not decide who may tell it or whose facts are shown; see
//! [`super::presence`], the only writer. [`super::live`] reads pages back to filter them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::limits::{CLIENT_FACT_BYTES, Limits, PAGE_TITLE_BYTES, PAGE_URL_BYTES, USER_AGENT_BYTES};
use crate::wire::error::ErrorCode;
use crate::wire::visitor::{Client, Page};

/// Everything told on arrival.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// The page shown.
    pub page: Option<Page>,
    /// What runs it.
    pub client: Option<Client>,
    /// Custom data, merged into what the visitor already has, null deletes a key.
    pub data: Option<Value>,
}

/// Why facts were not taken. What was there before stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// Custom data is a list or a scalar.
    #[error("data is not a flat object")]
    NotAnObject,
    /// A key is the empty text.
    #[error("a key of data is empty")]
    EmptyKey,
    /// A value is a list or an object.
    #[error("data value of {key:?} is not a string, a number or a boolean")]
    BadValue {
        /// The key, within its limit.
        key: Box<str>,
    },
    /// A key is too long.
    #[error("data key of {bytes} bytes exceeds {limit}")]
    KeyTooLong {
        /// Its length.
        bytes: usize,
        /// What it may be.
        limit: usize,
    },
    /// A text value is too long.
    #[error("data value of {key:?} with {bytes} bytes exceeds {limit}")]
    ValueTooLong {
        /// The key, within its limit.
        key: Box<str>,
        /// The value's length.
        bytes: usize,
        /// What it may be.
        limit: usize,
    },
    /// Too many keys after merging.
    #[error("data of {keys} keys exceeds {limit}")]
    TooManyKeys {
        /// How many there would be.
        keys: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Page, client facts and data together are too large.
    #[error("presence data of {bytes} bytes exceeds {limit}")]
    TooLarge {
        /// How many bytes of JSON there would be.
        bytes: usize,
        /// How many there may be.
        limit: usize,
    },
}

impl FactsError {
    /// The `code` of the error message to the page.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NotAnObject | Self::EmptyKey | Self::BadValue { .. } => ErrorCode::BadValue,
            Self::KeyTooLong { .. }
            | Self::ValueTooLong { .. }
            | Self::TooManyKeys { .. }
            | Self::TooLarge { .. } => ErrorCode::DataTooLarge,
        }
    }
}

/// Cuts a text to at most `max` bytes at a character boundary.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// An address without its fragment, cut. Fragments carry invites and tokens and never leave the page.
fn address(url: &str) -> &str {
    cut(url.split('#').next().unwrap_or_default(), PAGE_URL_BYTES)
}

fn is_empty(text: &str) -> bool {
    text.is_empty()
}

/// Encodes to JSON text; plain structs of strings cannot fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("strings encode to JSON")
}

impl Page {
    /// The page as JSON of at most `room` bytes. The referrer is left out before anything is refused.
    pub(super) fn encode(&self, room: Room) -> Result<String, FactsError> {
        #[derive(Serialize)]
        struct Encoded<'a> {
            url: &'a str,
            #[serde(skip_serializing_if = "is_empty")]
            title: &'a str,
            #[serde(skip_serializing_if = "is_empty")]
            referrer: &'a str,
        }
        let mut page = Encoded {
            url: address(&self.url),
            title: cut(self.title.as_deref().unwrap_or_default(), PAGE_TITLE_BYTES),
            referrer: address(self.referrer.as_deref().unwrap_or_default()),
        };
        let whole = json(&page);
        if whole.len() <= room.left() {
            return Ok(whole);
        }
        page.referrer = "";
        fit(json(&page), room)
    }
}

impl Client {
    /// The facts as JSON of at most `room` bytes.
    pub(super) fn encode(&self, room: Room) -> Result<String, FactsError> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Encoded<'a> {
            #[serde(skip_serializing_if = "is_empty")]
            platform: &'a str,
            #[serde(skip_serializing_if = "is_empty")]
            language: &'a str,
            #[serde(skip_serializing_if = "is_empty")]
            screen: &'a str,
            #[serde(skip_serializing_if = "is_empty")]
            user_agent: &'a str,
        }
        fn fact(text: &Option<String>, max: usize) -> &str {
            cut(text.as_deref().unwrap_or_default(), max)
        }
        let encoded = json(&Encoded {
            platform: fact(&self.platform, CLIENT_FACT_BYTES),
            language: fact(&self.language, CLIENT_FACT_BYTES),
            screen: fact(&self.screen, CLIENT_FACT_BYTES),
            user_agent: fact(&self.user_agent, USER_AGENT_BYTES),
        });
        fit(encoded, room)
    }
}

/// What a visitor's facts may take, and what the other facts take already.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Bytes in all.
    pub(super) limit: usize,
    /// Bytes taken.
    pub(super) taken: usize,
}

impl Room {
    fn left(self) -> usize {
        self.limit.saturating_sub(self.taken)
    }
}

/// Refuses what is longer than the room that the visitor's other facts leave.
fn fit(encoded: String, room: Room) -> Result<String, FactsError> {
    if encoded.len() > room.left() {
        return Err(FactsError::TooLarge { bytes: room.taken + encoded.len(), limit: room.limit });
    }
    Ok(encoded)
}

/// Merges a patch into encoded data: keys of the patch replace, null deletes, all else stays, letter by
/// letter. Keys come out sorted, so equal data is equal text. No data at all is the empty text.
pub(super) fn merge(
    current: &str,
    patch: &Value,
    taken: usize,
    limits: &Limits,
) -> Result<Box<str>, FactsError> {
    let Value::Object(patch) = patch else { return Err(FactsError::NotAnObject) };
    let mut merged: BTreeMap<String, Cow<'_, str>> =
        parse(current).into_iter().map(|(key, value)| (key, Cow::Borrowed(value.get()))).collect();
    for (key, value) in patch {
        if value.is_null() {
            merged.remove(key);
            continue;
        }
        check(key, value, limits)?;
        merged.insert(key.clone(), Cow::Owned(value.to_string()));
    }
    if merged.len() > limits.data_keys {
        return Err(FactsError::TooManyKeys { keys: merged.len(), limit: limits.data_keys });
    }
    if merged.is_empty() {
        return Ok(Box::default());
    }
    let mut encoded = String::with_capacity(current.len() + 64);
    for (key, value) in &merged {
        encoded.push(if encoded.is_empty() { '{' } else { ',' });
        encoded.push_str(&json(key));
        encoded.push(':');
        encoded.push_str(value);
    }
    encoded.push('}');
    fit(encoded, Room { limit: limits.presence_data, taken }).map(String::into_boxed_str)
}

fn check(key: &str, value: &Value, limits: &Limits) -> Result<(), FactsError> {
    if key.is_empty() {
        return Err(FactsError::EmptyKey);
    }
    if key.len() > limits.data_key_bytes {
        return Err(FactsError::KeyTooLong { bytes: key.len(), limit: limits.data_key_bytes });
    }
    let limit = limits.data_value_bytes;
    match value {
        Value::Bool(_) | Value::Number(_) => Ok(()),
        Value::String(text) if text.len() <= limit => Ok(()),
        Value::String(text) => Err(FactsError::ValueTooLong { key: key.into(), bytes: text.len(), limit }),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(FactsError::BadValue { key: key.into() }),
    }
}

/// Reads encoded data without touching its values. What is not an object reads as empty: it was encoded
/// here or on a node that is trusted.
pub(super) fn parse(data: &str) -> BTreeMap<String, &RawValue> {
    serde_json::from_str(data).unwrap_or_default()
}

/// The searchable texts of an encoded page.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PageText<'a> {
    /// Its address.
    #[serde(borrow)]
    pub(super) url: Cow<'a, str>,
    /// Its title.
    #[serde(borrow)]
    pub(super) title: Cow<'a, str>,
}

impl<'a> PageText<'a> {
    /// Reads an encoded page; no page reads as empty texts.
    pub(super) fn read(page: &'a str) -> Self {
        serde_json::from_str(page).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::limits::PRESENCE_DATA;

    const ALL: Room = Room { limit: PRESENCE_DATA, taken: 0 };

    fn merged(current: &str, patch: Value) -> Result<String, FactsError> {
        merge(current, &patch, 0, &Limits::default()).map(String::from)
    }

    #[test]
    fn patches_replace_add_and_delete() {
        let data = merged("", json!({"b": 1.50, "a": "x", "c": true})).unwrap();
        assert_eq!(data, r#"{"a":"x","b":1.5,"c":true}"#);
        let data = merged(&data, json!({"a": null, "b": "two", "never": null})).unwrap();
        assert_eq!(data, r#"{"b":"two","c":true}"#);
        assert_eq!(merged(&data, json!({"b": null, "c": null})).unwrap(), "");
    }

    #[test]
    fn what_is_refused_has_a_code() {
        let many: serde_json::Map<_, _> = (0..32).map(|i| (format!("k{i}"), json!(i))).collect();
        let large: serde_json::Map<_, _> =
            (0..8).map(|i| (format!("k{i}"), json!("x".repeat(510)))).collect();
        for (patch, code, says) in [
            (json!([1]), "bad_value", "data is not a flat object"),
            (json!("x"), "bad_value", "data is not a flat object"),
            (json!({"": 1}), "bad_value", "a key of data is empty"),
            (json!({"a": [1]}), "bad_value", r#"data value of "a" is not a string, a number or a boolean"#),
            (json!({"a": {}}), "bad_value", r#"data value of "a" is not a string, a number or a boolean"#),
            (json!({"k".repeat(65): 1}), "data_too_large", "data key of 65 bytes exceeds 64"),
            (
                json!({"a": "v".repeat(513)}),
                "data_too_large",
                r#"data value of "a" with 513 bytes exceeds 512"#,
            ),
            (Value::Object(many), "data_too_large", "data of 33 keys exceeds 32"),
            (Value::Object(large), "data_too_large", "presence data of 4153 bytes exceeds 4096"),
        ] {
            let error = merged(r#"{"old":1}"#, patch).unwrap_err();
            assert_eq!((error.code().as_str(), error.to_string().as_str()), (code, says));
        }
    }

    #[test]
    fn limits_themselves_are_allowed() {
        let full: serde_json::Map<_, _> = (0..32).map(|i| (format!("k{i}"), json!(i))).collect();
        assert!(merged("", Value::Object(full)).is_ok());
        assert!(merged("", json!({"k".repeat(64): "v".repeat(512)})).is_ok());
        // A key that could never have been set may be deleted.
        assert_eq!(merged("", json!({"k".repeat(65): null})).unwrap(), "");
    }

    #[test]
    fn pages_lose_fragments_and_are_cut_at_characters() {
        let page = Page {
            url: "https://shop.example/a?b=1#invite=secret".into(),
            title: Some(format!("{}é", "t".repeat(299))),
            referrer: Some("https://shop.example/#x".into()),
        };
        let title = "t".repeat(299);
        assert_eq!(
            page.encode(ALL).unwrap(),
            format!(
                r#"{{"url":"https://shop.example/a?b=1","title":"{title}","referrer":"https://shop.example/"}}"#
            )
        );
    }

    #[test]
    fn a_long_referrer_goes_before_a_page_is_refused() {
        let page = Page { url: "u".repeat(3_000), title: None, referrer: Some("r".repeat(3_000)) };
        assert_eq!(page.encode(ALL).unwrap().len(), r#"{"url":"","referrer":""}"#.len() + 4_000);
        assert_eq!(
            page.encode(Room { limit: 3_000, taken: 0 }).unwrap().len(),
            r#"{"url":""}"#.len() + 2_000
        );
        let full = Room { limit: PRESENCE_DATA, taken: PRESENCE_DATA - 2_000 };
        let error = FactsError::TooLarge { bytes: 2_096 + 2_010, limit: PRESENCE_DATA };
        assert_eq!(page.encode(full), Err(error));
    }

    #[test]
    fn clients_are_cut_and_name_only_what_is_known() {
        let client = Client {
            platform: Some("p".repeat(100)),
            user_agent: Some("u".repeat(300)),
            ..Client::default()
        };
        let (platform, agent) = ("p".repeat(64), "u".repeat(256));
        assert_eq!(
            client.encode(ALL).unwrap(),
            format!(r#"{{"platform":"{platform}","userAgent":"{agent}"}}"#)
        );
    }

    fn scalar() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter_map("finite", |f| serde_json::Number::from_f64(f).map(Value::Number)),
            "\\PC{0,12}".prop_map(Value::from),
        ]
    }

    proptest! {
        #[test]
        fn merging_is_overwriting_and_the_same_patch_twice_is_the_same_text(
            patches in prop::collection::vec(prop::collection::btree_map("[a-d]", scalar(), 0..4), 1..6)
        ) {
            let mut data: Box<str> = Box::default();
            let mut model = BTreeMap::new();
            for patch in patches {
                let patch: serde_json::Map<String, Value> = patch.into_iter().collect();
                for (key, value) in &patch {
                    if value.is_null() { model.remove(key); } else { model.insert(key.clone(), value.to_string()); }
                }
                let patch = Value::Object(patch);
                data = merge(&data, &patch, 0, &Limits::default()).unwrap();
                prop_assert_eq!(&merge(&data, &patch, 0, &Limits::default()).unwrap(), &data);
                let read: BTreeMap<_, _> = parse(&data).into_iter().map(|(k, v)| (k, v.get().to_owned())).collect();
                prop_assert_eq!(&read, &model);
            }
        }
    }
}
