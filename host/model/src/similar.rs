//! The known name that a misspelt one probably stands for.

/// Maximum length of the names that are compared, bytes. A comparison takes time in proportion to
/// the product of both lengths, and the caller chooses one of them.
const NAME_BYTES_MAX: usize = 64;

/// Maximum number of known names that are compared.
const KNOWN_MAX: usize = 1_000;

/// One wrong character in this many is tolerated.
const CHARS_PER_MISTAKE: usize = 3;

/// Returns the known name that is most similar to `name`; `None` if no name is similar. Case and
/// punctuation don't count, so `firstName` and `first_name` are `first-name`.
///
/// ```
/// use nebula_model::similar::most_similar;
///
/// assert_eq!(most_similar("folowers", ["settings", "followers"]), Some("followers"));
/// assert_eq!(most_similar("firstName", ["last-name", "first-name"]), Some("first-name"));
/// assert_eq!(most_similar("colour", ["size", "weight"]), None);
/// ```
pub fn most_similar<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let written = simplified(name);
    let candidates = known.into_iter().take(KNOWN_MAX).filter(|known| known.len() <= NAME_BYTES_MAX);
    let rated = candidates.filter_map(|known| {
        let meant = simplified(known);
        let chars = written.chars().count().max(meant.chars().count());
        let mistakes = strsim::osa_distance(&written, &meant);
        (chars > 0 && mistakes <= chars / CHARS_PER_MISTAKE).then_some((mistakes, known))
    });
    rated.min_by_key(|(mistakes, _)| *mistakes).map(|(_, known)| known)
}

/// Returns the question whether the most similar name is meant.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    most_similar(name, known).map(|known| format!("did you mean `{known}`?"))
}

fn simplified(name: &str) -> String {
    name.chars().filter(|char| char.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_mistakes_are_recognized() {
        let known = ["deadline_ms", "memory_bytes_max", "followers", "ok", "err", "high-priority"];
        for (written, meant) in [
            // A missing, an extra, a wrong and two swapped characters.
            ("folowers", Some("followers")),
            ("followerss", Some("followers")),
            ("fallowers", Some("followers")),
            ("folloewrs", Some("followers")),
            ("deadlineMs", Some("deadline_ms")),
            ("deadline-ms", Some("deadline_ms")),
            ("HIGH_PRIORITY", Some("high-priority")),
            ("eror", Some("err")),
            ("OK", Some("ok")),
            ("no", None),
            ("", None),
            ("-", None),
            ("something-else", None),
        ] {
            assert_eq!(most_similar(written, known), meant, "{written}");
        }
    }

    #[test]
    fn the_closest_of_several_names_is_returned() {
        assert_eq!(most_similar("value-2", ["value-10", "value-3", "value-2b"]), Some("value-3"));
        assert_eq!(most_similar("values", ["valued", "value", "valuesy", "Values"]), Some("Values"));
    }

    /// A caller chooses the length of a wrong name.
    #[test]
    fn long_names_are_not_compared() {
        let long = "a".repeat(1 << 20);
        assert_eq!(most_similar(&long, ["a"]), None);
        assert_eq!(most_similar("a", [&*long]), None);
    }
}
