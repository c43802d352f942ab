//! Where a data directory is at home: whose its sandboxes are, and whether it may deliver.
//!
//! What a copy says of sandboxes and deliveries is about another server. It is known for a copy by its `place`, which
//! whoever opens the directory compares; here it is only kept.

use rusqlite::{Connection, params};
use sandscope_model::Timestamp;

use crate::facts::webhooks;
use crate::sqlite::row::{Cells, first};
use crate::sqlite::writer::Tx;
use crate::{Deliveries, Facts, StoreError};

const FIND: &str = "SELECT instance, place, is_adopting, holds_deliveries FROM home WHERE no = 1";

/// What a data directory says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// Begins the names of everything its server makes on the host.
    pub instance: String,
    /// What the place is recognised by.
    pub place: String,
    /// It was adopted, and the sandboxes of its former place have not been ended in the log yet.
    pub is_adopting: bool,
    /// It was adopted, and nobody has said yet that it is to deliver.
    pub holds_deliveries: bool,
}

fn decode(cells: &mut Cells<'_, '_>) -> Result<Home, StoreError> {
    Ok(Home {
        instance: cells.plain("instance")?,
        place: cells.plain("place")?,
        is_adopting: cells.plain("is_adopting")?,
        holds_deliveries: cells.plain("holds_deliveries")?,
    })
}

fn find(connection: &Connection) -> Result<Option<Home>, StoreError> {
    first(connection.prepare_cached(FIND)?, [], "home", decode)
}

/// The same of a file that may be of an earlier version.
pub(crate) fn find_in(connection: &Connection) -> Result<Option<Home>, StoreError> {
    let is_there = connection
        .prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'home'")?
        .exists([])?;
    if is_there { find(connection) } else { Ok(None) }
}

fn settle(tx: &Tx<'_>, instance: &str, place: &str) -> Result<(), StoreError> {
    tx.prepare_cached("INSERT INTO home (no, instance, place) VALUES (1, ?, ?) ON CONFLICT DO NOTHING")?
        .execute(params![instance, place])?;
    Ok(())
}

/// Takes every webhook that delivers to the end of its log, and lets go of what it still had in hand.
fn pass_over_all(tx: &mut Tx<'_>, at: Timestamp) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM exceptions")?.execute([])?;
    tx.prepare_cached("UPDATE replays SET state = 'canceled', finished_at = ? WHERE state = 'running'")?
        .execute([at.as_microsecond()])?;
    let behind: Vec<([u8; 16], i64, i64)> = tx
        .prepare_cached(
            "SELECT w.id, w.cursor, t.last_sequence FROM webhooks w JOIN teams t ON t.no = w.team_no WHERE w.enabled",
        )?
        .query_map([], |row| Ok((row.get("id")?, row.get("cursor")?, row.get("last_sequence")?)))?
        .collect::<Result<_, _>>()?;
    for (id, cursor, last) in behind {
        webhooks::enable(tx, &id, cursor, last)?;
    }
    tx.webhooks_changed();
    Ok(())
}

impl Facts {
    /// What the data directory says of itself; `None` until a server has settled in it.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn home(&self) -> Result<Option<Home>, StoreError> {
        self.file().read(find).await
    }

    /// Settles where no server has settled yet. Whoever was first stays.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn settle(&self, instance: String, place: String) -> Result<(), StoreError> {
        self.file().write(move |tx| settle(tx, &instance, &place)).await
    }

    /// Says how the place is recognised from now on.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn recognise_home(&self, place: String) -> Result<(), StoreError> {
        let op = move |tx: &mut Tx<'_>| {
            tx.prepare_cached("UPDATE home SET place = ? WHERE no = 1")?.execute([place])?;
            Ok(())
        };
        self.file().write(op).await
    }

    /// Makes a directory that came from elsewhere this place's own: another instance and another node, which delivers
    /// nothing until it is [told to](Deliveries::release).
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn adopt(&self, instance: String, place: String) -> Result<(), StoreError> {
        let node_no = self.node_no;
        let op = move |tx: &mut Tx<'_>| {
            settle(tx, &instance, &place)?;
            tx.prepare_cached(
                "UPDATE home SET instance = ?, place = ?, is_adopting = 1, holds_deliveries = 1 WHERE no = 1",
            )?
            .execute(params![instance, place])?;
            tx.prepare_cached("UPDATE nodes SET id = randomblob(16) WHERE no = ?")?.execute([node_no])?;
            Ok(())
        };
        self.file().write(op).await
    }

    /// Says that the sandboxes of the former place have been ended in the log.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn end_adoption(&self) -> Result<(), StoreError> {
        let op = |tx: &mut Tx<'_>| {
            tx.prepare_cached("UPDATE home SET is_adopting = 0 WHERE no = 1")?.execute([])?;
            Ok(())
        };
        self.file().write(op).await
    }
}

impl Deliveries {
    /// Lets an adopted directory deliver: what happens from now on. What lies before is the former place's to deliver:
    /// each webhook passes over it, as one that was disabled does, so that it can be asked for as a replay.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn release(&self) -> Result<(), StoreError> {
        let at = self.inner.clock.now();
        let op = move |tx: &mut Tx<'_>| {
            pass_over_all(tx, at)?;
            tx.prepare_cached("UPDATE home SET holds_deliveries = 0 WHERE no = 1")?.execute([])?;
            Ok(())
        };
        self.file().write(op).await
    }
}
