//! Coupled congestion control against what its RFC, its papers and published measurements say of it.

use mptcp_sim::run::Outcome;

use super::{FRAME, PAYLOAD, goodput, simulate};

/// Bytes of payload in one of frames at full size.
const SHARE: f64 = PAYLOAD / FRAME;

/// A queue whose drops hit all flows alike (RFC 2309), which is what the equations assume.
const RED: &str = r#"{ kind = "red", limit = "210KiB", min = "20KiB", max = "100KiB", ecn = false }"#;
/// A bandwidth-delay product that drops what does not fit.
const DROP_TAIL: &str = "{ packets = 70 }";

/// A path to a bottleneck. What varies a little keeps flows from moving in step, as they would in no real network.
const ACCESS: &str = r#"
    rate = "1Gbit"
    delay = "1ms"
    jitter = { amount = "200us", distribution = "uniform", order = "kept" }
"#;

/// One connection with so many subflows beside a TCP, both over one bottleneck of 20 Mbit/s and 42 ms.
fn shared(coupling: &str, congestion: &str, queue: &str, subflows: usize, seed: u64) -> Outcome {
    // It takes a while to find out, and CUBICs take another one to give way.
    let (time, warmup) = if coupling == "auto" { ("300s", "90s") } else { ("150s", "30s") };
    let all = |what: &dyn Fn(usize) -> String, from| (from..subflows).map(what).collect::<Vec<_>>().join(", ");
    let paths: String = (0..subflows).map(|path| format!("[links.p{path}]\nlike = \"own\"\n")).collect();
    let names = all(&|path| format!("\"p{path}\""), 0);
    let endpoints = all(&|path| format!("{{ host = \"client\", link = \"p{path}\", flags = [\"subflow\"] }}"), 1);
    let text = format!(
        r#"
        [tcp]
        congestion = "{congestion}"
        [routers.core]
        [links.own]
        to = "core"
        {ACCESS}
        {paths}
        [links.bottleneck]
        from = "core"
        rate = "20Mbit"
        delay = "20ms"
        queue = {queue}
        [[traffic]]
        name = "mptcp"
        paths = [{names}]
        [[traffic]]
        name = "tcp"
        transport = "tcp"
        paths = ["own"]
        start = "50ms"
        [mptcp]
        coupling = "{coupling}"
        endpoints = [{endpoints}]
        [run]
        time = "{time}"
        warmup = "{warmup}"
        "#,
    );
    simulate(&text, seed)
}

/// How many times a TCP's share the connection takes, over runs with five seeds. One run alone is off by a tenth: windows swing slowly.
fn advantage(coupling: &str, congestion: &str, queue: &str, subflows: usize) -> f64 {
    let rates = [1, 2, 3, 4, 5].map(|seed| {
        let outcome = shared(coupling, congestion, queue, subflows, seed);
        let [mptcp, tcp] = ["mptcp", "tcp"].map(|name| goodput(&outcome, name));
        assert!(mptcp + tcp > 0.9 * 20.0 * SHARE, "{coupling}: {mptcp} and {tcp} Mbit/s");
        (mptcp, tcp)
    });
    let each = rates.map(|(mptcp, tcp)| mptcp / tcp);
    let (mptcp, tcp) = rates.iter().fold((0.0, 0.0), |sum, rates| (sum.0 + rates.0, sum.1 + rates.1));
    let found = mptcp / tcp;
    println!("{coupling}, {subflows} subflows: {found:.2} ({each:.2?}) times the share of {congestion} in {queue}");
    found
}

/// RFC 6356 section 2, "do no harm": however many subflows a connection has, it takes what a TCP takes.
#[test]
fn on_one_bottleneck_a_connection_is_one_tcp() {
    for coupling in ["lia", "olia", "balia"] {
        for subflows in 1..=4 {
            let found = advantage(coupling, "reno", RED, subflows);
            assert!((0.8..1.25).contains(&found), "{coupling} with {subflows} subflows: {found}");
        }
    }
}

/// The same of CUBIC.
#[test]
fn on_one_bottleneck_coupled_cubics_are_one_cubic() {
    for subflows in 1..=4 {
        let found = advantage("coupled-cubic", "cubic", RED, subflows);
        assert!((0.85..1.15).contains(&found), "{subflows} subflows: {found}");
    }
}

/// In a queue that drops what does not fit, flows lose together, and all of a connection's windows shrink where a TCP's does once. The
/// link of RFC 6356 makes up for it, since it favours windows that differ.
#[test]
fn linked_increases_are_one_tcp_in_a_full_queue_too() {
    for (coupling, congestion) in [("lia", "reno"), ("coupled-cubic", "cubic")] {
        for subflows in 2..=4 {
            let found = advantage(coupling, congestion, DROP_TAIL, subflows);
            assert!((0.8..1.25).contains(&found), "{coupling} with {subflows} subflows: {found}");
        }
    }
}

/// That the tests above could fail.
#[test]
fn uncoupled_subflows_are_as_many_tcps() {
    for congestion in ["reno", "cubic"] {
        let found = advantage("uncoupled", congestion, RED, 3);
        assert!((2.4..3.6).contains(&found), "{congestion}: {found}");
    }
}

