use std::time::Duration;

use super::*;

fn parse(text: &str) -> Scenario {
    Scenario::parse(text, "test.toml").unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn mistake(text: &str) -> String {
    match Scenario::parse(text, "test.toml") {
        Ok(_) => panic!("no mistake found in\n{text}"),
        Err(error) => error.to_string(),
    }
}

fn assert_fixed_point(scenario: &Scenario) {
    let explained = scenario.explain();
    let again = Scenario::parse(&explained, "explained").unwrap_or_else(|error| panic!("{error}\n{explained}"));
    assert_eq!(again, *scenario, "{explained}");
    assert_eq!(again.explain(), explained);
    let points = |scenario: &Scenario| {
        let sweep = scenario.sweep();
        let last = sweep.len() - 1;
        [0, last / 3, last / 2, last].map(|index| sweep.point(index).unwrap().unwrap())
    };
    assert_eq!(points(&again), points(scenario), "{explained}");
}

#[test]
fn every_shipped_file_reads_and_explains_to_a_fixed_point() {
    for shipped in SHIPPED {
        let scenario = shipped.scenario().unwrap_or_else(|error| panic!("{error}"));
        assert_fixed_point(&scenario);
        assert!(!scenario.meta.name.is_empty());
        let stated = !scenario.meta.assumptions.is_empty() || shipped.name == "two-paths";
        assert!(stated, "{} states no assumptions", shipped.name);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let mut known: Vec<String> = SHIPPED.iter().map(|shipped| shipped.name.to_owned()).collect();
    files.sort();
    known.sort();
    assert_eq!(files, known, "files in the folder and files that are shipped");
}

#[test]
fn shipped_sweeps_have_the_points_of_their_sources() {
    let points = |name: &str| Shipped::find(name).unwrap().scenario().unwrap().sweep().len();
    assert_eq!(points("two-paths"), 1);
    assert_eq!(points("four-paths-lossless"), 2 * 3);
    assert_eq!(points("four-paths-lossy"), 2 * 2 * 2 * 2);
    assert_eq!(points("nvme-multipath"), 5 * 2 * 6);
    assert_eq!(points("bytedance"), 3 * 2 * 2 * 5 * 2);
    assert_eq!(points("blest"), 4 * 50);
    assert_eq!(points("simult-flows"), 2 * 5);
    assert_eq!(points("slow-path-trap"), 8 * 2);
    assert_eq!(points("ecf-streaming"), 6 * 6 * 4);
    assert_eq!(points("matrix"), 4 * 4 * 6 * 50);
}

const SMALL: &str = "[links.p1]\nrate = \"10Mbit\"\n[[traffic]]\nbytes = \"1MB\"\n";

#[test]
fn defaults_are_filled_in() {
    let scenario = parse(SMALL);
    assert_eq!(scenario.meta.name, "test");
    assert_eq!(scenario.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["client", "server"]);
    let link = &scenario.links[0];
    assert_eq!((link.from.as_str(), link.to.as_str(), link.mtu), ("client", "server", 1500));
    assert_eq!(link.addresses.map(|address| address.to_string()), ["10.0.1.1/24", "10.0.1.2/24"]);
    assert_eq!(link.up, link.down);
    assert_eq!(link.up.rate, RateSpec::Constant(Rate(10_000_000)));
    assert_eq!(link.up.queue, Queue::default());
    assert_eq!(scenario.traffic[0].name, "bulk-0");
    assert_eq!(scenario.traffic[0].transport, Transport::Mptcp);
    let explained = scenario.explain();
    for line in [
        "[hosts.client]",
        "[tcp]",
        "stack = \"native\"",
        "jitter = \"none\"",
        "scheduler = \"completion-time\"",
        "coupling = \"uncoupled\"",
        "seed = 1",
    ] {
        assert!(explained.lines().any(|found| found == line), "{line} in\n{explained}");
    }
    assert_fixed_point(&scenario);
}

#[test]
fn everything_can_be_said() {
    let trace = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml").display().to_string();
    let scenario = parse(&format!(
        r#"
        [hosts.a]
        congestion = "reno"
        send_buffer = "8MiB"
        cpu = {{ per_packet = "1us", per_byte = "0.25ns" }}
        nic = {{ rate = "10Gbit", ring = 64, tso = true }}
        [hosts.b]
        [routers.r]
        forwarding = "2us"
        [links.x]
        from = "a"
        to = "r"
        addresses = ["fd00:1::1/64", "fd00:1::2/64"]
        mtu = 9000
        rate = {{ steps = [{{ for = "500ms", rate = "0bit" }}, {{ for = "1s", rate = "1Mbit" }}], repeat = false }}
        jitter = {{ amount = "1ms", distribution = "paretonormal", correlation = "25%", order = "free" }}
        loss = {{ model = "four-state", p13 = "1%", p31 = "50%" }}
        duplicate = {{ p = "0.1%", correlation = "5%" }}
        corrupt = "0.01%"
        reorder = {{ p = "25%", gap = 5 }}
        queue = {{ kind = "red", limit = "400kB", min = "30kB", max = "90kB", ecn = true }}
        events = [
          {{ at = "1s", action = "set", direction = "up", rate = "2Mbit", delay = "5ms", loss = "none", jitter = "1ms" }},
          {{ at = "2s", action = "down" }},
          {{ at = "3s", action = "up" }},
        ]
        [links.y]
        like = "x"
        queue = {{ kind = "pie", target = "20ms" }}
        rate = {{ trace = "{trace}" }}
        [links.z]
        from = "r"
        to = "b"
        loss = {{ model = "list", packets = [1, 5], unit = "gso", burst = "16KiB" }}
        [links.z.down]
        loss = {{ model = "periodic", every = 100 }}
        jitter = {{ distribution = "trace", file = "{trace}" }}
        queue = {{ kind = "codel" }}
        [middlebox.strip]
        link = "z"
        kind = "strip-option"
        option = "mp_join"
        segments = "syn"
        count = 2
        [middlebox.nat]
        link = "z"
        direction = "up"
        kind = "nat"
        rebind = "10s"
        [[traffic]]
        name = "video"
        kind = "message"
        from = "a"
        to = "b"
        size = "10KiB"
        interval = "33ms"
        deadline = "100ms"
        count = 100
        [[traffic]]
        kind = "trace"
        from = "b"
        to = "a"
        file = "{trace}"
        [mptcp]
        endpoints = [{{ host = "a", link = "y", flags = ["subflow", "backup"] }}]
        "#
    ));
    let [x, y, z] = &scenario.links[..] else { panic!("three links") };
    assert_eq!(x.up.jitter.as_ref().unwrap().distribution, Distribution::ParetoNormal);
    assert_eq!(
        x.up.rate,
        RateSpec::Steps {
            steps: vec![(Duration::from_millis(500), Rate(0)), (Duration::from_secs(1), Rate(1_000_000))],
            repeat: false,
        }
    );
    assert_eq!(x.events.len(), 3);
    assert_eq!((&y.up.loss, &y.from, y.mtu, &y.events), (&x.up.loss, &x.from, 9000, &x.events));
    assert!(matches!((&y.up.queue, &y.down.queue), (Queue::Pie { .. }, Queue::Pie { .. })));
    assert_eq!(y.addresses[0].to_string(), "10.0.2.1/24");
    assert!(matches!(z.up.loss.as_ref().unwrap().model, LossModel::List { .. }));
    assert!(matches!(z.down.loss.as_ref().unwrap().model, LossModel::Periodic { every: 100, length: 1, first: 1 }));
    assert_eq!(z.up.jitter, None);
    assert_eq!(scenario.middleboxes[1].behaviour, Behaviour::Nat { rebind: Some(Duration::from_secs(10)) });
    let route = scenario.route("a", Some(1), "b").unwrap();
    assert_eq!(route, [Hop { link: 1, up: true }, Hop { link: 2, up: true }]);
    assert_eq!(scenario.route("b", None, "a").unwrap()[1], Hop { link: 0, up: false });
    assert_eq!(scenario.paths_of(&scenario.traffic[0]), [0, 1]);
    assert_fixed_point(&scenario);
}

#[test]
fn a_profile_yields_to_the_link() {
    let lte = |extra: &str| parse(&format!("[links.p1]\nprofile = \"lte\"\n{extra}\n[[traffic]]\nbytes = \"1MB\"\n"));
    let rate = |spec: &LinkSpec| spec.rate.clone();
    let mbit = |mbit: u64| RateSpec::Constant(Rate(mbit * 1_000_000));
    let plain = lte("");
    assert_eq!((rate(&plain.links[0].up), rate(&plain.links[0].down)), (mbit(10), mbit(30)));
    let both = lte("rate = \"5Mbit\"");
    assert_eq!((rate(&both.links[0].up), rate(&both.links[0].down)), (mbit(5), mbit(5)));
    assert_eq!(both.links[0].up.queue, plain.links[0].up.queue);
    let one = lte("up = { rate = \"5Mbit\" }");
    assert_eq!((rate(&one.links[0].up), rate(&one.links[0].down)), (mbit(5), mbit(30)));
    for scenario in
        [plain, both, one, lte("delay = [\"5ms\", \"9ms\"]"), lte("down = { rate = [\"1Mbit\", \"2Mbit\"] }")]
    {
        assert_fixed_point(&scenario);
    }
}

#[test]
fn a_link_like_another_follows_its_sweep() {
    let scenario = parse(
        "[links.p1]\nrate = [\"1Mbit\", \"2Mbit\"]\nprofile = [\"lte\", \"wifi\"]\n[links.p2]\nlike = \"p1\"\ndelay = \"9ms\"\n\
         [[traffic]]\nbytes = \"1MB\"\n",
    );
    assert_eq!(scenario.sweep().len(), 4);
    assert_fixed_point(&scenario);
    for point in scenario.sweep().points() {
        let Point { scenario, parameters, .. } = point.unwrap();
        let [p1, p2] = &scenario.links[..] else { panic!("two links") };
        assert_eq!((&p1.up.rate, &p1.up.queue), (&p2.up.rate, &p2.up.queue));
        assert_eq!(p2.up.delay, Duration::from_millis(9));
        let profile = &parameters.iter().find(|(name, _)| name == "links.p1.profile").unwrap().1;
        assert_eq!(p1.profile.as_ref(), Some(profile));
        assert_eq!(p1.up.delay, Duration::from_millis(if profile == "lte" { 25 } else { 3 }));
        assert_fixed_point(&scenario);
    }
}

#[test]
fn sweeps_expand_in_a_fixed_order() {
    let scenario = parse(
        r#"
        [links.p1]
        delay = "5ms..15ms step 5"
        loss = ["none", { model = "gilbert-elliott", p = "1%", r = "10%" }]
        [[traffic]]
        name = "t"
        bytes = ["1MB", "2MB"]
        paths = [["p1"], []]
        [run]
        seeds = 2
        seed = 7
        [sweep.variant]
        keys = ["traffic.t.transport", "hosts.client.congestion"]
        values = [["tcp", "reno"], ["mptcp", "cubic"]]
        labels = ["old", "new"]
        [[expect]]
        metric = "goodput"
        of = "t"
        when = { variant = "new" }
        min = "1Mbit"
        "#,
    );
    let names: Vec<&str> = scenario.axes.iter().map(Axis::name).collect();
    let expected = ["links.p1.delay", "links.p1.loss", "traffic.t.paths", "traffic.t.bytes", "variant", "run.seed"];
    assert_eq!(names, expected);
    let sweep = scenario.sweep();
    assert_eq!(sweep.len(), 3 * 2 * 2 * 2 * 2 * 2);
    let points: Vec<Point> = sweep.points().map(Result::unwrap).collect();
    assert_eq!(points.len() as u64, sweep.len());
    let labels = |point: &Point| point.parameters.iter().map(|(_, label)| label.clone()).collect::<Vec<_>>().join("|");
    assert_eq!(labels(&points[0]), "5ms|none|[\"p1\"]|1MB|old|7");
    assert_eq!(labels(&points[1]), "5ms|none|[\"p1\"]|1MB|old|8");
    assert_eq!(labels(&points[2]), "5ms|none|[\"p1\"]|1MB|new|7");
    assert!(labels(&points[95]).starts_with("15ms|{ model = \"gilbert-elliott\""), "{}", labels(&points[95]));
    for (index, point) in points.iter().enumerate() {
        assert_eq!(point.index, index as u64);
        assert_eq!(sweep.point(point.index).unwrap().as_ref(), Ok(point));
        assert!(point.scenario.axes.is_empty());
        let new = point.parameters.contains(&("variant".to_owned(), "new".to_owned()));
        assert_eq!(point.scenario.expect.len(), usize::from(new));
        assert_eq!(point.scenario.hosts[0].congestion, if new { Congestion::Cubic } else { Congestion::Reno });
    }
    assert_eq!(points[1].scenario.run.seed, 8);
    assert!(sweep.point(96).is_none());
    let mut distinct: Vec<String> = points.iter().map(|point| point.scenario.explain()).collect();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), points.len());
    assert_fixed_point(&scenario);
}

