//! Those who follow the events: in order, by kind, from where they left; and those who are too slow.

use crate::fake::World;
use api::{Limits, Tokens};
use base::Wall;
use ledger::Event;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A client that follows.
struct Follower {
    lines: BufReader<TcpStream>,
}

impl Follower {
    fn new(world: &World, query: &str, header: &str) -> Follower {
        let mut stream = world.connect();
        let request = format!("GET /v1/events{query} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut follower = Follower { lines: BufReader::new(stream) };
        assert_eq!(follower.line().as_deref(), Some("HTTP/1.1 200 OK"));
        while follower.line().expect("an answer") != "content-type: text/event-stream" {}
        while follower.line().expect("an answer") != ": strowger" {}
        follower
    }

    /// The next line that says something; `None` at the end.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.lines.read_line(&mut line).expect("the server is quicker than that") > 0)
            .then(|| line.trim_end().to_owned())
    }

    /// The next event's id and data, or a comment.
    fn next(&mut self) -> Option<(u64, String)> {
        let mut id = 0;
        loop {
            let line = self.line()?;
            if let Some(number) = line.strip_prefix("id: ") {
                id = number.parse().unwrap();
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return Some((id, data.to_owned()));
            }
            if let Some(comment) = line.strip_prefix(": ") {
                return Some((0, comment.to_owned()));
            }
        }
    }
}

fn publish(world: &World, kind: &'static str, n: usize) {
    world.fake.events.publish(Event::new(Wall(n as u64), kind).with("n", n));
}

#[test]
fn events_come_in_order_and_only_those_that_were_asked_for() {
    let world = World::new();
    publish(&world, "fraud.critical", 0);
    let mut all = Follower::new(&world, "", "");
    let mut fraud = Follower::new(&world, "?kind=fraud.*,ban.added", "");
    for (n, kind) in ["fraud.warning", "trunk.down", "ban.added", "ban.removed"].into_iter().enumerate() {
        publish(&world, kind, n + 1);
    }
    let data = |n: usize, kind: &str| format!(r#"{{"at":"{}","kind":"{kind}","n":"{n}"}}"#, Wall(n as u64));
    let seen: Vec<_> = (0..4).map(|_| all.next().unwrap()).collect();
    assert_eq!(seen[1].1, data(2, "trunk.down"));
    assert!(seen.windows(2).all(|two| two[1].0 == two[0].0 + 1), "ids rise by one: {seen:?}");
    assert_eq!(fraud.next().unwrap().1, data(1, "fraud.warning"));
    assert_eq!(fraud.next().unwrap().1, data(3, "ban.added"));
    let page = world.get("/metrics");
    assert!(
        page.text().contains("strowger_events_total{sink=\"api\",result=\"sent\"} 6\n"),
        "{}",
        page.text()
    );
}

#[test]
fn whoever_comes_back_misses_nothing_that_is_remembered() {
    let world = World::new();
    let mut first = Follower::new(&world, "", "");
    publish(&world, "call.refused", 1);
    let (id, _) = first.next().unwrap();
    drop(first);
    publish(&world, "call.refused", 2);
    publish(&world, "call.refused", 3);
    let mut again = Follower::new(&world, "", &format!("Last-Event-ID: {id}\r\n"));
    assert_eq!(again.next().unwrap().0, id + 1);
    publish(&world, "call.refused", 4);
    assert_eq!((again.next().unwrap().0, again.next().unwrap().0), (id + 2, id + 3));
    for n in 0..ledger::event::RECENT_MAX {
        publish(&world, "call.refused", n);
    }
    let mut late = Follower::new(&world, "", &format!("Last-Event-ID: {id}\r\n"));
    assert_eq!(late.next().unwrap(), (0, "3 events are no longer remembered".to_owned()));
    assert_eq!(late.next().unwrap().0, id + 4);
    let bad = world.ask("GET", "/v1/events", &["Last-Event-ID: yesterday"], "");
    assert_eq!((bad.status, bad.json()["errors"][0]["field"].as_str()), (422, Some("Last-Event-ID")));
    assert_eq!(world.get("/v1/events?kind=*").json()["errors"][0]["field"], "kind");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test's deadline")]
fn a_follower_that_is_too_slow_is_told_and_let_go() {
    let world = World::new();
    let mut slow = Follower::new(&world, "", "");
    let start = Instant::now();
    let mut n = 0;
    // More than the sockets on the way hold and its queue takes.
    while world.fake.events.dropped() == 0 {
        assert!(start.elapsed() < Duration::from_secs(30), "nothing was dropped after {n} events");
        world.fake.events.publish(Event::new(Wall(n), "call.refused").with("text", "x".repeat(2_000)));
        n += 1;
    }
    let mut last = 0;
    let comment = loop {
        match slow.next().expect("a comment before the end") {
            (0, comment) => break comment,
            (id, _) => {
                assert!(last == 0 || id == last + 1, "{id} behind {last}");
                last = id;
            }
        }
    };
    assert!(comment.starts_with("too slow, "), "{comment}");
    while slow.line().is_some_and(|line| line != "0") {}
    let left = (0..1_000).any(|_| {
        std::thread::park_timeout(Duration::from_millis(10));
        world.fake.events.subscribers() == 0
    });
    assert!(left, "its place is free again");
}

#[test]
fn followers_are_bounded_and_their_places_are_given_back() {
    let world = World::with(Tokens::default(), Limits::default());
    let followers: Vec<_> =
        (0..ledger::event::SUBSCRIBERS_MAX).map(|_| Follower::new(&world, "", "")).collect();
    let refused = world.get("/v1/events");
    assert_eq!((refused.status, refused.class().as_str()), (503, "busy"));
    drop(followers);
    // The server sees that they have gone when it reads or writes; the deadline is generous.
    let free = (0..1_000).any(|n| {
        publish(&world, "call.refused", n);
        std::thread::park_timeout(Duration::from_millis(10));
        world.fake.events.subscribers() == 0
    });
    assert!(free, "{} places are still taken", world.fake.events.subscribers());
}
