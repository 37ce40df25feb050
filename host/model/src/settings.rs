//! Settings that a deploy gives: all of them, or changes to those of the current version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::caching::Caching;
use crate::configuration::Configuration;
use crate::cors::Cors;
use crate::limits::LimitOverrides;
use crate::record::VersionRecord;
use crate::route::{RouteHost, RoutePath};

/// The settings of a function that a deploy gives besides the component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The function's own limits.
    pub limits: LimitOverrides,
    /// Caching of the function's results.
    pub cache: Caching,
    /// The constants that the function reads.
    #[serde(skip_serializing_if = "Configuration::is_empty")]
    pub config: Configuration,
    /// The pages that may call it, if that isn't the server's policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// The paths under which it answers beside `/f/NAME`.
    #[serde(rename = "route", skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RoutePath>,
    /// The hosts of these paths: all if empty.
    #[serde(rename = "host", skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<RouteHost>,
}

impl Settings {
    /// Returns the settings of a version.
    pub fn of(version: VersionRecord) -> Self {
        let VersionRecord { limits, cache, config, cors, routes, hosts, .. } = version;
        Self { limits, cache, config, cors, routes, hosts }
    }
}

/// The settings that a change starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingsBase {
    /// The settings of the current version, or the defaults for a new function.
    Current,
    /// The defaults.
    Defaults,
}

/// A change of settings.
///
/// The patch is a JSON Merge Patch (RFC 7396): a value sets a setting, `null` resets it, and others
/// stay as they are.
///
/// ```
/// use nebula_model::settings::{Settings, SettingsBase, SettingsUpdate};
///
/// let patch = serde_json::json!({"limits": {"deadline_ms": 9000}});
/// let update = SettingsUpdate::parse(SettingsBase::Current, patch)?;
/// let first = update.apply(&Settings::default());
/// assert_eq!(first.limits.deadline_ms.map(|ms| ms.get()), Some(9000));
///
/// let nothing = SettingsUpdate::parse(SettingsBase::Current, serde_json::json!({}))?;
/// assert_eq!(nothing.apply(&first), first);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SettingsUpdate {
    base: SettingsBase,
    patch: Value,
}

impl SettingsUpdate {
    /// Parses a patch.
    ///
    /// # Errors
    /// [`serde_json::Error`] if it names an unknown setting, or gives one a value of another type.
    pub fn parse(base: SettingsBase, patch: Value) -> Result<Self, serde_json::Error> {
        // A setting's value is valid or not whatever the others are.
        patched(&Settings::default(), &patch)?;
        Ok(Self { base, patch })
    }

    /// Returns the change that sets what `settings` sets.
    pub fn new(base: SettingsBase, settings: &Settings) -> Self {
        Self { base, patch: to_json(settings) }
    }

    /// Returns the change that also switches caching on.
    #[must_use]
    pub fn with_caching(mut self) -> Self {
        merge(&mut self.patch, &serde_json::json!({"cache": {"off": false}}));
        self
    }

    /// Returns whether the change sets a constant of the configuration.
    pub fn sets_config(&self) -> bool {
        self.patch.get("config").and_then(Value::as_object).is_some_and(|config| !config.is_empty())
    }

    /// Returns the change that also removes the configuration.
    #[must_use]
    pub fn without_config(mut self) -> Self {
        // Merged, the null would be dropped together with what it removes.
        if let Value::Object(patch) = &mut self.patch {
            patch.insert("config".to_owned(), Value::Null);
        }
        self
    }

    /// Returns the change that makes `later` after this one, from the same settings.
    #[must_use]
    pub fn then(mut self, later: &Self) -> Self {
        merge(&mut self.patch, &later.patch);
        self
    }

    /// Returns the settings that the change starts from.
    pub fn base(&self) -> SettingsBase {
        self.base
    }

    /// Returns the patch.
    pub fn patch(&self) -> &Value {
        &self.patch
    }

    /// Returns the settings after the change.
    pub fn apply(&self, current: &Settings) -> Settings {
        let defaults = Settings::default();
        let base = match self.base {
            SettingsBase::Current => current,
            SettingsBase::Defaults => &defaults,
        };
        // `parse` has checked the patch, so this doesn't fail.
        patched(base, &self.patch).unwrap_or_else(|_| base.clone())
    }

    /// Describes the differences between the settings before and after the change, and which ones
    /// it keeps, in a sentence each.
    pub fn notes(&self, before: &Settings) -> Vec<String> {
        let (before, after) = (to_json(before), to_json(&self.apply(before)));
        let (before, after, patched) = (flat(&before), flat(&after), flat(&self.patch));
        let mut names: Vec<_> = before.keys().chain(after.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let note = |name: &String| match (before.get(name), after.get(name)) {
            (Some(before), Some(after)) if before != after => {
                Some(format!("changes `{name}` from {} to {}", shown(before), shown(after)))
            }
            (Some(value), Some(_)) if !patched.contains_key(name) => {
                Some(format!("keeps `{name}` = {} of the version before", shown(value)))
            }
            (Some(_), Some(_)) | (None, None) => None,
            (None, Some(after)) => Some(format!("sets `{name}` to {}", shown(after))),
            (Some(before), None) => Some(format!("resets `{name}` to its default; it was {}", shown(before))),
        };
        names.into_iter().filter_map(note).collect()
    }
}

/// Replaces all settings.
impl From<Settings> for SettingsUpdate {
    fn from(settings: Settings) -> Self {
        Self::new(SettingsBase::Defaults, &settings)
    }
}

fn patched(settings: &Settings, patch: &Value) -> Result<Settings, serde_json::Error> {
    let mut document = to_json(settings);
    merge(&mut document, patch);
    serde_json::from_value(document)
}

/// Applies a JSON Merge Patch (RFC 7396 §2).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// Longest value in a note, characters.
const VALUE_CHARS_MAX: usize = 60;

/// Returns a value as a note shows it.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Returns every setting by its path in `nebula.toml`, such as `limits.deadline_ms`.
fn flat(settings: &Value) -> BTreeMap<String, &Value> {
    let mut found = BTreeMap::new();
    for (name, value) in settings.as_object().into_iter().flatten() {
        match value {
            Value::Object(table) => {
                found.extend(table.iter().map(|(entry, value)| (format!("{name}.{entry}"), value)));
            }
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                found.insert(name.clone(), value);
            }
        }
    }
    found
}

