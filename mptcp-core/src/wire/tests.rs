//! Every form of every option against bytes written out from the figures of RFC 8684.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;
use crate::keys::{Key, Token};

const KEY_A: Key = Key(0x0102_0304_0506_0708);
const KEY_B: Key = Key(0x1112_1314_1516_1718);
const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5));

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.split_whitespace().collect::<String>().into_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn flags(checksum: bool, deny_join_initial: bool) -> CapableFlags {
    CapableFlags { checksum, extensibility: false, deny_join_initial, crypto: CapableFlags::HMAC_SHA256 }
}

fn dss(data_ack: Option<WireSeq>, mapping: Option<(WireSeq, Option<u16>)>, data_fin: bool) -> MptcpOption {
    let mapping = mapping.map(|(dsn, checksum)| DssMapping { dsn, ssn: 0x3132_3334, len: 0x0500, checksum });
    MptcpOption::Dss(Dss { data_ack, mapping, data_fin })
}

fn add_addr(addr_id: u8, addr: IpAddr, port: Option<u16>, echo: bool) -> MptcpOption {
    let kind = if echo {
        AddAddrKind::Echo
    } else {
        AddAddrKind::Announce { hmac: [0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7] }
    };
    MptcpOption::AddAddr(AddAddr { addr_id: AddrId(addr_id), addr, port, kind })
}

fn remove_addr(ids: &[u8]) -> MptcpOption {
    let ids: Vec<_> = ids.iter().map(|&id| AddrId(id)).collect();
    MptcpOption::RemoveAddr(RemoveAddr::new(&ids).unwrap())
}

/// Every form, with its bytes.
pub(super) fn forms() -> Vec<(Vec<u8>, MptcpOption)> {
    let mut forms = handshake_forms();
    forms.extend(dss_forms());
    forms.extend(address_forms());
    forms.extend(control_forms());
    forms.into_iter().map(|(hex, option)| (bytes(hex), option)).collect()
}

fn handshake_forms() -> Vec<(&'static str, MptcpOption)> {
    let version = VERSION;
    let keyed = flags(true, false);
    let hmac = std::array::from_fn(|i| 0xb0 + u8::try_from(i).unwrap());
    vec![
        ("1e 04 01 01", MptcpOption::Capable(MpCapable::Syn { version, flags: flags(false, false) })),
        ("1e 04 01 a1", MptcpOption::Capable(MpCapable::Syn { version, flags: flags(true, true) })),
        (
            "1e 0c 01 21 0102030405060708",
            MptcpOption::Capable(MpCapable::SynAck { version, flags: flags(false, true), key: KEY_A }),
        ),
        (
            "1e 14 01 81 0102030405060708 1112131415161718",
            MptcpOption::Capable(MpCapable::Ack { version, flags: keyed, sender_key: KEY_A, receiver_key: KEY_B }),
        ),
        (
            "1e 16 01 01 0102030405060708 1112131415161718 0578",
            MptcpOption::Capable(MpCapable::AckData {
                version,
                flags: flags(false, false),
                sender_key: KEY_A,
                receiver_key: KEY_B,
                data_len: 1400,
                checksum: None,
            }),
        ),
        (
            "1e 18 01 81 0102030405060708 1112131415161718 0578 cafe",
            MptcpOption::Capable(MpCapable::AckData {
                version,
                flags: keyed,
                sender_key: KEY_A,
                receiver_key: KEY_B,
                data_len: 1400,
                checksum: Some(0xcafe),
            }),
        ),
        (
            "1e 0c 11 05 55c53f5d deadbeef",
            MptcpOption::Join(MpJoin::Syn {
                backup: true,
                addr_id: AddrId(5),
                token: Token(0x55c5_3f5d),
                nonce: 0xdead_beef,
            }),
        ),
        (
            "1e 10 10 06 9091929394959697 00c0ffee",
            MptcpOption::Join(MpJoin::SynAck {
                backup: false,
                addr_id: AddrId(6),
                hmac: [0x90, 0x91, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97],
                nonce: 0x00c0_ffee,
            }),
        ),
        ("1e 18 10 00 b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3", MptcpOption::Join(MpJoin::Ack { hmac })),
    ]
}

