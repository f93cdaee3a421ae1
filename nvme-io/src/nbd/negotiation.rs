//! Answers to options.

use super::Export;
use super::wire::{FLAG_FIXED_NEWSTYLE, FLAG_NO_ZEROES, INIT_PASSWD, OPTS_MAGIC, REP_MAGIC, info, opt, rep};

/// What follows an option.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another option.
    Option,
    /// Requests.
    Transmission,
    /// The end.
    End,
}

/// Zeroes after the answer to EXPORT_NAME, for those who have not asked to be spared.
const PADDING: usize = 124;

/// What the server says first.
pub(super) fn greeting() -> [u8; 18] {
    let mut greeting = [0; 18];
    greeting[..8].copy_from_slice(&INIT_PASSWD.to_be_bytes());
    greeting[8..16].copy_from_slice(&OPTS_MAGIC.to_be_bytes());
    greeting[16..].copy_from_slice(&(FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES).to_be_bytes());
    greeting
}

/// The answer to an option.
pub(super) fn answer(export: &Export, option: u32, data: &[u8], no_zeroes: bool) -> (Vec<u8>, Next) {
    let mut out = Vec::new();
    let next = match option {
        opt::EXPORT_NAME if export.is_called(data) => {
            // The one answer without a header.
            out.extend(export.size.to_be_bytes());
            out.extend(export.flags().to_be_bytes());
            out.resize(out.len() + if no_zeroes { 0 } else { PADDING }, 0);
            Next::Transmission
        }
        // There is no way to refuse it but this.
        opt::EXPORT_NAME => Next::End,
        opt::ABORT => {
            reply(&mut out, option, rep::ACK, &[]);
            Next::End
        }
        opt::LIST if data.is_empty() => {
            reply(&mut out, option, rep::SERVER, &[&len(export.name.as_bytes()), export.name.as_bytes()]);
            reply(&mut out, option, rep::ACK, &[]);
            Next::Option
        }
        opt::LIST => refuse(&mut out, option, rep::ERR_INVALID, "LIST has no data"),
        opt::INFO | opt::GO => match parse_info(data) {
            None => refuse(&mut out, option, rep::ERR_INVALID, "the lengths in the option do not fit it"),
            Some((name, _)) if !export.is_called(name) => {
                refuse(&mut out, option, rep::ERR_UNKNOWN, "there is no export of this name")
            }
            Some((_, wanted)) => {
                describe(&mut out, export, option, wanted);
                if option == opt::GO { Next::Transmission } else { Next::Option }
            }
        },
        _ => refuse(&mut out, option, rep::ERR_UNSUP, "this option is not supported"),
    };
    (out, next)
}

/// What is known of the export. The block size is told unasked: requests have to heed it.
fn describe(out: &mut Vec<u8>, export: &Export, option: u32, wanted: &[u8]) {
    let kind = info::EXPORT.to_be_bytes();
    reply(out, option, rep::INFO, &[&kind, &export.size.to_be_bytes(), &export.flags().to_be_bytes()]);
    if wanted.chunks_exact(2).any(|kind| kind == info::NAME.to_be_bytes()) {
        reply(out, option, rep::INFO, &[&info::NAME.to_be_bytes(), export.name.as_bytes()]);
    }
    let [least, preferred, most] = export.block_sizes().map(u32::to_be_bytes);
    reply(out, option, rep::INFO, &[&info::BLOCK_SIZE.to_be_bytes(), &least, &preferred, &most]);
    reply(out, option, rep::ACK, &[]);
}

/// The name in the data of INFO and GO, and the kinds of information that are asked for.
fn parse_info(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk::<4>()?;
    let (name, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let (count, kinds) = rest.split_first_chunk::<2>()?;
    (kinds.len() == 2 * usize::from(u16::from_be_bytes(*count))).then_some((name, kinds))
}

fn refuse(out: &mut Vec<u8>, option: u32, error: u32, sentence: &str) -> Next {
    reply(out, option, error, &[sentence.as_bytes()]);
    Next::Option
}

fn reply(out: &mut Vec<u8>, option: u32, kind: u32, data: &[&[u8]]) {
    out.extend(REP_MAGIC.to_be_bytes());
    out.extend(option.to_be_bytes());
    out.extend(kind.to_be_bytes());
    // Nothing that is sent here is longer than a name and a few numbers.
    let length: usize = data.iter().map(|part| part.len()).sum();
    out.extend((length as u32).to_be_bytes());
    data.iter().for_each(|part| out.extend(*part));
}

fn len(bytes: &[u8]) -> [u8; 4] {
    // Names are short.
    (bytes.len() as u32).to_be_bytes()
}
