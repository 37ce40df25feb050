//! Descriptions of handlers for the OpenAPI document, derived from their types.
//!
//! The types of a handler's arguments describe the parameters and the body that it reads, and its
//! return type describes its answers. All implement a trait of this module. So a handler can't read
//! a parameter that the document doesn't list, and can't answer with another type than the
//! documented one.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use http::StatusCode;
use nebula_runtime::token::TokenScope;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{KnownFormat, Object, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Ref, RefOr, Required, ResponseBuilder, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::endpoints::{Endpoint, Method, Scope};
use crate::wire::ProblemDocument;

/// The name of the security scheme in the document.
pub(super) const SECURITY_SCHEME: &str = "token";

/// The problems of any request.
const ANY_REQUEST_PROBLEMS: [ListedProblem; 6] = [
    ListedProblem::new(400, "the request is malformed"),
    ListedProblem::new(405, "the path has other methods; `Allow` lists them"),
    ListedProblem::new(414, "the path and query are over the limit"),
    ListedProblem::new(431, "the headers are over the limit"),
    ListedProblem::new(500, "a defect of Nebula or of its machine"),
    ListedProblem::new(501, "the body has a transfer coding other than `chunked`"),
];

/// The problem of a request to an endpoint that isn't public.
const UNAUTHORIZED: ListedProblem =
    ListedProblem::new(401, "the token is missing, wrong or expired, or the session is over");

/// The problem of a request to an endpoint that not every token may use.
const FORBIDDEN: ListedProblem =
    ListedProblem::new(403, "the token's scope doesn't include the required one");

/// The problem of a browser's request for a page of another origin.
pub(super) const FOREIGN: ListedProblem = ListedProblem::new(
    403,
    "a browser sent it for a page of another origin, or to a name that isn't the console's",
);

/// The problems of any request with a body.
const ANY_BODY_PROBLEMS: [ListedProblem; 2] = [
    ListedProblem::new(408, "the body did not come in time"),
    ListedProblem::new(413, "the body is over the limit"),
];

/// The parameters, body and responses of one operation.
pub(super) struct Description {
    parameters: Vec<Parameter>,
    body: Option<RequestBody>,
    /// By status, the reasons for it and the bodies.
    responses: BTreeMap<u16, Response>,
    /// Any other response, if the statuses aren't known.
    others: Option<Response>,
    schemas: BTreeMap<String, RefOr<Schema>>,
}

#[derive(Default)]
struct Response {
    reasons: Vec<&'static str>,
    contents: Vec<BodyContent>,
}

/// A media type of a body, with its schema.
#[derive(Clone)]
pub(super) struct BodyContent {
    pub(super) media_type: &'static str,
    pub(super) schema: RefOr<Schema>,
}

impl BodyContent {
    /// Any bytes.
    pub(super) fn bytes(media_type: &'static str) -> Self {
        let format = SchemaFormat::KnownFormat(KnownFormat::Binary);
        let schema = ObjectBuilder::new().schema_type(Type::String).format(Some(format)).build();
        Self { media_type, schema: schema.into() }
    }

    /// Any text.
    pub(super) fn text() -> Self {
        let schema = ObjectBuilder::new().schema_type(Type::String).build();
        Self { media_type: "text/plain", schema: schema.into() }
    }

    /// JSON of this schema.
    pub(super) fn json(schema: impl Into<RefOr<Schema>>) -> Self {
        Self { media_type: "application/json", schema: schema.into() }
    }
}

/// A problem of an endpoint, as its documentation lists it.
pub(super) struct ListedProblem {
    pub(super) status: u16,
    pub(super) reason: &'static str,
}

impl ListedProblem {
    pub(super) const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }
}

/// An optional parameter of the query string.
pub(super) struct QueryParameter {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) schema: Object,
}

/// An argument of a handler.
pub(super) trait DescribeArgument {
    fn describe(description: &mut Description);
}

/// A handler's return type, or a part of it.
pub(super) trait DescribeReply {
    fn describe(description: &mut Description);
}

/// A handler whose arguments and return type are described. `Arguments` is the tuple of their
/// types.
pub(super) trait DescribeHandler<Arguments> {
    fn describe(description: &mut Description);
}

impl Description {
    /// Describes a handler of this endpoint.
    pub(super) fn of<Handler: DescribeHandler<Arguments>, Arguments>(endpoint: &Endpoint) -> Self {
        let mut description = Self {
            parameters: Vec::new(),
            body: None,
            responses: BTreeMap::new(),
            others: None,
            schemas: BTreeMap::new(),
        };
        for problem in &ANY_REQUEST_PROBLEMS {
            description.problem(problem);
        }
        if endpoint.scope != Scope::Public {
            description.problem(&UNAUTHORIZED);
            description.problem(&FOREIGN);
        }
        let required = endpoint.scope.required();
        if required.is_some_and(|required| !TokenScope::ALL.iter().all(|scope| scope.includes(required))) {
            description.problem(&FORBIDDEN);
        }
        Handler::describe(&mut description);
        description
    }

