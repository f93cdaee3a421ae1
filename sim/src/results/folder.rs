//! Where results are put.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use siphasher::sip::SipHasher13;

use super::comparison::{Comparison, comparison_json, comparison_text};
use super::events::{EventLog, EventLogHeader};
use super::json::{series_json, summary_json, sweep_json};
use super::record::{Report, RunMeta};
use super::series::SERIES;
use super::sweep::{SweepRecord, sweep_text};
use super::tables::summary_text;
use super::{csv, html};

/// A folder of results.
///
/// ```text
/// summary.txt  summary.json  report.html
/// mptcp/                     one folder per run of the report
///   series/                  connections.csv  subflows.csv  links.csv  drops.csv  latency.csv  latency-over-time.csv
///                            series.json, which has all of these
///   events.qlog.jsonl
///   pcap/                    client-p1.pcapng ...
/// ```
///
/// The folder of a sweep has `points.csv` beside the summary and the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    root: PathBuf,
}

/// Why results could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}")]
pub struct WriteError {
    /// The file or folder.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl Folder {
    /// Makes the folder, and those above it, where they do not exist.
    ///
    /// # Errors
    /// It cannot be made, or nothing can be written into it.
    pub fn create(root: impl Into<PathBuf>) -> Result<Self, WriteError> {
        let root = root.into();
        make(&root)?;
        // A folder that is there may be somebody else's: better known now than when everything is over.
        let path = root.join(".writable");
        let probed = File::create(&path).and_then(|_| fs::remove_file(&path));
        probed.map_err(|source| WriteError { path: root.clone(), source })?;
        Ok(Self { root })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Opens the event log of a run.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn event_log(&self, meta: &RunMeta) -> Result<EventLog<BufWriter<File>>, WriteError> {
        let header = EventLogHeader {
            scenario: &meta.scenario,
            variant: &meta.variant,
            seed: meta.seed,
            version: &meta.version,
        };
        let path = self.run(&meta.variant)?.join("events.qlog.jsonl");
        let sink = open(&path)?;
        EventLog::new(sink, header).map_err(|source| WriteError { path, source })
    }

    /// Opens the capture file of an interface of a run, for [`Captures::add`](super::Captures::add).
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn capture(&self, meta: &RunMeta, interface: &str) -> Result<BufWriter<File>, WriteError> {
        let folder = self.run(&meta.variant)?.join("pcap");
        make(&folder)?;
        open(&folder.join(file_name(interface)).with_added_extension("pcapng"))
    }

    /// Writes everything that is known at the end, and returns where the page is.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_report(&self, report: &Report) -> Result<PathBuf, WriteError> {
        for run in &report.runs {
            let folder = self.run(&run.meta.variant)?.join("series");
            make(&folder)?;
            for series in &SERIES {
                write(&folder.join(series.name).with_added_extension("csv"), &csv::series(series, run))?;
            }
            write(&folder.join("series.json"), &series_json(run))?;
        }
        self.write_summary(&summary_text(report), &summary_json(report), &html::report(report))
    }

    /// Writes the results of a sweep, and returns where the page is.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_sweep(&self, sweep: &SweepRecord) -> Result<PathBuf, WriteError> {
        write(&self.root.join("points.csv"), &csv::points(sweep))?;
        self.write_summary(&sweep_text(sweep), &sweep_json(sweep), &html::sweep(sweep))
    }

    /// Writes a comparison, and returns where the page is.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_comparison(&self, comparison: &Comparison) -> Result<PathBuf, WriteError> {
        let (text, json) = (comparison_text(comparison), comparison_json(comparison));
        self.write_summary(&text, &json, &html::comparison(comparison))
    }

    fn write_summary(&self, text: &str, json: &str, page: &str) -> Result<PathBuf, WriteError> {
        write(&self.root.join("summary.txt"), text)?;
        write(&self.root.join("summary.json"), json)?;
        let path = self.root.join("report.html");
        write(&path, page)?;
        Ok(path)
    }

    fn run(&self, variant: &str) -> Result<PathBuf, WriteError> {
        let path = self.root.join(file_name(variant));
        make(&path)?;
        Ok(path)
    }
}

