/// Makes a test of each row of a table: what is asked, what it should be answered with, and by
/// which rule.
///
/// The first expression gives the [`Policies`](crate::testing::policy::Policies). A row is
/// `name: request => allowed | denied | refused | STATUS`, where `refused` means by the gate, and `by "POLICY/RULE"` if it matters which rule
/// decides. With `coverage PERCENT` one more test, `rules_are_covered`, asks that the rows put so
/// much of the rules to the test.
///
/// # Example
/// ```
/// use tower_mesh::Workload;
/// use tower_mesh::testing::policy::{Policies, request};
///
/// fn patients() -> Policies {
///     let workload = Workload::new("default", "patients").label("app", "patients");
///     Policies::read(&workload, "examples/patients/policies/v1")
/// }
///
/// tower_mesh::policy_tests! {
///     patients();
///     strangers_read_nothing: request().get("/patients/7") => denied by "none";
///     a_fragment_is_no_path: request().get("/patients/7#top") => 400;
///     a_bad_escape_is_no_path: request().get("/patients/%zz") => refused;
/// }
/// ```
#[macro_export]
macro_rules! policy_tests {
    (@expected allowed) => { $crate::testing::policy::Expectation::allowed() };
    (@expected denied) => { $crate::testing::policy::Expectation::denied() };
    (@expected refused) => { $crate::testing::policy::Expectation::refused_by_the_gate() };
    (@expected $status:literal) => { $crate::testing::policy::Expectation::answered($status) };
    ($policies:expr, coverage $percent:literal;
     $($name:ident: $request:expr => $verdict:tt $(by $rule:literal)?);+ $(;)?) => {
        $crate::policy_tests! { $policies; $($name: $request => $verdict $(by $rule)?);+ }

        #[test]
        fn rules_are_covered() {
            $crate::testing::policy::Table::new()
                $(.row(stringify!($name), $request, $crate::policy_tests!(@expected $verdict)))+
                .run(&$policies)
                .assert_covers(f64::from($percent));
        }
    };
    ($policies:expr; $($name:ident: $request:expr => $verdict:tt $(by $rule:literal)?);+ $(;)?) => {
        $(
            #[test]
            fn $name() {
                let policies: $crate::testing::policy::Policies = $policies;
                let expect = policies.expect($request);
                expect.to_be($crate::policy_tests!(@expected $verdict))$(.by($rule))?;
            }
        )+
    };
}
