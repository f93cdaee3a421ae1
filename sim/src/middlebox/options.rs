//! TCP options in place, and which of them a middlebox is after.

use std::ops::Range;

use mptcp_core::wire::{KIND as MPTCP, Subtype};

use super::Direction;
use super::connections::Connections;
use super::segment::{ACK, FIN, RST, SYN, Segment};
use crate::scenario::{OptionChoice, OptionMatch, Segments};

pub(super) const NOP: u8 = 1;
pub(super) const SACK: u8 = 5;
const END: u8 = 0;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
pub(super) const TIMESTAMPS: u8 = 8;

/// Where the options of a segment are in its frame, but for what only fills. It ends where the area is malformed.
pub(super) fn ranges(segment: &Segment<'_>) -> Vec<Range<usize>> {
    let area = segment.option_area();
    let bytes = segment.bytes();
    let mut found = Vec::new();
    let mut at = area.start;
    while at < area.end {
        match bytes[at] {
            END => break,
            NOP => at += 1,
            _ => {
                let len = bytes.get(at + 1).copied().map_or(0, usize::from);
                if len < 2 || at + len > area.end {
                    break;
                }
                found.push(at..at + len);
                at += len;
            }
        }
    }
    found
}

/// Whether an option is one of those that are meant.
pub(super) fn is_meant(choice: OptionChoice, option: &[u8]) -> bool {
    let kind = option[0];
    let mptcp = |subtype: Subtype| kind == MPTCP && option.get(2).is_some_and(|byte| byte >> 4 == subtype as u8);
    match choice {
        OptionChoice::All => true,
        OptionChoice::Mptcp => kind == MPTCP,
        OptionChoice::MpCapable => mptcp(Subtype::MpCapable),
        OptionChoice::MpJoin => mptcp(Subtype::MpJoin),
        OptionChoice::Dss => mptcp(Subtype::Dss),
        OptionChoice::AddAddr => mptcp(Subtype::AddAddr),
        OptionChoice::RemoveAddr => mptcp(Subtype::RemoveAddr),
        OptionChoice::MpPrio => mptcp(Subtype::MpPrio),
        OptionChoice::MpFail => mptcp(Subtype::MpFail),
        OptionChoice::MpFastclose => mptcp(Subtype::MpFastclose),
        OptionChoice::MpTcprst => mptcp(Subtype::MpTcprst),
        OptionChoice::Sack => matches!(kind, SACK | SACK_PERMITTED),
        OptionChoice::Timestamps => kind == TIMESTAMPS,
        OptionChoice::WindowScale => kind == WINDOW_SCALE,
        OptionChoice::Mss => kind == MSS,
    }
}

/// Overwrites an option by NOPs.
pub(super) fn erase(segment: &mut Segment<'_>, option: &Range<usize>) {
    segment.write(option.start, &[NOP; 255][..option.len()]);
}

/// Finds the options that an [`OptionMatch`] means.
#[derive(Debug)]
pub(super) struct Selector {
    which: OptionMatch,
    /// Segments of each connection that would have matched so far.
    seen: Connections<u64>,
}

impl Selector {
    pub(super) fn new(which: OptionMatch) -> Self {
        Self { which, seen: Connections::default() }
    }

    /// The options of this segment that are meant; none before and after its connection's turn.
    pub(super) fn select(&mut self, segment: &Segment<'_>, direction: Direction) -> Vec<Range<usize>> {
        let OptionMatch { option, segments, skip, count } = self.which;
        if !is_of(segments, segment) {
            return Vec::new();
        }
        let mut found = ranges(segment);
        found.retain(|range| is_meant(option, &segment.bytes()[range.clone()]));
        if found.is_empty() {
            return found;
        }
        let seen = self.seen.of(segment.connection(direction));
        let number = *seen;
        *seen += 1;
        if number < skip || count.is_some_and(|count| number - skip >= count) {
            found.clear();
        }
        found
    }
}

