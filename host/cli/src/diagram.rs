//! A pipeline as a picture: for the terminal and as SVG.
//!
//! ```text
//! StepView --text--> lines with box-drawing characters
//!      --svg---> rectangles and lines (layout) --> SVG
//! ```
//!
//! Invariants:
//! * Everything written into the SVG is escaped, and a character that would act on a terminal or isn't seen
//!   is written as its number: a view may come from a server, and its constants from anyone.
//! * A drawing's size is bounded by the number of steps times a constant (of text: and their depth), as every
//!   text in it is shortened first.
//! * The same view gives the same drawing.
//! * A step of a kind that isn't known here is drawn too, under the name of its kind.

mod svg;
mod text;

use std::fmt::Write;

use nebula_http::wire::StepView;

pub(crate) use self::svg::svg;
pub(crate) use self::text::text;

/// What a step is called.
fn title(step: &StepView) -> String {
    let StepView { kind, label, .. } = step;
    match (kind.as_str(), &step.function) {
        ("call", None) => label.clone(),
        // Errors name the label, so it is said too, unless the function's name says it.
        ("call", Some(function)) if function.split('@').next() == Some(label) => function.clone(),
        ("call", Some(function)) => format!("{label} ({function})"),
        ("each", _) => "each item".to_owned(),
        ("group", _) if label == "." => "by the item".to_owned(),
        ("group", _) => format!("by {label}"),
        (kind, _) => format!("{kind} {label}").trim_end().to_owned(),
    }
}

/// The steps that are done one after the other: of a sequence those in it, else the step itself.
fn steps(view: &StepView) -> Vec<&StepView> {
    match view.kind.as_str() {
        "sequence" => view.inner.iter().flat_map(|(_, inner)| steps(inner)).collect(),
        _ => vec![view],
    }
}

/// The step that is done many times, if it is that kind of step.
fn repeated(step: &StepView) -> Option<&StepView> {
    match (step.kind.as_str(), step.inner.as_slice()) {
        ("each" | "group", [(_, inner)]) => Some(inner),
        _ => None,
    }
}

/// The steps of which each gets the value, or one does, with the field or case; a tuple's parts have numbers.
fn branches(step: &StepView) -> impl Iterator<Item = (String, &StepView)> {
    let numbered = step.inner.iter().enumerate();
    numbered.map(|(index, (name, inner))| (name.clone().unwrap_or_else(|| index.to_string()), inner))
}

/// `text` in at most `columns_max` columns, with `…` for its middle if it is longer: a type's end says
/// something too.
fn shorten(text: &str, columns_max: usize) -> String {
    let text = visible(text);
    if columns(&text) <= columns_max {
        return text;
    }
    let end_max = columns_max.saturating_sub(1) / 3;
    let end: Vec<char> = fitting(text.chars().rev(), end_max).collect();
    let begin = fitting(text.chars(), columns_max.saturating_sub(1 + end_max));
    begin.chain(['…']).chain(end.into_iter().rev()).collect()
}

/// The first of `chars` that fit in `columns_max`.
fn fitting(chars: impl Iterator<Item = char>, columns_max: usize) -> impl Iterator<Item = char> {
    let mut used = 0;
    chars.take_while(move |&char| {
        used += column_count(char);
        used <= columns_max
    })
}

/// `text` with what acts on a terminal, isn't seen, or can't be in XML as its number.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        let hidden = matches!(
            char,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}' | '\u{e0000}'..='\u{e0fff}'
        );
        if hidden || char.is_control() {
            // Writing to a `String` doesn't fail.
            let _ = write!(out, "{}", char.escape_unicode());
        } else {
            out.push(char);
        }
    }
    out
}

/// The columns that `text` takes in a monospace font.
fn columns(text: &str) -> usize {
    text.chars().map(column_count).sum()
}

