//! A server that tests play: what is kept in it, and its scripts run as Redis runs them.
//!
//! A [`Link`](super::Link) over it goes the way of every other link; whoever plays decides when a command arrives,
//! and whether its answer does. Only the commands that scripts of the directory use are known.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use mlua::{Function, Lua, MultiValue};
use parking_lot::Mutex;
use redis::{Arg, Cmd, ErrorKind, Pipeline, PushInfo, RedisError, ServerErrorKind, Value};

use super::{Ear, Link, Way};
use crate::limits::Most;

pub(crate) mod net;

/// The words of a command.
pub(crate) type Words = Vec<Vec<u8>>;

/// Answers, each to a command.
pub(crate) type Answers = Result<Vec<Value>, RedisError>;

/// Somebody who plays a server, as one of its clients sees it.
pub(crate) trait Played: Send + Sync {
    /// Asks it to do these, one after the other.
    fn ask(&self, commands: Vec<Words>) -> BoxFuture<'static, Answers>;

    /// Makes a subscription.
    fn ear(&self, most: Most) -> BoxFuture<'static, Result<Ear, RedisError>>;

    /// Makes one to channels of shards, whose words go there.
    fn shards(&self, take: Take) -> BoxFuture<'static, Result<Box<dyn Voice>, RedisError>>;

    /// How many words may wait in a subscription at most.
    fn room(&self) -> usize;
}

/// Where the words of a connection go.
pub(crate) type Take = Box<dyn Fn(PushInfo) + Send + Sync>;

/// How a subscription is told what to hear.
pub(crate) trait Voice: Send + Sync {
    /// Turns channels on or off. Returns when that was confirmed.
    fn turn(&mut self, channels: &[&str], on: bool) -> BoxFuture<'static, Result<(), RedisError>>;
}

impl dyn Played {
    pub(super) fn command(&self, command: &Cmd) -> BoxFuture<'static, Result<Value, RedisError>> {
        let answers = self.ask(vec![words(command)]);
        Box::pin(async { Ok(answers.await?.pop().expect("each command has an answer")) })
    }

    pub(super) fn commands(
        &self,
        commands: &Pipeline,
        offset: usize,
        count: usize,
    ) -> BoxFuture<'static, Answers> {
        let answers = self.ask(commands.cmd_iter().map(words).collect());
        Box::pin(async move { Ok(answers.await?.into_iter().skip(offset).take(count).collect()) })
    }
}

/// A link to whoever plays.
pub(crate) fn link(played: Arc<dyn Played>) -> Link {
    Link { way: Way::Played(played), meters: None }
}

fn words(command: &Cmd) -> Words {
    let word = |arg: Arg<&[u8]>| match arg {
        Arg::Simple(word) => word.to_vec(),
        _ => b"0".to_vec(),
    };
    command.args_iter().map(word).collect()
}

pub(super) fn not_played(what: &str) -> RedisError {
    RedisError::from((ErrorKind::Client, "this is not played", what.to_owned()))
}

/// What is kept.
#[derive(Default)]
struct Kept {
    hashes: HashMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>,
    texts: HashMap<Vec<u8>, Vec<u8>>,
    /// The time that is told, in milliseconds.
    now: u64,
    said: Vec<Said>,
}

/// Something that was said.
pub(crate) struct Said {
    /// On a channel of a shard.
    sharded: bool,
    channel: Vec<u8>,
    text: Vec<u8>,
}

fn bulk(text: Option<&Vec<u8>>) -> Value {
    text.map_or(Value::Nil, |text| Value::BulkString(text.clone()))
}

/// Where a field lies in the order of a walk: the same at all times.
fn slot(field: &[u8]) -> u64 {
    let hash = field.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 40) + 1
}

/// Fields that one step of a walk tells of.
const STEP: usize = 3;

