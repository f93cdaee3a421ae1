//! Scenarios that measure the simulator.

use mptcp_sim::scenario::Scenario;

/// Bulk flows over 1 Gbit/s and 10 ms each way, divided among `links`, with queues of one bandwidth-delay product in all.
///
/// # Panics
/// No `links`.
#[expect(clippy::expect_used, reason = "the text below is a sound scenario")]
pub fn bottleneck(stack: &str, transport: &str, links: u32, flows: u64, millis: u64) -> Scenario {
    // What a flow's share of the link can use and more; smoltcp allocates all of it.
    let buffer = (16 << 20) / flows.clamp(4, 256);
    let mut text = format!(
        "[tcp]\nstack = \"{stack}\"\n\
         [hosts.client]\nrecv_buffer = {buffer}\nsend_buffer = {buffer}\n\
         [hosts.server]\nrecv_buffer = {buffer}\nsend_buffer = {buffer}\n"
    );
    for link in 0..links {
        let rate = 1_000 / links;
        text.push_str(&format!(
            "[links.p{link}]\nrate = \"{rate}Mbit\"\ndelay = \"10ms\"\nqueue = {{ packets = {} }}\n",
            1667 / links
        ));
    }
    text.push_str(&format!(
        "[[traffic]]\nname = \"bulk\"\ntransport = \"{transport}\"\nconnections = {flows}\n[run]\ntime = \"{millis}ms\"\n"
    ));
    Scenario::parse(&text, "bench").expect("a sound scenario")
}
