//! The reader against whole arrays, with the subflow cut at arbitrary places.

use bolero::TypeGenerator;

use super::*;
use crate::stream::MapInsert;
use crate::testing::{check, pattern};

/// A subflow stream: its mappings, and how its bytes and mappings arrive.
#[derive(Clone, Debug, TypeGenerator)]
struct Scenario {
    /// Length of each mapping and how far its position is from the end of the one before.
    mappings: Vec<(u8, u8)>,
    checksums: bool,
    /// One of the mappings was altered.
    altered: Option<u8>,
    /// Lengths of the slices that arrive.
    cuts: Vec<u16>,
    /// How many mappings have arrived more than the bytes so far need; negative: fewer.
    ahead: i8,
    /// Every mapping arrives this many times.
    repeats: u8,
}

fn sum(bytes: impl Iterator<Item = u8>) -> u16 {
    bytes.fold(0, |sum, byte| sum.rotate_left(3).wrapping_add(byte.into()))
}

fn verify(mapping: &ReceivedMapping, slices: &[Bytes]) -> bool {
    assert_eq!(slices.iter().map(Bytes::len).sum::<usize>(), mapping.len as usize);
    mapping.checksum == Some(sum(slices.iter().flatten().copied()))
}

/// The mappings that a scenario declares, and the subflow's bytes.
fn declared(scenario: &Scenario) -> (Vec<ReceivedMapping>, Bytes) {
    let total: usize = scenario.mappings.iter().map(|(len, _)| usize::from(*len) * 9).sum();
    let subflow = pattern(0, total);
    let (mut offset, mut pos) = (0, 0);
    let mut mappings = Vec::new();
    for &(len, skip) in scenario.mappings.iter().filter(|(len, _)| *len > 0) {
        let len = u32::from(len) * 9;
        pos += u64::from(skip);
        let bytes = &subflow[offset as usize..][..len as usize];
        let checksum = scenario.checksums.then(|| sum(bytes.iter().copied()));
        mappings.push(ReceivedMapping { offset, pos, len, checksum, data_fin: false });
        offset += u64::from(len);
        pos += u64::from(len);
    }
    (mappings, subflow)
}

#[test]
fn every_byte_comes_out_at_its_position() {
    check(2_000, |scenario: &Scenario| {
        let (mut mappings, subflow) = declared(scenario);
        let altered = scenario.altered.filter(|_| scenario.checksums && !mappings.is_empty());
        let altered = altered.map(|index| usize::from(index) % mappings.len());
        if let Some(index) = altered {
            mappings[index].checksum = mappings[index].checksum.map(|sum| !sum);
        }
        let mut maps = ReceivedMap::new(mappings.len());
        let mut reader = MappedReader::new();
        let mut out: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut failed = Vec::new();
        let mut cuts = scenario.cuts.iter().map(|cut| 1 + usize::from(*cut) % 3_000).chain(std::iter::repeat(1_000));
        let (mut arrived, mut declared_until) = (0, 0);
        while arrived < subflow.len() || declared_until < mappings.len() {
            let len = cuts.next().map_or(0, |cut| cut.min(subflow.len() - arrived));
            reader.push(arrived as u64, subflow.slice(arrived..arrived + len));
            arrived += len;
            let reached = mappings.partition_point(|mapping| mapping.offset < arrived as u64);
            let ahead = isize::from(scenario.ahead);
            let known =
                if len == 0 { mappings.len() } else { reached.saturating_add_signed(ahead).min(mappings.len()) };
            for mapping in mappings.get(declared_until..known).into_iter().flatten().rev() {
                assert_eq!(maps.insert(*mapping), MapInsert::New);
                (0..scenario.repeats % 3).for_each(|_| assert_eq!(maps.insert(*mapping), MapInsert::Duplicate));
            }
            declared_until = declared_until.max(known);
            while let Some(piece) = reader.next(&mut maps, verify) {
                match piece {
                    Piece::Data { pos, bytes } => out.push((pos, bytes.to_vec())),
                    Piece::ChecksumFailed { mapping, bytes } => failed.push((mapping, bytes.concat())),
                }
            }
            let needed = mappings.get(declared_until).map_or(arrived, |mapping| mapping.offset as usize);
            assert_eq!(reader.unmapped(), arrived.saturating_sub(needed));
        }
        assert_eq!((reader.waiting(), maps.len()), (0, 0));
        let (mut whole, mut expected) = (Vec::new(), Vec::new());
        out.iter().for_each(|(pos, bytes)| whole.extend((*pos..).zip(bytes.iter().copied())));
        for (index, mapping) in mappings.iter().enumerate() {
            let bytes = &subflow[mapping.offset as usize..][..mapping.len as usize];
            if altered == Some(index) {
                assert_eq!(failed, [(*mapping, bytes.to_vec())]);
            } else {
                expected.extend((mapping.pos..).zip(bytes.iter().copied()));
            }
        }
        assert_eq!(whole, expected);
        assert_eq!(failed.len(), usize::from(altered.is_some()));
    });
}

#[test]
fn nothing_of_a_mapping_is_delivered_before_its_checksum() {
    let bytes = pattern(0, 2_000);
    let checksum = Some(sum(bytes.iter().copied()));
    let mut maps = ReceivedMap::new(1);
    let mut reader = MappedReader::new();
    reader.push(0, bytes.slice(..1_999));
    assert_eq!(reader.next(&mut maps, verify), None);
    assert_eq!(reader.unmapped(), 1_999);
    maps.insert(ReceivedMapping { offset: 0, pos: 70, len: 2_000, checksum, data_fin: false });
    assert_eq!(reader.next(&mut maps, verify), None);
    assert_eq!((reader.waiting(), reader.unmapped()), (1_999, 0));
    reader.push(1_999, bytes.slice(1_999..));
    let mut verified = 0;
    let mut counting = |mapping: &ReceivedMapping, slices: &[Bytes]| {
        verified += 1;
        verify(mapping, slices)
    };
    assert_eq!(reader.next(&mut maps, &mut counting), Some(Piece::Data { pos: 70, bytes: bytes.slice(..1_999) }));
    assert_eq!(reader.next(&mut maps, &mut counting), Some(Piece::Data { pos: 2_069, bytes: bytes.slice(1_999..) }));
    assert_eq!(verified, 1);
}

#[test]
fn without_checksums_bytes_are_delivered_as_they_come() {
    let bytes = pattern(0, 1_000);
    let mut maps = ReceivedMap::new(1);
    let mut reader = MappedReader::new();
    reader.push(0, bytes.slice(..600));
    assert_eq!(reader.next(&mut maps, verify), None);
    assert_eq!(reader.unmapped(), 600);
    maps.insert(ReceivedMapping { offset: 0, pos: 5, len: 1_000, checksum: None, data_fin: false });
    assert_eq!(reader.next(&mut maps, verify), Some(Piece::Data { pos: 5, bytes: bytes.slice(..600) }));
    assert_eq!(reader.unmapped(), 0);
    assert_eq!(maps.len(), 1, "the mapping is not at its end");
    reader.push(600, bytes.slice(600..));
    assert_eq!(reader.next(&mut maps, verify), Some(Piece::Data { pos: 605, bytes: bytes.slice(600..) }));
    assert!(maps.is_empty());
}

#[test]
fn tiny_segments_that_wait_hold_few_buffers() {
    let bytes = pattern(0, 10_000);
    let mut reader = MappedReader::new();
    for at in 0..10_000 {
        reader.push(at as u64, bytes.slice(at..=at));
    }
    assert!(reader.waiting.slices() <= 1 + 10_000 / 256);
}
