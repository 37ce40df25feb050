//! The paths of the functions' routes. Each has the operations of `/f/NAME`.
//!
//! A document has one entry for a path. If two hosts have the same path, it is that of the first
//! function, one for every host before the others. `/f/NAME` has all of them.

use nebula_runtime::{RouteHost, RoutePath, VersionRecord};
use serde_json::{Map, Value, json};

/// The parameter that stands for the part of a path below a route.
const BELOW: &str = "below";

/// Adds the routes of all functions to the paths, which have their `/f/NAME`.
pub(super) fn add(paths: &mut Map<String, Value>, functions: &[VersionRecord]) {
    let (for_hosts, for_all): (Vec<_>, Vec<_>) =
        functions.iter().partition(|function| !function.hosts.is_empty());
    for function in for_all.into_iter().chain(for_hosts) {
        let Some(own) = paths.get(&format!("/f/{}", function.name)).cloned() else { continue };
        for (index, route) in function.routes.iter().enumerate() {
            paths.entry(key(route)).or_insert_with(|| path_item(&own, function, route, index + 1));
        }
    }
}

fn key(route: &RoutePath) -> String {
    match route.covers_below() {
        true => format!("{}/{{{BELOW}}}", route.path()),
        false => route.path().to_owned(),
    }
}

fn path_item(own: &Value, function: &VersionRecord, route: &RoutePath, number: usize) -> Value {
    let mut item = own.clone();
    for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
        // An underscore is in no function's name, so the ids stay distinct.
        if let Some(id) = operation["operationId"].as_str() {
            operation["operationId"] = format!("{id}_route{number}").into();
        }
    }
    if route.covers_below() {
        item["parameters"] = json!([{
            "name": BELOW, "in": "path", "required": true, "schema": {"type": "string"},
            "description": "the path that the function sees; it may have slashes",
        }]);
    }
    if !function.hosts.is_empty() {
        item["servers"] = function.hosts.iter().map(server).collect();
    }
    item
}

/// Returns the server of a host, on the scheme and port of the document.
fn server(host: &RouteHost) -> Value {
    match host.covers_subdomains() {
        true => json!({
            "url": format!("//{{subdomain}}.{}", host.name()),
            "variables": {"subdomain": {"default": "www"}},
        }),
        false => json!({"url": format!("//{host}")}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, routes: &[&str], hosts: &[&str]) -> VersionRecord {
        let record = json!({
            "name": name, "version": "v1", "digest": format!("sha256:{}", "0".repeat(64)), "size_bytes": 1,
            "deployed_at_unix_s": 1, "limits": {}, "input_schema": null, "output_schema": null,
            "error_schema": null, "imports": [], "notes": [], "form": "http", "signature": "",
            "route": routes, "host": hosts,
        });
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn every_route_has_a_path() {
        let functions = [
            function("a", &["/x", "/api/..."], &["a.example", "*.b.example"]),
            function("b", &["/x", "/..."], &[]),
            function("c", &["/x", "/taken"], &["c.example"]),
        ];
        let own = |name: &str| json!({"post": {"operationId": format!("call-{name}")}});
        let mut paths = Map::new();
        for name in ["a", "b", "c"] {
            paths.insert(format!("/f/{name}"), own(name));
        }
        paths.insert("/taken".to_owned(), json!({"get": {"operationId": "own"}}));
        add(&mut paths, &functions);
        let ids = paths.iter().map(|(path, item)| {
            let operation = item.as_object().unwrap().values().find_map(|it| it["operationId"].as_str());
            format!("{path} {}", operation.unwrap())
        });
        let ids = ids.collect::<std::collections::BTreeSet<_>>();
        let expected = [
            "/api/{below} call-a_route2",
            "/f/a call-a",
            "/f/b call-b",
            "/f/c call-c",
            "/taken own",
            "/x call-b_route1",
            "/{below} call-b_route2",
        ];
        assert_eq!(ids, expected.map(str::to_owned).into());
        assert_eq!(paths["/api/{below}"]["servers"][0]["url"], "//a.example");
        assert_eq!(paths["/api/{below}"]["servers"][1]["url"], "//{subdomain}.b.example");
        assert_eq!(paths["/api/{below}"]["parameters"][0]["name"], "below");
        assert_eq!(paths["/x"].get("servers"), None);
    }
}
