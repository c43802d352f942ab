use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use sandscope_model::Secret;

use crate::Domain;
use crate::kind::{
    address, api_key, directory, domain, networks, optional_file, seconds, switch, token, whole,
};
use crate::rules::Rules;
use crate::setting::section;

section! {
    /// Addresses, data directory, TLS and access.
    pub Server in "server" said "" {
        /// Address to listen on; port 0 picks a free one
        listen: SocketAddr = address(([127, 0, 0, 1], 3000)),
            key "listen", flag "listen" "ADDRESS", env "SANDSCOPE_LISTEN";
        /// Directory of all data
        data_dir: PathBuf = directory("./.sandscope"),
            key "data_dir", flag "data-dir" "DIR", env "SANDSCOPE_DATA_DIR";
        /// Domain of `<port>-<sandboxID>.<domain>` host names, with a port if clients use another than the one
        /// listened on
        domain: Domain = domain(), key "domain", flag "domain" "NAME[:PORT]", env "SANDSCOPE_DOMAIN";
        /// Serve HTTPS with this certificate (PEM, leaf first); SIGHUP reads it again
        tls_cert: Option<PathBuf> = optional_file(),
            key "tls_cert", flag "tls-cert" "FILE", env "SANDSCOPE_TLS_CERT";
        /// The certificate's private key (PEM)
        tls_key: Option<PathBuf> = optional_file(),
            key "tls_key", flag "tls-key" "FILE", env "SANDSCOPE_TLS_KEY";
        /// Laptop profile: webhooks may go to loopback addresses
        dev: bool = switch(false), key "dev", flag "dev" "BOOL", env "SANDSCOPE_DEV";
        /// Connections at once
        max_connections: usize = whole(4096, 1..=1_000_000).map(|n| n as usize, |n| count(*n)),
            key "max_connections", flag "max-connections" "N", env "SANDSCOPE_MAX_CONNECTIONS";
        /// Connections at once of one address that shows no key; trusted proxies are not counted
        max_keyless_connections: usize = whole(1024, 1..=1_000_000).map(|n| n as usize, |n| count(*n)),
            key "max_keyless_connections", flag "max-keyless-connections" "N",
            env "SANDSCOPE_MAX_KEYLESS_CONNECTIONS";
        /// Event streams and waiting event requests of a team at once
        max_event_streams: usize = whole(1000, 0..=1_000_000).map(|n| n as usize, |n| count(*n)),
            key "max_event_streams", flag "max-event-streams" "N", env "SANDSCOPE_MAX_EVENT_STREAMS";
        /// Seconds a client may take for the head of a request
        header_timeout: Duration = seconds(30, 1..=600),
            key "header_timeout_s", flag "header-timeout-s" "SECONDS", env "SANDSCOPE_HEADER_TIMEOUT_S";
        /// Seconds that a shutdown waits for work in progress
        drain_timeout: Duration = seconds(10, 0..=600),
            key "drain_timeout_s", flag "drain-timeout-s" "SECONDS", env "SANDSCOPE_DRAIN_TIMEOUT_S";
        /// Networks of proxies whose X-Forwarded-For is trusted, for example 10.0.0.0/8
        trusted_proxies: Vec<IpNet> = networks(),
            key "trusted_proxies", flag "trusted-proxies" "NETWORK,…", env "SANDSCOPE_TRUSTED_PROXIES";
        /// The first team's API key; generated and printed once if not given
        first_api_key: Option<Secret> = api_key(), key "first_api_key", env "SANDSCOPE_FIRST_API_KEY";
        /// Token that operators send in X-Admin-Token to see the machine (`GET /nodes`); none: no access
        admin_token: Option<Secret> = token(), key "admin_token", env "SANDSCOPE_ADMIN_TOKEN";
    }
}

/// Where the certificate lies, each PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, then those that lead from it to one that clients know.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Server {
    /// Certificate and key; without, the server speaks plain HTTP.
    pub fn tls(&self) -> Option<TlsFiles> {
        Some(TlsFiles { cert: self.tls_cert.clone()?, key: self.tls_key.clone()? })
    }

    pub(crate) fn check(&self, rules: &mut Rules<'_>) {
        let holds = self.tls_cert.is_some() == self.tls_key.is_some();
        rules.check(holds, ("server", "tls_key"), "tls_cert and tls_key must be given together, or neither");
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
