//! What an agent may do in its group, as carried in tokens and answers. Who holds what is a setting.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An agent's permissions. On the wire a list of names: `["user","admin"]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions {
    /// May show, view and join.
    pub user: bool,
    /// May change the group's settings.
    pub admin: bool,
    /// May send its own camera.
    pub agent_video: bool,
}

impl Permissions {
    /// The names of the permissions held, in fixed order.
    pub fn names(self) -> Vec<&'static str> {
        [("user", self.user), ("admin", self.admin), ("agent_video", self.agent_video)]
            .into_iter()
            .filter_map(|(name, held)| held.then_some(name))
            .collect()
    }
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

impl<'de> Deserialize<'de> for Permissions {
    /// Names of a newer version are passed over: they grant nothing here.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut held = Self::default();
        for name in Vec::<String>::deserialize(deserializer)? {
            match name.as_str() {
                "user" => held.user = true,
                "admin" => held.admin = true,
                "agent_video" => held.agent_video = true,
                _ => {}
            }
        }
        Ok(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_names_and_read_back() {
        for bits in 0..8 {
            let held = Permissions { user: bits & 1 > 0, admin: bits & 2 > 0, agent_video: bits & 4 > 0 };
            let json = serde_json::to_string(&held).unwrap();
            assert_eq!(serde_json::from_str::<Permissions>(&json).unwrap(), held, "{json}");
        }
        let all = Permissions { user: true, admin: true, agent_video: true };
        assert_eq!(serde_json::to_string(&all).unwrap(), r#"["user","admin","agent_video"]"#);
    }

    #[test]
    fn unknown_names_grant_nothing() {
        let held: Permissions = serde_json::from_str(r#"["root","user"]"#).unwrap();
        assert_eq!(held, Permissions { user: true, ..Default::default() });
    }
}
