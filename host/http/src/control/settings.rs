//! A deploy's settings in a query string: limits, caching of results, configuration, the pages that
//! may call, routes, and the treatment of pipelines that don't fit the new version.
//!
//! ```text
//! ?deadline_ms=500&memory_bytes_max=default&cache=off&cache_ttl_s=60&cors_origin=https://app.example&settings=keep&followers=may-stay
//! ```
//!
//! Settings that a query doesn't name stay as the current version has them, unless `settings=replace`
//! starts from the defaults. The server reads what the command line writes here, and the document
//! lists the same parameters.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use http::request::Parts;
use nebula_model::similar::did_you_mean;
use nebula_runtime::limits::{Limits, MEMORY_BYTES_CEILING};
use nebula_runtime::{
    CorsOrigin, Followers, OriginError, RouteError, RouteHost, RoutePath, SettingsBase, SettingsUpdate,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::describe::{DescribeArgument, Description, QueryParameter};
use crate::problem::Problem;
use crate::status;

/// The value of a parameter that resets its setting.
const DEFAULT: &str = "default";
/// The characters that are encoded in a path or host.
const QUERY_ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'*');
/// Maximum length of an unknown parameter in an error, characters.
const NAME_EXCERPT_CHARS_MAX: usize = 100;

/// The settings of a deploy.
pub(super) struct DeployQuery {
    pub(super) settings: SettingsUpdate,
    pub(super) followers: Followers,
}

/// The treatment of pipelines that don't fit. Settings are accepted and ignored.
pub(super) struct FollowersQuery(pub(super) Followers);

