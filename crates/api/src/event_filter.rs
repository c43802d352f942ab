//! Which events a client wants, and from where: the parameters that the histories and the stream share.

use sandscope_model::{EventFilter, EventType, KillReason, SandboxId, TeamId};
use sandscope_wire::metadata::decode_filter_or_plain;

use crate::App;
use crate::error::ApiError;
use crate::query::Query;
use crate::segments::echo;

/// Most labels one filter may name.
const MAX_LABELS: usize = 16;

/// The filter in `query`; of one sandbox where the path names it.
pub(crate) async fn read(
    app: &App,
    team: TeamId,
    query: &Query,
    sandbox_id: Option<SandboxId>,
) -> Result<EventFilter, ApiError> {
    let sandbox_id = match (sandbox_id, query.first("sandboxID").filter(|text| !text.is_empty())) {
        (None, Some(text)) => {
            let message = || ApiError::bad_request(format!("'{}' is not a sandbox ID", echo(text)));
            Some(text.parse().map_err(|_| message())?)
        }
        (of_path, _) => of_path,
    };
    let template_id = match query.first("template").filter(|text| !text.is_empty()) {
        None => None,
        Some(reference) => match app.store.facts.resolve_template(team, reference).await? {
            Some((template, _)) => Some(template.id),
            // It may be gone, and its events still here.
            None => Some(reference.parse().map_err(|_| ApiError::no_such_template(&echo(reference)))?),
        },
    };
    let metadata = decode_filter_or_plain(query.first("metadata").unwrap_or_default());
    if metadata.len() > MAX_LABELS {
        return Err(ApiError::bad_request(format!("Metadata must not name more than {MAX_LABELS} labels")));
    }
    Ok(EventFilter {
        sandbox_id,
        types: types(query, "types")?,
        reasons: reasons(query)?,
        template_id,
        metadata,
        start: query.moment("start", app.clock.now())?,
        end: query.moment("end", app.clock.now())?,
    })
}

/// What stands for every type in a list of types.
pub(crate) const ALL: &str = "all";

/// Whether the list under `name` wants every type.
pub(crate) fn wants_all(query: &Query, name: &str) -> bool {
    query.list(name).any(|text| text == ALL)
}

/// The event types listed under `name`; none is twice. `all` is the same as none: every type.
pub(crate) fn types(query: &Query, name: &str) -> Result<Vec<EventType>, ApiError> {
    let mut types = Vec::new();
    if wants_all(query, name) {
        return Ok(types);
    }
    for text in query.list(name) {
        let event_type: EventType = text.parse().map_err(|_| {
            let known = EventType::ALL.map(EventType::as_str).join(", ");
            ApiError::bad_request(format!(
                "unknown event type '{}': expected {ALL} or one of {known}",
                echo(text)
            ))
        })?;
        if !types.contains(&event_type) {
            types.push(event_type);
        }
    }
    Ok(types)
}

fn reasons(query: &Query) -> Result<Vec<KillReason>, ApiError> {
    let mut reasons = Vec::new();
    for text in query.list("reason") {
        let reason: KillReason = serde_json::from_value(text.into())
            .map_err(|_| ApiError::bad_request(format!("unknown kill reason '{}'", echo(text))))?;
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    Ok(reasons)
}
