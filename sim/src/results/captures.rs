//! Captures of what passed the interfaces of the simulated hosts.

use std::io::{self, Write};

use tcp_adapter::device::pcapng::{CapturedInterface, CapturedPacket, Direction, PcapngWriter};
use tcp_adapter::{Frame, Instant};

/// One pcapng file per interface, with times in nanoseconds since the beginning of the run.
///
/// A packet that is lost on its way is in the file of the interface that sent it, with the reason as a comment.
#[derive(Debug, Default)]
pub struct Captures<W> {
    files: Vec<Capture<W>>,
}

/// One of the interfaces of a [`Captures`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureId(usize);

#[derive(Debug)]
struct Capture<W> {
    writer: PcapngWriter<W>,
    interface: CapturedInterface,
}

/// Who wrote the files; without a version, so that captures of two versions can be compared byte for byte.
const APPLICATION: &str = "mptcp-sim";

impl<W: Write> Captures<W> {
    /// Without interfaces.
    pub fn new() -> Self {
        Self { files: Vec::new() }
    }

    /// Captures one more interface, `name`, into `sink`. A buffered sink is worth while.
    ///
    /// # Errors
    /// Those of `sink`.
    pub fn add(&mut self, name: &str, sink: W) -> io::Result<CaptureId> {
        let mut writer = PcapngWriter::new(sink, APPLICATION)?;
        let interface = writer.add_interface(name)?;
        self.files.push(Capture { writer, interface });
        Ok(CaptureId(self.files.len() - 1))
    }

    /// The interface sent `frame`.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn sent(&mut self, id: CaptureId, now: Instant, frame: &Frame) -> io::Result<()> {
        self.write(id, now, frame, Direction::Outbound, None)
    }

    /// The interface received `frame`.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn received(&mut self, id: CaptureId, now: Instant, frame: &Frame) -> io::Result<()> {
        self.write(id, now, frame, Direction::Inbound, None)
    }

    /// The interface sent `frame`, and it was lost. Where that is known at once, call this instead of
    /// [`sent`](Self::sent), else readers take it for a retransmission.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn dropped(&mut self, id: CaptureId, now: Instant, frame: &Frame, reason: &str) -> io::Result<()> {
        self.write(id, now, frame, Direction::Outbound, Some(&format!("drop: {reason}")))
    }

    /// Flushes the sinks and gives them back, in the order in which they were added.
    ///
    /// # Errors
    /// Those of the sinks.
    pub fn finish(self) -> io::Result<Vec<W>> {
        let finish = |mut file: Capture<W>| {
            file.writer.flush()?;
            Ok(file.writer.into_inner())
        };
        self.files.into_iter().map(finish).collect()
    }

    fn write(
        &mut self,
        id: CaptureId,
        now: Instant,
        frame: &Frame,
        direction: Direction,
        comment: Option<&str>,
    ) -> io::Result<()> {
        // An id of another set of captures is the only way to miss.
        let file = self.files.get_mut(id.0).ok_or(io::ErrorKind::InvalidInput)?;
        let time = now - Instant::ZERO;
        file.writer.write_packet(CapturedPacket { interface: file.interface, direction, time, frame, comment })
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn drops_are_told_with_time_and_reason() {
        let mut captures = Captures::new();
        let first = captures.add("client p1", Vec::new()).unwrap();
        let second = captures.add("client p2", Vec::new()).unwrap();
        let frame = Frame::linear(BytesMut::from(&[0xab; 60][..]));
        captures.sent(first, Instant::from_nanos(0x0102_0304_0506), &frame).unwrap();
        captures.dropped(first, Instant::from_nanos(7), &frame, "gemodel bad state").unwrap();
        captures.received(second, Instant::from_nanos(8), &frame).unwrap();
        let files = captures.finish().unwrap();
        let find = |file: &[u8], needle: &[u8]| file.windows(needle.len()).any(|window| window == needle);
        assert!(find(&files[0], b"client p1") && find(&files[1], b"client p2"));
        assert!(find(&files[0], b"drop: gemodel bad state") && !find(&files[1], b"drop"));
        // Time in two halves, the upper one first.
        assert!(find(&files[0], &[0x02, 0x01, 0, 0, 0x06, 0x05, 0x04, 0x03]));
    }
}