/// A name like this one, with a number after it if `is_new` says so of no other.
pub(crate) fn until_new(name: &str, mut is_new: impl FnMut(&str) -> bool) -> String {
    let numbered = (2..).map(|number: u64| format!("{name} {number}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|name| is_new(name)).unwrap_or_default()
}

/// A name that every file system takes: letters, digits, dots, hyphens and underscores; all else becomes a hyphen.
///
/// Never empty, hidden or longer than 100 bytes. A longer name is cut and ends with a hash of all of it, so that two of them differ. Names that differ only
/// in what becomes a hyphen come out the same.
pub fn file_name(name: &str) -> String {
    const MAX: usize = 100;
    const HASH: usize = 17;
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let mut text: String = name.chars().take(MAX).map(plain).collect();
    if name.chars().nth(MAX).is_some() {
        let hash = SipHasher13::new().hash(name.as_bytes());
        text = format!("{}-{hash:016x}", &text[..MAX - HASH]);
    }
    let text = text.trim_matches(['.', '-']);
    if text.is_empty() { "run".to_owned() } else { text.to_owned() }
}

fn make(path: &Path) -> Result<(), WriteError> {
    fs::create_dir_all(path).map_err(|source| WriteError { path: path.to_owned(), source })
}

fn open(path: &Path) -> Result<BufWriter<File>, WriteError> {
    let file = File::create(path).map_err(|source| WriteError { path: path.to_owned(), source })?;
    Ok(BufWriter::with_capacity(1 << 16, file))
}

fn write(path: &Path, text: &str) -> Result<(), WriteError> {
    fs::write(path, text).map_err(|source| WriteError { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn names_that_look_alike_are_told_apart() {
        let mut names = std::collections::BTreeSet::new();
        let mut name = |name: &str| file_name(&until_new(name, |name| names.insert(file_name(name))));
        assert_eq!(["a b", "a+b", "a-b", "c"].map(&mut name), ["a-b", "a-b-2", "a-b-3", "c"]);
    }

    #[test]
    fn names_are_safe() {
        assert_eq!(file_name("client p1"), "client-p1");
        assert_eq!(file_name("../../etc/passwd"), "etc-passwd");
        assert_eq!(file_name(".."), "run");
        assert_eq!(file_name("cc=µ"), "cc");
        assert_eq!(file_name(&"x".repeat(500)).len(), 100);
    }

    #[test]
    fn everything_is_written_and_the_same_every_time() {
        let root = std::env::temp_dir().join(format!("mptcp-sim-folder-{}", std::process::id()));
        let report = fixture::report();
        let folders = ["a", "b"].map(|name| Folder::create(root.join(name)).unwrap());
        for folder in &folders {
            folder.write_report(&report).unwrap();
            folder.event_log(&report.runs[0].meta).unwrap().finish().unwrap();
            folder.capture(&report.runs[1].meta, "client/p1").unwrap();
        }
        let files = folders.each_ref().map(|folder| {
            let mut files = Vec::new();
            collect(folder.path(), folder.path(), &mut files);
            files.sort();
            files
        });
        fs::remove_dir_all(&root).unwrap();
        let names: Vec<_> = files[0].iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[0], "mptcp/pcap/client-p1.pcapng");
        assert!(names.contains(&"tcp-p1/series/subflows.csv") && names.contains(&"tcp-p1/events.qlog.jsonl"));
        assert_eq!(files[0], files[1]);
        assert!(files[0].iter().all(|(_, text)| !String::from_utf8_lossy(text).contains("mptcp-sim-folder")));
    }

    fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, Vec<u8>)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(root, &path, files);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.push((name, fs::read(&path).unwrap()));
            }
        }
    }
}
