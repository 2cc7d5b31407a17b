//! Where settings come from: a TOML file, over it the environment, over both the command line.
//!
//! A key nobody knows is an error in a file, where somebody wrote it on purpose, and only a warning in
//! the environment, where an orchestrator may have put it. Secrets may be given as files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use config::{Environment, File, FileFormat};

use super::{Config, Secret};

/// What every variable of ours begins with.
const PREFIX: &str = "PORCHLIGHT__";

/// What the settings are made of, lowest first.
#[derive(Debug, Default)]
pub struct Sources<'a> {
    /// Keys and values of a command whose defaults differ.
    pub defaults: Vec<(&'static str, String)>,
    /// The file, if any.
    pub file: Option<&'a Path>,
    /// The environment, or the part of it that is to be seen.
    pub environment: Vec<(String, String)>,
    /// Keys with their section and values, from the command line.
    pub flags: Vec<(&'static str, String)>,
}

impl<'a> Sources<'a> {
    /// The file and the environment of this process. Variables that are not text are passed over.
    pub fn of_process(file: Option<&'a Path>, flags: Vec<(&'static str, String)>) -> Self {
        let text = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((key.into_string().ok()?, value.into_string().ok()?))
        };
        let environment = std::env::vars_os().filter_map(text).collect();
        Self { defaults: Vec::new(), file, environment, flags }
    }
}

/// Settings, and what was odd on the way.
#[derive(Debug)]
pub struct Loaded {
    /// The settings, with secrets read from their files. Not yet checked against each other.
    pub config: Config,
    /// What should be logged once there is a log.
    pub warnings: Vec<String>,
}

/// Why settings could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file can't be read.
    #[error("file {} can't be read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("file {} is no valid TOML: line {line}, {problem}", path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where, from 1; what stands there may be a secret.
        line: usize,
        /// Why.
        problem: String,
    },
    /// The file has keys that mean nothing.
    #[error("unknown keys in {}: {}", path.display(), keys.join(", "))]
    UnknownKeys {
        /// Which file.
        path: PathBuf,
        /// The keys, with their sections.
        keys: Vec<String>,
    },
    /// A value has the wrong type.
    #[error("a setting can't be used")]
    Value(#[from] config::ConfigError),
    /// A secret is given twice.
    #[error("both {key} and {key}_file are given")]
    Twice {
        /// The key without `_file`.
        key: &'static str,
    },
    /// The file of a secret is empty.
    #[error("file {} of {key} is empty", path.display())]
    EmptySecret {
        /// The key without `_file`.
        key: &'static str,
        /// Which file.
        path: PathBuf,
    },
}

/// Reads the settings.
pub fn load(sources: &Sources<'_>) -> Result<Loaded, LoadError> {
    let known = known_keys();
    let mut builder = config::Config::builder();
    for (key, value) in &sources.defaults {
        builder = builder.set_default(*key, value.as_str())?;
    }
    if let Some(path) = sources.file {
        let text = read(path)?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            LoadError::Syntax { path: path.to_owned(), line, problem: error.message().to_owned() }
        })?;
        let keys: Vec<String> = toml_keys("", &toml::Value::Table(table))
            .into_iter()
            .filter(|key| !known.contains(key))
            .collect();
        if !keys.is_empty() {
            return Err(LoadError::UnknownKeys { path: path.to_owned(), keys });
        }
        builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
    }

    let mut warnings = Vec::new();
    let mut environment = config::Map::new();
    for (name, value) in &sources.environment {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        if known.contains(&rest.to_ascii_lowercase().replace("__", ".")) {
            environment.insert(name.clone(), value.clone());
        } else {
            warnings.push(format!("environment variable {name} names no setting and is ignored"));
        }
    }
    builder = builder.add_source(
        Environment::with_prefix("PORCHLIGHT")
            .prefix_separator("__")
            .separator("__")
            .source(Some(environment)),
    );
    for (key, value) in &sources.flags {
        builder = builder.set_override(*key, value.as_str())?;
    }

    let mut config: Config = builder.build()?.try_deserialize()?;
    let auth = &mut config.auth;
    read_secret("auth.master_secret", &mut auth.master_secret, auth.master_secret_file.as_deref())?;
    let redis = &mut config.redis;
    read_secret("redis.url", &mut redis.url, redis.url_file.as_deref())?;
    read_secret("redis.password", &mut redis.password, redis.password_file.as_deref())?;
    let file = redis.sentinel_password_file.as_deref();
    read_secret("redis.sentinel_password", &mut redis.sentinel_password, file)?;
    read_secret("sinks.redis", &mut config.sinks.redis, config.sinks.redis_file.as_deref())?;
    Ok(Loaded { config, warnings })
}

fn read(path: &Path) -> Result<String, LoadError> {
    std::fs::read_to_string(path).map_err(|source| LoadError::Unreadable { path: path.to_owned(), source })
}

