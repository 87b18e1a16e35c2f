//! Any sequence of inputs: nothing panics, and after 64 * T1 of quiet no transaction is left.

use super::tests::{Bench, answer, ours, theirs};
use super::*;
use crate::flow::Transport;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// A request of the peer: method, branch, CSeq, whether within a dialog.
    Theirs(usize, u8, u8, bool),
    /// The user answers one of the requests so far.
    Respond(u8, u16),
    Forget(u8),
    /// A request of ours: method, branch.
    Ours(usize, u8),
    /// The peer answers: status, method, branch.
    Answer(u16, usize, u8),
    Cancel(u8),
    PassMs(u16),
    TransportError(Option<u8>),
    SendFailed(u8),
    StreamFailed,
    /// From now on over a stream, or not.
    Stream(bool),
}

const METHODS: [&str; 5] = ["INVITE", "ACK", "CANCEL", "BYE", "OPTIONS"];
/// Methods that we send in transactions.
const OURS: [&str; 3] = ["INVITE", "BYE", "OPTIONS"];
const BRANCHES: [&str; 6] = ["z9hG4bKa", "z9hG4bKb", "z9hG4bKc", "z9hG4bK", "old", "z9hG4bKd"];
const CODES: [u16; 9] = [100, 180, 183, 200, 202, 302, 401, 487, 603];

fn step() -> impl Strategy<Value = Step> {
    let branch = || 0..BRANCHES.len() as u8;
    let code = || prop::sample::select(&CODES[..]);
    prop_oneof![
        4 => (0..METHODS.len(), branch(), 1u8..3, any::<bool>()).prop_map(|(m, b, c, d)| Step::Theirs(m, b, c, d)),
        4 => (any::<u8>(), code()).prop_map(|(n, code)| Step::Respond(n, code)),
        1 => any::<u8>().prop_map(Step::Forget),
        3 => (0..OURS.len(), branch()).prop_map(|(m, b)| Step::Ours(m, b)),
        4 => (code(), 0..METHODS.len(), branch()).prop_map(|(code, m, b)| Step::Answer(code, m, b)),
        2 => any::<u8>().prop_map(Step::Cancel),
        3 => prop_oneof![0u16..700, 0u16..40_000].prop_map(Step::PassMs),
        1 => prop::option::of(branch()).prop_map(Step::TransportError),
        1 => any::<u8>().prop_map(Step::SendFailed),
        1 => Just(Step::StreamFailed),
        1 => any::<bool>().prop_map(Step::Stream),
    ]
}

fn pick<T: Copy>(from: &[T], n: u8) -> Option<T> {
    from.get(usize::from(n) % from.len().max(1)).copied()
}

proptest! {
    #[test]
    fn every_transaction_ends(steps in prop::collection::vec(step(), 1..120)) {
        let mut bench = Bench::with(Limits { servers_max: 8, clients_max: 8 });
        let (mut servers, mut clients) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Theirs(method, branch, cseq, in_dialog) => {
                    let to_tag = if in_dialog { ";tag=ours" } else { "" };
                    let text = theirs(METHODS[method], BRANCHES[usize::from(branch)], cseq.into(), to_tag);
                    match bench.receive(&text) {
                        Incoming::Request(tx) => servers.push(tx),
                        Incoming::Cancel { cancel, .. } => servers.push(cancel),
                        Incoming::Ack | Incoming::Absorbed => {}
                        other => prop_assert!(false, "{other:?} for a request"),
                    }
                }
                Step::Respond(n, code) => {
                    if let Some(tx) = pick(&servers, n) {
                        let text = answer(code, "INVITE", "z9hG4bKz", ";tag=ours").replace('\n', "\r\n");
                        bench.stack.respond(bench.now, tx, code, text.into_bytes());
                    }
                }
                Step::Forget(n) => {
                    if let Some(tx) = pick(&servers, n) {
                        bench.stack.forget(tx);
                    }
                }
                Step::Ours(method, branch) => {
                    let text = ours(OURS[method], BRANCHES[usize::from(branch)]).replace('\n', "\r\n");
                    let target = bench.flow.back();
                    clients.extend(bench.stack.request(bench.now, target, 1, text.into_bytes()));
                }
                Step::Answer(code, method, branch) => {
                    let incoming = bench.receive(&answer(code, METHODS[method], BRANCHES[usize::from(branch)], ";tag=c"));
                    prop_assert!(!matches!(incoming, Incoming::Request(_) | Incoming::Ack), "for a response");
                }
                Step::Cancel(n) => {
                    if let Some(tx) = pick(&clients, n) {
                        bench.stack.cancel(bench.now, tx, None);
                    }
                }
                Step::PassMs(ms) => bench.pass_until(bench.now.0 / 1_000_000 + u64::from(ms)),
                Step::TransportError(branch) => {
                    let branch = branch.map(|n| BRANCHES[usize::from(n)].as_bytes());
                    bench.stack.handle_transport_error(bench.flow.transport, bench.flow.remote, branch);
                }
                Step::SendFailed(n) => {
                    if let Some(tx) = pick(&clients, n) {
                        bench.stack.handle_send_failed(tx);
                    }
                }
                Step::StreamFailed => bench.stack.handle_stream_failed(FlowId { index: 1, generation: 1 }),
                Step::Stream(on) => {
                    bench.flow.transport = if on { Transport::Tcp } else { Transport::Udp };
                    bench.flow.stream = on.then_some(FlowId { index: 1, generation: 1 });
                }
            }
            bench.drain();
            let stack = &bench.stack;
            prop_assert!(stack.servers_len() <= 8 && stack.clients_len() <= 8);
            prop_assert_eq!(stack.server_ids.len(), stack.servers_len());
            prop_assert_eq!(stack.client_ids.len(), stack.clients_len());
        }
        // The user does its part: every INVITE is answered or cancelled. The rest is time.
        for tx in servers {
            let text = answer(500, "INVITE", "z9hG4bKz", ";tag=ours").replace('\n', "\r\n");
            bench.stack.respond(bench.now, tx, 500, text.into_bytes());
        }
        for tx in clients {
            bench.stack.cancel(bench.now, tx, None);
        }
        bench.drain();
        let quiet_ms = 32_000 + TICK.as_millis() as u64;
        bench.pass_until(bench.now.0 / 1_000_000 + quiet_ms);
        bench.assert_empty();
    }
}
