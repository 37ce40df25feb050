//! The control plane's OpenAPI document: its operations, and the paths of every deployed function.

use nebula_runtime::VersionRecord;
use serde_json::{Value, json};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Paths, ServerBuilder};

use super::describe::{SECURITY_SCHEME, openapi_method};
use super::routes::Operations;
use crate::openapi::{FunctionPaths, function_paths};

/// Returns the document for these functions, which callers reach at `calls_url`.
pub(super) fn document(
    operations: &Operations,
    functions: &[VersionRecord],
    calls_url: &str,
) -> serde_json::Result<Value> {
    let mut document = serde_json::to_value(plane(operations))?;
    let FunctionPaths { paths, schemas } = function_paths(functions)?;
    for (path, mut item) in paths {
        // A route of some hosts has theirs.
        if item.get("servers").is_none() {
            item["servers"] = json!([{"url": calls_url, "description": "the data plane"}]);
        }
        document["paths"][path] = item;
    }
    for (name, schema) in schemas {
        document["components"]["schemas"][name] = schema;
    }
    Ok(document)
}

fn plane(operations: &Operations) -> OpenApi {
    let mut paths = Paths::new();
    let token = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let mut components = ComponentsBuilder::new().security_scheme(SECURITY_SCHEME, token);
    for operation in operations.iter() {
        let (endpoint, description) = (operation.endpoint, operation.describe());
        let method = openapi_method(endpoint.method);
        paths.add_path_operation(endpoint.path, vec![method], description.operation(endpoint));
        for (name, schema) in description.schemas() {
            components = components.schema(name, schema.clone());
        }
    }
    let about = "Pure functions over HTTP. Paths under /f and the functions' routes are the data plane's, on an address of its \
                 own; the others are the control plane's.";
    let info = InfoBuilder::new().title("Nebula").version(env!("CARGO_PKG_VERSION")).description(Some(about));
    // Relative to the document, which any name of this server leads to.
    let server = ServerBuilder::new().url("/").description(Some("the control plane")).build();
    let document = OpenApiBuilder::new().info(info).servers(Some([server])).paths(paths);
    document.components(Some(components.build())).build()
}
