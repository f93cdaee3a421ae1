//! Abort: a command that nobody has begun ends because its host asks for that (NVMe base specification, Abort command).
//!
//! The Abort comes to the admin queue; the command may be in an I/O queue, whichever thread has that. So an [`Appeal`] is left with the controller for that
//! queue, and all connections look again. When the appeal goes, it is known what became of the command, and they look once more: the admin queue then answers.
//! An appeal stays until the completion of the command that it has ended is on its way, which for one whose data is coming takes until that is out of the way.

use std::sync::{Arc, OnceLock};

use super::Target;
use super::connection::{Connection, Phase};
use super::io::FirstHalf;
use super::queue::{SlotId, Stage};
use crate::command::StatusCode;

/// Aborts that may be outstanding: ACL + 1. The specification recommends four at least.
pub(super) const MAX_ABORTS: usize = 4;
const ADMIN_QUEUE: u16 = 0;
/// Dword 0 of an Abort whose command goes on, or is not there.
const NOT_ABORTED: u64 = 1;

/// Whether a command was aborted, once that is known.
pub(super) type Verdict = Arc<OnceLock<bool>>;

/// An Abort, as the queue of its command has it.
#[derive(Debug)]
pub(super) struct Appeal {
    cid: u16,
    is_aborted: bool,
    verdict: Verdict,
    /// Whose connections are to look when it goes; None if the command is in the queue of the Abort itself.
    target: Option<Arc<Target>>,
}

impl Drop for Appeal {
    fn drop(&mut self) {
        let _ = self.verdict.set(self.is_aborted);
        if let Some(target) = &self.target {
            target.announce();
        }
    }
}

impl Connection {
    /// Executes Abort. It is answered once the queue of the command has said what became of that.
    pub(super) fn abort(&mut self, id: SlotId, queue: u16, cid: u16) {
        let Phase::Admin(controller) = &mut self.phase else { return };
        if controller.aborts.len() == MAX_ABORTS {
            return self.complete(id, Err(StatusCode::AbortLimitExceeded));
        }
        let verdict = Verdict::default();
        let target = &self.target;
        let appeal = |target| Appeal { cid, is_aborted: false, verdict: Arc::clone(&verdict), target };
        let own = match queue {
            ADMIN_QUEUE => Some(appeal(None)),
            _ if controller.association.leave_appeal(queue, || appeal(Some(Arc::clone(target)))) => None,
            _ => return self.complete(id, Ok(NOT_ABORTED)),
        };
        controller.aborts.push((id, verdict));
        self.queue.slot(id).stage = Stage::Waiting;
        match own {
            Some(own) => self.hear(own),
            None => self.target.announce(),
        }
        self.answer_aborts();
    }

    /// Hears the appeals that were left for an I/O queue.
    pub(super) fn take_appeals(&mut self) {
        let Phase::Io(queue) = &self.phase else { return };
        let appeals = queue.association.take_appeals(queue.id);
        appeals.into_iter().for_each(|appeal| self.hear(appeal));
    }

    /// A command has ended without success: if Aborts have waited for that, they have their verdict.
    pub(super) fn pass_appeals(&mut self, id: SlotId) {
        self.appeals.retain(|(aborted, _)| *aborted != id);
        self.answer_aborts();
    }

    /// Completes the Aborts that have their verdict.
    pub(super) fn answer_aborts(&mut self) {
        let Phase::Admin(controller) = &mut self.phase else { return };
        let answered: Vec<_> = controller.aborts.extract_if(.., |(_, verdict)| verdict.get().is_some()).collect();
        for (id, verdict) in answered {
            let is_aborted = verdict.get() == Some(&true);
            self.complete(id, Ok(if is_aborted { 0 } else { NOT_ABORTED }));
        }
    }

    /// Ends the command that an Abort is for, unless it has begun.
    fn hear(&mut self, mut appeal: Appeal) {
        let Some(id) = self.queue.find_unbegun(appeal.cid) else { return };
        let slot = self.queue.slot(id);
        let (is_waiting, partner) = (slot.stage == Stage::Waiting, slot.partner);
        let may_end = match &mut self.phase {
            // Of those that wait, Aborts have begun.
            Phase::Admin(controller) => !is_waiting || controller.events.abort(id),
            Phase::Io(queue) => {
                let may_end = !queue.awaits_fence(id);
                // What comes next cannot make an operation of it any more.
                if may_end && queue.fused == FirstHalf::Here(id) {
                    queue.fused = FirstHalf::Failed;
                }
                may_end
            }
            _ => false,
        };
        if !may_end {
            return;
        }
        // A fused operation has the name of its first half.
        self.submissions.retain(|submission| ![Some(id), partner].contains(&Some(submission.token.slot)));
        self.queue.drop_held(|held, _| held == id);
        appeal.is_aborted = true;
        // First, as it may end at once.
        self.appeals.push((id, appeal));
        self.abandon(id, StatusCode::AbortedByRequest);
    }
}
