//! The path manager of a kernel, by way of `ip mptcp`.

use std::net::IpAddr;

use crate::error::{LabError, Result};
use crate::netns::Netns;

/// Lets connections of a namespace have `subflows` subflows besides the first, and take up as many addresses that the
/// peer announces.
///
/// # Errors
/// The kernel refuses.
pub fn set_limits(netns: &Netns, subflows: u8, add_addr_accepted: u8) -> Result<()> {
    netns.ip(&format!("mptcp limits set subflow {subflows} add_addr_accepted {add_addr_accepted}")).map(drop)
}

/// Adds an endpoint; `flags` are words such as `signal`, `subflow`, `backup`, `fullmesh`, `port 4000`. Returns its id.
///
/// # Errors
/// The kernel refuses.
pub fn add(netns: &Netns, addr: IpAddr, interface: &str, flags: &str) -> Result<u8> {
    netns.ip(&format!("mptcp endpoint add {addr} dev {interface} {flags}"))?;
    let shown = netns.ip("mptcp endpoint show")?;
    id_of(&shown, addr)
}

/// Removes an endpoint: the kernel announces that, and closes the subflows that use it.
///
/// # Errors
/// There is none with this id.
pub fn remove(netns: &Netns, id: u8) -> Result<()> {
    netns.ip(&format!("mptcp endpoint delete id {id}")).map(drop)
}

/// Makes an endpoint a backup or a regular one: the kernel tells its peers by MP_PRIO.
///
/// # Errors
/// There is none with this id.
pub fn set_backup(netns: &Netns, id: u8, backup: bool) -> Result<()> {
    let flag = if backup { "backup" } else { "nobackup" };
    netns.ip(&format!("mptcp endpoint change id {id} {flag}")).map(drop)
}

/// Finds the id of an address in lines such as `10.77.1.1 id 1 signal dev k1`.
fn id_of(shown: &str, addr: IpAddr) -> Result<u8> {
    let addr = addr.to_string();
    let words = |line: &str| {
        let mut words = line.split_whitespace();
        let this = words.any(|word| word == addr) && words.any(|word| word == "id");
        this.then(|| words.next().and_then(|id| id.parse().ok())).flatten()
    };
    shown
        .lines()
        .find_map(words)
        .ok_or_else(|| LabError::Unexpected { what: format!("the endpoints, without {addr}"), found: shown.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_by_address() {
        let shown = "10.77.1.1 id 1 signal dev k1 \n10.77.1.11 id 7 subflow backup dev k2 \n";
        assert_eq!(id_of(shown, "10.77.1.11".parse().unwrap()).unwrap(), 7);
        assert!(id_of(shown, "10.77.1.12".parse().unwrap()).is_err());
    }
}
