//! `mptcp nvme perf`: a load as fio would make it, measured.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use nvme_tcp::command::{BlockRange, IoCommand};
use nvme_tcp::host::{Namespace, Request};
use serde::Serialize;

use super::copy::{check, namespace};
use super::host::{AnyHost, failed, leave};
use super::persistence::LastingOptions;
use crate::failure::Failure;
use crate::human::{bytes, parse_count};
use crate::say;

/// What the load does. The names are fio's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Pattern {
    /// Reads, one after the other.
    Read,
    /// Writes, one after the other.
    Write,
    /// Reads anywhere.
    Randread,
    /// Writes anywhere.
    Randwrite,
    /// Both, anywhere.
    Randrw,
}

/// Measure reads and writes of a namespace
///
/// Options and figures are called as in fio. Writes destroy what the namespace holds.
#[derive(Args)]
pub(crate) struct PerfArgs {
    /// What to do
    #[arg(long, value_name = "PATTERN", default_value = "randread")]
    rw: Pattern,
    /// Bytes of each command
    #[arg(long, value_name = "BYTES", default_value = "4K", value_parser = parse_count)]
    bs: u64,
    /// Commands outstanding on each queue
    #[arg(long, value_name = "N", default_value = "32", value_parser = clap::value_parser!(u32).range(1..=4095))]
    iodepth: u32,
    /// Seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    runtime: u64,
    /// Reads of a mixture, in per cent [default: 50]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(0..=100))]
    rwmixread: Option<u64>,
    /// Namespace
    #[arg(long, value_name = "NSID", default_value = "1")]
    namespace_id: u32,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    subsystem: LastingOptions,
}

/// What was measured of one direction.
#[derive(Serialize)]
struct Figures {
    total_ios: u64,
    iops: f64,
    bw_bytes: f64,
    clat_ns: Latency,
}

/// Completion latency, in nanoseconds.
#[derive(Serialize)]
struct Latency {
    min: u64,
    mean: f64,
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

#[derive(Serialize)]
struct Report {
    runtime_s: f64,
    queues: usize,
    iodepth: u32,
    read: Option<Figures>,
    write: Option<Figures>,
}

/// Nanoseconds that a histogram holds: an hour.
const LONGEST: u64 = 3_600_000_000_000;

pub(super) fn run(args: &PerfArgs) -> Result<(), Failure> {
    if args.rwmixread.is_some() && args.rw != Pattern::Randrw {
        return Err(Failure::Usage("--rwmixread is for --rw randrw".to_owned()));
    }
    let mut host = args.subsystem.connect()?;
    let namespace = namespace(&host, args.namespace_id)?;
    let queues = host.queues();
    if let Some(most) = (0..queues).map(|queue| host.room(queue)).min().filter(|most| args.iodepth as usize > *most) {
        let entries = most + 1;
        return Err(Failure::Usage(format!(
            "--iodepth can be {most} at most, as queues have {entries} entries (see --queue-size)"
        )));
    }
    let mut load = Load::new(args, &namespace, &host)?;
    let started = Instant::now();
    let end = started + Duration::from_secs(args.runtime);
    load.run(&mut host, args.iodepth as usize, end)?;
    let elapsed = started.elapsed().as_secs_f64();
    leave(host);
    let [read, write] = [0, 1].map(|which| load.figures(which, elapsed));
    let report = Report { runtime_s: elapsed, queues, iodepth: args.iodepth, read, write };
    if args.json {
        let text = serde_json::to_string(&report).map_err(|error| Failure::Runtime(error.to_string()))?;
        say(&text);
    } else {
        say(&format!("I/O queues: {queues}, depth of each: {}", args.iodepth));
        for (name, figures) in [("read", &report.read), ("write", &report.write)] {
            if let Some(figures) = figures {
                print(name, figures);
            }
        }
    }
    Ok(())
}

fn print(name: &str, figures: &Figures) {
    let latency = &figures.clat_ns;
    let micro = |nanos: u64| nanos as f64 / 1e3;
    say(&format!(
        "{name:>6}: IOPS={}, BW={}/s, {} commands",
        iops(figures.iops),
        bytes(figures.bw_bytes as u64),
        figures.total_ios
    ));
    say(&format!(
        "   clat (usec): min={:.1}, avg={:.1}, max={:.1}",
        micro(latency.min),
        latency.mean / 1e3,
        micro(latency.max)
    ));
    say(&format!(
        "   percentiles (usec): 50th={:.1}, 90th={:.1}, 99th={:.1}, 99.9th={:.1}",
        micro(latency.p50),
        micro(latency.p90),
        micro(latency.p99),
        micro(latency.p999)
    ));
}

/// Commands per second, in thousands where there are so many.
fn iops(rate: f64) -> String {
    if rate >= 1e3 {
        format!("{:.1}k", rate / 1e3)
    } else {
        let digits = usize::from(rate < 10.0);
        format!("{rate:.digits$}")
    }
}

/// A load on all queues of a host.
struct Load {
    pattern: Pattern,
    mix: u64,
    nsid: u32,
    /// Of one command.
    blocks: u32,
    bytes: u32,
    /// Places that commands can begin at.
    places: u64,
    next: u64,
    random: u64,
    data: Bytes,
    /// Reads and writes.
    latencies: [Histogram<u64>; 2],
}

impl Load {
    fn new(args: &PerfArgs, namespace: &Namespace, host: &AnyHost) -> Result<Self, Failure> {
        let block = u64::from(namespace.block_size);
        if !args.bs.is_multiple_of(block) {
            return Err(Failure::Usage(format!("--bs must be a multiple of {block}, the block size of the namespace")));
        }
        if let Some(most) = host.controller().max_transfer().filter(|most| args.bs > *most) {
            return Err(Failure::Usage(format!("--bs can be {most} at most, says the controller")));
        }
        let most = u64::from(BlockRange::MOST);
        let (Ok(bytes), true) = (u32::try_from(args.bs), args.bs / block <= most) else {
            let most = (most * block).min(u32::MAX.into());
            return Err(Failure::Usage(format!("--bs can be {most} at most, as a command counts blocks with 16 bits")));
        };
        let places = namespace.blocks * block / args.bs;
        if places == 0 {
            return Err(Failure::Usage("--bs is more than the namespace has".to_owned()));
        }
        // One that is shared by all writes: what they cost is not making it.
        let mut data = BytesMut::zeroed(usize::try_from(args.bs).unwrap_or(usize::MAX));
        data.iter_mut().zip(0_u32..).for_each(|(byte, at)| *byte = (at % 251) as u8);
        let histogram =
            || Histogram::new_with_bounds(1, LONGEST, 3).map_err(|error| Failure::Runtime(error.to_string()));
        Ok(Self {
            pattern: args.rw,
            mix: args.rwmixread.unwrap_or(50),
            nsid: namespace.nsid,
            // No more than 2^16.
            blocks: (args.bs / block) as u32,
            bytes,
            places,
            next: 0,
            random: 0x9e37_79b9_7f4a_7c15,
            data: data.freeze(),
            latencies: [histogram()?, histogram()?],
        })
    }