fn is_of(segments: Segments, segment: &Segment<'_>) -> bool {
    let flags = segment.flags();
    match segments {
        Segments::All => true,
        Segments::Syn => flags & (SYN | ACK) == SYN,
        Segments::SynAck => flags & (SYN | ACK) == SYN | ACK,
        Segments::Data => flags & SYN == 0 && !segment.payload().is_empty(),
        Segments::Ack => flags & SYN == 0 && segment.payload().is_empty(),
        Segments::Fin => flags & FIN != 0,
        Segments::Rst => flags & RST != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::testing::{DSS, Family, MP_CAPABLE, tcp};

    fn found(area: &[u8]) -> Vec<Vec<u8>> {
        let mut packet = tcp(Family::V4).options(area).up();
        let segment = Segment::open(&mut packet.frame).unwrap();
        ranges(&segment).into_iter().map(|range| segment.bytes()[range].to_vec()).collect()
    }

    #[test]
    fn options_are_found_up_to_the_end_or_a_mistake() {
        assert_eq!(found(&[1, 1, 4, 2, 1, 3, 3, 7]), [vec![4, 2], vec![3, 3, 7]]);
        assert_eq!(found(&[4, 2, 0, 0, 3, 3, 7, 1]), [vec![4, 2]]);
        assert_eq!(found(&[4, 2, 3, 1]), [vec![4, 2]]);
        assert_eq!(found(&[4, 2, 1, 8]), [vec![4, 2]]);
        assert_eq!(found(&[2, 9, 1, 1]), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_choice_means_its_option_only() {
        let samples: [(OptionChoice, &[u8]); 6] = [
            (OptionChoice::MpCapable, &MP_CAPABLE),
            (OptionChoice::Dss, &DSS),
            (OptionChoice::Sack, &[5, 10, 0, 0, 0, 1, 0, 0, 0, 2]),
            (OptionChoice::Timestamps, &[8, 10, 0, 0, 0, 1, 0, 0, 0, 2]),
            (OptionChoice::WindowScale, &[3, 3, 7]),
            (OptionChoice::Mss, &[2, 4, 5, 180]),
        ];
        for (choice, _) in samples {
            for (other, option) in samples {
                assert_eq!(is_meant(choice, option), choice == other, "{choice} {other}");
                assert!(is_meant(OptionChoice::All, option));
            }
        }
        assert!(is_meant(OptionChoice::Mptcp, &DSS) && !is_meant(OptionChoice::Mptcp, &[3, 3, 7]));
        for (subtype, choice) in [
            OptionChoice::MpCapable,
            OptionChoice::MpJoin,
            OptionChoice::Dss,
            OptionChoice::AddAddr,
            OptionChoice::RemoveAddr,
            OptionChoice::MpPrio,
            OptionChoice::MpFail,
            OptionChoice::MpFastclose,
            OptionChoice::MpTcprst,
        ]
        .into_iter()
        .enumerate()
        {
            assert!(is_meant(choice, &[MPTCP, 4, (subtype as u8) << 4, 0]), "{choice}");
            assert!(!is_meant(choice, &[MPTCP, 4, 0xf0, 0]) && !is_meant(choice, &[MPTCP, 2]), "{choice}");
        }
    }

    #[test]
    fn kinds_of_segments_are_told_apart() {
        let kinds = |flags: u8, payload: &[u8]| -> Vec<Segments> {
            let mut packet = tcp(Family::V4).flags(flags).payload(payload).up();
            let segment = Segment::open(&mut packet.frame).unwrap();
            Segments::ALL.iter().copied().filter(|kind| is_of(*kind, &segment)).collect()
        };
        assert_eq!(kinds(SYN, b""), [Segments::All, Segments::Syn]);
        assert_eq!(kinds(SYN | ACK, b""), [Segments::All, Segments::SynAck]);
        assert_eq!(kinds(ACK, b"x"), [Segments::All, Segments::Data]);
        assert_eq!(kinds(ACK, b""), [Segments::All, Segments::Ack]);
        assert_eq!(kinds(ACK | FIN, b"x"), [Segments::All, Segments::Data, Segments::Fin]);
        assert_eq!(kinds(RST, b""), [Segments::All, Segments::Ack, Segments::Rst]);
    }

    #[test]
    fn each_connection_has_its_turn() {
        let which = OptionMatch { option: OptionChoice::Dss, segments: Segments::Data, skip: 1, count: Some(2) };
        let mut selector = Selector::new(which);
        let mut turn = |port: u16, options: &[u8]| {
            let mut packet = tcp(Family::V4).ports(port, 80).options(options).payload(b"x").up();
            let segment = Segment::open(&mut packet.frame).unwrap();
            selector.select(&segment, Direction::Up).len()
        };
        let first: Vec<usize> = (0..5).map(|_| turn(1, &DSS)).collect();
        assert_eq!(first, [0, 1, 1, 0, 0]);
        assert_eq!(turn(2, &DSS), 0);
        assert_eq!(turn(2, &[]), 0, "no option: not counted");
        assert_eq!(turn(2, &DSS), 1);
    }
}
