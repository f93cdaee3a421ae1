//! Commands and PDUs made up at random: never a panic, never more kept than a queue full of commands, and always an orderly end.

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

use super::*;

const SEEDS: u64 = 600;

fn random_sqe(rng: &mut StdRng) -> Sqe {
    let opcodes = [0x00, 0x01, 0x02, 0x05, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x0d, 0x18, 0x19, FABRICS];
    let opcode = if rng.random_bool(0.9) { opcodes[rng.random_range(0..opcodes.len())] } else { rng.random() };
    let mut sqe = Sqe::new(opcode, rng.random_range(0..4));
    sqe.cid = rng.random_range(0..300u16).into();
    sqe.flags = if rng.random_bool(0.8) { 0x40 } else { rng.random() };
    sqe.cdw10 = rng.random_range(0..0x120u32).into();
    sqe.cdw11 = if rng.random_bool(0.8) { 0 } else { rng.random() }.into();
    sqe.cdw12 = if rng.random_bool(0.8) { rng.random_range(0..32) } else { rng.random() }.into();
    let length = [0, 16, 512, 1024, 4096, 16 * 1024, rng.random_range(0..20_000)][rng.random_range(0..7)];
    sqe.with_sgl(if rng.random() { Sgl::in_capsule(length) } else { Sgl::transport(length) })
}

/// Sends commands as a host would that knows nothing of them, and answers R2Ts mostly as it should.
fn run(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let target = target();
    let (mut admin, controller) = Host::admin(&target);
    let offer = HostOffer {
        digests: Digests { header: rng.random(), data: rng.random() },
        max_r2t: rng.random_range(1..4),
        ..HostOffer::default()
    };
    let mut io = Host::io(&target, controller, 1, offer);
    let host = if rng.random_bool(0.5) { &mut io } else { &mut admin };
    for _ in 0..60 {
        let mut bytes = match host.received.pop_front() {
            Some((Pdu::R2t(r2t), ..)) => {
                let header = H2cData {
                    cccid: r2t.cccid,
                    ttag: r2t.ttag,
                    offset: r2t.offset,
                    length: r2t.length.min(host.parameters.max_h2c_data),
                    last: r2t.length <= host.parameters.max_h2c_data,
                };
                host.encode(&Pdu::H2cData(header), &vec![rng.random(); header.length as usize])
            }
            Some(_) => continue,
            None => {
                let sqe = random_sqe(&mut rng);
                let in_capsule = sqe.sgl.placement() == Some(Placement::InCapsule);
                let data = vec![rng.random(); if in_capsule { sqe.sgl.length.get() as usize } else { 0 }];
                host.encode(&Pdu::CapsuleCmd(CapsuleCmd { sqe, data_len: data.len() as u32 }), &data)
            }
        };
        if rng.random_bool(0.02) {
            let at = rng.random_range(0..bytes.len().min(128));
            bytes[at] ^= 1 << rng.random_range(0..8);
        }
        let mut bytes = Bytes::from(bytes);
        while !bytes.is_empty() {
            let length = rng.random_range(1..=bytes.len());
            let piece = bytes.split_to(length);
            host.connection.receive(host.now, piece);
        }
        host.pump();
        assert!(host.connection.outstanding() <= 128, "seed {seed}");
        if matches!(host.connection.state(), ConnectionState::Closing | ConnectionState::Closed) {
            assert!(host.connection.close_reason().is_some(), "seed {seed}");
            break;
        }
    }
    // What one host does is nothing to another.
    let (mut other, controller) = Host::admin(&target);
    other.identify(cns::CONTROLLER, 0).ok();
    let data = vec![rng.random(); 4096];
    let mut io = Host::io(&target, controller, 1, HostOffer::default());
    io.write(8, &data).ok();
    assert_eq!(io.read(8, 8).ok().data, data, "seed {seed}");
}

#[test]
fn random_commands() {
    (0..SEEDS).for_each(run);
}

#[test]
fn random_bytes() {
    for seed in 0..SEEDS {
        let mut rng = StdRng::seed_from_u64(seed);
        let target = target();
        let mut host = if rng.random() { Host::new(&target) } else { Host::initialized(&target, HostOffer::default()) };
        let mut noise = vec![0; rng.random_range(1..2000)];
        rng.fill_bytes(&mut noise);
        noise[0] &= 7;
        host.send_raw(noise);
        host.wait(Duration::from_secs(60));
        assert_eq!(host.connection.state(), ConnectionState::Closed, "seed {seed}");
    }
}

/// A host that answers late, and in any order: every write is what it should be in the end.
#[test]
fn random_transfers() {
    for seed in 0..100 {
        let mut rng = StdRng::seed_from_u64(seed);
        let config = TargetConfig { max_r2t_length: 4096 << rng.random_range(0..4), ..TargetConfig::default() };
        let target = target_with(config);
        let (_admin, controller) = Host::admin(&target);
        let digests = Digests { header: rng.random(), data: rng.random() };
        let max_r2t = rng.random_range(1..10);
        let mut host = Host::io(&target, controller, 1, HostOffer { digests, max_r2t, ..HostOffer::default() });
        host.h2c_length = 4 * rng.random_range(1..5000);
        host.backwards = rng.random();
        let mut disk = vec![0; 512 * BLOCK];
        for _ in 0..20 {
            let count = rng.random_range(1..200usize);
            let start = rng.random_range(0..512 - count);
            let mut data = vec![0; count * BLOCK];
            rng.fill_bytes(&mut data);
            if data.len() <= 16 * 1024 && rng.random() {
                host.write(start as u64, &data).ok();
            } else {
                host.write_by_r2t(start as u64, &data).ok();
            }
            disk[start * BLOCK..][..data.len()].copy_from_slice(&data);
        }
        assert_eq!(host.read(0, 512).ok().data, disk, "seed {seed}");
    }
}
