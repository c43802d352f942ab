//! The OpenAPI document, generated from the endpoints themselves.

use std::sync::LazyLock;

use crate::json::Json;
use http::Method;
use sandscope_wire::error::ErrorBody;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder,
    SecurityRequirement,
};

use crate::{endpoints, paths};

const ABOUT: &str = "Sandboxes for AI agents on machines you own. Wire-compatible with E2B's control API; operations \
                     that are not listed here answer 501. Every answer that is not a success is an `Error`.";

/// The document: every operation this server has.
pub fn openapi() -> OpenApi {
    let (_, mut document) = endpoints::router().split_for_parts();
    for (path, item) in &mut document.paths.paths {
        if path != paths::HEALTH {
            let operations =
                [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
            let schemes = if is_admin(path) { &["Admin"][..] } else { &["ApiKey", "Bearer"] };
            operations.into_iter().flatten().for_each(|operation| complete(operation, schemes));
        }
    }
    document
}

/// Every operation of the document: its method, and its path as the router spells it.
pub fn routes() -> Vec<(Method, String)> {
    let mut routes = Vec::new();
    for (path, item) in openapi().paths.paths {
        let methods = [
            (Method::GET, item.get.is_some()),
            (Method::POST, item.post.is_some()),
            (Method::PUT, item.put.is_some()),
            (Method::PATCH, item.patch.is_some()),
            (Method::DELETE, item.delete.is_some()),
        ];
        let own = methods.into_iter().filter(|(_, is_there)| *is_there);
        routes.extend(own.map(|(method, _)| (method, path.clone())));
    }
    routes
}

pub(crate) async fn serve() -> Json<&'static OpenApi> {
    static DOCUMENT: LazyLock<OpenApi> = LazyLock::new(openapi);
    Json(&DOCUMENT)
}

/// What is around the operations.
pub(crate) fn frame() -> OpenApi {
    let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
    let admin = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Admin-Token")));
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let (name, error) =
        (<ErrorBody as utoipa::ToSchema>::name(), <ErrorBody as utoipa::PartialSchema>::schema());
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Sandscope")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(ABOUT))
                .build(),
        )
        .components(Some(
            ComponentsBuilder::new()
                .schema(name, error)
                .security_scheme("ApiKey", key)
                .security_scheme("Bearer", bearer)
                .security_scheme("Admin", admin)
                .build(),
        ))
        .build()
}

/// Whether a path is the operator's.
pub(crate) fn is_admin(path: &str) -> bool {
    [paths::NODES, paths::NODE].contains(&path)
}

/// What every operation behind a key has in common.
fn complete(operation: &mut Operation, schemes: &[&str]) {
    let none = Vec::<String>::new;
    operation.security =
        Some(schemes.iter().map(|scheme| SecurityRequirement::new(*scheme, none())).collect());
    let error = ContentBuilder::new().schema(Some(Ref::from_schema_name("Error"))).build();
    let refused = ResponseBuilder::new()
        .description("Refused: `code` equals the status")
        .content("application/json", error)
        .build();
    operation.responses.responses.insert("default".to_owned(), RefOr::T(refused));
}
