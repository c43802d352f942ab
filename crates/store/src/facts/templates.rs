//! Templates, their builds and tags.

use rusqlite::{Connection, params};
use sandscope_model::{Build, BuildId, SandboxId, TeamId, Template, TemplateId, TemplateKind};

use crate::sqlite::row::{Cells, all, exists, first, only, to_json, to_name};
use crate::sqlite::writer::Tx;
use crate::{Facts, StoreError};

/// The tag a reference without one means.
const DEFAULT_TAG: &str = "default";

/// What came of a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeleteTemplate {
    /// It is gone; these builds' files may go too.
    Deleted(Vec<BuildId>),
    /// The team has no such template.
    NotFound,
    /// A sandbox that is not gone was made from it.
    InUse,
    /// It comes with the server.
    Shipped,
}

/// `id`, `name` or `slug/name`, each with an optional `:tag`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    pub(crate) slug: Option<&'a str>,
    pub(crate) name: &'a str,
    pub(crate) tag: Option<&'a str>,
}

impl<'a> Reference<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let (path, tag) = text.split_once(':').map_or((text, None), |(path, tag)| (path, Some(tag)));
        let (slug, name) = path.split_once('/').map_or((None, path), |(slug, name)| (Some(slug), name));
        Self { slug, name, tag }
    }
}

pub(crate) const TEMPLATE_COLUMNS: &str = "m.id, t.id AS team_id, m.name, m.kind, m.created_at";
pub(crate) const BUILD_COLUMNS: &str = "b.id AS build_id, b.template_id, b.rootfs, b.vcpu_count, b.memory_mb, b.disk_mb, \
     b.source_sandbox_id, b.created_at AS built_at";

pub(crate) fn decode_template(cells: &mut Cells<'_, '_>) -> Result<Template, StoreError> {
    Ok(Template {
        id: cells.id("id")?,
        team_id: cells.optional_uuid("team_id")?,
        name: cells.plain("name")?,
        kind: cells.name("kind")?,
        created_at: cells.time("created_at")?,
    })
}

pub(crate) fn decode_build(cells: &mut Cells<'_, '_>) -> Result<Build, StoreError> {
    Ok(Build {
        id: cells.uuid("build_id")?,
        template_id: cells.id("template_id")?,
        rootfs: cells.json("rootfs")?,
        vcpu_count: cells.number("vcpu_count")?,
        memory_mb: cells.number("memory_mb")?,
        disk_mb: cells.number("disk_mb")?,
        source_sandbox_id: cells.optional_id("source_sandbox_id")?,
        created_at: cells.time("built_at")?,
    })
}

pub(crate) fn insert_template(
    connection: &Connection,
    team_no: Option<i64>,
    template: &Template,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO templates (id, team_no, name, kind, created_at) VALUES (?, ?, ?, ?, ?)")?
        .execute(params![
            template.id.as_str(),
            team_no,
            template.name,
            to_name(&template.kind)?,
            template.created_at.as_microsecond(),
        ])?;
    Ok(())
}

pub(crate) fn insert_build(
    connection: &Connection,
    node_no: i64,
    template_id: &TemplateId,
    build: &Build,
    tag: &str,
) -> Result<(), StoreError> {
    // Within one template no two builds share their time, so that time and template are a position in a list.
    let newest: Option<i64> = connection
        .prepare_cached("SELECT MAX(created_at) FROM builds WHERE template_id = ?")?
        .query_row([template_id.as_str()], only)?;
    let created_at = newest.map_or(i64::MIN, |newest| newest + 1).max(build.created_at.as_microsecond());
    connection
        .prepare_cached(
            "INSERT INTO builds (id, template_id, rootfs, vcpu_count, memory_mb, disk_mb, source_sandbox_id,
                 created_at, node_no)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            build.id.as_uuid().as_bytes(),
            template_id.as_str(),
            to_json(&build.rootfs)?,
            build.vcpu_count,
            build.memory_mb,
            build.disk_mb,
            build.source_sandbox_id.as_ref().map(SandboxId::as_str),
            created_at,
            node_no,
        ])?;
    connection
        .prepare_cached(
            "INSERT INTO tags (template_id, tag, build_id) VALUES (?, ?, ?)
             ON CONFLICT DO UPDATE SET build_id = excluded.build_id",
        )?
        .execute(params![template_id.as_str(), tag, build.id.as_uuid().as_bytes()])?;
    Ok(())
}

