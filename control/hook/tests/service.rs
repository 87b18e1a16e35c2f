//! The service against real HTTP servers: a program that decides, and several that misbehave.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use axum::routing::post;
use hook::{Hooks, Limits};
use ledger::{HookAnswer, HookFailed, HookQuestion};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

/// A program of an operator's; counts its requests.
struct Program {
    address: String,
    requests: Arc<AtomicUsize>,
}

impl Program {
    async fn start<F, R>(answer: impl Fn(serde_json::Value) -> F + Clone + Send + Sync + 'static) -> Program
    where
        F: Future<Output = R> + Send,
        R: IntoResponse,
    {
        let requests = Arc::<AtomicUsize>::default();
        let seen = Arc::clone(&requests);
        let decide = move |body: Bytes| {
            seen.fetch_add(1, Ordering::Relaxed);
            let answer = answer(serde_json::from_slice(&body).expect("questions are JSON"));
            async move { answer.await.into_response() }
        };
        let elsewhere = post(|| async { r#"{"action":"continue"}"# });
        let app = Router::new().route("/route", post(decide)).route("/elsewhere", elsewhere);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/route", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Program { address, requests }
    }

    fn question(&self, call: usize, to: usize) -> HookQuestion {
        HookQuestion {
            url: self.address.clone(),
            deadline: 10 * SECOND,
            cache: Duration::ZERO,
            call_id: format!("call-{call}"),
            facts: vec![("from".into(), "2001".into()), ("to".into(), to.to_string())],
        }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn ask(hooks: &Hooks, question: HookQuestion) -> HookAnswer {
    let (told, answer) = oneshot::channel();
    hooks.ask(question, move |answer| drop(told.send(answer)));
    answer.await.expect("every question is answered")
}

fn to_acme(to: &str) -> HookAnswer {
    HookAnswer::Route {
        via: Some("acme".into()),
        to: Some(to.to_owned()),
        from: None,
        headers: vec![("X-Hook".into(), "1".into())],
        max_duration: Some(Duration::from_secs(60)),
    }
}

async fn route(question: serde_json::Value) -> String {
    let to = &question["to"];
    format!(r#"{{"action":"route","via":"acme","to":{to},"headers":{{"X-Hook":"1"}},"max_duration":60}}"#)
}

fn result(hooks: &Hooks, name: &str) -> u64 {
    hooks.stats().questions().find(|(known, _)| *known == name).expect("a known result").1
}

#[test]
fn the_program_is_told_the_facts_and_its_decision_comes_back() {
    run(async {
        let program = Program::start(|question| async move {
            assert_eq!(
                question,
                serde_json::json!({ "call_id": "call-1", "from": "2001", "to": "7", "headers": {} })
            );
            route(question).await
        })
        .await;
        let hooks = Hooks::start(Limits::default());
        assert_eq!(ask(&hooks, program.question(1, 7)).await, to_acme("7"));
        assert_eq!(result(&hooks, "route"), 1);
    });
}

#[test]
fn a_hundred_questions_of_ten_kinds_are_ten_requests_at_most() {
    run(async {
        let program = Program::start(route).await;
        let hooks = Hooks::start(Limits::default());
        let questions = (0..100).map(|call| {
            let question = HookQuestion { cache: 10 * SECOND, ..program.question(call, call % 10) };
            let hooks = hooks.clone();
            tokio::spawn(async move { (call % 10, ask(&hooks, question).await) })
        });
        for asked in questions.collect::<Vec<_>>() {
            let (to, answer) = asked.await.unwrap();
            assert_eq!(answer, to_acme(&to.to_string()), "each gets the answer to its own question");
        }
        assert!(program.requests() <= 10, "{} requests", program.requests());
        let before = program.requests();
        let again = HookQuestion { cache: 10 * SECOND, ..program.question(101, 3) };
        assert_eq!((ask(&hooks, again).await, program.requests()), (to_acme("3"), before));
        let [cache, shared, request] = hooks.stats().sources().map(|(_, count)| count);
        assert_eq!((cache + shared + request, request), (101, before as u64));
    });
}

#[test]
fn an_answer_holds_for_its_time_and_not_without_a_cache() {
    run(async {
        let program = Program::start(route).await;
        let hooks = Hooks::start(Limits::default());
        for call in 0..3 {
            ask(&hooks, program.question(call, 1)).await;
        }
        assert_eq!(program.requests(), 3, "without a cache each is asked");
        let short = || HookQuestion { cache: Duration::from_millis(50), ..program.question(9, 2) };
        let start = Instant::now();
        while program.requests() < 5 {
            assert!(start.elapsed() < 10 * SECOND, "the answer is never forgotten");
            ask(&hooks, short()).await;
        }
        assert!(start.elapsed() >= Duration::from_millis(50), "forgotten after {:?}", start.elapsed());
    });
}

#[test]
fn a_program_that_hangs_costs_the_deadline_and_no_more() {
    run(async {
        let program = Program::start(|_| core::future::pending::<String>()).await;
        let hooks = Hooks::start(Limits { requests: 2, ..Limits::default() });
        let asked = |call: usize, to: usize, millis: u64| {
            let question =
                HookQuestion { deadline: Duration::from_millis(millis), ..program.question(call, to) };
            let hooks = hooks.clone();
            tokio::spawn(async move {
                let start = Instant::now();
                (ask(&hooks, question).await, start.elapsed())
            })
        };
        // One question by two calls with deadlines of their own, and another.
        let waiting = [(asked(1, 1, 100), 100), (asked(2, 1, 400), 400), (asked(3, 2, 200), 200)];
        for (asked, millis) in waiting {
            let (answer, took) = asked.await.unwrap();
            assert_eq!(answer, HookAnswer::Failed(HookFailed::Late));
            let deadline = Duration::from_millis(millis);
            // Never early; how late is a matter of this machine's load.
            assert!(took >= deadline && took < deadline + 2 * SECOND, "{took:?} of {deadline:?}");
        }
        assert_eq!((result(&hooks, "late"), program.requests()), (3, 2));
        // Requests that were given up have left their places.
        for call in 4..8 {
            assert_eq!(asked(call, call, 20).await.unwrap().0, HookAnswer::Failed(HookFailed::Late));
        }
    });
}

#[test]
fn what_is_no_decision_is_a_failure_and_is_not_remembered() {
    run(async {
        let huge = "x".repeat(200 << 10);
        let program = Program::start(move |question| {
            let huge = huge.clone();
            async move {
                match question["to"].as_str().unwrap() {
                    "0" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                    "1" => "<html>".into_response(),
                    "2" => r#"{"action":"dial"}"#.into_response(),
                    "3" => huge.into_response(),
                    "4" => Redirect::temporary("/elsewhere").into_response(),
                    "5" => (StatusCode::CREATED, r#"{"action":"continue"}"#).into_response(),
                    _ => Body::empty().into_response(),
                }
            }
        })
        .await;
        let hooks = Hooks::start(Limits::default());
        for round in 0..2 {
            for to in 0..7 {
                let question = HookQuestion { cache: 10 * SECOND, ..program.question(round, to) };
                assert_eq!(ask(&hooks, question).await, HookAnswer::Failed(HookFailed::Nonsense), "{to}");
            }
        }
        assert_eq!((result(&hooks, "nonsense"), program.requests()), (14, 14));
    });
}

#[test]
fn nobody_there_is_told_at_once() {
    run(async {
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let program =
            Program { address: format!("http://{}/", gone.local_addr().unwrap()), requests: Arc::default() };
        drop(gone);
        let hooks = Hooks::start(Limits::default());
        let start = Instant::now();
        assert_eq!(ask(&hooks, program.question(1, 1)).await, HookAnswer::Failed(HookFailed::Unreachable));
        assert!(start.elapsed() < 5 * SECOND);
        let nonsense = HookQuestion { url: "nowhere".into(), ..program.question(1, 1) };
        assert_eq!(ask(&hooks, nonsense).await, HookAnswer::Failed(HookFailed::Nonsense));
    });
}

#[test]
fn requests_and_waiting_questions_are_bounded() {
    run(async {
        let open = Arc::new(Notify::new());
        let gate = Arc::clone(&open);
        let program = Program::start(move |question| {
            let gate = Arc::clone(&gate);
            async move {
                gate.notified().await;
                route(question).await
            }
        })
        .await;
        let hooks = Hooks::start(Limits { requests: 2, waiting: 4, ..Limits::default() });
        let asked = |call: usize, to: usize| {
            let (hooks, question) = (hooks.clone(), program.question(call, to));
            tokio::spawn(async move { ask(&hooks, question).await })
        };
        let busy = HookAnswer::Failed(HookFailed::Busy);
        let first = [asked(1, 1), asked(2, 2)];
        let start = Instant::now();
        while program.requests() < 2 {
            assert!(start.elapsed() < 10 * SECOND, "two requests should be under way");
            tokio::task::yield_now().await;
        }
        assert_eq!(asked(3, 3).await.unwrap(), busy, "a third request");
        // Those who ask the same wait with them, as many as there is room for.
        let mut same: Vec<_> = (4..10).map(|call| asked(call, 1)).collect();
        let mut refused = 0;
        while refused < 4 {
            assert!(start.elapsed() < 10 * SECOND, "{refused} of six were refused");
            let mut waiting = Vec::new();
            for asked in same {
                if asked.is_finished() {
                    assert_eq!(asked.await.unwrap(), busy);
                    refused += 1;
                } else {
                    waiting.push(asked);
                }
            }
            same = waiting;
            tokio::task::yield_now().await;
        }
        open.notify_one();
        open.notify_one();
        for asked in first.into_iter().chain(same) {
            assert!(matches!(asked.await.unwrap(), HookAnswer::Route { .. }));
        }
        assert_eq!((result(&hooks, "busy"), result(&hooks, "route")), (5, 4));
    });
}
