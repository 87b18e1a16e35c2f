//! Where a call goes: number rules, then the first route that matches. Pure, and every step can be told.

use crate::spec::{NumberOf, Route, RouteOrder, Spec};
use std::borrow::Cow;

/// Applies number rules in order; the first that matches a number rewrites it, later ones see the new number.
pub fn rewrite<'n>(spec: &Spec, of: NumberOf, trunk: usize, number: &'n [u8]) -> Cow<'n, [u8]> {
    let mut number = Cow::Borrowed(number);
    for rule in &spec.number_rules {
        let here = rule.on == of && (rule.trunk.is_empty() || rule.trunk.contains(&trunk));
        if here && rule.matches.matches(&number) {
            number = Cow::Owned(rule.to.apply(&rule.matches, &number));
        }
    }
    number
}

/// The route of a call from `trunk` to `callee`.
pub fn find<'s>(spec: &'s Spec, trunk: usize, callee: &[u8]) -> Option<(usize, &'s Route)> {
    let matching = spec.routes.iter().enumerate().filter(|(_, route)| {
        (route.from.is_empty() || route.from.contains(&trunk))
            && (route.to.is_empty() || route.to.iter().any(|pattern| pattern.matches(callee)))
    });
    match spec.route_order {
        RouteOrder::First => matching.into_iter().next(),
        RouteOrder::Longest => {
            // Among equals the first in the file wins.
            let fit = |route: &Route| {
                route.to.iter().filter(|p| p.matches(callee)).map(|p| p.specificity()).max().unwrap_or(0)
            };
            matching.fold(None, |best: Option<(usize, &Route)>, candidate| match best {
                Some(best) if fit(best.1) >= fit(candidate.1) => Some(best),
                _ => Some(candidate),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::{Pattern, Template};
    use crate::spec::NumberRule;
    use crate::spec::tests::trunk;

    fn route(name: &str, from: &[usize], to: &[&str], via: usize) -> Route {
        let to = to.iter().map(|p| Pattern::parse(p).unwrap()).collect();
        Route { name: name.into(), from: from.to_vec(), to, via, max_duration: None }
    }

    #[test]
    fn the_first_route_wins_or_the_longest() {
        let mut spec = Spec {
            trunks: ["pbx", "carrier"].map(|n| trunk(n, Vec::new())).to_vec(),
            routes: vec![
                route("all", &[0], &["+."], 1),
                route("us", &[0], &["+1NXXNXXXXXX"], 1),
                route("back", &[1], &[], 0),
            ],
            ..Spec::default()
        };
        let name = |spec: &Spec, from, to: &str| find(spec, from, to.as_bytes()).map(|(_, r)| r.name.clone());
        assert_eq!(name(&spec, 0, "+12125551234").as_deref(), Some("all"));
        assert_eq!(name(&spec, 1, "anything").as_deref(), Some("back"));
        assert_eq!(name(&spec, 0, "anything"), None);
        spec.route_order = RouteOrder::Longest;
        assert_eq!(name(&spec, 0, "+12125551234").as_deref(), Some("us"));
    }

    #[test]
    fn number_rules_apply_in_order_where_they_say() {
        let rule = |on, trunk: &[usize], matches, to| NumberRule {
            name: "r".into(),
            on,
            trunk: trunk.to_vec(),
            matches: Pattern::parse(matches).unwrap(),
            to: Template::parse(to).unwrap(),
        };
        let spec = Spec {
            number_rules: vec![
                rule(NumberOf::Callee, &[0], "00ZX.", "+{2-}"),
                rule(NumberOf::Callee, &[], "+49.", "{1-}"),
                rule(NumberOf::Caller, &[], "XXX", "+4989{0-}"),
            ],
            ..Spec::default()
        };
        assert_eq!(rewrite(&spec, NumberOf::Callee, 0, b"0049123").as_ref(), b"49123");
        assert_eq!(rewrite(&spec, NumberOf::Callee, 1, b"0049123").as_ref(), b"0049123");
        assert_eq!(rewrite(&spec, NumberOf::Caller, 1, b"123").as_ref(), b"+4989123");
    }
}