/// The template a reference means to the team: what has that id, then the shipped one of that name, then the team's own.
/// A shipped name always means the shipped template; the team's own of that name, if an earlier version let it be made, is
/// `slug/name`.
fn find(
    connection: &Connection,
    team: TeamId,
    reference: &Reference<'_>,
) -> Result<Option<Template>, StoreError> {
    let select = |condition: &str| {
        format!(
            "SELECT {TEMPLATE_COLUMNS} FROM templates m LEFT JOIN teams t ON t.no = m.team_no WHERE {condition}"
        )
    };
    let Reference { slug, name, .. } = reference;
    let id = team.as_uuid().as_bytes();
    let by_id = select("m.id = ?2 AND (t.id = ?1 OR m.team_no IS NULL) AND (?3 IS NULL OR t.slug = ?3)");
    let found =
        first(connection.prepare_cached(&by_id)?, params![id, name, slug], "templates", decode_template)?;
    if found.is_some() {
        return Ok(found);
    }
    if slug.is_none() {
        let shipped = select("m.team_no IS NULL AND m.name = ?1");
        let found = first(connection.prepare_cached(&shipped)?, [name], "templates", decode_template)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    let own = select("t.id = ?1 AND m.name = ?2 AND (?3 IS NULL OR t.slug = ?3)");
    first(connection.prepare_cached(&own)?, params![id, name, slug], "templates", decode_template)
}

fn tagged_build(
    connection: &Connection,
    template: &TemplateId,
    tag: &str,
) -> Result<Option<Build>, StoreError> {
    let sql = format!(
        "SELECT {BUILD_COLUMNS} FROM tags g JOIN builds b ON b.id = g.build_id
         WHERE g.template_id = ? AND g.tag = ?"
    );
    first(connection.prepare_cached(&sql)?, [template.as_str(), tag], "builds", decode_build)
}

fn delete(tx: &Tx<'_>, team: TeamId, reference: &str) -> Result<DeleteTemplate, StoreError> {
    let reference = Reference::parse(reference);
    let Some(template) = find(tx, team, &reference)? else { return Ok(DeleteTemplate::NotFound) };
    if template.team_id.is_none() {
        return Ok(DeleteTemplate::Shipped);
    }
    let id = template.id.as_str();
    let only = match reference.tag {
        Some(tag) => match tagged_build(tx, &template.id, tag)? {
            None => return Ok(DeleteTemplate::NotFound),
            Some(build) => {
                let others = "SELECT 1 FROM tags WHERE template_id = ? AND tag <> ?";
                exists(tx, others, [id, tag])?.then_some((tag, build.id))
            }
        },
        None => None,
    };
    let builds = match only {
        Some((_, build)) => vec![build],
        None => {
            all(tx.prepare_cached("SELECT id FROM builds WHERE template_id = ?")?, [id], "builds", |cells| {
                cells.uuid("id")
            })?
        }
    };
    for build in &builds {
        let used = "SELECT 1 FROM sandboxes WHERE build_id = ? AND state <> 'killed'";
        if exists(tx, used, [build.as_uuid().as_bytes()])? {
            return Ok(DeleteTemplate::InUse);
        }
    }
    if let Some((tag, build)) = only {
        tx.prepare_cached("DELETE FROM tags WHERE template_id = ? AND tag = ?")?.execute([id, tag])?;
        let shared = exists(tx, "SELECT 1 FROM tags WHERE build_id = ?", [build.as_uuid().as_bytes()])?;
        if shared {
            return Ok(DeleteTemplate::Deleted(Vec::new()));
        }
        tx.prepare_cached("DELETE FROM builds WHERE id = ?")?.execute([build.as_uuid().as_bytes()])?;
    } else {
        tx.prepare_cached("DELETE FROM tags WHERE template_id = ?")?.execute([id])?;
        tx.prepare_cached("DELETE FROM builds WHERE template_id = ?")?.execute([id])?;
        tx.prepare_cached("DELETE FROM templates WHERE id = ?")?.execute([id])?;
    }
    Ok(DeleteTemplate::Deleted(builds))
}

impl Facts {
    /// Stores a template that comes with the server, with its build under the tag `default`, unless there is one of
    /// that name already.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn ensure_template(&self, template: Template, build: Build) -> Result<(), StoreError> {
        let node_no = self.node_no;
        let op = move |tx: &mut Tx<'_>| {
            let there = "SELECT 1 FROM templates WHERE team_no IS NULL AND name = ?";
            if exists(tx, there, [&template.name])? {
                return Ok(());
            }
            insert_template(tx, None, &template)?;
            insert_build(tx, node_no, &template.id, &build, DEFAULT_TAG)
        };
        self.file().write(op).await
    }

    /// What a reference (`id`, `name` or `slug/name`, each with an optional `:tag`) means to the team: a
    /// shipped name always means the shipped template, and another team's templates are never meant.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn resolve_template(
        &self,
        team: TeamId,
        reference: &str,
    ) -> Result<Option<(Template, Build)>, StoreError> {
        let reference = reference.to_owned();
        let op = move |connection: &Connection| {
            let reference = Reference::parse(&reference);
            let Some(template) = find(connection, team, &reference)? else { return Ok(None) };
            let build = tagged_build(connection, &template.id, reference.tag.unwrap_or(DEFAULT_TAG))?;
            Ok(build.map(|build| (template, build)))
        };
        self.file().read(op).await
    }

    /// The templates the team may use, its own and the shipped ones, newest first, each with its newest build.
    /// Snapshots are not among them.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn templates(&self, team: TeamId) -> Result<Vec<(Template, Build)>, StoreError> {
        let op = move |connection: &Connection| {
            let sql = format!(
                "SELECT {TEMPLATE_COLUMNS}, {BUILD_COLUMNS}
                 FROM templates m LEFT JOIN teams t ON t.no = m.team_no JOIN builds b ON b.id =
                     (SELECT id FROM builds WHERE template_id = m.id ORDER BY created_at DESC LIMIT 1)
                 WHERE (t.id = ?1 OR m.team_no IS NULL) AND m.kind = ?2 ORDER BY m.created_at DESC, m.id"
            );
            let values = params![team.as_uuid().as_bytes(), to_name(&TemplateKind::Template)?];
            all(connection.prepare_cached(&sql)?, values, "templates", |cells| {
                Ok((decode_template(cells)?, decode_build(cells)?))
            })
        };
        self.file().read(op).await
    }

    /// The template that a name (`name` or `slug/name`) means to the team. Another team's name answers as one that nobody
    /// has: names are each team's own, so it is free.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn template_named(&self, team: TeamId, name: &str) -> Result<Option<Template>, StoreError> {
        let name = name.to_owned();
        let op = move |connection: &Connection| {
            let reference = Reference::parse(&name);
            let found = find(connection, team, &reference)?;
            Ok(found.filter(|template| template.name.as_deref() == Some(reference.name)))
        };
        self.file().read(op).await
    }

    /// The names of those of the templates and snapshots that are the team's or shipped, and have one.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn template_names(
        &self,
        team: TeamId,
        ids: Vec<TemplateId>,
    ) -> Result<Vec<(TemplateId, String)>, StoreError> {
        let op = move |connection: &Connection| {
            let mut names = Vec::new();
            for id in ids {
                let named = "SELECT m.name FROM templates m LEFT JOIN teams t ON t.no = m.team_no
                     WHERE m.id = ?2 AND (t.id = ?1 OR m.team_no IS NULL) AND m.name IS NOT NULL";
                let values = params![team.as_uuid().as_bytes(), id.as_str()];
                let name = first(connection.prepare_cached(named)?, values, "templates", |cells| {
                    cells.plain("name")
                })?;
                names.extend(name.map(|name| (id, name)));
            }
            Ok(names)
        };
        self.file().read(op).await
    }

    /// Deletes a template or snapshot of the team with all its builds; with a `:tag` that is not its only one, only
    /// that tag and its build.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn delete_template(&self, team: TeamId, reference: &str) -> Result<DeleteTemplate, StoreError> {
        let reference = reference.to_owned();
        self.file().write_making_room(move |tx: &mut Tx<'_>| delete(tx, team, &reference)).await
    }
}
