//! Layouts against tables of the specification's offsets, and commands against bytes that hosts send.

use std::mem::offset_of;

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::*;

/// Checks the size of a structure and where its fields are.
macro_rules! layout {
    ($name:ident, $size:literal: $($field:ident $offset:literal,)*) => {
        assert_eq!(size_of::<$name>(), $size, stringify!($name));
        $(assert_eq!(offset_of!($name, $field), $offset, concat!(stringify!($name), ".", stringify!($field)));)*
    };
}

#[test]
fn entries() {
    layout!(Sqe, 64: opcode 0, flags 1, cid 2, nsid 4, cdw2 8, cdw3 12, mptr 16, sgl 24, cdw10 40, cdw11 44, cdw12 48,
        cdw13 52, cdw14 56, cdw15 60,);
    layout!(Sgl, 16: address 0, length 8, identifier 15,);
    layout!(Cqe, 16: dw0 0, dw1 4, sqhd 8, sqid 10, cid 12, raw_status 14,);
    layout!(ConnectData, 1024: host_id 0, controller 16, subnqn 256, hostnqn 512,);
    layout!(DatasetRange, 16: attributes 0, length 4, start 8,);
    layout!(CopyRange, 32: start 8, length 16, reference_tag 24, application_tag 28, application_mask 30,);
    layout!(RegisterKeys, 16: current 0, new 8,);
    layout!(AcquireKeys, 16: current 0, preempt 8,);
    layout!(ReservationReport, 64: generation 0, kind 4, registrants 5, persist 9,);
    layout!(Registrant, 64: controller 0, status 2, key 8, host_id 16,);
}

#[test]
fn identify_structures() {
    layout!(IdentifyController, 4096: vid 0, ssvid 2, sn 4, mn 24, fr 64, rab 72, ieee 73, cmic 76, mdts 77, cntlid 78,
        ver 80, rtd3r 84, rtd3e 88, oaes 92, ctratt 96, cntrltype 111, fguid 112, crdt 128, oacs 256, acl 258, aerl 259,
        frmw 260, lpa 261, elpe 262, npss 263, wctemp 266, cctemp 268, tnvmcap 280, unvmcap 296, kas 320, anatt 342,
        anacap 343, anagrpmax 344, nanagrpid 348, sqes 512, cqes 513, maxcmd 514, nn 516, oncs 520, fuses 522, fna 524,
        vwc 525, awun 526, awupf 528, nvscc 530, nwpc 531, acwu 532, ocfs 534, sgls 536, mnan 540, maxdna 544, maxcna 560,
        subnqn 768, ioccsz 1792, iorcsz 1796, icdoff 1800, fcatt 1802, msdbd 1803, ofcs 1804,);
    layout!(IdentifyNamespace, 4096: nsze 0, ncap 8, nuse 16, nsfeat 24, nlbaf 25, flbas 26, mc 27, dpc 28, dps 29,
        nmic 30, rescap 31, fpi 32, dlfeat 33, nawun 34, nawupf 36, nacwu 38, nabsn 40, nabo 42, nabspf 44, noiob 46,
        nvmcap 48, npwg 64, npwa 66, npdg 68, npda 70, nows 72, mssrl 74, mcl 76, msrc 80, anagrpid 92, nsattr 99,
        nvmsetid 100, endgid 102, nguid 104, eui64 120, lbaf 128,);
    layout!(IdentifyNvmController, 4096: vsl 0, wzsl 1, wusl 2, dmrl 3, dmrsl 4, dmsl 8,);
    layout!(IdentifyIndependentNamespace, 4096: nsfeat 0, nmic 1, rescap 2, fpi 3, anagrpid 4, nsattr 8, nvmsetid 10,
        endgid 12, nstat 14,);
    layout!(LbaFormat, 4: ms 0, lbads 2, rp 3,);
}

#[test]
fn log_pages() {
    layout!(SmartLog, 512: critical_warning 0, temperature 1, available_spare 3, available_spare_threshold 4,
        percentage_used 5, data_units_read 32, data_units_written 48, host_reads 64, host_writes 80, busy_time 96,
        power_cycles 112, power_on_hours 128, unsafe_shutdowns 144, media_errors 160, error_entries 176,
        warning_temperature_time 192, critical_temperature_time 196, temperature_sensors 200,);
    layout!(ErrorEntry, 64: error_count 0, sqid 8, cid 10, status 12, parameter 14, lba 16, nsid 24, transport 29,);
    layout!(FirmwareLog, 512: active 0, revisions 8,);
    layout!(EffectsLog, 4096: admin 0, io 1024,);
    layout!(AnaHeader, 16: change_count 0, groups 8,);
    layout!(AnaGroup, 32: group 0, namespaces 4, change_count 8, raw_state 16,);
    layout!(DiscoveryHeader, 1024: generation 0, records 8, format 16,);
    layout!(DiscoveryEntry, 1024: transport 0, family 1, subtype 2, requirements 3, port 4, controller 6, admin_queue 8,
        flags 10, service 32, subnqn 256, address 512, security 768,);
}

