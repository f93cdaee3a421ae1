//! The layer above in a script.

use crate::script::command::{Command, HookVerdict};
use crate::{
    Instant, OptionSpace, SegmentHook, SegmentIn, SegmentKind, SegmentOut, SynSegment, SynVerdict, TcpId, Verdict,
};

/// Says what the script has told it to say.
pub(super) struct ScriptHook {
    window: Option<u32>,
    options: Vec<u8>,
    verdict: HookVerdict,
    syn_verdict: HookVerdict,
    /// Connections that have come into being, by the port of their peer.
    pub(super) accepted: Vec<(u16, TcpId)>,
}

impl Default for ScriptHook {
    fn default() -> Self {
        Self {
            window: None,
            options: Vec::new(),
            verdict: HookVerdict::Accept,
            syn_verdict: HookVerdict::Accept,
            accepted: Vec::new(),
        }
    }
}

impl ScriptHook {
    /// Takes what concerns the hook.
    pub(super) fn configure(&mut self, command: &Command) {
        match command {
            Command::Window(window) => self.window = *window,
            Command::Options(options) => self.options.clone_from(options),
            Command::Verdict(verdict) => self.verdict = *verdict,
            Command::SynVerdict(verdict) => self.syn_verdict = *verdict,
            _ => {}
        }
    }
}

impl SegmentHook for ScriptHook {
    fn on_syn(&mut self, _now: Instant, conn: TcpId, syn: &SynSegment<'_>) -> SynVerdict {
        match (self.syn_verdict, syn.listener) {
            (HookVerdict::Drop, _) => SynVerdict::Drop,
            (HookVerdict::Reset, _) | (_, None) => SynVerdict::Reset(OptionSpace::new(0)),
            (HookVerdict::Accept | HookVerdict::Signal, Some(_)) => {
                self.accepted.push((syn.remote.port(), conn));
                SynVerdict::Accept
            }
        }
    }

    fn on_segment(&mut self, _now: Instant, _conn: TcpId, _segment: &SegmentIn<'_>) -> Verdict {
        match self.verdict {
            HookVerdict::Accept => Verdict::Accept,
            HookVerdict::Signal => Verdict::AcceptSignal,
            HookVerdict::Drop => Verdict::Drop,
            HookVerdict::Reset => Verdict::Reset(OptionSpace::new(0)),
        }
    }

    fn on_transmit(
        &mut self,
        _now: Instant,
        _conn: TcpId,
        segment: &SegmentOut,
        options: &mut OptionSpace,
    ) -> Option<u32> {
        if segment.kind != SegmentKind::Reset {
            // One that does not fit is left out, as a layer above would do.
            let _ = options.push(&self.options);
        }
        self.window
    }
}
