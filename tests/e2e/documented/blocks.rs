//! Blocks of commands in Markdown.

/// The language of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Language {
    /// Commands alone.
    Sh,
    /// Commands after `$ `, each with its output.
    Console,
}

/// What to do with a block.
#[derive(Debug, PartialEq)]
pub(super) enum Treatment {
    Run,
    /// Run it in the background: its last command is a server.
    Serve,
    /// The reason why it isn't run.
    NotRun(String),
}

#[derive(Debug, PartialEq)]
pub(super) struct Block {
    /// The number of its first line in the document.
    pub(super) line: usize,
    pub(super) language: Language,
    pub(super) treatment: Treatment,
    /// Commands to run first, which readers don't see.
    pub(super) before: Vec<String>,
    pub(super) text: String,
}

/// A command and the output that the document shows for it.
#[derive(Debug, PartialEq)]
pub(super) struct Step {
    pub(super) command: String,
    pub(super) output: String,
}

impl Block {
    /// Returns the commands of a `console` block.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for line in self.text.lines() {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step { command: command.to_owned(), output: String::new() }),
                // A command may continue on the next line.
                (None, Some(step)) if step.output.is_empty() && step.command.ends_with('\\') => {
                    step.command.push('\n');
                    step.command.push_str(line);
                }
                (None, Some(step)) => {
                    step.output.push_str(line);
                    step.output.push('\n');
                }
                (None, None) => panic!("line {}: a `console` block begins with `$ `", self.line),
            }
        }
        steps
    }
}

/// A part of a document.
enum Part<'a> {
    /// A block between fences, without their indentation.
    Fenced { line: usize, info: &'a str, text: String },
    /// The text of a comment that has lines of its own.
    Comment(String),
    /// Any other line that isn't empty.
    Line { line: usize, text: &'a str },
}

/// Splits a document into its parts.
fn parts(document: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut lines = document.lines().enumerate();
    while let Some((index, text)) = lines.next() {
        let indented = text.len() - text.trim_start().len();
        if let Some(info) = text.trim_start().strip_prefix("```") {
            let inner = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
            let inner: String =
                inner.map(|line| format!("{}\n", line.get(indented..).unwrap_or(""))).collect();
            parts.push(Part::Fenced { line: index + 1, info, text: inner });
        } else if let Some(comment) = text.trim_start().strip_prefix("<!--") {
            let mut comment = comment.to_owned();
            while !comment.contains("-->") {
                let Some((_, line)) = lines.next() else { break };
                comment = format!("{comment}\n{line}");
            }
            parts.push(Part::Comment(comment.replace("-->", "").trim().to_owned()));
        } else if !text.trim().is_empty() {
            parts.push(Part::Line { line: index + 1, text });
        }
    }
    parts
}

/// Returns the blocks of commands in a document.
pub(super) fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut before, mut treatment) = (Vec::new(), Treatment::Run);
    for part in parts(document) {
        match part {
            Part::Comment(comment) => {
                if let Some(command) = comment.strip_prefix("before:") {
                    before.push(command.trim().to_owned());
                } else if let Some(reason) = comment.strip_prefix("not run:") {
                    treatment = Treatment::NotRun(reason.trim().to_owned());
                } else if comment == "serves" {
                    treatment = Treatment::Serve;
                }
            }
            Part::Fenced { line, info, text } => {
                let language = match info {
                    "sh" => Some(Language::Sh),
                    "console" => Some(Language::Console),
                    _ => None,
                };
                let (before, treatment) =
                    (std::mem::take(&mut before), std::mem::replace(&mut treatment, Treatment::Run));
                if let Some(language) = language {
                    blocks.push(Block { line, language, treatment, before, text });
                } else {
                    let lost = !before.is_empty() || treatment != Treatment::Run;
                    assert!(!lost, "line {line}: the comment belongs to no commands");
                }
            }
            Part::Line { line, .. } => {
                let lost = !before.is_empty() || treatment != Treatment::Run;
                assert!(!lost, "line {line}: the comment above belongs to no block");
            }
        }
    }
    blocks
}

/// Returns the lines of a document that hold a command, but in a block that isn't labelled as one
/// of commands.
pub(super) fn unlabelled(document: &str) -> impl Iterator<Item = String> {
    let mut found = Vec::new();
    for part in parts(document) {
        match part {
            Part::Fenced { info: "sh" | "console", .. } | Part::Comment(_) => {}
            Part::Fenced { line, text, .. } => {
                let commands = text.lines().filter(|text| is_command(text));
                found.extend(commands.map(|text| format!("{line}: {text}")));
            }
            Part::Line { line, text } => {
                let code = text.strip_prefix("    ");
                found.extend(code.filter(|code| is_command(code)).map(|code| format!("{line}: {code}")));
            }
        }
    }
    found.into_iter()
}

/// Returns whether a line of a block begins with a command that this documentation uses.
fn is_command(line: &str) -> bool {
    let words = ["$", "nebula", "nebula-bench", "cargo", "curl", "openssl", "git", "sudo", "rustup", "cd"];
    line.trim_start().split_once(' ').is_some_and(|(first, _)| words.contains(&first))
}

#[test]
fn blocks_are_found_with_their_comments() {
    let document = "Text\n\n<!-- before: touch a\nb -->\n<!-- serves -->\n\n```sh\nnebula up\n```\n\n\
                    ```toml\na = 1\n```\n<!-- not run: it needs systemd -->\n```console\n$ a \\\n  b\nc\n\n$ d\n```\n";
    let [first, second] = &blocks(document)[..] else { panic!("two blocks") };
    assert_eq!((first.line, first.language, &first.treatment), (7, Language::Sh, &Treatment::Serve));
    assert_eq!(
        (first.before.as_slice(), first.text.as_str()),
        (&["touch a\nb".to_owned()][..], "nebula up\n")
    );
    assert_eq!(second.treatment, Treatment::NotRun("it needs systemd".to_owned()));
    let step = |command: &str, output: &str| Step { command: command.to_owned(), output: output.to_owned() };
    assert_eq!(second.steps(), [step("a \\\n  b", "c\n\n"), step("d", "")]);
}

#[test]
fn commands_in_other_blocks_are_found() {
    let count = |document: &str| unlabelled(document).count();
    assert_eq!(count("    nebula up\n"), 1);
    assert_eq!(count("```\n$ nebula up\n```\n"), 1);
    assert_eq!(count("```text\ncurl -d x http://…\n```\n"), 1);
    assert_eq!(count("```sh\nnebula up\n```\nnebula up starts it.\n"), 0);
    assert_eq!(count("```text\nnebula-failed-step: a\n```\n"), 0);
}
