//! Checks `docs/rfc8684.md`, the table of what RFC 8684 requires: no row is lost, every row is
//! well-formed, and the code and the tests that it names exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const LEVELS: [&str; 7] = ["MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "RECOMMENDED", "MAY", STATED];

/// Level of a rule that the RFC states without a requirement keyword.
const STATED: &str = "stated";

/// Uses of each requirement keyword per section of RFC 8684, in the order of [`LEVELS`], counted in
/// the text of the RFC. Section 1.5 only defines the keywords. REQUIRED, SHALL, OPTIONAL and their
/// negations occur there alone.
const KEYWORDS: [(&str, [usize; 6]); 21] = [
    ("3", [1, 1, 1, 1, 0, 0]),
    ("3.1", [22, 3, 5, 0, 0, 4]),
    ("3.2", [11, 0, 2, 0, 0, 0]),
    ("3.3", [3, 0, 1, 0, 0, 0]),
    ("3.3.1", [6, 2, 5, 0, 1, 2]),
    ("3.3.2", [3, 2, 1, 0, 0, 1]),
    ("3.3.3", [2, 1, 1, 0, 0, 1]),
    ("3.3.4", [0, 1, 1, 0, 0, 0]),
    ("3.3.5", [2, 0, 1, 0, 0, 0]),
    ("3.3.6", [2, 0, 1, 0, 0, 2]),
    ("3.3.8", [0, 0, 1, 1, 0, 0]),
    ("3.4.1", [7, 1, 4, 2, 0, 4]),
    ("3.4.2", [2, 0, 5, 1, 0, 2]),
    ("3.5", [0, 0, 3, 0, 1, 0]),
    ("3.6", [2, 0, 1, 1, 0, 4]),
    ("3.7", [8, 2, 6, 0, 0, 1]),
    ("3.9.1", [0, 0, 4, 0, 0, 0]),
    ("3.9.2", [0, 0, 0, 0, 1, 2]),
    ("3.9.3", [1, 0, 1, 1, 0, 0]),
    ("4", [0, 1, 1, 2, 0, 0]),
    ("6", [0, 0, 1, 0, 0, 0]),
];

/// Rows of level [`STATED`]: our own selection, counted so that none is lost unnoticed.
const STATED_ROWS: usize = 75;

#[test]
fn the_table_is_well_formed_and_complete() {
    let (rows, mut problems) = parse(&table());
    problems.extend(check_numbers(&rows));
    problems.extend(check_counts(&rows));
    problems.extend(check_summary(&table(), &rows));
    report(&problems);
}

#[test]
fn the_named_code_and_tests_exist() {
    let (rows, _) = parse(&table());
    assert!(!rows.is_empty());
    report(&check_references(&rows, &read_source));
}

fn table() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rfc8684.md");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Text of a file named relative to the top of the repository.
fn read_source(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).ok()
}

