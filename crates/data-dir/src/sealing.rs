//! What webhooks' secrets are sealed with: keys from the configuration, or one of the data directory's own.
//!
//! The key seals what leaves the machine without it: a copy of the database, a backup. Whoever can read the data
//! directory has both, unless the key is configured. Changing it: put the new key in front of the old one and start;
//! everything is sealed again before the server serves, and the old one can go.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use sandscope_model::{Entropy, Secret};
use sandscope_store::{Deliveries, SEALING_KEY_BYTES, Sealer, StoreError};

use crate::{DataDir, own};

const FILE: &str = "webhooks.key";

type Key = [u8; SEALING_KEY_BYTES];

/// A sealer, and the key's file where this start made it.
#[derive(Debug)]
pub struct Sealing {
    /// Seals with the current key and opens with every known one.
    pub sealer: Sealer,
    /// The key's file, if this start made it.
    pub made: Option<PathBuf>,
}

/// The sealer that holds: the first configured key, else the data directory's, which is made where missing. Every
/// other one still opens.
///
/// # Errors
/// If a configured key is invalid, or the key file cannot be read or made.
pub fn sealer(
    data_dir: &DataDir,
    configured: &[Secret],
    entropy: &Arc<dyn Entropy>,
) -> anyhow::Result<Sealing> {
    let mut keys = known(data_dir.path(), configured)?;
    let path = data_dir.path().join(FILE);
    let made = keys.is_empty().then_some(path);
    if let Some(path) = &made {
        keys.push(make(path, &**entropy)?);
    }
    let (current, previous) = keys.split_first().context("there is no sealing key")?;
    Ok(Sealing { sealer: Sealer::new(current, previous, Arc::clone(entropy))?, made })
}

/// What opens secrets that were sealed earlier, for those who only look; none where nothing can be sealed yet.
///
/// # Errors
/// If a configured key is invalid or the key file cannot be read.
pub fn opener(
    data_dir: &Path,
    configured: &[Secret],
    entropy: &Arc<dyn Entropy>,
) -> anyhow::Result<Option<Sealer>> {
    let keys = known(data_dir, configured)?;
    let Some((current, previous)) = keys.split_first() else { return Ok(None) };
    Ok(Some(Sealer::new(current, previous, Arc::clone(entropy))?))
}

fn known(data_dir: &Path, configured: &[Secret]) -> anyhow::Result<Vec<Key>> {
    let mut keys: Vec<Key> = Vec::new();
    for key in configured {
        keys.push(parse(key.expose()).context("a sealing key is not 64 hexadecimal digits")?);
    }
    keys.extend(read(&data_dir.join(FILE))?);
    Ok(keys)
}

/// Seals everything with the current key. A store that cannot be written serves reads all the same.
///
/// # Errors
/// If the key that sealed a webhook's secret is missing, or the store cannot be read.
pub async fn reseal(deliveries: &Deliveries, made: Option<PathBuf>) -> anyhow::Result<()> {
    match deliveries.reseal_webhooks().await {
        Ok(0) => Ok(()),
        Ok(n_webhooks) => {
            tracing::info!(n_webhooks, "secrets of webhooks were sealed with the current key");
            Ok(())
        }
        Err(error @ StoreError::Sealed) => {
            // Nothing was sealed with a key made just now, and its file would look like the one that is missing.
            if let Some(Err(error)) = made.map(std::fs::remove_file) {
                tracing::warn!(%error, "webhooks.key was made by this start and cannot be removed");
            }
            Err(error).context(
                "the key that webhooks' secrets were sealed with is missing: restore it to webhooks.key in the data \
                 directory or add it to the configured sealing keys",
            )
        }
        Err(error) => {
            tracing::warn!(%error, "secrets of webhooks could not be sealed");
            Ok(())
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Option<Key>> {
    let text = own::open_file(path, OpenOptions::new().read(true)).and_then(std::io::read_to_string);
    match text {
        Ok(text) => {
            let key = parse(text.trim()).with_context(|| format!("{} holds no key", path.display()))?;
            Ok(Some(key))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn make(path: &Path, entropy: &dyn Entropy) -> anyhow::Result<Key> {
    let mut key = [0; SEALING_KEY_BYTES];
    entropy.fill(&mut key);
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    write(path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(key)
}

/// On the disk before anything is sealed with it, and never half.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let half = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = own::open_file(&half, options.write(true).create(true).truncate(true).mode(0o600))?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    std::fs::rename(&half, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn parse(text: &str) -> Option<Key> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c.to_digit(16)?).ok()).collect();
    let bytes: Vec<u8> =
        digits?.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    (text.len() == SEALING_KEY_BYTES * 2).then_some(())?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use sandscope_system::OsEntropy;

    #[test]
    fn a_key_is_made_once_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        assert_eq!(read(&path).unwrap(), None);
        let key = make(&path, &OsEntropy).unwrap();
        assert_eq!(read(&path).unwrap(), Some(key));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "short").unwrap();
        assert!(read(&path).is_err(), "a damaged key is not replaced: it would make every secret unreadable");
    }
}
