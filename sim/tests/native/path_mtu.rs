//! A path that becomes narrower and wider while routers say nothing (RFC 4821, RFC 8899 section 4).

use mptcp_sim::results::LinkSample;

use super::simulate;

const ETHERNET: f64 = 14.0;

/// Bytes of a packet on average that came through in a window of time.
fn packet_size(samples: &[LinkSample], from: usize, to: usize) -> f64 {
    let (first, last) = (&samples[from], &samples[to]);
    (last.delivered_bytes - first.delivered_bytes) as f64 / (last.delivered - first.delivered) as f64 - ETHERNET
}

/// Bytes of packets that came through in a second on average.
fn rate(samples: &[LinkSample], from: usize, to: usize) -> f64 {
    (samples[to].delivered_bytes - samples[from].delivered_bytes) as f64 / (to - from) as f64
}

#[test]
fn packets_follow_the_path_down_and_up_without_any_report() {
    for transport in ["tcp", "mptcp"] {
        let outcome = simulate(
            &format!(
                r#"
                [links.p1]
                rate = "2Mbit"
                delay = "10ms"
                queue = {{ packets = 40 }}
                events = [
                    {{ at = "10s", action = "set", mtu = 1300 }},
                    {{ at = "60s", action = "set", mtu = 1500 }},
                    {{ at = "720s", action = "set", mtu = 700 }},
                    {{ at = "800s", action = "set", mtu = 1500 }},
                ]
                [[traffic]]
                name = "bulk"
                transport = "{transport}"
                [run]
                time = "1450s"
                [report]
                interval = "1s"
                "#
            ),
            1,
        );
        let link = outcome.record.links.iter().find(|link| link.name == "p1 up").unwrap();
        let samples = &link.samples.values;
        let size = |from, to| packet_size(samples, from, to);
        assert!(size(3, 9) > 1495.0, "{}", size(3, 9));
        // After the search, all packets are as long as the path allows, to eight bytes.
        assert!((1292.0..=1300.0).contains(&size(40, 59)), "{}", size(40, 59));
        // The path is wide again, but only after ten minutes someone looks.
        assert!((1292.0..=1300.0).contains(&size(100, 500)), "{}", size(100, 500));
        // To eight bytes again, as the last probes may have been lost in the queue.
        assert!(size(680, 715) > 1490.0, "{}", size(680, 715));
        assert!((692.0..=700.0).contains(&size(770, 799)), "{}", size(770, 799));
        assert!(size(1420, 1449) > 1490.0, "{}", size(1420, 1449));
        // A window of packets each time that the path became narrow, and those of the search.
        let dropped = link.drops.get("too-large").and_then(|drops| drops.values.last()).copied().unwrap_or(0);
        assert!((20..150).contains(&dropped), "{dropped} of {transport}");
        // Probes that are lost are no congestion: the link is used all the same.
        for (from, to) in [(20, 60), (600, 700), (730, 800), (1350, 1449)] {
            assert!(
                rate(samples, from, to) > 0.95 * 250_000.0,
                "{} from {from} s of {transport}",
                rate(samples, from, to)
            );
        }
    }
}
