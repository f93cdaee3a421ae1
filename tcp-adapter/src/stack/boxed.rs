//! A stack behind a pointer, so that the choice of one can be made at run time.

use std::net::IpAddr;

use bytes::Bytes;

use super::{
    AbortError, Capabilities, ConnectError, ConnectRequest, ListenError, ListenerId, Offload, Received, RoundTrip,
    SegmentHook, SendError, SendLimits, SendState, TcpEvent, TcpId, TcpInfo, TcpStack,
};
use crate::congestion::CongestionControl;
use crate::{Frame, Instant, InterfaceConfig, InterfaceId, IpCidr, Route};

impl<T: TcpStack + ?Sized> TcpStack for Box<T> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn add_interface(&mut self, config: InterfaceConfig) -> InterfaceId {
        (**self).add_interface(config)
    }

    fn interfaces(&self) -> &[InterfaceConfig] {
        (**self).interfaces()
    }

    fn listen(&mut self, addr: Option<IpAddr>, port: u16, backlog: usize) -> Result<ListenerId, ListenError> {
        (**self).listen(addr, port, backlog)
    }

    fn unlisten(&mut self, listener: ListenerId) {
        (**self).unlisten(listener);
    }

    fn connect(&mut self, now: Instant, request: &ConnectRequest) -> Result<TcpId, ConnectError> {
        (**self).connect(now, request)
    }

    fn connect_by(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        request: &ConnectRequest,
    ) -> Result<TcpId, ConnectError> {
        (**self).connect_by(now, interface, request)
    }

    fn allow_fast_open(&mut self, listener: ListenerId, pending: usize) -> bool {
        (**self).allow_fast_open(listener, pending)
    }

    fn fast_open(&mut self, conn: TcpId, data: &Bytes) -> Option<usize> {
        (**self).fast_open(conn, data)
    }

    fn send(&mut self, now: Instant, conn: TcpId, bytes: Bytes, tag: u64) -> Result<(), SendError> {
        (**self).send(now, conn, bytes, tag)
    }

    fn append(&mut self, now: Instant, conn: TcpId, bytes: Bytes) -> Result<(), SendError> {
        (**self).append(now, conn, bytes)
    }

    fn send_room(&self, conn: TcpId) -> usize {
        (**self).send_room(conn)
    }

    fn recv(&mut self, conn: TcpId) -> Option<Received> {
        (**self).recv(conn)
    }

    fn shutdown(&mut self, now: Instant, conn: TcpId) {
        (**self).shutdown(now, conn);
    }

    fn abort(&mut self, now: Instant, conn: TcpId, options: &[u8]) -> Result<(), AbortError> {
        (**self).abort(now, conn, options)
    }

    fn ack_now(&mut self, now: Instant, conn: TcpId) {
        (**self).ack_now(now, conn);
    }

    fn probe(&mut self, now: Instant, conn: TcpId) {
        (**self).probe(now, conn);
    }

    fn probe_tail(&mut self, now: Instant, conn: TcpId) {
        (**self).probe_tail(now, conn);
    }

    fn penalise(&mut self, now: Instant, conn: TcpId) {
        (**self).penalise(now, conn);
    }

    fn set_max_pacing_rate(&mut self, now: Instant, conn: TcpId, bytes_per_second: Option<u64>) -> bool {
        (**self).set_max_pacing_rate(now, conn, bytes_per_second)
    }

    fn set_congestion_control(
        &mut self,
        conn: TcpId,
        control: Box<dyn CongestionControl>,
    ) -> Result<(), Box<dyn CongestionControl>> {
        (**self).set_congestion_control(conn, control)
    }

    fn reset_congestion_control(&mut self, conn: TcpId) -> bool {
        (**self).reset_congestion_control(conn)
    }

    fn set_offload(&mut self, interface: InterfaceId, offload: Offload) {
        (**self).set_offload(interface, offload);
    }

    fn set_addresses(&mut self, interface: InterfaceId, addrs: Vec<IpCidr>, routes: Vec<Route>) -> bool {
        (**self).set_addresses(interface, addrs, routes)
    }

    fn info(&self, conn: TcpId) -> Option<TcpInfo> {
        (**self).info(conn)
    }

    fn keep_last_infos(&mut self, wanted: bool) {
        (**self).keep_last_infos(wanted);
    }

    fn take_last_info(&mut self, conn: TcpId) -> Option<TcpInfo> {
        (**self).take_last_info(conn)
    }

    fn round_trip(&self, conn: TcpId) -> Option<RoundTrip> {
        (**self).round_trip(conn)
    }

    fn send_limits(&self, conn: TcpId) -> Option<SendLimits> {
        (**self).send_limits(conn)
    }

    fn send_state(&self, conn: TcpId) -> Option<SendState> {
        (**self).send_state(conn)
    }

    fn handle_frame(&mut self, now: Instant, interface: InterfaceId, frame: Frame, hook: &mut dyn SegmentHook) {
        (**self).handle_frame(now, interface, frame, hook);
    }

    fn handle_timeout(&mut self, now: Instant, hook: &mut dyn SegmentHook) {
        (**self).handle_timeout(now, hook);
    }

    fn poll_transmit(&mut self, now: Instant, hook: &mut dyn SegmentHook, sink: &mut dyn FnMut(InterfaceId, Frame)) {
        (**self).poll_transmit(now, hook, sink);
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        (**self).poll_timeout()
    }

    fn poll_event(&mut self) -> Option<TcpEvent> {
        (**self).poll_event()
    }
}
