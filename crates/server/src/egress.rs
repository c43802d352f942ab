//! Where webhooks may go, by the configuration.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context as _;
use sandscope_config::Config;
use sandscope_outbound::{AllowedTarget, EgressRules, Tls};

/// The rules of `config` for a server that listens on `own_ports`.
pub(crate) fn egress_rules(config: &Config, own_ports: &BTreeSet<u16>) -> EgressRules {
    let webhooks = &config.webhooks;
    let loopback = if config.server.dev { AllowedTarget::loopback() } else { Vec::new() };
    let usual = EgressRules::default();
    EgressRules {
        allow: webhooks.allow.iter().cloned().chain(loopback).collect(),
        deny_ports: webhooks.deny_ports.clone().unwrap_or(usual.deny_ports),
        own_ports: own_ports.clone(),
        proxy: webhooks.proxy.clone(),
    }
}

/// How receivers prove who they are. A file that is of no use is refused before anything is made.
pub(crate) async fn receivers_tls(config: &Config) -> anyhow::Result<Arc<Tls>> {
    let file = config.webhooks.ca_file.as_deref();
    let tls = Tls::trusting(file);
    if file.is_some() {
        tls.ready().await.context("[webhooks] ca_file")?;
    }
    Ok(Arc::new(tls))
}
