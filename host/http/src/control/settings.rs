//! A deploy's settings in a query string: limits, caching of results, and the treatment of
//! pipelines that don't fit the new version.
//!
//! ```text
//! ?deadline_ms=500&memory_bytes_max=…&remember=off&remember_ttl_s=60&remember_bytes_max=…&remember_traps=on&followers=may-stay
//! ```
//!
//! The server reads what the command line writes here, and the document lists the same parameters.

use std::num::NonZeroU64;

use axum::extract::FromRequestParts;
use http::request::Parts;
use nebula_runtime::limits::{LimitOverrides, Limits, MEMORY_BYTES_CEILING};
use nebula_runtime::{Followers, Remember, Settings};
use serde_json::{Map, Value};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::describe::{DescribeArgument, Description, QueryParameter};
use crate::problem::Problem;
use crate::status;

/// The settings of a deploy.
pub(super) struct DeployQuery {
    pub(super) settings: Settings,
    pub(super) followers: Followers,
}

/// The treatment of pipelines that don't fit. Settings are accepted and ignored.
pub(super) struct FollowersQuery(pub(super) Followers);

/// Returns the query parameters that stand for these settings.
pub fn deploy_query(settings: &Settings, followers: Followers) -> Vec<(&'static str, String)> {
    let Settings { limits, remember } = settings;
    let LimitOverrides { memory_bytes_max, deadline_ms, input_bytes_max, output_bytes_max, log_bytes_max } =
        limits;
    let Remember { off, ttl_s, bytes_max, traps } = remember;
    let numbers = [
        ("memory_bytes_max", *memory_bytes_max),
        ("deadline_ms", deadline_ms.map(NonZeroU64::get)),
        ("input_bytes_max", *input_bytes_max),
        ("output_bytes_max", *output_bytes_max),
        ("log_bytes_max", *log_bytes_max),
        ("remember_ttl_s", ttl_s.map(NonZeroU64::get)),
        ("remember_bytes_max", *bytes_max),
    ];
    let mut query = vec![followers_query(followers)];
    query.extend(numbers.into_iter().filter_map(|(name, value)| Some((name, value?.to_string()))));
    query.extend(off.then(|| ("remember", "off".to_owned())));
    query.extend(traps.then(|| ("remember_traps", "on".to_owned())));
    query
}

/// Returns the query parameter that stands for the treatment of pipelines that don't fit.
pub fn followers_query(followers: Followers) -> (&'static str, String) {
    let value = match followers {
        Followers::MustFit => "must-fit",
        Followers::MayStay => "may-stay",
    };
    ("followers", value.to_owned())
}

fn parse(query: &str) -> Result<DeployQuery, Problem> {
    let mut followers = Followers::MustFit;
    let mut limits = Map::new();
    let mut remember = Remember::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let wrong =
            |expected| status::bad_request("bad-limit", format!("`{name}` is `{value}`, not {expected}"));
        let number = || value.parse::<u64>().map_err(|_| wrong("a number"));
        let switch = || match value {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(wrong("`on` or `off`")),
        };
        match name {
            "remember" => remember.off = !switch()?,
            "remember_traps" => remember.traps = switch()?,
            "remember_ttl_s" => {
                let ttl_s = NonZeroU64::new(number()?);
                remember.ttl_s = Some(ttl_s.ok_or_else(|| wrong("a number above 0"))?);
            }
            "followers" => {
                followers = match value {
                    "must-fit" => Followers::MustFit,
                    "may-stay" => Followers::MayStay,
                    _ => return Err(wrong("`must-fit` or `may-stay`")),
                };
            }
            "remember_bytes_max" => remember.bytes_max = Some(number()?),
            _ => {
                limits.insert(name.to_owned(), number()?.into());
            }
        }
    }
    let limits = serde_json::from_value(Value::Object(limits))
        .map_err(|error| status::bad_request("bad-limit", error.to_string()))?;
    Ok(DeployQuery { settings: Settings { limits, remember }, followers })
}

impl<S: Sync> FromRequestParts<S> for DeployQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parse(parts.uri.query().unwrap_or(""))
    }
}