#[test]
fn values_can_be_set() {
    let mut scenario = parse(SMALL);
    scenario.set("links.p1.delay", "20ms").unwrap();
    scenario.set("links.p1.down.loss", "{ model = \"random\", p = \"1%\" }").unwrap();
    scenario.set("hosts.client.nic.tso", "true").unwrap();
    scenario.set("traffic.0.connections", "4").unwrap();
    scenario.set("mptcp.scheduler", "round-robin").unwrap();
    scenario.set("run.seed", "9").unwrap();
    assert_eq!(scenario.links[0].up.delay, Duration::from_millis(20));
    assert!(scenario.links[0].up.loss.is_none() && scenario.links[0].down.loss.is_some());
    assert!(scenario.hosts[0].nic.tso && !scenario.hosts[1].nic.tso);
    assert_eq!((scenario.traffic[0].connections, scenario.run.seed), (4, 9));
    assert_fixed_point(&scenario);
    scenario.set("links.p1.rate", "[\"1Mbit\", \"2Mbit\"]").unwrap();
    assert_eq!(scenario.sweep().len(), 2);
    let before = scenario.clone();
    let table = [
        (
            "links.p1.delay",
            "20 parsec",
            "test.toml with --set links.p1.delay=20 parsec: links.p1.delay is \"20 parsec\": 'parsec' is not a unit of time (ns, us, ms, s, min, h)",
        ),
        (
            "links.p1.dely",
            "20ms",
            "test.toml with --set links.p1.dely=20ms: [links.p1] has no key 'dely' (did you mean 'delay'?); its keys are from, to, like, profile, addresses, mtu, events, carrier_loss, up, down, rate, overhead, delay, jitter, loss, duplicate, corrupt, reorder, queue, steps",
        ),
        (
            "links.p2.delay",
            "20ms",
            "test.toml with --set links.p2.delay=20ms: links.p2.delay cannot be set, as there is no 'p2' that it could belong to",
        ),
        (
            "traffic.bulk.bytes",
            "1MB",
            "test.toml with --set traffic.bulk.bytes=1MB: traffic.bulk.bytes cannot be set, as there is no 'bulk' that it could belong to",
        ),
        (
            "run.seed.x",
            "1",
            "test.toml with --set run.seed.x=1: run.seed.x cannot be set, as there is no 'seed' that it could belong to",
        ),
    ];
    for (path, value, sentence) in table {
        assert_eq!(scenario.set(path, value).unwrap_err().to_string(), sentence);
        assert_eq!(scenario, before);
    }
}

