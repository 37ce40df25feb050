//! Pipelines for tests of drawings.

use nebula_pipeline::View;

const ROW: &str = "record { region: string, product: string, amount: f64, sold-at-unix-s: u64 }";

pub(crate) fn call(label: &str, takes: &str, gives: &str) -> View {
    View { function: Some(label.to_owned()), ..step("call", label, takes, gives, Vec::new()) }
}

pub(crate) fn step(
    kind: &str,
    label: &str,
    takes: &str,
    gives: &str,
    inner: Vec<(Option<&str>, View)>,
) -> View {
    View {
        kind: kind.to_owned(),
        label: label.to_owned(),
        function: None,
        takes: takes.to_owned(),
        gives: gives.to_owned(),
        inner: inner.into_iter().map(|(name, view)| (name.map(str::to_owned), view)).collect(),
    }
}

/// A sequence: it takes what its first step takes and gives what its last one gives.
pub(crate) fn sequence(steps: Vec<View>) -> View {
    let (takes, gives) = (steps[0].takes.clone(), steps[steps.len() - 1].gives.clone());
    step("sequence", "", &takes, &gives, steps.into_iter().map(|step| (None, step)).collect())
}

pub(crate) fn meme() -> View {
    let record = "record { image: payload, top: \"hi\" }";
    let image = step("select", ".", "payload", "payload", Vec::new());
    let top = step("constant", "\"hi\"", "payload", "\"hi\"", Vec::new());
    let all = step("all", "", "payload", record, vec![(Some("image"), image), (Some("top"), top)]);
    let memeify = View { function: Some("memeify@v2".to_owned()), ..call("memeify", record, "list<u8>") };
    sequence(vec![
        call("thumbnail", "payload", "payload"),
        all,
        memeify,
        call("sha256", "list<u8>", "string"),
    ])
}

pub(crate) fn reduce() -> View {
    let (item, result) = ("record { seed: u64, trials: u32 }", "record { inside: u64, trials: u64 }");
    let (items, results) = (format!("list<{item}>"), format!("list<{result}>"));
    let each = step("each", "", &items, &results, vec![(None, call("trials", item, result))]);
    sequence(vec![each, call("estimate", &results, "f64")])
}

pub(crate) fn choice() -> View {
    let kinds = "variant { image(list<u8>), text(string), other }";
    let bytes = |name| call(name, "list<u8>", "list<u8>");
    let record = "record { html: string, slug: string }";
    let first_line = View { function: Some("first-line".to_owned()), ..call("title", "string", "string") };
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

pub(crate) fn group() -> View {
    let rows = format!("list<{ROW}>");
    let select = step("select", "amount", ROW, "f64", Vec::new());
    let amounts = step("each", "", &rows, "list<f64>", vec![(None, select)]);
    let sum = sequence(vec![amounts, call("sum", "list<f64>", "f64")]);
    let group = step("group", "region", &rows, "list<record { key: string, value: f64 }>", vec![(None, sum)]);
    sequence(vec![call("csv-rows", "string", &rows), group])
}

/// Steps of all kinds, nested to a depth.
pub(crate) fn nested(depth: usize) -> View {
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

pub(crate) fn all() -> Vec<View> {
    (0..5).map(nested).chain([meme(), reduce(), choice(), group()]).collect()
}
