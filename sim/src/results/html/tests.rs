use super::*;
use crate::results::fixture;

/// Elements that never have content.
const VOID: [&str; 3] = ["meta", "br", "hr"];

/// Walks over a page as a strict reader does: every tag closes what is open, every attribute is quoted, no text has
/// a bare `<` or `&`.
fn check(page: &str) -> Result<(), String> {
    let mut rest = page.strip_prefix("<!DOCTYPE html>").ok_or("no document type")?;
    let mut open: Vec<&str> = Vec::new();
    while let Some(start) = rest.find('<') {
        entities(&rest[..start])?;
        let end = rest[start..].find('>').ok_or("a tag without end")? + start;
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let expected = open.pop();
            if expected != Some(name) {
                return Err(format!("</{name}> closes {expected:?}"));
            }
            continue;
        }
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let name = tag.split(' ').next().unwrap_or_default();
        attributes(&tag[name.len()..])?;
        if VOID.contains(&name) && !is_empty {
            return Err(format!("<{name}> is not closed"));
        }
        if !is_empty {
            open.push(name);
        }
        if matches!(name, "script" | "style") {
            rest = &rest[rest.find("</").ok_or("no end of the script")?..];
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("still open: {open:?}")) }
}

fn attributes(text: &str) -> Result<(), String> {
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").ok_or_else(|| format!("attribute without value: {rest}"))?;
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(format!("bad name of an attribute: {name}"));
        }
        let (value, after) = after.split_once('"').ok_or_else(|| format!("attribute without end: {rest}"))?;
        entities(value)?;
        rest = after.trim_start();
    }
    Ok(())
}

fn entities(text: &str) -> Result<(), String> {
    for piece in text.split('&').skip(1) {
        if !["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|entity| piece.starts_with(entity)) {
            return Err(format!("bare &: {piece}"));
        }
    }
    Ok(())
}

fn pages() -> [String; 3] {
    let mut single = fixture::report();
    single.runs.truncate(1);
    [report(&fixture::report()), report(&single), sweep(&fixture::sweep())]
}

#[test]
fn the_checker_finds_mistakes() {
    assert!(check("<!DOCTYPE html><p>a</p>").is_ok());
    for bad in ["<p>", "<p></b>", "<p a=b></p>", "<p>a & b</p>", "<br>", "<p a=\"&\"></p>"] {
        assert!(check(&format!("<!DOCTYPE html>{bad}")).is_err(), "{bad}");
    }
}

#[test]
fn pages_are_well_formed() {
    for page in pages() {
        assert_eq!(check(&page), Ok(()));
        assert!(!page.contains("NaN") && !page.contains("inf "));
    }
}

#[test]
fn pages_refer_to_nothing_outside() {
    for page in pages() {
        for word in ["http:", "https:", "src=", "href=", "url(", "@import", "fetch(", "file:"] {
            assert!(!page.contains(word), "{word}");
        }
    }
}

#[test]
fn names_are_escaped_and_commands_are_there() {
    let [several, _, sweep] = pages();
    assert!(several.contains("two paths &amp; &quot;a&quot; &lt;script&gt;"));
    assert!(several.contains("p2 &lt;down&gt;") && !several.contains("<down>"));
    assert!(sweep.contains("mptcp sim run grid.toml --set rate=&lt;5&gt; --seed 2"));
}

#[test]
fn a_sweep_of_one_axis_is_a_curve() {
    let mut record = fixture::sweep();
    record.axes.truncate(1);
    record.points.retain(|point| point.position[1..] == [0, 0]);
    for point in &mut record.points {
        point.position.truncate(1);
    }
    let page = sweep(&record);
    assert_eq!(check(&page), Ok(()));
    assert!(page.contains("<h4>goodput by rate</h4>") && page.contains(">100Mbit</text>"));
    record.axes.clear();
    for point in &mut record.points {
        point.position.clear();
    }
    assert_eq!(check(&sweep(&record)), Ok(()));
}

