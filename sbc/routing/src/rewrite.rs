//! Number rules: what a number becomes before anything is decided by it.

use crate::explain::{Step, Witness};
use crate::number::{Pattern, Template};
use std::borrow::Cow;

/// A rule that would make a number longer than this leaves it as it was.
pub const NUMBER_MAX: usize = 16 * 1024;

/// `[[number_rule]]`.
#[derive(Clone, Debug)]
pub struct NumberRule {
    /// As in the configuration, or `number-rule-N`.
    pub name: String,
    /// Which number.
    pub on: NumberOf,
    /// Indexes of source trunks; empty for any.
    pub trunk: Vec<usize>,
    /// What it applies to.
    pub matches: Pattern,
    /// What it becomes.
    pub to: Template,
}

/// Whose number a rule rewrites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberOf {
    /// Request-URI user.
    Callee,
    /// From user.
    Caller,
}

/// Applies the first rule that matches; what it makes is looked at by no further rule. `trunk` is where the call comes
/// from, if from a trunk.
pub fn rewrite<'n>(
    rules: &[NumberRule],
    of: NumberOf,
    trunk: Option<usize>,
    number: &'n [u8],
    witness: &mut impl Witness,
) -> Cow<'n, [u8]> {
    for (index, rule) in rules.iter().enumerate() {
        let here = rule.on == of && (rule.trunk.is_empty() || trunk.is_some_and(|t| rule.trunk.contains(&t)));
        if !here || !rule.matches.matches(number) {
            continue;
        }
        let name = Cow::Borrowed(rule.name.as_str());
        return match rule.to.apply_within(&rule.matches, number, NUMBER_MAX) {
            Some(new) => {
                let (from, to) = (Cow::Borrowed(number), Cow::Borrowed(new.as_slice()));
                witness.saw(Step::Rewrote { rule: index, name, of, from, to });
                Cow::Owned(new)
            }
            None => {
                witness.saw(Step::TooLong { rule: index, name });
                Cow::Borrowed(number)
            }
        };
    }
    Cow::Borrowed(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::Collected;

    fn rule(on: NumberOf, trunk: &[usize], matches: &str, to: &str) -> NumberRule {
        NumberRule {
            name: matches.into(),
            on,
            trunk: trunk.to_vec(),
            matches: Pattern::parse(matches).unwrap(),
            to: Template::parse(to).unwrap(),
        }
    }

    #[test]
    fn the_first_rule_that_matches_applies_where_it_says() {
        let rules = [
            rule(NumberOf::Callee, &[0], "00ZX.", "+{2-}"),
            rule(NumberOf::Callee, &[], "+49.", "{1-}"),
            rule(NumberOf::Caller, &[], "XXX", "+4989{0-}"),
        ];
        let apply = |of, trunk, number: &str| {
            String::from_utf8(rewrite(&rules, of, trunk, number.as_bytes(), &mut ()).into_owned()).unwrap()
        };
        assert_eq!(apply(NumberOf::Callee, Some(0), "0049123"), "+49123", "no second rule");
        assert_eq!(apply(NumberOf::Callee, Some(1), "0049123"), "0049123");
        assert_eq!(apply(NumberOf::Callee, None, "0049123"), "0049123");
        assert_eq!(apply(NumberOf::Caller, Some(1), "123"), "+4989123");
    }

    #[test]
    fn each_rewriting_is_told() {
        let rules =
            [rule(NumberOf::Callee, &[], "0Z.", "+49{1-}"), rule(NumberOf::Callee, &[], "+4989.", "{3-}")];
        let mut told = Collected::default();
        rewrite(&rules, NumberOf::Callee, None, b"0891", &mut told);
        let made: Vec<_> = told
            .steps
            .iter()
            .map(|step| match step {
                Step::Rewrote { rule, from, to, .. } => (
                    *rule,
                    String::from_utf8_lossy(from).into_owned(),
                    String::from_utf8_lossy(to).into_owned(),
                ),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(made, [(0, "0891".into(), "+49891".into())]);
    }

    #[test]
    fn a_number_does_not_grow_without_end() {
        let rules = [rule(NumberOf::Callee, &[], "X.", "{0-}{0-}")];
        let mut told = Collected::default();
        let long = vec![b'1'; NUMBER_MAX - 1];
        assert_eq!(rewrite(&rules, NumberOf::Callee, None, &long, &mut told).as_ref(), long.as_slice());
        assert!(told.steps.iter().any(|step| matches!(step, Step::TooLong { .. })));
    }
}
