//! The dashboard of Grafana.
//!
//! No registry has a Grafana that these tests could run, so they check what its documentation of
//! dashboards demands; `cargo xtask dashboard` checks the types of `@grafana/schema`.

use std::collections::{BTreeSet, HashSet};

use nebula_tests::NamedMetrics;
use regex_lite::Regex;
use serde_json::{Value, json};

/// The columns of Grafana's grid.
const COLUMNS: u64 = 24;

/// The units that the dashboard uses, by Grafana's names.
const UNITS: [&str; 8] = ["Bps", "bytes", "cps", "percentunit", "reqps", "s", "short", "watt"];

pub(super) struct Dashboard(Value);

/// A variable whose values are those of a label.
pub(super) struct LabelValues {
    pub(super) metric: String,
    pub(super) label: String,
    /// The labels by which the series are chosen.
    pub(super) labels: BTreeSet<String>,
}

/// The place of a panel in the grid.
#[derive(Debug)]
struct Place {
    x: u64,
    y: u64,
    width: u64,
    height: u64,
}

/// Returns a query as Grafana sends it, with all values of its variables chosen.
pub(super) fn interpolated(query: &str) -> String {
    query.replace("$__rate_interval", "5m").replace("$instance", ".+").replace("$function", ".*")
}

impl Dashboard {
    pub(super) fn read() -> Self {
        Self(serde_json::from_str(&super::read("grafana/nebula.json")).unwrap())
    }

    fn panels(&self) -> impl Iterator<Item = &Value> {
        self.0["panels"].as_array().unwrap().iter()
    }

    /// Returns the queries of all panels.
    pub(super) fn queries(&self) -> impl Iterator<Item = &str> {
        let targets = self.panels().filter_map(|panel| panel["targets"].as_array()).flatten();
        targets.map(|target| target["expr"].as_str().unwrap())
    }

    /// Returns the variables that ask Prometheus for the values of a label.
    pub(super) fn variables(&self) -> Vec<LabelValues> {
        let pattern = Regex::new(r"^label_values\((.+), ([a-z_]+)\)$").unwrap();
        let list = self.0["templating"]["list"].as_array().unwrap().iter();
        let of_query = list.filter(|variable| variable["type"] == "query");
        let variables = of_query.map(|variable| {
            let query = variable["query"]["query"].as_str().unwrap();
            assert_eq!(variable["definition"], query);
            let parts = pattern.captures(query).unwrap_or_else(|| panic!("{query}"));
            let mut named = NamedMetrics::of(&parts[1]).metrics.into_iter();
            let (metric, labels) = named.next().unwrap();
            assert!(named.next().is_none(), "{query}");
            LabelValues { metric, label: parts[2].to_owned(), labels }
        });
        variables.collect()
    }
}

impl Place {
    fn of(panel: &Value) -> Self {
        let number =
            |name: &str| panel["gridPos"][name].as_u64().unwrap_or_else(|| panic!("no {name}: {panel}"));
        Self { x: number("x"), y: number("y"), width: number("w"), height: number("h") }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.x < other.x + other.width
            && other.x < self.x + self.width
            && self.y < other.y + other.height
            && other.y < self.y + self.height
    }
}

#[test]
fn the_dashboard_can_be_imported() {
    let Dashboard(dashboard) = Dashboard::read();
    // Grafana gives an imported dashboard its number.
    assert_eq!(dashboard["id"], Value::Null);
    assert_eq!(dashboard["uid"], "nebula");
    assert_eq!(dashboard["title"], "Nebula");
    // Version 39 is that of Grafana 10.4 and 11; later ones migrate it.
    assert_eq!(dashboard["schemaVersion"], 39);
    let list = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = list.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "instance", "function"]);
    assert_eq!((&list[0]["type"], &list[0]["query"]), (&json!("datasource"), &json!("prometheus")));
    for variable in &list[1..] {
        assert_eq!(variable["datasource"], json!({"type": "prometheus", "uid": "${datasource}"}));
        assert_eq!((&variable["multi"], &variable["includeAll"]), (&json!(true), &json!(true)));
    }
}

#[test]
fn panels_have_places_numbers_and_descriptions() {
    let dashboard = Dashboard::read();
    let (mut ids, mut titles, mut places) = (HashSet::new(), HashSet::new(), Vec::<Place>::new());
    for panel in dashboard.panels() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(titles.insert(panel["title"].as_str().unwrap()), "{panel}");
        let place = Place::of(panel);
        assert!(place.width > 0 && place.height > 0 && place.x + place.width <= COLUMNS, "{panel}");
        let before = places.last().map_or((0, 0), |place| (place.y, place.x));
        assert!(places.is_empty() || before < (place.y, place.x), "out of order: {panel}");
        assert!(!places.iter().any(|other| other.overlaps(&place)), "{place:?}: {panel}");
        let is_row = panel["type"] == "row";
        assert!(!is_row || (place.x, place.width, place.height) == (0, COLUMNS, 1), "{panel}");
        places.push(place);
        if is_row {
            assert_eq!((&panel["collapsed"], &panel["panels"]), (&json!(false), &json!([])));
            continue;
        }
        assert!(["stat", "timeseries"].contains(&panel["type"].as_str().unwrap()), "{panel}");
        let description = panel["description"].as_str().unwrap();
        assert!(description.len() > 20 && description.ends_with('.'), "{description}");
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap();
        assert!(UNITS.contains(&unit), "{unit}");
        assert_eq!(panel["fieldConfig"]["overrides"], json!([]));
    }
    assert!(places.len() > 40, "{}", places.len());
}

#[test]
fn queries_use_the_variables_of_the_dashboard() {
    let dashboard = Dashboard::read();
    let prometheus = json!({"type": "prometheus", "uid": "${datasource}"});
    let variable = Regex::new(r"\$\{?([a-zA-Z_]+)").unwrap();
    for panel in dashboard.panels().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"], prometheus, "{panel}");
        let mut references = HashSet::new();
        for target in panel["targets"].as_array().unwrap() {
            assert!(references.insert(target["refId"].as_str().unwrap()), "{panel}");
            assert_eq!(target["datasource"], prometheus, "{panel}");
            let query = target["expr"].as_str().unwrap();
            for name in variable.captures_iter(query) {
                assert!(["__rate_interval", "instance", "function"].contains(&&name[1]), "{query}");
            }
            // Each selector is of the chosen servers, and if it can be, of the chosen functions.
            for (metric, labels) in NamedMetrics::of(query).metrics {
                assert!(labels.contains("instance"), "{query}");
                let of_functions = query.contains("$function");
                assert_eq!(labels.contains("faas_name"), of_functions, "{metric}: {query}");
            }
            assert_eq!(query.contains("rate("), query.contains("$__rate_interval"), "{query}");
            let legend = target["legendFormat"].as_str().unwrap();
            let grouped = NamedMetrics::of(query).grouped_by;
            let label = Regex::new(r"\{\{([a-z_]+)\}\}").unwrap();
            for name in label.captures_iter(legend) {
                assert!(grouped.contains(&name[1]), "{legend}: {query}");
            }
        }
        assert!(!references.is_empty(), "{panel}");
    }
}
