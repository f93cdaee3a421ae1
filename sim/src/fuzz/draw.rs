//! Drawing a scenario.

use std::fmt::Write as _;

use crate::random::{Stream, Streams};

/// A scenario that was drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// The file.
    pub text: String,
    /// Nothing in it stands in the way of the traffic for good.
    pub must_end: bool,
}

/// Draws one thing after the other and writes them down.
struct Pen {
    stream: Stream,
    text: String,
    must_end: bool,
    checksum: bool,
    links: Vec<String>,
    /// One for all links: nobody here tells a sender of a smaller one on the way.
    mtu: u64,
}

/// Of a hundred.
type Percent = u64;

impl Drawn {
    /// The scenario of a seed.
    pub fn new(seed: u64) -> Self {
        let mut pen = Pen {
            stream: Streams::new(seed).stream("fuzz"),
            text: format!("# Drawn from seed {seed}.\n"),
            must_end: true,
            checksum: false,
            links: Vec::new(),
            mtu: 1500,
        };
        if pen.chance(15) {
            pen.mtu = pen.between(600, 9000);
        }
        pen.checksum = pen.chance(40);
        pen.hosts();
        pen.topology();
        pen.traffic();
        pen.middleboxes();
        pen.rest();
        Self { text: pen.text, must_end: pen.must_end }
    }
}

impl Pen {
    fn chance(&mut self, percent: Percent) -> bool {
        self.stream.below(100) < percent
    }

