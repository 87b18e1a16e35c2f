//! Which callers may call: lists of exact numbers, prefixes and `anonymous`. Looks at the number that is claimed, not
//! at who claims it.

use std::collections::BTreeMap;

pub use crate::destination::Verdict;

/// Who may call. An exact number beats a prefix, a longer prefix a shorter one, deny beats allow. Where nothing
/// matches, a caller is allowed if no `allow` was given.
#[derive(Clone, Debug, Default)]
pub struct Callers {
    /// By length, longest first, so that a look-up asks only for lengths that exist.
    prefixes: Vec<(usize, Decisions)>,
    exact: Decisions,
    anonymous: Option<Decision>,
    allow_given: bool,
}

type Decisions = BTreeMap<Vec<u8>, Decision>;

/// Allowed or not, and the rule's name.
type Decision = (bool, String);

impl Callers {
    /// From lists of texts: `+442079460000` or `alice` (exact), `+44*` (prefix), `anonymous`.
    ///
    /// # Errors
    /// The first text that is empty, longer than 128 bytes, or has a `*` elsewhere than at its end.
    pub fn new<'t>(
        allow: impl IntoIterator<Item = &'t str>,
        deny: impl IntoIterator<Item = &'t str>,
    ) -> Result<Callers, &'t str> {
        let mut callers = Callers::default();
        for text in allow {
            callers.allow_given = true;
            callers.add(true, text)?;
        }
        // Afterwards, so that deny replaces an equal allow.
        for text in deny {
            callers.add(false, text)?;
        }
        callers.prefixes.sort_by_key(|(len, _)| std::cmp::Reverse(*len));
        Ok(callers)
    }

    fn add<'t>(&mut self, allowed: bool, text: &'t str) -> Result<(), &'t str> {
        let decision = (allowed, format!("{}:{text}", if allowed { "caller_allow" } else { "caller_deny" }));
        let stem = text.strip_suffix('*');
        if text.is_empty() || text.len() > LONGEST || stem.unwrap_or(text).contains('*') {
            return Err(text);
        }
        match stem {
            Some(prefix) => {
                let place = self.prefixes.iter().position(|(len, _)| *len == prefix.len());
                let place = place.unwrap_or_else(|| {
                    self.prefixes.push((prefix.len(), BTreeMap::new()));
                    self.prefixes.len() - 1
                });
                self.prefixes[place].1.insert(prefix.as_bytes().to_vec(), decision);
            }
            None if text == "anonymous" => self.anonymous = Some(decision),
            None => {
                self.exact.insert(text.as_bytes().to_vec(), decision);
            }
        }
        Ok(())
    }

    /// Whether this caller may call: the user part of From or of the asserted identity, empty or `anonymous` for one
    /// who hides.
    pub fn judge(&self, caller: &[u8]) -> Verdict<'_> {
        let decision = if is_anonymous(caller) {
            self.anonymous.as_ref()
        } else {
            self.exact.get(caller).or_else(|| {
                self.prefixes.iter().filter_map(|(len, prefixes)| prefixes.get(caller.get(..*len)?)).next()
            })
        };
        match decision {
            Some((allowed, rule)) => Verdict { allowed: *allowed, rule },
            None => Verdict { allowed: !self.allow_given, rule: "caller_unlisted" },
        }
    }
}

fn is_anonymous(caller: &[u8]) -> bool {
    const WORDS: [&[u8]; 5] = [b"anonymous", b"unavailable", b"restricted", b"unknown", b"withheld"];
    caller.is_empty() || WORDS.iter().any(|word| caller.eq_ignore_ascii_case(word))
}

const LONGEST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(callers: &Callers, cases: &[(&str, bool, &str)]) {
        for (caller, allowed, rule) in cases {
            let said = callers.judge(caller.as_bytes());
            assert_eq!((said.allowed, said.rule), (*allowed, *rule), "{caller}");
        }
    }

    #[test]
    fn exact_beats_prefix_and_longer_beats_shorter() {
        let callers = Callers::new(["+4420*", "+44300", "alice"], ["+44*", "+44207*", "anonymous"])
            .expect("good lists");
        check(
            &callers,
            &[
                ("+442081234567", true, "caller_allow:+4420*"),
                ("+442071234567", false, "caller_deny:+44207*"),
                ("+44300", true, "caller_allow:+44300"),
                ("+443001", false, "caller_deny:+44*"),
                ("alice", true, "caller_allow:alice"),
                ("bob", false, "caller_unlisted"),
                ("", false, "caller_deny:anonymous"),
                ("Anonymous", false, "caller_deny:anonymous"),
            ],
        );
    }

    #[test]
    fn a_list_of_denials_lets_all_others_pass_and_deny_wins_among_equals() {
        let callers = Callers::new(["+1*", "+1"], ["+1*", "+1"]).expect("good lists");
        check(&callers, &[("+1212", false, "caller_deny:+1*"), ("+1", false, "caller_deny:+1")]);
        let callers = Callers::new([], ["+1900*"]).expect("good lists");
        check(
            &callers,
            &[
                ("+19001", false, "caller_deny:+1900*"),
                ("x", true, "caller_unlisted"),
                ("", true, "caller_unlisted"),
            ],
        );
        assert!(Callers::default().judge(b"anybody").allowed);
        assert!(!Callers::new(["*"], ["+1900*"]).expect("good lists").judge(b"+19005550100").allowed);
    }

    #[test]
    fn a_text_that_is_no_entry_is_given_back() {
        assert_eq!(Callers::new(["+44*"], ["+4*4"]).err(), Some("+4*4"));
        assert_eq!(Callers::new([""], []).err(), Some(""));
    }
}
