//! The check of the routes that current versions will have.

use std::collections::HashMap;

use nebula_model::form::Form;
use nebula_model::id::FunctionName;
use nebula_model::record::VersionRecord;
use nebula_model::route::{ROUTES_MAX, RouteHost, RoutePath};

use super::error::InvalidRoutes;

/// A host and a path. Without a host it is for every host.
type Route<'a> = (Option<&'a RouteHost>, &'a RoutePath);

/// Checks the routes of versions that become current, beside the current versions of other names.
///
/// # Errors
/// [`InvalidRoutes`].
pub(super) fn check(changed: &[&VersionRecord], others: &[VersionRecord]) -> Result<(), InvalidRoutes> {
    let mut taken = TakenRoutes::of(others);
    for record in changed {
        check_own(record)?;
        taken.take(&record.name, &record.routes, &record.hosts)?;
    }
    Ok(())
}

/// Routes with the functions that have them.
pub(super) struct TakenRoutes<'a>(HashMap<Route<'a>, &'a FunctionName>);

impl<'a> TakenRoutes<'a> {
    /// Returns the routes of these versions.
    pub(super) fn of(versions: impl IntoIterator<Item = &'a VersionRecord>) -> Self {
        let mut taken = HashMap::new();
        for record in versions {
            taken.extend(routes(&record.routes, &record.hosts).map(|route| (route, &record.name)));
        }
        Self(taken)
    }

    /// Adds the routes of a function.
    ///
    /// # Errors
    /// [`InvalidRoutes::Taken`] if another function has one of them.
    pub(super) fn take(
        &mut self,
        name: &'a FunctionName,
        paths: &'a [RoutePath],
        hosts: &'a [RouteHost],
    ) -> Result<(), InvalidRoutes> {
        for route in routes(paths, hosts) {
            let by = *self.0.entry(route).or_insert(name);
            if by != name {
                let (name, by) = (name.clone(), by.clone());
                return Err(InvalidRoutes::Taken { name, route: text_of(route), by });
            }
        }
        Ok(())
    }
}

/// Checks what doesn't depend on other functions.
pub(super) fn check_own(record: &VersionRecord) -> Result<(), InvalidRoutes> {
    let (VersionRecord { routes, hosts, .. }, name) = (record, || record.name.clone());
    if routes.len() > ROUTES_MAX || hosts.len() > ROUTES_MAX {
        return Err(InvalidRoutes::TooMany { name: name() });
    }
    if routes.is_empty() && !hosts.is_empty() {
        return Err(InvalidRoutes::HostAlone { name: name() });
    }
    let below = routes.iter().find(|route| route.covers_below());
    match (below, record.description.form) {
        (Some(route), Form::Typed | Form::Raw) => {
            Err(InvalidRoutes::Below { name: name(), route: route.to_string() })
        }
        (Some(_), Form::Http) | (None, _) => Ok(()),
    }
}

/// Returns every host with every path.
fn routes<'a>(paths: &'a [RoutePath], hosts: &'a [RouteHost]) -> impl Iterator<Item = Route<'a>> {
    let every_host = hosts.is_empty().then_some(None);
    let hosts = every_host.into_iter().chain(hosts.iter().map(Some));
    hosts.flat_map(|host| paths.iter().map(move |path| (host, path)))
}

fn text_of((host, path): Route<'_>) -> String {
    host.map_or_else(|| path.to_string(), |host| format!("{host}{path}"))
}

#[cfg(test)]
mod tests {
    use nebula_store::testing::version;

    use super::*;

    fn function(name: &str, routes: &[&str], hosts: &[&str]) -> VersionRecord {
        let mut record = version(name, 1);
        record.description.form = Form::Http;
        record.routes = routes.iter().map(|path| path.parse().unwrap()).collect();
        record.hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
        record
    }

    /// Checks each function as the one that changes, and all of them as changing at once.
    fn refusal(one: &VersionRecord, other: &VersionRecord) -> Option<String> {
        let refused = |changed: &[&VersionRecord], others: &[VersionRecord]| {
            check(changed, others).err().map(|error| error.to_string())
        };
        let found = refused(&[one], std::slice::from_ref(other));
        let reverse = refused(&[other], std::slice::from_ref(one));
        let at_once = refused(&[one, other], &[]);
        assert_eq!(found.is_some(), reverse.is_some());
        assert_eq!(at_once, reverse);
        found
    }

    #[test]
    fn the_same_host_and_path_conflict() {
        let one = function("one", &["/a", "/b/..."], &["x.example", "*.y.example"]);
        for (routes, hosts, taken) in [
            (["/c", "/a"], &["x.example"][..], Some("x.example/a")),
            (["/c", "/%61"], &["X.example"], Some("x.example/a")),
            (["/b/...", "/c"], &["z.example", "*.y.example"], Some("*.y.example/b/...")),
            (["/a", "/b/..."], &[], None),
            (["/a", "/b/..."], &["y.example", "*.x.example"], None),
            (["/b", "/a/..."], &["x.example", "*.y.example"], None),
        ] {
            let found = refusal(&function("other", &routes, hosts), &one);
            let expected =
                taken.map(|route| format!("the route `{route}` of `other` is already that of `one`"));
            assert_eq!(found, expected, "{routes:?} {hosts:?}");
        }
        let everywhere = function("one", &["/a"], &[]);
        assert!(refusal(&function("other", &["/a"], &[]), &everywhere).is_some());
        assert!(refusal(&function("other", &["/a/..."], &[]), &everywhere).is_none());
    }

    #[test]
    fn a_function_may_repeat_its_own_routes() {
        let twice = function("f", &["/a", "/%61"], &[]);
        assert!(check(&[&twice], &[]).is_ok());
    }

    #[test]
    fn routes_fit_their_function() {
        let mut typed = function("f", &["/a/..."], &[]);
        for form in [Form::Typed, Form::Raw] {
            typed.description.form = form;
            assert!(matches!(check(&[&typed], &[]), Err(InvalidRoutes::Below { .. })));
        }
        let alone = function("f", &[], &["a.example"]);
        assert!(matches!(check(&[&alone], &[]), Err(InvalidRoutes::HostAlone { .. })));
        let many: Vec<_> = (0..=ROUTES_MAX).map(|number| format!("/{number}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(check(&[&function("f", &many[1..], &[])], &[]).is_ok());
        assert!(matches!(check(&[&function("f", &many, &[])], &[]), Err(InvalidRoutes::TooMany { .. })));
    }
}
