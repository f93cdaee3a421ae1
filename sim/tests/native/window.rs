//! CUBIC's window after a loss (RFC 9438 section 4.2).

use mptcp_sim::results::SubflowSample;

use super::{PAYLOAD, samples, seconds, simulate};

const C: f64 = 0.4;
const BETA: f64 = 0.7;

#[test]
#[expect(clippy::disallowed_methods, reason = "the last digit does not matter here")]
fn after_a_loss_the_window_is_the_cubic_function_of_time() {
    let interval = 0.001;
    let outcome = simulate(
        r#"
        [links.p1]
        rate = "200Mbit"
        delay = "50ms"
        queue = { packets = 20000 }
        [links.p1.up]
        loss = { model = "list", packets = [3500] }
        [[traffic]]
        name = "bulk"
        transport = "tcp"
        [run]
        time = "20s"
        [report]
        interval = "1ms"
        "#,
        1,
    );
    let samples = samples(&outcome);
    let lost = samples.iter().position(|sample| sample.losses > Some(0)).unwrap();
    let cwnd = |sample: &SubflowSample| sample.cwnd.unwrap() as f64 / PAYLOAD;
    // The largest window is that at which the loss was found.
    let largest = cwnd(&samples[lost - 1]);
    let k = (largest * (1.0 - BETA) / C).cbrt();
    // The epoch begins when the recovery ends, a round trip after the loss.
    let epoch = lost as f64 * interval + seconds(samples[lost].srtt.unwrap());
    let mut compared = 0;
    for (index, sample) in samples.iter().enumerate().skip(lost + 200).step_by(100) {
        let time = index as f64 * interval - epoch;
        let expected = largest + C * (time - k).powi(3);
        let found = cwnd(sample);
        assert!((found / expected - 1.0).abs() < 0.05, "{time} s: {found} instead of {expected} segments, K = {k} s");
        compared += 1;
    }
    println!("W_max {largest}, K {k}, {compared} samples");
    assert!(compared > 100 && samples.last().unwrap().losses == Some(1));
    let end = (samples.len() - 1) as f64 * interval - epoch;
    assert!(end > k * 1.2, "the convex part is seen too: {end} s of {k}");
}
