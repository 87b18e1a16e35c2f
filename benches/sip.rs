//! Reading SIP: a typical INVITE of 1.2 KB, once only parsed, once with everything asked of it that a call's way asks.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sip::frame::Framing;
use sip::message::{Message, Name, OPTION_TAGS};
use std::hint::black_box;

const INVITE: &[u8] = include_bytes!("../tests/data/typical/invite.sip");

fn invite(c: &mut Criterion) {
    let mut group = c.benchmark_group("sip");
    // One message. Goal: at most 1 µs.
    group.throughput(Throughput::Elements(1));
    group.bench_function("parse a typical INVITE", |b| {
        b.iter(|| Message::parse(black_box(INVITE), Framing::Datagram).is_ok());
    });
    group.bench_function("parse and read a typical INVITE", |b| {
        b.iter(|| {
            let Ok(message) = Message::parse(black_box(INVITE), Framing::Datagram) else {
                panic!("a valid INVITE")
            };
            read(&message);
        });
    });
    group.finish();
}

/// What admission, the transaction, the dialog and the B2BUA ask for.
fn read(message: &Message<'_>) {
    black_box((message.is_request(), message.method(), message.earns(&OPTION_TAGS)));
    black_box((message.request_uri().map(|uri| uri.host), message.cseq(), message.max_forwards()));
    black_box((message.top_via().branch(), message.vias().count()));
    black_box((message.from().parsed().is_some(), message.from_tag(), message.to_tag(), message.call_id()));
    black_box((message.contact().is_some(), message.record_routes().count()));
    black_box((message.supports(b"timer"), message.session_expires(), message.min_se()));
    black_box((message.is_content(b"application/sdp"), message.body()));
    black_box((message.header(Name::UserAgent), message.header_named(b"P-Asserted-Identity")));
}

criterion_group!(benches, invite);
criterion_main!(benches);
