use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use sandscope_model::{ApiKey, ApiKeyId, Clock as _, Team, Timestamp, when};
use sandscope_store::{Facts, NewApiKey, Store};
use sandscope_wire::key::{DeletedTeamApiKey, TeamApiKey};

use crate::arguments::KeyCommand;
use sandscope_config::{Arguments, Config, DataDirectory};
use sandscope_console::output::{self, Paint};
use sandscope_model::keys;
use sandscope_system::{OsEntropy, SystemClock};

/// `sandscope key …`: opens the data directory itself, also beside a running server.
pub(crate) async fn run(command: KeyCommand) -> anyhow::Result<ExitCode> {
    let (KeyCommand::Create { settings, .. }
    | KeyCommand::List { settings, .. }
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
        KeyCommand::List { deleted, json, .. } => {
            let keys: Vec<_> = if *deleted {
                let deleted = facts.deleted_api_keys(team.id).await?;
                deleted.into_iter().map(|one| (one.key, Some(one.deleted_at))).collect()
            } else {
                facts.api_keys(team.id).await?.into_iter().map(|key| (key, None)).collect()
            };
            list(&keys, *json)?;
        }
        KeyCommand::Delete { id, .. } => {
            let id: ApiKeyId = id.parse().context("the id is the first column of `sandscope key list`")?;
            if !facts.delete_api_key(team.id, id, SystemClock.now()).await? {
                anyhow::bail!("there is no API key {id}; `sandscope key list` shows the ids");
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

fn list(keys: &[(ApiKey, Option<Timestamp>)], json: bool) -> anyhow::Result<()> {
    if json {
        return keys.iter().try_for_each(|(key, deleted_at)| {
            let about = TeamApiKey::from(key);
            let line = match *deleted_at {
                Some(deleted_at) => serde_json::to_string(&DeletedTeamApiKey { about, deleted_at })?,
                None => serde_json::to_string(&about)?,
            };
            Ok(output::line(line)?)
        });
    }
    output::line(table(keys, SystemClock.now()))?;
    Ok(())
}

/// What may be shown of a key.
fn shown(key: &ApiKey) -> String {
    format!("{}{}…{}", key.mask.prefix, key.mask.masked_value_prefix, key.mask.masked_value_suffix)
}

fn table(keys: &[(ApiKey, Option<Timestamp>)], now: Timestamp) -> String {
    let row = |(key, deleted_at): &(ApiKey, Option<Timestamp>)| {
        let used = key.last_used_at.map_or_else(|| "never".to_owned(), |at| when::with_age(at, now));
        let mut row = vec![
            key.id.to_string(),
            shown(key),
            output::printable(&key.name),
            when::with_age(key.created_at, now),
            used,
        ];
        row.extend(deleted_at.map(|at| when::with_age(at, now)));
        row
    };
    let rows: Vec<Vec<String>> = keys.iter().map(row).collect();
    let head = ["ID", "KEY", "NAME", "CREATED", "LAST USED", "DELETED"];
    let n_columns = rows.first().map_or(5, Vec::len);
    output::table(head.get(..n_columns).unwrap_or(&head), &rows, Paint::for_stdout())
}
