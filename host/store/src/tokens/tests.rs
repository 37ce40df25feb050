//! The file under any damage, crash and failing disk, and changes at run time.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use nebula_model::token::TokenScope;
use proptest::prelude::*;

use super::file::DamagedTokens;
use super::*;
use crate::directory::Directory;

fn name(text: &str) -> TokenName {
    text.parse().unwrap()
}

fn record(text: &str) -> TokenRecord {
    TokenRecord {
        name: name(text),
        scope: TokenScope::Invoke,
        digest: Digest::of(text.as_bytes()),
        created_at_unix_s: 1_800_000_000,
        expires_at_unix_s: None,
    }
}

fn records(tokens: &NamedTokens) -> Vec<TokenRecord> {
    tokens.list().iter().map(|token| token.record.clone()).collect()
}

fn any_record() -> impl Strategy<Value = TokenRecord> {
    let scope = proptest::sample::select(&TokenScope::ALL);
    ("[a-z0-9][a-z0-9-]{0,62}", scope, any::<[u8; 32]>(), any::<u64>(), any::<Option<u64>>()).prop_map(
        |(name, scope, digest, created_at_unix_s, expires_at_unix_s)| TokenRecord {
            name: name.parse().unwrap(),
            scope,
            digest: Digest::from_bytes(digest),
            created_at_unix_s,
            expires_at_unix_s,
        },
    )
}

fn any_records() -> impl Strategy<Value = Vec<TokenRecord>> {
    proptest::collection::vec(any_record(), 0..6).prop_map(|mut records| {
        records.sort_by(|a, b| a.name.cmp(&b.name));
        records.dedup_by(|a, b| a.name == b.name);
        records
    })
}

fn print(records: &[TokenRecord]) -> Vec<u8> {
    file::print(&records.iter().collect::<Vec<_>>()).unwrap()
}

proptest! {
    #[test]
    fn a_file_has_the_tokens_that_were_written(records in any_records()) {
        prop_assert_eq!(file::parse(&print(&records)), Ok(records));
    }

    /// No damage goes unnoticed: not a changed byte, a lost end, or more at the end.
    #[test]
    fn any_change_of_a_file_is_noticed(
        records in any_records(), at in any::<prop::sample::Index>(), flip in 1..=u8::MAX, more in any::<Vec<u8>>(),
    ) {
        let whole = print(&records);
        let at = at.index(whole.len());
        let mut changed = whole.clone();
        changed[at] ^= flip;
        prop_assert!(file::parse(&changed).is_err());
        prop_assert!(file::parse(&whole[..at]).is_err());
        if !more.is_empty() {
            prop_assert!(file::parse(&[&whole[..], &more].concat()).is_err());
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused(
        content in any::<Vec<u8>>(), head in "(nebula tokens 1\n)?(sha256:[0-9a-f]{64}\n)?",
    ) {
        prop_assert!(file::parse(&[head.as_bytes(), &content].concat()).is_err());
    }

    /// Contents that nobody has damaged, and this release hasn't written.
    #[test]
    fn a_right_digest_alone_is_not_enough(body in "\\PC{0,40}") {
        let content = format!("nebula tokens 1\n{}\n{body}", Digest::of(body.as_bytes()));
        if body != "[]" {
            let parsed = file::parse(content.as_bytes());
            prop_assert!(matches!(parsed, Err(DamagedTokens::Content(_))), "{:?}", parsed);
        }
    }
}

#[test]
fn each_damage_has_its_reason() {
    let whole = String::from_utf8(print(&[record("a")])).unwrap();
    let with_body = |body: &str| format!("nebula tokens 1\n{}\n{body}", Digest::of(body.as_bytes()));
    let two = serde_json::to_string(&[record("a"), record("a")]).unwrap();
    let unknown =
        serde_json::to_string(&[record("a")]).unwrap().replace("\"scope\"", "\"owner\":1,\"scope\"");
    for (content, reason) in [
        (String::new(), "doesn't begin with `nebula tokens 1`"),
        ("[]".to_owned(), "doesn't begin with"),
        (whole[..30].to_owned(), "doesn't begin with"),
        (whole.replace("tokens 1\n", "tokens 2\n"), "the format `nebula tokens 2`, and this release reads"),
        (whole.replace("invoke", "admin"), "its digest isn't the one"),
        (whole[..whole.len() - 1].to_owned(), "its digest isn't the one"),
        (with_body(&two), "two tokens have one name"),
        (with_body(&unknown), "unknown field `owner`"),
        (with_body(&whole.replace("\"a\"", "\"A B\"")), "it is damaged"),
    ] {
        let error = file::parse(content.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(reason), "{error} lacks {reason}");
    }
}

#[test]
fn a_damaged_file_does_not_open_as_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    for content in [&b""[..], b"[]", b"\0\0\0\0"] {
        fs::write(&path, content).unwrap();
        let Err(OpenTokensError::Damaged { path: named, .. }) = NamedTokens::open(directory.path()) else {
            panic!("{content:?} was accepted");
        };
        assert_eq!(named, path);
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(NamedTokens::open(directory.path()), Err(OpenTokensError::Unreadable { .. })));
}

#[test]
fn a_change_takes_effect_at_once_and_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let tokens = NamedTokens::open(directory.path()).unwrap();
    assert!(tokens.list().is_empty());
    assert!(!directory.path().join(FILE).exists());
    for text in ["a", "b"] {
        tokens.insert(record(text)).unwrap();
    }
    assert!(
        matches!(tokens.insert(record("a")), Err(InsertTokenError::Exists { name: taken }) if taken == name("a"))
    );
    assert_eq!(tokens.find(&Digest::of(b"b")).unwrap().record, record("b"));
    assert!(tokens.find(&Digest::of(b"c")).is_none());
    tokens.remove(&name("a")).unwrap();
    assert!(tokens.find(&Digest::of(b"a")).is_none());
    assert!(matches!(tokens.remove(&name("a")), Err(RemoveTokenError::Unknown { .. })));
    let mode = fs::metadata(directory.path().join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let opened = NamedTokens::open(directory.path()).unwrap();
    assert_eq!(records(&opened), [record("b")]);
}

#[test]
fn a_change_keeps_the_last_use_of_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let tokens = NamedTokens::open(directory.path()).unwrap();
    tokens.insert(record("a")).unwrap();
    assert_eq!(tokens.list()[0].last_use().unix_s(), None);
    tokens.find(&Digest::of(b"a")).unwrap().last_use().record(7);
    tokens.insert(record("b")).unwrap();
    assert_eq!(tokens.list()[0].last_use().unix_s(), Some(7));
}

