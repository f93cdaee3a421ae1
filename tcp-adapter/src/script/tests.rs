//! The interpreter itself: scripts that must pass, and what is said of those that must not.

use super::run;
use crate::TcpStack;
use crate::smoltcp::{SmoltcpConfig, SmoltcpStack};

fn factory(settings: &[(String, String)], seed: u64) -> Result<Box<dyn TcpStack>, String> {
    let mut config = SmoltcpConfig { recv_buffer: 1 << 20, ..SmoltcpConfig::default() };
    for (key, value) in settings {
        match key.as_str() {
            "option_reserve" => config.option_reserve = value.parse().map_err(|_| "not a number".to_owned())?,
            _ => return Err(format!("'{key}' is no setting of the stack")),
        }
    }
    Ok(Box::new(SmoltcpStack::new(config, seed)))
}

fn passes(text: &str) {
    if let Err(error) = run(text, "script", 1, &factory) {
        panic!("{error}");
    }
}

/// What is said of a script that must fail.
fn fails(text: &str) -> String {
    run(text, "script", 1, &factory).expect_err("the script passed").to_string()
}

const OPEN: &str = "
    0       app   listen
    +0      <<    S   0:0     win 65535 mss 1460
    +0      >>    S.  0:0     ack 1 mss 1460 no sackOK
    +10ms   <<    .   1:1     ack 1
    +0      event established
";

#[test]
fn open_is_short_for_a_handshake() {
    passes(
        "0      open  mss 1000 wscale 2 win 4000 rtt 20ms
         +0     open2 mss 1000
         30ms   none
         +0     <<2   F.  1:1     ack 1
         +0     >>2   .   1:1     ack 2
         +0     event no finished
         +0     event2 finished",
    );
}

#[test]
fn stack_listens_and_receives() {
    passes(&format!(
        "{OPEN}
        +0      <<    .   1:1461     ack 1
        +0      >>    .   1:1        ack 1461 win >0
        +0      <<    .   1461:2921  ack 1
        +0..40ms >>   .   1:1        ack 2921 win >0
        +0      app   recv 2920
        +100ms  >>*   .   1:1        ack 2921    # an update of the window
        +0      event no closed reset
        +0      <<    F.  2921:2921  ack 1
        +0..40ms >>   .   1:1        ack 2922
        +0      event finished
        +0      app   shutdown
        +0      >>    F.  1:1        ack 2922
        +10ms   <<    .   2922:2922  ack 2
        +0      event closed normal"
    ));
}

#[test]
fn stack_connects_and_retransmits() {
    for setting in ["", "set ipv6", "set isn 7"] {
        passes(&format!(
            "{setting}
            stack option_reserve 0
            0       app   connect
            +0      >>    S   0:0     win * mss * no 30
            +1s     >>    S   0:0     win *          # RFC 6298 section 2.1
            +10ms   <<    S.  0:0     ack 1 win 8192 mss 1000
            +0      event established
            +0..40ms >>   .   1:1     ack 1
            +0      app   send 1000 by 500
            +0      >>    .   1:1001  by 500 ack 1
            +0      info  in_flight 1000 queued 0 snd_una 0
            +100ms..3s >> .   1:501   ack 1
            +0      info  retransmissions >=1 timeouts >=0
            +0      >>*
            +10ms   <<    .   1:1     ack 1001 win 8192
            +5s     none
            +0      info  in_flight 0 snd_una 1000
            +0      app   abort fd04.abcd
            +0      >>    R.  1001:1001 opt 253:abcd
            +0      event closed aborted
            +0      info  gone
            +0      app   send 1 -> Closed"
        ));
    }
}

#[test]
fn several_peers_and_resets() {
    passes(
        "0      <<    S   0:0     win 65535
         +0     >>    R.  =0      ack 1
         +0     <<    .   5:5     ack =77
         +0     >>    R   =77
         +0     app   listen
         +0     <<2   S   0:0     win 65535 wscale 3 mss 1460
         +0     >>2   S.  0:0     ack 1 wscale *
         +0     <<3   S   0:0     win 65535
         +0     >>3   S.  0:0     ack 1 no wscale
         +1ms   <<2   .   1:1     ack 1 win 80000
         +0     event2 established
         +0     <<3   R   1:1
         +1s    none
         +0     peer3 new +5000
         +0     <<3   S   0:0     win 65535
         +0     >>3   S.  0:0     ack 1
         +0     <<3   R   1:1",
    );
}

