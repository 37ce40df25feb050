//! The versions of WASI that a component names.

/// The interface of configuration. The phase of its proposal has only prereleases, which aren't
/// compatible with each other.
pub(crate) const CONFIG: &str = "wasi:config/store@0.2.0-rc.1";

/// The beginning of the names of configuration.
const CONFIG_PACKAGE: &str = "wasi:config/";

/// The beginning of the versions that are supported. They are compatible with each other.
const SUPPORTED: &str = "0.2.";

/// Returns whether an interface has a supported version of WASI: a release of 0.2, or for
/// configuration the prerelease that is linked.
pub(crate) fn is_supported(name: &str) -> bool {
    match name.starts_with(CONFIG_PACKAGE) {
        true => name == CONFIG,
        false => version_of(name).is_some_and(is_supported_version),
    }
}

/// Returns what to say about the first of these imports and exports that has another version of
/// WASI; `None` if all are supported.
pub(crate) fn unsupported<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    names.into_iter().find_map(|name| {
        let version = version_of(name).filter(|_| !is_supported(name))?;
        if name.starts_with(CONFIG_PACKAGE) {
            return Some(format!("`{name}` is not supported: use `{CONFIG}`"));
        }
        // A release is named by its compatible range, a prerelease in full: it has none.
        let shown = match version.split('.').collect::<Vec<_>>().as_slice() {
            [major, minor, patch] if is_number(patch) => format!("{major}.{minor}"),
            _ => version.to_owned(),
        };
        Some(format!("WASI {shown} is not supported (it uses `{name}`): build the component for WASI 0.2"))
    })
}

/// Returns the version of an interface of WASI.
pub(crate) fn version_of(name: &str) -> Option<&str> {
    name.strip_prefix("wasi:")?.split_once('@').map(|(_, version)| version)
}

fn is_supported_version(version: &str) -> bool {
    version.strip_prefix(SUPPORTED).is_some_and(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_prerelease_of_configuration_is_supported() {
        assert!(is_supported(CONFIG));
        assert_eq!(unsupported([CONFIG]), None);
        for name in [
            "wasi:config/store@0.2.0",
            "wasi:config/store@0.2.0-rc.10",
            "wasi:config/store@0.2.0-draft-2024-09-27",
            "wasi:config/runtime@0.2.0-draft",
        ] {
            assert!(!is_supported(name), "{name}");
            assert_eq!(unsupported([name]), Some(format!("`{name}` is not supported: use `{CONFIG}`")));
        }
    }

    #[test]
    fn releases_of_0_2_are_supported() {
        for (name, shown) in [
            ("wasi:http/types@0.2.0", None),
            ("wasi:http/types@0.2.99", None),
            ("wasi:http/types@0.3.0", Some("0.3")),
            ("wasi:http/types@0.3.2", Some("0.3")),
            ("wasi:http/types@1.0.0", Some("1.0")),
            ("wasi:http/types@0.2.0-rc-2023-11-10", Some("0.2.0-rc-2023-11-10")),
            ("wasi:http/types@0.3.0-rc-2025-09-16", Some("0.3.0-rc-2025-09-16")),
            ("wasi:http/types@0.2", Some("0.2")),
            ("acme:mail/send@0.3.0", None),
            ("handle", None),
        ] {
            let found = unsupported([name]);
            let expected = shown.map(|shown| format!("WASI {shown} is not supported (it uses `{name}`)"));
            assert_eq!(found.is_some(), expected.is_some(), "{name}: {found:?}");
            assert!(found.is_none_or(|found| found.starts_with(&expected.unwrap_or_default())), "{name}");
            assert_eq!(is_supported(name), shown.is_none() && name.starts_with("wasi:"), "{name}");
        }
    }
}
