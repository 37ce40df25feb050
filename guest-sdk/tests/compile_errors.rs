//! The errors of the macros: each `ui/*.rs` fails to compile with the message in the `.stderr`
//! beside it.
//!
//! `TRYBUILD=overwrite cargo test -p nebula-sdk` updates the messages.

#[test]
fn errors_point_at_the_users_code() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