impl DescribeArgument for DeployQuery {
    fn describe(description: &mut Description) {
        for limit in limits() {
            description.query_parameter(limit);
        }
        let switch = |default: &str| {
            let switch = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["on", "off"]));
            switch.default(Some(default.into())).build()
        };
        let above =
            |minimum: u64| ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(minimum)).build();
        for parameter in [
            QueryParameter { name: "remember", about: "whether results are cached", schema: switch("on") },
            QueryParameter {
                name: "remember_ttl_s",
                about: "the time for which a result is used, seconds",
                schema: above(1),
            },
            QueryParameter {
                name: "remember_bytes_max",
                about: "the largest answer that is cached, bytes",
                schema: above(0),
            },
            QueryParameter {
                name: "remember_traps",
                about: "whether traps are cached too",
                schema: switch("off"),
            },
        ] {
            description.query_parameter(parameter);
        }
        FollowersQuery::describe(description);
    }
}

impl<S: Sync> FromRequestParts<S> for FollowersQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parse(parts.uri.query().unwrap_or("")).map(|query| Self(query.followers))
    }
}

impl DescribeArgument for FollowersQuery {
    fn describe(description: &mut Description) {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(["must-fit", "may-stay"]))
            .default(Some("must-fit".into()));
        description.query_parameter(QueryParameter {
            name: "followers",
            about: "whether a change that pipelines don't fit is refused, or they keep the version they call",
            schema: schema.build(),
        });
    }
}

/// Returns the limits that a deploy may set.
fn limits() -> [QueryParameter; 5] {
    let integer = |default: u64| {
        ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).default(Some(default.into()))
    };
    let Limits { memory_bytes_max, deadline_ms, input_bytes_max, output_bytes_max, log_bytes_max } =
        Limits::default();
    [
        QueryParameter {
            name: "deadline_ms",
            about: "wall-clock time of a call, milliseconds",
            schema: integer(deadline_ms.get()).minimum(Some(1)).build(),
        },
        QueryParameter {
            name: "memory_bytes_max",
            about: "linear memory of an instance, bytes",
            schema: integer(memory_bytes_max).maximum(Some(MEMORY_BYTES_CEILING)).build(),
        },
        QueryParameter {
            name: "input_bytes_max",
            about: "the request's body, bytes",
            schema: integer(input_bytes_max).build(),
        },
        QueryParameter {
            name: "output_bytes_max",
            about: "the answer's body, bytes",
            schema: integer(output_bytes_max).build(),
        },
        QueryParameter {
            name: "log_bytes_max",
            about: "the part of a call's output streams that is kept, bytes",
            schema: integer(log_bytes_max).build(),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_a_parameter_of_a_deploy() {
        let defaults: Map<_, _> = limits()
            .into_iter()
            .map(|QueryParameter { name, schema, .. }| {
                (name.to_owned(), serde_json::to_value(schema).unwrap()["default"].clone())
            })
            .collect();
        // Each one can be set, and the list is complete.
        let overrides: LimitOverrides = serde_json::from_value(Value::Object(defaults.clone())).unwrap();
        assert_eq!(Limits::default().with(&overrides).unwrap(), Limits::default());
        assert_eq!(serde_json::to_value(Limits::default()).unwrap(), Value::Object(defaults));
    }

    #[test]
    fn the_server_reads_the_query_that_a_client_writes() {
        let number = NonZeroU64::new(7);
        let limits = LimitOverrides {
            memory_bytes_max: Some(1),
            deadline_ms: number,
            input_bytes_max: Some(2),
            output_bytes_max: Some(3),
            log_bytes_max: Some(4),
        };
        let remember = Remember { off: true, ttl_s: number, bytes_max: Some(5), traps: true };
        let every_setting = Settings { limits, remember };
        for settings in [Settings::default(), every_setting] {
            for followers in [Followers::MustFit, Followers::MayStay] {
                let pairs = deploy_query(&settings, followers);
                let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
                let query = parse(&pairs.join("&")).unwrap();
                assert_eq!(query.settings, settings);
                assert_eq!(query.followers, followers);
            }
        }
    }
}
