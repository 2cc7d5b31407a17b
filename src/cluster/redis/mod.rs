//! What nodes share on Redis.

pub mod vault;

#[cfg(test)]
#[path = "../../../tests/it/common/redis.rs"]
#[allow(dead_code, unreachable_pub, clippy::duplicate_mod, reason = "tests of whole servers use it too")]
mod server;
