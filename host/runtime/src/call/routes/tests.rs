use nebula_store::testing::version;
use proptest::prelude::*;

use super::*;

/// Functions with their paths and hosts.
type Routed<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

fn table(functions: &[Routed<'_>]) -> RouteTable {
    let record = |(name, paths, hosts): &Routed<'_>| VersionRecord {
        routes: paths.iter().map(|path| path.parse().unwrap()).collect(),
        hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        ..version(name, 2)
    };
    RouteTable::new(&functions.iter().map(record).collect::<Vec<_>>())
}

/// Returns the function and the part of the path below its route: `f /below`.
fn find(table: &RouteTable, host: &str, path: &str) -> String {
    let host = Some(host).filter(|host| !host.is_empty());
    match table.find(host, path) {
        Some(FoundRoute { name, version, subpath_at }) => {
            assert_eq!(version, Version::new(2).unwrap());
            format!("{name} {}", &path[subpath_at..]).trim_end().to_owned()
        }
        None => "-".to_owned(),
    }
}

#[test]
fn an_exact_path_comes_before_longer_and_shorter_prefixes() {
    let table = table(&[
        ("all", &["/..."], &[]),
        ("api", &["/api/..."], &[]),
        ("items", &["/api/items/..."], &[]),
        ("exact", &["/api/items", "/api/items/new", "/api", "/other"], &[]),
    ]);
    for (path, found) in [
        ("/", "all /"),
        ("/x", "all /x"),
        ("/apix", "all /apix"),
        ("/a", "all /a"),
        ("//", "all //"),
        ("/api", "exact"),
        ("/api/", "api /"),
        ("/api/x/y", "api /x/y"),
        ("/api//", "api //"),
        ("/api/item", "api /item"),
        ("/api/items", "exact"),
        ("/api/items/", "items /"),
        ("/api/items/new", "exact"),
        ("/api/items/new/", "items /new/"),
        ("/api/items/newer", "items /newer"),
        ("/other", "exact"),
        ("/other/", "all /other/"),
        // Characters are the same with and without encoding. The function sees what was sent.
        ("/%61pi/%7Ex", "api /%7Ex"),
        ("/%61pi/items/ne%77", "exact"),
        ("/api%2Fitems", "all /api%2Fitems"),
        ("/api/{*below}", "api /{*below}"),
        // The server's own paths are no function's.
        ("/f", "-"),
        ("/f/x", "-"),
        ("/%66/x", "-"),
        ("/openapi.json", "-"),
        ("*", "-"),
    ] {
        assert_eq!(find(&table, "", path), found, "{path}");
    }
}

#[test]
fn without_a_route_nothing_is_found() {
    let none = table(&[]);
    let exact = table(&[("f", &["/a"], &[]), ("root", &["/"], &[])]);
    for path in ["/a/", "/a/b", "/b", "//", "/aa"] {
        assert_eq!(find(&none, "a.example", path), "-");
        assert_eq!(find(&exact, "a.example", path), "-");
    }
    assert_eq!(find(&exact, "", "/"), "root");
}

#[test]
fn a_host_comes_before_its_parents_and_every_host() {
    let table = table(&[
        ("any", &["/a", "/only", "/x/..."], &[]),
        ("one", &["/a"], &["api.example.org", "b.example"]),
        ("sub", &["/a", "/sub"], &["*.example.org"]),
        ("deep", &["/a"], &["*.deep.example.org"]),
    ]);
    for (host, path, found) in [
        ("", "/a", "any"),
        ("other", "/a", "any"),
        ("example.org", "/a", "any"),
        ("api.example.org", "/a", "one"),
        ("b.example", "/a", "one"),
        ("x.example.org", "/a", "sub"),
        ("x.y.example.org", "/a", "sub"),
        ("x.deep.example.org", "/a", "deep"),
        ("deep.example.org", "/a", "sub"),
        ("notexample.org", "/a", "any"),
        // The next host is asked for a path that this one doesn't have.
        ("api.example.org", "/sub", "sub"),
        ("x.deep.example.org", "/sub", "sub"),
        ("x.deep.example.org", "/only", "any"),
        ("api.example.org", "/x/y", "any /y"),
        ("other", "/sub", "-"),
    ] {
        assert_eq!(find(&table, host, path), found, "{host} {path}");
    }
}

proptest! {
    /// The longest route that matches is found, as a search through all of them finds it.
    #[test]
    fn the_table_finds_what_a_search_finds(
        routes in prop::collection::btree_set("(/[ab]{1,2}){0,3}(/[.]{3})?|/", 0..8),
        path in "(/[ab]{0,2}){1,5}",
    ) {
        let routes: Vec<RoutePath> = routes.iter().filter_map(|text| text.parse().ok()).collect();
        let names: Vec<_> = (0..routes.len()).map(|index| format!("f{index}")).collect();
        let records = names.iter().zip(&routes).map(|(name, path)| VersionRecord {
            routes: vec![path.clone()],
            ..version(name, 1)
        });
        let table = RouteTable::new(&records.collect::<Vec<_>>());
        let matching = names.iter().zip(&routes).filter(|(_, route)| match route.covers_below() {
            false => path == route.path(),
            true => path.strip_prefix(route.path()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        });
        let expected = matching.max_by_key(|(_, route)| (!route.covers_below(), route.path().len()));
        let found = table.find(Some("a.example"), &path);
        prop_assert_eq!(
            found.map(|found| (found.name.to_string(), path[found.subpath_at..].to_owned())),
            expected.map(|(name, route)| (name.clone(), path[route.path().len()..].to_owned()))
        );
    }
}
