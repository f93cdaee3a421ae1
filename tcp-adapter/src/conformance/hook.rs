//! A hook that records everything and does what a case wants.

use crate::{
    Chunk, Instant, ListenerId, OptionSpace, SegmentHook, SegmentIn, SegmentOut, SynSegment, SynVerdict, TcpFlags,
    TcpId, Verdict,
};

/// A SYN that the hook was shown.
#[derive(Clone, Debug)]
pub struct SeenSyn {
    /// Handle of the connection to be.
    pub conn: TcpId,
    /// Listener that it reached.
    pub listener: Option<ListenerId>,
    /// Unknown options.
    pub options: Vec<u8>,
}

/// A segment that the hook was shown.
#[derive(Clone, Debug)]
pub struct SeenSegment {
    /// Connection.
    pub conn: TcpId,
    /// Header flags.
    pub flags: TcpFlags,
    /// Offset of the payload.
    pub offset: u64,
    /// Length of the payload.
    pub len: usize,
    /// Acknowledgement as an offset.
    pub acked: Option<u64>,
    /// Scaled window.
    pub window: u32,
    /// Unknown options.
    pub options: Vec<u8>,
}

/// A segment that the hook was asked about.
#[derive(Clone, Debug)]
pub struct SentSegment {
    /// Connection.
    pub conn: TcpId,
    /// What was said of it.
    pub segment: SegmentOut,
    /// Option bytes that there was room for.
    pub room: usize,
}

type OnSyn = Box<dyn FnMut(&SynSegment<'_>) -> SynVerdict>;
type OnSegment = Box<dyn FnMut(TcpId, &SegmentIn<'_>) -> Verdict>;
type OnTransmit = Box<dyn FnMut(TcpId, &SegmentOut, &mut OptionSpace) -> Option<u32>>;

/// Records what it is shown; verdicts and options come from closures.
pub struct TestHook {
    /// Verdict on SYNs. Default: accept with a listener, reset without.
    pub on_syn: OnSyn,
    /// Verdict on segments. Default: accept.
    pub on_segment: OnSegment,
    /// Options and window. Default: none, and the stack's own.
    pub on_transmit: OnTransmit,
    /// SYNs shown.
    pub syns: Vec<SeenSyn>,
    /// Segments shown.
    pub segments: Vec<SeenSegment>,
    /// Segments asked about.
    pub sent: Vec<SentSegment>,
}

impl Default for TestHook {
    fn default() -> Self {
        Self {
            on_syn: Box::new(|syn| match syn.listener {
                Some(_) => SynVerdict::Accept,
                None => SynVerdict::Reset(OptionSpace::new(0)),
            }),
            on_segment: Box::new(|_, _| Verdict::Accept),
            on_transmit: Box::new(|_, _, _| None),
            syns: Vec::new(),
            segments: Vec::new(),
            sent: Vec::new(),
        }
    }
}

impl SegmentHook for TestHook {
    fn on_syn(&mut self, _now: Instant, conn: TcpId, syn: &SynSegment<'_>) -> SynVerdict {
        self.syns.push(SeenSyn { conn, listener: syn.listener, options: syn.options.to_vec() });
        (self.on_syn)(syn)
    }

    fn on_segment(&mut self, _now: Instant, conn: TcpId, segment: &SegmentIn<'_>) -> Verdict {
        self.segments.push(SeenSegment {
            conn,
            flags: segment.flags,
            offset: segment.offset,
            len: segment.len,
            acked: segment.acked,
            window: segment.window,
            options: segment.options.to_vec(),
        });
        (self.on_segment)(conn, segment)
    }

    fn on_transmit(
        &mut self,
        _now: Instant,
        conn: TcpId,
        segment: &SegmentOut,
        options: &mut OptionSpace,
    ) -> Option<u32> {
        self.sent.push(SentSegment { conn, segment: *segment, room: options.remaining() });
        (self.on_transmit)(conn, segment, options)
    }
}

/// Kind of the option that [`mapping`] writes: reserved for experiments (RFC 6994).
pub const MAPPING: u8 = 253;

/// An option of 28 bytes, as long as the largest of MPTCP, that tells a chunk.
pub fn mapping(chunk: Option<Chunk>) -> [u8; 28] {
    let mut option = [0; 28];
    option[0] = MAPPING;
    option[1] = 28;
    if let Some(chunk) = chunk {
        option[2..10].copy_from_slice(&chunk.tag.to_be_bytes());
        option[10..18].copy_from_slice(&chunk.offset.to_be_bytes());
        option[18..22].copy_from_slice(&chunk.len.to_be_bytes());
    }
    option
}

/// The chunk in the value of an option that [`mapping`] wrote; `None` if it told none.
pub fn mapped(value: &[u8]) -> Option<Chunk> {
    let tag = u64::from_be_bytes(value.get(0..8)?.try_into().ok()?);
    let offset = u64::from_be_bytes(value.get(8..16)?.try_into().ok()?);
    let len = u32::from_be_bytes(value.get(16..20)?.try_into().ok()?);
    (len > 0).then_some(Chunk { tag, offset, len })
}
