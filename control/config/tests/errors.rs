//! Every class of mistake, with its line and its text: one row each.

use config::Config;

/// A file that is fine, for rows that add one mistake to it. Its last line is the sixth.
const FINE: &str = r#"listener.main = { sip = "udp:192.0.2.1:5060", media = "192.0.2.1:10000-10999" }
trunk.pbx = "10.0.0.2"
trunk.carrier = "203.0.113.5"
[[route]]
from = "pbx"
via = "carrier"
"#;

/// What is appended to the fine file, and every error that it earns (line counted from the appended text, path and text).
const ADDED: &[(&str, &[&str])] = &[
    // unknown keys
    (
        "[trunk.acme]\naddress = \"192.0.2.9\"\nlern = \"window\"",
        &[
            "3: trunk.acme.lern: unknown key; did you mean \"learn\"? (allowed: address, listener, from, to, limit, limit_in, limit_out, probe, breaker, codes, auth, register, codecs, transcode, dtmf, learn, srtp, record, echo_cancel, block_dtmf, policy, class, emergency_address, media_timeout, session_timer, max_duration)",
        ],
    ),
    (
        "[trunks.acme]\naddress = \"192.0.2.9\"",
        &[
            "1: trunks: unknown key; did you mean \"trunk\"? (allowed: listener, trunk, group, route, number_rule, account, limit, policy, engine, unknown)",
        ],
    ),
    (
        "[engine]\nzebra = 1",
        &["2: engine.zebra: unknown key; allowed: api, tokens, media_shards, backend, pin, \
      signalling_shards, route_order, dns, store, cdr, cdr_keep, recordings, sounds, opus_complexity, emergency, ng, ng_source, ng_pool, ng_events, delete_delay, orphan, log"],
    ),
    (
        "[trunk.acme]\naddress = \"192.0.2.9\"\nmedia_timeout = { bth = \"60s\" }",
        &["3: trunk.acme.media_timeout.bth: unknown key; did you mean \"both\"? (allowed: both, one, hold)"],
    ),
    // unknown values
    (
        "[trunk.acme]\naddress = \"192.0.2.9\"\nlearn = \"windw\"",
        &[
            "3: trunk.acme.learn: \"windw\" is no choice here; did you mean \"window\"? (allowed: \"window\" | \"strict\" | \"signalled\" | \"handover\")",
        ],
    ),
    (
        "[unknown]\nanswer = \"404\"",
        &[
            "2: unknown.answer: \"404\" is no answer; did you mean \"403\"? (allowed: \"silent\" | \"403\" | \"attack\" | \"divert:FLOW\")",
        ],
    ),
    (
        "listener.x = { dscp = { rtp = \"ef\" } }",
        &[
            "1: listener.x.dscp.rtp: \"ef\" is no DSCP; did you mean \"EF\"? (allowed: a DSCP: \"CS0\" to \"CS7\", \"AF11\" to \"AF43\", \"EF\", \"VA\", \"LE\", or 0 to 63)",
        ],
    ),
    (
        "[engine]\nbackend = \"epol\"",
        &[
            "2: engine.backend: \"epol\" is no choice here; did you mean \"epoll\"? (allowed: \"auto\" | \"epoll\" | \"uring\" | \"steer\" | \"xdp\")",
        ],
    ),
    (
        "[engine]\nlog = \"inf,sip=debug\"",
        &[
            "2: engine.log: \"inf,sip=debug\" names no level; did you mean \"info,sip=debug\"? (allowed: \"off\" | \"error\" | \"warn\" | \"info\" | \"debug\" | \"trace\", and PART=LEVEL after commas)",
        ],
    ),
    // wrong types
    (
        "[trunk.acme]\naddress = \"192.0.2.9\"\nmax_duration = 30",
        &[
            "3: trunk.acme.max_duration: expected a duration such as \"30s\", \"4h\", \"1h30m\", or \"off\", found a \
           number; did you mean \"30s\"?",
        ],
    ),
    (
        "[trunk.acme]\naddress = \"192.0.2.9\"\nrecord = \"no\"",
        &["3: trunk.acme.record: expected true | false, found a text; did you mean \"false\"?"],
    ),
    ("trunk.acme = 5", &["1: trunk.acme: expected \"HOST[:PORT]\", or a table, found a number"]),
    ("listener = \"udp:0.0.0.0:5060\"", &["1: not TOML: duplicate key"]),
    (
        "[engine]\nmedia_shards = \"two\"",
        &["2: engine.media_shards: expected \"auto\" or a number from 1 to 256, found a text"],
    ),
    (
        "[number_rule]\nmatch = \"0.\"\nto = \"{1-}\"",
        &["1: number_rule: expected a list: every number_rule begins with [[number_rule]], found a table"],
    ),
    (
        "[trunk.acme]\naddress = \"192.0.2.9\"\nlimit = \"pstn\"",
        &["3: trunk.acme.limit: expected a table, found a text"],
    ),
    (
        "[trunk.acme]\naddress = \"192.0.2.9\"\nsession_timer = 2026-11-21",
        &[
            "3: trunk.acme.session_timer: expected a duration such as \"30s\", \"4h\", \"1h30m\", or \"off\", found a date",
        ],
    ),
    // durations, rates, ranges
    (
        "[engine]\norphan = \"30 seconds\"",
        &[
            "2: engine.orphan: \"30 seconds\" is no duration; did you mean \"30s\"? (allowed: a duration such as \"30s\", \"4h\", \"200ms\", \"1h30m\")",
        ],
    ),
    (
        "limit.pstn = { cps = \"40\" }",
        &[
            "1: limit.pstn.cps: \"40\" is no rate; did you mean \"40/s\"? (allowed: a rate such as \"40/s\", \"100/m\", \"5000/h\")",
        ],
    ),
    (
        "[trunk.acme]\naddress = \"192.0.2.9\"\nsession_timer = \"30s\"",
        &["3: trunk.acme.session_timer: \"30s\" is out of range; allowed: \"90s\" to \"24h\""],
    ),
    (
        "[trunk.acme]\naddress = \"192.0.2.9\"\nmedia_timeout = \"0s\"",
        &["3: trunk.acme.media_timeout: \"0s\" is out of range; allowed: \"1s\" to \"24h\""],
    ),
    (
        "[engine]\nsignalling_shards = 0",
        &["2: engine.signalling_shards: 0 is out of range; allowed: 1 to 64"],
    ),
    (
        "[engine]\nmedia_shards = 100000000000",
        &["2: engine.media_shards: 100000000000 is out of range; allowed: 0 to \
      4294967295"],
    ),
    (
        "trunk.x = { address = \"192.0.2.9\", breaker = { fail_ratio = 1.5 } }",
        &["1: trunk.x.breaker.fail_ratio: 1.5 is \
      out of range; allowed: 0 to 1"],
    ),
    // addresses, URIs, ports, networks
    (
        "trunk.x = \"10.0.0.256\"",
        &[
            "1: trunk.x: \"10.0.0.256\" is no IPv4 address, and no host name ends in a number; allowed: \"HOST[:PORT]\", \
           the host being a name or an address (IPv6 with a port in brackets)",
        ],
    ),
    (
        "trunk.x = \"10.0.0.9:70000\"",
        &[
            "1: trunk.x: \"10.0.0.9:70000\" has no port from 1 to 65535 after the colon; allowed: \"HOST[:PORT]\", the \
           host being a name or an address (IPv6 with a port in brackets)",
        ],
    ),
    (
        "listener.x = { sip = \"0.0.0.0:5090\" }",
        &[
            "1: listener.x.sip[0]: \"0.0.0.0:5090\" names no transport; did you mean \"udp:0.0.0.0:5090\"? (allowed: \"TRANSPORT:IP:PORT\" with udp, tcp, tls, ws or wss, such as \"udp:0.0.0.0:5060\")",
        ],
    ),
    (
        "trunk.x = { to = \"sip:10.0.0.9;maddr=10.0.0.1\" }",
        &[
            "1: trunk.x.to[0]: \"sip:10.0.0.9;maddr=10.0.0.1\" has `maddr`, which would send elsewhere than it says; did you mean \"sip:10.0.0.9\"? (allowed: \"sip:HOST[:PORT][;transport=udp|tcp|tls|ws|wss]\")",
        ],
    ),
    (
        "trunk.x = { to = [\"sip:10.0.0.9\", \"10.0.0.10\"] }",
        &[
            "1: trunk.x.to[1]: \"10.0.0.10\" is no SIP URI; did you mean \"sip:10.0.0.10\"? (allowed: \"sip:HOST[:PORT][;transport=udp|tcp|tls|ws|wss]\")",
        ],
    ),
    (
        "trunk.x = { from = \"203.0.113.5/28\" }",
        &[
            "1: trunk.x.from[0]: \"203.0.113.5/28\" is no network: bits are set behind the prefix; did you mean \"203.0.113.0/28\"? (allowed: a network \"IP/PREFIX\", an address or host name with or without a port, or \"digest\")",
        ],
    ),
    (
        "[engine]\ndns = \"nine\"",
        &["2: engine.dns[0]: \"nine\" is no address of a DNS server; allowed: \"IP[:PORT]\""],
    ),
    ("[engine]\ndns = []", &["2: engine.dns: the list of DNS servers is empty"]),
    (
        "[engine]\nng = \"127.0.0.1:2223\"",
        &[
            "2: engine.ng[0]: \"127.0.0.1:2223\" names no carrier of NG; did you mean \"udp:127.0.0.1:2223\"? (allowed: \"udp:IP:PORT\", or the same with tcp, http or ws)",
        ],
    ),
    (
        "[engine]\ncdr = \"cdr.jsonl\"",
        &[
            "2: engine.cdr[0]: \"cdr.jsonl\" is no place for records; did you mean \"jsonl:cdr.jsonl\"? (allowed: \"jsonl:PATH\", \"csv:PATH\" or \"webhook:http://HOST/…\")",
        ],
    ),
    (
        "[engine]\nstore = \"postgres://u:geheim@db/x\"",
        &[
            "2: engine.store: \"postgres://…@db/x\" holds a password; PGPASSFILE is the place for it; allowed: \
           \"sqlite:PATH\" or \"postgres://HOST/DATABASE\"",
        ],
    ),
    // media ranges
    (
        "listener.x = { media = \"192.0.2.2:10001-10999\" }",
        &[
            "1: listener.x.media[0]: \"192.0.2.2:10001-10999\" must begin with an even port and end with an odd one; did you mean \"192.0.2.2:10000-10999\"? (allowed: \"IP:FIRST-LAST\" from an even port to an odd one, such as \"0.0.0.0:10000-29999\", or \"IP:0\")",
        ],
    ),
    (
        "listener.x = { media = \"192.0.2.2:10999-10000\" }",
        &[
            "1: listener.x.media[0]: \"192.0.2.2:10999-10000\" has its ports in reverse; did you mean \"192.0.2.2:10000-10999\"? (allowed: \"IP:FIRST-LAST\" from an even port to an odd one, such as \"0.0.0.0:10000-29999\", or \"IP:0\")",
        ],
    ),
    (
        "listener.x = { media = \"192.0.2.1:10500-11999\" }",
        &[
            "1: listener.x.media[0]: overlaps the range 192.0.2.1:10000-10999 of listener.main.media[0] (line 1)",
        ],
    ),
    (
        "listener.x = { media = \"0.0.0.0:10500-11999\" }",
        &[
            "1: listener.x.media[0]: overlaps the range 192.0.2.1:10000-10999 of listener.main.media[0] (line 1)",
        ],
    ),
    (
        "listener.x = { media = [\"192.0.2.2:2000-2999\", \"192.0.2.2:4000-4999\"] }",
        &[
            "1: listener.x.media[1]: the address 192.0.2.2 with one range of ports is also listener.x.media[0] (line 4)",
        ],
    ),
    (
        "listener.x = { sip = [\"udp:0.0.0.0:5060\", \"tcp:192.0.2.1:5060\"] }",
        &["1: listener.x.sip[0]: overlaps the address udp:192.0.2.1:5060 of listener.main.sip[0] (line 1)"],
    ),
    (
        "listener.x = { advertise = [\"198.51.100.1\", \"198.51.100.2\", \"0.0.0.0\"] }",
        &[
            "1: listener.x.advertise[1]: an IPv4 address is also listener.x.advertise[0] (line 4)",
            "1: listener.x.advertise[2]: a wildcard or group cannot be advertised; write the address that peers reach",
            "1: listener.x.advertise[2]: an IPv4 address is also listener.x.advertise[0] (line 4)",
        ],
    ),
    (
        "listener.x = { media = \"0.0.0.0:20000-20999\" }\n[engine]\nng = \"udp:127.0.0.1:2223\"",
        &[
            "1: listener.x.media[0]: a wildcard needs `advertise` when engine.ng is set: an NG offer does not say who the \
           peer is",
        ],
    ),
    (
        "listener.x = { sip = \"udp:127.0.0.1:2223\", media = \"127.0.0.1:3000-3999\" }\n[engine]\n\
         ng = [\"udp:0.0.0.0:2223\", \"udp:127.0.0.1:3001\", \"tcp:127.0.0.1:9\", \"http:127.0.0.1:9\", \"ws:127.0.0.1:9\", \"http:127.0.0.1:8080\"]",
        &[
            "3: engine.ng[0]: overlaps listener.x.sip[0] (line 4)",
            "3: engine.ng[1]: overlaps listener.x.media[0] (line 4)",
            "3: engine.ng[3]: the address tcp:127.0.0.1:9 is also engine.ng[2] (line 6)",
            "3: engine.ng[4]: the address tcp:127.0.0.1:9 is also engine.ng[2] (line 6)",
            "3: engine.ng[5]: the address 127.0.0.1:8080 is also engine.api (line 5)",
        ],
    ),
    (
        "listener.x = { media = \"127.0.0.1:3000-3999\" }\nlimit.a = { calls = 3 }\nlimit.b = { calls = 3, per = \"caller\" }\n\
         engine.ng_pool = [\"a\", \"b\", \"c\"]",
        &[
            "4: engine.ng_pool[1]: an NG call has no numbers that a limit with `per` could count by",
            "4: engine.ng_pool[2]: no limit is called \"c\"; did you mean \"a\"? (defined: a, b)",
        ],
    ),
    // references
    (
        "[[route]]\nfrom = \"pxb\"\nvia = \"carier\"",
        &[
            "2: route.route-2.from[0]: no trunk or account is called \"pxb\"; did you mean \"pbx\"? (defined: pbx, carrier)",
            "3: route.route-2.via: no trunk or group is called \"carier\"; did you mean \"carrier\"? (defined: pbx, carrier)",
        ],
    ),
    (
        "trunk.x = { address = \"192.0.2.9\", listener = \"mian\" }",
        &["1: trunk.x.listener: no listener is called \"mian\"; did you mean \"main\"? (defined: main)"],
    ),
    (
        "trunk.x = { address = \"192.0.2.9\", policy = \"geo\", limit = { pool = \"pstn\" } }",
        &[
            "1: trunk.x.policy[0]: no policy is called \"geo\"; defined: none",
            "1: trunk.x.limit.pool[0]: no limit is called \"pstn\"; defined: none",
        ],
    ),
    (
        "group.g = { members = [\"carrier\", { trunk = \"beta\" }] }",
        &["1: group.g.members[1].trunk: no trunk or group is called \"beta\"; defined: pbx, carrier, g"],
    ),
    (
        "[[number_rule]]\ntrunk = \"nobody\"\nmatch = \"0.\"\nto = \"{1-}\"",
        &["2: number_rule.number-rule-1.trunk[0]: no trunk is called \"nobody\"; defined: pbx, carrier"],
    ),
    // the same thing twice
    (
        "[trunk.x]\nfrom = [\"192.0.2.9\", \"203.0.113.5\"]",
        &["2: trunk.x.from[1]: \"203.0.113.5\" is also trunk.carrier.address (line 3)"],
    ),
    (
        "[trunk.x]\nfrom = [\"192.0.2.9\", \"192.0.2.9/32\"]",
        &["2: trunk.x.from[1]: \"192.0.2.9\" is also trunk.x.from[0]"],
    ),
    (
        "[trunk.x]\nto = [\"sip:h.example\",\n  { uri = \"sip:H.example\", weight = 2 }]",
        &["3: trunk.x.to[1]: \"sip:h.example\" is also trunk.x.to[0] (line 8)"],
    ),
    (
        "[[route]]\nname = \"a\"\nvia = \"pbx\"\n[[route]]\nname = \"a\"\nvia = \"pbx\"",
        &["4: route.route-3: the name \"a\" is also route.a (line 7)"],
    ),
    (
        "[[route]]\nname = \"route-1\"\nvia = \"pbx\"",
        &["1: route.route-2: the name \"route-1\" is also route.route-1 \
      (line 4)"],
    ),
    (
        "trunk.x = { address = \"192.0.2.9\", codecs = [\"opus\", \"PCMU\", \"opus\"] }",
        &["1: trunk.x.codecs[2]: \"opus\" is also trunk.x.codecs[0]"],
    ),
    ("group.pbx = { members = \"carrier\" }", &["1: group.pbx: the name \"pbx\" is also trunk.pbx (line 2)"]),
    (
        "[engine]\ntokens = [{ token = \"env:A\", role = \"read\" }, { token = \"env:A\", role = \"admin\" }]",
        &["2: engine.tokens[1]: \"env:A\" is also engine.tokens[0] (line 8)"],
    ),
    // what is missing
    (
        "[[route]]\nfrom = \"carrier\"",
        &["1: route.route-2.via: is missing: the trunk or group that is called, or `reject`"],
    ),
    ("trunk.x = {}", &["1: trunk.x: needs `address`, or `from` (who it is) or `to` (where it is called)"]),
    (
        "[[number_rule]]\nname = \"strip\"",
        &[
            "1: number_rule.strip.match: is missing: the numbers that are rewritten",
            "1: number_rule.strip.to: is missing: what the numbers become",
        ],
    ),
    (
        "account.\"a@b\" = {}",
        &["1: account.\"a@b\".password: is missing: where the password is: \"env:NAME\" or \
      \"file:PATH\""],
    ),
    ("group.g = { members = [] }", &["1: group.g.members: a group without members"]),
    // patterns and templates
    (
        "[[route]]\nto = \"1.2\"\nvia = \"pbx\"",
        &[
            "2: route.route-2.to[0]: \"1.2\" is no pattern: `.` stands only at the end of a pattern; allowed: a number; a \
           pattern with X (0-9), Z (1-9), N (2-9) and a final `.` (more follows); \"~REGEX\"; or \"=TEXT\"",
        ],
    ),
    (
        "[[route]]\nto = \"~(\"\nvia = \"pbx\"",
        &[
            "2: route.route-2.to[0]: \"~(\" is no pattern: error: unclosed group; allowed: a number; a pattern with X \
           (0-9), Z (1-9), N (2-9) and a final `.` (more follows); \"~REGEX\"; or \"=TEXT\"",
        ],
    ),
    (
        "[[number_rule]]\nmatch = \"0.\"\nto = \"{x}\"",
        &[
            "3: number_rule.number-rule-1.to: \"{x}\" is no template: `{x}` is neither `{2-}` nor `{1}`; allowed: a text \
           with {2-} (from the third character on), {0-3} (the first three), {1} (group of a regex), {{ (a brace)",
        ],
    ),
    (
        "[[number_rule]]\nmatch = \"~^0(.)\"\nto = \"{2}\"",
        &["3: number_rule.number-rule-1.to: names group 2, but `match` has 1"],
    ),
    (
        "[[number_rule]]\nmatch = \"0.\"\nto = \"{2}\"",
        &[
            "3: number_rule.number-rule-1.to: names group 2, but `match` is no \"~REGEX\"; a cut is written {2-}",
        ],
    ),
    // what does not go together
    (
        "trunk.in = { from = \"192.0.2.9\" }\n[[route]]\nto = \"1\"\nvia = \"in\"",
        &["4: route.route-1.via: trunk \"in\" has no `to`, so it cannot be called"],
    ),
    (
        "listener.ng = { media = \"192.0.2.7:2000-2999\" }\ntrunk.x = { address = \"192.0.2.9\", listener = \"ng\" }",
        &["2: trunk.x.listener: listener \"ng\" has no `sip`, and calls of this trunk need it"],
    ),
    (
        "trunk.x = \"2001:db8::9\"",
        &["1: trunk.x.to[0]: listener \"main\" has no IPv6 address to reach 2001:db8::9 from"],
    ),
    (
        "[engine]\napi = \"0.0.0.0:8080\"",
        &[
            "2: engine.api: 0.0.0.0:8080 is not loopback, so `tokens` are needed: [{ token = \"env:NAME\", role = \
           \"admin\" }]",
        ],
    ),
    (
        "group.a = { members = \"b\" }\ngroup.b = { members = [\"pbx\", \"c\"] }\ngroup.c = { members = \"a\" }\n\
         group.own = { members = \"own\" }",
        &[
            "1: group.a.members: groups go round in a circle: a -> b -> c -> a",
            "4: group.own.members: groups go round in a circle: own -> own",
        ],
    ),
    ("limit.l = { burst = 5, calls = 1 }", &["1: limit.l.burst: means nothing without `cps`"]),
    ("limit.l = {}", &["1: limit.l: limits nothing; give `calls` or `cps`"]),
    ("policy.p = {}", &["1: policy.p: decides nothing; give `rules`, `destinations` or `callers`"]),
    (
        "policy.p = { rules = { spend = [50, 200] } }",
        &["1: policy.p.rules.spend: needs `rates`: a file of prefixes and prices"],
    ),
    (
        "policy.p = { rules = { cpm = [60, 20], total = 5 }, critical = \"disabel:1h\" }",
        &[
            "1: policy.p.rules.cpm: the critical level 20 is below the warning level 60",
            "1: policy.p.rules.total: expected [WARNING, CRITICAL], each a number, found a number",
            "1: policy.p.critical[0]: \"disabel:1h\" is no action; allowed: \"event\" | \"reject\" | \"cut\" | \
             \"disable[:DURATION]\" | \"ban[:DURATION]\" | \"divert:FLOW\" | \"lower:CALLS\"",
        ],
    ),
    (
        "trunk.x = { address = \"192.0.2.9\", register = {} }",
        &["1: trunk.x.register: a login needs `auth` with user and password"],
    ),
    ("account.bob = { password = \"env:P\" }", &["1: account.bob: an account is named \"user@domain\""]),
    // routes
    (
        "[[route]]\nfrom = \"carrier\"\nvia = \"pbx\"\nreject = 403",
        &["4: route.route-2.reject: excludes `via`: a call goes somewhere or is refused"],
    ),
    (
        "[[route]]\nfrom = \"carrier\"\nreject = 403\nhook = { url = \"http://h/\" }",
        &["4: route.route-2.hook: means nothing beside `reject`: its calls are refused"],
    ),
    (
        "[[route]]\nfrom = \"carrier\"\nto = [\"12X\", \"13X\"]\nvia = \"pbx\"\n[[route]]\nfrom = \"carrier\"\nto = \"13X\"\nvia = \"pbx\"",
        &[
            "7: route.route-3.to[0]: \"13X\" is taken by route.route-2.to[1] (line 9) before, so this is never reached",
        ],
    ),
    (
        "[[route]]\nfrom = \"pbx\"\nvia = \"carrier\"",
        &["1: route.route-2: any number is taken by route.route-1 (line 4) before, so this is never reached"],
    ),
    // Another time, another caller, another header: another call.
    (
        "[[route]]\nfrom = \"pbx\"\nwhen = \"Sa 10:00-12:00\"\nvia = \"carrier\"\n[[route]]\nfrom = \"pbx\"\ncaller = \"1X\"\n\
         via = \"carrier\"\n[[route]]\nfrom = \"pbx\"\nheaders = { \"X-A\" = \"b\" }\nvia = \"carrier\"",
        &[],
    ),
    (
        "[[route]]\nfrom = \"carrier\"\nto = \"1\"\nvia = \"pbx\"\n[[route]]\nfrom = [\"pbx\", \"carrier\"]\nto = \"1\"\nvia = \"pbx\"",
        &[],
    ),
    (
        "[[route]]\nfrom = \"carrier\"\nto = \"1\"\nvia = \"pbx\"\n[[route]]\nfrom = [\"pbx\", \"carrier\"]\nto = \"1\"\nvia = \"pbx\"\n\
         [engine]\nroute_order = \"longest\"",
        &[
            "7: route.route-3.to[0]: \"1\" is taken by route.route-2.to[0] (line 9) before, so this is never reached",
        ],
    ),
    (
        "[[route]]\nfrom = \"carrier\"\nto = \"1\"\nvia = \"pbx\"\nhook = { url = \"http://h/\" }\n[[route]]\nfrom = \"carrier\"\n\
         to = \"1\"\nvia = \"pbx\"",
        &[],
    ),
    (
        "[[route]]\nfrom = \"carrier\"\nvia = \"pbx\"\ncallee = \"{1}\"",
        &["4: route.route-2.callee: names group 1, but `to` is no \"~REGEX\"; a cut is written {1-}"],
    ),
    (
        "[[route]]\nfrom = \"carrier\"\nvia = \"pbx\"\ncaller = \"~^0(.)\"\nset_caller = \"{2}\"",
        &["5: route.route-2.set_caller: names group 2, but `caller` has 1"],
    ),
    (
        "[[route]]\nfrom = \"carrier\"\nvia = \"pbx\"\nset_headers = { \"From\" = \"x\", \"X-B\" = \"{calle}\" }",
        &[
            "4: route.route-2.set_headers.From: \"From\" is a header that the engine itself writes; allowed: the name of a \
             header, such as \"X-Tag\"",
            "4: route.route-2.set_headers.X-B: \"{calle}\" names `calle`, which stands for nothing; did you mean \"{callee}\"? \
             (allowed: a text, in which {callee}, {caller}, {trunk} and {account} may stand)",
        ],
    ),
    (
        "[[route]]\nfrom = \"carrier\"\nvia = \"pbx\"\nheaders = { \"X A\" = \"x\", \"X-B\" = \"x\", \"x-b\" = \"y\" }",
        &[
            "4: route.route-2.headers.\"X A\": \"X A\" is no name of a header; allowed: the name of a header, such as \"X-Tag\"",
            "4: route.route-2.headers.x-b: header names do not tell capital letters apart: \"X-B\" stands here too",
        ],
    ),
    (
        "[[route]]\nfrom = \"carrier\"\nvia = \"pbx\"\nclass = \"emergency\"",
        &[
            "4: route.route-2.class: an emergency route exceeds every limit, so it names its numbers: give `to`",
        ],
    ),
    (
        "[[route]]\nto = \"911\"\nreject = 403\nclass = \"emergency\"\n[[route]]\nto = \"112\"\nvia = \"pbx\"\nclass = \"emergency\"\n\
         hook = { url = \"http://h/\" }",
        &[
            "3: route.route-2.reject: an emergency call is not refused",
            "9: route.route-3.hook: an emergency call waits for nobody",
        ],
    ),
    (
        "[[route]]\nfrom = \"carrier\"\nvia = \"pbx\"\nclass = \"urgent\"",
        &[
            "4: route.route-2.class: \"urgent\" is no choice here; allowed: \"normal\" | \"priority\" | \"emergency\"",
        ],
    ),
    // groups
    (
        "group.g = { pick = \"free-capacity\", members = [\"carrier\", { trunk = \"pbx\", resources = { pstn = 0 } }] }",
        &[
            "1: group.g.members[0]: has no `resources`, and `free-capacity` compares what is free of them",
            "1: group.g.members[1].resources.pstn: 0 is out of range; allowed: 1 to 10000000",
        ],
    ),
    (
        "group.g = { pick = \"hash:from\", members = [\"carrier\", \"carrier\"] }",
        &[
            "1: group.g.pick: \"hash:from\" is no way to pick; allowed: PICK",
            "1: group.g.members[1]: \"carrier\" is also group.g.members[0] (line 4)",
        ],
    ),
    (
        "trunk.in = { from = \"192.0.2.9\" }\ngroup.g = { members = \"in\" }",
        &["2: group.g.members[0].trunk: trunk \"in\" has no `to`, so it cannot be called"],
    ),
    // limits
    (
        "limit.l = { cps = \"5/s\", reserve = 3, keys = 5 }\nlimit.m = { calls = 2, reserve = 3 }",
        &[
            "1: limit.l.reserve: means nothing without `calls`",
            "1: limit.l.keys: means nothing without `per`",
            "2: limit.m.reserve: 3 places cannot be kept of 2",
        ],
    ),
    (
        "limit.l = { calls = 5, per = \"caler\" }",
        &[
            "1: limit.l.per: \"caler\" is no choice here; did you mean \"caller\"? (allowed: \"caller\" | \"callee\" | \"source\")",
        ],
    ),
    (
        "limit.l = { calls = 5 }\ntrunk.x = { address = \"192.0.2.9\", limit = { calls = 5, pool = \"l\" }, limit_in = { calls = 6, \
         pool = [\"l\", \"k\"] } }",
        &[
            "2: trunk.x.limit_in.calls: 6 calls one way are more than the 5 of `limit`",
            "2: trunk.x.limit_in.pool[0]: \"l\" is also trunk.x.limit.pool[0] (line 5)",
            "2: trunk.x.limit_in.pool[1]: no limit is called \"k\"; did you mean \"l\"? (defined: l)",
        ],
    ),
    // policies
    (
        "policy.p = { rules = { cpm = [0, 20], distinct = [10, 5000] }, prefix_digits = 3 }",
        &[
            "1: policy.p.rules.cpm: a level is above 0, and 0 is not",
            "1: policy.p.rules.distinct: at most 4096 numbers are told apart, so 5000 is never reached",
            "1: policy.p.prefix_digits: means nothing without \"prefix\" in `per`",
        ],
    ),
    (
        "policy.p = { per = \"prefix\", prefixes = \"+44\", prefix_digits = 3, rules = { cpm = [1, 2] } }",
        &["1: policy.p.prefix_digits: excludes `prefixes`: a prefix is one of a list or the first digits"],
    ),
    (
        "policy.p = { rules = { answer_ratio = { below = [0.1, 0.3] } } }",
        &["1: policy.p.rules.answer_ratio.below: the critical level 0.3 is above the warning level 0.1"],
    ),
    (
        "policy.p = { rules = { short_calls = { ratio = [0.5, 1.5] } } }",
        &["1: policy.p.rules.short_calls.ratio: 1.5 is out of range; allowed: 0 to 1"],
    ),
    (
        "policy.p = { rules = { cpm = [1, 2] }, critical = \"divert:ivr\" }\nunknown.answer = \"divert:tarpitt\"",
        &[
            "1: policy.p.critical[0]: no flow is called \"ivr\"; defined: tarpit",
            "2: unknown.answer: no flow is called \"tarpitt\"; did you mean \"tarpit\"? (defined: tarpit)",
        ],
    ),
    (
        "policy.p = { destinations = { deny = \"+44\" }, callers = {} }\npolicy.q = { destinations = { allow = [\"+44\", \"@premum\"] } }",
        &[
            "1: policy.p.destinations: allows nothing; give `allow`, or base = \"default\" to deny something of the built-in table",
            "1: policy.p.callers: decides nothing; give `allow` or `deny`",
            "2: policy.q.destinations.allow[1]: \"@premum\" names no list; did you mean \"@premium\"? (ENTRY)",
        ],
    ),
    (
        "policy.p = { destinations = { allow = [\"+44\", \"+1\"], deny = \"+1\" }, callers = { allow = \"1*\", deny = \"1*\" } }",
        &[
            "1: policy.p.destinations.deny[0]: \"+1\" is also policy.p.destinations.allow[1] (line 4)",
            "1: policy.p.callers.deny[0]: \"1*\" is also policy.p.callers.allow[0] (line 4)",
        ],
    ),
    (
        "policy.p = { rules = { spend = [1, 2] }, rates = \"no-such.csv\" }",
        &["1: policy.p.rates: the file no-such.csv cannot be read: No such file or directory (os error 2)"],
    ),
    // records, strangers
    (
        "[engine]\ncdr = [\"csv:a.csv\", \"webhook:ftp://x\", \"https://h/cdr\"]\ncdr_keep = \"1m\"",
        &[
            "2: engine.cdr[1]: \"webhook:ftp://x\" names an address that is no HTTP address; allowed: CDR",
            "2: engine.cdr[2]: \"https://h/cdr\" is no place for records; did you mean \"webhook:https://h/cdr\"? (allowed: CDR)",
            "3: engine.cdr_keep: \"60s\" is out of range; allowed: \"1h\" to \"87600h\"",
        ],
    ),
    (
        "[unknown]\nflood = \"100\"\nexempt = \"10.0.0.1/8\"\ndivert_calls = 0",
        &[
            "2: unknown.flood: \"100\" is no rate; did you mean \"100/s\"? (allowed: a rate such as \"40/s\", \"100/m\", \"5000/h\", \
             or \"off\")",
            "3: unknown.exempt[0]: \"10.0.0.1/8\" is no network: bits are set behind the prefix; did you mean \"10.0.0.0/8\"? \
             (allowed: a network \"IP/PREFIX\" or an address)",
            "4: unknown.divert_calls: 0 is out of range; allowed: 1 to 100000",
        ],
    ),
    // secrets are not repeated
    (
        "account.\"a@b\" = { password = \"hunter2\" }",
        &[
            "1: account.\"a@b\".password: a secret stands outside of the configuration; allowed: a secret: \"env:NAME\" \
           or \"file:PATH\"",
        ],
    ),
    // names
    (
        "trunk.\"a b\" = \"192.0.2.9\"",
        &[
            "1: trunk.\"a b\": \"a b\" holds a space, a quote, a slash or a brace; allowed: a name of 1 to 64 letters, \
           digits and signs without spaces and quotes",
        ],
    ),
    // TOML itself
    ("trunk.x = ", &["1: not TOML: string values must be quoted, expected literal string"]),
    ("trunk.pbx = \"10.0.0.3\"", &["1: not TOML: duplicate key"]),
    (
        "[trunk.x\n[engine]\nlog = on",
        &[
            "1: not TOML: unclosed table, expected `]`",
            "3: not TOML: string values must \
      be quoted, expected literal string",
        ],
    ),
];

