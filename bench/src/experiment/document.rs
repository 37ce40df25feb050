//! A document that is written both as Markdown and as one self-contained page of HTML.

use std::fmt::Write;

use super::dots::escape;

/// A part of a document.
#[derive(Clone, Debug)]
pub(crate) enum Block {
    Heading(String),
    /// A paragraph. Text between backticks is code.
    Text(String),
    Items(Vec<String>),
    Table {
        heads: Vec<String>,
        rows: Vec<Vec<String>>,
    },
    /// A drawing: its file beside the Markdown, its content in the page.
    Chart {
        file: String,
        svg: String,
        title: String,
    },
}

/// A document with a title.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) title: String,
    pub(crate) blocks: Vec<Block>,
}

const STYLE: &str = ":root{color-scheme:light dark}\
    body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
    color:#24292f;background:#fff}\
    table{border-collapse:collapse;display:block;overflow-x:auto;font-variant-numeric:tabular-nums}\
    th,td{border:1px solid #d0d7de;padding:.3rem .6rem;text-align:right;vertical-align:top}\
    .text{text-align:left}svg{max-width:100%;height:auto}\
    code{font-family:ui-monospace,monospace}\
    @media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}th,td{border-color:#3d444d}}";

impl Document {
    /// Renders Markdown that refers to the files of the charts.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("# {}\n", self.title);
        // Writing to a `String` can't fail.
        for block in &self.blocks {
            let _ = match block {
                Block::Heading(heading) => writeln!(text, "\n## {heading}"),
                Block::Text(paragraph) => writeln!(text, "\n{paragraph}"),
                Block::Items(items) => writeln!(text, "\n* {}", items.join("\n* ")),
                Block::Chart { file, title, .. } => writeln!(text, "\n![{title}]({file})"),
                Block::Table { heads, rows } => {
                    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
                    let rule = |column| if is_text(rows, column) { "---|" } else { "--:|" };
                    let rule: String = (0..heads.len()).map(rule).collect();
                    let rows: Vec<_> = rows.iter().map(|row| line(row)).collect();
                    writeln!(text, "\n{}\n|{rule}\n{}", line(heads), rows.join("\n"))
                }
            };
        }
        text
    }

    /// Renders a page that refers to nothing outside.
    pub(crate) fn html(&self) -> String {
        let mut body = format!("<h1>{}</h1>\n", inline(&self.title));
        // Writing to a `String` can't fail.
        for block in &self.blocks {
            let _ = match block {
                Block::Heading(heading) => writeln!(body, "<h2>{}</h2>", inline(heading)),
                Block::Text(paragraph) => writeln!(body, "<p>{}</p>", inline(paragraph)),
                Block::Items(items) => {
                    let items: Vec<_> =
                        items.iter().map(|item| format!("<li>{}</li>", inline(item))).collect();
                    writeln!(body, "<ul>{}</ul>", items.concat())
                }
                Block::Chart { svg, .. } => writeln!(body, "<figure>{svg}</figure>"),
                Block::Table { heads, rows } => {
                    let cell = |tag: &str, column, cell: &str| {
                        let class = if is_text(rows, column) { " class=\"text\"" } else { "" };
                        format!("<{tag}{class}>{}</{tag}>", inline(cell))
                    };
                    let cells = |tag: &str, cells: &[String]| -> String {
                        cells.iter().enumerate().map(|(column, text)| cell(tag, column, text)).collect()
                    };
                    let rows: Vec<_> =
                        rows.iter().map(|row| format!("<tr>{}</tr>", cells("td", row))).collect();
                    writeln!(
                        body,
                        "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>",
                        cells("th", heads),
                        rows.concat()
                    )
                }
            };
        }
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>{}</title>\n<style>{STYLE}</style>\n{body}</html>\n",
            escape(&self.title)
        )
    }
}

/// Returns whether a column begins at the left: it names the row, or has words in it.
fn is_text(rows: &[Vec<String>], column: usize) -> bool {
    let has_words =
        |row: &Vec<String>| row.get(column).is_some_and(|cell| cell.starts_with(char::is_alphabetic));
    column == 0 || rows.iter().any(has_words)
}

/// Escapes text, and makes code of what is between backticks.
fn inline(text: &str) -> String {
    let mut html = String::new();
    for (index, part) in text.split('`').enumerate() {
        let part = escape(part);
        if index % 2 == 1 {
            let _ = write!(html, "<code>{part}</code>");
        } else {
            html.push_str(&part);
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_have_every_block() {
        let document = Document {
            title: "A & B".to_owned(),
            blocks: vec![
                Block::Heading("Head".to_owned()),
                Block::Text("Run `x < y`.".to_owned()),
                Block::Items(vec!["one".to_owned(), "two".to_owned()]),
                Block::Table {
                    heads: ["name", "n", "what"].map(str::to_owned).to_vec(),
                    rows: vec![["a", "1", "b"].map(str::to_owned).to_vec()],
                },
                Block::Chart {
                    file: "charts/a.svg".to_owned(),
                    svg: "<svg></svg>".to_owned(),
                    title: "drawn".to_owned(),
                },
            ],
        };
        let expected = "# A & B\n\n## Head\n\nRun `x < y`.\n\n* one\n* two\n\n| name | n | what |\n|---|--:|---|\n| a | 1 | b |\n\n\
                        ![drawn](charts/a.svg)\n";
        assert_eq!(document.markdown(), expected);
        let html = document.html();
        for part in [
            "<h1>A &amp; B</h1>",
            "<code>x &lt; y</code>",
            "<li>two</li>",
            "<td>1</td>",
            "<td class=\"text\">b</td>",
            "<svg></svg>",
        ] {
            assert!(html.contains(part), "{part}");
        }
        assert!(!html.contains("charts/a.svg"));
    }
}
