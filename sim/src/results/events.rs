//! The event log: one line of JSON per event, in the shape of qlog.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tcp_adapter::Instant;

/// Writes events as they happen.
///
/// The first line is a header as qlog's file of a sequence of events has it; every other line is
/// `{"time":milliseconds,"name":...,"data":{...}}`. Times have nanoseconds.
#[derive(Debug)]
pub struct EventLog<W> {
    sink: W,
    line: Vec<u8>,
}

/// What the first line says.
#[derive(Clone, Copy, Debug)]
pub struct EventLogHeader<'a> {
    /// Name of the scenario.
    pub scenario: &'a str,
    /// Tells this run from others of the same scenario.
    pub variant: &'a str,
    /// Seed of the run.
    pub seed: u64,
    /// Version of the simulator.
    pub version: &'a str,
}

/// Which packet an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PacketRef {
    /// Number of the packet in the run.
    pub id: u64,
    /// Bytes with the Ethernet header.
    pub length: u64,
}

/// An event. Lengths and sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "name", content = "data")]
#[non_exhaustive]
pub enum Event<'a> {
    /// A host sent a packet.
    #[serde(rename = "transport:packet_sent")]
    PacketSent {
        /// The host.
        host: &'a str,
        /// Its interface.
        interface: &'a str,
        /// The packet.
        packet: PacketRef,
    },
    /// A host received a packet.
    #[serde(rename = "transport:packet_received")]
    PacketReceived {
        /// The host.
        host: &'a str,
        /// Its interface.
        interface: &'a str,
        /// The packet.
        packet: PacketRef,
    },
    /// A link or a middlebox dropped a packet.
    #[serde(rename = "transport:packet_dropped")]
    PacketDropped {
        /// Direction of a link, or a middlebox.
        place: &'a str,
        /// The packet.
        packet: PacketRef,
        /// Why.
        trigger: &'a str,
    },
    /// The congestion state of a subflow, under qlog's names.
    #[serde(rename = "recovery:metrics_updated")]
    MetricsUpdated {
        /// The host whose end of the connection it is; subflows have its numbers.
        host: &'a str,
        /// The connection.
        connection: &'a str,
        /// The subflow.
        subflow: &'a str,
        /// Smoothed round-trip time in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_milliseconds")]
        smoothed_rtt: Option<Duration>,
        /// Congestion window.
        #[serde(skip_serializing_if = "Option::is_none")]
        congestion_window: Option<u64>,
        /// Slow-start threshold.
        #[serde(skip_serializing_if = "Option::is_none")]
        ssthresh: Option<u64>,
        /// Bytes sent and not acknowledged.
        bytes_in_flight: u64,
    },
    /// A segment left whose option maps bytes of the subflow to the connection (RFC 8684 section 3.3.1).
    #[serde(rename = "mptcp:dss_mapped")]
    DssMapped {
        /// The host whose end of the connection it is; subflows have its numbers.
        host: &'a str,
        /// The connection.
        connection: &'a str,
        /// The subflow.
        subflow: &'a str,
        /// Data sequence number of the first byte.
        dsn: u64,
        /// Relative subflow sequence number of the first byte.
        ssn: u32,
        /// Number of bytes of the mapping.
        length: u64,
    },
    /// The peer acknowledged data of the connection (RFC 8684 section 3.3.2).
    #[serde(rename = "mptcp:data_ack")]
    DataAck {
        /// The host whose end of the connection it is; subflows have its numbers.
        host: &'a str,
        /// The connection.
        connection: &'a str,
        /// The subflow that the acknowledgement came on.
        subflow: &'a str,
        /// Everything before this data sequence number has arrived.
        data_ack: u64,
    },
    /// A subflow is in a new state, since the sample before: states are looked at when samples are taken, and when a connection ends.
    #[serde(rename = "mptcp:subflow_state")]
    SubflowState {
        /// The host whose end of the connection it is; subflows have its numbers.
        host: &'a str,
        /// The connection.
        connection: &'a str,
        /// The subflow.
        subflow: &'a str,
        /// The path that it takes.
        path: &'a str,
        /// The state before; empty for a new subflow.
        old: &'a str,
        /// The state now.
        new: &'a str,
    },
    /// The packet scheduler chose a subflow for bytes.
    #[serde(rename = "mptcp:scheduler_choice")]
    SchedulerChoice {
        /// The host whose end of the connection it is; subflows have its numbers.
        host: &'a str,
        /// The connection.
        connection: &'a str,
        /// The subflow that was chosen.
        subflow: &'a str,
        /// Data sequence number of the first byte.
        dsn: u64,
        /// Number of bytes.
        length: u64,
    },
    /// Bytes are sent again on another subflow.
    #[serde(rename = "mptcp:reinjected")]
    Reinjected {
        /// The host whose end of the connection it is; subflows have its numbers.
        host: &'a str,
        /// The connection.
        connection: &'a str,
        /// A subflow that they were sent on before, if it still holds them.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<&'a str>,
        /// The subflow that sends them now.
        to: &'a str,
        /// Data sequence number of the first byte.
        dsn: u64,
        /// Number of bytes.
        length: u64,
    },
    /// A parameter of a link changed.
    #[serde(rename = "sim:link_changed")]
    LinkChanged {
        /// Direction of a link.
        link: &'a str,
        /// What changed, such as `down` or `rate = 5Mbit`.
        change: &'a str,
    },
    /// The application did something.
    #[serde(rename = "sim:application")]
    Application {
        /// The host.
        host: &'a str,
        /// The connection.
        connection: &'a str,
        /// What, such as `request 17 done`.
        action: &'a str,
    },
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(serialize_with = "milliseconds")]
    time: Duration,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