#[test]
fn connect() {
    let host = Nqn::new("nqn.2014-08.org.nvmexpress:uuid:1").unwrap();
    let command = FabricsCommand::Connect(Connect {
        queue: 3,
        entries: 128,
        attributes: ConnectAttributes::DISABLE_FLOW_CONTROL,
        keep_alive: 5000,
    });
    let mut sqe = command.to_sqe();
    sqe.cid = 0xabcd.into();
    let bytes = sqe.as_bytes();
    assert_eq!(bytes[..8], [0x7f, 0x40, 0xcd, 0xab, 0x01, 0, 0, 0]);
    assert_eq!(bytes[24..40], [0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0x01]);
    assert_eq!(bytes[40..52], [0, 0, 3, 0, 127, 0, 0x04, 0, 0x88, 0x13, 0, 0], "RECFMT QID SQSIZE CATTR KATO");
    assert_eq!(FabricsCommand::parse(&sqe), Ok(command));

    let data = ConnectData::new([9; 16], ANY_CONTROLLER, &Nqn::discovery(), &host);
    let bytes = data.as_bytes();
    assert_eq!((&bytes[..16], &bytes[16..18]), (&[9; 16][..], &[0xff, 0xff][..]));
    assert!(bytes[256..].starts_with(b"nqn.2014-08.org.nvmexpress.discovery\0"));
    assert!(bytes[512..].starts_with(b"nqn.2014-08.org.nvmexpress:uuid:1\0"));
    let read = ConnectData::read_from_bytes(bytes).unwrap();
    assert_eq!((read.subsystem(), read.host()), (Ok(Nqn::discovery()), Ok(host)));

    let mut unknown_format = sqe;
    unknown_format.cdw10 = 1.into();
    assert_eq!(FabricsCommand::parse(&unknown_format), Err(StatusCode::ConnectIncompatibleFormat));
    assert_eq!(
        ConnectResult::from_bits(0x0002_0007),
        ConnectResult { controller: 7, authenticate: true, secure_channel: false }
    );
    assert_eq!(InvalidParameter::SUBSYSTEM.bits(), 0x0001_0100);
}

