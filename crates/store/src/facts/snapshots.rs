//! Snapshots: templates that were taken of a sandbox.

use std::fmt::Write;

use rusqlite::types::ToSql;
use rusqlite::{Connection, params};
use sandscope_model::{
    Build, BuildId, Rootfs, SandboxId, TeamId, Template, TemplateId, TemplateKind, Timestamp,
};

use crate::facts::commit::NewSnapshot;
use crate::facts::templates::{
    BUILD_COLUMNS, Reference, TEMPLATE_COLUMNS, decode_build, decode_template, insert_build, insert_template,
};
use crate::sqlite::row::{all, first, to_name};
use crate::{Facts, Page, StoreError};

/// Which snapshots are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotFilter {
    /// Only those taken of this sandbox.
    pub source_sandbox_id: Option<SandboxId>,
    /// Only those of this name.
    pub name: Option<String>,
}

/// Stores a snapshot under the team's template of that name, or a new one. Returns the template used.
pub(crate) fn insert(
    connection: &Connection,
    team_no: i64,
    node_no: i64,
    snapshot: NewSnapshot,
) -> Result<TemplateId, StoreError> {
    let NewSnapshot { template, build, tag } = snapshot;
    let statement = connection.prepare_cached("SELECT id FROM templates WHERE team_no = ? AND name = ?")?;
    let existing = match &template.name {
        Some(name) => first(statement, params![team_no, name], "templates", |cells| cells.id("id"))?,
        None => None,
    };
    let template_id = match existing {
        Some(id) => id,
        None => {
            insert_template(connection, Some(team_no), &template)?;
            template.id
        }
    };
    insert_build(connection, node_no, &template_id, &build, &tag)?;
    Ok(template_id)
}

fn list(
    connection: &Connection,
    team: TeamId,
    filter: &SnapshotFilter,
    page: &Page<(Timestamp, TemplateId)>,
) -> Result<Vec<(Template, Build, String)>, StoreError> {
    let mut sql = format!(
        "SELECT {TEMPLATE_COLUMNS}, {BUILD_COLUMNS}, g.tag
         FROM teams t JOIN templates m ON m.team_no = t.no JOIN tags g ON g.template_id = m.id
             JOIN builds b ON b.id = g.build_id
         WHERE t.id = ? AND m.kind = ?"
    );
    let mut values: Vec<Box<dyn ToSql>> =
        vec![Box::new(*team.as_uuid().as_bytes()), Box::new(to_name(&TemplateKind::Snapshot)?)];
    if let Some(id) = &filter.source_sandbox_id {
        sql.push_str(" AND b.source_sandbox_id = ?");
        values.push(Box::new(id.as_str().to_owned()));
    }
    if let Some(name) = &filter.name {
        let Reference { slug, name, tag } = Reference::parse(name);
        for (column, value) in [("t.slug", slug), ("m.name", Some(name)), ("g.tag", tag)] {
            if let Some(value) = value {
                // Writing to a String cannot fail.
                let _ = write!(sql, " AND {column} = ?");
                values.push(Box::new(value.to_owned()));
            }
        }
    }
    if let Some((at, id)) = &page.after {
        sql.push_str(" AND (b.created_at, m.id) < (?, ?)");
        values.push(Box::new(at.as_microsecond()));
        values.push(Box::new(id.as_str().to_owned()));
    }
    sql.push_str(" ORDER BY b.created_at DESC, m.id DESC LIMIT ?");
    values.push(Box::new(page.limit));
    let values = rusqlite::params_from_iter(values);
    all(connection.prepare_cached(&sql)?, values, "templates", |cells| {
        Ok((decode_template(cells)?, decode_build(cells)?, cells.plain("tag")?))
    })
}

fn layers(connection: &Connection, of_node: &str, node_no: i64) -> Result<Vec<BuildId>, StoreError> {
    let sql = format!("SELECT DISTINCT rootfs FROM builds WHERE {of_node}");
    let found =
        all(connection.prepare_cached(&sql)?, [node_no], "builds", |cells| cells.json::<Rootfs>("rootfs"))?;
    let layer = |rootfs| match rootfs {
        Rootfs::Snapshot(layer) => Some(layer),
        Rootfs::Host => None,
    };
    Ok(found.into_iter().filter_map(layer).collect())
}

impl Facts {
    /// The captured layers that lie on this node and that builds of any team start from.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn captured_layers(&self) -> Result<Vec<BuildId>, StoreError> {
        let node_no = self.node_no;
        self.file().read(move |connection| layers(connection, "node_no = ?", node_no)).await
    }

    /// The same of all other nodes.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn layers_elsewhere(&self) -> Result<Vec<BuildId>, StoreError> {
        let node_no = self.node_no;
        self.file().read(move |connection| layers(connection, "node_no <> ?", node_no)).await
    }

    /// The team's snapshots, newest first, one entry for each tag. Positions are the build's `created_at` and the
    /// template's id.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn snapshots(
        &self,
        team: TeamId,
        filter: SnapshotFilter,
        page: Page<(Timestamp, TemplateId)>,
    ) -> Result<Vec<(Template, Build, String)>, StoreError> {
        self.file().read(move |connection| list(connection, team, &filter, &page)).await
    }
}
