//! Whether namespaces are still those that they were, so that no command is executed on another disk than it was meant for.

use std::collections::BTreeMap;

use nvme_tcp::host::{Namespace, Unusable};

use super::HostError;

/// Compares the namespaces of a controller with those that were there before, and remembers new ones. Those that are not there any more are remembered too: another
/// one may come back under their number.
///
/// Of those that are of no use now, only the ones count that [are used](check): nobody may want the others ever again.
pub(super) fn recognise(
    known: &mut BTreeMap<u32, Namespace>,
    usable: &BTreeMap<u32, Namespace>,
    unusable: &BTreeMap<u32, Unusable>,
    is_used: impl Fn(u32) -> bool,
) -> Result<(), HostError> {
    for nsid in unusable.keys().filter(|nsid| is_used(**nsid)) {
        check(known, unusable, *nsid)?;
    }
    for namespace in usable.values() {
        let known = known.entry(namespace.nsid).or_insert_with(|| namespace.clone());
        if (&known.identifiers, known.block_size) != (&namespace.identifiers, namespace.block_size) {
            return Err(HostError::AnotherDisk { nsid: namespace.nsid });
        }
    }
    Ok(())
}

/// Whether commands for this namespace may go to a controller to which these are of no use: not if it was known before. What never was of use is its caller's
/// business.
pub(super) fn check(
    known: &BTreeMap<u32, Namespace>,
    unusable: &BTreeMap<u32, Unusable>,
    nsid: u32,
) -> Result<(), HostError> {
    match unusable.get(&nsid) {
        Some(reason) if known.contains_key(&nsid) => Err(HostError::Unusable { nsid, reason: *reason }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use nvme_tcp::command::NamespaceId;

    use super::*;

    fn namespaces(uuid: u8) -> BTreeMap<u32, Namespace> {
        let namespace = Namespace {
            nsid: 1,
            blocks: 8,
            capacity: 8,
            used: 8,
            block_size: 4096,
            identifiers: vec![NamespaceId::Uuid([uuid; 16])],
            ana_group: 1,
            is_shared: true,
            is_write_protected: false,
            reservations: 0,
            copy_limits: (1, 1, 1),
        };
        [(1, namespace)].into()
    }

    #[test]
    fn who_cannot_be_recognised_gets_no_commands() {
        let mut known = BTreeMap::new();
        let (none, all) = (BTreeMap::new(), BTreeMap::new());
        let used = |_| true;
        // One that never was of use does not matter.
        assert!(recognise(&mut known, &namespaces(1), &[(2, Unusable::Metadata(8))].into(), used).is_ok());
        assert!(recognise(&mut known, &namespaces(1), &all, used).is_ok());
        let error = recognise(&mut known, &namespaces(2), &all, used).unwrap_err();
        assert!(matches!(error, HostError::AnotherDisk { nsid: 1 }) && error.is_final());
        let error = recognise(&mut known, &none, &[(1, Unusable::Metadata(8))].into(), used).unwrap_err();
        assert!(matches!(error, HostError::Unusable { nsid: 1, .. }) && error.is_final(), "{error}");
        let error = recognise(&mut known, &none, &[(1, Unusable::NotDescribed)].into(), used).unwrap_err();
        assert!(matches!(error, HostError::Unusable { nsid: 1, .. }) && !error.is_final(), "{error}");
        // It is gone, and comes back as another one.
        assert!(recognise(&mut known, &none, &all, used).is_ok());
        assert!(recognise(&mut known, &namespaces(2), &all, used).is_err());
        assert!(recognise(&mut known, &namespaces(1), &all, used).is_ok());
    }

    #[test]
    fn what_nobody_has_used_matters_once_somebody_wants_it() {
        let mut known = namespaces(1);
        let unusable = [(1, Unusable::Metadata(8)), (2, Unusable::NotDescribed)].into();
        assert!(recognise(&mut known, &BTreeMap::new(), &unusable, |nsid| nsid != 1).is_ok());
        assert!(matches!(check(&known, &unusable, 1), Err(HostError::Unusable { nsid: 1, .. })));
        // This one never was of use, and this one is not listed.
        assert!(check(&known, &unusable, 2).is_ok() && check(&known, &unusable, 3).is_ok());
        // What it was is remembered.
        assert!(recognise(&mut known, &namespaces(2), &BTreeMap::new(), |_| false).is_err());
    }
}
