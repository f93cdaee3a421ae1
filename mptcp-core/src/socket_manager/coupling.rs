//! Which subflows have their congestion windows coupled, and when.

use super::connection::Connection;
use super::shared::Cx;
use crate::congestion::{Coupler, Coupling};
use crate::event::SubflowId;

impl Connection {
    /// Gives a subflow whose handshake is complete the congestion control of the connection's coupling.
    pub(crate) fn couple(&mut self, id: SubflowId, cx: &mut Cx<'_>) {
        let Some(tcp) = self.subflow(id).map(|subflow| subflow.tcp) else { return };
        if !self.coupler.couple(cx.tcp, tcp) {
            let coupling = self.coupler.coupling();
            tracing::warn!(conn = %self.id, subflow = %id, %coupling, "TCP does not take the congestion control");
        }
    }

    /// Changes the coupling of the subflows that there are, and of those to come. Windows stay what they are, unless TCP's own
    /// congestion control comes back, which starts anew.
    pub(crate) fn set_coupling(&mut self, coupling: Coupling, cx: &mut Cx<'_>) {
        if coupling == self.coupler.coupling() {
            return;
        }
        self.coupler = Coupler::new(coupling);
        if self.multipath().is_none() {
            return;
        }
        let connected = self.subflows.iter().filter(|subflow| subflow.connected);
        let connected: Vec<_> = connected.map(|subflow| (subflow.id, subflow.tcp)).collect();
        for (id, tcp) in connected {
            if coupling == Coupling::Uncoupled {
                cx.tcp.reset_congestion_control(tcp);
            } else {
                self.couple(id, cx);
            }
        }
    }
}
