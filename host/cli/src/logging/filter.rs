//! The filter of the log: a level, or levels by target.
//!
//! ```text
//! info,nebula::call=error,h2=debug
//! ```
//!
//! A filter that says something else than its author means would hide events, so it is an error.

use std::env;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use crate::args::{DEFAULT_FILTER, FILTER_VARIABLES};
use crate::report::{HintedError, hinted};

/// The target of what functions print. Only an option shows it: it is the data of tenants.
const GUEST: &str = "nebula::guest";

/// The target of failed calls.
const CALL: &str = "nebula::call";

/// The beginning of the server's own targets.
const OWN: &str = "nebula";

/// The way in which calls and the output of functions are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallEvents {
    /// They are events.
    Logged,
    /// The command prints them itself.
    Printed,
}

/// Returns the filter that the environment gives.
///
/// # Errors
/// If it isn't a filter.
pub(super) fn from_environment(calls: CallEvents, guest_log: bool) -> Result<Targets, HintedError> {
    let given = FILTER_VARIABLES.into_iter().find_map(|name| {
        let value = env::var_os(name).filter(|value| !value.is_empty())?;
        Some((name, value.to_string_lossy().into_owned()))
    });
    let (name, text) = given.unwrap_or(("the default", DEFAULT_FILTER.to_owned()));
    let filter = parse(&text).map_err(|reason| {
        let hint = "a filter is a level (off, error, warn, info, debug, trace), or levels by target, such as \
                    `info,nebula::call=error`";
        hinted(format!("`{name}` isn't a filter of the log: {reason}"), hint)
    })?;
    let guest = if guest_log && calls == CallEvents::Logged { LevelFilter::INFO } else { LevelFilter::OFF };
    let filter = filter.with_target(GUEST, guest);
    Ok(match calls {
        CallEvents::Logged => filter,
        CallEvents::Printed => filter.with_target(CALL, LevelFilter::OFF),
    })
}

/// Parses a filter.
///
/// # Errors
/// The reason, if a part of it is neither a level nor a target with a level.
fn parse(text: &str) -> Result<Targets, String> {
    let mut filter = Targets::new();
    for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        let (target, level) = match directive.split_once('=') {
            Some((target, level)) => (Some(target.trim()), level.trim()),
            // One of the server's own targets alone: all of its events.
            None if is_own(directive) => (Some(directive), "trace"),
            None => (None, directive),
        };
        // An empty text would be `error`.
        let parsed = level.parse::<LevelFilter>().ok().filter(|_| !level.is_empty());
        let level = parsed.ok_or_else(|| format!("`{level}` isn't a level"))?;
        filter = match target {
            None => filter.with_default(level),
            Some(target) if is_target(target) => filter.with_target(target, level),
            Some(target) => return Err(format!("`{target}` isn't a target")),
        };
    }
    Ok(filter)
}

fn is_own(target: &str) -> bool {
    target == OWN || target.strip_prefix(OWN).is_some_and(|rest| rest.starts_with("::") && is_target(target))
}

/// Returns whether a text is the path of a module.
fn is_target(text: &str) -> bool {
    let is_name =
        |name: &str| !name.is_empty() && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_');
    text.split("::").all(is_name)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_filter_is_a_level_or_levels_by_target() {
        let enables = |text: &str, target: &str, level| parse(text).unwrap().would_enable(target, &level);
        for (text, target, least) in [
            ("info", "h2", Level::INFO),
            ("WARN", "nebula::call", Level::WARN),
            ("info,nebula::call=error", "nebula::call", Level::ERROR),
            ("info , nebula::call = debug,", "nebula::call", Level::DEBUG),
            ("warn,nebula=debug", "nebula::deploy", Level::DEBUG),
            ("warn,nebula::deploy", "nebula::deploy", Level::TRACE),
            ("nebula=trace", "nebula::deploy", Level::TRACE),
        ] {
            let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
            for level in levels {
                assert_eq!(enables(text, target, level), level <= least, "{text}: {target} {level}");
            }
        }
        for (text, target) in [("off", "h2"), ("nebula=info", "h2"), ("info,h2=off", "h2"), ("", "h2")] {
            assert!(!enables(text, target, Level::ERROR), "{text}");
        }
    }

    #[test]
    fn other_texts_are_errors() {
        for (text, reason) in [
            ("inof", "`inof` isn't a level"),
            ("nebula=inof", "`inof` isn't a level"),
            ("info,nebulacall=x", "`x` isn't a level"),
            ("nebula:call=info", "`nebula:call` isn't a target"),
            ("=info", "`` isn't a target"),
            ("nebula=", "`` isn't a level"),
            ("[span]=info", "`[span]` isn't a target"),
            ("nebula::", "`nebula::` isn't a level"),
            ("info;warn", "`info;warn` isn't a level"),
        ] {
            assert_eq!(parse(text).unwrap_err(), reason, "{text}");
        }
    }
}
