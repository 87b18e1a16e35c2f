//! Tables against a plain reading of what they say.

use super::*;
use crate::explain::Collected;
use crate::number::Element;
use proptest::prelude::*;

/// What `find` says it gives, route by route.
fn plain(matches: &[Match], order: Order, asked: &Asked<'_>) -> Vec<usize> {
    let mut all: Vec<_> =
        (0..matches.len()).filter(|route| matches[*route].missed(asked).is_none()).collect();
    if order == Order::Longest {
        all.sort_by_key(|route| core::cmp::Reverse(matches[*route].fit(asked.callee)));
    }
    all
}

fn patterns(of: &[&str]) -> Vec<Pattern> {
    of.iter().map(|pattern| Pattern::parse(pattern).unwrap()).collect()
}

fn to(of: &[&str]) -> Match {
    Match { to: patterns(of), ..Match::default() }
}

fn call(callee: &[u8]) -> Asked<'_> {
    Asked { trunk: Some(0), account: None, caller: b"", callee, now: Wall(0), header: &|_, _| false }
}

fn find(table: &Table, callee: &str) -> Option<usize> {
    table.find(&call(callee.as_bytes()), &mut ())
}

#[test]
fn the_first_in_the_file_wins_or_the_longest() {
    let routes =
        vec![to(&["+."]), to(&["+1NXXNXXXXXX"]), to(&["+1212.", "+44."]), to(&[]), to(&["+12125551234"])];
    let table = Table::compile(routes.clone(), Order::First);
    assert_eq!(
        (find(&table, "+12125551234"), find(&table, "12"), find(&table, "+")),
        (Some(0), Some(3), Some(3))
    );
    let table = Table::compile(routes, Order::Longest);
    assert_eq!(find(&table, "+12125551234"), Some(4), "a whole number is more than twelve places");
    assert_eq!(
        (find(&table, "+12125551235"), find(&table, "+1212555123"), find(&table, "+3")),
        (Some(1), Some(2), Some(0))
    );
    assert_eq!(find(&table, "+44"), Some(0), "a prefix wants more");
    assert_eq!(find(&Table::default(), "+44"), None);
}

#[test]
fn every_condition_decides() {
    let mut route = to(&["+44."]);
    route.from = From { trunks: vec![1], accounts: vec![7] };
    route.caller = patterns(&["+1.", "~^anon"]);
    route.headers = vec![("X-Tag".into(), Pattern::parse("gold").unwrap())];
    route.when = Some(When::parse("Th 00:00-12:00").unwrap());
    let table = Table::compile(vec![route], Order::First);
    let tags =
        |name: &str, is: &mut dyn FnMut(&[u8]) -> bool| name == "X-Tag" && (is(b"silver") || is(b"gold"));
    let good =
        Asked { trunk: Some(1), account: None, caller: b"+12", callee: b"+441", now: Wall(0), header: &tags };
    let verdict = |asked: &Asked<'_>| {
        let mut told = Collected::default();
        let found = table.find(asked, &mut told);
        let [Step::Route { verdict, .. }] = &told.steps[..] else { panic!("{told:?}") };
        assert_eq!(found.is_some(), matches!(verdict, RouteVerdict::Chosen(_)));
        assert_eq!(found, table.find(asked, &mut ()));
        verdict.clone()
    };
    assert_eq!(verdict(&good), RouteVerdict::Chosen(3));
    assert_eq!(
        verdict(&Asked { trunk: None, account: Some(7), caller: b"anonymous", ..good }),
        RouteVerdict::Chosen(3)
    );
    assert_eq!(verdict(&Asked { trunk: Some(0), ..good }), RouteVerdict::From);
    assert_eq!(verdict(&Asked { trunk: Some(0), account: Some(1), ..good }), RouteVerdict::From);
    assert_eq!(verdict(&Asked { callee: b"+431", ..good }), RouteVerdict::Callee);
    assert_eq!(verdict(&Asked { caller: b"+33", ..good }), RouteVerdict::Caller);
    assert_eq!(verdict(&Asked { now: Wall(12 * 3600 * 1_000_000), ..good }), RouteVerdict::Time);
    assert_eq!(verdict(&Asked { header: &|_, _| false, ..good }), RouteVerdict::Header("X-Tag".into()));
}

#[test]
fn odd_numbers_have_an_answer() {
    let routes = vec![
        to(&["+."]),
        to(&["~^[a-z]+$"]),
        to(&["=Nina.X", "=alice%40home"]),
        to(&["X."]),
        to(&["0123456789012345678901234X."]),
    ];
    let long = "0123456789".repeat(1000);
    let plus = format!("+{long}");
    let many_plus = "+".repeat(10_000);
    for order in [Order::First, Order::Longest] {
        let table = Table::compile(routes.clone(), order);
        let found = ["", "+", &plus, &many_plus, "alice", "alice%40home", "Nina.X", "2ina.X", "\u{0}\u{7f}ü"]
            .map(|number| find(&table, number));
        assert_eq!(found, [None, None, Some(0), Some(0), Some(1), Some(2), Some(2), Some(3), None]);
        assert_eq!(
            find(&table, &long),
            Some(if order == Order::First { 3 } else { 4 }),
            "more places than the tree has"
        );
    }
}

