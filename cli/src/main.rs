//! `mptcp`: Multipath TCP at the command line, over user-space paths, the kernel's sockets or a simulated network.

mod cat;
mod controlled;
mod demo;
mod failure;
mod human;
mod interrupt;
mod iperf3;
mod network;
mod nvme;
mod path;
mod perf;
mod progress;
mod sim;
mod ss;
mod undo;

use std::io::Write;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

use failure::Failure;

/// Multipath TCP in user space: transfer, measure, look inside, simulate.
#[derive(Parser)]
#[command(name = "mptcp", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Cat(cat::CatArgs),
    Perf(perf::PerfArgs),
    Ss(ss::SsArgs),
    Path(path::PathArgs),
    Demo(demo::DemoArgs),
    Sim(sim::SimArgs),
    Nvme(nvme::NvmeArgs),
}

fn main() -> ExitCode {
    let result = Cli::try_parse().map_err(usage).and_then(|cli| match cli.command {
        Command::Cat(args) => cat::run(&args),
        Command::Perf(args) => perf::run(&args),
        Command::Ss(args) => ss::run(&args),
        Command::Path(args) => path::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Sim(args) => sim::run(&args),
        Command::Nvme(args) => nvme::run(&args),
    });
    interrupt::yield_to_interrupt();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Prints a sentence on standard error: why the program gives up, or what it has to do without.
pub(crate) fn complain(sentence: &impl std::fmt::Display) {
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(std::io::stderr(), "mptcp: {sentence}");
}

/// Prints a line on standard output.
///
/// Whoever closes it (`mptcp perf | head`) has seen enough, so the process ends quietly, as it would by SIGPIPE.
pub(crate) fn say(line: &str) {
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        std::process::exit(if error.kind() == std::io::ErrorKind::BrokenPipe { 0 } else { 1 });
    }
}

/// Prints a line on standard output, where the exit code has something to say as well: whoever does not listen to the end gets it all the same.
pub(crate) fn say_before_verdict(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A mistake on the command line as one sentence. Help and version are printed and end the process.
fn usage(error: clap::Error) -> Failure {
    if !error.use_stderr() {
        error.exit();
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    if let Some(choice) = missing_choice(&error) {
        return Failure::Usage(format!("say {choice} (see '{} --help')", subcommand(&error.to_string())));
    }
    let text = error.to_string();
    let sentence = text.split("\n\n").next().unwrap_or(&text);
    let words: Vec<&str> = sentence.strip_prefix("error: ").unwrap_or(sentence).split_whitespace().collect();
    Failure::Usage(format!("{} (see '{} --help')", words.join(" "), subcommand(&text)))
}

/// The subcommand that a mistake is about, from the line that says its usage.
fn subcommand(text: &str) -> String {
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap_or("mptcp");
    let is_name = |word: &&str| word.starts_with(|c: char| c.is_ascii_lowercase());
    usage.split_whitespace().take_while(is_name).collect::<Vec<_>>().join(" ")
}

/// The options of which one is needed and none was given: clap has them as `<--one <VALUE>|--other <VALUE>>`.
fn missing_choice(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::MissingRequiredArgument {
        return None;
    }
    let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) else { return None };
    let [choice] = &missing[..] else { return None };
    let options = choice.strip_prefix('<')?.strip_suffix('>')?;
    Some(options.replace(['<', '>'], "").replace('|', " or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    /// The commands of a document, without what the shell does with them.
    fn commands(text: &str) -> impl Iterator<Item = Vec<String>> {
        let text = text.replace("\\\n", " ").replace("cargo run --release -- ", "mptcp ");
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.into_iter().filter_map(|line| {
            let command = line.strip_prefix("$ ").unwrap_or(&line).strip_prefix("mptcp ")?;
            let command = command.split(['#', '>', '|']).next().unwrap_or_default().trim_end_matches([' ', '&']);
            // What is left out of an example.
            let command = command.replace("--path …", "--path tap:t0,10.0.1.2/24").replace('…', "");
            // Every other part stands between quotes.
            let words = command.split('\'').enumerate().flat_map(|(number, part)| match number % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect(),
                _ => vec![part.to_owned()],
            });
            Some(words.collect())
        })
    }

    #[test]
    fn what_documents_say_to_type_is_understood() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folders = [root.clone(), root.join("docs"), root.join("benches")];
        let files =
            folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
        let mut found = 0;
        for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
            for words in commands(&std::fs::read_to_string(&file).unwrap()) {
                found += 1;
                if let Err(error) =
                    Cli::try_parse_from(std::iter::once("mptcp").chain(words.iter().map(String::as_str)))
                {
                    panic!("{}: mptcp {}: {error}", file.display(), words.join(" "));
                }
            }
        }
        assert!(found > 20, "{found} commands");
    }

    #[test]
    fn mistakes_are_one_sentence() {
        let error = Cli::try_parse_from(["mptcp", "cat", "--listen", "x", "--kernel", "tcp"]).err().unwrap();
        let failure = usage(error);
        assert_eq!(failure.exit_code(), 2);
        let sentence = failure.to_string();
        assert!(sentence.contains("'x' is not a port or an address with a port"), "{sentence}");
        assert!(!sentence.contains('\n'), "{sentence}");
    }
}