#[test]
fn properties_and_other_fabrics_commands() {
    let get = FabricsCommand::PropertyGet { offset: Property::Capabilities as u32, size: 8 };
    let set = FabricsCommand::PropertySet { offset: Property::Configuration as u32, size: 4, value: 0x46_0001 };
    assert_eq!(get.to_sqe().as_bytes()[..5], [0x7f, 0x40, 0, 0, 0x04]);
    assert_eq!(get.to_sqe().as_bytes()[40..48], [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(set.to_sqe().as_bytes()[40..56], [0, 0, 0, 0, 0x14, 0, 0, 0, 1, 0, 0x46, 0, 0, 0, 0, 0]);
    let auth = Auth { protocol: 0xe9, specific: 0x0101, length: 512 };
    assert_eq!(FabricsCommand::AuthSend(auth).to_sqe().as_bytes()[40..48], [0, 1, 1, 0xe9, 0, 2, 0, 0]);
    for command in
        [get, set, FabricsCommand::Disconnect, FabricsCommand::AuthSend(auth), FabricsCommand::AuthReceive(auth)]
    {
        assert_eq!(FabricsCommand::parse(&command.to_sqe()), Ok(command));
    }
    let mut unknown = get.to_sqe();
    unknown.nsid = 0x07.into();
    assert_eq!(FabricsCommand::parse(&unknown), Err(StatusCode::InvalidOpcode));
    let mut odd_size = get.to_sqe();
    odd_size.cdw10 = 2.into();
    assert_eq!(FabricsCommand::parse(&odd_size), Err(StatusCode::InvalidField));
}

#[test]
fn admin_commands() {
    let log = GetLogPage { page: 0x70, specific: 1, retain_event: true, length: 0x0010_0004, offset: 1 << 33 };
    let sqe = AdminCommand::GetLogPage(log).to_sqe(0xffff_ffff);
    // NUMD is 40000h: its lower half beside the page, its upper half in CDW11.
    assert_eq!(sqe.as_bytes()[40..56], [0x70, 0x81, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
    let identify = Identify { cns: cns::COMMAND_SET_CONTROLLER, controller: 2, command_set: 1 };
    let sqe = AdminCommand::Identify(identify).to_sqe(1);
    assert_eq!(sqe.as_bytes()[40..48], [6, 0, 2, 0, 0, 0, 0, 1]);
    let abort = AdminCommand::Abort { queue: 2, cid: 0x1003 };
    assert_eq!(abort.to_sqe(0).cdw10.get(), 0x1003_0002);
    let set =
        AdminCommand::SetFeatures { feature: fid::NUMBER_OF_QUEUES, save: true, value: QueueCounts::pairs(4).bits() };
    assert_eq!(set.to_sqe(0).as_bytes()[40..48], [7, 0, 0, 0x80, 3, 0, 3, 0]);
    let get = AdminCommand::GetFeatures { feature: fid::KEEP_ALIVE_TIMER, select: 2, value: 0 };
    assert_eq!(get.to_sqe(0).cdw10.get(), 0x020f);
    for command in [
        AdminCommand::GetLogPage(log),
        AdminCommand::GetLogPage(GetLogPage { length: 4 << 32, ..log }),
        AdminCommand::Identify(identify),
        abort,
        set,
        get,
        AdminCommand::AsyncEventRequest,
        AdminCommand::KeepAlive,
    ] {
        assert_eq!(AdminCommand::parse(&command.to_sqe(3)), Ok(command));
    }
    for opcode in [0x00, 0x01, 0x04, 0x05, 0xff] {
        assert_eq!(AdminCommand::parse(&Sqe::new(opcode, 0)), Err(StatusCode::InvalidOpcode), "{opcode:#x}");
    }
}

#[test]
fn io_commands() {
    let range = BlockRange { start: 0x1_0000_0002, count: 8 };
    let write = IoCommand::Write { range, force_unit_access: true };
    let sqe = write.to_sqe(1);
    assert_eq!(sqe.as_bytes()[..8], [1, 0x40, 0, 0, 1, 0, 0, 0]);
    assert_eq!(sqe.as_bytes()[40..52], [2, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0x40]);
    let discard = IoCommand::DatasetManagement { ranges: 256, deallocate: true };
    assert_eq!(discard.to_sqe(1).as_bytes()[40..48], [255, 0, 0, 0, 4, 0, 0, 0]);
    let copy = IoCommand::Copy { destination: 5, ranges: 2, format: 0, force_unit_access: false };
    assert_eq!(copy.to_sqe(1).as_bytes()[40..52], [5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    let zeroes = IoCommand::WriteZeroes { range, force_unit_access: false, deallocate: true };
    assert_eq!(zeroes.to_sqe(1).cdw12.get(), 0x0200_0007);
    let acquire = IoCommand::ReservationAcquire {
        action: AcquireAction::Preempt,
        ignore_key: false,
        kind: Some(ReservationType::ExclusiveAccessAll),
    };
    assert_eq!(acquire.to_sqe(1).cdw10.get(), 0x0601);
    for command in [
        write,
        discard,
        copy,
        zeroes,
        acquire,
        IoCommand::Flush,
        IoCommand::Read { range: BlockRange { start: u64::MAX, count: 65_536 }, force_unit_access: false },
        IoCommand::Compare { range },
        IoCommand::Verify { range },
        IoCommand::WriteUncorrectable { range },
        IoCommand::ReservationRegister { action: RegisterAction::Replace, ignore_key: true, persist: Some(true) },
        IoCommand::ReservationRelease { action: ReleaseAction::Clear, ignore_key: false, kind: None },
        IoCommand::ReservationReport { length: 4096, extended: true },
    ] {
        assert_eq!(IoCommand::parse(&command.to_sqe(1)), Ok(command));
    }
    let mut protected = write.to_sqe(1);
    protected.cdw12 = (1 << 26).into();
    assert_eq!(IoCommand::parse(&protected), Err(StatusCode::InvalidField), "there is no protection information");
    assert_eq!(IoCommand::parse(&Sqe::new(0x79, 1)), Err(StatusCode::InvalidOpcode));
}

#[test]
fn blocks_within_a_namespace() {
    let range = |start, count| BlockRange { start, count };
    assert!(range(0, 100).is_within(100));
    assert!(!range(1, 100).is_within(100));
    assert!(!range(u64::MAX, 1).is_within(u64::MAX));
    assert!(!range(u64::MAX - 1, 65_536).is_within(u64::MAX));
}

#[test]
fn fused_commands() {
    let sqe = Sqe::new(0x05, 1).with_fuse(Fuse::First);
    assert_eq!((sqe.flags, sqe.fuse(), sqe.uses_sgl()), (0x41, Some(Fuse::First), true));
    assert_eq!(Sqe { flags: 0x03, ..sqe }.fuse(), None);
    assert!(!Sqe { flags: 0x00, ..sqe }.uses_sgl());
}

#[test]
fn descriptors_that_hosts_send() {
    let with = |identifier, length: u32| {
        let mut sgl = Sgl::transport(length);
        sgl.identifier = identifier;
        sgl
    };
    assert_eq!(with(0x01, 4096).placement(), Some(Placement::InCapsule));
    assert_eq!(with(0x5a, 4096).placement(), Some(Placement::Transport));
    assert_eq!(with(0x00, 0).placement(), Some(Placement::Transport));
    for identifier in [0x00, 0x40, 0x02, 0x10, 0x5b, 0xff] {
        assert_eq!(with(identifier, 4096).placement(), None, "{identifier:#x}");
    }
}

#[test]
fn namespace_identifiers() {
    let identifiers = [
        NamespaceId::Nguid([1; 16]),
        NamespaceId::Uuid([2; 16]),
        NamespaceId::Eui64([3; 8]),
        NamespaceId::CommandSet(0),
    ];
    let mut list = NamespaceId::list(&identifiers);
    assert_eq!(list[..5], [2, 16, 0, 0, 1]);
    assert_eq!(list[20..25], [3, 16, 0, 0, 2]);
    assert_eq!(list[52..], [4, 1, 0, 0, 0]);
    list.resize(IDENTIFY_LEN, 0);
    assert_eq!(NamespaceId::read_list(&list), identifiers);
    assert_eq!(
        NamespaceId::read_list(&[9, 2, 0, 0, 1, 1, 4, 1, 0, 0, 0]),
        [NamespaceId::CommandSet(0)],
        "unknown types"
    );
    for broken in [&[3, 16, 0, 0, 1][..], &[3, 200, 0], &[], &[1, 3, 0, 0, 1, 1, 1]] {
        assert_eq!(NamespaceId::read_list(broken), []);
    }
}

#[test]
fn namespace_formats() {
    let mut namespace = IdentifyNamespace::new_zeroed();
    namespace.lbaf[1].lbads = 12;
    namespace.lbaf[17].lbads = 9;
    namespace.flbas = 1;
    assert_eq!(namespace.format().lbads, 12);
    namespace.flbas = 1 | 1 << 5;
    assert_eq!(namespace.format().lbads, 9);
    namespace.flbas = 0xff;
    assert_eq!(namespace.format(), LbaFormat::default());
}

#[test]
fn a_discovery_entry() {
    let nqn = Nqn::new("nqn.2026-01.example:disk").unwrap();
    let entry = DiscoveryEntry::tcp(SubsystemType::Nvm, 1, "192.0.2.1:4420".parse().unwrap(), &nqn);
    let bytes = entry.as_bytes();
    assert_eq!(bytes[..10], [3, 1, 2, 0, 1, 0, 0xff, 0xff, 32, 0]);
    assert_eq!(&bytes[32..64], b"4420                            ");
    assert!(bytes[512..].starts_with(b"192.0.2.1 "));
    assert_eq!((trimmed(&entry.address), trimmed(&entry.service)), ("192.0.2.1".into(), "4420".into()));
    assert_eq!(DiscoveryEntry::tcp(SubsystemType::Referral, 1, "[::1]:8009".parse().unwrap(), &nqn).family, 2);
}

#[test]
fn text_fields() {
    assert_eq!(padded::<4>("ab"), *b"ab  ");
    assert_eq!(padded::<4>("abcdef"), *b"abcd");
    assert_eq!(padded::<4>("a\n"), *b"a?  ");
    assert_eq!(trimmed(b"ab \0 "), "ab");
    assert_eq!(trimmed(b"   "), "");
    assert_eq!(trimmed(b"\xff\x1b"), "??");
}

#[test]
fn parsers_take_anything() {
    let mut rng = StdRng::seed_from_u64(6);
    for _ in 0..20_000 {
        let mut bytes = [0; 64];
        rng.fill_bytes(&mut bytes);
        bytes[0] = rng.random_range(0..0x20);
        let mut sqe = Sqe::read_from_bytes(&bytes).unwrap();
        if let Ok(command) = AdminCommand::parse(&sqe) {
            assert_eq!(AdminCommand::parse(&command.to_sqe(sqe.nsid.get())), Ok(command));
        }
        if let Ok(command) = IoCommand::parse(&sqe) {
            assert_eq!(IoCommand::parse(&command.to_sqe(sqe.nsid.get())), Ok(command));
        }
        sqe.opcode = FABRICS;
        sqe.nsid = rng.random_range(0..10).into();
        if let Ok(command) = FabricsCommand::parse(&sqe) {
            assert_eq!(FabricsCommand::parse(&command.to_sqe()), Ok(command));
        }
        let _ = NamespaceId::read_list(&bytes);
        let _ = trimmed(&bytes);
    }
}
