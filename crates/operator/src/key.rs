use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use sandscope_model::{ApiKeyId, Clock as _, Team};
use sandscope_store::{Facts, NewApiKey, Store};

use crate::arguments::KeyCommand;
use sandscope_config::{Arguments, Config, DataDirectory};
use sandscope_console::output::{self, Paint};
use sandscope_model::keys;
use sandscope_system::{OsEntropy, SystemClock};

/// `sandscope key …`: opens the data directory itself, also beside a running server.
pub(crate) async fn run(command: KeyCommand) -> anyhow::Result<ExitCode> {
    let (KeyCommand::Create { settings, .. }
    | KeyCommand::List { settings }
    | KeyCommand::Delete { settings, .. }) = &command;
    let (store, team) = open(settings.as_ref().clone()).await?;
    let done = with(&command, &store.facts, &team).await;
    store.close().await;
    done
}

async fn with(command: &KeyCommand, facts: &Facts, team: &Team) -> anyhow::Result<ExitCode> {
    match command {
        KeyCommand::Create { name, .. } => {
            // The same bounds as the API's.
            anyhow::ensure!(
                (1..=128).contains(&name.chars().count()),
                "the name must be 1 to 128 characters long"
            );
            let fresh = keys::describe(keys::draw(&OsEntropy), team.id, name, SystemClock.now(), &OsEntropy);
            facts.insert_api_key(NewApiKey { key: fresh.key, hash: fresh.hash }).await?;
            output::line(fresh.text.expose())?;
        }
        KeyCommand::List { .. } => output::line(table(&facts.api_keys(team.id).await?))?,
        KeyCommand::Delete { id, .. } => {
            let id: ApiKeyId = id.parse().context("the id is the first column of `sandscope key list`")?;
            if !facts.delete_api_key(team.id, id).await? {
                output::line(format_args!("API key {id} wasn't found"))?;
                return Ok(ExitCode::FAILURE);
            }
            output::line(format_args!("API key {id} has been deleted"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn open(settings: Arguments<DataDirectory>) -> anyhow::Result<(Store, Team)> {
    let config = Config::resolve(settings.with_environment())?;
    let path = config.server.data_dir;
    // Opening makes what is missing, and a mistyped directory should stay as it is.
    anyhow::ensure!(
        path.join("facts.sqlite").is_file(),
        "{} is no data directory of a server: start the server once, or name its directory with --data-dir",
        path.display()
    );
    let store = Store::open(&path, Arc::new(SystemClock))?;
    let team = store.facts.teams().await?.into_iter().next();
    let team =
        team.with_context(|| format!("{} holds no team yet: start the server once", path.display()))?;
    Ok((store, team))
}

fn table(keys: &[sandscope_model::ApiKey]) -> String {
    let row = |key: &sandscope_model::ApiKey| {
        let shown =
            format!("{}{}…{}", key.mask.prefix, key.mask.masked_value_prefix, key.mask.masked_value_suffix);
        let used = key.last_used_at.map_or_else(|| "never".to_owned(), |at| format!("{at:.0}"));
        vec![key.id.to_string(), shown, key.name.clone(), format!("{:.0}", key.created_at), used]
    };
    let rows: Vec<Vec<String>> = keys.iter().map(row).collect();
    output::table(&["ID", "KEY", "NAME", "CREATED", "LAST USED"], &rows, Paint::for_stdout())
}