fn read_secret(key: &'static str, secret: &mut Option<Secret>, file: Option<&Path>) -> Result<(), LoadError> {
    let Some(path) = file else { return Ok(()) };
    if secret.is_some() {
        return Err(LoadError::Twice { key });
    }
    let text = read(path)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(LoadError::EmptySecret { key, path: path.to_owned() });
    }
    *secret = Some(Secret::from(text.to_owned()));
    Ok(())
}

/// Every key there is, as `section.key`. A setting that is absent by default is a key all the same.
fn known_keys() -> BTreeSet<String> {
    fn walk(path: &str, value: &serde_json::Value, keys: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| walk(&join(path, name), value, keys));
            }
            _ => {
                keys.insert(path.to_owned());
            }
        }
    }
    let defaults = serde_json::to_value(Config::default()).expect("settings are plain data");
    let mut keys = BTreeSet::new();
    walk("", &defaults, &mut keys);
    keys
}

/// Every key of a file, as `section.key`. Empty sections have none; an unknown one is refused when the
/// settings are deserialized.
fn toml_keys(path: &str, value: &toml::Value) -> Vec<String> {
    match value {
        toml::Value::Table(table) => {
            table.iter().flat_map(|(name, value)| toml_keys(&join(path, name), value)).collect()
        }
        _ => vec![path.to_owned()],
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("porchlight.toml");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn flags_beat_the_environment_beats_the_file_beats_the_defaults() {
        let (_dir, path) = file(
            "[public]\naddr = \"127.0.0.1:1\"\nurl = \"https://a.example\"\n[limits]\nheartbeat = \"11s\"\nviewers = 5\n\
             [limits.visitor_rate]\nper_second = 7\nburst = 9\n",
        );
        let loaded = load(&Sources {
            file: Some(&path),
            environment: env(&[
                ("PORCHLIGHT__PUBLIC__ADDR", "127.0.0.1:2"),
                ("PORCHLIGHT__LIMITS__VIEWERS", "6"),
                ("PORCHLIGHT__LIMITS__CONNECTIONS", "1234"),
                ("PORCHLIGHT__ADMIN__REFLECTION", "true"),
                ("PORCHLIGHT__LIMITS__VISITOR_RATE__BURST", "10"),
                ("PORCHLIGHT__LOG__FORMAT", "json"),
            ]),
            flags: vec![("public.addr", "127.0.0.1:3".to_owned()), ("public.insecure", "true".to_owned())],
            defaults: vec![("public.addr", "127.0.0.1:0".to_owned()), ("demo.enabled", "true".to_owned())],
        })
        .unwrap();
        let config = loaded.config;
        assert_eq!(config.public.addr, "127.0.0.1:3".parse().unwrap());
        assert_eq!(
            config.public.url.as_deref(),
            Some("https://a.example"),
            "what is absent by default is a key"
        );
        assert!(config.public.insecure && config.admin.reflection && config.demo.enabled);
        assert_eq!(config.limits.viewers, 6);
        assert_eq!(config.limits.connections, Some(1234));
        assert_eq!(config.limits.heartbeat, Duration::from_secs(11));
        assert_eq!((config.limits.visitor_rate.per_second, config.limits.visitor_rate.burst), (7, 10));
        assert_eq!(config.log.format, crate::telemetry::LogFormat::Json);
        assert_eq!(config.limits.dead_after, crate::limits::DEAD_AFTER);
        assert!(loaded.warnings.is_empty());
    }

    #[test]
    fn a_list_is_a_list_or_a_text_with_commas() {
        let (_dir, path) = file("[sinks]\nallow = [\"10.0.0.0/8\", \"fd00::/8\"]\nretry_first = \"2ms\"\n");
        let of_file = load(&Sources { file: Some(&path), ..Sources::default() }).unwrap().config;
        let told = |text| env(&[("PORCHLIGHT__SINKS__ALLOW", text)]);
        let of_text = |text| load(&Sources { environment: told(text), ..Sources::default() });
        assert_eq!(of_text("10.0.0.0/8, fd00::/8").unwrap().config.sinks.allow, of_file.sinks.allow);
        assert_eq!((of_file.sinks.allow.len(), of_file.sinks.retry_first), (2, Duration::from_millis(2)));
        assert!(of_text("").unwrap().config.sinks.allow.is_empty());
        assert!(of_text("10.0.0.0/8,home").is_err());
    }

    #[test]
    fn unknown_keys_of_a_file_are_named() {
        let (_dir, path) =
            file("[public]\nadr = \"127.0.0.1:1\"\n[limitz]\nframe = 1\n[limits.frame]\nx = 1\n");
        let error = load(&Sources { file: Some(&path), ..Sources::default() }).unwrap_err().to_string();
        for key in ["public.adr", "limitz.frame", "limits.frame.x"] {
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn unknown_variables_only_warn() {
        let environment = env(&[
            ("PORCHLIGHT__SERVICE__HOST", "10.0.0.1"),
            ("PORCHLIGHT_PORT", "tcp://10.0.0.1:80"),
            ("HOME", "/"),
        ]);
        let loaded = load(&Sources { environment, ..Sources::default() }).unwrap();
        assert_eq!(loaded.warnings.len(), 1);
        assert!(loaded.warnings[0].contains("PORCHLIGHT__SERVICE__HOST"));
    }

    #[test]
    fn a_bad_value_names_its_key() {
        let environment = env(&[("PORCHLIGHT__LIMITS__VIEWERS", "many")]);
        let error = load(&Sources { environment, ..Sources::default() }).unwrap_err();
        let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(text.contains("viewers"), "{text}");
    }

    #[test]
    fn secrets_come_from_files_and_are_never_printed() {
        let (_dir, path) = file("canary-of-32-characters-abcdefgh\n");
        let environment = env(&[("PORCHLIGHT__AUTH__MASTER_SECRET_FILE", path.to_str().unwrap())]);
        let config = load(&Sources { environment, ..Sources::default() }).unwrap().config;
        assert_eq!(config.auth.master_secret.as_ref().unwrap().expose(), "canary-of-32-characters-abcdefgh");
        assert!(!config.to_toml().contains("canary"));
        assert!(!format!("{config:?}").contains("canary"));
        assert!(config.to_toml().contains("<hidden>"));
    }

    #[test]
    fn members_of_a_cluster_are_a_list_or_a_text_with_commas() {
        let (_dir, path) = file("[redis]\ncluster = [\"a:1\", \"b:2\"]\nwait = \"2s\"\n");
        let of_file = load(&Sources { file: Some(&path), ..Sources::default() }).unwrap().config.redis;
        assert_eq!((of_file.cluster.len(), of_file.wait), (2, Duration::from_secs(2)));
        let environment = env(&[("PORCHLIGHT__REDIS__CLUSTER", "a:1, b:2")]);
        let of_text = load(&Sources { environment, ..Sources::default() }).unwrap().config.redis;
        assert_eq!(of_text.cluster, of_file.cluster);
    }

    #[test]
    fn passwords_of_redis_are_secrets() {
        for (key, of) in [("PASSWORD", 0), ("SENTINEL_PASSWORD", 1)] {
            let (_dir, path) = file("canary\n");
            let name = format!("PORCHLIGHT__REDIS__{key}_FILE");
            let environment = env(&[(name.as_str(), path.to_str().unwrap())]);
            let config = load(&Sources { environment, ..Sources::default() }).unwrap().config;
            let read = [&config.redis.password, &config.redis.sentinel_password][of];
            assert_eq!(read.as_ref().unwrap().expose(), "canary");
            assert!(!config.to_toml().contains("canary") && !format!("{config:?}").contains("canary"));
        }
    }

    #[test]
    fn addresses_of_redis_are_secrets() {
        for key in ["REDIS__URL", "SINKS__REDIS"] {
            let (_dir, path) = file("redis://:canary@10.0.0.1/\n");
            let name = format!("PORCHLIGHT__{key}_FILE");
            let environment = env(&[(name.as_str(), path.to_str().unwrap())]);
            let config = load(&Sources { environment, ..Sources::default() }).unwrap().config;
            let url = if key == "REDIS__URL" { &config.redis.url } else { &config.sinks.redis };
            assert_eq!(url.as_ref().unwrap().expose(), "redis://:canary@10.0.0.1/");
            assert!(!config.to_toml().contains("canary") && !format!("{config:?}").contains("canary"));
        }
    }

    #[test]
    fn a_secret_given_twice_or_empty_is_refused() {
        let (_dir, path) = file("\n");
        let path = path.to_str().unwrap();
        let both =
            env(&[("PORCHLIGHT__AUTH__MASTER_SECRET", "x"), ("PORCHLIGHT__AUTH__MASTER_SECRET_FILE", path)]);
        let error = load(&Sources { environment: both, ..Sources::default() }).unwrap_err();
        assert!(matches!(error, LoadError::Twice { key: "auth.master_secret" }));
        let empty = env(&[("PORCHLIGHT__AUTH__MASTER_SECRET_FILE", path)]);
        let error = load(&Sources { environment: empty, ..Sources::default() }).unwrap_err();
        assert!(matches!(error, LoadError::EmptySecret { .. }));
    }

    #[test]
    fn what_is_printed_can_be_read_back() {
        let (_dir, path) = file(&Config::default().to_toml());
        let config = load(&Sources { file: Some(&path), ..Sources::default() }).unwrap().config;
        assert_eq!(config.limits, super::super::Limits::default());
    }
}
