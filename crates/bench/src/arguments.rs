use clap::{Args, ValueEnum};

/// What `sandscope bench` measures, and how much of it.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Figures to measure [default: all]
    #[arg(value_enum)]
    pub figures: Vec<Figure>,
    /// Sandboxes made per create figure
    #[arg(long, default_value_t = 100)]
    pub creates: usize,
    /// Idle sandboxes for the memory and sampler figures
    #[arg(long, default_value_t = 50)]
    pub idle: usize,
    /// Sandboxes whose metrics are stored before ranges are queried
    #[arg(long, default_value_t = 1_000)]
    pub stored: usize,
    /// Days of stored metrics
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=7))]
    pub days: u32,
    /// Maximum minutes for storing them
    #[arg(long, default_value_t = 15)]
    pub fill_minutes: u64,
    /// Events stored before the history is queried
    #[arg(long, default_value_t = 1_000_000)]
    pub events: usize,
    /// Size of the large bodies of the edge figures, in MiB
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=65536))]
    pub mib: u64,
    /// Streams that read at once
    #[arg(long, default_value_t = 1_000)]
    pub readers: usize,
    /// Deliveries per webhook figure, and a tenth as many endpoints where there are many
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(200..=1_000_000))]
    pub deliveries: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Figure {
    /// Create through HTTP, 1 and 16 in flight
    Create,
    /// Memory per idle sandbox, and the server's own
    Memory,
    /// CPU the sampler takes
    Sampler,
    /// Event committed to webhook received
    Webhook,
    /// Deliveries by themselves: throughput, latency, bad company, restart, replay, idle
    Webhooks,
    /// A command, large bodies and 1,000 streams through the edge
    Edge,
    /// Pages of a long history: newest, by cursor; commits one after the other
    History,
    /// Event committed to received by many streams
    Streams,
    /// Stored metrics: bytes per sample, ranges of an hour, a day and a week; not among all
    Metrics,
    /// CPU of sampling 100, 500, 1,000 sandboxes (up to --idle) in both ways, scrape of all; not among all
    Monitoring,
    /// A picture of `top` with 100 sandboxes
    Top,
    /// Metrics beside what is known to have been used; needs stress-ng, and is not among all
    Accuracy,
}