#[test]
fn differences_are_told() {
    let wrong = fails(&OPEN.replace("ack 1 mss 1460 no sackOK", "ack 2 mss 1400 no mss"));
    for part in [
        "script:4: at 0.000000s",
        "S.  0:0     ack 2 mss 1400",
        "the stack sent >> S. 0:0 ack 1",
        "- acknowledgement number",
        "- option: no Mss",
        "- option 2 must not be there",
        "<<    S   0:0     win 65535 mss 1460",
    ] {
        assert!(wrong.contains(part), "{part} in\n{wrong}");
    }
    let late = fails("0 app connect\n+0 >> S 0:0\n+5s <<2 S 0:0");
    assert!(late.contains("script:3:") && late.contains("nothing was expected, but at 1.000000s"), "{late}");
    let early = fails("0 app connect\n+5ms >> S 0:0");
    assert!(early.contains("- time: 0.000000s"), "{early}");
    let nothing = fails("0 app connect\n+0 >> S 0:0\n+100ms >> S 0:0");
    assert!(nothing.contains("nothing was sent until 0.100001s"), "{nothing}");
    let left = fails("0 app connect");
    assert!(left.contains("nothing was expected"), "{left}");
    let info = fails(&format!("{OPEN}\n+0 info in_flight 5"));
    assert!(info.contains("in_flight: 0 instead of 5"), "{info}");
    let event = fails(&format!("{OPEN}\n+0 event closed reset"));
    assert!(event.contains("was not reported"), "{event}");
    let call = fails(&format!("{OPEN}\n+0 app send 5 -> Full"));
    assert!(call.contains("the call succeeded instead of failing with Full"), "{call}");
}

#[test]
fn wrong_payload_is_found() {
    let received = fails(&format!("{OPEN}\n+0 << . 1:11 ack 1 fill 0xaa\n+40ms >>*\n+0 app recv 10"));
    assert!(received.contains("the byte received at offset 0 is wrong"), "{received}");
    passes(&format!("{OPEN}\n+0 << . 1:11 ack 1 badsum\n+40ms none\n+0 app recv 0"));
}

#[test]
fn mistakes_are_named_with_their_line() {
    for (line, part) in [
        ("0", "an action is missing after the time"),
        ("5 app listen", "'5' is not a time such as 200ms"),
        ("+1h app listen", "'1h' is not a time"),
        ("+20ms..10ms >> . 1:1", "ends before it begins"),
        ("0..5ms app listen", "only what the stack does can have a range"),
        ("0 frob", "'frob' is no action"),
        ("0 app frob", "'frob' is no call of the application"),
        ("0 << S", "a sequence number such as 1:1461 is missing"),
        ("0 << X 0:0", "'X' in 'X' is no flag"),
        ("0 << . 1:1", "'ack' is missing"),
        ("0 << . 5:1 ack 1", "'5:1' is no range"),
        ("0 << S 0:0 frob", "'frob' is no word of a segment"),
        ("0 << S 0:0 mss", "'mss' needs a value"),
        ("0 << S 0:0 mss x", "'x' is not a number"),
        ("0 << S 0:0 opt 30:abc", "'abc' is not bytes"),
        ("0 << S 0:0 no ts", "'no' has no meaning"),
        ("0 << icmp frob for 1:1", "not 'icmp KIND for FROM:TO'"),
        ("0 info frob 1", "'frob' is no field"),
        ("0 info cwnd", "'cwnd' needs a value"),
        ("0 info cwnd 9..1", "has nothing in it"),
        ("0 event frob", "'frob' is no event"),
        ("set frob", "not a setting"),
        ("0 app listen\nset mtu 1", "settings come before the first time"),
    ] {
        let wrong = fails(line);
        assert!(wrong.starts_with("script:") && wrong.contains(part), "{line}: {wrong}");
    }
    assert!(fails("stack frob 1\n0 app listen").contains("'frob' is no setting"));
    assert!(fails("# nothing").contains("an empty script"));
}