fn dss_forms() -> Vec<(&'static str, MptcpOption)> {
    let ack4 = Some(WireSeq::Short(0x4142_4344));
    let ack8 = Some(WireSeq::Long(0x4142_4344_4546_4748));
    let dsn4 = WireSeq::Short(0x5152_5354);
    let dsn8 = WireSeq::Long(0x5152_5354_5556_5758);
    let sum = Some(0x2122);
    vec![
        ("1e 04 20 00", dss(None, None, false)),
        ("1e 08 20 01 41424344", dss(ack4, None, false)),
        ("1e 0c 20 03 4142434445464748", dss(ack8, None, false)),
        ("1e 0e 20 04 51525354 31323334 0500", dss(None, Some((dsn4, None)), false)),
        ("1e 10 20 04 51525354 31323334 0500 2122", dss(None, Some((dsn4, sum)), false)),
        ("1e 12 20 1c 5152535455565758 31323334 0500", dss(None, Some((dsn8, None)), true)),
        ("1e 14 20 0c 5152535455565758 31323334 0500 2122", dss(None, Some((dsn8, sum)), false)),
        ("1e 12 20 05 41424344 51525354 31323334 0500", dss(ack4, Some((dsn4, None)), false)),
        ("1e 14 20 15 41424344 51525354 31323334 0500 2122", dss(ack4, Some((dsn4, sum)), true)),
        ("1e 16 20 0d 41424344 5152535455565758 31323334 0500", dss(ack4, Some((dsn8, None)), false)),
        ("1e 18 20 0d 41424344 5152535455565758 31323334 0500 2122", dss(ack4, Some((dsn8, sum)), false)),
        ("1e 16 20 07 4142434445464748 51525354 31323334 0500", dss(ack8, Some((dsn4, None)), false)),
        ("1e 18 20 07 4142434445464748 51525354 31323334 0500 2122", dss(ack8, Some((dsn4, sum)), false)),
        ("1e 1a 20 0f 4142434445464748 5152535455565758 31323334 0500", dss(ack8, Some((dsn8, None)), false)),
        ("1e 1c 20 1f 4142434445464748 5152535455565758 31323334 0500 2122", dss(ack8, Some((dsn8, sum)), true)),
    ]
}

fn address_forms() -> Vec<(&'static str, MptcpOption)> {
    vec![
        ("1e 10 30 02 c0000207 a0a1a2a3a4a5a6a7", add_addr(2, V4, None, false)),
        ("1e 12 30 02 c0000207 1144 a0a1a2a3a4a5a6a7", add_addr(2, V4, Some(4420), false)),
        ("1e 08 31 02 c0000207", add_addr(2, V4, None, true)),
        ("1e 0a 31 02 c0000207 1144", add_addr(2, V4, Some(4420), true)),
        ("1e 1c 30 ff 20010db8000000000000000000000005 a0a1a2a3a4a5a6a7", add_addr(255, V6, None, false)),
        ("1e 1e 30 ff 20010db8000000000000000000000005 1144 a0a1a2a3a4a5a6a7", add_addr(255, V6, Some(4420), false)),
        ("1e 14 31 ff 20010db8000000000000000000000005", add_addr(255, V6, None, true)),
        ("1e 16 31 ff 20010db8000000000000000000000005 1144", add_addr(255, V6, Some(4420), true)),
        ("1e 04 40 07", remove_addr(&[7])),
        ("1e 07 40 07 00 ff 03", remove_addr(&[7, 0, 255, 3])),
    ]
}

fn control_forms() -> Vec<(&'static str, MptcpOption)> {
    let reset = |transient, reason| MptcpOption::Tcprst(MpTcprst { transient, reason });
    vec![
        ("1e 03 50", MptcpOption::Prio(MpPrio { backup: false })),
        ("1e 03 51", MptcpOption::Prio(MpPrio { backup: true })),
        ("1e 0c 60 00 5152535455565758", MptcpOption::Fail(MpFail { dsn: 0x5152_5354_5556_5758 })),
        ("1e 0c 70 00 1112131415161718", MptcpOption::Fastclose(MpFastclose { receiver_key: KEY_B })),
        ("1e 04 80 00", reset(false, ResetReason::Unspecified)),
        ("1e 04 80 01", reset(false, ResetReason::MptcpSpecific)),
        ("1e 04 81 02", reset(true, ResetReason::LackOfResources)),
        ("1e 04 80 03", reset(false, ResetReason::Prohibited)),
        ("1e 04 81 04", reset(true, ResetReason::TooMuchOutstanding)),
        ("1e 04 81 05", reset(true, ResetReason::UnacceptablePerformance)),
        ("1e 04 80 06", reset(false, ResetReason::MiddleboxInterference)),
        ("1e 04 81 c8", reset(true, ResetReason::Other(200))),
    ]
}

#[test]
fn every_form_is_read_from_its_bytes() {
    for (bytes, option) in forms() {
        assert_eq!(MptcpOption::parse(&bytes), Ok(option), "{bytes:02x?}");
    }
}

