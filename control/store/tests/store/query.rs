//! Queries against a plain model: a list that is filtered, sorted and cut.

use crate::support::{LONG, all_pages, ids, settings, start};
use crate::testing::{Folder, a_cdr};
use base::Wall;
use ledger::{Cdr, ReleasedBy};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::time::{Duration, Instant};
use store::query::PAGE_MAX;
use store::{CdrQuery, CdrReader, Match, Order, Record};

/// A small world: every filter meets some records and leaves others.
fn a_world(n: u64) -> Cdr {
    let pick = |from: &[&str], by: u64| Some(from[(n / by) as usize % from.len()].to_owned());
    let answered = !n.is_multiple_of(3);
    let created = Wall(1_000_000 * (n * 7919 % 50));
    Cdr {
        created,
        trunk: pick(&["a", "b", "c"], 1).filter(|_| !n.is_multiple_of(5)),
        account: pick(&["x", "y"], 2).filter(|_| !n.is_multiple_of(4)),
        from_user: ["+15035550100", "+15035550199", "+1503", "2001", "", "+44%_*"][n as usize % 6].to_owned(),
        to_user: ["911", "91", "9", "00491711"][(n / 6) as usize % 4].to_owned(),
        release_cause: ["normal", "cancel", "no_route"][(n / 3) as usize % 3].to_owned(),
        released_by: [ReleasedBy::Caller, ReleasedBy::Engine][n as usize % 2],
        policy: n.is_multiple_of(7).then(|| "fraud.spend".to_owned()),
        answered: answered.then_some(Wall(created.0 + 5)),
        final_status: Some(if answered { 200 } else { 404 }),
        ..a_cdr(u128::from(n / 2), (n % 2) as u16)
    }
}

fn a_number() -> impl Strategy<Value = Option<Match>> {
    let texts = ["", "9", "91", "911", "+1503", "+15035550100", "+44%", "%", "_", "zz"];
    let text = proptest::sample::select(texts.to_vec());
    proptest::option::weighted(
        0.3,
        (text, any::<bool>()).prop_map(|(text, whole)| match whole {
            true => Match::Exactly(text.to_owned()),
            false => Match::Prefix(text.to_owned()),
        }),
    )
}

fn a_word(words: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    proptest::option::weighted(0.3, proptest::sample::select(words).prop_map(str::to_owned))
}

fn a_time() -> impl Strategy<Value = Option<Wall>> {
    proptest::option::weighted(0.3, (0..52u64).prop_map(|second| Wall(second * 1_000_000)))
}

prop_compose! {
    fn a_query()(
        (from, until) in (a_time(), a_time()),
        trunk in a_word(&["a", "b", "none"]),
        account in a_word(&["x", "none"]),
        (caller, callee) in (a_number(), a_number()),
        cause in a_word(&["normal", "cancel"]),
        released_by in a_word(&["caller", "engine"]),
        status in proptest::option::weighted(0.2, proptest::sample::select(vec![200, 404, 999])),
        policy in a_word(&["fraud.spend"]),
        call in proptest::option::weighted(0.1, (0..100u128).prop_map(|n| a_cdr(n, 0).call)),
        answered in proptest::option::weighted(0.3, any::<bool>()),
        oldest in any::<bool>(),
        page_size in 1..40usize,
    ) -> CdrQuery {
        let order = if oldest { Order::Oldest } else { Order::Newest };
        CdrQuery {
            from, until, trunk, account, caller, callee, cause, released_by, status, policy, call, answered, order,
            page_size, after: None,
        }
    }
}

fn passes(query: &CdrQuery, cdr: &Cdr) -> bool {
    let number = |wanted: &Option<Match>, number: &str| match wanted {
        None => true,
        Some(Match::Exactly(wanted)) => number == wanted,
        Some(Match::Prefix(prefix)) => number.starts_with(prefix.as_str()),
    };
    let same = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
    query.from.is_none_or(|from| cdr.created >= from)
        && query.until.is_none_or(|until| cdr.created < until)
        && same(&query.trunk, &cdr.trunk)
        && same(&query.account, &cdr.account)
        && number(&query.caller, &cdr.from_user)
        && number(&query.callee, &cdr.to_user)
        && query.cause.as_ref().is_none_or(|cause| *cause == cdr.release_cause)
        && query.released_by.as_ref().is_none_or(|by| by == cdr.released_by.name())
        && query.status.is_none_or(|status| cdr.final_status == Some(status))
        && same(&query.policy, &cdr.policy)
        && query.call.is_none_or(|call| cdr.call == call)
        && query.answered.is_none_or(|answered| cdr.answered.is_some() == answered)
}

#[test]
fn queries_find_what_a_plain_list_would() {
    let folder = Folder::new("query");
    let (writer, _) = start(&settings(&folder, 0));
    let world: Vec<Cdr> = (0..400).map(a_world).collect();
    world.iter().for_each(|cdr| writer.handle().ended(Box::new(cdr.clone())));
    assert!(writer.handle().flush(LONG));
    let reader = CdrReader::open(&folder.path("strowger.db")).unwrap();
    TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(400) })
        .run(&a_query(), |query| {
            let mut expected: Vec<(usize, &Cdr)> =
                world.iter().enumerate().filter(|(_, cdr)| passes(&query, cdr)).collect();
            expected.sort_by_key(|(arrived, cdr)| (cdr.created, *arrived));
            if query.order == Order::Newest {
                expected.reverse();
            }
            let expected: Vec<Record<'_>> = expected.into_iter().map(|(_, cdr)| Record::from(cdr)).collect();
            prop_assert_eq!(reader.count(&query).unwrap(), expected.len() as u64);
            let first = reader.query(&query).unwrap();
            prop_assert_eq!(first.rows.len(), expected.len().min(query.page_size));
            prop_assert_eq!(first.next.is_some(), expected.len() > query.page_size);
            prop_assert_eq!(all_pages(&reader, query), expected);
            Ok(())
        })
        .unwrap();
}

