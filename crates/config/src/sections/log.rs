use sandscope_telemetry::{LogFormat, check_filter};

use crate::kind::{choice, text};
use crate::setting::section;

section! {
    /// The server's own records, on standard error.
    pub Log in "log" said "log" {
        /// Which records are logged, for example `info,sandscope_webhooks=debug`
        filter: String = text("info", "a filter such as info", |text| check_filter(text).is_ok()),
            key "filter", flag "log" "FILTER", env "SANDSCOPE_LOG";
        /// How records are written: auto, text or json
        format: LogFormat =
            choice(LogFormat::Auto, "auto, text or json", |text| text.parse().ok(), |format| format.as_str()),
            key "format", flag "log-format" "FORMAT", env "SANDSCOPE_LOG_FORMAT";
    }
}
