//! One call, on its way to wherever its keys are.
//!
//! Scripts are called by their digest. A server that does not know one is sent the whole script instead: it goes
//! the same way as the call, so that the server that lacks the script is the one that gets it, and no other one
//! has to answer. A server that is asked in place of the one that is about to hand a slot over wants to be told so
//! before each command.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::{Arg, Cmd, FromRedisValue, Pipeline, RedisError, RedisFuture, ScriptInvocation, Value};

/// Commands that change nothing, of those that are sent together.
const READS: [&[u8]; 8] = [b"GET", b"HGET", b"HGETALL", b"HLEN", b"HMGET", b"HSCAN", b"SCARD", b"XLEN"];

/// What is to be done.
#[derive(Clone, Copy)]
pub(super) enum Work<'a> {
    Script(&'a ScriptInvocation<'a>),
    Command(&'a Cmd),
    Commands(&'a Pipeline),
}

impl Work<'_> {
    /// Does it.
    pub(super) async fn done<T: FromRedisValue>(self, door: Door) -> Result<T, RedisError> {
        let mut call = Call { door, digest: Vec::new(), script: None };
        match self {
            Self::Script(script) => script.invoke_async(&mut call).await,
            Self::Command(command) => command.query_async(&mut call).await,
            Self::Commands(commands) => commands.query_async(&mut call).await,
        }
    }

    /// Whether it changes nothing.
    pub(super) fn only_reads(self) -> bool {
        let reads = |command: &Cmd| match command.args_iter().next() {
            Some(Arg::Simple(name)) => READS.contains(&name),
            _ => false,
        };
        match self {
            Self::Script(_) => false,
            Self::Command(command) => reads(command),
            Self::Commands(commands) => commands.cmd_iter().all(reads),
        }
    }

    /// How many commands are sent at once.
    pub(super) fn commands(self) -> usize {
        match self {
            Self::Script(_) | Self::Command(_) => 1,
            Self::Commands(commands) => commands.len(),
        }
    }
}

/// A connection for the time of one call.
struct Call {
    door: Door,
    /// The digest of the script that was called.
    digest: Vec<u8>,
    /// The script that the server lacks.
    script: Option<Vec<u8>>,
}

/// Where a call goes.
pub(super) enum Door {
    /// To the one server.
    One(MultiplexedConnection),
    /// To the member of a cluster that its keys are on.
    Member(ClusterConnection),
    /// To a member of a cluster that a slot is on its way to.
    Asking(MultiplexedConnection),
    /// To whoever plays a server.
    #[cfg(test)]
    Played(std::sync::Arc<dyn super::played::Played>),
}

impl ConnectionLike for Call {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        if let Some(script) = loaded(command) {
            self.script = Some(script.to_vec());
            let digest = self.digest.clone();
            return Box::pin(async { Ok(Value::BulkString(digest)) });
        }
        if let Some(digest) = called(command) {
            self.digest = digest.to_vec();
        }
        let Self { door, script, .. } = self;
        Box::pin(async move {
            let whole = script.as_deref().and_then(|script| whole(command, script));
            let command = whole.as_ref().unwrap_or(command);
            match door {
                Door::One(connection) => connection.req_packed_command(command).await,
                Door::Member(connection) => connection.req_packed_command(command).await,
                Door::Asking(connection) => {
                    connection.req_packed_command(&redis::cmd("ASKING")).await?.extract_error()?;
                    connection.req_packed_command(command).await
                }
                #[cfg(test)]
                Door::Played(played) => played.command(command).await,
            }
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match &mut self.door {
            Door::One(connection) | Door::Asking(connection) => {
                connection.req_packed_commands(pipeline, offset, count)
            }
            Door::Member(connection) => connection.req_packed_commands(pipeline, offset, count),
            #[cfg(test)]
            Door::Played(played) => Box::pin(played.commands(pipeline, offset, count)),
        }
    }

    fn get_db(&self) -> i64 {
        match &self.door {
            Door::One(connection) | Door::Asking(connection) => connection.get_db(),
            Door::Member(connection) => connection.get_db(),
            #[cfg(test)]
            Door::Played(_) => 0,
        }
    }
}

/// The script that a command would load.
fn loaded(command: &Cmd) -> Option<&[u8]> {
    let mut words = command.args_iter();
    match (words.next()?, words.next()?, words.next()?) {
        (redis::Arg::Simple(b"SCRIPT"), redis::Arg::Simple(b"LOAD"), redis::Arg::Simple(script)) => {
            Some(script)
        }
        _ => None,
    }
}

/// The digest of the script that a command calls.
fn called(command: &Cmd) -> Option<&[u8]> {
    let mut words = command.args_iter();
    match (words.next()?, words.next()?) {
        (redis::Arg::Simple(b"EVALSHA"), redis::Arg::Simple(digest)) => Some(digest),
        _ => None,
    }
}

/// The same call with its script in place of the script's digest.
fn whole(command: &Cmd, script: &[u8]) -> Option<Cmd> {
    called(command)?;
    let mut whole = redis::cmd("EVAL");
    whole.arg(script);
    for word in command.args_iter().skip(2) {
        if let redis::Arg::Simple(word) = word {
            whole.arg(word);
        }
    }
    Some(whole)
}