#[track_caller]
fn report(problems: &[String]) {
    assert!(problems.is_empty(), "docs/rfc8684.md:\n{}", problems.join("\n"));
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Status {
    Done,
    Partly,
    NotYet,
    NotApplicable,
}

impl Status {
    const ALL: [(&'static str, Self); 4] =
        [("done", Self::Done), ("partly", Self::Partly), ("not yet", Self::NotYet), ("n/a", Self::NotApplicable)];

    fn parse(cell: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(name, _)| *name == cell).map(|(_, status)| status)
    }
}

#[derive(Clone, Debug)]
struct Row {
    id: String,
    section: String,
    number: usize,
    level: String,
    status: Status,
    code: String,
    test: String,
}

/// The rows of all tables, and what is wrong with those that are none.
fn parse(text: &str) -> (Vec<Row>, Vec<String>) {
    let mut rows = Vec::new();
    let mut problems = Vec::new();
    let mut section = "";
    // The summary comes before the first section.
    let lines = text.lines().enumerate().skip_while(|(_, line)| !line.starts_with("## "));
    for (index, line) in lines {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading.trim_start_matches("Appendix ").split(' ').next().unwrap_or_default();
        } else if line.contains('|') && !line.starts_with("| id |") && !line.starts_with("|--") {
            match parse_row(line, section) {
                Ok(row) => rows.push(row),
                Err(problem) => problems.push(format!("line {}: {problem}", index + 1)),
            }
        }
    }
    (rows, problems)
}

fn parse_row(line: &str, section: &str) -> Result<Row, String> {
    let inner = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |"));
    let cells: Vec<&str> = inner.ok_or("a row starts with `| ` and ends with ` |`")?.split(" | ").collect();
    let &[id, level, requirement, status, code, test] = cells.as_slice() else {
        return Err(format!("{} cells instead of 6", cells.len()));
    };
    if cells.iter().any(|cell| cell.trim().is_empty() || cell.contains('|')) {
        return Err(format!("{id}: a cell is empty or contains a bar"));
    }
    let (named, number) = id.rsplit_once('-').ok_or_else(|| format!("{id}: an id is a section, a dash, a number"))?;
    if named != section {
        return Err(format!("{id}: under the heading of section {section}"));
    }
    let number = match number.parse() {
        Ok(parsed) if number.len() == 2 => parsed,
        _ => return Err(format!("{id}: the number has two digits")),
    };
    if !LEVELS.contains(&level) {
        return Err(format!("{id}: level {level:?} is none of {LEVELS:?}"));
    }
    if !requirement.ends_with('.') {
        return Err(format!("{id}: the requirement is a sentence"));
    }
    let status = Status::parse(status).ok_or_else(|| format!("{id}: unknown status {status:?}"))?;
    Ok(Row {
        id: id.to_owned(),
        section: section.to_owned(),
        number,
        level: level.to_owned(),
        status,
        code: code.to_owned(),
        test: test.to_owned(),
    })
}

/// Ids are unique, numbers start from 1 without gaps, and stated rules come last in each section.
fn check_numbers(rows: &[Row]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut ids = BTreeSet::new();
    let mut last: Option<&Row> = None;
    for row in rows {
        if !ids.insert(&row.id) {
            problems.push(format!("{}: the id is taken", row.id));
        }
        let before = last.filter(|last| last.section == row.section);
        if row.number != before.map_or(0, |last| last.number) + 1 {
            problems.push(format!("{}: the number does not follow the one before", row.id));
        }
        if row.level != STATED && before.is_some_and(|last| last.level == STATED) {
            problems.push(format!("{}: after a stated rule", row.id));
        }
        last = Some(row);
    }
    problems
}

/// There are as many rows of each level in each section as the RFC has keywords.
fn check_counts(rows: &[Row]) -> Vec<String> {
    let mut counted: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for row in rows {
        *counted.entry((&row.section, &row.level)).or_default() += 1;
    }
    let mut problems = Vec::new();
    for (section, expected) in KEYWORDS {
        for (level, expected) in LEVELS.into_iter().zip(expected) {
            let found = counted.remove(&(section, level)).unwrap_or_default();
            if found != expected {
                problems.push(format!("section {section}: {found} rows of level {level}, the RFC has {expected}"));
            }
        }
    }
    let stated: usize = counted.iter().filter(|((_, level), _)| *level == STATED).map(|(_, count)| count).sum();
    if stated != STATED_ROWS {
        problems.push(format!("{stated} stated rules instead of {STATED_ROWS}"));
    }
    for (section, level) in counted.keys().filter(|(_, level)| *level != STATED) {
        problems.push(format!("section {section}: the RFC has no {level} there"));
    }
    problems
}

/// What `done` and `partly` rows name exists, and the other rows claim nothing. `read` gives the text of a source file.
fn check_references(rows: &[Row], read: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut problems = Vec::new();
    for row in rows.iter().filter(|row| matches!(row.status, Status::NotYet | Status::NotApplicable)) {
        if !references(&row.code).1.contains(char::is_alphabetic) {
            problems.push(format!("{}: the code cell does not say why", row.id));
        }
        if !references(&row.test).0.is_empty() {
            problems.push(format!("{}: what is not done has no test", row.id));
        }
    }
    for row in rows.iter().filter(|row| matches!(row.status, Status::Done | Status::Partly)) {
        let mut complain = |problem: String| problems.push(format!("{}: {problem}", row.id));
        let (code, remark) = references(&row.code);
        if code.is_empty() {
            complain("no code is named".to_owned());
        }
        if row.status == Status::Partly && !remark.contains(char::is_alphabetic) {
            complain("the code cell does not say what is missing".to_owned());
        }
        for reference in code {
            let (path, symbol) = reference.split_once('#').map_or((reference, None), |(path, name)| (path, Some(name)));
            match read(path) {
                _ if !path.ends_with(".rs") => complain(format!("`{reference}` is no Rust file")),
                _ if !path.contains("/src/") || reference.contains("/conformance/") => {
                    complain(format!("`{reference}` is not what runs"));
                }
                None => complain(format!("`{path}` does not exist")),
                Some(source) if symbol.is_some_and(|symbol| !defines(&source, symbol)) => {
                    complain(format!("`{reference}` is not defined there"));
                }
                Some(_) => {}
            }
        }
        let (tests, _) = references(&row.test);
        if tests.is_empty() && row.status == Status::Done {
            complain("no test is named".to_owned());
        }
        for reference in tests {
            let found = reference.split_once('#').and_then(|(path, name)| is_test(path, name, read));
            match found {
                Some(true) => {}
                Some(false) => complain(format!("`{reference}` is no test")),
                None => complain(format!("`{reference}` names no function of an existing file")),
            }
        }
    }
    problems
}

/// What stands between backticks, and what does not.
fn references(cell: &str) -> (Vec<&str>, String) {
    let quoted = cell.split('`').skip(1).step_by(2).collect();
    (quoted, cell.split('`').step_by(2).collect())
}

/// Whether `source` has an item called `symbol`.
fn defines(source: &str, symbol: &str) -> bool {
    const ITEMS: [&str; 7] = ["fn", "struct", "enum", "const", "static", "trait", "type"];
    source.lines().any(|line| ITEMS.iter().any(|item| declares(line, item, symbol)))
}

/// Whether the function `name` of an existing file is a test: one that is always run.
fn is_test(path: &str, name: &str, read: &dyn Fn(&str) -> Option<String>) -> Option<bool> {
    let source = read(path)?;
    if let Some((folder, file)) = path.split_once("/conformance/") {
        // A macro makes a test of each case that it lists, for every implementation of TCP.
        let list = read(&format!("{folder}/conformance/mod.rs"))?;
        let case = format!("{}::{name},", file.trim_end_matches(".rs"));
        let public = source.lines().any(|line| line.starts_with("pub fn") && declares(line, "fn", name));
        return Some(public && list.lines().any(|line| line.trim() == case));
    }
    // What needs a kernel or another machine is not run by everyone.
    Some(!path.starts_with("interop/") && has_test(&source, name))
}

/// Whether `source` has a function called `name` with a `#[test]` attribute, and none by which it is not always run.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    lines.iter().enumerate().filter(|(_, line)| declares(line, "fn", name)).any(|(index, _)| {
        let attributes =
            lines[..index].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        let skipped = |line: &str| line.starts_with("#[ignore") || line.starts_with("#[cfg");
        attributes.clone().any(|line| *line == "#[test]") && !attributes.clone().any(|line| skipped(line))
    })
}

