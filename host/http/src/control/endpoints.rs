//! The table of the control plane's endpoints.
//!
//! The router, the OpenAPI document, the command line's URLs and the authorization test read this
//! table, so an endpoint has one method, one path and one scope everywhere.

use std::fmt::Display;

use nebula_runtime::token::TokenScope;

/// The method of an endpoint's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `PUT`
    Put,
    /// `POST`
    Post,
    /// `DELETE`
    Delete,
}

impl Method {
    /// Returns the method as a request line has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// The permission that an endpoint requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// No token.
    Public,
    /// No token either. But a token that the request has must be valid.
    Optional,
    /// Any token: the endpoint shows functions, their components, logs or statistics.
    Read,
    /// A token for calls: the endpoint runs a function.
    Invoke,
    /// An operator's token: the endpoint changes something, or shows what callers sent.
    Admin,
}

impl Scope {
    /// Returns the least scope of a token that a request requires; `None` if it requires no token.
    pub fn required(self) -> Option<TokenScope> {
        match self {
            Self::Public | Self::Optional => None,
            Self::Read => Some(TokenScope::Read),
            Self::Invoke => Some(TokenScope::Invoke),
            Self::Admin => Some(TokenScope::Admin),
        }
    }
}

/// One operation of the control plane.
#[derive(Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The constant's name. The operation's ID in the OpenAPI document derives from it.
    name: &'static str,
    /// The request's method.
    pub method: Method,
    /// The path, with at most one parameter in braces.
    pub path: &'static str,
    /// The permission that a request requires.
    pub scope: Scope,
    /// One sentence for the document.
    pub(crate) summary: &'static str,
}

impl Endpoint {
    /// Returns the path with `value` in place of its parameter.
    ///
    /// Names, versions and digests need no escaping in a path.
    pub fn path_of(&self, value: &impl Display) -> String {
        match self.path.split_once('{').zip(self.path.split_once('}')) {
            Some(((before, _), (_, after))) => format!("{before}{value}{after}"),
            None => self.path.to_owned(),
        }
    }

    /// Returns the operation's ID in the OpenAPI document: `deploy-pipeline` for `DEPLOY_PIPELINE`.
    pub(crate) fn operation_id(&self) -> String {
        self.name.to_ascii_lowercase().replace('_', "-")
    }
}