/// Returns the query parameters that stand for a change of settings, encoded.
pub fn deploy_query(settings: &SettingsUpdate, followers: Followers) -> Vec<(String, String)> {
    let base = match settings.base() {
        SettingsBase::Current => "keep",
        SettingsBase::Defaults => "replace",
    };
    let (name, value) = followers_query(followers);
    let mut query = vec![(name.to_owned(), value), ("settings".to_owned(), base.to_owned())];
    let table = |table: &str| settings.patch()[table].as_object().cloned().unwrap_or_default();
    for (name, value) in table("limits") {
        query.push((name, text_of(&value)));
    }
    for (name, value) in table("cache") {
        let (name, value) = match name.as_str() {
            "off" => ("cache".to_owned(), value.as_bool().map_or(Value::Null, |off| json!(!off))),
            _ => (format!("cache_{name}"), value),
        };
        query.push((name, text_of(&value)));
    }
    if let Some(config) = settings.patch().get("config") {
        let text = if config.is_null() { DEFAULT.to_owned() } else { config.to_string() };
        query.push(("config".to_owned(), utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string()));
    }
    match settings.patch().get("cors") {
        Some(Value::Object(cors)) => {
            // An empty list refuses every origin, whatever the server's policy.
            let origins = cors.get("origins").and_then(Value::as_array).cloned().unwrap_or_default();
            let mut origins: Vec<_> = origins.iter().filter_map(Value::as_str).collect();
            if origins.is_empty() {
                origins.push("");
            }
            query.extend(origins.into_iter().map(|origin| ("cors_origin".to_owned(), origin.to_owned())));
            let age = cors.get("max_age_s").map(text_of);
            query.extend(age.map(|age| ("cors_max_age_s".to_owned(), age)));
        }
        Some(_) => query.push(("cors_origin".to_owned(), DEFAULT.to_owned())),
        None => {}
    }
    for name in ["route", "host"] {
        match settings.patch().get(name) {
            Some(Value::Array(list)) if !list.is_empty() => {
                let texts = list.iter().filter_map(Value::as_str);
                let encoded = |text| percent_encoding::utf8_percent_encode(text, QUERY_ENCODED).to_string();
                query.extend(texts.map(|text| (name.to_owned(), encoded(text))));
            }
            Some(_) => query.push((name.to_owned(), DEFAULT.to_owned())),
            None => {}
        }
    }
    query
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Null => DEFAULT.to_owned(),
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Returns the query parameter that stands for the treatment of pipelines that don't fit.
pub fn followers_query(followers: Followers) -> (&'static str, String) {
    let value = match followers {
        Followers::MustFit => "must-fit",
        Followers::MayStay => "may-stay",
    };
    ("followers", value.to_owned())
}

/// Returns the present name of a parameter that earlier releases write as `remember…`.
fn present_name(name: &str) -> &str {
    match name {
        "remember" => "cache",
        "remember_ttl_s" => "cache_ttl_s",
        "remember_bytes_max" => "cache_bytes_max",
        "remember_traps" => "cache_traps",
        name => name,
    }
}

/// The parameters that are limits.
const LIMITS: [&str; 5] =
    ["deadline_ms", "memory_bytes_max", "input_bytes_max", "output_bytes_max", "log_bytes_max"];

/// The other parameters.
const OTHERS: [&str; 11] = [
    "cache",
    "cache_ttl_s",
    "cache_bytes_max",
    "cache_traps",
    "config",
    "cors_origin",
    "cors_max_age_s",
    "route",
    "host",
    "followers",
    "settings",
];

fn unknown_parameter(name: &str) -> Problem {
    let excerpt: String = name.chars().take(NAME_EXCERPT_CHARS_MAX).collect();
    let known = LIMITS.into_iter().chain(OTHERS);
    let hint = did_you_mean(name, known.clone())
        .unwrap_or_else(|| format!("the parameters are {}", known.collect::<Vec<_>>().join(", ")));
    status::bad_request("bad-limit", format!("unknown parameter `{excerpt}`: {hint}")).with("hint", hint)
}

/// The parameters about the pages that may call.
#[derive(Default)]
struct CorsQuery {
    /// `None` inside resets the policy.
    origins: Option<Option<Vec<String>>>,
    max_age_s: Option<Value>,
}

impl CorsQuery {
    /// Adds the value of a `cors_origin`. An empty one adds no origin to the list.
    fn add_origin(&mut self, value: &str) -> Result<(), Problem> {
        let decoded = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
        if decoded == DEFAULT {
            self.origins = Some(None);
            return Ok(());
        }
        let origins = self.origins.get_or_insert_default().get_or_insert_default();
        if !decoded.is_empty() {
            let origin = decoded.parse();
            let origin: CorsOrigin =
                origin.map_err(|error: OriginError| status::bad_request("bad-origin", error.to_string()))?;
            origins.push(origin.to_string());
        }
        Ok(())
    }

    /// Returns the change of the policy, if there is one.
    fn patch(self) -> Result<Option<Value>, Problem> {
        Ok(match (self.origins, self.max_age_s) {
            (None, None) => None,
            (Some(None), _) => Some(Value::Null),
            (Some(Some(origins)), None) => Some(json!({"origins": origins})),
            (Some(Some(origins)), Some(age)) => Some(json!({"origins": origins, "max_age_s": age})),
            (None, Some(_)) => {
                return Err(status::bad_request("bad-origin", "`cors_max_age_s` needs a `cors_origin`"));
            }
        })
    }
}

/// Returns the change of the configuration: a JSON object that sets constants and removes those that
/// are null.
fn config_patch(value: &str) -> Result<Value, Problem> {
    let bad = |reason: &dyn Display| status::bad_request("bad-config", format!("`config`: {reason}"));
    let decoded = percent_encoding::percent_decode_str(value).decode_utf8();
    let decoded = decoded.map_err(|error| bad(&error))?;
    if decoded == DEFAULT {
        return Ok(Value::Null);
    }
    let patch: Map<String, Value> = serde_json::from_str(&decoded).map_err(|error| {
        bad(&format!("expected `default`, or a JSON object such as {{\"KEY\":\"VALUE\"}}: {error}"))
    })?;
    let patch = json!({ "config": patch });
    let update = SettingsUpdate::parse(SettingsBase::Defaults, patch).map_err(|error| bad(&error))?;
    Ok(update.patch()["config"].clone())
}

/// Adds the value of a repeatable `route` or `host` to its list. `default` empties it.
fn add_to_list<T: FromStr<Err = RouteError> + ToString>(
    list: &mut Value,
    value: &str,
) -> Result<(), Problem> {
    let decoded = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
    if decoded == DEFAULT {
        *list = Value::Null;
        return Ok(());
    }
    let parsed: T =
        decoded.parse().map_err(|error: RouteError| status::bad_request("bad-route", error.to_string()))?;
    if let Value::Array(list) = list {
        list.push(parsed.to_string().into());
    } else {
        *list = json!([parsed.to_string()]);
    }
    Ok(())
}

fn parse(query: &str) -> Result<DeployQuery, Problem> {
    let (mut followers, mut base) = (Followers::MustFit, SettingsBase::Current);
    let (mut limits, mut cache) = (Map::new(), Map::new());
    let (mut cors, mut routing) = (CorsQuery::default(), Map::new());
    let mut config = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let wrong =
            |expected| status::bad_request("bad-limit", format!("`{name}` is `{value}`, not {expected}"));
        let number = || match value {
            DEFAULT => Ok(Value::Null),
            _ => value.parse::<u64>().map(Value::from).map_err(|_| wrong("a number or `default`")),
        };
        let switch = |on: bool| match value {
            "on" => Ok(json!(on)),
            "off" => Ok(json!(!on)),
            DEFAULT => Ok(Value::Null),
            _ => Err(wrong("`on`, `off` or `default`")),
        };
        match present_name(name) {
            "cache" => drop(cache.insert("off".to_owned(), switch(false)?)),
            "cache_traps" => drop(cache.insert("traps".to_owned(), switch(true)?)),
            "cache_ttl_s" if value == "0" => return Err(wrong("a number above 0")),
            "cache_ttl_s" => drop(cache.insert("ttl_s".to_owned(), number()?)),
            "cache_bytes_max" => drop(cache.insert("bytes_max".to_owned(), number()?)),
            "followers" => {
                followers = match value {
                    "must-fit" => Followers::MustFit,
                    "may-stay" => Followers::MayStay,
                    _ => return Err(wrong("`must-fit` or `may-stay`")),
                };
            }
            "config" => config = Some(config_patch(value)?),
            "cors_origin" => cors.add_origin(value)?,
            "cors_max_age_s" => cors.max_age_s = Some(number()?),
            "route" => add_to_list::<RoutePath>(routing.entry("route").or_insert(Value::Null), value)?,
            "host" => add_to_list::<RouteHost>(routing.entry("host").or_insert(Value::Null), value)?,
            "settings" => {
                base = match value {
                    "keep" => SettingsBase::Current,
                    "replace" => SettingsBase::Defaults,
                    _ => return Err(wrong("`keep` or `replace`")),
                };
            }
            limit if LIMITS.contains(&limit) => drop(limits.insert(limit.to_owned(), number()?)),
            unknown => return Err(unknown_parameter(unknown)),
        }
    }
    let mut patch = json!({"limits": limits, "cache": cache});
    if let Some(config) = config {
        patch["config"] = config;
    }
    if let Some(cors) = cors.patch()? {
        patch["cors"] = cors;
    }
    for (name, list) in routing {
        patch[name] = list;
    }
    let settings = SettingsUpdate::parse(base, patch)
        .map_err(|error| status::bad_request("bad-limit", error.to_string()))?;
    Ok(DeployQuery { settings, followers })
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
            QueryParameter { name: "cache", about: "whether results are cached", schema: switch("on") },
            QueryParameter {
                name: "cache_ttl_s",
                about: "the time for which a result is used, seconds",
                schema: above(1),
            },
            QueryParameter {
                name: "cache_bytes_max",
                about: "the largest answer that is cached, bytes",
                schema: above(0),
            },
            QueryParameter {
                name: "cache_traps",
                about: "whether traps are cached too",
                schema: switch("off"),
            },
            QueryParameter {
                name: "config",
                about: "constants that it reads as environment variables and through `wasi:config/store`: a JSON object \
                        whose text sets a key and whose null removes one, or `default` to remove all",
                schema: ObjectBuilder::new().schema_type(Type::String).build(),
            },
            QueryParameter {
                name: "cors_origin",
                about: "an origin whose pages may call it, or `*`; may be repeated",
                schema: ObjectBuilder::new().schema_type(Type::String).build(),
            },
            QueryParameter {
                name: "cors_max_age_s",
                about: "the time for which browsers cache the answer to a preflight, seconds",
                schema: above(0),
            },
            QueryParameter {
                name: "route",
                about: "a path under which it answers beside `/f/{name}`, such as `/api/items` or `/api/...`; may be \
                        repeated",
                schema: ObjectBuilder::new().schema_type(Type::String).build(),
            },
            QueryParameter {
                name: "host",
                about: "a host of these paths, such as `api.example.org` or `*.example.org`; may be repeated",
                schema: ObjectBuilder::new().schema_type(Type::String).build(),
            },
        ] {
            description.query_parameter(parameter);
        }
        let base = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["keep", "replace"]));
        description.query_parameter(QueryParameter {
            name: "settings",
            about: "whether settings that aren't given stay as they are or get their defaults",
            schema: base.default(Some("keep".into())).build(),
        });
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
    use std::collections::BTreeSet;

    use nebula_runtime::limits::LimitOverrides;

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
        assert_eq!(serde_json::to_value(Limits::default()).unwrap(), Value::Object(defaults.clone()));
        assert_eq!(
            LIMITS.map(str::to_owned).into_iter().collect::<BTreeSet<_>>(),
            defaults.into_iter().map(|(name, _)| name).collect()
        );
    }

    #[test]
    fn unknown_parameters_are_named_with_the_similar_one() {
        for (query, meant) in [
            ("folowers=may-stay", "followers"),
            ("deadline-ms=5", "deadline_ms"),
            ("memoryBytesMax=5", "memory_bytes_max"),
            ("cache_ttl=7", "cache_ttl_s"),
        ] {
            let (written, _) = query.split_once('=').unwrap();
            let Err(problem) = parse(query) else { panic!("{query} is accepted") };
            let expected = format!("unknown parameter `{written}`: did you mean `{meant}`?");
            assert!(format!("{problem:?}").contains(&expected), "{problem:?}");
        }
        let Err(problem) = parse("colour=red") else { panic!("an unknown parameter is accepted") };
        assert!(format!("{problem:?}").contains("the parameters are deadline_ms, "), "{problem:?}");
    }

    #[test]
    fn the_server_reads_the_query_that_a_client_writes() {
        let every_setting = json!({
            "limits": {
                "memory_bytes_max": 1, "deadline_ms": 7, "input_bytes_max": 2, "output_bytes_max": 3,
                "log_bytes_max": 4,
            },
            "cache": {"off": true, "ttl_s": 7, "bytes_max": 5, "traps": true},
            "config": {"A": "1 & 2=3", "B": null, "C": "default"},
            "cors": {"origins": ["https://a.example:1", "*"], "max_age_s": 8},
            "route": ["/api/items", "/caf%C3%A9/a%2Fb/c&d=e+f/..."], "host": ["api.example.org", "*.example.org"],
        });
        let no_origin = json!({"limits": {}, "cache": {}, "cors": {"origins": [], "max_age_s": 9}});
        let resets = json!({
            "limits": {"memory_bytes_max": null, "deadline_ms": null},
            "cache": {"off": null, "ttl_s": null, "traps": false},
            "config": null, "cors": null, "route": null, "host": null,
        });
        for patch in [json!({"limits": {}, "cache": {}}), every_setting, no_origin, resets] {
            for base in [SettingsBase::Current, SettingsBase::Defaults] {
                for followers in [Followers::MustFit, Followers::MayStay] {
                    let update = SettingsUpdate::parse(base, patch.clone()).unwrap();
                    let pairs = deploy_query(&update, followers);
                    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
                    let query = parse(&pairs.join("&")).unwrap();
                    assert_eq!(query.settings, update);
                    assert_eq!(query.followers, followers);
                }
            }
        }
    }

    #[test]
    fn parameters_of_earlier_releases_are_accepted() {
        let patch = |prefix: &str| {
            let query = format!("{prefix}=off&{prefix}_ttl_s=7&{prefix}_bytes_max=5&{prefix}_traps=on");
            parse(&query).unwrap().settings.patch().clone()
        };
        assert_eq!(patch("remember"), patch("cache"));
        assert_eq!(patch("cache")["cache"], json!({"off": true, "ttl_s": 7, "bytes_max": 5, "traps": true}));
    }

    #[test]
    fn wrong_values_are_refused() {
        for query in [
            "deadline_ms=x",
            "cache=maybe",
            "cache_ttl_s=0",
            "settings=",
            "deadline_ms=0",
            "config=",
            "config=1",
            "config={\"A\":1}",
            "config={\"A B\":\"\"}",
            "config=%ff",
            "route=",
            "route=api",
            "route=/f/x",
            "host=",
            "host=a:1",
        ] {
            assert!(parse(query).is_err(), "{query}");
        }
    }
}
