//! What guests' devices allowed when they were last here.
//!
//! Decides for how many that is kept, and what fills the gaps of what a guest tells at the door. It is a memory for
//! friendly words and proves nothing: whoever names a device may be anybody, and learns only which steps its owner would
//! still have. Each node has its own, until it stops; an app tells everything anew each time that it comes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::ids::GroupId;
use crate::limits;
use crate::model::session::Device;
use crate::wire::permission::{Facts, Told};

/// What a guest tells of its device at the door.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceTold {
    /// Its name, if it has one.
    pub id: Option<String>,
    /// Some of what it allows.
    pub permissions: Told,
}

type Generation = HashMap<(GroupId, Arc<str>), Facts>;

/// Two generations: when the younger is full it becomes the older, and the older is forgotten.
#[derive(Debug, Default)]
pub(super) struct Devices(Mutex<(Generation, Generation)>);

impl Devices {
    /// The device at the door, with what was known of it before. None where it told nothing, as browsers do.
    pub(super) fn known(&self, group: &GroupId, told: DeviceTold) -> Option<Device> {
        if told.permissions.is_empty() {
            return None;
        }
        let id: Option<Arc<str>> = told.id.map(Arc::from);
        let before = id.as_ref().and_then(|id| {
            let key = (group.clone(), Arc::clone(id));
            let kept = self.0.lock();
            kept.0.get(&key).or_else(|| kept.1.get(&key)).copied()
        });
        Some(Device { id, facts: before.unwrap_or_default().with(told.permissions) })
    }

    /// Keeps what is known of a device by now.
    pub(super) fn keep(&self, group: &GroupId, device: Device) {
        let Device { id: Some(id), facts } = device else { return };
        let mut kept = self.0.lock();
        let (young, old) = &mut *kept;
        if young.len() >= limits::DEVICES {
            *old = std::mem::take(young);
        }
        young.insert((group.clone(), id), facts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::permission::{Fact, Permission};

    fn told(id: &str, permissions: &[(Permission, Fact)]) -> DeviceTold {
        DeviceTold { id: Some(id.to_owned()), permissions: permissions.iter().copied().collect() }
    }

    #[test]
    fn what_was_known_fills_the_gaps_of_what_is_told() {
        let (devices, group) = (Devices::default(), GroupId::new("demo").unwrap());
        let (install, screen) = (Permission::Install, Permission::ScreenRecording);
        let first =
            devices.known(&group, told("d", &[(install, Fact::Granted), (screen, Fact::Granted)])).unwrap();
        devices.keep(&group, first);
        // Its app is gone, and its page asks in its place.
        let page = devices.known(&group, told("d", &[(install, Fact::Prompt)])).unwrap();
        assert_eq!((page.facts.install, page.facts.screen_recording), (Fact::Prompt, Fact::Granted));
        // Neither another device nor another group knows of it, and who tells nothing is a browser.
        let other = GroupId::new("other").unwrap();
        for (group, id) in [(&group, "e"), (&other, "d")] {
            let device = devices.known(group, told(id, &[(install, Fact::Prompt)])).unwrap();
            assert_eq!(device.facts.screen_recording, Fact::NotNeeded);
        }
        assert_eq!(devices.known(&group, told("d", &[])), None);
    }

    #[test]
    fn only_so_many_are_kept() {
        let (devices, group) = (Devices::default(), GroupId::new("demo").unwrap());
        for n in 0..3 * limits::DEVICES {
            let device = Device { id: Some(n.to_string().into()), facts: Facts::default() };
            devices.keep(&group, device);
        }
        let kept = devices.0.lock();
        assert!(kept.0.len() <= limits::DEVICES && kept.1.len() <= limits::DEVICES);
        assert!(kept.0.contains_key(&(group, Arc::from((3 * limits::DEVICES - 1).to_string()))));
    }
}