    fn run(&mut self, host: &mut AnyHost, depth: usize, end: Instant) -> Result<(), Failure> {
        let start = Instant::now();
        let since = |at: Instant| u64::try_from(at.duration_since(start).as_nanos()).unwrap_or(u64::MAX);
        let mut outstanding = vec![0; host.queues()];
        loop {
            let now = Instant::now();
            let over = now >= end;
            for (queue, outstanding) in outstanding.iter_mut().enumerate() {
                while let Some(finished) = host.poll_finished(queue) {
                    *outstanding -= 1;
                    check(&finished)?;
                    let is_write = !matches!(finished.request.data, nvme_tcp::host::Data::Receive { .. });
                    let taken = since(now).saturating_sub(finished.request.token).max(1);
                    self.latencies[usize::from(is_write)].saturating_record(taken);
                }
                while !over && *outstanding < depth && host.room(queue) > 0 {
                    let request = self.request(since(now));
                    if host.submit(queue, request).is_err() {
                        break;
                    }
                    *outstanding += 1;
                }
            }
            if over && outstanding.iter().all(|count| *count == 0) {
                return Ok(());
            }
            host.turn(Some(Duration::from_millis(100))).map_err(|error| failed(&error))?;
        }
    }

    fn request(&mut self, token: u64) -> Request<u64> {
        let place = match self.pattern {
            Pattern::Read | Pattern::Write => {
                self.next = (self.next + 1) % self.places;
                self.next
            }
            Pattern::Randread | Pattern::Randwrite | Pattern::Randrw => self.draw() % self.places,
        };
        let range = BlockRange { start: place * u64::from(self.blocks), count: self.blocks };
        let reads = match self.pattern {
            Pattern::Read | Pattern::Randread => true,
            Pattern::Write | Pattern::Randwrite => false,
            Pattern::Randrw => self.draw() % 100 < self.mix,
        };
        if reads {
            let command = IoCommand::Read { range, force_unit_access: false };
            Request::new(command.to_sqe(self.nsid), token).receiving(self.bytes)
        } else {
            let command = IoCommand::Write { range, force_unit_access: false };
            Request::new(command.to_sqe(self.nsid), token).sending(self.data.clone())
        }
    }

    /// Xorshift: places need not be hard to guess.
    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn figures(&self, which: usize, seconds: f64) -> Option<Figures> {
        let latencies = &self.latencies[which];
        let total_ios = latencies.len();
        (total_ios > 0).then(|| Figures {
            total_ios,
            iops: total_ios as f64 / seconds,
            bw_bytes: total_ios as f64 * f64::from(self.bytes) / seconds,
            clat_ns: Latency {
                min: latencies.min(),
                mean: latencies.mean(),
                p50: latencies.value_at_quantile(0.5),
                p90: latencies.value_at_quantile(0.9),
                p99: latencies.value_at_quantile(0.99),
                p999: latencies.value_at_quantile(0.999),
                max: latencies.max(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_commands_are_not_none() {
        let shown = [0.3, 40.0, 999.0, 1000.0, 123_456.0].map(iops);
        assert_eq!(shown, ["0.3", "40", "999", "1.0k", "123.5k"]);
    }
}
