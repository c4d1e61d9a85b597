//! What compiles, and what is rejected with which words.

#[test]
fn programs_compile_or_are_rejected() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
