//! Which callers may call: lists of exact numbers, prefixes and `anonymous`. Looks at the number that is claimed, not
//! at who claims it.

use std::collections::BTreeMap;

pub use crate::destination::Verdict;

/// Who may call. An exact number beats a prefix, a longer prefix a shorter one, deny beats allow. Where nothing
/// matches, a caller is allowed if no `allow` was given.
#[derive(Clone, Debug, Default)]
pub struct Callers {
    /// By length, longest first, so that a look-up asks only for lengths that exist.
    prefixes: Vec<(usize, BTreeMap<Vec<u8>, (bool, String)>)>,
    exact: BTreeMap<Vec<u8>, (bool, String)>,
    anonymous: Option<(bool, String)>,
    allow_given: bool,
}

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
