//! The outline of a [`StepView`]: how both drawings name and nest its steps.

use nebula_http::wire::StepView;

/// Returns the title of a step.
pub(super) fn title(step: &StepView) -> String {
    let StepView { kind, label, .. } = step;
    match (kind.as_str(), &step.function) {
        ("call", None) => label.clone(),
        // Errors name the label, so it is shown unless it equals the function's name.
        ("call", Some(function)) if function.split('@').next() == Some(label) => function.clone(),
        ("call", Some(function)) => format!("{label} ({function})"),
        ("each", _) => "each item".to_owned(),
        ("group", _) if label == "." => "by the item".to_owned(),
        ("group", _) => format!("by {label}"),
        (kind, _) => format!("{kind} {label}").trim_end().to_owned(),
    }
}

/// Returns the steps that run in sequence: those of a sequence, else the step itself.
pub(super) fn steps(view: &StepView) -> Vec<&StepView> {
    match view.kind.as_str() {
        "sequence" => view.inner.iter().flat_map(|(_, inner)| steps(inner)).collect(),
        _ => vec![view],
    }
}

/// Returns the step that runs once for each item or group; `None` for steps of other kinds.
pub(super) fn repeated(step: &StepView) -> Option<&StepView> {
    match (step.kind.as_str(), step.inner.as_slice()) {
        ("each" | "group", [(_, inner)]) => Some(inner),
        _ => None,
    }
}

/// Returns the branches of an `all` or `choice` with their field or case; the parts of a tuple have
/// numbers.
pub(super) fn branches(step: &StepView) -> impl Iterator<Item = (String, &StepView)> {
    let numbered = step.inner.iter().enumerate();
    numbered.map(|(index, (name, inner))| (name.clone().unwrap_or_else(|| index.to_string()), inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagram::samples;

    #[test]
    fn calls_show_their_label_only_if_it_differs_from_the_function() {
        let call = |label: &str, function: Option<&str>| {
            title(&StepView { function: function.map(str::to_owned), ..samples::call(label, "a", "b") })
        };
        assert_eq!(call("thumbnail", Some("thumbnail")), "thumbnail");
        assert_eq!(call("thumbnail", Some("thumbnail@v3")), "thumbnail@v3");
        assert_eq!(call("thumbnail-2", Some("thumbnail")), "thumbnail-2 (thumbnail)");
        assert_eq!(call("small", None), "small");
    }
}
