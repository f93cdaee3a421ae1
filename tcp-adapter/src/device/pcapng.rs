//! Writing pcapng capture files (draft-ietf-opsawg-pcapng).

use std::io::{self, Write};
use std::time::Duration;

use crate::Frame;

/// A pcapng file of one section, with any number of interfaces.
#[derive(Debug)]
pub struct PcapngWriter<W> {
    sink: W,
    interfaces: u32,
    /// The block being put together, kept for its memory.
    block: Vec<u8>,
}

/// An interface of one capture file, in the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapturedInterface(u32);

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It was received.
    Inbound,
    /// It was sent.
    Outbound,
}

/// One frame with what the file says about it.
#[derive(Clone, Copy, Debug)]
pub struct CapturedPacket<'a> {
    /// Where it was seen.
    pub interface: CapturedInterface,
    /// Which way it went.
    pub direction: Direction,
    /// When it was seen, since the UNIX epoch.
    pub time: Duration,
    /// Its bytes.
    pub frame: &'a Frame,
    /// A remark for people.
    pub comment: Option<&'a str>,
}

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;

/// Readers tell the byte order of the file from this value.
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const LINKTYPE_ETHERNET: u16 = 1;

const OPT_ENDOFOPT: u16 = 0;
const OPT_COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;

/// Type, the length before the body, and the length after it.
const BLOCK_OVERHEAD: usize = 12;

impl<W: Write> PcapngWriter<W> {
    /// Starts a file, written by the program `application`.
    ///
    /// # Errors
    /// Those of `sink`.
    pub fn new(sink: W, application: &str) -> io::Result<Self> {
        let mut writer = Self { sink, interfaces: 0, block: Vec::new() };
        writer.start(SECTION_HEADER);
        writer.put(&BYTE_ORDER_MAGIC.to_le_bytes());
        // Version 1.0, and a section of unknown length.
        writer.put(&[1, 0, 0, 0]);
        writer.put(&[0xff; 8]);
        writer.option(SHB_USERAPPL, application.as_bytes());
        writer.option(OPT_ENDOFOPT, &[]);
        writer.finish()?;
        Ok(writer)
    }

    /// Adds an Ethernet interface, whose packets have timestamps in nanoseconds.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn add_interface(&mut self, name: &str) -> io::Result<CapturedInterface> {
        const NANOSECONDS: u8 = 9;
        self.start(INTERFACE_DESCRIPTION);
        self.put(&LINKTYPE_ETHERNET.to_le_bytes());
        // Two reserved bytes, and no limit on the length of packets.
        self.put(&[0; 6]);
        self.option(IF_NAME, name.as_bytes());
        self.option(IF_TSRESOL, &[NANOSECONDS]);
        self.option(OPT_ENDOFOPT, &[]);
        self.finish()?;
        self.interfaces += 1;
        Ok(CapturedInterface(self.interfaces - 1))
    }

    /// Appends a packet. Its interface must be one of this file.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a frame of 4 GiB or more; else those of the sink.
    pub fn write_packet(&mut self, packet: CapturedPacket<'_>) -> io::Result<()> {
        let length = u32::try_from(packet.frame.len()).map_err(|_| io::ErrorKind::InvalidInput)?.to_le_bytes();
        // 64 bits of nanoseconds last until the year 2554.
        let time = u64::try_from(packet.time.as_nanos()).unwrap_or(u64::MAX);
        let direction: u32 = match packet.direction {
            Direction::Inbound => 0b01,
            Direction::Outbound => 0b10,
        };
        self.start(ENHANCED_PACKET);
        self.put(&packet.interface.0.to_le_bytes());
        self.put(&((time >> 32) as u32).to_le_bytes());
        self.put(&(time as u32).to_le_bytes());
        // Captured in whole, so both lengths are the same.
        self.put(&length);
        self.put(&length);
        self.put(&packet.frame.head);
        for slice in &packet.frame.payload {
            self.put(slice);
        }
        self.pad();
        self.option(EPB_FLAGS, &direction.to_le_bytes());
        if let Some(comment) = packet.comment {
            self.option(OPT_COMMENT, comment.as_bytes());
        }
        self.option(OPT_ENDOFOPT, &[]);
        self.finish()
    }

    /// Flushes the sink.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }

    /// Gives the sink back.
    pub fn into_inner(self) -> W {
        self.sink
    }

    fn start(&mut self, block_type: u32) {
        self.block.clear();
        self.put(&block_type.to_le_bytes());
        // The length, which finish() fills in.
        self.put(&[0; 4]);
    }

    fn finish(&mut self) -> io::Result<()> {
        let total = u32::try_from(self.block.len() - 8 + BLOCK_OVERHEAD).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.block[4..8].copy_from_slice(&total.to_le_bytes());
        self.put(&total.to_le_bytes());
        self.sink.write_all(&self.block)
    }

    fn put(&mut self, bytes: &[u8]) {
        self.block.extend_from_slice(bytes);
    }

    /// Everything in a block starts at a multiple of four bytes.
    fn pad(&mut self) {
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    /// An option; a value longer than its 16-bit length can tell is cut.
    fn option(&mut self, code: u16, value: &[u8]) {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.put(&code.to_le_bytes());
        self.put(&length.to_le_bytes());
        self.put(&value[..usize::from(length)]);
        self.pad();
    }
}