#[test]
fn every_form_is_written_as_its_bytes() {
    for (bytes, option) in forms() {
        let mut out = OptionSpace::new(bytes.len());
        assert!(option.emit(&mut out), "{option:?}");
        assert_eq!(out.as_slice(), bytes, "{option:?}");
        assert_eq!(option.len(), bytes.len(), "{option:?}");
        assert_eq!(option.subtype() as u8, bytes[2] >> 4, "{option:?}");
    }
}

#[test]
fn an_option_without_room_is_not_begun() {
    for (bytes, option) in forms() {
        let mut out = OptionSpace::new(bytes.len() + 3);
        assert!(out.push(&[1, 1, 1, 1]));
        assert!(!option.emit(&mut out), "{option:?}");
        assert_eq!(out.as_slice(), &[1, 1, 1, 1]);
    }
}

#[test]
fn a_removal_lists_as_many_ids_as_fit() {
    let most: Vec<_> = (0..37).map(AddrId).collect();
    let removal = RemoveAddr::new(&most).unwrap();
    assert_eq!(removal.iter().collect::<Vec<_>>(), most);
    let mut out = OptionSpace::new(OptionSpace::MAX);
    assert!(MptcpOption::RemoveAddr(removal).emit(&mut out));
    assert_eq!(MptcpOption::parse(out.as_slice()), Ok(MptcpOption::RemoveAddr(removal)));

    assert_eq!(RemoveAddr::new(&[]), None);
    assert_eq!(RemoveAddr::new(&[AddrId(1); 38]), None);
    assert_eq!(format!("{:?}", RemoveAddr::new(&[AddrId(7)]).unwrap()), "RemoveAddr([AddrId(7)])");
}

#[test]
fn malformed_options_are_refused_by_name() {
    let refusal = |hex| MptcpOption::parse(&bytes(hex)).unwrap_err();
    assert_eq!(refusal(""), WireError::NotMptcp { length: 0 });
    assert_eq!(refusal("02 04 05 b4"), WireError::NotMptcp { length: 4 });
    assert_eq!(refusal("1e"), WireError::NoSubtype { length: 1 });
    assert_eq!(refusal("1e 02"), WireError::NoSubtype { length: 2 });
    assert_eq!(refusal("1e 05 01 01"), WireError::LengthByte { claimed: 5, length: 4 });
    assert_eq!(refusal("1e 04 90 00"), WireError::UnknownSubtype { subtype: 9, length: 4 });
    assert_eq!(refusal("1e 04 f0 00"), WireError::UnknownSubtype { subtype: 15, length: 4 });
    assert_eq!(refusal("1e 03 01"), WireError::CapableLength { version: 1, length: 3 });
    assert_eq!(refusal("1e 06 02 01 0000"), WireError::CapableLength { version: 2, length: 6 });
    assert_eq!(refusal("1e 08 10 00 00000000"), WireError::Length { subtype: Subtype::MpJoin, length: 8 });
    assert_eq!(refusal("1e 03 20"), WireError::Length { subtype: Subtype::Dss, length: 3 });
    assert_eq!(refusal("1e 03 40"), WireError::Length { subtype: Subtype::RemoveAddr, length: 3 });
    assert_eq!(refusal("1e 04 60 00"), WireError::Length { subtype: Subtype::MpFail, length: 4 });
    assert_eq!(refusal("1e 04 70 00"), WireError::Length { subtype: Subtype::MpFastclose, length: 4 });
    assert_eq!(refusal("1e 03 80"), WireError::Length { subtype: Subtype::MpTcprst, length: 3 });
}

#[test]
fn a_priority_with_the_address_id_of_version_0_is_refused() {
    let refusal = MptcpOption::parse(&bytes("1e 04 51 02")).unwrap_err();
    assert_eq!(refusal, WireError::Length { subtype: Subtype::MpPrio, length: 4 });
    assert_eq!(refusal.to_string(), "a MP_PRIO cannot have 4 bytes");
}

#[test]
fn a_dss_whose_flags_and_length_disagree_is_refused() {
    let refusal = |hex| MptcpOption::parse(&bytes(hex)).unwrap_err();
    let disagreement = |flags, length| WireError::FlagsLength { subtype: Subtype::Dss, flags, length };
    assert_eq!(refusal("1e 08 20 00 00000000"), disagreement(0x00, 8));
    assert_eq!(refusal("1e 08 20 0a 00000000"), disagreement(0x0a, 8));
    assert_eq!(refusal("1e 04 20 01"), disagreement(0x01, 4));
    assert_eq!(refusal("1e 0a 20 01 00000000 0000"), disagreement(0x01, 10));
    assert_eq!(refusal("1e 0c 20 04 00000000 00000000"), disagreement(0x04, 12));
    assert_eq!(refusal("1e 1d 20 1f 0000000000000000 0000000000000000 00000000 0000 0000 00"), disagreement(0x1f, 29));
    assert_eq!(refusal("1e 04 20 04").to_string(), "a DSS with the flags 0x04 cannot have 4 bytes");
}

