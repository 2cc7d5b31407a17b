//! The generated protobuf types and services.
//!
//! Seen by `cluster`, `admin`, `sinks` and the command line only; everything else uses types of its own.

#![allow(missing_docs, unreachable_pub, reason = "generated; the comments are in the proto files")]
#![allow(clippy::all, reason = "generated")]

/// `proto/porchlight/v1`.
pub mod v1 {
    tonic::include_proto!("porchlight.v1");
}

/// The descriptors of all files, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/porchlight.bin"));