#[test]
fn what_is_set_holds_at_every_point_of_a_sweep() {
    let text = r#"
        [links.p1]
        rate = "10Mbit"
        [[traffic]]
        name = "bulk"
        bytes = "1MB"
        [sweep.pair]
        keys = ["links.p1.rate", "links.p1.delay"]
        values = [["1Mbit", "1ms"], ["2Mbit", "2ms"]]
        labels = ["slow", "fast"]
        [sweep.queue]
        keys = ["links.p1.queue"]
        values = [{ packets = 10 }, { packets = 20 }]
        [sweep.ring]
        keys = ["hosts.client.nic.ring", "hosts.server.nic.ring"]
        values = [128, 256, 512]
    "#;
    let mut scenario = Scenario::parse(text, "test.toml").unwrap();
    assert_eq!(scenario.sweep().len(), 12);
    scenario.set("links.p1.delay", "9ms").unwrap();
    scenario.set("hosts.server.nic.ring", "300").unwrap();
    assert_eq!(scenario.sweep().len(), 12);
    let links = |scenario: &Scenario| -> Vec<_> {
        let sweep = scenario.sweep();
        let points = sweep.points().map(|point| point.unwrap().scenario);
        points.map(|point| (point.links[0].up.rate.clone(), point.links[0].up.delay)).collect()
    };
    let found = links(&scenario);
    assert!(found.iter().all(|(_, delay)| *delay == Duration::from_millis(9)), "{found:?}");
    assert_ne!(found[0].0, found[11].0, "the rate is swept as before");
    assert_fixed_point(&scenario);
    scenario.set("links.p1.rate", "7Mbit").unwrap();
    assert_eq!(scenario.sweep().len(), 6, "nothing is left of the pair");
    scenario.set("hosts.client.nic.ring", "[100, 200]").unwrap();
    assert_eq!(scenario.sweep().len(), 4, "a sweep in place of another one");
    assert_eq!(
        scenario.set("links.p1.queue.packets", "5").unwrap_err().to_string(),
        "test.toml with --set links.p1.queue.packets=5: links.p1.queue.packets cannot be set, as [sweep.queue] sets all of links.p1.queue at each point"
    );
}

