//! `mptcp sim evaluate`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use mptcp_sim::evaluation::{self, Finding, QUESTIONS, Question};

use super::experiment::failure;
use super::stop::Stop;
use super::sweep::Bar;
use crate::failure::Failure;
use crate::say;

/// Measure what must hold of the schedulers, and write the tables into their document
///
/// Every figure is of many seeds that nothing else uses. Only the generated sections of the document change; beside it come the figures as JSON and the
/// plots. Sections are written as soon as they are done: Ctrl-C keeps them and ends with 130. With all seeds it takes hours of processor time.
#[derive(Args, Debug)]
pub(super) struct EvaluateArgs {
    /// Seeds of each cell
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    seeds: u64,
    /// Make only these sections anew
    #[arg(long, value_name = "SECTION", value_parser = question)]
    only: Vec<&'static Question>,
    /// The document
    #[arg(long, value_name = "FILE", default_value = "docs/schedulers.md")]
    out: PathBuf,
}

/// Runs the subcommand.
pub(super) fn run(args: &EvaluateArgs) -> Result<(), Failure> {
    let document = Document::open(&args.out)?;
    let wanted = |question: &&Question| args.only.is_empty() || args.only.iter().any(|only| only.name == question.name);
    let questions: Vec<&Question> = QUESTIONS.iter().filter(wanted).collect();
    let runs: Result<u64, _> = questions.iter().map(|question| question.runs(args.seeds)).sum();
    let runs = runs.map_err(failure)?;
    let stop = Stop::on_interrupt()?;
    let bar = Bar::start(runs);
    let result = answer(&questions, args.seeds, &bar, &stop, document);
    bar.finish();
    stop.done();
    result
}

fn answer(questions: &[&Question], seeds: u64, bar: &Bar, stop: &Stop, mut document: Document) -> Result<(), Failure> {
    for question in questions {
        let Some(finding) = question.answer(seeds, bar, &stop.asked).map_err(failure)? else { break };
        let (all, met) = finding.tally();
        bar.aside(|| say(&format!("{}: {met} of {all} demands are met", question.name)));
        document.take(finding)?;
    }
    Ok(())
}

fn question(name: &str) -> Result<&'static Question, String> {
    Question::find(name).ok_or_else(|| {
        let names: Vec<&str> = QUESTIONS.iter().map(|question| question.name).collect();
        format!("there is no such section: choose from {}", names.join(", "))
    })
}

/// The document, and what it is made of.
struct Document {
    path: PathBuf,
    text: String,
    findings: Vec<Finding>,
}

impl Document {
    /// Reads what is there; what is not there is made.
    fn open(path: &Path) -> Result<Self, Failure> {
        let read = |path: &Path| match fs::read_to_string(path) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(Failure::file("read", path, &error)),
        };
        let wrong = |what: &str| Err(Failure::Usage(format!("--out {}: {what}", path.display())));
        if path.extension().is_none_or(|extension| extension != "md") {
            return wrong("the document must be named *.md, as figures and plots go beside it by the same name");
        }
        if path.with_extension("").is_file() {
            return wrong("there is a file where the plots are to go");
        }
        if read(path).is_ok_and(|text| !text.is_empty() && !text.contains("<!-- generated: ")) {
            return wrong("this is no document with generated sections");
        }
        let json = path.with_extension("json");
        // Found out now, not when everything is over.
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| Failure::file("make", folder, &error))?;
        }
        for path in [path, &json] {
            let open = fs::OpenOptions::new().create(true).append(true).open(path);
            open.map_err(|error| Failure::file("write", path, &error))?;
        }
        let known = read(&json)?;
        let findings = match known.as_str() {
            "" => Vec::new(),
            text => evaluation::read_findings(text).map_err(|error| {
                Failure::Usage(format!("'{}' is not what this command writes: {error}", json.display()))
            })?,
        };
        Ok(Self { path: path.to_owned(), text: read(path)?, findings })
    }

    /// Writes a finding in place of the one that was there.
    fn take(&mut self, finding: Finding) -> Result<(), Failure> {
        let folder = self.path.with_extension("");
        let charts = evaluation::charts(&finding);
        if !charts.is_empty() {
            fs::create_dir_all(&folder).map_err(|error| Failure::file("make", &folder, &error))?;
        }
        for (name, svg) in charts {
            write(&folder.join(name), &svg)?;
        }
        self.findings.retain(|known| known.question != finding.question);
        self.findings.push(finding);
        let place = |finding: &Finding| QUESTIONS.iter().position(|question| question.name == finding.question);
        self.findings.sort_by_key(place);
        write(&self.path.with_extension("json"), &evaluation::findings_json(&self.findings))?;
        let plots = folder.file_name().unwrap_or_default().to_string_lossy();
        self.text = evaluation::render(&self.text, &self.findings, &plots);
        write(&self.path, &self.text)
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| Failure::file("write", path, &error))
}