#[test]
fn pages_neither_repeat_nor_skip_while_new_records_come_in() {
    let folder = Folder::new("paging");
    let (writer, _) = start(&settings(&folder, 0));
    let handle = writer.handle();
    let at = |n: u64| Cdr { created: Wall(1_000_000 * (n % 1000)), ..a_cdr(n.into(), 0) };
    (0..100).for_each(|n| handle.ended(Box::new(at(n))));
    assert!(handle.flush(LONG));
    let reader = CdrReader::open(&folder.path("strowger.db")).unwrap();
    let (mut query, mut seen, mut newer) =
        (CdrQuery { page_size: 7, ..CdrQuery::default() }, Vec::new(), 1000);
    loop {
        let page = reader.query(&query).unwrap();
        seen.extend(page.rows);
        // Newer ones, and some of the same time as those that were seen.
        for n in [newer, newer + 500] {
            handle.ended(Box::new(at(n)));
        }
        newer += 1;
        assert!(handle.flush(LONG));
        let Some(next) = page.next else { break };
        query.after = Some(next.to_string().parse().unwrap());
    }
    let seen = ids(&seen);
    assert!((0..100).all(|n| seen.contains(&at(n).id())));
}

#[test]
fn tokens_and_sizes_of_others_are_refused_or_bounded() {
    for bad in ["", "-", "1", "1-", "-1", "x-1", "1-2-3", "11111111111111111-1", "+1-1"] {
        assert!(bad.parse::<store::PageToken>().is_err(), "{bad}");
    }
    let folder = Folder::new("bounds");
    let (writer, _) = start(&settings(&folder, 0));
    (0..1100).for_each(|n| writer.handle().ended(Box::new(a_cdr(n, 0))));
    assert!(writer.handle().flush(LONG));
    let reader = CdrReader::open(&folder.path("strowger.db")).unwrap();
    let rows =
        |page_size: usize| reader.query(&CdrQuery { page_size, ..CdrQuery::default() }).unwrap().rows.len();
    assert_eq!((rows(0), rows(usize::MAX)), (store::query::PAGE_DEFAULT, PAGE_MAX));
    let far = "ffffffffffffffff-ffffffffffffffff".parse().unwrap();
    let page = reader.query(&CdrQuery { after: Some(far), ..CdrQuery::default() }).unwrap();
    assert_eq!(page.rows.len(), store::query::PAGE_DEFAULT);
}

/// Each filter alone has an index that gives its records in order: a page of a large table costs what one of a small
/// table does. The bound is wide, since the machine may be busy.
#[test]
fn a_page_of_a_large_table_comes_at_once() {
    let folder = Folder::new("large");
    let (writer, _) = start(&settings(&folder, 0));
    let handle = writer.handle();
    for n in 0..100_000u64 {
        let cdr = Cdr {
            created: Wall(n * 1000),
            trunk: Some(format!("t{}", n % 10)),
            account: Some(format!("a{}", n % 1000)),
            from_user: format!("+1503{:07}", n * 7919 % 1_000_000),
            to_user: format!("+44{:08}", n * 104_729 % 10_000_000),
            policy: n.is_multiple_of(100).then(|| "geo".to_owned()),
            ..a_cdr(n.into(), 0)
        };
        handle.ended(Box::new(cdr));
        if n.is_multiple_of(20_000) {
            assert!(handle.flush(LONG));
        }
    }
    assert!(handle.flush(LONG) && handle.dropped() == 0);
    let reader = CdrReader::open(&folder.path("strowger.db")).unwrap();
    let text = |text: &str| Some(text.to_owned());
    let all = CdrQuery::default;
    let middle = reader.query(&CdrQuery { until: Some(Wall(50_000_000)), ..all() }).unwrap().next;
    let queries = [
        all(),
        CdrQuery { order: Order::Oldest, ..all() },
        CdrQuery { after: middle, ..all() },
        CdrQuery { from: Some(Wall(20_000_000)), until: Some(Wall(60_000_000)), ..all() },
        CdrQuery { trunk: text("t3"), after: middle, ..all() },
        CdrQuery { account: text("a77"), ..all() },
        CdrQuery { caller: Some(Match::Exactly("+15030007919".to_owned())), ..all() },
        CdrQuery { callee: Some(Match::Prefix("+44".to_owned())), ..all() },
        CdrQuery { callee: Some(Match::Prefix("+440001".to_owned())), ..all() },
        CdrQuery { cause: text("normal"), answered: Some(true), after: middle, ..all() },
        CdrQuery { policy: text("geo"), ..all() },
        CdrQuery { call: Some(a_cdr(77, 0).call), ..all() },
    ];
    for query in &queries {
        assert!(!reader.query(query).unwrap().rows.is_empty(), "{query:?}");
        let best = (0..5).map(|_| {
            let begin = Instant::now();
            reader.query(query).unwrap();
            begin.elapsed()
        });
        let best = best.min().unwrap();
        assert!(best < Duration::from_millis(50), "{best:?} for {query:?}");
    }
}
