//! The gRPC admin service.
