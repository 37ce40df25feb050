//! The outline of a [`View`]: how both drawings name, nest and place its steps.

use nebula_pipeline::View;

use crate::legible::shorten;

/// The longest name in a pointer, columns. The names of a description are no longer.
const NAME_COLUMNS_MAX: usize = 64;

/// A step with its place in the description.
#[derive(Clone)]
pub(crate) struct PlacedStep<'a> {
    pub(crate) view: &'a View,
    /// The JSON pointer (RFC 6901) to the step in the description as the server returns it, whose
    /// sequences are arrays.
    pub(crate) pointer: String,
}

impl<'a> PlacedStep<'a> {
    /// Returns the root of a pipeline.
    pub(crate) fn root(view: &'a View) -> Self {
        Self { view, pointer: "/steps".to_owned() }
    }

    /// Returns the steps that run in sequence: those of a sequence, else the step itself.
    pub(crate) fn steps(&self) -> Vec<Self> {
        match self.view.kind.as_str() {
            "sequence" => self.branches().flat_map(|(_, inner)| inner.steps()).collect(),
            _ => vec![self.clone()],
        }
    }

    /// Returns the step that runs once for each item or group; `None` for steps of other kinds.
    pub(crate) fn repeated(&self) -> Option<Self> {
        match (self.view.kind.as_str(), self.view.inner.len()) {
            ("each" | "group", 1) => self.branches().next().map(|(_, inner)| inner),
            _ => None,
        }
    }

    /// Returns the steps inside with their field or case. Those without a name have numbers, as the
    /// parts of a tuple.
    pub(crate) fn branches(&self) -> impl Iterator<Item = (String, Self)> {
        let numbered = self.view.inner.iter().enumerate();
        numbered.map(|(index, (name, view))| {
            let name = name.clone().unwrap_or_else(|| index.to_string());
            let within = match self.view.kind.as_str() {
                "sequence" => index.to_string(),
                "each" => "each".to_owned(),
                "group" => "group/each".to_owned(),
                kind => format!("{}/{}", segment(kind), segment(&name)),
            };
            (name, Self { view, pointer: format!("{}/{within}", self.pointer) })
        })
    }

    /// Returns the title of the step.
    pub(crate) fn title(&self) -> String {
        let View { kind, label, .. } = self.view;
        match (kind.as_str(), &self.view.function) {
            ("call", None) => label.clone(),
            // Errors name the label, so it is shown unless it equals the function's name.
            ("call", Some(function)) if function_name(function) == label => function.clone(),
            ("call", Some(function)) => format!("{label} ({function})"),
            ("each", _) => "each item".to_owned(),
            ("group", _) if label == "." => "by the item".to_owned(),
            ("group", _) => format!("by {label}"),
            (kind, _) => format!("{kind} {label}").trim_end().to_owned(),
        }
    }

    /// Returns the title with the types of the step.
    pub(crate) fn full_title(&self) -> String {
        format!("{}: {} → {}", self.title(), self.view.takes, self.view.gives)
    }
}

/// Returns the name of a function without its version.
pub(crate) fn function_name(function: &str) -> &str {
    function.split_once('@').map_or(function, |(name, _)| name)
}

/// Returns a name as a part of a JSON pointer.
fn segment(name: &str) -> String {
    shorten(name, NAME_COLUMNS_MAX).replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn calls_show_their_label_only_if_it_differs_from_the_function() {
        let call = |label: &str, function: Option<&str>| {
            let view = View { function: function.map(str::to_owned), ..samples::call(label, "a", "b") };
            PlacedStep::root(&view).title()
        };
        assert_eq!(call("thumbnail", Some("thumbnail")), "thumbnail");
        assert_eq!(call("thumbnail", Some("thumbnail@v3")), "thumbnail@v3");
        assert_eq!(call("thumbnail-2", Some("thumbnail")), "thumbnail-2 (thumbnail)");
        assert_eq!(call("small", None), "small");
    }

    /// Returns the pointers to a step and all inside it, in the order in which they are written.
    fn pointers(step: &PlacedStep<'_>) -> Vec<String> {
        let inner = step.branches().flat_map(|(_, inner)| pointers(&inner));
        [step.pointer.clone()].into_iter().chain(inner).collect()
    }

    #[test]
    fn pointers_lead_through_every_kind_of_step() {
        let leaf = || samples::call("f", "a", "b");
        let named = |kind| {
            let inner = vec![(Some("x"), leaf()), (Some("a/b~c"), leaf()), (None, leaf())];
            samples::step(kind, "", "a", "b", inner)
        };
        let repeated = |kind| samples::step(kind, "k", "a", "b", vec![(None, leaf())]);
        let of = |view: &View| pointers(&PlacedStep::root(view));
        assert_eq!(of(&leaf()), ["/steps"]);
        assert_eq!(
            of(&samples::sequence(vec![leaf(), samples::sequence(vec![leaf()])])),
            ["/steps", "/steps/0", "/steps/1", "/steps/1/0"]
        );
        for kind in ["all", "choice", "race"] {
            let inner = ["x", "a~1b~0c", "2"].map(|name| format!("/steps/{kind}/{name}"));
            assert_eq!(of(&named(kind))[1..], inner);
        }
        assert_eq!(of(&repeated("each"))[1..], ["/steps/each"]);
        assert_eq!(of(&repeated("group"))[1..], ["/steps/group/each"]);
        let long = "n".repeat(1000);
        let deep = samples::step("choice", "", "a", "b", vec![(Some(&long), leaf())]);
        assert!(of(&deep)[1].len() < 100, "{:?}", of(&deep));
    }

    #[test]
    fn pointers_are_distinct() {
        for view in samples::all() {
            let mut all = pointers(&PlacedStep::root(&view));
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), count);
        }
    }
}
