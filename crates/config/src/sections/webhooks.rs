use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use sandscope_model::Secret;
use sandscope_outbound::{AllowedTarget, ProxyAddress};

use crate::kind::{delays, hours_or_never, keys, optional_file, ports, proxy, seconds, targets};
use crate::setting::section;

section! {
    /// Where deliveries may go, and how they are retried. They never go to loopback, private or otherwise special
    /// addresses, but for those that are allowed here.
    pub Webhooks in "webhooks" said "webhook" {
        /// Private networks that webhooks may use: 10.1.0.0/16, 10.1.2.3/32:8080 or 10.1.2.3/32:8000-8999
        allow: Vec<AllowedTarget> = targets(),
            key "allow", flag "webhook-allow" "NETWORK[:PORTS],…", env "SANDSCOPE_WEBHOOK_ALLOW";
        /// Deadline of one webhook attempt, in seconds
        attempt_timeout: Duration = seconds(10, 1..=300),
            key "timeout_s", flag "webhook-timeout-s" "SECONDS", env "SANDSCOPE_WEBHOOK_TIMEOUT_S";
        /// Waits before the second, third … attempt, in seconds
        retry_delays: Vec<Duration> = delays(&[10, 10, 10]),
            key "retry_delays_s", flag "webhook-retry-delays-s" "SECONDS,…",
            env "SANDSCOPE_WEBHOOK_RETRY_DELAYS_S";
        /// Hours without a success after which a webhook is disabled; 0 is never
        disable_after: Option<Duration> = hours_or_never(120, 8760),
            key "disable_after_hours", flag "webhook-disable-after-hours" "HOURS",
            env "SANDSCOPE_WEBHOOK_DISABLE_AFTER_HOURS";
        /// Ports that webhooks may not use, instead of the usual ones of other services
        deny_ports: Option<BTreeSet<u16>> = ports(),
            key "deny_ports", flag "webhook-deny-ports" "PORT,…", env "SANDSCOPE_WEBHOOK_DENY_PORTS";
        /// HTTP proxy through which webhooks go: http://proxy.internal:3128
        proxy: Option<ProxyAddress> = proxy(),
            key "proxy", flag "webhook-proxy" "URL", env "SANDSCOPE_WEBHOOK_PROXY";
        /// Authority (PEM) of receivers to trust beside the system's
        ca_file: Option<PathBuf> = optional_file(), key "ca_file", flag "webhook-ca-file" "FILE",
            env "SANDSCOPE_WEBHOOK_CA_FILE";
        /// Key that encrypts webhooks' secrets, then earlier keys; generated and kept in the
        /// data directory if not given
        sealing_keys: Vec<Secret> = keys(), key "sealing_keys", env "SANDSCOPE_SEALING_KEYS";
    }
}