impl Kept {
    fn run(&mut self, words: &[&[u8]]) -> Result<Value, String> {
        let name = std::str::from_utf8(words[0]).map_err(|error| error.to_string())?;
        Ok(match (name.to_ascii_uppercase().as_str(), &words[1..]) {
            ("TIME", []) => Value::Array(
                [self.now / 1_000, self.now % 1_000 * 1_000]
                    .map(|part| Value::BulkString(part.to_string().into_bytes()))
                    .to_vec(),
            ),
            ("GET", [key]) => bulk(self.texts.get(*key)),
            ("SET", [key, text]) => {
                self.texts.insert(key.to_vec(), text.to_vec());
                Value::Okay
            }
            ("HGET", [key, field]) => bulk(self.hashes.get(*key).and_then(|hash| hash.get(*field))),
            ("HMGET", [key, fields @ ..]) => {
                let hash = self.hashes.get(*key);
                Value::Array(
                    fields.iter().map(|field| bulk(hash.and_then(|hash| hash.get(*field)))).collect(),
                )
            }
            ("HGETALL", [key]) => {
                let hash = self.hashes.get(*key).into_iter().flatten();
                Value::Array(hash.flat_map(|(field, text)| [bulk(Some(field)), bulk(Some(text))]).collect())
            }
            ("HSET", [key, pairs @ ..]) => {
                let hash = self.hashes.entry(key.to_vec()).or_default();
                let fresh =
                    pairs.chunks(2).filter(|pair| hash.insert(pair[0].into(), pair[1].into()).is_none());
                Value::Int(fresh.count() as i64)
            }
            ("HDEL", [key, fields @ ..]) => {
                let Some(hash) = self.hashes.get_mut(*key) else { return Ok(Value::Int(0)) };
                let gone = fields.iter().filter(|field| hash.remove(**field).is_some()).count();
                if hash.is_empty() {
                    self.hashes.remove(*key);
                }
                Value::Int(gone as i64)
            }
            ("HSCAN", [key, cursor, ..]) => {
                let from: u64 =
                    std::str::from_utf8(cursor).ok().and_then(|text| text.parse().ok()).ok_or("a cursor")?;
                let mut rest: Vec<_> = self.hashes.get(*key).into_iter().flatten().collect();
                rest.retain(|(field, _)| slot(field) > from);
                rest.sort_by_key(|(field, _)| slot(field));
                let next = rest.get(STEP).map_or(0, |_| slot(rest[STEP - 1].0));
                // Those that share a slot are told of at once.
                let page = rest.iter().filter(|(field, _)| next == 0 || slot(field) <= next);
                let page = page.flat_map(|(field, text)| [bulk(Some(field)), bulk(Some(text))]).collect();
                Value::Array(vec![Value::BulkString(next.to_string().into_bytes()), Value::Array(page)])
            }
            (name @ ("PUBLISH" | "SPUBLISH"), [channel, text]) => {
                let sharded = name == "SPUBLISH";
                self.said.push(Said { sharded, channel: channel.to_vec(), text: text.to_vec() });
                Value::Int(1)
            }
            (name, _) => return Err(format!("{name} is not played")),
        })
    }
}

/// A mistake that is made in scripts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patch {
    /// What scripts say.
    pub(crate) says: &'static str,
    /// What they are made to say instead.
    pub(crate) instead: &'static str,
}

/// A server without a network.
pub(crate) struct Store {
    kept: Arc<Mutex<Kept>>,
    lua: Lua,
    /// Scripts by their digests.
    scripts: HashMap<Vec<u8>, Function>,
    patch: Option<Patch>,
}

impl Store {
    /// An empty one.
    pub(crate) fn new(patch: Option<Patch>) -> Self {
        let (kept, lua) = (Arc::<Mutex<Kept>>::default(), Lua::new());
        let call = {
            let kept = Arc::clone(&kept);
            lua.create_function(move |lua, words: mlua::Variadic<mlua::Value>| {
                let words: Vec<mlua::String> =
                    words.iter().map(|word| text(lua, word)).collect::<Result<_, _>>()?;
                let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
                let words: Vec<&[u8]> = words.iter().map(|word| &**word).collect();
                let answer = kept.lock().run(&words).map_err(mlua::Error::runtime)?;
                to_lua(lua, answer)
            })
        };
        let redis = lua.create_table().and_then(|redis| redis.set("call", call?).map(|()| redis));
        lua.globals().set("redis", redis.unwrap()).unwrap();
        Self { kept, lua, scripts: HashMap::new(), patch }
    }

    /// Starts again: without what it kept, or without the scripts alone.
    pub(crate) fn restart(&mut self, forgets: bool) {
        self.scripts.clear();
        if forgets {
            *self.kept.lock() = Kept::default();
        }
    }

