//! The one door for changes of a sandbox: new values, event and snapshot in one transaction.

use std::sync::Arc;

use sandscope_model::{Build, Event, EventDraft, Fact, Sandbox, State, Template};

use crate::facts::teams::team_no;
use crate::facts::{events, sandboxes, snapshots};
use crate::sqlite::writer::Tx;
use crate::{Facts, StoreError};

/// A change of one sandbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The new values, with the generation the change was made from. Team, base template, build and creation are as
    /// admitted: they never change.
    pub sandbox: Sandbox,
    /// The event it owes.
    pub event: Option<EventDraft>,
    /// The snapshot taken with it.
    pub snapshot: Option<NewSnapshot>,
}

/// A snapshot about to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSnapshot {
    /// Its template. If it has a name and the team already has a template of that name, that one is used instead,
    /// and the event names it.
    pub template: Template,
    /// Its build; `template_id` follows the template used.
    pub build: Build,
    /// Under which tag the build is found from now on, for example `default`.
    pub tag: String,
}

fn commit(tx: &mut Tx<'_>, node_no: i64, change: Change) -> Result<Option<Event>, StoreError> {
    let Change { sandbox, event, snapshot } = change;
    let team_no = team_no(tx, sandbox.team_id)?;
    sandboxes::update(tx, &sandbox)?;
    let snapshot_template_id =
        snapshot.map(|snapshot| snapshots::insert(tx, team_no, node_no, snapshot)).transpose()?;
    let Some(mut draft) = event else { return Ok(None) };
    if let (Fact::Checkpointed { snapshot }, Some(used)) = (&mut draft.fact, snapshot_template_id) {
        *snapshot = used;
    }
    let event = events::append(tx, team_no, draft)?;
    tx.publish(Arc::new(event.clone()));
    Ok(Some(event))
}

impl Facts {
    /// Commits a change and returns its event with its number, once both are on disk. The generation stored is
    /// `change.sandbox.generation + 1`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the sandbox is no longer at that generation or does not exist; [`StoreError`] if
    /// the store cannot be written. Nothing has changed then.
    pub async fn commit(&self, change: Change) -> Result<Option<Event>, StoreError> {
        let node_no = self.node_no;
        // What ends a sandbox makes room, however full the disk is.
        let makes_room = matches!(change.sandbox.state, State::Killing { .. } | State::Killed { .. });
        let op = move |tx: &mut Tx<'_>| commit(tx, node_no, change);
        if makes_room { self.file().write_making_room(op).await } else { self.file().write(op).await }
    }
}