impl<W: Write> EventLog<W> {
    /// Starts a log. A buffered `sink` is worth while.
    ///
    /// # Errors
    /// Those of `sink`.
    pub fn new(mut sink: W, header: EventLogHeader<'_>) -> io::Result<Self> {
        let title = format!("{} {} seed {}", header.scenario, header.variant, header.seed);
        let header = json!({
            "file_schema": "urn:ietf:params:qlog:file:sequential",
            "serialization_format": "application/x-ndjson",
            "title": title,
            "trace": {
                "common_fields": {
                    "time_format": "relative_to_epoch",
                    "reference_time": {"clock_type": "monotonic", "epoch": "unknown"},
                },
                "event_schemas": ["mptcp", "sim"],
                "vantage_point": {"name": format!("mptcp-sim {}", header.version), "type": "network"},
            },
        });
        write_line(&mut sink, &header)?;
        Ok(Self { sink, line: Vec::new() })
    }

    /// The same log with a sink whose type does not show.
    pub fn boxed(self) -> EventLog<Box<dyn Write + Send>>
    where
        W: Send + 'static,
    {
        EventLog { sink: Box::new(self.sink), line: self.line }
    }

    /// Appends an event.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn write(&mut self, now: Instant, event: &Event<'_>) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, &Line { time: now - Instant::ZERO, event })?;
        self.line.push(b'\n');
        self.sink.write_all(&self.line)
    }

    /// Flushes the sink and gives it back.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn finish(mut self) -> io::Result<W> {
        self.sink.flush()?;
        Ok(self.sink)
    }
}

fn write_line(sink: &mut impl Write, value: &Value) -> io::Result<()> {
    writeln!(sink, "{value}")
}

/// The shortest number that reads back the same has no more than six decimals for the first hundred days.
fn milliseconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_nanos() as f64 / 1e6)
}

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
fn optional_milliseconds<S: serde::Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => milliseconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(events: &[(Instant, Event<'_>)]) -> String {
        let header = EventLogHeader { scenario: "two paths", variant: "mptcp", seed: 7, version: "0.1.0" };
        let mut log = EventLog::new(Vec::new(), header).unwrap();
        for (time, event) in events {
            log.write(*time, event).unwrap();
        }
        String::from_utf8(log.finish().unwrap()).unwrap()
    }

    #[test]
    fn lines_have_the_shape_of_qlog() {
        let text = log(&[
            (
                Instant::from_nanos(1_000_001),
                Event::PacketDropped {
                    place: "p1 up",
                    packet: PacketRef { id: 9, length: 1514 },
                    trigger: "gemodel \"bad\"",
                },
            ),
            (
                Instant::from_millis(20),
                Event::MetricsUpdated {
                    host: "client",
                    connection: "bulk",
                    subflow: "1",
                    smoothed_rtt: Some(Duration::from_micros(10_500)),
                    congestion_window: Some(14_480),
                    ssthresh: None,
                    bytes_in_flight: 2896,
                },
            ),
        ]);
        let lines: Vec<_> = text.lines().collect();
        let header: Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(header["title"], "two paths mptcp seed 7");
        assert_eq!(
            lines[1],
            "{\"time\":1.000001,\"name\":\"transport:packet_dropped\",\"data\":{\"place\":\"p1 up\",\
             \"packet\":{\"id\":9,\"length\":1514},\"trigger\":\"gemodel \\\"bad\\\"\"}}"
        );
        assert_eq!(
            lines[2],
            "{\"time\":20.0,\"name\":\"recovery:metrics_updated\",\"data\":{\"host\":\"client\",\"connection\":\"bulk\",\
             \"subflow\":\"1\",\"smoothed_rtt\":10.5,\"congestion_window\":14480,\"bytes_in_flight\":2896}}"
        );
    }

    #[test]
    fn nanoseconds_survive_a_day() {
        let time = Instant::from_nanos(86_400_000_000_001);
        let text =
            log(&[(time, Event::DataAck { host: "client", connection: "bulk", subflow: "1", data_ack: u64::MAX })]);
        assert!(text.contains("{\"time\":86400000.000001,\"name\":\"mptcp:data_ack\""), "{text}");
        assert!(text.contains("18446744073709551615"), "{text}");
    }
}