/// Each text follows `SMALL`, whose four lines it starts after.
#[test]
fn mistakes_are_one_sentence_with_the_line() {
    let table = [
        (
            "[run]\ntmie = \"1s\"",
            "test.toml:6: [run] has no key 'tmie' (did you mean 'time'?); its keys are time, seed, seeds, warmup",
        ),
        (
            "[rnu]\ntime = \"1s\"",
            "test.toml:5: the file has no key 'rnu' (did you mean 'run'?); its keys are meta, tcp, hosts, routers, links, middlebox, traffic, mptcp, qos, run, report, sweep, expect, published",
        ),
        (
            "[run]\ntime = \"1Mbit\"",
            "test.toml:6: run.time is \"1Mbit\": 'Mbit' is not a unit of time (ns, us, ms, s, min, h)",
        ),
        ("[run]\ntime = 5", "test.toml:6: run.time is 5: a time needs a unit (ns, us, ms, s, min, h)"),
        ("[run]\ntime = true", "test.toml:6: run.time is true, but must be a time such as \"10ms\""),
        ("[run]\ntime = \"0s\"", "test.toml:6: run.time is \"0s\", but must be a time above 0, or \"none\""),
        ("[run]\ntime = \"1s\"\nwarmup = \"1s\"", "test.toml:7: run.warmup is \"1s\", but must be less than 'time'"),
        ("[run]\nseed = -1", "test.toml:6: run.seed is -1, but must be a whole number"),
        ("[run]\nseeds = 0", "test.toml:6: run.seeds is 0, but must be a whole number from 1 to 1000000"),
        ("[run\n", "test.toml:5: unclosed table, expected `]`"),
        (
            "[links.p2]\nrate = \"0Mbit\"",
            "test.toml:6: links.p2.rate is \"0Mbit\", but must be above 0; \"none\" is unlimited, the event \"down\" stops a link",
        ),
        (
            "[links.p2]\nrate = [\"1Mbit\", \"0Mbit\"]",
            "test.toml:6: links.p2.rate is \"0Mbit\", but must be above 0; \"none\" is unlimited, the event \"down\" stops a link",
        ),
        (
            "[links.p2]\nrate = []",
            "test.toml:6: links.p2.rate is [], but must be a value, or a list of values to sweep over",
        ),
        (
            "[links.p2]\nrate = \"9Mbit..1Mbit step 1\"",
            "test.toml:6: links.p2.rate is \"9Mbit..1Mbit step 1\": a range is 'FIRST..LAST step STEP' or 'FIRST..LAST x FACTOR' in one kind of unit, and must ascend",
        ),
        (
            "[links.p2]\nrate = { trace = \"gone.trace\" }",
            "test.toml:6: links.p2.rate.trace names the file 'gone.trace', which cannot be read: there is no such file",
        ),
        (
            "[[files]]\na = \"1\"",
            "test.toml:5: files is [{ a = \"1\" }], but must be a table with the name and the text of each file",
        ),
        ("[files]\na = 1", "test.toml:6: files.a is 1, but must be the text of the file"),
        ("[files]\na = \"1\"", "test.toml:6: files.a is named by nothing"),
        (
            "[links.p2]\nto = \"servr\"",
            "test.toml:6: links.p2.to is 'servr', but there is no such host or router (did you mean 'server'?); there are client, server",
        ),
        (
            "[links.p2]\nprofile = \"lt\"",
            "test.toml:6: links.p2.profile is 'lt', but there is no such profile (did you mean 'lte'?); there are ",
        ),
        (
            "[links.p2]\nlike = \"p3\"",
            "test.toml:6: links.p2.like is 'p3', but there is no such earlier link (did you mean 'p1'?); there are p1",
        ),
        (
            "[links.p2]\nloss = { model = \"radnom\" }",
            "test.toml:6: links.p2.loss.model is \"radnom\", but must be one of random, gilbert-elliott, four-state, periodic, list, trace",
        ),
        (
            "[links.p2]\nloss = { model = \"random\" }",
            "test.toml:6: links.p2.loss lacks 'p', a probability such as \"0.5%\"",
        ),
        (
            "[links.p2]\nloss = { model = \"random\", p = \"1%\", r = \"1%\" }",
            "test.toml:6: links.p2.loss has no key 'r' (did you mean 'p'?); its keys are model, p, correlation, unit, burst, gap, ecn",
        ),
        ("[links.p2]\nloss = \"0.5\"", "test.toml:6: links.p2.loss is \"0.5\": a share needs a unit (%)"),
        (
            "[links.p2]\nqueue = { packets = \"none\" }",
            "test.toml:6: links.p2.queue has no limit: give packets, bytes or both",
        ),
        (
            "[links.p2]\nqueue = { bytes = \"1000B\" }",
            "test.toml:6: links.p2.queue.bytes is \"1000B\", but must be at least 1514B, or \"none\"",
        ),
        (
            "[links.p2]\nqueue = { kind = \"codel\", interval = \"5ms\" }",
            "test.toml:6: links.p2.queue.interval is \"5ms\", but must be longer than 'target'",
        ),
        (
            "[links.p2]\nqueue = { kind = \"red\", limit = \"64KiB\", min = \"9KiB\", max = \"9KiB\" }",
            "test.toml:6: links.p2.queue needs 0 < min < max <= limit and a limit of at least 1514B, but has 9KiB, 9KiB and 64KiB",
        ),
        (
            "[links.p2]\nsteps = { every = \"1s\" }",
            "test.toml:6: links.p2.steps.every is \"1s\", but must be used with 'rates', 'delays' or 'losses': what changes",
        ),
        (
            "[[links.p2.events]]\nat = \"1s\"\naction = \"down\"\ntimes = 3",
            "test.toml:8: links.p2.events.0.times is 3, but must be used with 'every', which says after what time it happens again",
        ),
        (
            "[mptcp]\nendpoints = [{ host = \"client\", link = \"p1\", flags = [\"signal\", \"fullmesh\"] }]",
            "test.toml:6: mptcp.endpoints.0.flags is [\"signal\", \"fullmesh\"], but must be 'fullmesh' only with 'subflow', and without 'signal'",
        ),
        (
            "[links.p2]\nloss = { model = \"four-state\", p13 = \"60%\", p31 = \"50%\", p14 = \"50%\" }",
            "test.toml:6: links.p2.loss.p14 is \"50%\", but must be so small that all ways out of its state sum to 100% at most",
        ),
        (
            "[links.p2]\nloss = { model = \"list\", packets = [3, 2] }",
            "test.toml:6: links.p2.loss.packets is [3, 2], but must be numbers from 1 on in ascending order",
        ),
        (
            "[links.p2]\nrate = { steps = [{ for = \"1s\", rate = \"1Mbit\" }, { for = \"1s\", rate = \"0bit\" }], repeat = false }",
            "test.toml:6: links.p2.rate.steps is [{ for = \"1s\", rate = \"1Mbit\" }, { for = \"1s\", rate = \"0bit\" }], but must be steps of which the last has a rate above 0, or repeat = true",
        ),
        ("[links.p2]\ndelay = \"2h\"", "test.toml:6: links.p2.delay is \"2h\", but must be at most 1h"),
        (
            "[links.p2]\n[links.p2.up]\nmtu = 1500",
            "test.toml:7: [links.p2.up] has no key 'mtu'; its keys are rate, overhead, delay, jitter, loss, duplicate, corrupt, reorder, queue, steps",
        ),
        (
            "[links.p2]\nlike = \"p1\"\nprofile = \"lte\"",
            "test.toml:6: links.p2 has both 'like' and 'profile': choose one",
        ),
        ("[links.p2]\nmtu = 100", "test.toml:6: links.p2.mtu is 100, but must be a whole number from 576 to 65535"),
        (
            "[links.p2]\naddresses = [\"10.0.1.1/24\", \"10.0.1.9/24\"]",
            "test.toml:6: links.p2.addresses has 10.0.1.1, which link 'p1' has too",
        ),
        (
            "[links.p2]\naddresses = [\"10.0.1.1\", \"10.0.1.9/24\"]",
            "test.toml:6: links.p2.addresses.0 is \"10.0.1.1\", but must be an address with its prefix length, such as 10.0.1.2/24 or fd00::2/64",
        ),
        (
            "[links.p2]\nevents = [{ at = \"1s\", action = \"set\" }]",
            "test.toml:6: links.p2.events.0 sets nothing: give one of rate, overhead, delay, jitter, loss, duplicate, corrupt, reorder, queue, mtu",
        ),
        (
            "[links.p2]\nevents = [{ at = \"1s\", action = \"set\", overhead = \"64KiB\" }]",
            "test.toml:6: links.p2.events.0.overhead is \"64KiB\", but must be at most 65535B",
        ),
        (
            "[links.p2]\nevents = [{ at = \"1s\", action = \"down\", rate = \"1Mbit\" }]",
            "test.toml:6: links.p2.events.0 has no key 'rate'; its keys are at, for, every, times, direction, action",
        ),
        ("[links.\"a b\"]", "test.toml:5: links.a b must be named by letters, digits, '-' and '_'"),
        (
            "[hosts.client]\n[hosts.server]\nstack = \"linux\"",
            "test.toml:7: hosts.server.stack is \"linux\", but must be one of smoltcp, native",
        ),
        (
            "[hosts.client]\n[hosts.server]\nstack = \"smoltcp\"\ncongestion = \"bbr\"",
            "test.toml:8: hosts.server.congestion is \"bbr\", but must be \"cubic\", \"reno\" or \"none\" with stack = \"smoltcp\"",
        ),
        (
            "[tcp]\ncongestion = \"dctcp\"\n[hosts.client]\n[hosts.server]\nstack = \"smoltcp\"",
            "test.toml:9: hosts.server.stack is \"smoltcp\", but must be another with congestion = \"dctcp\", which [tcp] says",
        ),
        (
            "[tcp]\ncongestion = \"none\"",
            "test.toml:6: tcp.congestion is \"none\", but must be \"cubic\", \"reno\", \"dctcp\" or \"bbr\" with stack = \"native\"",
        ),
        (
            "[tcp]\nstack = \"smoltcp\"\necn = true",
            "test.toml:7: tcp.ecn is true, but must be false with stack = \"smoltcp\"",
        ),
        (
            "[links.p2]\nqueue = { kind = \"step\" }",
            "test.toml:6: links.p2.queue lacks 'mark', the bytes beyond which packets are marked",
        ),
        (
            "[hosts.client]",
            "test.toml:1: links.p1.to is 'server', but there is no such host or router; there are client",
        ),
        (
            "[hosts.client]\n[hosts.server]\n[hosts.third]\n[[traffic]]\nto = \"third\"\nbytes = \"1B\"",
            "test.toml:9: traffic 'bulk-1' goes from 'client' to 'third', but no links lead there",
        ),
        (
            "[[traffic]]\npaths = [\"p2\"]\nbytes = \"1B\"",
            "test.toml:6: traffic.1.paths is 'p2', but there is no such link at its source (did you mean 'p1'?); there are p1",
        ),
        (
            "[routers.r]\n[links.p2]\nto = \"r\"\n[[traffic]]\npaths = [\"p2\"]\nbytes = \"1B\"",
            "test.toml:9: traffic 'bulk-1' goes from 'client' to 'server', but no links lead there through link 'p2'",
        ),
        (
            "[[traffic]]\nname = \"x\"",
            "test.toml:5: traffic 'x' has no end: give it bytes, a count or a time, or give [run] a time",
        ),
        (
            "[[traffic]]\nname = \"bulk-0\"\nbytes = \"1B\"",
            "test.toml:6: traffic.1.name is 'bulk-0', as other traffic is called",
        ),
        (
            "[[traffic]]\nkind = [\"bulk\", \"paced\"]",
            "test.toml:6: traffic.1.kind is [\"bulk\", \"paced\"], but must be one of bulk, request, paced, message, trace, nvme",
        ),
        (
            "[[traffic]]\nkind = \"nvme\"\nblock = \"1000B\"",
            "test.toml:7: traffic.1.block is \"1000B\", but must be a multiple of 512 bytes, from 512B to 32MiB",
        ),
        (
            "[[traffic]]\nkind = \"nvme\"\nread = \"101%\"",
            "test.toml:7: traffic.1.read is \"101%\", but must be a percentage from 0% to 100%",
        ),
        (
            "[[traffic]]\nkind = \"nvme\"\ndepth = 4096",
            "test.toml:7: traffic.1.depth is 4096, but must be a whole number from 1 to 4095",
        ),
        (
            "[[traffic]]\nkind = \"nvme\"\npattern = \"zipf\"",
            "test.toml:7: traffic.1.pattern is \"zipf\", but must be one of random, sequential",
        ),
        (
            "[[traffic]]\nkind = \"nvme\"\nblock = \"64KiB\"\nsize = \"4KiB\"",
            "test.toml:8: traffic.1.size is \"4KiB\", but must be a size from that of a block to 1024TiB",
        ),
        (
            "[[traffic]]\nkind = \"nvme\"\npolicy = \"round_robin\"",
            "test.toml:7: traffic.1.policy is \"round_robin\", but must be one of none, numa, round-robin, queue-depth",
        ),
        (
            "[[traffic]]\nkind = \"nvme\"\ntransport = \"bond-rr\"\npolicy = \"numa\"",
            "test.toml:8: traffic.1.policy is \"numa\", but must be \"none\" with transport = \"bond-rr\": only \"tcp\" and \"mptcp\" connect to each path",
        ),
        (
            "[[traffic]]\nkind = \"nvme\"\ntimeout = \"0s\"",
            "test.toml:7: traffic.1.timeout is \"0s\", but must be a time above 0, or \"none\"",
        ),
        (
            "[[traffic]]\nkind = \"nvme\"\nbs = \"4KiB\"",
            "test.toml:7: [traffic.1] has no key 'bs'; its keys are name, kind, from, to, transport, paths, connections, start, time, block, depth, read, pattern, size, count, policy, timeout",
        ),
        (
            "[[traffic]]\nkind = \"bulk\"\nsize = \"1B\"",
            "test.toml:7: [traffic.1] has no key 'size'; its keys are name, kind, from, to, transport, paths, connections, start, time, direction, bytes, back",
        ),
        (
            "[links.p2]\nevents = [\n{ at = \"1s\", action = \"up\" },\n{ at = \"2s\", action = \"set\", queue = { packets = 9, count_in_flight = true } },\n]",
            "test.toml:8: links.p2.events.1.queue must have the same 'count_in_flight' as the queue of the link",
        ),
        ("[links.p2]\njitter = \"2h\"", "test.toml:6: links.p2.jitter is \"2h\", but must be at most 1h"),
        (
            "[links.p2]\nsteps = { every = \"1s\",\ndelays = [\"1ms\", \"61min\"] }",
            "test.toml:7: links.p2.steps.delays is [\"1ms\", \"61min\"], but must be at most 1h",
        ),
        (
            "[links.p2]\nevents = [{ at = \"1s\", action = \"set\", delay = \"2h\" }]",
            "test.toml:6: links.p2.events.0.delay is \"2h\", but must be at most 1h",
        ),
        (
            "[middlebox.m]\nlink = \"p1\"",
            "test.toml:5: [middlebox.m] lacks 'kind', one of strip-option, alter-option, nat, rewrite-sequence, split, coalesce, alter-payload, proxy-ack, drop-syn, replay, reset",
        ),
        (
            "[middlebox.m]\nlink = \"p9\"\nkind = \"nat\"",
            "test.toml:6: middlebox.m.link is 'p9', but there is no such link (did you mean 'p1'?); there are p1",
        ),
        (
            "[mptcp]\nscheduler = \"fast\"",
            "test.toml:6: mptcp.scheduler is \"fast\", but must be one of round-robin, lowest-rtt, completion-time, linux, blest, ecf, stms, otias, qaware, redundant, adaptive-redundant, backup, peekaboo",
        ),
        (
            "[mptcp]\ncoupling = \"cubic\"",
            "test.toml:6: mptcp.coupling is \"cubic\", but must be one of uncoupled, lia, olia, balia, wvegas, coupled-cubic, auto",
        ),
        (
            "[tcp]\nstack = \"smoltcp\"\n[mptcp]\ncoupling = \"lia\"",
            "test.toml:8: mptcp.coupling is \"lia\", but host 'client' runs smoltcp, which can only be uncoupled",
        ),
        (
            "[mptcp]\nendpoints = [{ host = \"client\", link = \"p9\", flags = [] }]",
            "test.toml:6: mptcp.endpoints.0.link is 'p9', but there is no such link at this host (did you mean 'p1'?); there are p1",
        ),
        (
            "[[expect]]\nmetric = \"goodput\"\nof = \"bulk-0\"",
            "test.toml:5: expect.0 expects nothing: give min, max or equals",
        ),
        (
            "[[expect]]\nmetric = \"goodput\"\nof = \"bulk-0\"\nmin = \"4ms\"",
            "test.toml:8: expect.0.min is \"4ms\": 'ms' is not a unit of rate (bit, kbit, Mbit, Gbit, Tbit, or bytes as B/s, kB/s, KiB/s, MB/s, MiB/s, GB/s, GiB/s)",
        ),
        (
            "[[expect]]\nmetric = \"goodput\"\nof = \"bulk\"\nmin = \"4Mbit\"",
            "test.toml:7: expect.0.of is 'bulk', but there is no such traffic (did you mean 'bulk-0'?); there are bulk-0",
        ),
        (
            "[[expect]]\nmetric = \"goodput\"\nof = \"bulk-0\"\nmin = \"4Mbit\"\nwhen = { variant = \"x\" }",
            "test.toml:9: expect.0.when is 'variant', but there is no such axis of the sweep; there is none",
        ),
        (
            "[report]\nheatmaps = [{ x = \"a\", y = \"b\" }]",
            "test.toml:6: report.heatmaps.0.x is 'a', but there is no such axis of the sweep; there is none",
        ),
        (
            "[sweep.s]\nkeys = [\"links.p9.rate\"]\nvalues = [\"1Mbit\"]",
            "test.toml:7: links.p9.rate cannot be set, as there is no 'p9' that it could belong to",
        ),
        (
            "[sweep.s]\nkeys = [\"links.p1.rate\", \"run.time\"]\nvalues = [[\"1Mbit\", \"1s\"], [\"1Mbit\"]]",
            "test.toml:7: sweep.s.values is [\"1Mbit\"], but must be a list with one value for each of the 2 keys",
        ),
        (
            "[sweep.s]\nkeys = [\"links.p1.rate\"]\nvalues = [\"1Mbit\",\n\"1ms\"]",
            "test.toml:8: links.p1.rate is \"1ms\": 'ms' is not a unit of rate",
        ),
        (
            "[sweep.s]\nkeys = [\"traffic.0.kind\"]\nvalues = [\"bulk\"]",
            "test.toml:6: sweep.s.keys is [\"traffic.0.kind\"], but must be without 'traffic.0.kind': sweep over the whole table, or write a scenario for each",
        ),
        (
            "[sweep.s]\nkeys = [\"run.warmup\"]\nvalues = \"0s..1s step 500ms\"\nlabels = [\"a\"]",
            "test.toml:8: sweep.s.labels is [\"a\"], but must be a list of 3 labels, one for each value",
        ),
    ];
    for (text, sentence) in table {
        let found = mistake(&format!("{SMALL}{text}\n"));
        assert!(found.starts_with(sentence), "found    {found}\nexpected {sentence}");
        assert!(!found.contains('\n'), "{found}");
    }
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(mistake(""), "test.toml: the file lacks 'links', the links, each under [links.NAME]");
    assert_eq!(mistake("[links.p1]\n"), "test.toml: traffic is missing: at least one [[traffic]] is needed");
    assert_eq!(mistake("[links]\n[[traffic]]\n"), "test.toml:1: links is empty: at least one link is needed");
    assert_eq!(mistake("links = 1\n"), "test.toml:1: links is 1, but must be tables, each under [links.NAME]");
    let error = Scenario::load(Path::new("no/such/file.toml")).unwrap_err();
    assert_eq!(error.to_string(), "no/such/file.toml: there is no such file");
    assert_eq!(error.at(), None);
    let error = Scenario::parse("[links.p1]\nrat = 1\n", "test.toml").unwrap_err();
    assert_eq!((error.at().unwrap().line(), error.at().unwrap().file()), (Some(2), "test.toml"));
}