    /// From `low` to `high`, both included.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.stream.below(high - low + 1)
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        // Below a length, so that it fits.
        words[self.stream.below(words.len() as u64) as usize]
    }

    /// Hundredths of a percent up to `most`.
    fn probability(&mut self, most: u64) -> String {
        let hundredths = self.between(1, most);
        format!("{}.{:02}%", hundredths / 100, hundredths % 100)
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn hosts(&mut self) {
        for host in ["client", "server"] {
            let recv = self.between(16, 1024);
            let send = recv + self.between(0, 1024);
            let stack = self.pick(&["native", "native", "smoltcp"]);
            let congestion = match stack {
                "native" => self.pick(&["cubic", "reno", "dctcp", "bbr"]),
                _ => self.pick(&["cubic", "reno", "cubic", "none"]),
            };
            let _ = writeln!(self.text, "[hosts.{host}]\nstack = \"{stack}\"\ncongestion = \"{congestion}\"");
            let _ = writeln!(self.text, "send_buffer = \"{send}KiB\"\nrecv_buffer = \"{recv}KiB\"");
            if self.chance(10) {
                let (packet, byte, ring) = (self.between(1, 20), self.between(1, 20), self.between(64, 1024));
                let _ = writeln!(self.text, "cpu = {{ per_packet = \"{packet}us\", per_byte = \"{byte}ns\" }}");
                let tso = self.chance(50);
                let _ = writeln!(self.text, "nic = {{ ring = {ring}, tso = {tso} }}");
            }
        }
    }

    /// Links side by side, links that share one, or both.
    fn topology(&mut self) {
        let shared = self.chance(35);
        let count = self.between(1, 4);
        if shared {
            self.line("[routers.core]");
            if self.chance(50) {
                self.line("forwarding = \"3us\"");
            }
            for number in 0..count {
                self.link(&format!("a{number}"), "client", "core");
            }
            self.link("shared", "core", "server");
            self.links.truncate(count as usize);
        }
        if !shared || self.chance(30) {
            for number in 0..self.between(1, 4) {
                self.link(&format!("p{number}"), "client", "server");
            }
        }
    }

    fn link(&mut self, name: &str, from: &str, to: &str) {
        let _ = writeln!(self.text, "[links.{name}]\nfrom = \"{from}\"\nto = \"{to}\"");
        if self.chance(95) {
            let rate = [1, 2, 5, 10, 20, 50, 100, 500][self.stream.below(8) as usize];
            let _ = writeln!(self.text, "rate = \"{rate}Mbit\"");
        }
        let delay = self.between(0, 60);
        let _ = writeln!(self.text, "delay = \"{delay}ms\"");
        let _ = writeln!(self.text, "mtu = {}", self.mtu);
        if self.chance(20) {
            let distribution = self.pick(&["uniform", "normal", "pareto", "paretonormal"]);
            let order = self.pick(&["as-netem", "free", "kept"]);
            let amount = self.between(1, 10);
            let _ = writeln!(
                self.text,
                "jitter = {{ amount = \"{amount}ms\", distribution = \"{distribution}\", order = \"{order}\" }}"
            );
        }
        if self.chance(40) {
            let loss = self.loss();
            let _ = writeln!(self.text, "loss = {loss}");
        }
        for (key, percent, most) in [("duplicate", 15, 300), ("corrupt", 10, 100), ("reorder", 10, 500)] {
            if self.chance(percent) {
                let p = self.probability(most);
                let _ = writeln!(self.text, "{key} = \"{p}\"");
            }
        }
        let queue = self.queue();
        let _ = writeln!(self.text, "queue = {queue}");
        if self.chance(20) {
            let event = self.event();
            let _ = writeln!(self.text, "events = [{event}]");
        }
        self.links.push(name.to_owned());
    }

    fn loss(&mut self) -> String {
        // Not periodic losses: a sender that goes back to the first loss can be in step with them for ever.
        match self.stream.below(3) {
            0 | 1 => format!("\"{}\"", self.probability(400)),
            _ => {
                // Time passes by packets here: a bad state that lasts outlives all retransmissions of a lonely sender.
                let (p, r) = (self.probability(100), self.between(60, 90));
                format!("{{ model = \"gilbert-elliott\", p = \"{p}\", r = \"{r}%\", loss_bad = \"60%\" }}")
            }
        }
    }

    fn queue(&mut self) -> String {
        match self.stream.below(8) {
            0 => "{ kind = \"codel\" }".to_owned(),
            1 => "{ kind = \"fq-codel\" }".to_owned(),
            2 => "{ kind = \"pie\" }".to_owned(),
            3 => "{ kind = \"red\", limit = \"200KiB\", min = \"20KiB\", max = \"100KiB\" }".to_owned(),
            4 => format!("{{ kind = \"step\", mark = \"{}KiB\" }}", self.between(3, 100)),
            5 => format!("{{ bytes = \"{}KiB\" }}", self.between(16, 512)),
            _ => {
                let in_flight = self.chance(30);
                format!("{{ packets = {}, count_in_flight = {in_flight} }}", self.between(20, 1000))
            }
        }
    }

    /// Something that passes: whatever it is, the link is as it was some seconds later.
    fn event(&mut self) -> String {
        let (at, lasts) = (self.between(0, 3000), self.between(10, 8000));
        let what = match self.stream.below(4) {
            0 => {
                // A host gives up the link, and perhaps before there is another.
                self.must_end = false;
                "action = \"down\"".to_owned()
            }
            1 => "action = \"blackhole\"".to_owned(),
            2 => format!("action = \"set\", rate = \"{}kbit\"", self.between(100, 20_000)),
            _ => {
                format!("action = \"set\", loss = \"{}%\", delay = \"{}ms\"", self.between(1, 60), self.between(0, 200))
            }
        };
        format!("{{ at = \"{at}ms\", for = \"{lasts}ms\", {what} }}")
    }

    fn traffic(&mut self) {
        for number in 0..self.between(1, 3) {
            let _ = writeln!(self.text, "[[traffic]]\nname = \"t{number}\"");
            let transport = self.pick(&["mptcp", "mptcp", "mptcp", "tcp", "tcp-balanced", "bond-rr", "bond-hash"]);
            let connections = [1, 1, 2, 5][self.stream.below(4) as usize];
            let start = self.between(0, 500);
            let _ =
                writeln!(self.text, "transport = \"{transport}\"\nconnections = {connections}\nstart = \"{start}ms\"");
            if self.chance(10) {
                let (from, to) = ("server", "client");
                if !self.text.contains("[routers.core]") {
                    let _ = writeln!(self.text, "from = \"{from}\"\nto = \"{to}\"");
                }
            }
            let direction = self.pick(&["up", "down", "both"]);
            let work = match self.stream.below(5) {
                0 | 1 => {
                    let bytes = self.between(1, 200_000);
                    format!("kind = \"bulk\"\nbytes = {bytes}\ndirection = \"{direction}\"")
                }
                2 => {
                    let (request, response) = (self.between(1, 3000), self.between(1, 30_000));
                    let (depth, count, think) = (self.between(1, 8), self.between(1, 12), self.between(0, 50));
                    format!(
                        "kind = \"request\"\nrequest = {request}\nresponse = {response}\ndepth = {depth}\n\
                         count = {count}\nthink = \"{think}ms\""
                    )
                }
                3 => {
                    let (size, interval, count) = (self.between(1, 8000), self.between(1, 100), self.between(1, 30));
                    format!(
                        "kind = \"message\"\nsize = {size}\ninterval = \"{interval}ms\"\ndeadline = \"200ms\"\n\
                         count = {count}\ndirection = \"{direction}\""
                    )
                }
                _ => {
                    let (size, rate, time) = (self.between(1, 5000), self.between(50, 5000), self.between(100, 3000));
                    format!(
                        "kind = \"paced\"\nsize = {size}\nrate = \"{rate}kbit\"\ntime = \"{time}ms\"\n\
                         direction = \"{direction}\""
                    )
                }
            };
            self.line(&work);
        }
        if self.chance(20) {
            let rate = self.between(100, 1000);
            self.line("[[traffic]]\nname = \"udp\"\nkind = \"paced\"\ntransport = \"udp\"\ntime = \"2s\"");
            let _ = writeln!(self.text, "rate = \"{rate}kbit\"\nphases = {{ on = \"300ms\", off = \"200ms\" }}");
        }
    }

    fn middleboxes(&mut self) {
        if self.chance(60) {
            return;
        }
        // A bond of which one link translates is none.
        self.must_end &= !self.text.contains("bond");
        // Nobody connects to a host behind a translator.
        let inwards = self.text.contains("from = \"server\"");
        for number in 0..self.between(1, 2) {
            let link = self.links[self.stream.below(self.links.len() as u64) as usize].clone();
            let direction = self.pick(&["both", "both", "up", "down"]);
            let behaviour = self.behaviour();
            self.must_end &= !(inwards && behaviour.contains("nat"));
            let _ = writeln!(self.text, "[middlebox.m{number}]\nlink = \"{link}\"\n{behaviour}");
            if !behaviour.contains("nat") {
                let _ = writeln!(self.text, "direction = \"{direction}\"");
            }
        }
    }

    fn behaviour(&mut self) -> String {
        let options = ["mptcp", "mp_capable", "mp_join", "dss", "add_addr", "mp_prio", "window_scale", "mss", "all"];
        let kind = self.stream.below(11);
        // The others leave a way, if need be that of plain TCP.
        self.must_end &= matches!(kind, 2 | 3 | 4 | 8);
        match kind {
            0 | 1 => {
                let name = if kind == 0 { "strip-option" } else { "alter-option" };
                let segments = self.pick(&["all", "syn", "syn-ack", "data", "ack", "fin"]);
                let (option, skip) = (self.pick(&options), self.between(0, 20));
                format!("kind = \"{name}\"\noption = \"{option}\"\nsegments = \"{segments}\"\nskip = {skip}")
            }
            2 => "kind = \"nat\"".to_owned(),
            3 => "kind = \"rewrite-sequence\"".to_owned(),
            4 => format!("kind = \"split\"\nsize = {}", self.between(100, 1400)),
            5 => format!("kind = \"coalesce\"\nhold = \"{}ms\"", self.between(1, 5)),
            6 => format!("kind = \"alter-payload\"\nevery = {}", self.between(5, 200)),
            7 => "kind = \"proxy-ack\"".to_owned(),
            8 => {
                let (every, delay) = (self.between(5, 100), self.between(1, 300));
                format!("kind = \"replay\"\nevery = {every}\ndelay = \"{delay}ms\"")
            }
            9 => {
                let option = self.pick(&["mptcp", "mp_capable", "mp_join"]);
                format!("kind = \"drop-syn\"\noption = \"{option}\"")
            }
            _ if self.chance(50) => "kind = \"reset\"".to_owned(),
            _ => format!("kind = \"reset\"\nafter = \"{}KiB\"", self.between(1, 100)),
        }
    }

    fn rest(&mut self) {
        let scheduler = self.pick(&["lowest-rtt", "round-robin"]);
        let (checksum, subflows, accepted) = (self.checksum, self.between(0, 8), self.between(0, 8));
        let _ = writeln!(self.text, "[mptcp]\nscheduler = \"{scheduler}\"\nchecksum = {checksum}");
        let _ = writeln!(self.text, "subflows = {subflows}\nadd_addr_accepted = {accepted}");
        self.line("[run]\ntime = \"1h\"");
    }
}
