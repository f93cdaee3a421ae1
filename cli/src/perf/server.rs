//! The server's side: a thread per client.

use std::io::{self, Read};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use super::bulk::Exchange;
use super::protocol::{Answer, Kind, Results, Test, VERSION, read_record, write_record};
use super::{MAX_REQUEST, requests};
use crate::failure::{Failure, plain};
use crate::human::bytes;
use crate::network::{Listener, Stream};
use crate::say;

/// How long a client may take to say what it wants, or to leave after the test.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves tests, each in a thread of its own, until interrupted or, with `one_off`, after the first.
pub(super) fn serve(listener: &Listener, one_off: bool, json: bool) -> Result<(), Failure> {
    loop {
        let stream = listener.accept(None).map_err(|error| Failure::io("cannot accept a connection", &error))?;
        let stream = Arc::new(stream);
        if one_off {
            return session(&stream, json).map_err(|error| Failure::io("the test failed", &error));
        }
        let session = move || {
            if let Err(error) = session(&stream, json) {
                stream.abort();
                say(&format!("a test failed: {}", plain(&error)));
            }
        };
        std::thread::Builder::new()
            .name("mptcp-session".to_owned())
            .spawn(session)
            .map_err(|error| Failure::io("cannot start a thread", &error))?;
    }
}

fn session(stream: &Arc<Stream>, json: bool) -> io::Result<()> {
    let peer = stream.peer_addr()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let test: Test = read_record(&**stream)?;
    let refused = refusal(&test);
    write_record(&**stream, &Answer { refused: refused.clone() })?;
    stream.set_read_timeout(None)?;
    let results = match test.kind {
        _ if refused.is_some() => Results::default(),
        Kind::Bulk { direction, limit } => {
            let exchange = Exchange::start(stream, direction.downloads().then_some(limit), direction.uploads())?;
            let results = exchange.join()?;
            write_record(&**stream, &results)?;
            results
        }
        Kind::Requests { size } => {
            requests::echo(stream, size)?;
            Results::default()
        }
    };
    stream.shutdown(Shutdown::Write)?;
    // Closing with the client's end unread would reset the connection under its feet.
    stream.set_read_timeout(Some(PATIENCE))?;
    while (&**stream).read(&mut [0; 64])? > 0 {}
    match refused {
        Some(reason) => Err(io::Error::other(format!("refused {peer}: {reason}"))),
        None => {
            report(json, peer, &results);
            Ok(())
        }
    }
}

fn refusal(test: &Test) -> Option<String> {
    match test.kind {
        _ if test.version != VERSION => {
            Some(format!("version {} is not spoken here, only version {VERSION}", test.version))
        }
        Kind::Requests { size } if size == 0 || size > MAX_REQUEST => {
            Some(format!("a request has 1 to {MAX_REQUEST} bytes, not {size}"))
        }
        _ => None,
    }
}

fn report(json: bool, peer: std::net::SocketAddr, results: &Results) {
    if json {
        let line = serde_json::json!({ "peer": peer, "results": results });
        say(&line.to_string());
    } else {
        say(&format!("{peer}: received {}, sent {}", bytes(results.received), bytes(results.sent)));
    }
}