#[test]
fn a_scenario_is_opened_by_name_or_path() {
    assert_eq!(Scenario::open("two-paths").unwrap(), Shipped::find("two-paths").unwrap().scenario().unwrap());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/blest.toml").display().to_string();
    assert_eq!(Scenario::open(&file).unwrap(), Shipped::find("blest").unwrap().scenario().unwrap());
    let sentence = |name: &str| Scenario::open(name).unwrap_err().to_string();
    let expected = "there is no file 'two-path', and no scenario of this name (did you mean 'two-paths'?)";
    assert_eq!(sentence("two-path"), expected);
    assert_eq!(sentence("no/such.toml"), "no/such.toml: there is no such file");
}

#[test]
fn a_sweep_has_an_upper_bound() {
    let many = "\"1ms..9999ms step 1\"";
    let text = SMALL.replace("rate =", &format!("delay = {many}\njitter = {many}\nrate ="));
    assert_eq!(mistake(&text), "test.toml: the sweep has 99980001 points, more than 10000000");
}

/// No damage to a file makes the parser panic, and what still reads explains itself.
#[test]
fn damaged_files_are_refused_or_read() {
    let mut read = 0;
    for (index, shipped) in SHIPPED.iter().enumerate() {
        let lines: Vec<&str> = shipped.text.lines().collect();
        // A third of the lines of each, as the files are alike.
        for damaged in (index % 3..lines.len()).step_by(3) {
            let without = lines.iter().enumerate().filter(|(line, _)| *line != damaged).map(|(_, text)| *text);
            let mut variants = vec![without.collect::<Vec<_>>().join("\n")];
            for (from, to) in [("\"", ""), ("= \"", "= [\""), ("1", "0"), ("{", "["), ("=", ".x ="), ("[", "[[")] {
                let broken = lines[damaged].replacen(from, to, 1);
                let swap = |line: usize, text: &str| if line == damaged { broken.clone() } else { text.to_owned() };
                let text: Vec<String> = lines.iter().enumerate().map(|(line, text)| swap(line, text)).collect();
                variants.push(text.join("\n"));
            }
            for text in variants {
                if let Ok(scenario) = Scenario::parse(&text, "damaged") {
                    read += 1;
                    let explained = scenario.explain();
                    assert_eq!(Scenario::parse(&explained, "explained").as_ref(), Ok(&scenario), "{text}\n{explained}");
                }
            }
        }
    }
    assert!(read > 0, "some damage is harmless");
}