/// Declares constants from `NAME: Method "path" Scope;` lines, and [`ALL`] from all of them. The
/// doc comment becomes the operation's summary.
macro_rules! endpoints {
    ($($(#[doc = $summary:literal])+ $name:ident: $method:ident $path:literal $scope:ident;)+) => {
        $(
            $(#[doc = $summary])+
            pub const $name: Endpoint = Endpoint {
                name: stringify!($name),
                method: Method::$method,
                path: $path,
                scope: Scope::$scope,
                summary: concat!($($summary),+),
            };
        )+

        /// Every endpoint.
        pub const ALL: &[Endpoint] = &[$($name),+];
    };
}

endpoints! {
    /// Answers while the server runs.
    HEALTH: Get "/healthz" Public;
    /// Returns this document.
    OPENAPI: Get "/openapi.json" Read;

    /// Returns the page of the console, for browsers.
    CONSOLE: Get "/" Public;
    /// Returns a file that the page of the console names.
    CONSOLE_ASSET: Get "/console/{asset}" Public;

    /// Tells the server's version, and the URL at which callers reach it.
    SERVER: Get "/api/v1/server" Read;

    /// Signs a browser in with a token or the code of a link: begins a session, whose cookie it sends in
    /// place of a token.
    SIGN_IN: Post "/api/v1/session" Public;
    /// Tells the token that the request has, or that its session began with, if there is one.
    SESSION: Get "/api/v1/session" Optional;
    /// Signs a browser out: ends the session.
    SIGN_OUT: Delete "/api/v1/session" Read;

    /// Lists the current version of every function.
    LIST: Get "/api/v1/functions" Read;
    /// Shows a function and its versions.
    INSPECT: Get "/api/v1/functions/{name}" Read;
    /// Deploys a component.
    DEPLOY: Put "/api/v1/functions/{name}" Admin;
    /// Removes a function with its versions.
    REMOVE: Delete "/api/v1/functions/{name}" Admin;
    /// Makes an earlier version current.
    ROLLBACK: Post "/api/v1/functions/{name}/rollback" Admin;
    /// Returns the log of the last calls.
    LOGS: Get "/api/v1/functions/{name}/logs" Read;
    /// Returns the current component, or a pipeline's description with every function by its
    /// digest.
    COMPONENT: Get "/api/v1/functions/{name}/component" Read;
    /// Clears the cached results of a function.
    CLEAR_CACHE_OF: Delete "/api/v1/functions/{name}/cache" Admin;
    /// Makes a call as the data plane does.
    CALL: Post "/api/v1/functions/{name}/call" Invoke;
    /// Makes a call and reports each step of it.
    EXPLAIN: Post "/api/v1/functions/{name}/explain" Invoke;

    /// Lists the current version of every pipeline.
    LIST_PIPELINES: Get "/api/v1/pipelines" Read;
    /// Shows a pipeline with the types of its steps.
    PIPELINE: Get "/api/v1/pipelines/{name}" Read;
    /// Draws a pipeline as SVG, for a page that gives it its colours.
    DIAGRAM: Get "/api/v1/pipelines/{name}/diagram" Read;
    /// Checks a pipeline and deploys it.
    DEPLOY_PIPELINE: Put "/api/v1/pipelines/{name}" Admin;
    /// Removes a pipeline with its versions.
    REMOVE_PIPELINE: Delete "/api/v1/pipelines/{name}" Admin;
    /// Checks a pipeline as a deploy would; nothing changes.
    CHECK_PIPELINE: Post "/api/v1/pipelines/{name}/check" Read;
    /// Makes an earlier version of a pipeline current.
    ROLLBACK_PIPELINE: Post "/api/v1/pipelines/{name}/rollback" Admin;
    /// Returns the log of a pipeline's last calls.
    LOGS_OF_PIPELINE: Get "/api/v1/pipelines/{name}/logs" Read;
    /// Returns a pipeline's description with every function by its digest.
    COMPONENT_OF_PIPELINE: Get "/api/v1/pipelines/{name}/component" Read;
    /// Clears the cached results of a pipeline.
    CLEAR_CACHE_OF_PIPELINE: Delete "/api/v1/pipelines/{name}/cache" Admin;
    /// Makes a call of a pipeline and reports each step of it.
    EXPLAIN_PIPELINE: Post "/api/v1/pipelines/{name}/explain" Invoke;

    /// Returns a component, or a pipeline's description, by its digest.
    COMPONENT_OF: Get "/api/v1/components/{digest}" Read;
    /// Stores a component for a deploy of a project or an import.
    UPLOAD: Put "/api/v1/components/{digest}" Admin;
    /// Deploys the functions and pipelines of a project in one change.
    DEPLOY_PROJECT: Put "/api/v1/projects/{name}" Admin;
    /// Returns functions with all their versions, and everything that they call.
    EXPORT: Get "/api/v1/export" Read;
    /// Adds functions with all their versions in one change.
    IMPORT: Post "/api/v1/import" Admin;
    /// Returns an input that a caller asked to have kept.
    INPUT: Get "/api/v1/inputs/{digest}" Admin;

    /// Returns the log of the last calls of all functions.
    LOGS_OF_ALL: Get "/api/v1/logs" Read;

    /// Returns the metrics, as Prometheus reads them.
    METRICS: Get "/metrics" Read;
    /// Returns the counts of all functions since the server's start, and the use of the server.
    STATS: Get "/api/v1/stats" Read;
    /// Returns the counts of a function since the server's start.
    STATS_OF: Get "/api/v1/functions/{name}/stats" Read;

    /// Returns the chart of start times of the experiment that the server shows.
    EXPERIMENT: Get "/api/v1/experiment" Read;

    /// Reports the cached results and the time that they saved.
    CACHE: Get "/api/v1/cache" Read;
    /// Clears all cached results.
    CLEAR_CACHE: Delete "/api/v1/cache" Admin;

    /// Lists the tokens, without their secrets.
    LIST_TOKENS: Get "/api/v1/tokens" Admin;
    /// Creates a token, and returns its secret this once.
    CREATE_TOKEN: Post "/api/v1/tokens" Admin;
    /// Revokes a token. Requests with it are refused from then on.
    REVOKE_TOKEN: Delete "/api/v1/tokens/{name}" Admin;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_takes_the_place_of_the_parameter() {
        assert_eq!(ROLLBACK.path_of(&"csv-stats"), "/api/v1/functions/csv-stats/rollback");
        assert_eq!(PIPELINE.path_of(&"meme@v2"), "/api/v1/pipelines/meme@v2");
        assert_eq!(LIST.path_of(&"csv-stats"), "/api/v1/functions");
    }

    #[test]
    fn ids_are_words_with_hyphens() {
        assert_eq!(CLEAR_CACHE_OF.operation_id(), "clear-cache-of");
        let mut ids: Vec<_> = ALL.iter().map(Endpoint::operation_id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), ALL.len());
    }
}
