//! How much gets through.

use mptcp_sim::scenario::Metric;

use super::{FRAME, PAYLOAD, goodput, metric, simulate};

/// All that is lost is headers, whatever the congestion control.
#[test]
fn a_lossless_gigabit_link_is_filled_up_to_its_headers() {
    for congestion in ["cubic", "reno", "dctcp"] {
        let outcome = simulate(
            &format!(
                r#"
                [tcp]
                congestion = "{congestion}"
                [links.p1]
                rate = "1Gbit"
                delay = "1ms"
                queue = {{ packets = 500 }}
                [[traffic]]
                name = "bulk"
                transport = "tcp"
                [run]
                time = "1500ms"
                warmup = "500ms"
                "#
            ),
            1,
        );
        let (found, expected) = (goodput(&outcome, "bulk"), 1000.0 * PAYLOAD / FRAME);
        assert!((found / expected - 1.0).abs() < 0.005, "{congestion}: {found} instead of {expected} Mbit/s");
    }
}

/// Padhye, Firoiu, Towsley, Kurose: "Modeling TCP Reno Performance", 2000, equation 30 without its limit by the receive window.
///
/// One acknowledgement opens the window by all that it acknowledges (RFC 3465), so that `b` is 1 although every second
/// segment is acknowledged; the retransmission timeout is the smoothed round-trip time and the least variation.
fn pftk(loss: f64, rtt: f64) -> f64 {
    let timeout = rtt.max(0.2);
    let congestion_avoidance = rtt * (2.0 * loss / 3.0).sqrt();
    let timeouts = timeout * (3.0 * (3.0 * loss / 8.0).sqrt()).min(1.0) * loss * (1.0 + 32.0 * loss * loss);
    PAYLOAD * 8.0 / (congestion_avoidance + timeouts) / 1e6
}

#[test]
fn reno_under_random_loss_follows_its_formula() {
    // Loss in percent, round-trip time in ms, and simulated seconds: so long that hundreds of losses are seen.
    for (loss, rtt, time) in
        [(0.1, 20, 200), (0.2, 50, 400), (0.5, 20, 100), (0.5, 100, 400), (1.0, 50, 200), (2.0, 100, 200)]
    {
        let outcome = simulate(
            &format!(
                r#"
                [tcp]
                congestion = "reno"
                [links.p1]
                rate = "1Gbit"
                delay = "{}ms"
                queue = {{ packets = 10000 }}
                [links.p1.up]
                loss = "{loss}%"
                [[traffic]]
                name = "bulk"
                transport = "tcp"
                [run]
                time = "{time}s"
                warmup = "5s"
                "#,
                rtt / 2
            ),
            1,
        );
        let (found, expected) = (goodput(&outcome, "bulk"), pftk(loss / 100.0, f64::from(rtt) / 1000.0));
        let share = found / expected;
        println!("{loss} % and {rtt} ms: {found:.3} Mbit/s, {share:.3} of the formula");
        assert!((share - 1.0).abs() < 0.15, "{loss} % and {rtt} ms: {found} instead of {expected} Mbit/s");
    }
}

/// ns-3's CUBIC reaches 19.6 and 79 Mbit/s here.
#[test]
fn cubic_on_a_lossy_gigabit_path_is_as_good_as_published() {
    for (connections, published) in [(1, 19.6), (4, 79.0)] {
        let found = lossy_gigabit("cubic", connections, "20s");
        println!("{connections}: {found}");
        assert!(found >= published, "{connections} flows: {found} instead of {published} Mbit/s");
    }
}

#[test]
fn bbr_fills_a_lossy_gigabit_path() {
    let found = lossy_gigabit("bbr", 1, "4s");
    println!("{found}");
    assert!(found >= 900.0 * PAYLOAD / FRAME, "{found} Mbit/s");
}

fn lossy_gigabit(congestion: &str, connections: u32, time: &str) -> f64 {
    let outcome = simulate(
        &format!(
            r#"
            [tcp]
            congestion = "{congestion}"
            [links.p1]
            rate = "1Gbit"
            delay = "5ms"
            loss = "0.5%"
            queue = {{ packets = 1000 }}
            [[traffic]]
            name = "bulk"
            transport = "tcp"
            connections = {connections}
            [run]
            time = "{time}"
            warmup = "1s"
            "#
        ),
        1,
    );
    goodput(&outcome, "bulk")
}

/// Packets that overflow a queue are sent again once each, and a window that fills the path even after its reduction keeps it full.
#[test]
fn an_overflowing_queue_costs_what_it_drops() {
    // The queue holds 0.6 of what the path does, so that half of both is less than the path does.
    for (congestion, least) in [("cubic", 0.995), ("reno", 0.97)] {
        let outcome = simulate(
            &format!(
                r#"
                [tcp]
                congestion = "{congestion}"
                [links.p1]
                rate = "100Mbit"
                delay = "10ms"
                queue = {{ packets = 100 }}
                [[traffic]]
                name = "bulk"
                transport = "tcp"
                [run]
                time = "20s"
                warmup = "2s"
                "#
            ),
            1,
        );
        let (found, expected) = (goodput(&outcome, "bulk"), 100.0 * PAYLOAD / FRAME);
        assert!(found > least * expected, "{congestion}: {found} instead of {expected} Mbit/s");
        let (drops, again) =
            (metric(&outcome, Metric::Drops, "bulk"), metric(&outcome, Metric::Retransmissions, "bulk"));
        assert!(drops > 0.0 && again <= drops * 1.02, "{congestion}: {again} sent again for {drops}");
    }
}
