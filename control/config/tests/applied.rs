//! What a configuration becomes: the specs of the B2BUA, the notices, the defaults, the differences.

use b2bua::spec::{self, Transport, UnknownAnswer};
use base::{Instant, Wall};
use config::diff::diff;
use config::{Checked, Config, PoolBook};
use ledger::{Bounds, Class, Lease, Part};
use routing::group::{Compare, Pick, Ties};
use routing::{Asked, NumberOf, Way};
use std::sync::Arc;
use std::time::Duration;

fn checked(text: &str) -> Checked {
    Config::check(text, "test.toml")
        .unwrap_or_else(|errors| panic!("{}", errors.iter().map(|e| format!("{e}\n")).collect::<String>()))
}

fn file(name: &str) -> Checked {
    let path = format!("{}/../../tests/data/config/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    Config::check(&text, &path).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn spec(checked: &Checked) -> spec::Spec {
    checked.spec(7, &mut PoolBook::new())
}

#[test]
fn the_smallest_file_becomes_two_trunks_and_two_routes() {
    let spec = spec(&file("smallest.toml"));
    assert_eq!(spec.version, 7);
    let [listener] = &spec.listeners[..] else { panic!("{:?}", spec.listeners) };
    assert_eq!(
        listener.sip,
        [spec::SipBind { transport: Transport::Udp, address: "0.0.0.0:5060".parse().unwrap() }]
    );
    assert_eq!(
        (listener.media[0].ports.clone(), listener.dscp_sip, listener.dscp_rtp),
        (10000..=29999, 24, 46)
    );
    let pbx = &spec.trunks[0];
    let address = "10.0.0.2".parse().unwrap();
    assert_eq!(pbx.from, [spec::Source::Net { address, prefix: 32, port: None }]);
    let target = spec::Target { host: "10.0.0.2".into(), port: None, transport: None, weight: 1 };
    assert_eq!(pbx.to, [target]);
    assert_eq!((pbx.listener, pbx.listener_only, pbx.one_ends), (0, false, false));
    assert_eq!((pbx.session_timer, pbx.max_duration), (Some(Duration::from_secs(1800)), None));
    assert_eq!(pbx.timeouts, command::Timeouts::default());
    assert_eq!(pbx.codes, spec::Codes::default());
    let to = |trunk| spec::Action::To(Way::Trunk(trunk));
    let ways: Vec<_> = spec.routes.iter().map(|r| (r.name.as_str(), r.action)).collect();
    assert_eq!(ways, [("route-1", to(1)), ("route-2", to(0))]);
    let from: Vec<_> = spec.table.matches().iter().map(|m| m.from.trunks.clone()).collect();
    assert_eq!(from, [vec![0], vec![1]]);
    assert_eq!((spec.unknown.answer, spec.orphan), (UnknownAnswer::Silent, Duration::from_secs(30)));
}

#[test]
fn every_key_in_effect_reaches_the_spec() {
    let spec = spec(&file("behind-nat.toml"));
    let outside = &spec.listeners[1];
    assert_eq!(outside.sip[1].transport, Transport::Tcp);
    assert_eq!(outside.advertise.len(), 2);
    assert_eq!((spec.listeners[0].dscp_sip, spec.listeners[0].dscp_rtp), (26, 46));
    let [pbx, carrier, fallback] = &spec.trunks[..] else { panic!() };
    assert_eq!(pbx.from, [spec::Source::Host { name: "pbx.office.example".into(), port: Some(5070) }]);
    assert_eq!(
        (pbx.to[0].host.as_str(), pbx.to[0].port, pbx.session_timer),
        ("pbx.office.example", Some(5070), None)
    );
    assert_eq!((pbx.listener, pbx.listener_only), (0, true));
    assert_eq!(pbx.timeouts.both, Some(Duration::from_secs(300)));
    assert_eq!((carrier.listener, carrier.from.len()), (1, 3));
    let hosts: Vec<_> = carrier.to.iter().map(|t| (t.host.as_str(), t.port, t.transport, t.weight)).collect();
    assert_eq!(
        hosts,
        [
            ("sbc1.carrier.example", None, None, 1),
            ("203.0.113.9", Some(5080), Some(Transport::Tcp), 3),
            ("[2001:db8:1::9]", None, None, 1)
        ]
    );
    assert!(carrier.codes.retries(500) && !carrier.codes.retries(503) && carrier.codes.retries(408));
    assert_eq!((carrier.codes.towards_caller(603), carrier.codes.towards_caller(503)), (486, 503));
    assert_eq!((carrier.timeouts.one, carrier.one_ends), (Some(Duration::from_secs(120)), true));
    assert_eq!((carrier.timeouts.hold, carrier.learn), (None, command::Learn::Strict));
    assert_eq!(carrier.max_duration, Some(Duration::from_secs(86_400)));
    assert_eq!((fallback.listener, fallback.from.len()), (0, 0));
    assert_eq!(spec.table.matches()[0].to.len(), 2);
    assert_eq!(spec.routes[0].max_duration, Some(Duration::from_secs(4 * 3600)));
    let rule = &spec.number_rules[0];
    assert_eq!((rule.name.as_str(), rule.on, &rule.trunk[..]), ("international", NumberOf::Callee, &[0][..]));
    assert_eq!(rule.to.apply(&rule.matches, b"00441234"), b"+441234");
    assert_eq!(spec.number_rules[1].name, "number-rule-2");
    assert_eq!(spec.unknown.answer, UnknownAnswer::Forbidden);
}

#[test]
fn the_order_of_routes_is_as_the_file_says() {
    let taken = |spec: &spec::Spec, callee: &str| {
        let asked = Asked {
            trunk: Some(0),
            account: None,
            caller: b"100",
            callee: callee.as_bytes(),
            now: Wall::default(),
            header: &|_, _| false,
        };
        spec.table.find(&asked, &mut ()).map(|route| spec.routes[route].name.clone()).unwrap_or_default()
    };
    let longest = spec(&file("longest-match.toml"));
    let callees = ["+49891234", "+49892222", "+4912", "+33", "+1"];
    let found = callees.map(|callee| taken(&longest, callee));
    assert_eq!(found, ["munich", "munich", "europe", "europe", "all"]);
    // In the order of the file, the first route takes everything but what stands before it.
    let text = "trunk.a = \"192.0.2.1\"\nlistener.m = { sip = \"udp:127.0.0.1:0\", media = \"127.0.0.1:0\" }\n\
                route = [{ name = \"x\", to = \"+4989.\", via = \"a\" }, { name = \"all\", via = \"a\" }, { name = \"late\", \
                to = \"+49891.\", via = \"a\" }]";
    let first = spec(&checked(text));
    assert_eq!(["+49891234", "+4912"].map(|callee| taken(&first, callee)), ["x", "all"]);
}

#[test]
fn a_trunk_keeps_its_pool_as_long_as_a_call_holds_it() {
    let mut pools = PoolBook::new();
    let first = file("smallest.toml").spec(1, &mut pools);
    let call = Lease::take(0, Instant(1), Class::Normal, [Part::Pool(&first.trunks[0].pool)]).unwrap();
    drop(first);
    // The trunk goes and comes back while its call is still up.
    let text =
        "listener.m = { sip = \"udp:127.0.0.1:0\", media = \"127.0.0.1:0\" }\ntrunk.other = \"192.0.2.1\"";
    let second = checked(text).spec(2, &mut pools);
    assert_eq!(second.trunks[0].pool.used(), 0);
    let third = file("smallest.toml").spec(3, &mut pools);
    assert_eq!(third.trunks[0].pool.used(), 1);
    drop(call);
    assert_eq!(third.trunks[0].pool.used(), 0);
}

#[test]
fn ng_calls_take_the_places_of_the_limits_that_trunks_take() {
    let text = "listener.in = { media = \"127.0.0.1:3000-3999\", dscp = { rtp = \"AF41\" } }\n\
                listener.out = { sip = \"udp:127.0.0.1:0\", media = [\"0.0.0.0:4000-4999\", \"[::1]:0\"], advertise = \"192.0.2.9\" }\n\
                limit.lines = { calls = 2 }\ntrunk.acme = { address = \"192.0.2.1\", limit = { pool = \"lines\" } }\n\
                [engine]\nng = \"udp:127.0.0.1:2223\"\nng_pool = \"lines\"\nng_source = \"rtpengine\"\n\
                ng_events = \"127.0.0.1:9900\"\ndelete_delay = \"5s\"";
    let (checked, mut pools) = (checked(text), PoolBook::new());
    let (sip, ng) = (checked.spec(1, &mut pools), checked.ng_spec(&mut pools));
    let spec::Limit::Shared(lines) = &sip.trunks[0].limits_out[0] else { panic!("a shared limit") };
    assert!(ng.pools.len() == 1 && Arc::ptr_eq(&ng.pools[0], lines));
    // Numbered as the media shards number them, those of SIP included.
    let listeners: Vec<_> = ng.listeners.iter().map(|l| (l.name.as_str(), l.media.len(), l.dscp)).collect();
    assert_eq!(listeners, [("in", 1, 34), ("out", 2, 46)]);
    assert_eq!(ng.listeners[1].advertise, ["192.0.2.9".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(ng.source, ng::spec::SourceRule::Rtpengine);
    assert_eq!(
        (ng.delete_delay, ng.events_to),
        (Duration::from_secs(5), vec!["127.0.0.1:9900".parse().unwrap()])
    );
    assert!(!ng.makeable.is_empty());
}

/// Every key of routing, limits and fraud that has a place in the spec.
const JUDGEMENT: &str = r#"
listener.m = { sip = "udp:127.0.0.1:0", media = "127.0.0.1:0", texts = "opensips" }
limit.acme = { calls = 9, cps = "30/m", reserve = 2 }
limit.each = { calls = 3, per = "caller", keys = 7 }
[policy.geo]
destinations = { base = "default", allow = ["+44", "@GB"], deny = "@premium" }
callers = { deny = "+1900*" }
[policy.fraud]
per = ["account", "prefix"]
prefixes = ["+44", "+1"]
window = "1h"
rates = "rates.csv"
warn = "event"
critical = ["reject", "disable:1h"]
[policy.fraud.rules]
spend = [5, 10]
distinct = [50, 100]
short_calls = { ratio = [0.5, 0.9] }
answer_ratio = { below = [0.3, 0.1], min_calls = 5 }
[trunk.acme]
address = "192.0.2.1"
limit = { calls = 50, cps = "40/s", pool = ["acme", "each"] }
limit_in = { calls = 30 }
limit_out = { cps = "10/s", burst = 3 }
probe = { every = "5s" }
breaker = {}
policy = ["geo", "fraud"]
class = "priority"
emergency_address = "1 Main Street"
codes = { bill = [486] }
[trunk.beta]
address = "192.0.2.2"
[group.out]
pick = "free-capacity"
compare = "absolute"
ties = "first"
[[group.out.members]]
trunk = "acme"
resources = { pstn = 30, fax = 2 }
[[group.out.members]]
trunk = "beta"
resources = { pstn = 10 }
prefix = "9#"
caller = "100"
host = "line.example"
[group.all]
members = [{ trunk = "out", priority = 2, weight = 5 }, "beta"]
[account."2001@acme.test"]
password = "env:P"
number = "+15035550100"
limit = { calls = 2, pool = "acme" }
policy = "fraud"
[[route]]
name = "full"
from = ["beta", "2001@acme.test"]
to = ["~^00(.*)", "~^011(.*)"]
caller = "1XX"
headers = { "X-Tag" = "=very gold" }
when = "Mo-Fr 09:00-17:00 Europe/Dublin"
via = "all"
callee = "+{1}"
set_caller = "+4989{0-}"
set_headers = { "X-accountcode" = "{caller}@{trunk}" }
resources = "pstn"
class = "normal"
texts = "rfc"
hook = { url = "http://127.0.0.1/", on_timeout = "reject" }
[[route]]
reject = 603
[engine]
emergency = ["112", "999"]
[unknown]
answer = "divert:tarpit"
ban_after = 0
flood = "off"
scanner_names = "evil"
exempt = "10.0.0.0/8"
divert_calls = 5
divert_duration = "1m"
"#;

/// Beside the rate files of the tests.
fn beside(text: &str) -> Checked {
    let path = format!("{}/../../tests/data/config/judgement.toml", env!("CARGO_MANIFEST_DIR"));
    Config::check(text, &path).unwrap_or_else(|errors| panic!("{errors:?}"))
}

#[test]
fn every_key_of_routing_reaches_the_spec() {
    let spec = spec(&beside(JUDGEMENT));
    let matching = &spec.table.matches()[0];
    assert_eq!((&matching.from.trunks[..], &matching.from.accounts[..]), (&[1][..], &[0][..]));
    assert_eq!((matching.to.len(), matching.caller.len(), matching.headers[0].0.as_str()), (2, 1, "X-Tag"));
    assert!(matching.headers[0].1.matches(b"very gold"));
    assert_eq!(matching.when.as_ref().map(|when| when.text()), Some("Mo-Fr 09:00-17:00 Europe/Dublin"));
    let [full, refused] = &spec.routes[..] else { panic!("{:?}", spec.routes) };
    assert_eq!(full.action, spec::Action::To(Way::Group(1)));
    assert_eq!(full.callee.as_ref().unwrap().apply(&full.to[1], b"011441"), b"+441");
    assert!(full.set_caller.is_some());
    assert_eq!(full.set_headers, [("X-accountcode".to_owned(), "{caller}@{trunk}".to_owned())]);
    assert_eq!((&full.resources[..], full.class), (&["pstn".to_owned()][..], Some(Class::Normal)));
    assert_eq!((full.texts, full.hook.as_ref().map(|hook| hook.goes_on)), (spec::Texts::Rfc, Some(false)));
    assert_eq!((refused.action, refused.texts), (spec::Action::Reject(603), spec::Texts::Opensips));
    let [out, all] = &spec.groups[..] else { panic!("{:?}", spec.groups) };
    assert_eq!((out.pick, out.compare, out.ties), (Pick::FreeCapacity, Compare::Absolute, Ties::First));
    let [acme, beta] = &out.members[..] else { panic!() };
    let resources: Vec<_> =
        acme.resources.iter().map(|(name, pool)| (name.as_str(), pool.name(), pool.bounds().calls)).collect();
    assert_eq!(resources, [("fax", "out/acme/fax", 2), ("pstn", "out/acme/pstn", 30)]);
    assert_eq!((&beta.shape.prefix[..], beta.shape.caller.as_deref()), (&b"9#"[..], Some(&b"100"[..])));
    assert_eq!(beta.shape.host.as_deref(), Some("line.example"));
    let members: Vec<_> = all.members.iter().map(|m| (m.to, m.priority, m.weight)).collect();
    assert_eq!(members, [(Way::Group(0), 2, 5), (Way::Trunk(1), 1, 1)]);
    assert_eq!(spec.emergency, [b"112".to_vec(), b"999".to_vec()]);
}

#[test]
fn every_key_of_limits_and_fraud_reaches_the_spec() {
    let spec = spec(&beside(JUDGEMENT));
    let acme = &spec.trunks[0];
    let rate = |count, seconds, burst| Some(ledger::Rate::each(count, Duration::from_secs(seconds), burst));
    assert_eq!(acme.pool.bounds(), Bounds { calls: 50, reserved: 0, rate: rate(40, 1, 40) });
    let shown = |limits: &[spec::Limit]| -> Vec<(String, Bounds)> {
        let one = |limit: &spec::Limit| match limit {
            spec::Limit::Shared(pool) => (pool.name().to_owned(), pool.bounds()),
            spec::Limit::Each(pools, by) => (format!("{} {by:?}", pools.name()), pools.bounds()),
        };
        limits.iter().map(one).collect()
    };
    let named = ("limit.acme".to_owned(), Bounds { calls: 9, reserved: 2, rate: rate(30, 60, 1) });
    let each = ("each Caller".to_owned(), Bounds { calls: 3, ..Bounds::default() });
    let own_in = ("acme/in".to_owned(), Bounds { calls: 30, ..Bounds::default() });
    let own_out = ("acme/out".to_owned(), Bounds { rate: rate(10, 1, 3), ..Bounds::default() });
    assert_eq!(shown(&acme.limits_in), [own_in, named.clone(), each.clone()]);
    assert_eq!(shown(&acme.limits_out), [own_out, named.clone(), each]);
    assert_eq!((acme.class, acme.probe), (Class::Priority, Some(Duration::from_secs(5))));
    assert_eq!((&acme.policies[..], &acme.codes.bill[..]), (&[0, 1][..], &[486..=486][..]));
    assert_eq!(acme.emergency_address.as_deref(), Some("1 Main Street"));
    let [account] = &spec.accounts[..] else { panic!("{:?}", spec.accounts) };
    assert_eq!((account.number.as_deref(), account.pool.bounds().calls), (Some("+15035550100"), 2));
    assert_eq!((shown(&account.limits), &account.policies[..]), (vec![named], &[1][..]));
    let [geo, fraud] = &spec.policies[..] else { panic!("{:?}", spec.policies) };
    assert!(geo.fraud.is_none() && geo.destinations.is_some() && fraud.destinations.is_none());
    assert!(!geo.callers.as_ref().unwrap().judge(b"+19005551234").allowed);
    let profile = fraud.fraud.as_ref().unwrap();
    assert_eq!((profile.name.as_str(), profile.window), ("fraud", Duration::from_secs(3600)));
    assert_eq!(profile.prefixes, policy::Prefixes::List(vec!["+44".into(), "+1".into()]));
    let hour = Some(Duration::from_secs(3600));
    assert_eq!(profile.critical, [policy::Action::Reject, policy::Action::Disable(hour)]);
    assert_eq!(profile.rules.answer_ratio.unwrap().below.critical, 0.1);
    assert_eq!(profile.rules.short_calls.unwrap().under, Duration::from_secs(6));
    assert!(profile.rates.as_ref().is_some_and(|rates| rates.find(b"447000").is_some()));
    let unknown = &spec.unknown;
    assert_eq!((unknown.answer, unknown.guard.ban_after), (UnknownAnswer::Divert, 0));
    assert_eq!((unknown.guard.flood, unknown.guard.exempt[0].bits), (None, 8));
    assert_eq!(unknown.guard.scanner_names, ["evil"]);
    let places = unknown.divert.pool.bounds().calls;
    assert_eq!((places, unknown.divert.duration), (5, Duration::from_secs(60)));
}

#[test]
fn what_has_a_name_goes_on_through_versions_with_its_new_limits() {
    let mut book = PoolBook::new();
    let first = beside(JUDGEMENT).spec(1, &mut book);
    let call = Lease::take(0, Instant(1), Class::Normal, [Part::Pool(&first.trunks[0].pool)]).unwrap();
    first.trunks[0].health.disable(Instant(1), None);
    let changed = JUDGEMENT
        .replace("limit = { calls = 50, cps", "limit = { calls = 1, cps")
        .replace("pstn = 30", "pstn = 3")
        .replace("limit_in = { calls = 30 }", "");
    let second = beside(&changed).spec(2, &mut book);
    let pool = &second.trunks[0].pool;
    assert_eq!((pool.used(), pool.bounds().calls), (1, 1));
    assert_eq!(pool.check(Instant(1), Class::Normal), Err(ledger::Why::Full));
    assert!(second.trunks[0].health.would(Instant(2)).is_err(), "an operator's decision holds");
    assert!(Arc::ptr_eq(&first.groups[0].state, &second.groups[0].state));
    assert_eq!(second.groups[0].members[0].resources[1].1.bounds().calls, 3);
    let keyed = |spec: &spec::Spec| match &spec.trunks[0].limits_out[2] {
        spec::Limit::Each(pools, _) => Arc::clone(pools),
        other => panic!("{other:?}"),
    };
    assert!(Arc::ptr_eq(&keyed(&first), &keyed(&second)));
    drop((call, first, second));
    // Nobody holds it any more: it begins anew.
    let third = beside(JUDGEMENT).spec(3, &mut book);
    assert_eq!(third.trunks[0].pool.used(), 0);
    assert!(third.trunks[0].health.would(Instant(3)).is_ok());
}

/// Long enough to be read in pieces.
fn many_routes() -> String {
    use core::fmt::Write as _;
    let mut text = String::from(
        "# é\nlistener.m = { sip = \"udp:127.0.0.1:0\", media = \"127.0.0.1:0\" }\ntrunk.a = \"192.0.2.1\"\n",
    );
    for n in 0..20_000 {
        let _ = write!(text, "[[route]]\nto = \"+{n:06}X.\"\nvia = \"a\" # [[route]] é\n");
        if n % 1000 == 7 {
            text.push_str("[route.hook]\nurl = \"http://h.example/\"\n");
        }
    }
    text
}

/// Makes sure that a text is read as one: it might be one of several lines.
const AS_ONE: &str = "# '''\n";

#[test]
fn a_long_text_reads_the_same_in_pieces_as_in_one() {
    let text = many_routes() + "[unknown]\nban = \"2h\"\n";
    let (pieces, whole) = (checked(&text), checked(&format!("{text}{AS_ONE}")));
    assert_eq!(pieces.config(), whole.config());
    assert_eq!(pieces.defaults().len(), whole.defaults().len());
    assert_eq!(pieces.config().route.iter().filter(|route| route.hook.is_some()).count(), 20);
}

#[test]
fn mistakes_in_a_long_text_are_the_same_in_pieces_as_in_one() {
    let text = many_routes();
    let shown = |text: &str| -> Vec<String> {
        Config::check(text, "f").unwrap_err().iter().map(ToString::to_string).collect()
    };
    for (wrong, count) in [
        ("[[route]]\nvia = \"b\"\nwhem = 1\n", 2),
        ("[[route]]\nto = \"+000001X.\"\nvia = \"a\"\n", 1),
        ("[[route]]\nto = [\"1\"\n", 1),
        ("[trunk.c]\naddress = \"192.0.2.3\"\n[trunk.c]\n", 1),
        ("[[route]]\nname = \"route-7\"\nto = \"1\"\nvia = \"a\"\n", 1),
        ("[unknown]\nban = \"1 h\"\n", 1),
    ] {
        let in_pieces = shown(&format!("{text}{wrong}"));
        assert_eq!(in_pieces, shown(&format!("{text}{wrong}{AS_ONE}")), "{wrong}");
        assert!(in_pieces.len() >= count, "{wrong}: {in_pieces:?}");
    }
}

#[test]
fn keys_of_later_versions_are_named_and_the_protective_ones_are_marked() {
    assert_eq!(file("smallest.toml").not_in_effect(), []);
    assert_eq!(file("behind-nat.toml").not_in_effect(), []);
    let notices: Vec<String> = file("fuller.toml")
        .not_in_effect()
        .iter()
        .map(|n| format!("{}{} {}", n.line, if n.protective { "!" } else { "" }, n.path))
        .collect();
    assert_eq!(
        notices,
        [
            "6 listener.outside.sip[2]",
            "19 trunk.acme.auth",
            "20 trunk.acme.register",
            "25 trunk.acme.srtp",
            "52! account.\"2001@acme.test\"",
        ]
    );
    let notice = file("fuller.toml").not_in_effect().pop().unwrap().to_string();
    let end = "fuller.toml:52: account.\"2001@acme.test\": not in effect yet: nobody can register or call as an account \
               (`run` refuses to start with it)";
    assert!(notice.ends_with(end), "{notice}");
}

#[test]
fn each_key_of_a_later_version_has_its_notice() {
    let head = "listener.m = { sip = \"udp:127.0.0.1:0\", media = \"127.0.0.1:0\" }\n";
    for (text, expected) in [
        ("trunk.x = { address = \"192.0.2.1\", srtp = \"required\" }", "trunk.x.srtp"),
        ("trunk.x = { address = \"192.0.2.1\", srtp = \"never\" }", ""),
        ("trunk.x = { address = \"192.0.2.1\", dtmf = \"info\", record = true, codecs = [\"opus\"] }", ""),
        ("trunk.x = { to = \"sip:192.0.2.1;transport=tls\" }", "trunk.x.to[0].uri!"),
        ("trunk.x = { from = \"digest\" }", "trunk.x.from[0]"),
        ("engine.ng = [\"udp:127.0.0.1:2223\", \"ws:[::1]:2225\"]\nengine.ng_source = \"rtpengine\"", ""),
        ("engine.ng = [\"udp:127.0.0.1:2223\", \"tcp:192.0.2.1:2224\"]", "engine.ng[1]"),
        ("engine.store = \"postgres://db/strowger\"", "engine.store"),
        ("engine.store = \"sqlite:other.db\"", ""),
        ("engine.backend = \"xdp\"", "engine.backend"),
        (
            "trunk.x = \"192.0.2.1\"\ngroup.g = { pick = \"free-capacity\", members = { trunk = \"x\", resources = { pstn = 3 } } }\n\
             route = [{ via = \"g\", resources = [\"pstn\", \"fax\"] }]",
            "route.route-1.resources[1]",
        ),
    ] {
        let notices = checked(&format!("{head}{text}")).not_in_effect();
        let found: Vec<String> =
            notices.iter().map(|n| format!("{}{}", n.path, if n.protective { "!" } else { "" })).collect();
        assert_eq!(found.join(" "), expected, "{text}");
    }
}

#[test]
fn secrets_that_are_not_there_are_named_without_their_value() {
    let checked = checked(
        "[engine]\ntokens = [{ token = \"env:STROWGER_NO_SUCH_TOKEN\", role = \"admin\" }, { token = \"env:PATH\", \
         role = \"read\" }]",
    );
    let missing: Vec<String> = checked.missing_secrets().iter().map(ToString::to_string).collect();
    assert_eq!(
        missing,
        ["test.toml:2: engine.tokens[0].token: the environment variable STROWGER_NO_SUCH_TOKEN is not set"]
    );
    assert!(checked.engine().tokens[0].role > checked.engine().tokens[1].role);
}

#[test]
fn defaults_are_what_was_not_given() {
    let defaults = file("smallest.toml").defaults();
    let value = |path: &str| defaults.iter().find(|(p, _)| p == path).map(|(_, text)| text.as_str());
    for (path, expected) in [
        ("trunk.pbx.learn", Some("\"window\"")),
        ("trunk.pbx.from", Some("[\"10.0.0.2\"]")),
        ("trunk.pbx.media_timeout.hold", Some("\"4h\"")),
        ("trunk.pbx.codes.retry", Some("[\"408\", \"500-599\"]")),
        ("trunk.pbx.session_timer", Some("\"30m\"")),
        ("trunk.pbx.probe", Some("")),
        ("listener.main.dscp.rtp", Some("\"EF\"")),
        ("listener.main.sip", None),
        ("route.route-1.name", Some("\"route-1\"")),
        ("route.route-1.via", None),
        ("engine.api", Some("\"127.0.0.1:8080\"")),
        ("engine.cdr", Some("[\"jsonl:cdr.jsonl\"]")),
        ("unknown.ban", Some("\"1h\"")),
    ] {
        assert_eq!(value(path), expected, "{path}");
    }
}

#[test]
fn the_engine_defaults_are_those_of_the_documents() {
    let fuller = file("fuller.toml");
    assert_eq!(*fuller.engine(), Config::default().engine);
    assert_eq!(fuller.config().unknown, config::Unknown::default());
    assert_eq!(file("behind-nat.toml").engine().store.folder().to_str(), Some("/var/lib/strowger"));
    assert_eq!(fuller.engine().store.folder().to_str(), Some("."));
}

#[test]
fn a_required_key_is_printed_even_if_it_looks_like_nothing() {
    let text = "engine.tokens = [{ token = \"env:T\", role = \"read\" }]\nlistener.m = { sip = \"udp:127.0.0.1:0\", \
                media = \"127.0.0.1:0\" }\ntrunk.x = { to = \"sip:localhost\" }\n";
    let config = checked(text).into_config();
    assert_eq!(*checked(&config.to_string()).config(), config, "{config}");
}

#[test]
fn differences_are_lines_by_path() {
    let old = file("smallest.toml").into_config();
    let text = r#"
listener.main = { sip = "udp:0.0.0.0:5060", media = "0.0.0.0:10000-19999" }
trunk.pbx     = { address = "10.0.0.2", learn = "strict", probe = { every = "5s" } }
trunk.new     = "192.0.2.9"
engine.tokens = [{ token = "env:ADMIN", role = "admin" }]
[[route]]
name = "route-2"
from = "new"
via  = "pbx"
[[route]]
name = "route-1"
from = "pbx"
via  = "new"
"#;
    let new = checked(text).into_config();
    assert_eq!(
        diff(&old, &new),
        [
            "~ listener.main.media: [\"0.0.0.0:10000-29999\"] -> [\"0.0.0.0:10000-19999\"]",
            "- trunk.carrier = { from = [\"203.0.113.5\"], to = [{ uri = \"sip:203.0.113.5\" }] }",
            "+ trunk.new = { from = [\"192.0.2.9\"], to = [{ uri = \"sip:192.0.2.9\" }] }",
            "~ trunk.pbx.learn: \"window\" -> \"strict\"",
            "+ trunk.pbx.probe.down_after = 3",
            "+ trunk.pbx.probe.every = \"5s\"",
            "+ trunk.pbx.probe.up_after = 2",
            "~ route.route-1.via: \"carrier\" -> \"new\"",
            "~ route.route-2.from: [\"carrier\"] -> [\"new\"]",
            "~ route: the order changed, from route[0] on: route-2 was route-1",
            "- engine.tokens = []",
            "+ engine.tokens[0].role = \"admin\"",
            "+ engine.tokens[0].token = \"env:ADMIN\"",
        ]
    );
    assert_eq!(diff(&old, &old), Vec::<String>::new());
    // However it is written, it is the same.
    let long = checked(
        "[listener.main]\nsip = [\"udp:0.0.0.0:5060\"]\nmedia = [\"0.0.0.0:10000-29999\"]\n[trunk.pbx]\nfrom = \
         \"10.0.0.2\"\nto = { uri = \"sip:10.0.0.2\" }\n[trunk.carrier]\naddress = \"203.0.113.5\"\n[[route]]\nfrom = \
         [\"pbx\"]\nvia = \"carrier\"\n[[route]]\nfrom = \"carrier\"\nvia = \"pbx\"\n",
    );
    assert_eq!(diff(&old, long.config()), Vec::<String>::new());
}

#[test]
fn a_hundred_thousand_routes_are_read_in_time() {
    use core::fmt::Write as _;
    let mut text = String::from(
        "listener.m = { sip = \"udp:127.0.0.1:0\", media = \"127.0.0.1:0\" }\ntrunk.a = \"192.0.2.1\"\n",
    );
    for n in 0..100_000 {
        let _ = writeln!(text, "[[route]]\nfrom = \"a\"\nto = \"+{n:06}X.\"\nvia = \"a\"");
    }
    let checked = checked(&text);
    assert_eq!(spec(&checked).routes.len(), 100_000);
}

#[test]
fn what_a_trunk_says_of_its_media_reaches_the_spec() {
    let spec = spec(&checked(
        "listener.m = { sip = \"udp:127.0.0.1:0\", media = \"127.0.0.1:0\" }\n\
         [trunk.x]\naddress = \"192.0.2.1\"\ncodecs = [\"opus\", \"PCMU\", \"G729\"]\ntranscode = \"never\"\nsrtp = \"optional\"\n\
         dtmf = \"inband\"\nrecord = true\necho_cancel = true\nblock_dtmf = true\n[trunk.y]\naddress = \"192.0.2.2\"\n",
    ));
    let [x, y] = &spec.trunks[..] else { panic!("two trunks") };
    let codecs: Vec<&str> = x.media.codecs.iter().map(|name| &**name).collect();
    assert_eq!(codecs, ["opus", "PCMU", "G729"]);
    let expected = spec::Media {
        codecs: Arc::clone(&x.media.codecs),
        transcode: spec::Transcode::Never,
        srtp: Some(spec::Srtp::Optional),
        dtmf: spec::DigitsBy::Tones,
        block_dtmf: true,
        echo_cancel: true,
    };
    assert_eq!((&x.media, x.record), (&expected, true));
    assert_eq!((&y.media, y.record), (&spec::Media::default(), false));
    assert!(spec.makeable.iter().any(|made| made.name == "PCMU" && made.number == 0));
}
