//! The contract of [`Blobs`], as tests.

#![expect(missing_docs, reason = "each name states the behaviour")]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nebula_model::id::Digest;

use crate::blobs::{BlobError, Blobs, Collected, Compiled, CompiledId};

/// The blobs of the implementation under test.
pub trait Fixture: Sized {
    /// Returns no blobs.
    fn new() -> Self;

    /// Returns the blobs.
    fn blobs(&self) -> Arc<dyn Blobs>;

    /// Changes the stored bytes of a component, past the implementation.
    fn change_component(&self, digest: &Digest, change: impl FnOnce(&mut Vec<u8>));

    /// Changes the stored bytes of compiled code, past the implementation.
    fn change_compiled(&self, id: CompiledId<'_>, change: impl FnOnce(&mut Vec<u8>));

    /// Closes the blobs and opens them again, as a restarted process would. Returns `None` if the
    /// implementation keeps nothing.
    fn restart(self) -> Option<Self>;
}

/// Runs the conformance tests of [`Blobs`](crate::blobs::Blobs) on a
/// [`Fixture`](crate::testing::blobs::Fixture), one `#[test]` each.
#[macro_export]
macro_rules! blobs_conformance {
    ($fixture:ty) => {
        $crate::blobs_conformance!($fixture:
            a_component_is_read_as_it_was_stored,
            a_missing_component_is_an_error_that_says_so,
            a_damaged_component_is_reported_and_repaired_by_storing_it,
            compiled_code_is_read_as_it_was_stored,
            altered_compiled_code_is_not_returned,
            storing_compiled_code_replaces_it,
            collecting_keeps_exactly_the_given_components_and_their_code,
            nothing_is_stored_after_the_deadline,
            a_restart_keeps_components,
        );
    };
    ($fixture:ty: $($test:ident),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                $crate::testing::blobs::$test::<$fixture>();
            }
        )*
    };
}

const PATIENCE: Duration = Duration::from_secs(60);

const NOW: &str = "now";

/// Returns a deadline that no operation reaches.
pub fn soon() -> Instant {
    Instant::now() + PATIENCE
}

fn put(blobs: &dyn Blobs, content: &[u8]) -> Digest {
    let digest = Digest::of(content);
    blobs.put_component(&digest, content, soon()).unwrap();
    digest
}

fn id(digest: &Digest) -> CompiledId<'_> {
    CompiledId { digest, compatibility: NOW }
}

fn code_of(compiled: &Compiled) -> Vec<u8> {
    std::fs::read(compiled.path()).unwrap()
}

fn is_missing(blobs: &dyn Blobs, digest: &Digest) -> bool {
    matches!(blobs.component(digest, soon()), Err(BlobError::Missing { digest: of }) if of == *digest)
}

pub fn a_component_is_read_as_it_was_stored<F: Fixture>() {
    let fixture = F::new();
    let blobs = fixture.blobs();
    for content in [&b""[..], b"one", &[7; 1 << 20]] {
        let digest = put(&*blobs, content);
        put(&*blobs, content);
        assert_eq!(blobs.component(&digest, soon()).unwrap(), content);
    }
}

pub fn a_missing_component_is_an_error_that_says_so<F: Fixture>() {
    let fixture = F::new();
    let blobs = fixture.blobs();
    let digest = Digest::of(b"one");
    assert!(is_missing(&*blobs, &digest));
    assert!(blobs.compiled(id(&digest), soon()).unwrap().is_none());
}

pub fn a_damaged_component_is_reported_and_repaired_by_storing_it<F: Fixture>() {
    let fixture = F::new();
    let blobs = fixture.blobs();
    let digest = put(&*blobs, b"one");
    fixture.change_component(&digest, |content| content[0] ^= 1);
    let damaged = blobs.component(&digest, soon());
    assert!(matches!(damaged, Err(BlobError::Damaged { digest: of }) if of == digest), "{damaged:?}");
    put(&*blobs, b"one");
    assert_eq!(blobs.component(&digest, soon()).unwrap(), b"one");
}

