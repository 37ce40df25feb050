//! The commands of the documentation, extracted from it and run with the binary under test.
//!
//! ```text
//! Markdown --blocks--> commands, expected output --session--> bash --output--> compared
//! ```
//!
//! Every command is in a block of `sh`, which must succeed, or of `console`, whose output is compared
//! with the block. Comments in front of a block, which readers don't see, say how to run it:
//!
//! * `<!-- before: COMMAND -->` runs a command first, such as one that makes a file.
//! * `<!-- serves -->`: the last command is a server, which serves the blocks below.
//! * `<!-- not run: REASON -->`

mod blocks;
mod output;
mod session;

use std::path::{Path, PathBuf};

use self::blocks::{Block, Language, Treatment, blocks, unlabelled};
use self::session::{Functions, Session};

/// A document with commands.
struct Document {
    /// The path in the repository.
    path: &'static str,
    /// Whether its commands expect a server with the functions of this repository.
    needs_functions: bool,
    /// The number of its blocks that are run.
    run: usize,
    /// The number of its blocks that say why they aren't.
    not_run: usize,
}

/// Every document with commands. The numbers make a change of what is run visible.
const DOCUMENTS: &[Document] = &[
    Document { path: "CONTRIBUTING.md", needs_functions: false, run: 0, not_run: 3 },
    Document { path: "README.md", needs_functions: false, run: 6, not_run: 2 },
    Document { path: "bench/README.md", needs_functions: false, run: 0, not_run: 2 },
    Document { path: "deploy/README.md", needs_functions: false, run: 0, not_run: 2 },
    Document { path: "docs/cli.md", needs_functions: true, run: 5, not_run: 1 },
    Document { path: "docs/logging.md", needs_functions: false, run: 0, not_run: 1 },
    Document { path: "docs/measuring.md", needs_functions: true, run: 1, not_run: 1 },
    Document { path: "docs/metrics.md", needs_functions: true, run: 2, not_run: 0 },
    Document { path: "docs/operations.md", needs_functions: true, run: 1, not_run: 2 },
    Document { path: "docs/pipelines.md", needs_functions: true, run: 14, not_run: 0 },
    Document { path: "docs/projects.md", needs_functions: false, run: 11, not_run: 0 },
    Document { path: "docs/purity.md", needs_functions: true, run: 1, not_run: 0 },
    Document { path: "docs/receipts.md", needs_functions: true, run: 6, not_run: 0 },
    Document { path: "docs/release-checklist.md", needs_functions: false, run: 0, not_run: 1 },
    Document { path: "docs/tracing.md", needs_functions: false, run: 0, not_run: 1 },
    Document { path: "docs/writing-functions.md", needs_functions: false, run: 10, not_run: 0 },
    Document { path: "functions/README.md", needs_functions: false, run: 0, not_run: 1 },
    Document { path: "tests/data/README.md", needs_functions: false, run: 0, not_run: 1 },
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the paths of the documents in the repository.
fn markdown() -> Vec<String> {
    let mut found = Vec::new();
    for directory in ["", "docs", "bench", "deploy", "functions", "tests/data"] {
        for entry in std::fs::read_dir(repository().join(directory)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                found.push(Path::new(directory).join(name).display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_block_of_commands_is_run_or_says_why_not() {
    for path in markdown() {
        let text = read(&path);
        let unlabelled: Vec<_> = unlabelled(&text).collect();
        assert!(
            unlabelled.is_empty(),
            "{path}: put commands in blocks of `sh` or `console`: {unlabelled:#?}"
        );
        let blocks = blocks(&text);
        let is_run = |block: &Block| !matches!(block.treatment, Treatment::NotRun(_));
        let run = blocks.iter().filter(|block| is_run(block)).count();
        let document = DOCUMENTS.iter().find(|document| document.path == path);
        let expected = document.map_or((0, 0), |document| (document.run, document.not_run));
        assert_eq!((run, blocks.len() - run), expected, "{path}: blocks that are run, and that aren't");
        for block in &blocks {
            if let Treatment::NotRun(reason) = &block.treatment {
                assert!(reason.len() >= 10, "{path}:{}: the reason is missing", block.line);
            }
        }
    }
}

/// One test, so that the functions are deployed once. It continues after a mistake in a document
/// with the next document, and lists all.
#[test]
fn documented_commands_work() {
    let functions = Functions::deploy(&repository());
    let mut mistakes = Vec::new();
    for document in DOCUMENTS {
        let mut session = Session::new(&repository(), document.path);
        if document.needs_functions {
            session.serve_functions(&functions);
        }
        for block in blocks(&read(document.path)) {
            if let Err(mistake) = run(&mut session, &functions, &block) {
                mistakes.push(format!("{}:{}: {mistake}", document.path, block.line));
                break;
            }
        }
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n\n"));
}

/// Runs a block, unless it says not to.
fn run(session: &mut Session, functions: &Functions, block: &Block) -> Result<(), String> {
    let serves = match &block.treatment {
        Treatment::NotRun(_) => return Ok(()),
        Treatment::Run => false,
        Treatment::Serve => true,
    };
    for command in &block.before {
        session.run(command)?.succeeds()?;
    }
    match block.language {
        Language::Sh if serves => session.serve(&block.text, functions),
        Language::Sh => session.run(&block.text)?.succeeds(),
        Language::Console => {
            let steps = block.steps();
            for (index, step) in steps.iter().enumerate() {
                if serves && index + 1 == steps.len() {
                    session.serve(&step.command, functions)?;
                    session.server_prints(&step.output)?;
                } else {
                    session.run(&step.command)?.prints(&step.output)?;
                }
            }
            Ok(())
        }
    }
}