/// RFC 8200 section 5.
#[test]
fn ipv6_has_a_least_mtu() {
    let text = |mtu: u16, event: u16, addresses: &str| {
        format!(
            r#"
            [links.p1]
            mtu = {mtu}
            {addresses}
            events = [{{ at = "1s", action = "set", mtu = {event} }}]
            [[traffic]]
            bytes = "1MB"
            "#
        )
    };
    let v6 = r#"addresses = ["fd00::1/64", "fd00::2/64"]"#;
    parse(&text(1280, 1280, v6));
    parse(&text(576, 576, ""));
    for (mtu, event, key) in [(1279, 1500, "links.p1.mtu"), (1500, 1000, "links.p1.events.0.mtu")] {
        let mistake = mistake(&text(mtu, event, v6));
        assert!(mistake.contains(key) && mistake.contains("an MTU of at least 1280"), "{mistake}");
    }
}

#[test]
fn a_scenario_can_carry_the_files_that_it_names() {
    let scenario = parse(
        r#"
        [links.p1]
        rate = [{ trace = "slow" }, { trace = "fast" }]
        [[traffic]]
        kind = "trace"
        file = "writes"
        [files]
        slow = """
2
4
"""
        fast = "1\n"
        writes = "0 100\n"
        "#,
    );
    assert_fixed_point(&scenario);
    let sweep = scenario.sweep();
    let rates = sweep.points().map(|point| match &point.unwrap().scenario.links[0].up.rate {
        RateSpec::Trace(file) => {
            file.read("trace", |text| text.lines().map(str::parse).collect::<Result<Vec<u32>, _>>()).unwrap()
        }
        _ => Vec::new(),
    });
    assert_eq!(rates.collect::<Vec<_>>(), [vec![2, 4], vec![1]]);
}