/// Two for the scripts and signs that are drawn so wide, else one. Never none: this bounds a text's size.
fn column_count(char: char) -> usize {
    match char {
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod samples {
    //! Pipelines to draw.

    use nebula_http::wire::StepView;

    const ROW: &str = "record { region: string, product: string, amount: f64, sold-at-unix-s: u64 }";

    pub(super) fn call(label: &str, takes: &str, gives: &str) -> StepView {
        StepView { function: Some(label.to_owned()), ..step("call", label, takes, gives, Vec::new()) }
    }

    pub(super) fn step(
        kind: &str,
        label: &str,
        takes: &str,
        gives: &str,
        inner: Vec<(Option<&str>, StepView)>,
    ) -> StepView {
        StepView {
            kind: kind.to_owned(),
            label: label.to_owned(),
            function: None,
            takes: takes.to_owned(),
            gives: gives.to_owned(),
            inner: inner.into_iter().map(|(name, view)| (name.map(str::to_owned), view)).collect(),
        }
    }

    /// Its type is its first step's and its last one's.
    pub(super) fn sequence(steps: Vec<StepView>) -> StepView {
        let (takes, gives) = (steps[0].takes.clone(), steps[steps.len() - 1].gives.clone());
        step("sequence", "", &takes, &gives, steps.into_iter().map(|step| (None, step)).collect())
    }

    pub(super) fn meme() -> StepView {
        let record = "record { image: payload, top: \"hi\" }";
        let image = step("select", ".", "payload", "payload", Vec::new());
        let top = step("constant", "\"hi\"", "payload", "\"hi\"", Vec::new());
        let all = step("all", "", "payload", record, vec![(Some("image"), image), (Some("top"), top)]);
        let memeify =
            StepView { function: Some("memeify@v2".to_owned()), ..call("memeify", record, "list<u8>") };
        sequence(vec![
            call("thumbnail", "payload", "payload"),
            all,
            memeify,
            call("sha256", "list<u8>", "string"),
        ])
    }

    pub(super) fn reduce() -> StepView {
        let (item, result) = ("record { seed: u64, trials: u32 }", "record { inside: u64, trials: u64 }");
        let (items, results) = (format!("list<{item}>"), format!("list<{result}>"));
        let each = step("each", "", &items, &results, vec![(None, call("trials", item, result))]);
        sequence(vec![each, call("estimate", &results, "f64")])
    }

    pub(super) fn choice() -> StepView {
        let kinds = "variant { image(list<u8>), text(string), other }";
        let bytes = |name| call(name, "list<u8>", "list<u8>");
        let record = "record { html: string, slug: string }";
        let first_line =
            StepView { function: Some("first-line".to_owned()), ..call("title", "string", "string") };
        let slug = sequence(vec![first_line, call("slugify", "string", "string")]);
        let html = call("markdown", "string", "string");
        let all = step("all", "", "string", record, vec![(Some("html"), html), (Some("slug"), slug)]);
        let text = sequence(vec![all, call("page", record, "list<u8>")]);
        let cases = vec![
            (Some("image"), sequence(vec![bytes("grey"), bytes("blur"), bytes("png")])),
            (Some("text"), text),
            (Some("other"), step("constant", "[]", "nothing", "[]", Vec::new())),
        ];
        let choice = step("choice", "", kinds, "list<u8>", cases);
        sequence(vec![call("classify", "payload", kinds), choice, call("pack", "list<u8>", "payload")])
    }

    pub(super) fn group() -> StepView {
        let rows = format!("list<{ROW}>");
        let select = step("select", "amount", ROW, "f64", Vec::new());
        let amounts = step("each", "", &rows, "list<f64>", vec![(None, select)]);
        let sum = sequence(vec![amounts, call("sum", "list<f64>", "f64")]);
        let group =
            step("group", "region", &rows, "list<record { key: string, value: f64 }>", vec![(None, sum)]);
        sequence(vec![call("csv-rows", "string", &rows), group])
    }

    /// Everything in everything, to a depth.
    pub(super) fn nested(depth: usize) -> StepView {
        if depth == 0 {
            return call("leaf", ROW, "漢字");
        }
        let pass = step("sequence", "", "string", "string", Vec::new());
        let narrow = step("select", ".", "nothing", "u8", Vec::new());
        let tuple =
            step("all", "", ROW, ROW, vec![(None, nested(depth - 1)), (None, pass.clone()), (None, narrow)]);
        let each = step("each", "", ROW, ROW, vec![(None, nested(depth - 1))]);
        let group = step("group", &"key".repeat(30), "a", "b", vec![(None, pass)]);
        let cases = vec![(Some("a"), sequence(vec![tuple, each])), (Some("a-case-with-a-long-name"), group)];
        step("choice", "", "bool", "<&\"'>", cases)
    }

    pub(super) fn all() -> Vec<StepView> {
        (0..5).map(nested).chain([meme(), reduce(), choice(), group()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_lose_their_middle() {
        let ty = "list<record { seed: u64, trials: u32 }>";
        assert_eq!(shorten(ty, 39), ty);
        assert_eq!(shorten(ty, 20), "list<record {…u32 }>");
        assert_eq!(columns(&shorten(ty, 20)), 20);
        assert_eq!(shorten("漢字漢字漢字", 8), "漢字…字");
    }

    #[test]
    fn what_acts_on_a_terminal_is_written_as_its_number() {
        assert_eq!(
            visible("a\u{1b}[2J\u{9b}\n\u{202e}b é\u{ffff}"),
            "a\\u{1b}[2J\\u{9b}\\u{a}\\u{202e}b é\\u{ffff}"
        );
    }

    #[test]
    fn a_call_is_named_by_its_function_and_by_its_label_if_that_differs() {
        let call = |label: &str, function: Option<&str>| {
            title(&StepView { function: function.map(str::to_owned), ..samples::call(label, "a", "b") })
        };
        assert_eq!(call("thumbnail", Some("thumbnail")), "thumbnail");
        assert_eq!(call("thumbnail", Some("thumbnail@v3")), "thumbnail@v3");
        assert_eq!(call("thumbnail-2", Some("thumbnail")), "thumbnail-2 (thumbnail)");
        assert_eq!(call("small", None), "small");
    }

    /// The names of the elements, in order. Panics if it isn't well-formed, as far as is made use of here.
    fn elements(svg: &str) -> Vec<&str> {
        let (mut open, mut seen) = (Vec::new(), Vec::new());
        let mut rest = svg;
        while let Some((text, tag)) = rest.split_once('<') {
            assert!(!text.contains('>') && well_escaped(text), "{text}");
            let (tag, after) = tag.split_once('>').unwrap();
            rest = after;
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
                continue;
            }
            let name = tag.split([' ', '/']).next().unwrap();
            seen.push(name);
            let attributes = &tag[name.len()..];
            assert!(attributes.matches('"').count().is_multiple_of(2) && well_escaped(attributes), "{tag}");
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert!(open.is_empty() && rest == "\n", "{open:?} {rest}");
        seen
    }

    fn well_escaped(text: &str) -> bool {
        let known = ["amp;", "lt;", "gt;", "quot;", "apos;"];
        text.split('&').skip(1).all(|after| known.iter().any(|entity| after.starts_with(entity)))
    }

    #[test]
    fn an_svg_is_well_formed() {
        let known = ["svg", "title", "style", "rect", "text", "g", "path"];
        for view in samples::all() {
            let svg = svg("<&\"'>", &view);
            let elements = elements(&svg);
            assert!(elements.iter().all(|element| known.contains(element)));
            // The whole has a title, and so has each text.
            let count = |name| elements.iter().filter(|element| **element == name).count();
            assert_eq!(count("title"), count("text") + 1);
        }
    }

    #[test]
    fn what_is_in_a_text_is_never_markup() {
        let evil = "</text><script>&\"'\u{0}";
        let escaped = "&lt;/text&gt;&lt;script&gt;&amp;&quot;&apos;\\u{0}";
        let call = samples::step(evil, evil, evil, evil, vec![(Some(evil), samples::call(evil, evil, evil))]);
        let svg = svg(evil, &call);
        assert!(svg.contains(&format!("<title>{escaped}</title>\n<style>")));
        assert!(svg.contains(&format!("<title>{escaped}</title>{escaped}</text>")));
        assert!(!svg.contains("<script") && !svg.contains(evil) && !svg.contains('\0'));
        elements(&svg);
    }
}