#[test]
fn there_are_at_most_as_many_as_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let all: Vec<_> = (0..TOKENS_MAX).map(|number| record(&format!("t{number}"))).collect();
    fs::write(directory.path().join(FILE), print(&all)).unwrap();
    let tokens = NamedTokens::open(directory.path()).unwrap();
    assert!(matches!(tokens.insert(record("one-more")), Err(InsertTokenError::TooMany)));
    tokens.remove(&name("t7")).unwrap();
    tokens.insert(record("one-more")).unwrap();
}

/// Changes of several threads come one after the other, and none is lost.
#[test]
fn changes_at_the_same_time_are_all_kept() {
    let directory = tempfile::tempdir().unwrap();
    let tokens = NamedTokens::open(directory.path()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let tokens = &tokens;
            scope.spawn(move || {
                for number in 0..4 {
                    tokens.insert(record(&format!("t{thread}-{number}"))).unwrap();
                }
                tokens.remove(&name(&format!("t{thread}-0"))).unwrap();
            });
        }
    });
    assert_eq!(tokens.list().len(), 12);
    assert_eq!(records(&NamedTokens::open(directory.path()).unwrap()), records(&tokens));
}

/// A disk that refuses the write leaves the tokens as they are, in memory and on disk, and later
/// changes succeed.
#[test]
fn a_failing_disk_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    let tokens = NamedTokens::open(directory.path()).unwrap();
    tokens.insert(record("a")).unwrap();
    let kept = fs::read(&path).unwrap();
    // A rename onto a directory fails, also for root.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(
        tokens.insert(record("b")),
        Err(InsertTokenError::Write(WriteTokensError::Failed { .. }))
    ));
    assert!(matches!(tokens.remove(&name("a")), Err(RemoveTokenError::Write(_))));
    assert_eq!(records(&tokens), [record("a")]);
    let left: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [FILE], "the failed write left a file");

    fs::remove_dir(&path).unwrap();
    fs::write(&path, kept).unwrap();
    tokens.insert(record("b")).unwrap();
    assert_eq!(records(&NamedTokens::open(directory.path()).unwrap()), [record("a"), record("b")]);
}

/// A crash at any point of a write leaves the tokens before it or after it, and no rest of it.
///
/// The file that has the name is never written to, which the test checks with a handle to the one
/// before. So a crash leaves that file, with any part of the next one under another name, or the
/// next one.
#[test]
fn a_crash_at_any_point_leaves_the_tokens_before_or_after() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    let tokens = NamedTokens::open(directory.path()).unwrap();
    tokens.insert(record("a")).unwrap();
    let before = fs::read(&path).unwrap();
    let mut handle = fs::File::open(&path).unwrap();
    tokens.insert(record("b")).unwrap();
    let mut read = Vec::new();
    handle.read_to_end(&mut read).unwrap();
    assert_eq!(read, before, "the write changed the file in place");
    let after = fs::read(&path).unwrap();

    for written in 0..=after.len() {
        let crashed = tempfile::tempdir().unwrap();
        fs::write(crashed.path().join(FILE), &before).unwrap();
        fs::write(crashed.path().join(".tmp-x"), &after[..written]).unwrap();
        drop(Directory::open(crashed.path()).unwrap());
        assert!(!crashed.path().join(".tmp-x").exists());
        assert_eq!(records(&NamedTokens::open(crashed.path()).unwrap()), [record("a")]);
    }
    assert_eq!(records(&NamedTokens::open(directory.path()).unwrap()), [record("a"), record("b")]);
}
