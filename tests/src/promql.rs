//! The metrics and labels that a query of Prometheus names.
//!
//! Prometheus parses queries; this finds names in those that it accepts.

use std::collections::{BTreeMap, BTreeSet};

use regex_lite::Regex;

/// Words of the language that stand where metrics stand.
const KEYWORDS: [&str; 8] = ["and", "bool", "inf", "nan", "offset", "or", "start", "unless"];

/// The names in a query.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NamedMetrics {
    /// Each metric with the labels of its selectors.
    pub metrics: BTreeMap<String, BTreeSet<String>>,
    /// The labels by which the query groups or joins series.
    pub grouped_by: BTreeSet<String>,
}

impl NamedMetrics {
    /// Returns the names in a query that Prometheus accepts.
    pub fn of(query: &str) -> Self {
        let regex = |pattern: &str| Regex::new(pattern).expect("a valid pattern");
        let query = regex(r#""[^"]*""#).replace_all(query, r#""""#);
        let query = regex(r"\[[^\]]*\]").replace_all(&query, "");
        let mut named = Self::default();
        let clause = regex(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)");
        for found in clause.captures_iter(&query) {
            let labels = found[1].split(',').map(str::trim).filter(|label| !label.is_empty());
            named.grouped_by.extend(labels.map(str::to_owned));
        }
        let query = clause.replace_all(&query, "");
        let selector = regex(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:(\()|\{([^}]*)\})?");
        let matcher = regex(r"([a-zA-Z_][a-zA-Z0-9_]*)\s*(?:=~|!~|!=|=)");
        for found in selector.captures_iter(&query) {
            let is_function = found.get(2).is_some();
            if is_function || KEYWORDS.contains(&found[1].to_lowercase().as_str()) {
                continue;
            }
            let labels = named.metrics.entry(found[1].to_owned()).or_default();
            let matchers = found.get(3).map_or("", |matchers| matchers.as_str());
            labels.extend(matcher.captures_iter(matchers).map(|label| label[1].to_owned()));
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn metrics_and_labels_are_told_from_functions_and_words() {
        let query = r#"(sum by (le, faas_name) (rate(a_total{x="by (no)", y=~"z|b_total"}[5m])) or vector(0))
            / on (job) group_left (version) c{} > 0.05 and (d offset 10m) unless Inf * avg without(k) (a_total{w!="1"})"#;
        let named = NamedMetrics::of(query);
        let metrics: Vec<_> =
            named.metrics.iter().map(|(name, labels)| (name.as_str(), labels.clone())).collect();
        assert_eq!(metrics, [("a_total", set(&["w", "x", "y"])), ("c", set(&[])), ("d", set(&[]))]);
        assert_eq!(named.grouped_by, set(&["faas_name", "job", "k", "le", "version"]));
    }
}
