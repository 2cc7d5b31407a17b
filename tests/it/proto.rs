//! The description of the operators' service grows and never changes: clients were made from it.
//!
//! `tests/vectors/proto.txt` holds every call, field and value that was ever described, one a line. What is new
//! is written there with `PORCHLIGHT_RECORD=1`; what is written there stays as it is.

use std::collections::BTreeSet;
use std::path::Path;

use porchlight::pb;
use prost_reflect::{Cardinality, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

/// Set to add what is new to the file.
const RECORD: &str = "PORCHLIGHT_RECORD";

const FILE: &str = "tests/vectors/proto.txt";

fn kind(field: &FieldDescriptor) -> String {
    let kind = match field.kind() {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(values) => values.full_name().to_owned(),
        plain => format!("{plain:?}").to_lowercase(),
    };
    let presence = match field.cardinality() {
        Cardinality::Repeated => "repeated ",
        Cardinality::Required => "required ",
        Cardinality::Optional if field.supports_presence() => "optional ",
        Cardinality::Optional => "",
    };
    format!("{presence}{kind}")
}

fn fields(message: &MessageDescriptor) -> Vec<String> {
    let line = |field: FieldDescriptor| {
        let name = field.full_name().to_owned();
        format!("field {name} = {} {} \"{}\"", field.number(), kind(&field), field.json_name())
    };
    message.fields().map(line).collect()
}

fn values(values: &EnumDescriptor) -> Vec<String> {
    values.values().map(|value| format!("value {} = {}", value.full_name(), value.number())).collect()
}

/// Everything that is described, one a line.
fn described() -> BTreeSet<String> {
    let pool = pb::descriptors();
    let ours = |name: &str| name.starts_with("porchlight.");
    let mut lines = BTreeSet::new();
    for service in pool.services().filter(|service| ours(service.full_name())) {
        for call in service.methods() {
            let stream = |is: bool| if is { "stream " } else { "" };
            lines.insert(format!(
                "call {} {}{} -> {}{}",
                call.full_name(),
                stream(call.is_client_streaming()),
                call.input().full_name(),
                stream(call.is_server_streaming()),
                call.output().full_name(),
            ));
        }
    }
    for message in pool.all_messages().filter(|message| ours(message.full_name())) {
        lines.insert(format!("message {}", message.full_name()));
        lines.extend(fields(&message));
    }
    for described in pool.all_enums().filter(|described| ours(described.full_name())) {
        lines.extend(values(&described));
    }
    lines
}

#[test]
fn what_was_described_once_stays_as_it_was() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    let recorded: BTreeSet<String> = recorded.lines().map(ToOwned::to_owned).collect();
    let described = described();
    let gone: Vec<_> = recorded.difference(&described).collect();
    assert!(gone.is_empty(), "clients rely on what is no longer described: {gone:#?}");
    let new: Vec<_> = described.difference(&recorded).collect();
    if std::env::var_os(RECORD).is_some() {
        let text: String = described.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(&path, text).unwrap();
    } else {
        assert!(new.is_empty(), "new, to be written to {FILE} with {RECORD}=1: {new:#?}");
    }
}
