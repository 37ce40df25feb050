//! What the macros refuse, and how they say it: each `ui/*.rs` with its `.stderr` beside it.

#[test]
fn errors_point_at_the_users_code() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