/// One alone would contradict what is there, or what is the default.
#[test]
fn several_values_are_set_together() {
    let settings = [("run.time", "3s"), ("run.warmup", "1s")];
    for order in [[0, 1], [1, 0]] {
        let text = "[links.p1]\n[[traffic]]\nbytes = \"1B\"\n[run]\ntime = \"1s\"\n";
        let mut scenario = Scenario::parse(text, "test.toml").unwrap();
        scenario.set_all(order.map(|index| settings[index])).unwrap();
        assert_eq!((scenario.run.time, scenario.run.warmup), (Some(Duration::from_secs(3)), Duration::from_secs(1)));
        let before = scenario.clone();
        let wrong = [("run.time", "4s"), ("links.p1.delay", "late"), ("run.seed", "2")];
        let error = scenario.set_all(wrong).unwrap_err().to_string();
        assert!(error.starts_with("test.toml with --set links.p1.delay=late: links.p1.delay is \"late\""), "{error}");
        assert_eq!(scenario, before);
    }
}

#[test]
fn addresses_that_no_host_can_have_are_refused() {
    let parse = |addresses: &str| {
        let text = format!("[links.p1]\naddresses = [{addresses}]\n[[traffic]]\nbytes = \"1B\"\n");
        Scenario::parse(&text, "test.toml")
    };
    for addresses in [
        r#""224.0.0.1/24", "224.0.0.2/24""#,
        r#""127.0.0.1/8", "127.0.0.2/8""#,
        r#""0.0.0.0/31", "0.0.0.1/31""#,
        r#""10.0.1.0/24", "10.0.1.1/24""#,
        r#""10.0.1.1/24", "10.0.1.255/24""#,
        r#""255.255.255.254/31", "255.255.255.255/31""#,
        r#""::1/64", "::2/64""#,
        r#""ff02::1/64", "ff02::2/64""#,
    ] {
        let error = parse(addresses).unwrap_err().to_string();
        assert!(error.starts_with("test.toml:2: links.p1.addresses is ["), "{error}");
        assert!(error.contains("but must be addresses of hosts: ") && !error.contains('\n'), "{error}");
    }
    let usable =
        [r#""10.0.1.0/31", "10.0.1.1/31""#, r#""10.0.1.255/16", "10.0.2.0/16""#, r#""fd00::/64", "fd00::1/64""#];
    for addresses in usable {
        parse(addresses).unwrap();
    }
}