    /// Adds a parameter of the path.
    pub(super) fn path_parameter(&mut self, name: &str, schema: Schema) {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path);
        self.parameters.push(parameter.required(Required::True).schema(Some(schema)).build());
    }

    /// Adds an optional parameter of the query string.
    pub(super) fn query_parameter(&mut self, QueryParameter { name, about, schema }: QueryParameter) {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query);
        let parameter = parameter.required(Required::False).description(Some(about));
        self.parameters.push(parameter.schema(Some(schema)).build());
    }

    /// Adds an optional header, a text.
    pub(super) fn header_parameter(&mut self, name: &str, about: &str) {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header);
        let text = ObjectBuilder::new().schema_type(Type::String).build();
        let parameter = parameter.required(Required::False).description(Some(about));
        self.parameters.push(parameter.schema(Some(text)).build());
    }

    /// Sets the request's body, and adds the problems that reading it may end with.
    pub(super) fn body<const N: usize>(&mut self, contents: [BodyContent; N], required: Required) {
        let body = RequestBodyBuilder::new().required(Some(required));
        let body = contents.into_iter().fold(body, |body, BodyContent { media_type, schema }| {
            body.content(media_type, ContentBuilder::new().schema(Some(schema)).build())
        });
        self.body = Some(body.build());
        for problem in &ANY_BODY_PROBLEMS {
            self.problem(problem);
        }
    }

    /// Adds a successful response.
    pub(super) fn reply(
        &mut self,
        status: StatusCode,
        reason: &'static str,
        contents: impl IntoIterator<Item = BodyContent>,
    ) {
        let response = self.responses.entry(status.as_u16()).or_default();
        response.reasons.push(reason);
        response.contents.extend(contents);
    }

    /// Adds responses of any other status.
    pub(super) fn other_replies<const N: usize>(&mut self, reason: &'static str, contents: [BodyContent; N]) {
        self.others = Some(Response { reasons: vec![reason], contents: contents.into() });
    }

    /// Adds a problem document. A status may have several reasons.
    pub(super) fn problem(&mut self, ListedProblem { status, reason }: &ListedProblem) {
        let schema = self.schema_of::<ProblemDocument>();
        let response = self.responses.entry(*status).or_default();
        if !response.reasons.contains(reason) {
            response.reasons.push(*reason);
        }
        response.contents = vec![BodyContent { media_type: "application/problem+json", schema }];
    }

    /// Registers the schema of `T` with those that it refers to, and returns a reference to it.
    pub(super) fn schema_of<T: ToSchema>(&mut self) -> RefOr<Schema> {
        let mut referenced = Vec::new();
        T::schemas(&mut referenced);
        self.schemas.extend(referenced);
        self.schemas.insert(T::name().into_owned(), <T as PartialSchema>::schema());
        Ref::from_schema_name(T::name()).into()
    }

    /// Returns whether the document lists this status for the operation.
    pub(super) fn has(&self, status: StatusCode) -> bool {
        self.responses.contains_key(&status.as_u16()) || self.others.is_some()
    }

    /// The schemas that the operation refers to, by name.
    pub(super) fn schemas(&self) -> impl Iterator<Item = (&String, &RefOr<Schema>)> {
        self.schemas.iter()
    }

    /// Returns the operation for the document.
    pub(super) fn operation(&self, endpoint: &Endpoint) -> OperationBuilder {
        let required = endpoint.scope.required();
        let security = required.map(|scope| SecurityRequirement::new(SECURITY_SCHEME, [scope.as_str()]));
        let mut operation = OperationBuilder::new()
            .operation_id(Some(endpoint.operation_id()))
            .summary(Some(endpoint.summary.trim().trim_end_matches('.')))
            .parameters((!self.parameters.is_empty()).then(|| self.parameters.clone()))
            .request_body(self.body.clone())
            .securities(Some(security.into_iter().collect::<Vec<_>>()));
        let responses = self.responses.iter().map(|(status, response)| (status.to_string(), response));
        let others = self.others.iter().map(|response| ("default".to_owned(), response));
        for (status, Response { reasons, contents }) in responses.chain(others) {
            let mut response = ResponseBuilder::new().description(reasons.join("; "));
            for BodyContent { media_type, schema } in contents.iter().cloned() {
                response = response.content(media_type, ContentBuilder::new().schema(Some(schema)).build());
            }
            operation = operation.response(status, response.build());
        }
        operation
    }
}

/// Returns OpenAPI's name of a method.
pub(super) fn openapi_method(method: Method) -> HttpMethod {
    match method {
        Method::Get => HttpMethod::Get,
        Method::Put => HttpMethod::Put,
        Method::Post => HttpMethod::Post,
        Method::Delete => HttpMethod::Delete,
    }
}

impl<S> DescribeArgument for State<S> {
    fn describe(_: &mut Description) {}
}

impl<T> DescribeArgument for Extension<T> {
    fn describe(_: &mut Description) {}
}

impl<T> DescribeArgument for Option<Extension<T>> {
    fn describe(_: &mut Description) {}
}

impl<T: DescribeReply, E: DescribeReply> DescribeReply for Result<T, E> {
    fn describe(description: &mut Description) {
        T::describe(description);
        E::describe(description);
    }
}

macro_rules! describe_handlers {
    ($(($($argument:ident),*))+) => {$(
        impl<Handler, Answer, Reply, $($argument),*> DescribeHandler<($($argument,)*)> for Handler
        where
            Handler: Fn($($argument),*) -> Answer,
            Answer: Future<Output = Reply>,
            Reply: DescribeReply,
            $($argument: DescribeArgument,)*
        {
            fn describe(description: &mut Description) {
                $($argument::describe(description);)*
                Reply::describe(description);
            }
        }
    )+};
}

describe_handlers! { () (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) }