#[expect(clippy::expect_used, reason = "text, numbers and booleans under string keys always serialize")]
fn to_json(settings: &Settings) -> Value {
    serde_json::to_value(settings).expect("settings serialize")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn update(base: SettingsBase, patch: Value) -> SettingsUpdate {
        SettingsUpdate::parse(base, patch).unwrap()
    }

    fn settings(settings: Value) -> Settings {
        serde_json::from_value(settings).unwrap()
    }

    #[test]
    fn a_patch_sets_resets_and_keeps() {
        let before =
            settings(json!({"limits": {"deadline_ms": 5, "log_bytes_max": 7}, "cache": {"off": true}}));
        let patch = json!({"limits": {"deadline_ms": null, "input_bytes_max": 9}});
        let kept = update(SettingsBase::Current, patch.clone());
        let expected = json!({"limits": {"input_bytes_max": 9, "log_bytes_max": 7}, "cache": {"off": true}});
        assert_eq!(kept.apply(&before), settings(expected));
        assert_eq!(
            kept.notes(&before),
            [
                "keeps `cache.off` = true of the version before",
                "resets `limits.deadline_ms` to its default; it was 5",
                "sets `limits.input_bytes_max` to 9",
                "keeps `limits.log_bytes_max` = 7 of the version before",
            ]
        );
        let replaced = update(SettingsBase::Defaults, patch);
        assert_eq!(replaced.apply(&before), settings(json!({"limits": {"input_bytes_max": 9}})));
    }

    #[test]
    fn lists_are_replaced_and_noted() {
        let before = settings(json!({"route": ["/a", "/b/..."], "host": ["a.example"]}));
        let patch = update(SettingsBase::Current, json!({"route": ["/b/..."]}));
        let expected = settings(json!({"route": ["/b/..."], "host": ["a.example"]}));
        assert_eq!(patch.apply(&before), expected);
        assert_eq!(
            patch.notes(&before),
            [
                "keeps `host` = [\"a.example\"] of the version before",
                "changes `route` from [\"/a\",\"/b/...\"] to [\"/b/...\"]",
            ]
        );
        let reset = update(SettingsBase::Current, json!({"route": null, "host": null}));
        assert_eq!(reset.apply(&before), Settings::default());
        assert_eq!(
            reset.notes(&before),
            [
                "resets `host` to its default; it was [\"a.example\"]",
                "resets `route` to its default; it was [\"/a\",\"/b/...\"]",
            ]
        );
    }

    #[test]
    fn invalid_patches_are_refused() {
        for patch in [
            json!({"limits": {"deadline": 1}}),
            json!({"limits": {"deadline_ms": 0}}),
            json!({"limits": {"deadline_ms": "1"}}),
            json!({"limits": 1}),
            json!({"caching": {}}),
            json!({"config": {"KEY": 1}}),
            json!({"config": {"not a key": ""}}),
            json!({"route": ["a"]}),
            json!({"host": ["a:1"]}),
            json!(1),
        ] {
            assert!(SettingsUpdate::parse(SettingsBase::Current, patch.clone()).is_err(), "{patch}");
        }
    }

    #[test]
    fn a_patch_changes_single_constants() {
        let before = settings(json!({"config": {"A": "1", "B": "2", "C": "x".repeat(100)}}));
        let update = update(SettingsBase::Current, json!({"config": {"A": "3", "B": null, "D": "4"}}));
        let expected = json!({"config": {"A": "3", "C": "x".repeat(100), "D": "4"}});
        assert_eq!(update.apply(&before), settings(expected));
        assert_eq!(
            update.notes(&before),
            [
                "changes `config.A` from \"1\" to \"3\"".to_owned(),
                "resets `config.B` to its default; it was \"2\"".to_owned(),
                format!("keeps `config.C` = \"{}… of the version before", "x".repeat(VALUE_CHARS_MAX - 1)),
                "sets `config.D` to \"4\"".to_owned(),
            ]
        );
        assert!(update.sets_config());
        let removed = update.without_config();
        assert!(!removed.sets_config());
        assert_eq!(removed.apply(&before), Settings::default());
    }

    #[test]
    fn settings_as_an_update_are_complete() {
        let before = settings(json!({"limits": {"deadline_ms": 5}, "cache": {"ttl_s": 60}}));
        for after in [json!({}), json!({"limits": {"deadline_ms": 5}}), json!({"cache": {"off": true}})] {
            let after = settings(after);
            assert_eq!(SettingsUpdate::from(after.clone()).apply(&before), after);
        }
    }
}
