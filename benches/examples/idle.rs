//! Opens connections that do nothing after one small exchange, and says how much memory the simulation took:
//! `idle {tcp|mptcp} CONNECTIONS`.

use mptcp_sim::run::run_for_figures;
use mptcp_sim::scenario::Scenario;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (Some(transport), Some(connections)) = (args.first(), args.get(1).and_then(|text| text.parse::<u32>().ok()))
    else {
        return Err("usage: idle {tcp|mptcp} CONNECTIONS".into());
    };
    let text = format!(
        "[hosts.client]\nrecv_buffer = \"64KiB\"\nsend_buffer = \"64KiB\"\n\
         [hosts.server]\nrecv_buffer = \"64KiB\"\nsend_buffer = \"64KiB\"\n\
         [links.p0]\nrate = \"1Gbit\"\ndelay = \"10ms\"\nqueue = {{ packets = 100000 }}\n\
         [[traffic]]\nname = \"idle\"\ntransport = \"{transport}\"\nconnections = {connections}\n\
         kind = \"request\"\nrequest = \"1B\"\nresponse = \"1B\"\nthink = \"1h\"\n[run]\ntime = \"2s\"\n"
    );
    let outcome = run_for_figures(&Scenario::parse(&text, "idle")?, 1)?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM unknown");
    println!("{} packets, {peak}", outcome.effort.packets);
    Ok(())
}
