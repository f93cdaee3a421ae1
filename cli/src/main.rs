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
