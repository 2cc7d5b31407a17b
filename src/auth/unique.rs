//! The secret by which a visitor without a name of its own comes back as the same unique visitor.
//!
//! Derived, not stored: the server keeps nothing for visitors who never return.

use super::secret::MasterSecret;
use crate::ids::{GroupId, VisitorId};

/// The secret that goes with a server-issued visitor id: 256 bits in URL-safe base64.
pub fn secret(master: &MasterSecret, group: &GroupId, visitor: &VisitorId) -> String {
    super::base64url(&master.derive("unique-visitor", &[group.as_str(), visitor.as_str()]))
}

/// Whether the presented secret belongs to that visitor, in constant time. False for an id that the
/// server does not issue, whatever the secret.
pub fn verify(master: &MasterSecret, group: &GroupId, visitor: &VisitorId, presented: &str) -> bool {
    let genuine = super::same_secret(&secret(master, group, visitor), presented);
    genuine & visitor.is_unique()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_its_own_id_in_its_own_group() {
        let master = MasterSecret::from_bytes([2; 32]);
        let (a, b) = (GroupId::new("a").unwrap(), GroupId::new("b").unwrap());
        let (v, w) = (VisitorId::unique(1), VisitorId::unique(2));
        let good = secret(&master, &a, &v);
        assert!(verify(&master, &a, &v, &good));
        assert!(!verify(&master, &b, &v, &good));
        assert!(!verify(&master, &a, &w, &good));
        assert!(!verify(&master, &a, &v, ""));
        assert!(!verify(&MasterSecret::from_bytes([3; 32]), &a, &v, &good));
    }

    #[test]
    fn never_opens_a_company_id() {
        let master = MasterSecret::from_bytes([2; 32]);
        let (group, visitor) = (GroupId::new("a").unwrap(), VisitorId::new("C-1001").unwrap());
        assert!(!verify(&master, &group, &visitor, &secret(&master, &group, &visitor)));
    }
}
