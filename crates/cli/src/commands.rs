//! What each of the commands does, and what they share: the client, and the way into a sandbox.

pub(crate) mod alert;
pub(crate) mod connect;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod files;
pub(crate) mod logs;
pub(crate) mod node;
pub(crate) mod sandbox;
pub(crate) mod top;
pub(crate) mod webhook;

use anyhow::{Context as _, bail};
use sandscope_client::{Client, ClientOptions, Command, Sandbox};

use crate::arguments::{ProcessArgs, ServerArgs};

/// Where a server listens without a setting.
const DEFAULT_API_URL: &str = "http://127.0.0.1:3000";

/// A client for the server the user named.
pub(crate) fn client(server: ServerArgs) -> anyhow::Result<Client> {
    let ServerArgs { api_url, sandbox_url, domain, api_key, ca_file } = server;
    let api_key = api_key
        .context("no API key: set E2B_API_KEY (printed at the server's first start) or make one with `sandscope key create`")?;
    let (api_url, sandbox_url) = addresses(api_url, sandbox_url, domain);
    let options = ClientOptions { api_url, sandbox_url, api_key };
    Ok(Client::trusting(&options, ca_file.as_deref())?)
}

/// Where the server is. A name of its own is enough, as it is for the official clients; `localhost` is what servers
/// without one print.
fn addresses(
    api_url: Option<String>,
    sandbox_url: Option<String>,
    domain: Option<String>,
) -> (String, Option<String>) {
    let domain = domain.filter(|domain| !domain.is_empty() && domain != "localhost");
    match (api_url, domain) {
        (Some(api_url), _) => (api_url, sandbox_url),
        (None, Some(domain)) => {
            let sandbox_url = sandbox_url.unwrap_or_else(|| format!("https://sandbox.{domain}"));
            (format!("https://api.{domain}"), Some(sandbox_url))
        }
        (None, None) => (DEFAULT_API_URL.to_owned(), sandbox_url),
    }
}

/// What is needed to work inside a running sandbox. To look at one must not change it: a paused one stays paused.
pub(crate) async fn enter(client: &Client, id: &str) -> anyhow::Result<Sandbox> {
    let (sandbox, state) = match client.access(id).await {
        Err(error) if error.status() == Some(404) => {
            return Err(error).context(format!(
                "sandbox {id} is neither running nor paused; if it has ended, `sandscope sandbox info {id}` says how"
            ));
        }
        other => other?,
    };
    if state != "running" {
        bail!("sandbox {id} is {state}: `sandscope sandbox resume {id}` continues it");
    }
    Ok(sandbox)
}

/// `command` as the user wants it run.
pub(crate) fn as_wanted(command: Command, wanted: ProcessArgs) -> Command {
    let ProcessArgs { user, cwd, env } = wanted;
    let mut command = Command { user, cwd, ..command };
    command.envs.extend(env);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_goes_before_a_domain_and_localhost_is_none() {
        let ask = |api: Option<&str>, sandbox: Option<&str>, domain: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            addresses(owned(api), owned(sandbox), owned(domain))
        };
        let default = (DEFAULT_API_URL.to_owned(), None);
        assert_eq!(ask(None, None, None), default);
        assert_eq!(ask(None, None, Some("localhost")), default);
        let named = ("https://api.x.org:8443".to_owned(), Some("https://sandbox.x.org:8443".to_owned()));
        assert_eq!(ask(None, None, Some("x.org:8443")), named);
        assert_eq!(ask(Some("http://a"), None, Some("x.org")), ("http://a".to_owned(), None));
        assert_eq!(ask(None, Some("http://s"), Some("x.org")).1.as_deref(), Some("http://s"));
    }
}
