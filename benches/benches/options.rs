//! The MPTCP options of one segment, and the DSS checksum.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mptcp_benches::{pattern, quick};
use mptcp_core::wire::{
    AddAddr, AddAddrKind, AddrId, CapableFlags, ChecksumAccumulator, Dss, DssMapping, MpCapable, MpJoin, MptcpOption,
    WireSeq, options, views,
};
use mptcp_core::{Key, Token};
use tcp_adapter::OptionSpace;

const FLAGS: CapableFlags =
    CapableFlags { checksum: false, extensibility: false, deny_join_initial: false, crypto: CapableFlags::HMAC_SHA256 };

fn mapping(checksum: Option<u16>) -> MptcpOption {
    MptcpOption::Dss(Dss {
        data_ack: Some(WireSeq::Long(0x0123_4567_89ab_cdef)),
        mapping: Some(DssMapping { dsn: WireSeq::Long(0x1032_5476_98ba_dcfe), ssn: 7_000_001, len: 14_480, checksum }),
        data_fin: false,
    })
}

fn add_addr(addr: IpAddr) -> MptcpOption {
    MptcpOption::AddAddr(AddAddr {
        addr_id: AddrId(3),
        addr,
        port: Some(4420),
        kind: AddAddrKind::Announce { hmac: [7; 8] },
    })
}

fn samples() -> [(&'static str, MptcpOption); 9] {
    let (sender_key, receiver_key) = (Key(0x1111_2222_3333_4444), Key(0x5555_6666_7777_8888));
    let ack = Dss { data_ack: Some(WireSeq::Long(0x0123_4567_89ab_cdef)), mapping: None, data_fin: false };
    let first_data =
        MpCapable::AckData { version: 1, flags: FLAGS, sender_key, receiver_key, data_len: 1448, checksum: None };
    let join = MpJoin::Syn { backup: false, addr_id: AddrId(2), token: Token(0xdead_beef), nonce: 0x0bad_cafe };
    [
        ("mp_capable_syn", MptcpOption::Capable(MpCapable::Syn { version: 1, flags: FLAGS })),
        ("mp_capable_data", MptcpOption::Capable(first_data)),
        ("mp_join_syn", MptcpOption::Join(join)),
        ("mp_join_ack", MptcpOption::Join(MpJoin::Ack { hmac: [9; 20] })),
        ("dss_ack", MptcpOption::Dss(ack)),
        ("dss", mapping(None)),
        ("dss_checksum", mapping(Some(0xbeef))),
        ("add_addr_v4", add_addr(Ipv4Addr::new(192, 0, 2, 1).into())),
        ("add_addr_v6", add_addr(Ipv6Addr::LOCALHOST.into())),
    ]
}

/// `options/{emit,parse,view}/*`: one option written; the option area of a segment read to a value, and read in
/// place to a view. A data segment costs one `emit/dss` at the sender and one `parse/dss` at the receiver.
fn codec(c: &mut Criterion) {
    let mut group = c.benchmark_group("options");
    group.throughput(Throughput::Elements(1));
    for (name, option) in samples() {
        let mut area = OptionSpace::new(OptionSpace::MAX);
        assert!(option.emit(&mut area), "{name} does not fit");
        assert_eq!(options(area.as_slice()).next(), Some(Ok(option)), "{name} does not come back");
        group.bench_function(format!("emit/{name}"), |b| {
            b.iter(|| {
                let mut space = OptionSpace::new(OptionSpace::MAX);
                (black_box(&option).emit(&mut space), space)
            });
        });
        group.bench_function(format!("parse/{name}"), |b| {
            b.iter(|| {
                options(black_box(area.as_slice())).fold(0, |count, option| count + black_box(option).is_ok() as u32)
            });
        });
        group.bench_function(format!("view/{name}"), |b| {
            b.iter(|| views(black_box(area.as_slice())).fold(0, |count, view| count + black_box(view).is_ok() as u32));
        });
    }
    group.finish();
}

/// `checksum/*`: the sum over the payload of a mapping: of one request, one segment, one jumbo segment and the
/// largest mapping.
fn checksum(c: &mut Criterion) {
    let mut group = c.benchmark_group("checksum");
    for len in [64, 1448, 8948, 65_520] {
        let payload = pattern(0, len);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(len.to_string(), |b| {
            b.iter(|| {
                let mut sum = ChecksumAccumulator::new();
                sum.add(black_box(&payload));
                sum.sum()
            });
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = quick(); targets = codec, checksum }
criterion_main!(benches);
