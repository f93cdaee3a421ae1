//! The document: generated sections between markers, all else by people.

use std::fmt::Write as _;

use super::{Finding, QUESTIONS, Question, Row, Sheet, Statistic, Verdict, chart, summary::summary};
use crate::results::Better;

/// The name of the section with the overview.
const OVERVIEW: &str = "overview";

/// The name of the section that tells where the default scheduler is not the best.
const SUMMARY: &str = "summary";

/// The document with its generated sections made anew. What is not between their markers stays; sections whose markers are missing come to the
/// end. `folder` is where the document finds the plots.
pub fn render(document: &str, findings: &[Finding], folder: &str) -> String {
    let text = replace(document, OVERVIEW, &overview(findings));
    let mut text = replace(&text, SUMMARY, &summary(findings));
    for question in QUESTIONS {
        if let Some(finding) = findings.iter().find(|finding| finding.question == question.name) {
            text = replace(&text, question.name, &section(question, finding, folder));
        }
    }
    text
}

fn markers(name: &str) -> (String, String) {
    (format!("<!-- generated: {name} -->"), format!("<!-- end of {name} -->"))
}

fn replace(document: &str, name: &str, content: &str) -> String {
    let (begin, end) = markers(name);
    let place = document.find(&begin).and_then(|from| {
        let inner = from + begin.len();
        Some((inner, inner + document[inner..].find(&end)?))
    });
    match place {
        Some((from, to)) => format!("{}\n{content}{}", &document[..from], &document[to..]),
        None => {
            let gap = if document.is_empty() || document.ends_with("\n\n") { "" } else { "\n" };
            format!("{document}{gap}{begin}\n{content}{end}\n")
        }
    }
}

fn overview(findings: &[Finding]) -> String {
    let mut text = String::from("| Section | Demands | Met | Furthest from its limit |\n| --- | ---: | ---: | --- |\n");
    for question in QUESTIONS {
        let Some(finding) = findings.iter().find(|finding| finding.question == question.name) else { continue };
        let (all, met) = finding.tally();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} | {all} | {met} | {} |", question.title, furthest(finding).unwrap_or_default());
    }
    text
}

/// The demand that is missed by most.
fn furthest(finding: &Finding) -> Option<String> {
    let verdicts = finding.sheets.iter().flat_map(|sheet| {
        sheet.rows.iter().flat_map(move |row| row.verdicts.iter().map(move |verdict| (sheet, row, verdict)))
    });
    let missed = verdicts.filter(|(.., verdict)| !verdict.met);
    let by = |(sheet, _, verdict): &(&Sheet, &Row, &Verdict)| match (verdict.found.zip(verdict.limit), sheet.better) {
        (None, _) => f64::INFINITY,
        (Some((found, limit)), Better::Higher) => limit / found,
        (Some((found, limit)), Better::Lower) => found / limit,
    };
    let (sheet, row, verdict) = missed.max_by(|a, b| by(a).total_cmp(&by(b)))?;
    Some(format!("{}, {}: {}", row.case, verdict.of, judgement(sheet, verdict)))
}

fn section(question: &Question, finding: &Finding, folder: &str) -> String {
    let (all, met) = finding.tally();
    let Finding { seeds, first_seed, version, .. } = finding;
    let name = question.name;
    let mut text = format!(
        "### {}\n\n{} **{met} of {all} demands are met.**\n\n\
         Made by `mptcp sim evaluate --only {name} --seeds {seeds}`, version {version}: seeds from {first_seed} on. Figures are medians; beside \
         that of the scheduler in question stands in brackets what one seed in twenty does not better.\n\n",
        question.title, question.demand
    );
    let mut before = "";
    for sheet in &finding.sheets {
        if before != sheet.scenario {
            conditions(&mut text, sheet);
            before = &sheet.scenario;
        }
        table(&mut text, sheet);
        if !sheet.plotted.is_empty() {
            let _ = writeln!(text, "![{}]({folder}/{})\n", sheet.caption, chart::file_name(sheet));
        }
    }
    text
}

fn conditions(text: &mut String, sheet: &Sheet) {
    let _ = writeln!(text, "**`{}`** {}\n", sheet.scenario, sheet.description);
    for assumption in &sheet.assumptions {
        let _ = writeln!(text, "* {assumption}");
    }
    text.push('\n');
}

fn table(text: &mut String, sheet: &Sheet) {
    let demanded = demanded(sheet);
    let _ = writeln!(text, "{}:\n", sheet.caption);
    let _ = write!(text, "| |");
    for (of, statistic) in &demanded {
        let _ = write!(text, " {of}, {} |", words(*statistic));
    }
    for column in &sheet.columns {
        let _ = write!(text, " {column} |");
    }
    let _ = writeln!(text, "\n| --- |{}{}", " --- |".repeat(demanded.len()), " ---: |".repeat(sheet.columns.len()));
    for row in &sheet.rows {
        let _ = write!(text, "| {} |", row.case);
        for (of, statistic) in &demanded {
            let verdict = row.verdicts.iter().find(|verdict| verdict.of == *of && verdict.statistic == *statistic);
            let _ = write!(text, " {} |", verdict.map(|verdict| judgement(sheet, verdict)).unwrap_or_default());
        }
        for (column, cell) in sheet.columns.iter().zip(&row.cells) {
            let number = |value| sheet.unit.format(value, 4);
            let figure = match cell {
                Some(cell) if demanded.iter().any(|(of, _)| of == column) => {
                    format!("{} ({})", number(cell.median), number(cell.twentieth))
                }
                Some(cell) => number(cell.median),
                None => "–".to_owned(),
            };
            let _ = write!(text, " {figure} |");
        }
        text.push('\n');
    }
    text.push('\n');
}

/// The columns of verdicts, in the order in which they come.
fn demanded(sheet: &Sheet) -> Vec<(&str, Statistic)> {
    let mut all = Vec::new();
    for verdict in sheet.rows.iter().flat_map(|row| &row.verdicts) {
        let key = (verdict.of.as_str(), verdict.statistic);
        if !all.contains(&key) {
            all.push(key);
        }
    }
    all
}

fn words(statistic: Statistic) -> &'static str {
    match statistic {
        Statistic::Median => "median",
        Statistic::Hundredth => "99th percentile",
        Statistic::Worst => "worst seed",
    }
}

fn judgement(sheet: &Sheet, verdict: &Verdict) -> String {
    let number = |value| sheet.unit.format(value, 4);
    let Some(limit) = verdict.limit else {
        let against = verdict.against.as_deref().unwrap_or_default();
        return format!("**short**: some runs of {against} gave no value to compare with");
    };
    let limit = match sheet.better {
        Better::Higher => format!("≥ {}", number(limit)),
        Better::Lower => format!("≤ {}", number(limit)),
    };
    let by = verdict.against.as_ref().map(|column| format!(" by {column}")).unwrap_or_default();
    match verdict.found {
        _ if verdict.met => format!("met ({limit}{by})"),
        Some(found) => format!("**short**: {}, not {limit}{by}", number(found)),
        None => format!("**short**: some runs gave no value, not {limit}{by}"),
    }
}
