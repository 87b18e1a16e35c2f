//! The page of reference, made from the descriptions of the tables; a test holds `docs/configuration.md` to it.

use crate::root::Config;
use crate::value::{Choice, KeyDoc, Lack, TableDoc, Value};
use core::fmt::Write as _;

/// `docs/configuration.md`.
pub fn page() -> String {
    let mut out = String::from(INTRODUCTION);
    let root = Config::table().expect("the root is a table");
    for key in root.keys {
        let head = match key.name {
            "engine" | "unknown" => format!("[{}]", key.name),
            "route" | "number_rule" => format!("[[{}]]", key.name),
            "account" => "[account.\"USER@DOMAIN\"]".to_owned(),
            name => format!("[{name}.NAME]"),
        };
        let Some(table) = key.table else { continue };
        let _ = writeln!(out, "\n## `{head}`\n\n{}{}", joined(table.about), lack_of(table.lack));
        let _ = writeln!(out, "\n| key | written as | default | meaning |\n|---|---|---|---|");
        rows(&mut out, "", &table, &mut Vec::new());
    }
    out.push_str(EXAMPLES);
    out
}

/// `shown` are the tables of this section so far: one that comes again is not shown again.
fn rows(out: &mut String, above: &str, table: &TableDoc, shown: &mut Vec<(&'static [&'static str], String)>) {
    for KeyDoc { name, form, default, required, about, lack, choices, table } in &table.keys {
        let default = match default.as_str() {
            _ if *required => "required".to_owned(),
            "" | "\"\"" => "none".to_owned(),
            _ if table.is_some() && default.starts_with('{') => "as below".to_owned(),
            text => format!("`{}`", escaped(text)),
        };
        let lack = lack.or(table.as_ref().and_then(|table| table.lack));
        let before = table.as_ref().and_then(|table| shown.iter().find(|(about, _)| *about == table.about));
        let again = before.map_or_else(String::new, |(_, key)| format!(" Its keys are those of `{key}`."));
        let meaning = format!("{}{again}{}{}", joined(about), choices_of(choices), lack_of(lack));
        let _ = writeln!(out, "| `{above}{name}` | {} | {default} | {} |", escaped(form), escaped(&meaning));
        if let (Some(table), None) = (table, before) {
            shown.push((table.about, format!("{above}{name}")));
            let list = if form.ends_with(LIST) { "[]" } else { "" };
            rows(out, &format!("{above}{name}{list}."), table, shown);
        }
    }
}

fn lack_of(lack: Option<Lack>) -> String {
    match lack {
        None => String::new(),
        Some(Lack { why, protective: false }) => format!(" *{}.*", capital(why)),
        Some(Lack { why, protective: true }) => {
            format!(" *{}; `run` refuses to start with it.*", capital(why))
        }
    }
}

fn choices_of(choices: &[Choice]) -> String {
    let texts: Vec<String> = choices
        .iter()
        .map(|Choice { word, about, lack }| {
            let about = joined(about);
            let about = about.trim_end_matches('.');
            let later = match lack {
                None => "",
                Some(Lack { protective: false, .. }) => " *(not in effect yet)*",
                Some(Lack { protective: true, .. }) => {
                    " *(not in effect yet; `run` refuses to start with it)*"
                }
            };
            format!("`{word}`: {}{}{later}", about[..1].to_lowercase(), &about[1..])
        })
        .collect();
    if texts.is_empty() { String::new() } else { format!(" {}.", texts.join("; ")) }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn joined(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}

const LIST: &str = "or a list of such";

const INTRODUCTION: &str = r#"# Configuration

<!-- Made from the code by `STROWGER_WRITE=1 cargo test -p config`; a test holds this page to it. -->

One TOML file describes everything. `strowger check FILE` reads it and lists every mistake with its line, its key, what is
allowed there and what was probably meant; it also lists the keys that are understood but not in effect yet.
`strowger check --defaults FILE` prints the value of every key that was not given. `strowger run` refuses a file with
mistakes, and one that asks for a protection which is not in effect yet. A changed file is applied by SIGHUP, as a whole or
not at all; calls in progress keep what they started with.

## How values are written

- A **duration** is whole numbers with the units `d`, `h`, `m`, `s`, `ms`, the larger first: `"30s"`, `"4h"`, `"200ms"`,
  `"1h30m"`. Where it says so, `"off"` switches it off.
- A **rate** is `"40/s"`, `"100/m"` or `"5000/h"`.
- A **secret** is where the secret is: `"env:NAME"` (an environment variable) or `"file:PATH"` (a file, without its last line
  break). A secret in the configuration itself is an error.
- An **address with a port** is `"192.0.2.10:5060"` or `"[2001:db8::10]:5060"`. Port 0 lets the system choose.
- A **path** is relative to the folder in which the engine was started.
- A **name** has 1 to 64 letters, digits and signs. Objects refer to each other by name.
- One value stands for a **list** of one: `from = "pbx"` is `from = ["pbx"]`.
- A **number pattern** is the number itself; or a pattern in which `X` is 0-9, `Z` is 1-9, `N` is 2-9 and a final `.` stands
  for one or more further characters; or `~` and a regular expression (it matches anywhere unless anchored with `^` and
  `$`); or `=` and a text that is compared as it stands (for names that contain X, Z, N or a dot). All other characters
  stand for themselves, `+` and `*` too.
- Tables may be written in any way that TOML has: `[trunk.acme]`, `trunk.acme = { … }`, `trunk.acme.learn = "strict"`.
"#;

const EXAMPLES: &str = r#"
## The smallest useful file

```toml
listener.main = { sip = "udp:0.0.0.0:5060", media = "0.0.0.0:10000-29999" }
trunk.pbx     = "10.0.0.2"
trunk.carrier = "203.0.113.5"
[[route]]
from = "pbx"
via  = "carrier"
[[route]]
from = "carrier"
via  = "pbx"
```

A fuller one is `tests/data/config/fuller.toml`.

## Coming from rtpengine

```console
$ strowger config import /etc/rtpengine/rtpengine.conf > strowger.toml
$ strowger check strowger.toml
strowger.toml: valid
```

The first prints a whole configuration, whose comments say what each line comes from, and on standard error what needs a
look, with the line of the file; `--section` reads another section than `[rtpengine]`. The SIP server needs no change but
the port, if that is another one.

| rtpengine | here |
|---|---|
| `interface` (NAME/ADDRESS!ADVERTISED) and sections of `interfaces-config` | `listener.NAME` with `media` and `advertise`; the names are those of `direction` in requests. `any` becomes one address: an offer does not say who the peer is. |
| `port-min`, `port-max` | the ports of `media`, from even to odd; where one address has several names, each gets a part |
| `listen-ng`, `listen-tcp-ng`, `listen-http` | `engine.ng` |
| `max-sessions` | `calls` of `limit.ng`, named in `engine.ng_pool` |
| `tos` | `dscp.rtp` of each listener |
| `delete-delay`, `num-threads`, `recording-dir`, `dtmf-log-dest`, `log-level` | `engine.delete_delay`, `media_shards`, `recordings`, `ng_events`, `log` |

All else is listed as not carried over, with the reason. rtpengine forwards media from foreign sources after it has learned
one unless a request says `strict-source`; here it is dropped unless `engine.ng_source = "rtpengine"`.
"#;