/// Whether `line` declares `item name`, with visibility and qualifiers before it or not.
fn declares(line: &str, item: &str, name: &str) -> bool {
    if line.trim_start().starts_with("//") {
        return false;
    }
    let mut words = line.split_whitespace().skip_while(|word| *word != item).skip(1);
    let declared = words.next().unwrap_or_default();
    declared.split(|c: char| !c.is_alphanumeric() && c != '_').next() == Some(name)
}

/// The head of the document counts the rows by level and status.
fn check_summary(text: &str, rows: &[Row]) -> Vec<String> {
    let head = text.split("\n## ").next().unwrap_or_default();
    let found: Vec<&str> = head.lines().filter(|line| line.starts_with('|')).collect();
    let expected = summary(rows);
    if found == expected {
        return Vec::new();
    }
    vec![format!("the summary in the head should be\n{}", expected.join("\n"))]
}

fn summary(rows: &[Row]) -> Vec<String> {
    let line = |name: &str, cells: Vec<String>| format!("| {name} | {} |", cells.join(" | "));
    let counts = |chosen: &dyn Fn(&Row) -> bool| {
        let count =
            |status: &Status| rows.iter().filter(|row| chosen(row) && row.status == *status).count().to_string();
        let all = rows.iter().filter(|row| chosen(row)).count().to_string();
        Status::ALL.iter().map(|(_, status)| count(status)).chain([all]).collect()
    };
    let names = Status::ALL.iter().map(|(name, _)| (*name).to_owned()).chain(["rows".to_owned()]).collect();
    let mut lines = vec![line("level", names), "|---|---|---|---|---|---|".to_owned()];
    lines.extend(LEVELS.iter().map(|level| line(level, counts(&|row| row.level == *level))));
    lines.push(line("all", counts(&|_| true)));
    lines
}

/// One section with the rows given, and what is found in it.
fn problems_of(rows: &str) -> Vec<String> {
    let (rows, mut problems) = parse(&format!("## 3.3.8 Subflow policy\n\n{rows}"));
    problems.extend(check_numbers(&rows));
    problems.extend(check_references(&rows, &|path| {
        let text = "pub(crate) fn choose(now: Instant) {}\nstruct Wish;\n#[test]\n// why\n#[should_panic]\nfn backup() {}\n\
                    #[test]\n#[ignore = \"slow\"]\nfn later() {}\n#[cfg(unix)]\n#[test]\nfn elsewhere() {}";
        let list = "            b::half_open,\n            c::backup,";
        match path {
            "a/src/b.rs" => Some(text.to_owned()),
            "a/src/conformance/b.rs" => Some("pub fn half_open() {}\npub fn left_out() {}".to_owned()),
            "a/src/conformance/mod.rs" => Some(list.to_owned()),
            _ => None,
        }
    }));
    problems
}