#[test]
fn an_announcement_without_hmac_and_an_echo_with_one_are_refused() {
    let refusal = |hex| MptcpOption::parse(&bytes(hex)).unwrap_err();
    let disagreement = |flags, length| WireError::FlagsLength { subtype: Subtype::AddAddr, flags, length };
    assert_eq!(refusal("1e 08 30 02 c0000207"), disagreement(0, 8));
    assert_eq!(refusal("1e 10 31 02 c0000207 a0a1a2a3a4a5a6a7"), disagreement(1, 16));
}

#[test]
fn a_key_in_a_syn_shows_its_version() {
    let option = MptcpOption::parse(&bytes("1e 0c 00 81 0102030405060708")).unwrap();
    assert_eq!(option, MptcpOption::Capable(MpCapable::SynAck { version: 0, flags: flags(true, false), key: KEY_A }));
}

#[test]
fn all_flags_of_capable_are_told() {
    let MptcpOption::Capable(capable) = MptcpOption::parse(&bytes("1e 04 0f 5e")).unwrap() else { panic!() };
    let flags = CapableFlags { checksum: false, extensibility: true, deny_join_initial: false, crypto: 0x1e };
    assert_eq!((capable.version(), capable.flags()), (15, flags));
}

#[test]
fn what_exceeds_its_bits_does_not_spill_into_others() {
    let flags = CapableFlags { crypto: 0xe1, ..flags(false, false) };
    let mut out = OptionSpace::new(OptionSpace::MAX);
    assert!(MptcpOption::Capable(MpCapable::Syn { version: 0xf1, flags }).emit(&mut out));
    assert_eq!(out.as_slice(), bytes("1e 04 01 01"));
}

/// The bits that a form leaves reserved, as masks of its third and fourth octet.
fn reserved_bits(option: &MptcpOption) -> (u8, u8) {
    match option {
        MptcpOption::Capable(_) => (0x00, 0x00),
        MptcpOption::Join(MpJoin::Ack { .. }) | MptcpOption::Fail(_) | MptcpOption::Fastclose(_) => (0x0f, 0xff),
        MptcpOption::Join(_) | MptcpOption::AddAddr(_) | MptcpOption::Prio(_) | MptcpOption::Tcprst(_) => (0x0e, 0x00),
        MptcpOption::Dss(_) => (0x0f, 0xe0),
        MptcpOption::RemoveAddr(_) => (0x0f, 0x00),
    }
}

#[test]
fn reserved_bits_are_ignored() {
    for (mut bytes, option) in forms() {
        let (third, fourth) = reserved_bits(&option);
        bytes[2] |= third;
        if let Some(octet) = bytes.get_mut(3) {
            *octet |= fourth;
        }
        assert_eq!(MptcpOption::parse(&bytes), Ok(option), "{bytes:02x?}");
    }
}

#[test]
fn the_long_flags_of_a_dss_mean_nothing_alone() {
    assert_eq!(MptcpOption::parse(&bytes("1e 04 20 0a")), Ok(dss(None, None, false)));
    let ack = dss(Some(WireSeq::Short(0x4142_4344)), None, false);
    assert_eq!(MptcpOption::parse(&bytes("1e 08 20 09 41424344")), Ok(ack));
}

#[test]
fn every_form_cut_short_is_refused() {
    for (whole, option) in forms() {
        for length in 0..whole.len() {
            let cut = &whole[..length];
            assert!(MptcpOption::parse(cut).is_err(), "{option:?} at {length}");
            assert!(options(cut).all(|option| option.is_err()), "{option:?} at {length}");
        }
    }
}

/// Bytes that end early, but say so in their length: only another form of the same option may come of it.
#[test]
fn every_form_shortened_is_refused_or_another_form() {
    for (whole, option) in forms() {
        for length in 3..whole.len() {
            let mut cut = whole[..length].to_vec();
            cut[1] = u8::try_from(length).unwrap();
            match MptcpOption::parse(&cut) {
                Err(_) => {}
                Ok(other) => assert_eq!((other.subtype(), other.len()), (option.subtype(), length), "{option:?}"),
            }
        }
    }
}

