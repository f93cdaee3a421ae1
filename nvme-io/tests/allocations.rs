//! Reading and writing files in steady state allocates nothing, with a ring and without.

#[path = "../../nvme-tcp/tests/counting/mod.rs"]
mod counting;

use bytes::Bytes;
use counting::allocations;
use nvme_io::net::{KernelNet, Net, Protocol};
use nvme_io::{FileOptions, FileRing, FileStore, Memory, Ring};
use nvme_tcp::pdu::Payload;
use nvme_tcp::target::{Backend, Extent, Operation, Store, Token};

const DEPTH: u32 = 32;
const SIZE: u64 = 8 << 20;

struct Disk {
    backend: Box<dyn Backend>,
    ring: Option<FileRing>,
    /// Lists that are used again, as connections do.
    spare: Vec<Payload>,
    data: Bytes,
}

impl Disk {
    /// As many operations as the depth allows, each of `length` bytes, and a flush.
    fn round(&mut self, write: bool, length: u64) {
        for slot in 0..DEPTH {
            let extent = Extent { offset: u64::from(slot) * length % SIZE, length };
            let mut list = self.spare.pop().unwrap_or_default();
            let operation = match write {
                true => {
                    list.push(self.data.slice(..length as usize));
                    Operation::Write { offset: extent.offset, data: list, force_unit_access: slot == 0 }
                }
                false => Operation::Read { extent, into: list },
            };
            self.backend.submit(Token { connection: 0, slot }, operation);
        }
        self.backend.submit(Token { connection: 0, slot: DEPTH }, Operation::Flush);
        let mut ended = 0;
        while ended <= DEPTH {
            if let Some(ring) = &self.ring {
                ring.turn().expect("a ring that works");
            }
            while let Some(completion) = self.backend.poll() {
                completion.result.expect("a file that works");
                ended += 1;
                let mut list = completion.data;
                list.clear();
                if completion.token.slot < DEPTH {
                    self.spare.push(list);
                }
            }
            std::thread::yield_now();
        }
    }
}

#[test]
fn files_allocate_nothing_in_steady_state() {
    let path = std::env::temp_dir().join(format!("nvme-io-allocations-{}", std::process::id()));
    std::fs::File::create(&path).and_then(|file| file.set_len(SIZE)).expect("a temporary file");
    for (direct, over_a_ring) in [(false, false), (false, true), (true, false), (true, true)] {
        let options = FileOptions { read_only: false, block_size: 4096, direct };
        let store = FileStore::open(&path, options).expect("it was made just now");
        let ring = over_a_ring.then(|| {
            let waker = KernelNet::new(Protocol::Tcp).expect("descriptors").waker();
            FileRing::new(Ring::new(64, Memory::new(4 << 20)).expect("a ring"), waker)
        });
        let backend = ring.as_ref().map_or_else(|| Store::open(&store), |ring| ring.open(&store));
        let mut disk = Disk { backend, ring, spare: Vec::new(), data: Bytes::from(vec![7; 128 * 1024]) };
        for (write, length) in [(true, 4096), (false, 4096), (true, 128 * 1024), (false, 128 * 1024)] {
            (0..16).for_each(|_| disk.round(write, length));
            // A queue may still grow when more is under way than ever before: of several measurements, one has to be without.
            let least = (0..8).map(|_| {
                let before = allocations();
                (0..32).for_each(|_| disk.round(write, length));
                allocations() - before
            });
            assert_eq!(least.min(), Some(0), "direct {direct}, ring {over_a_ring}, write {write}, {length} bytes");
        }
    }
    std::fs::remove_file(path).expect("it was there");
}
