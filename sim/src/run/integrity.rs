//! Whether bytes may arrive that nobody has sent.

use crate::network;
use crate::scenario::{Behaviour, OptionChoice, Scenario, Traffic, Transport};

/// Whether something on the way of a connection may change its bytes, or lead them elsewhere, so that nobody notices: RFC 8684
/// protects what DSS checksums cover, and nothing after a fallback (section 3.7).
pub(crate) fn may_be_wrong(scenario: &Scenario, traffic: &Traffic, fell_back: bool) -> bool {
    let multipath = traffic.transport == Transport::Mptcp;
    let (mut altered, mut disarmed) = (false, false);
    for middlebox in network::middleboxes(scenario, traffic) {
        match middlebox.behaviour {
            Behaviour::AlterPayload { .. } => altered = true,
            Behaviour::AlterOption(which) if multipath => {
                let all = matches!(which.option, OptionChoice::All | OptionChoice::Mptcp);
                altered |= all || which.option == OptionChoice::Dss;
                // The flag that asks for checksums.
                disarmed |= all || which.option == OptionChoice::MpCapable;
            }
            _ => {}
        }
    }
    let protected = multipath && scenario.mptcp.checksum && !fell_back && !disarmed;
    altered && !protected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_deliver_wrong_bytes() {
        let judge = |behaviour: &str, link: &str, transport: &str, fell_back| {
            let text = format!(
                "[links.p1]\n[links.p2]\n[mptcp]\nchecksum = true\n[middlebox.m]\nlink = \"{link}\"\n{behaviour}\n\
                 [[traffic]]\ntransport = \"{transport}\"\nbytes = \"1B\"\n"
            );
            let scenario = Scenario::parse(&text, "test").unwrap();
            may_be_wrong(&scenario, &scenario.traffic[0], fell_back)
        };
        let payload = "kind = \"alter-payload\"\nevery = 9";
        assert!(judge(payload, "p1", "tcp", false));
        assert!(!judge(payload, "p2", "tcp", false), "beside its way");
        assert!(!judge(payload, "p1", "mptcp", false), "checksums tell");
        assert!(judge(payload, "p1", "mptcp", true), "there are none after a fallback");
        let option = |which: &str| format!("kind = \"alter-option\"\noption = \"{which}\"");
        assert!(judge(&option("dss"), "p1", "mptcp", true));
        assert!(!judge(&option("dss"), "p1", "tcp", false), "there is no such option");
        assert!(!judge(&option("mp_capable"), "p1", "mptcp", true), "nothing changes the bytes");
        assert!(judge(&option("all"), "p1", "mptcp", false), "the flag of checksums is altered too");
        assert!(!judge("kind = \"split\"\nsize = \"99B\"", "p1", "tcp", true));
    }
}