pub fn compiled_code_is_read_as_it_was_stored<F: Fixture>() {
    let fixture = F::new();
    let blobs = fixture.blobs();
    let digest = put(&*blobs, b"one");
    let code = vec![7; 300_000];
    blobs.put_compiled(id(&digest), &code, soon()).unwrap();
    let compiled = blobs.compiled(id(&digest), soon()).unwrap().unwrap();
    assert_eq!(compiled.bytes(), code.len() as u64);
    assert_eq!(code_of(&compiled), code);
    let other = CompiledId { compatibility: "before", ..id(&digest) };
    assert!(blobs.compiled(other, soon()).unwrap().is_none());
}

pub fn altered_compiled_code_is_not_returned<F: Fixture>() {
    let fixture = F::new();
    let blobs = fixture.blobs();
    let digest = Digest::of(b"one");
    let mut whole = Vec::new();
    blobs.put_compiled(id(&digest), b"native code", soon()).unwrap();
    fixture.change_compiled(id(&digest), |stored| whole.clone_from(stored));
    let flipped = |at: usize| {
        let mut other = whole.clone();
        other[at] ^= 1;
        other
    };
    let shorter = (0..whole.len()).map(|bytes| whole[..bytes].to_vec());
    let longer = [&whole[..], b"x"].concat();
    for altered in (0..whole.len()).map(flipped).chain(shorter).chain([longer]) {
        fixture.change_compiled(id(&digest), |stored| stored.clone_from(&altered));
        assert!(blobs.compiled(id(&digest), soon()).unwrap().is_none(), "{altered:?}");
    }
    fixture.change_compiled(id(&digest), |stored| stored.clone_from(&whole));
    assert!(blobs.compiled(id(&digest), soon()).unwrap().is_some());
}

pub fn storing_compiled_code_replaces_it<F: Fixture>() {
    let fixture = F::new();
    let blobs = fixture.blobs();
    let digest = Digest::of(b"one");
    blobs.put_compiled(id(&digest), b"before", soon()).unwrap();
    let before = blobs.compiled(id(&digest), soon()).unwrap().unwrap();
    blobs.put_compiled(id(&digest), b"after", soon()).unwrap();
    assert_eq!(code_of(&blobs.compiled(id(&digest), soon()).unwrap().unwrap()), b"after");
    assert_eq!(code_of(&before), b"before", "code that was handed out doesn't change");
}

pub fn collecting_keeps_exactly_the_given_components_and_their_code<F: Fixture>() {
    let fixture = F::new();
    let blobs = fixture.blobs();
    let (kept, gone) = (put(&*blobs, b"kept"), put(&*blobs, b"gone!"));
    for digest in [&kept, &gone] {
        blobs.put_compiled(id(digest), b"code", soon()).unwrap();
    }
    let other = CompiledId { compatibility: "before", ..id(&kept) };
    blobs.put_compiled(other, b"code", soon()).unwrap();
    let collected = blobs.collect(&HashSet::from([kept]), NOW).unwrap();
    assert_eq!(collected.blobs, 3);
    assert!(collected.bytes >= 5 + 4 + 4);
    assert_eq!(blobs.component(&kept, soon()).unwrap(), b"kept");
    assert!(blobs.compiled(id(&kept), soon()).unwrap().is_some());
    assert!(is_missing(&*blobs, &gone));
    for id in [id(&gone), other] {
        assert!(blobs.compiled(id, soon()).unwrap().is_none());
    }
    assert_eq!(blobs.collect(&HashSet::from([kept]), NOW).unwrap(), Collected::default());
}

pub fn nothing_is_stored_after_the_deadline<F: Fixture>() {
    let fixture = F::new();
    let blobs = fixture.blobs();
    let (digest, past) = (Digest::of(b"one"), Instant::now());
    let exceeded = |error| matches!(error, BlobError::DeadlineExceeded);
    assert!(blobs.put_component(&digest, b"one", past).is_err_and(exceeded));
    assert!(blobs.put_compiled(id(&digest), b"code", past).is_err_and(exceeded));
    assert!(is_missing(&*blobs, &digest));
    assert!(blobs.compiled(id(&digest), soon()).unwrap().is_none());
    put(&*blobs, b"one");
    assert!(blobs.component(&digest, past).is_err_and(exceeded));
}

pub fn a_restart_keeps_components<F: Fixture>() {
    let fixture = F::new();
    let digest = put(&*fixture.blobs(), b"one");
    let Some(fixture) = fixture.restart() else { return };
    assert_eq!(fixture.blobs().component(&digest, soon()).unwrap(), b"one");
}
