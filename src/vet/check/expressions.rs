//! Checks the rules in CEL of Authorizers.

use crate::cel::Expression;
use crate::vet::Code;
use crate::vet::report::notes::Notes;
use crate::vet::world::known::World;

/// Adds notes about rules whose answer does not depend on the request. A rule that does not compile
/// is refused when it is read.
pub(in crate::vet) fn check(world: World<'_>, notes: &mut Notes) {
    for authorizer in &world.resources.authorizers {
        let Some(text) = &authorizer.expression else {
            continue;
        };
        let answer = Expression::compile(text).ok();
        let (message, help) = match answer.and_then(|rule| rule.constant()) {
            Some(true) => (
                "this rule is true for every request, so the policies that name it refuse nothing",
                "write the condition that was meant, or take out the Authorizer and the CUSTOM policies that name it",
            ),
            Some(false) => (
                "this rule is false for every request, so the policies that name it refuse all that their rules match",
                "write the condition that was meant, or a DENY policy in place of the CUSTOM one",
            ),
            None => continue,
        };
        let meta = &authorizer.meta;
        notes.add(Code::ExpressionConstant, meta, text.at(), message, help);
    }
}