    /// Does a command at this time of its clock, and hands what was said meanwhile to whoever listens.
    pub(crate) fn run(
        &mut self,
        now: u64,
        words: &[Vec<u8>],
        mut say: impl FnMut(&Said),
    ) -> Result<Value, RedisError> {
        self.kept.lock().now = now;
        let answer = self.answer(words)?;
        for said in std::mem::take(&mut self.kept.lock().said) {
            say(&said);
        }
        Ok(answer)
    }

    fn answer(&mut self, words: &[Vec<u8>]) -> Result<Value, RedisError> {
        let failed = |error: String| RedisError::from((ErrorKind::Client, "a played command", error));
        let script = match words[0].as_slice() {
            b"EVALSHA" => self.scripts.get(&words[1]).cloned().ok_or_else(|| {
                RedisError::from((ErrorKind::Server(ServerErrorKind::NoScript), "there is no such script"))
            })?,
            b"EVAL" => {
                let digest =
                    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &words[1]);
                let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                let text = String::from_utf8_lossy(&words[1]);
                let text = match self.patch {
                    Some(Patch { says, instead }) => text.replace(says, instead),
                    None => text.into_owned(),
                };
                let script = self.lua.load(text).into_function();
                let script = script.map_err(|error| failed(error.to_string()))?;
                self.scripts.entry(digest.into_bytes()).or_insert(script).clone()
            }
            _ => {
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                return self.kept.lock().run(&words).map_err(failed);
            }
        };
        let run = || {
            let count: usize =
                std::str::from_utf8(&words[2]).ok().and_then(|text| text.parse().ok()).unwrap();
            let (keys, arguments) = words[3..].split_at(count);
            for (name, words) in [("KEYS", keys), ("ARGV", arguments)] {
                let table = self.lua.create_table()?;
                for word in words {
                    table.push(self.lua.create_string(word)?)?;
                }
                self.lua.globals().set(name, table)?;
            }
            script.call::<MultiValue>(()).map(|mut values| values.pop_front().unwrap_or(mlua::Value::Nil))
        };
        run().and_then(|value| from_lua(&value)).map_err(|error| failed(error.to_string()))
    }
}

fn text(lua: &Lua, word: &mlua::Value) -> mlua::Result<mlua::String> {
    match word {
        mlua::Value::String(text) => Ok(text.clone()),
        mlua::Value::Integer(number) => lua.create_string(number.to_string()),
        mlua::Value::Number(number) => lua.create_string(format!("{number:.17}")),
        other => Err(mlua::Error::runtime(format!("no word of a command: {other:?}"))),
    }
}

/// An answer as scripts see it.
fn to_lua(lua: &Lua, answer: Value) -> mlua::Result<mlua::Value> {
    Ok(match answer {
        Value::Nil => mlua::Value::Boolean(false),
        Value::Int(number) => mlua::Value::Number(number as f64),
        Value::BulkString(text) => mlua::Value::String(lua.create_string(text)?),
        Value::Array(parts) => {
            let table = lua.create_table()?;
            for part in parts {
                table.push(to_lua(lua, part)?)?;
            }
            mlua::Value::Table(table)
        }
        other => mlua::Value::String(lua.create_string(format!("{other:?}"))?),
    })
}

/// What a script returns, as clients are told: numbers lose what is behind the point, a list ends at the first hole.
fn from_lua(value: &mlua::Value) -> mlua::Result<Value> {
    Ok(match value {
        mlua::Value::Nil | mlua::Value::Boolean(false) => Value::Nil,
        mlua::Value::Boolean(true) => Value::Int(1),
        mlua::Value::Integer(number) => Value::Int(*number),
        mlua::Value::Number(number) => Value::Int(*number as i64),
        mlua::Value::String(text) => Value::BulkString(text.as_bytes().to_vec()),
        mlua::Value::Table(table) => {
            let mut parts = Vec::new();
            for at in 1.. {
                match table.raw_get::<mlua::Value>(at)? {
                    mlua::Value::Nil => break,
                    part => parts.push(from_lua(&part)?),
                }
            }
            Value::Array(parts)
        }
        other => return Err(mlua::Error::runtime(format!("no answer of a script: {other:?}"))),
    })
}
