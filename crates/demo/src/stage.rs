//! What the audience sees: one line per step with the time it took, and a verdict.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use sandscope_console::output::{self, Paint};

/// Prints the steps and remembers the misses.
pub(super) struct Stage {
    paint: Paint,
    began: Instant,
    n_misses: usize,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self { paint: Paint::for_stdout(), began: Instant::now(), n_misses: 0 }
    }

    pub(super) const fn paint(&self) -> Paint {
        self.paint
    }

    pub(super) fn title(&self, text: &str) -> io::Result<()> {
        output::line(format_args!("\n{}\n", self.paint.bold(text)))
    }

    /// A step that worked.
    pub(super) fn done(&self, text: impl Display) -> io::Result<()> {
        output::line(format_args!("{} {} {text}", self.clock(), self.paint.green("✓")))
    }

    /// A step that worked, and how long it took.
    pub(super) fn timed(&self, text: impl Display, took: Duration) -> io::Result<()> {
        self.done(format_args!("{text} {}", self.paint.dim(format_args!("({})", human(took)))))
    }

    /// What is going on.
    pub(super) fn note(&self, text: impl Display) -> io::Result<()> {
        output::line(format_args!("{} {} {text}", self.clock(), self.paint.cyan("·")))
    }

    /// Something to be read as it is.
    pub(super) fn plain(&self, text: impl Display) -> io::Result<()> {
        output::line(text)
    }

    /// A promise checked: kept, or a miss.
    pub(super) fn check(&mut self, holds: bool, text: impl Display) -> io::Result<()> {
        if holds {
            return self.done(text);
        }
        self.n_misses += 1;
        output::line(format_args!("{} {} {text}", self.clock(), self.paint.red("✗ MISSED:")))
    }

    fn clock(&self) -> String {
        self.paint.dim(format_args!("{:5.1}s", self.began.elapsed().as_secs_f32()))
    }

    /// The verdict and what to do next.
    pub(super) fn finish(self) -> anyhow::Result<ExitCode> {
        if self.n_misses > 0 {
            output::line(format_args!("\n{}", self.paint.red(format_args!("{} missed.", self.n_misses))))?;
            return Ok(ExitCode::FAILURE);
        }
        let paint = self.paint;
        let took = self.began.elapsed().as_secs_f32();
        output::line(format_args!("\n{} in {took:.1} s.\n", paint.bold("Everything worked")))?;
        output::line("What to do next:")?;
        for (command, what) in [
            ("sandscope serve --dev", "run a server; it prints what the official clients need:"),
            ("export E2B_API_URL=… E2B_SANDBOX_URL=… E2B_DOMAIN=… E2B_API_KEY=…", "paste these, then"),
            ("npm install e2b   or   pip install e2b", "use the SDKs as their documentation says"),
            ("sandscope sandbox create && sandscope sandbox list", "or this command line"),
            ("sandscope events", "see what happened"),
        ] {
            output::line(format_args!("  {}\n      {}", paint.cyan(command), paint.dim(what)))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn human(took: Duration) -> String {
    if took < Duration::from_secs(1) {
        format!("{:.1} ms", took.as_secs_f64() * 1000.0)
    } else {
        format!("{:.2} s", took.as_secs_f64())
    }
}