/// What some rows say shorter.
const WORDS: [(&str, &str); 3] = [
    ("allowed: CDR", "allowed: \"jsonl:PATH\", \"csv:PATH\" or \"webhook:http://HOST/…\""),
    (
        "allowed: PICK",
        "allowed: \"round-robin\" | \"weighted\" | \"least-calls\" | \"free-capacity\" | \"priority\" | \"random\" | \
         \"hash:KEY\" with callee, caller, call-id or source",
    ),
    (
        "(ENTRY)",
        "(allowed: a prefix such as \"+44\" or \"20\", X being any digit, or a list: \"@premium\", \"@high-risk\", \
         \"@satellite\", \"@toll-free\", or a country such as \"@GB\")",
    ),
];

#[test]
fn every_mistake_is_named_with_its_line() {
    let offset = FINE.lines().count();
    assert!(Config::check(FINE, "f").is_ok());
    let mut wrong = Vec::new();
    for (added, expected) in ADDED {
        // Keys of the root come before the first table.
        let (text, offset) = if added.starts_with('[') {
            (format!("{FINE}{added}\n"), offset)
        } else {
            let (head, tail) = FINE.split_at(FINE.find("[[route]]").unwrap());
            let lines = head.lines().count();
            (format!("{head}{added}\n{tail}"), lines)
        };
        let expected: Vec<String> = expected
            .iter()
            .map(|line| {
                let line =
                    WORDS.iter().fold((*line).to_owned(), |line, (word, full)| line.replace(word, full));
                let (number, rest) = line.split_once(": ").unwrap();
                format!("{}: {rest}", number.parse::<usize>().unwrap() + offset)
            })
            .collect();
        let found: Vec<String> = match Config::check(&text, "f") {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(|e| e.to_string().replacen("f:", "", 1)).collect(),
        };
        if found != expected {
            wrong.push(format!("{added}\n  expected {expected:#?}\n  found {found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{} rows differ:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn each_bad_line_of_a_rate_file_is_an_error_of_that_file() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/config");
    let text = "policy.p = { rules = { spend = [1, 2] }, rates = \"rates-bad.csv\" }\nzebra = 1\n";
    let errors = Config::check(text, &format!("{folder}/x.toml")).unwrap_err();
    let shown: Vec<String> = errors.iter().map(|e| e.to_string().replace(folder, "")).collect();
    assert_eq!(
        shown[1..],
        [
            "/rates-bad.csv:3: policy.p.rates: \"cheap\" is no price such as 0.0125",
            "/rates-bad.csv:4: policy.p.rates: the prefix 1 stands in line 2 too",
        ],
        "{shown:?}"
    );
    assert!(shown[0].starts_with("/x.toml:2: zebra"), "{shown:?}");
    assert_eq!(errors[1].kind.class(), "bad_rate");
}

#[test]
fn all_mistakes_of_a_file_are_reported_at_once_in_its_order() {
    let text = "[engine]\nbackend = \"epol\"\n[trunk.a]\nlern = 1\n[[route]]\nvia = \"b\"\n[listener.m]\n\
                sip = \"udp:127.0.0.1:0\"\nmedia = \"127.0.0.1:0\"\n";
    let errors = Config::check(text, "many.toml").unwrap_err();
    let classes: Vec<(u32, &str)> = errors.iter().map(|e| (e.line, e.kind.class())).collect();
    assert_eq!(classes, [(2, "bad_value"), (4, "unknown_key"), (6, "no_such")]);
    assert_eq!((errors[0].column, errors[0].path.as_str()), (11, "engine.backend"));
}

#[test]
fn a_flood_of_mistakes_is_cut_and_counted() {
    let text: String = (0..5000).map(|n| format!("key{n} = 1\n")).collect();
    let errors = Config::check(&text, "f").unwrap_err();
    assert_eq!(errors.len(), 1001);
    assert_eq!(errors.last().unwrap().to_string(), "f:1000: and 4000 more errors");
    let route = "[[route]]\nto = \"1\"\nvia = \"pbx\"\n";
    let errors = Config::check(&format!("{FINE}{}", route.repeat(20_000)), "f").unwrap_err();
    let last = errors.last().unwrap().to_string();
    assert!(errors.len() == 1001 && last.ends_with("and 18999 more errors"), "{last}");
    let long = " ".repeat(config::TEXT_MAX + 1);
    assert_eq!(Config::check(&long, "f").unwrap_err()[0].kind.class(), "too_long");
}
