//! The OpenAPI description of deployed functions, which the documents of both planes contain.
//!
//! ```text
//! calls_document, control/openapi -> paths -> route_paths
//!                                          \-> schemas
//! ```
//!
//! Generators of clients read these documents. So every type that is more than a scalar is a named
//! component, every body has a schema, and every media type is one that a client can send.

mod calls_document;
mod paths;
mod route_paths;
mod schemas;

pub(crate) use self::calls_document::CallsDocument;
pub(crate) use self::paths::{FunctionPaths, function_paths};
