//! Middleboxes: what may happen to segments between honest hosts.

use tcp_adapter::Frame;
use tcp_adapter::conformance::packet::{Packet, SYN};

/// Gets each frame with the host that sent it; gives those that go on.
pub(crate) type Middlebox = Box<dyn FnMut(usize, Frame) -> Vec<Frame>>;

/// Kind of MPTCP options.
pub(crate) const MPTCP: u8 = 30;

/// The subtypes of the MPTCP options of a segment.
pub(crate) fn subtypes(packet: &Packet) -> Vec<u8> {
    whole_options(&packet.options).iter().filter(|option| option[0] == MPTCP).map(|option| option[2] >> 4).collect()
}

/// A middlebox that sees TCP segments as values; what is no TCP segment passes.
pub(crate) fn on_packets(mut change: impl FnMut(usize, Packet) -> Vec<Packet> + 'static) -> Middlebox {
    Box::new(move |host, frame| match Packet::parse(&frame) {
        Some(packet) => change(host, packet).iter().map(Packet::to_frame).collect(),
        None => vec![frame],
    })
}

/// Strips the MPTCP options of the segments that `which` chooses.
pub(crate) fn strip(mut which: impl FnMut(usize, &Packet) -> bool + 'static) -> Middlebox {
    on_packets(move |host, mut packet| {
        if which(host, &packet) {
            remove_options(&mut packet, |_| true);
        }
        vec![packet]
    })
}

/// Removes the MPTCP options whose subtype `which` chooses.
pub(crate) fn remove_options(packet: &mut Packet, which: impl Fn(u8) -> bool) {
    let keep = |option: &&Vec<u8>| option[0] != MPTCP || !which(option[2] >> 4);
    packet.options = whole_options(&packet.options).iter().filter(keep).flatten().copied().collect();
}

/// Changes the first MPTCP option of a subtype in place; whether there was one.
pub(crate) fn edit_option(packet: &mut Packet, subtype: u8, edit: impl FnOnce(&mut [u8])) -> bool {
    let mut options = whole_options(&packet.options);
    let found = options.iter_mut().find(|option| option[0] == MPTCP && option[2] >> 4 == subtype);
    let is_there = found.is_some();
    if let Some(option) = found {
        edit(option);
    }
    packet.options = options.concat();
    is_there
}

/// Puts another option in place of each MPTCP option of a subtype.
pub(crate) fn replace_option(packet: &mut Packet, subtype: u8, replace: impl Fn(&[u8]) -> Vec<u8>) {
    let options = whole_options(&packet.options)
        .into_iter()
        .map(|option| if option[0] == MPTCP && option[2] >> 4 == subtype { replace(&option) } else { option });
    packet.options = options.flatten().collect();
}

pub(crate) fn is_syn(packet: &Packet) -> bool {
    packet.has(SYN)
}

/// The options of a header, one by one, without padding.
pub(crate) fn whole_options(mut area: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    loop {
        match *area {
            [] | [0, ..] => return found,
            [1, ref rest @ ..] => area = rest,
            [_, len, ..] if len >= 2 && usize::from(len) <= area.len() => {
                found.push(area[..usize::from(len)].to_vec());
                area = &area[usize::from(len)..];
            }
            _ => panic!("a stack sent malformed options: {area:?}"),
        }
    }
}
