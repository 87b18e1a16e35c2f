//! Why keys of rtpengine have no line in a configuration of ours, in a few words each.

/// `None` for a value that says what is so here anyway.
pub(super) fn of(key: &str, value: &str) -> Option<&'static str> {
    let is_off = matches!(value, "" | "false" | "no" | "0" | "-1");
    Some(match key {
        "table" | "no-fallback" | "xtables"
            if key != "table" && is_off || key == "table" && value == "-1" =>
        {
            return None;
        }
        "table" | "no-fallback" | "xtables" | "iptables-chain" | "kernel-slots" | "kernel-num-threads" => {
            "packets are not relayed by a kernel module: nothing has to be loaded"
        }
        _ if key.starts_with("nftables") => "packets are not relayed by a kernel module: no rule is needed",
        "timeout" if value == "60" => return None,
        "silent-timeout" | "offer-timeout" if value == "3600" => return None,
        "final-timeout" if value == "0" => return None,
        "timeout" => {
            "a call ends when no media has come for 60 seconds, which cannot be changed for NG calls"
        }
        "silent-timeout" => "a held call ends after an hour, which cannot be changed for NG calls",
        "offer-timeout" => "an unanswered call ends after an hour, which cannot be changed for NG calls",
        "final-timeout" => "no call ends for its age alone: let signalling end it",
        "listen-udp" => {
            "the old protocol of single lines is not spoken: let the SIP server speak NG (module rtpengine)"
        }
        "listen-tcp" => "the old protocol over TCP is not spoken: use listen-tcp-ng",
        "listen-cli" => "the terminal's commands (`strowger calls` and others) ask engine.api",
        "listen-https" | "https-cert" | "https-key" => {
            "NG is spoken without TLS: put a server with TLS before engine.ng"
        }
        "http-threads"
        | "http-buf-size"
        | "http-idle-timeout"
        | "media-num-threads"
        | "num-media-threads"
        | "codec-num-threads"
        | "poller-per-thread"
        | "poller-size"
        | "thread-stack"
        | "socket-cpu-affinity"
        | "timer-accuracy"
        | "io-uring"
        | "io-uring-buffers"
        | "max-recv-iters" => {
            "threads are laid out otherwise: see engine.media_shards, engine.backend and engine.pin"
        }
        "endpoint-learning" => {
            "requests choose it (endpoint-learning), and engine.ng_source says who else may send"
        }
        "sip-source" if is_off => return None,
        "sip-source" => "requests say it: add the flag SIP-source-address",
        "recording-method" | "recording-format" | "record-egress" | "record-both" => {
            "recordings are sound files of both sides; packets are captured by `strowger calls pcap`"
        }
        "control-tos" | "control-pmtu" => "control packets are sent as the system sends them",
        "foreground"
        | "pidfile"
        | "log-stderr"
        | "log-name"
        | "log-facility"
        | "log-facilty"
        | "log-format"
        | "log-facility-cdr"
        | "log-facility-rtcp"
        | "log-facility-dtmf"
        | "split-logs"
        | "no-log-timestamps"
        | "max-log-line-length"
        | "log-mark-prefix"
        | "log-mark-suffix"
        | "scheduling"
        | "priority"
        | "idle-scheduling"
        | "idle-priority" => {
            "the engine stays in the foreground and logs to stderr: let systemd start it and keep its log"
        }
        _ if key.starts_with("log-level-") => "parts are named otherwise: see engine.log",
        "log-srtp-keys" | "debug-srtp" if is_off => return None,
        "log-srtp-keys" | "debug-srtp" => "keys are never logged",
        "max-load" | "max-cpu" | "max-bandwidth" => {
            "offers are refused when shards are overloaded by their own measure, or by limits of calls"
        }
        "save-interface-ports" => "ports are opened as they are needed, on one address",
        "reject-invalid-sdp" => "an SDP that cannot be read is always refused",
        _ if key.starts_with("redis")
            || ["active-switchover", "subscribe-keyspace", "no-redis-required"].contains(&key) =>
        {
            "calls are not kept in Redis: a restart drains first"
        }
        "b2b-url" | "xmlrpc-format" => "calls that time out are told as events of the API, not by XML-RPC",
        _ if key.starts_with("homer") || key.starts_with("graphite") || key.starts_with("mqtt") => {
            "figures are on the metrics page of engine.api, for Prometheus"
        }
        _ if key.starts_with("mysql") || key.contains("db-media") || key.contains("db-cache") => {
            "sounds are files below engine.sounds or come with the request, not from a database"
        }
        _ if key.starts_with("dtls") || key == "janus-secret" => "DTLS and Janus are not there yet: SDES is",
        _ if key.starts_with("dtx") || key.ends_with("-dtx") || key.starts_with("jb-") => {
            "silence and jitter are dealt with by the playout of each stream, without settings"
        }
        "jitter-buffer" | "silence-detect" | "cn-payload" | "max-dtx" => {
            "silence and jitter are dealt with by the playout of each stream, without settings"
        }
        "mos" | "measure-rtp" | "ssrc-reporting" | "rtcp-interval" => {
            "quality is always measured and reported, by RFC 3550 and G.107"
        }
        "templates" => "templates are not known: give the flags in each request",
        "software-id" => "an SDP says nothing of the software",
        "dtmf-log-ng-tcp" | "dtmf-no-log-injects" | "dtmf-no-suppress" => {
            "digits are told over UDP: see engine.ng_events"
        }
        _ if is_off => return None,
        _ => "Strowger has no such key",
    })
}
