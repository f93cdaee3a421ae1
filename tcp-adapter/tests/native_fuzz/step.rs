//! What a round is made of.

use bolero::TypeGenerator;

/// One thing that happens.
#[derive(Clone, Debug, TypeGenerator)]
pub(crate) enum Step {
    Segment(u8, Forged),
    /// The peer behaves for once: it acknowledges everything and answers a SYN.
    Answer(u8),
    /// The same with payload in order.
    Data(u8, u8),
    Wait(Pause),
    Send(u8, u16),
    Receive(u8),
    Shutdown(u8),
    Abort(u8),
    AckNow(u8),
    Probe(u8),
    Connect,
    TooBig(u8, u16),
    Unreachable(u8),
}

/// How long nothing arrives.
#[derive(Clone, Debug, TypeGenerator)]
pub(crate) enum Pause {
    Micros(u16),
    Millis(u8),
    Seconds(u8),
}

/// A segment of a hostile or confused peer.
#[derive(Clone, Debug, TypeGenerator)]
pub(crate) struct Forged {
    pub(crate) seq: Near,
    pub(crate) ack: Near,
    pub(crate) flags: u8,
    /// Mostly an acknowledgement: other segments are dropped early.
    pub(crate) plain: u8,
    pub(crate) window: u16,
    pub(crate) payload: u16,
    pub(crate) options: Vec<Optional>,
    pub(crate) ecn: u8,
    pub(crate) segmented: bool,
}

/// A sequence number.
#[derive(Clone, Debug, TypeGenerator)]
pub(crate) enum Near {
    /// From where the connection is now.
    Now(i8),
    Soon(i16),
    /// From the first one.
    First(i8),
    Any(u32),
}

/// An option of a header.
#[derive(Clone, Debug, TypeGenerator)]
pub(crate) enum Optional {
    Mss(u16),
    Scale(u8),
    SackPermitted,
    Sack(Near, u16),
    TwoSacks(Near, u16, Near, u16),
    Timestamps(i16, i16),
    Foreign(u8),
    /// The Fast Open cookie that the stack has handed out last.
    Cookie,
    Raw(u8, u8),
}
