//! The generated protobuf types and services.
//!
//! Seen by `store`, `cluster`, `admin`, `sinks` and the command line only; everything else uses types of its own.

use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};

/// `proto/porchlight/v1`.
#[allow(missing_docs, unreachable_pub, reason = "generated; the comments are in the proto files")]
#[allow(clippy::all, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("porchlight.v1");
}

/// `proto/porchlight/wire/v1/wire.proto`: what nodes say to each other on wires.
#[allow(missing_docs, unreachable_pub, reason = "generated; the comments are in the proto files")]
#[allow(clippy::all, reason = "generated")]
pub mod wire {
    tonic::include_proto!("porchlight.wire.v1");
}

/// What nodes tell each other, `proto/porchlight/cluster/v1/cluster.proto`.
#[allow(missing_docs, unreachable_pub, reason = "generated; the comments are in the proto files")]
#[allow(clippy::all, reason = "generated")]
pub mod cluster {
    tonic::include_proto!("porchlight.cluster.v1");
}

/// The descriptors of all public files, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/porchlight.bin"));

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("the build wrote the descriptors"));

/// The descriptors, read.
pub fn descriptors() -> &'static DescriptorPool {
    &POOL
}

/// A message with its description, to read and write its fields by name.
pub fn dynamic<M: Message + Name>(message: &M) -> DynamicMessage {
    let kind = POOL.get_message_by_name(&M::full_name()).expect("generated types are described");
    DynamicMessage::decode(kind, message.encode_to_vec().as_slice()).expect("a type decodes what it encoded")
}

/// A message as JSON by protobuf's own mapping, every field told:
/// <https://protobuf.dev/programming-guides/json/>.
pub fn json<M: Message + Name>(message: &M) -> serde_json::Value {
    dynamic_json(&dynamic(message))
}

/// As [`json`].
pub fn dynamic_json(message: &DynamicMessage) -> serde_json::Value {
    let options = SerializeOptions::new().skip_default_fields(false);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .expect("messages of ours have a JSON form")
}