#[test]
fn latencies_over_time_are_on_an_axis_of_decades() {
    let mut record = fixture::report();
    record.runs.truncate(1);
    let chart = |record: &Report| {
        let page = report(record);
        page.split("<figure").find(|figure| figure.contains("<h4>Latency over time</h4>")).map(str::to_owned)
    };
    let shown = chart(&record).unwrap();
    assert!(shown.contains("data-y=\"log 1 200\"") && shown.contains("in each interval of 1.00"), "{shown}");
    assert!(["p50", "p99", "max"].iter().all(|name| shown.contains(&format!("<span>{name}</span>"))), "{shown}");
    // The second interval is a gap: a point alone, and a line.
    let line = shown.split("<title>max</title>").next().unwrap().rsplit("d=\"").next().unwrap();
    assert!(line.contains("h0M"), "{line}");
    record.runs[0].latency_series.clear();
    assert_eq!(chart(&record), None);
}

#[test]
fn nothing_at_all_is_still_a_page() {
    let mut empty = fixture::report();
    empty.published.clear();
    for run in &mut empty.runs {
        run.connections.clear();
        run.links.clear();
        run.latencies.clear();
        run.latency_series.clear();
        run.clock.end = tcp_adapter::Instant::ZERO;
    }
    assert_eq!(check(&report(&empty)), Ok(()));
    empty.runs.clear();
    assert_eq!(check(&report(&empty)), Ok(()));
    assert_eq!(check(&sweep(&SweepRecord::default())), Ok(()));
}

#[test]
fn what_was_interrupted_is_said() {
    let mut record = fixture::report();
    assert!(!report(&record).contains("Interrupted"));
    record.runs[1].interrupted = true;
    let sentence = "Interrupted: 1 of 2 runs are complete. 'mptcp' was stopped at 4.000 s of its time: its figures are of \
                    the time until then.";
    assert_eq!(record.interruption().as_deref().map(|text| text.replace('\u{202f}', " ")).as_deref(), Some(sentence));
    assert!(report(&record).contains("<p class=\"verdict bad\">Interrupted: 1 of 2"));
    let text = crate::results::summary_text(&record).replace('\u{202f}', " ");
    assert!(text.contains(&format!("\n{sentence}\n")), "{text}");
    record.runs.truncate(1);
    assert_eq!(record.interruption().as_deref(), Some("Interrupted: 1 of 2 runs are complete."));
}

#[test]
fn the_same_record_gives_the_same_page() {
    assert_eq!(pages(), pages());
}

#[test]
fn figures_are_side_by_side_with_assumptions() {
    let [page, ..] = pages();
    let row = "<td>goodput of &lt;both&gt; paths</td><td class=\"number\">6.200 Mbit/s</td>\
               <td class=\"number\">6.000 Mbit/s</td><td class=\"number\">0.968</td><td>queue of 50 packets</td>";
    assert!(page.contains(row));
    assert_eq!(page.matches("<li>The delay is one way.</li>").count(), 1);
}

#[test]
fn a_long_run_with_many_paths_stays_small() {
    let mut report = fixture::report();
    for run in &mut report.runs {
        let connection = &mut run.connections[0];
        run.clock.interval = std::time::Duration::from_micros(100);
        let mut noise = 1u64;
        let mut next = || {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise >> 44
        };
        let subflow = connection.subflows[0].clone();
        connection.subflows = (0..8)
            .map(|number| {
                let mut subflow = subflow.clone();
                subflow.path = format!("p{number}");
                let sample = subflow.samples.values[0];
                let noisy = |_| crate::results::SubflowSample { in_flight: next(), queued: next(), ..sample };
                subflow.samples.values = (0..40_000).map(noisy).collect();
                subflow
            })
            .collect();
    }
    let page = super::report(&report);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert_eq!(check(&page), Ok(()));
}