#[test]
fn good_rows_are_accepted() {
    let rows = "| 3.3.8-01 | SHOULD | It does. | done | `a/src/b.rs#choose`, `a/src/b.rs#Wish`, `a/src/b.rs` | `a/src/b.rs#backup` |\n\
                | 3.3.8-02 | SHOULD | It does. | partly | `a/src/b.rs`; no test yet | - |\n\
                | 3.3.8-03 | SHOULD | It does. | done | `a/src/b.rs` | `a/src/conformance/b.rs#half_open` |\n\
                | 3.3.8-04 | stated | It does. | not yet | in `anywhere` | anything |\n\
                | 3.3.8-05 | stated | It does. | n/a | it does not concern us | - |";
    assert_eq!(problems_of(rows), Vec::<String>::new());
}

#[test]
fn bad_rows_are_refused() {
    let bad = [
        ("| 3.3.8-01 | SHOULD | It does. | done | `a/src/b.rs` |", "5 cells"),
        ("| 3.3.8-01 | SHOULD | It does. | done |  | `a/src/b.rs#backup` |", "empty"),
        ("| 3.3.9-01 | SHOULD | It does. | not yet | because | y |", "under the heading"),
        ("| 3.3.8-1 | SHOULD | It does. | not yet | because | y |", "two digits"),
        ("| 3.3.8-02 | SHOULD | It does. | not yet | because | y |", "does not follow"),
        ("| 3.3.8-01 | OUGHT | It does. | not yet | because | y |", "level"),
        ("| 3.3.8-01 | SHOULD | It does. | nearly | x | y |", "status"),
        ("| 3.3.8-01 | SHOULD | It does. | done | `a/src/c.rs` | `a/src/b.rs#backup` |", "does not exist"),
        ("| 3.3.8-01 | SHOULD | It does. | done | `a/src/b.rs#choos` | `a/src/b.rs#backup` |", "not defined"),
        ("| 3.3.8-01 | SHOULD | It does. | done | code | `a/src/b.rs#backup` |", "no code"),
        ("| 3.3.8-01 | SHOULD | It does. | done | `a/src/b.rs` | - |", "no test is named"),
        ("| 3.3.8-01 | SHOULD | It does. | done | `a/src/b.rs` | `a/src/b.rs#choose` |", "is no test"),
        ("| 3.3.8-01 | SHOULD | It does. | done | `a/src/b.rs` | `a/src/b.rs#later` |", "is no test"),
        ("| 3.3.8-01 | SHOULD | It does. | done | `a/src/b.rs` | `a/src/b.rs#elsewhere` |", "is no test"),
        ("| 3.3.8-01 | SHOULD | It does. | done | `a/src/b.rs` | `a/src/b.rs` |", "names no function"),
        ("| 3.3.8-01 | SHOULD | It does. | partly | `a/src/b.rs` | - |", "what is missing"),
        ("| 3.3.8-01 | SHOULD | It does. | done | `a/src/conformance/b.rs` | `a/src/b.rs#backup` |", "not what runs"),
        ("| 3.3.8-01 | SHOULD | It does. | done | `a/src/b.rs` | `a/src/conformance/b.rs#left_out` |", "is no test"),
        ("| 3.3.8-01 | SHOULD | It does. | not yet | `a/src/b.rs` | - |", "say why"),
        ("| 3.3.8-01 | SHOULD | It does. | n/a | not here | `a/src/b.rs#backup` |", "has no test"),
    ];
    for (rows, expected) in bad {
        let problems = problems_of(rows);
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{rows}\n{problems:?}");
    }
}

#[test]
fn a_lost_row_is_noticed() {
    let (mut rows, _) = parse(&table());
    assert_eq!(check_counts(&rows), Vec::<String>::new());
    rows.retain(|row| row.id != "3.3.8-02");
    assert_eq!(check_counts(&rows), ["section 3.3.8: 0 rows of level SHOULD, the RFC has 1"]);
    rows.retain(|row| row.id != "D-02");
    assert_eq!(check_counts(&rows).len(), 2);
}

#[test]
fn a_wrong_summary_is_noticed() {
    let (mut rows, _) = parse(&table());
    assert_eq!(check_summary(&table(), &rows), Vec::<String>::new());
    rows[0].status = Status::NotYet;
    assert_eq!(check_summary(&table(), &rows).len(), 1);
}
