//! A progress bar on standard error, only where a person looks at it.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Progress of a transfer; does nothing unless standard error is a terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Starts the bar; `total` bytes if that is known.
    pub(crate) fn start(total: Option<u64>) -> Self {
        let bar = match (std::io::stderr().is_terminal(), total) {
            (false, _) => ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden()),
            (true, Some(total)) => ProgressBar::new(total)
                .with_style(style("{bytes:>11} of {total_bytes} [{bar:30}] {binary_bytes_per_sec} {eta} {msg}")),
            (true, None) => ProgressBar::new_spinner()
                .with_style(style("{spinner} {bytes:>11} {binary_bytes_per_sec} {elapsed} {msg}")),
        };
        Self { bar }
    }

    /// Whether anybody sees it.
    pub(crate) fn is_visible(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Shows `done` bytes and a remark, such as the share of each path.
    pub(crate) fn show(&self, done: u64, remark: String) {
        self.bar.set_position(done);
        self.bar.set_message(remark);
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}