#[test]
fn an_area_is_read_option_by_option() {
    // No-operations, window scale, SACK-permitted, DSS, MP_PRIO, a no-operation as padding.
    let area = bytes("01 03 03 07 01 04 02 1e 08 20 01 41424344 1e 03 51 01");
    let found: Vec<_> = options(&area).collect();
    let ack = dss(Some(WireSeq::Short(0x4142_4344)), None, false);
    assert_eq!(found, [Ok(ack), Ok(MptcpOption::Prio(MpPrio { backup: true }))]);
    assert_eq!(options(&[]).count(), 0);
}

#[test]
fn an_area_ends_with_its_end_of_options() {
    let area = bytes("1e 03 51 00 1e 03 50");
    assert_eq!(options(&area).collect::<Vec<_>>(), [Ok(MptcpOption::Prio(MpPrio { backup: true }))]);
}

#[test]
fn a_malformed_option_does_not_hide_the_next() {
    let area = bytes("1e 04 f0 00 1e 03 51");
    let found: Vec<_> = options(&area).collect();
    let unknown = WireError::UnknownSubtype { subtype: 15, length: 4 };
    assert_eq!(found, [Err(unknown), Ok(MptcpOption::Prio(MpPrio { backup: true }))]);
}

#[test]
fn an_impossible_length_ends_the_area() {
    let found = |hex| options(&bytes(hex)).collect::<Vec<_>>();
    let prio = Ok(MptcpOption::Prio(MpPrio { backup: true }));
    for (hex, kind, length, available) in [
        ("1e 03 51 1e 00 20 01", 0x1e, 0, 4),
        ("1e 03 51 1e 01 20 01", 0x1e, 1, 4),
        ("1e 03 51 1e 05 20 01", 0x1e, 5, 4),
        ("1e 03 51 08 0a 00 1e 03 51", 0x08, 10, 6),
    ] {
        assert_eq!(found(hex), [prio, Err(WireError::Overrun { kind, length, available })], "{hex}");
    }
    assert_eq!(found("1e 03 51 1e"), [prio, Err(WireError::MissingLength { kind: 30 })]);
}

#[test]
fn a_view_reads_a_dss_in_place() {
    let area = bytes("1e 1c 20 1f 4142434445464748 5152535455565758 31323334 0500 2122");
    let view = views(&area).next().unwrap().unwrap();
    assert_eq!((view.subtype(), view.bytes()), (Subtype::Dss, area.as_slice()));
    let dss = view.dss().unwrap();
    assert!(dss.data_fin());
    assert_eq!(dss.data_ack(), Some(WireSeq::Long(0x4142_4344_4546_4748)));
    let dsn = WireSeq::Long(0x5152_5354_5556_5758);
    assert_eq!(dss.mapping(), Some(DssMapping { dsn, ssn: 0x3132_3334, len: 0x0500, checksum: Some(0x2122) }));
    assert_eq!(OptionView::parse(&[30, 3, 0x50]).unwrap().dss(), None);
}

#[test]
fn lengths_are_those_of_the_figures() {
    use room::{Family, Width};
    assert_eq!(room::MAX_ADD_ADDR, 30);
    assert_eq!(room::MAX_REMOVED, 37);
    assert_eq!(room::add_addr_len(Family::V4, false, true), 8);
    assert_eq!(room::dss_len(None, None), 4);
    assert_eq!(room::dss_len(Some(Width::Short), None), 8);
    assert_eq!(room::dss_len(Some(Width::Short), Some((Width::Long, false))), 22);
}

#[test]
fn the_usual_forms_are_the_same_as_others() {
    let (data_ack, dsn) = (0x0102_0304_0506_0708, 0x1112_1314_1516_1718);
    let written = |option: MptcpOption| {
        let mut space = OptionSpace::new(OptionSpace::MAX);
        assert!(option.emit(&mut space));
        space.as_slice().to_vec()
    };
    let ack = Some(WireSeq::Long(data_ack));
    for checksum in [None, Some(0x4142)] {
        let usual = RawDss::mapping(data_ack, dsn, 0x3132_3334, 0x0500, checksum);
        assert_eq!(usual.as_slice(), written(dss(ack, Some((WireSeq::Long(dsn), checksum)), false)));
    }
    let mut space = OptionSpace::new(OptionSpace::MAX);
    assert!(emit_data_ack(data_ack, &mut space));
    assert_eq!(space.as_slice(), written(dss(ack, None, false)));
    assert!(!emit_data_ack(data_ack, &mut OptionSpace::new(11)), "one byte less than it takes");
}
