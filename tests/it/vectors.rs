//! The vectors that pin the wire contract in bytes, shared with the tests of the browser's code.

use porchlight::wire::frame::{FrameError, parse};
use serde::Deserialize;

use crate::common::{Site, Value, json};

#[derive(Deserialize)]
struct Vector {
    name: String,
    hex: String,
    valid: bool,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    header: Option<Value>,
    #[serde(default)]
    payload: Option<String>,
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("../vectors/frames.json")).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap()).collect()
}

/// The vectors' name of a fault.
fn names(error: &FrameError) -> &'static [&'static str] {
    match error {
        FrameError::Short { .. } => &["too_short"],
        FrameError::Version(_) => &["version"],
        FrameError::Type(_) => &["type"],
        FrameError::Reserved => &["flags", "reserved"],
        FrameError::ConfigTooLong(_) => &["config_length"],
        FrameError::ConfigFlag(_) => &["config_flag"],
        FrameError::KeyWithoutConfig => &["config_missing"],
    }
}

#[test]
fn every_vector_is_read_as_it_says() {
    let vectors = vectors();
    assert!(vectors.iter().any(|vector| vector.valid) && vectors.iter().any(|vector| !vector.valid));
    for vector in vectors {
        let (name, frame) = (&vector.name, bytes(&vector.hex));
        let read = parse(&frame);
        if !vector.valid {
            let error = read.expect_err(name);
            assert!(names(&error).contains(&vector.error.as_deref().unwrap()), "{name}: {error}");
            continue;
        }
        let read = read.unwrap_or_else(|error| panic!("{name}: {error}"));
        let end = 32 + usize::from(read.config_len);
        let config: Value = serde_json::from_slice(&frame[32..end]).unwrap_or(Value::Null);
        let told = vector.header.unwrap();
        let flags = |bit: u8| read.flags & bit != 0;
        let seen = json!({
            "type": read.kind.code(), "key": read.is_key(), "droppable": read.is_droppable(), "last": flags(8),
            "encrypted": flags(16), "layer": read.layer, "stream": read.stream, "sequence": read.sequence,
            "group": read.group, "width": read.width, "height": read.height,
        });
        for (field, value) in seen.as_object().unwrap() {
            assert_eq!(&told[field], value, "{name}: {field}");
        }
        // Times may be written as text where a number of JavaScript would not hold them.
        let time = told["time"].as_u64().or_else(|| told["time"].as_str()?.parse().ok());
        assert_eq!(time, Some(read.captured_us), "{name}: time");
        if told["config"].is_object() {
            assert_eq!(told["config"], config, "{name}: config");
        }
        if let Some(payload) = &vector.payload {
            assert_eq!(bytes(payload), frame[end..], "{name}: payload");
        }
        let mut encoded = Vec::new();
        read.encode(&mut encoded);
        assert_eq!(encoded, frame[..32], "{name}: encoded again");
    }
}

#[tokio::test]
async fn a_publisher_is_closed_for_every_bad_one() {
    let site = Site::start().await;
    let mut engagement = site.engage("C-1", json!({})).await;
    let mut faults = std::collections::BTreeSet::new();
    for vector in vectors().into_iter().filter(|vector| !vector.valid) {
        let frame = bytes(&vector.hex);
        let wanted = parse(&frame).unwrap_err().to_string();
        engagement.publisher.send_frame(frame.into()).await;
        engagement.publisher.expect_close(4400).await;
        assert_eq!(engagement.publisher.reason, wanted, "{}: the reason is told", vector.name);
        faults.insert(vector.error.unwrap());
        let token = engagement.publisher.token();
        engagement.publisher = site.resume("publisher", &token).await;
    }
    assert!(faults.len() >= 8, "{faults:?}");
    let heard = engagement.viewer.settle().await;
    assert!(
        !heard.iter().any(|heard| matches!(heard, crate::common::Heard::Frame(_))),
        "none reached a viewer"
    );
}
