//! What connections were when they ended, for those who keep accounts.

use crate::{TcpId, TcpInfo};

/// Kept until somebody takes it, and only if anybody wants it.
#[derive(Debug, Default)]
pub(crate) struct LastInfos(Option<Vec<(TcpId, TcpInfo)>>);

impl LastInfos {
    /// Starts to keep, or stops and forgets what is kept.
    pub(crate) fn want(&mut self, wanted: bool) {
        self.0 = wanted.then(Vec::new);
    }

    /// Keeps the state of a connection, which is not even put together while nobody wants it.
    pub(crate) fn keep(&mut self, conn: TcpId, info: impl FnOnce() -> TcpInfo) {
        if let Some(kept) = &mut self.0 {
            kept.push((conn, info()));
        }
    }

    /// Gives that of a connection away.
    pub(crate) fn take(&mut self, conn: TcpId) -> Option<TcpInfo> {
        let kept = self.0.as_mut()?;
        let index = kept.iter().position(|(id, _)| *id == conn)?;
        Some(kept.remove(index).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_put_together_for_nobody() {
        let mut infos = LastInfos::default();
        let conn = TcpId { index: 1, generation: 0 };
        infos.keep(conn, || unreachable!("nobody asked"));
        assert_eq!(infos.take(conn), None);
    }
}
