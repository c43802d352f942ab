//! The machines that share a store, and which of them this is.
//!
//! A sandbox lives on one machine, and so does the layer of a build. What a machine looks after (recovery, agreement
//! between store and host, retention) concerns its own rows only; what clients ask for concerns all of them.

use rusqlite::{Connection, params};
use sandscope_model::NodeId;

use crate::sqlite::row::first;
use crate::sqlite::writer::Tx;
use crate::{Facts, StoreError};

fn no_of(connection: &Connection, id: NodeId) -> Result<Option<i64>, StoreError> {
    let statement = connection.prepare_cached("SELECT no FROM nodes WHERE id = ?")?;
    first(statement, [id.as_uuid().as_bytes()], "nodes", |cells| cells.plain("no"))
}

impl Facts {
    /// The machine on whose behalf this handle writes and reads.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn node(&self) -> Result<NodeId, StoreError> {
        let no = self.node_no;
        let op = move |connection: &Connection| {
            let statement = connection.prepare_cached("SELECT id FROM nodes WHERE no = ?")?;
            first(statement, [no], "nodes", |cells| cells.uuid("id"))
        };
        let found: Option<NodeId> = self.file().read(op).await?;
        found.ok_or_else(|| StoreError::Corrupt { table: "nodes", column: "no", row: no.to_string() })
    }

    /// The same store on behalf of another machine, which it gets to know if it does not yet.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn on_behalf_of_node(&self, id: NodeId) -> Result<Self, StoreError> {
        let op = move |tx: &mut Tx<'_>| {
            if let Some(no) = no_of(tx, id)? {
                return Ok(no);
            }
            tx.prepare_cached("INSERT INTO nodes (id) VALUES (?)")?
                .execute(params![id.as_uuid().as_bytes()])?;
            Ok(tx.last_insert_rowid())
        };
        let node_no = self.file().write(op).await?;
        Ok(Self { node_no, ..self.clone() })
    }
}