#[test]
fn ten_thousand_digits_cost_no_more_than_the_patterns_have() {
    let table = Table::compile(vec![to(&["XXXXXXXXXXXXXXXXXXXXXXXX.", "0."])], Order::Longest);
    let mut steps = 0;
    table.tree.find(&[b'0'; 10_000], &mut |_, _| steps += 1);
    assert_eq!(steps, 2);
}

#[test]
fn more_letters_than_the_tree_has_symbols() {
    let letters: String = ('!'..='~').filter(|c| !"XZN.".contains(*c)).collect();
    let routes: Vec<_> =
        letters.chars().map(|letter| to(&[&format!("={letter}1"), &format!("={letter}2")])).collect();
    let mut open: Vec<_> =
        letters.chars().filter(|c| !"~=".contains(*c)).map(|c| to(&[&format!("{c}{c}.")])).collect();
    let after = routes.len();
    let table = Table::compile([routes, open.split_off(0)].concat(), Order::Longest);
    for (index, letter) in letters.chars().enumerate() {
        assert_eq!(find(&table, &format!("{letter}2")), Some(index));
    }
    for (index, letter) in letters.chars().filter(|c| !"~=".contains(*c)).enumerate() {
        assert_eq!(find(&table, &format!("{letter}{letter}{letter}")), Some(after + index));
    }
}

#[test]
fn of_many_routes_those_that_take_the_number_are_told() {
    let mut routes: Vec<_> = (0..1000).map(|n| to(&[&format!("+{n:03}.")])).collect();
    routes.push(Match { caller: patterns(&["+1"]), ..to(&["+5."]) });
    routes.push(to(&["~^\\+5"]));
    let table = Table::compile(routes, Order::First);
    let mut told = Collected::default();
    assert_eq!(table.find(&call(b"+5001"), &mut told), Some(500));
    let step = |route, verdict| Step::Route { route, verdict };
    let expected = [
        step(500, RouteVerdict::Chosen(4)),
        step(1000, RouteVerdict::Caller),
        step(1001, RouteVerdict::Behind(0)),
        Step::OtherRoutes(999),
    ];
    assert_eq!(told.steps, expected);
}

/// Patterns that often meet: few characters, all forms.
fn any_pattern() -> impl Strategy<Value = Pattern> {
    let element = prop_oneof![
        4 => prop::sample::select(b"+1239ab".to_vec()).prop_map(Element::Literal),
        1 => Just(Element::X),
        1 => Just(Element::Z),
        1 => Just(Element::N),
    ];
    let regex = prop::sample::select(vec!["~1", "~^\\+1.*3$", "~[ab]", "~^$"]);
    prop_oneof![
        6 => (prop::collection::vec(element, 0..5), any::<bool>())
            .prop_map(|(elements, open)| Pattern::Digits { elements, open }),
        3 => "[+1239ab]{0,4}".prop_map(|text| Pattern::Exact(text.into_bytes())),
        1 => "[+129]{23,26}".prop_map(|text| Pattern::Exact(text.into_bytes())),
        1 => regex.prop_map(|text| Pattern::parse(text).unwrap()),
    ]
}

fn any_match() -> impl Strategy<Value = Match> {
    let from = (prop::collection::vec(0usize..4, 0..3), prop::collection::vec(0usize..6, 0..3));
    let to = prop::collection::vec(any_pattern(), 0..4);
    let caller = prop::collection::vec(any_pattern(), 0..2);
    let when = prop::option::weighted(0.2, prop::sample::select(vec!["Th", "Fr", "00:00-12:00"]));
    let header = prop::option::weighted(0.2, any_pattern());
    (from, to, caller, when, header).prop_map(|((trunks, accounts), to, caller, when, header)| Match {
        from: From { trunks, accounts },
        to,
        caller,
        headers: header.into_iter().map(|pattern| ("X-Tag".to_owned(), pattern)).collect(),
        when: when.map(|text| When::parse(text).unwrap()),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_table_says_what_reading_all_routes_would_say(
        matches in prop::collection::vec(any_match(), 0..24),
        longest: bool,
        trunk in prop::option::of(0usize..4),
        account in prop::option::of(0usize..6),
        caller in "[+1239ab]{0,5}",
        numbers in prop::collection::vec(prop_oneof![8 => "[+1239ab04]{0,7}", 1 => "[+129]{20,30}"], 1..8),
        tag in "[+1239ab]{0,5}",
        hour in 0u64..48,
    ) {
        let order = if longest { Order::Longest } else { Order::First };
        let table = Table::compile(matches.clone(), order);
        let header = |name: &str, is: &mut dyn FnMut(&[u8]) -> bool| name == "X-Tag" && is(tag.as_bytes());
        for callee in &numbers {
            let asked = Asked {
                trunk,
                account,
                caller: caller.as_bytes(),
                callee: callee.as_bytes(),
                now: Wall(hour * 3600 * 1_000_000),
                header: &header,
            };
            let expected = plain(&matches, order, &asked);
            let first = table.find(&asked, &mut ());
            prop_assert_eq!(first, expected.first().copied());
            prop_assert_eq!(first, table.find(&asked, &mut Collected::default()), "a witness changes nothing");
            let all: Vec<_> = core::iter::successors(first, |last| table.find_after(&asked, *last, &mut ())).take(30).collect();
            prop_assert_eq!(all, expected, "one after the other, each once");
        }
    }
}