/// One connection over two bottlenecks of 10 Mbit/s, with so many TCPs beside it on each: its goodput, and what TCPs leave of the
/// second one, in Mbit/s.
fn disjoint(coupling: &str, congestion: &str, tcps: [usize; 2], seed: u64) -> (f64, f64) {
    let mut text = format!("[tcp]\ncongestion = \"{congestion}\"\n[mptcp]\ncoupling = \"{coupling}\"\n");
    for (path, tcps) in tcps.into_iter().enumerate() {
        text += &format!(
            r#"
            [routers.r{path}]
            [links.p{path}]
            to = "r{path}"
            {ACCESS}
            [links.bottleneck{path}]
            from = "r{path}"
            rate = "10Mbit"
            delay = "20ms"
            queue = {{ kind = "red", limit = "105KiB", min = "10KiB", max = "50KiB", ecn = false }}
            "#
        );
        for tcp in 0..tcps {
            let start = 50 + 70 * tcp;
            text += &format!(
                "[[traffic]]\nname = \"tcp{path}{tcp}\"\ntransport = \"tcp\"\npaths = [\"p{path}\"]\nstart = \"{start}ms\"\n"
            );
        }
    }
    text += "[[traffic]]\nname = \"mptcp\"\npaths = [\"p0\", \"p1\"]\n[run]\ntime = \"150s\"\nwarmup = \"20s\"\n";
    let outcome = simulate(&text, seed);
    let others: f64 = (0..tcps[1]).map(|tcp| goodput(&outcome, &format!("tcp1{tcp}"))).sum();
    let found = (goodput(&outcome, "mptcp"), 10.0 * SHARE - others);
    println!(
        "{coupling} beside {tcps:?} times {congestion}: {:.2} Mbit/s, of which {:.2} on the second",
        found.0, found.1
    );
    found
}

/// The mean of what five seeds give.
fn mean(of: impl Fn(u64) -> f64) -> f64 {
    [1, 2, 3, 4, 5].map(of).iter().sum::<f64>() / 5.0
}

/// RFC 6356 section 2: what a TCP would get on the best path. Of two equal bottlenecks with a TCP each, that is a third of all.
#[test]
fn on_two_bottlenecks_a_connection_is_one_tcp() {
    for (coupling, congestion) in [("lia", "reno"), ("olia", "reno"), ("balia", "reno"), ("coupled-cubic", "cubic")] {
        let found = mean(|seed| disjoint(coupling, congestion, [1, 1], seed).0);
        let third = 20.0 * SHARE / 3.0;
        assert!((0.8..1.15).contains(&(found / third)), "{coupling}: {found} Mbit/s, {third} would be fair");
    }
    let (uncoupled, _) = disjoint("uncoupled", "reno", [1, 1], 1);
    assert!(uncoupled > 0.45 * 20.0 * SHARE, "{uncoupled} Mbit/s");
}

/// Khalili and others, CoNEXT 2012: linked increases leave traffic on a path that is more congested, which does themselves no good and
/// others harm; opportunistic ones take it away. Balanced ones are in between (Peng and others, 2016).
#[test]
fn olia_leaves_a_congested_path_most_and_lia_least() {
    let [uncoupled, lia, balia, olia] =
        ["uncoupled", "lia", "balia", "olia"].map(|coupling| mean(|seed| disjoint(coupling, "reno", [1, 4], seed).1));
    assert!(olia < 0.9 * balia, "{olia} and {balia} Mbit/s on the congested path");
    assert!(balia < lia, "{balia} and {lia} Mbit/s on the congested path");
    assert!(lia < 0.5 * uncoupled, "{lia} and {uncoupled} Mbit/s on the congested path");
}

/// Vegas avoids queues, and so gets hardly more than a TCP, though drops that come before a queue is long tell it of congestion as late as a TCP; where it is
/// alone, it fills the links.
#[test]
fn wvegas_takes_hardly_more_than_a_tcp() {
    let found = mean(|seed| disjoint("wvegas", "reno", [1, 1], seed).0);
    assert!((1.0..20.0 * SHARE / 3.0 * 1.25).contains(&found), "{found} Mbit/s");
    let (alone, _) = disjoint("wvegas", "reno", [0, 0], 1);
    assert!(alone > 0.95 * 20.0 * SHARE, "{alone} Mbit/s");
}

/// Subflows that share a bottleneck become one flow once that is found out; those that share none stay as many.
#[test]
fn shared_bottlenecks_are_told_from_disjoint_ones() {
    for subflows in [2, 3] {
        let found = advantage("auto", "cubic", DROP_TAIL, subflows);
        assert!((0.8..1.35).contains(&found), "{subflows} subflows: {found}");
    }
    for seed in 1..=3 {
        let [auto, uncoupled] = ["auto", "uncoupled"].map(|coupling| disjoint(coupling, "cubic", [1, 1], seed).0);
        assert!((auto / uncoupled - 1.0).abs() < 0.05, "{auto} Mbit/s, {uncoupled} uncoupled");
    }
}
