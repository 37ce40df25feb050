//! The alerts: each is documented, tested, and has a severity.

use std::collections::{BTreeMap, BTreeSet};

use nebula_tests::{Nebula, Prometheus, eventually};
use regex_lite::Regex;
use serde_json::Value;

/// The address of the document that alerts link to.
const DOCUMENT: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/alerts.md");

/// A rule as Prometheus has loaded it.
pub(super) struct LoadedRule {
    pub(super) query: String,
}

/// Returns the rules that Prometheus has loaded and evaluated.
pub(super) fn loaded(prometheus: &Prometheus) -> Vec<LoadedRule> {
    let rules = raw_rules(prometheus);
    rules.iter().map(|rule| LoadedRule { query: rule["query"].as_str().unwrap().to_owned() }).collect()
}

fn raw_rules(prometheus: &Prometheus) -> Vec<Value> {
    eventually("Prometheus has evaluated its rules", || {
        let answer = prometheus.get("rules")?;
        let groups = answer["data"]["groups"].as_array()?;
        let rules = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
        let rules: Vec<_> = rules.cloned().collect();
        let is_evaluated = |rule: &Value| rule["health"] != "unknown";
        (!rules.is_empty() && rules.iter().all(is_evaluated)).then_some(rules)
    })
}

/// Returns the names of the alerts in the rules.
fn names() -> BTreeSet<String> {
    let rules = super::read("prometheus/nebula.rules.yml");
    let name = |line: &str| Some(line.trim().strip_prefix("- alert: ")?.to_owned());
    rules.lines().filter_map(name).collect()
}

#[test]
fn the_document_has_a_section_for_each_alert() {
    let document = std::fs::read_to_string(super::folder().join("../docs/alerts.md")).unwrap();
    let sections = document.lines().filter_map(|line| line.strip_prefix("### "));
    let sections: BTreeSet<_> = sections.map(str::to_owned).collect();
    assert_eq!(sections, names());
    let metrics = document.lines().filter(|line| line.starts_with("| [`Nebula")).count();
    assert_eq!(metrics, sections.len(), "the table has a row for each alert");
}

/// The unit tests of promtool see each alert fire, and see it not fire.
#[test]
fn each_alert_is_tested_in_both_states() {
    let tests = super::read("prometheus/nebula.rules.test.yml");
    let mut seen = BTreeMap::<String, BTreeSet<bool>>::new();
    for part in tests.split("alertname: ").skip(1) {
        let name = part.lines().next().unwrap().trim();
        let fires = part.lines().nth(1).is_some_and(|line| line.trim() == "exp_alerts:");
        seen.entry(name.to_owned()).or_default().insert(fires);
    }
    assert_eq!(seen.keys().cloned().collect::<BTreeSet<_>>(), names());
    for (name, states) in seen {
        assert_eq!(states.len(), 2, "{name}: {states:?}");
    }
}

#[test]
#[ignore = "needs Prometheus, which `cargo xtask test` downloads"]
fn prometheus_loads_alerts_that_say_what_to_do() {
    let nebula = Nebula::start();
    let prometheus = Prometheus::start(super::configuration(&nebula));
    let template = Regex::new(r"\{\{.*?\}\}").unwrap();
    let mut loaded = BTreeSet::new();
    for rule in raw_rules(&prometheus) {
        let name = rule["name"].as_str().unwrap();
        assert_eq!((&rule["type"], &rule["health"]), (&"alerting".into(), &"ok".into()), "{rule}");
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{rule}");
        let annotation = |name: &str| rule["annotations"][name].as_str().unwrap().to_owned();
        let summary = annotation("summary");
        assert!(summary.len() < 100 && !summary.ends_with('.'), "{summary}");
        let description = annotation("description");
        assert!(
            description.ends_with('.') && !template.replace_all(&description, "").contains('$'),
            "{description}"
        );
        assert_eq!(annotation("runbook_url"), format!("{DOCUMENT}#{}", name.to_lowercase()));
        loaded.insert(name.to_owned());
    }
    assert_eq!(loaded, names());
}
