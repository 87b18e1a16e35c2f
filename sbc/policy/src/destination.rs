//! Where calls may go: the default table of area codes and countries, prefixes of one's own, and named lists. Judges
//! the number after all rewriting; emergency numbers are the caller's matter and do not come here.

use crate::prefix::PrefixTree;
use core::fmt;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// Where calls may go. The longest prefix decides; among equals an own entry beats the base, then deny beats allow.
#[derive(Clone, Debug)]
pub struct Destinations {
    /// Of numbers that begin with `+`.
    e164: PrefixTree<Rule>,
    /// Of all other numbers: own entries only.
    plain: PrefixTree<Rule>,
}

/// What stands below the own entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Base {
    /// The default table.
    #[default]
    Default,
    /// Nothing: what is not allowed is denied.
    None,
}

/// What an own list holds: a prefix or the name of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    /// `+44`, `+1XXX976`: numbers that begin with `+` and this. `X` is any digit.
    Plus(String),
    /// `20`, `*98`: numbers without `+` that begin so.
    Plain(String),
    /// `@premium`: a list by its name, without the `@`, in lower case.
    List(String),
}

/// Why a text is no [`Entry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadEntry {
    /// It is empty, or `+` or `@` alone.
    Empty,
    /// It holds something else than digits, `X`, `*` or `#`.
    Character(char),
    /// It is longer than any number: more than 15 digits after `+`, more than 32 characters otherwise.
    Long,
    /// There is no list of that name; [`lists`] has them all.
    UnknownList,
}

/// The answer for one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// Whether it may be called.
    pub allowed: bool,
    /// What decided: `default:+1876 JM`, `premium:+1900`, `allow:+44`, `deny:@premium +449`, `not_e164`, `unlisted`.
    pub rule: &'a str,
}

/// One prefix.
#[derive(Clone, Debug)]
struct Rule {
    allowed: bool,
    own: bool,
    name: Arc<str>,
}

impl Destinations {
    /// The default table: USA and Canada, Puerto Rico, the Dominican Republic, Mexico, toll-free numbers; no premium
    /// numbers, no other country or territory, no area code that is not assigned.
    pub fn default_table() -> &'static Arc<Destinations> {
        static TABLE: LazyLock<Arc<Destinations>> =
            LazyLock::new(|| Arc::new(Destinations::own(Base::Default, &[], &[])));
        &TABLE
    }

    /// A table of one's own.
    pub fn own(base: Base, allow: &[Entry], deny: &[Entry]) -> Destinations {
        let mut table = Destinations { e164: PrefixTree::default(), plain: PrefixTree::default() };
        if base == Base::Default {
            table.add_default();
        }
        for (allowed, entries) in [(true, allow), (false, deny)] {
            let verb = if allowed { "allow" } else { "deny" };
            for entry in entries {
                match entry {
                    Entry::Plus(digits) => {
                        add(&mut table.e164, digits, allowed, true, &format!("{verb}:+{digits}"));
                    }
                    Entry::Plain(text) => {
                        add(&mut table.plain, text, allowed, true, &format!("{verb}:{text}"));
                    }
                    Entry::List(list) => {
                        for digits in FACTS.lists.get(list).into_iter().flatten() {
                            let name = format!("{verb}:@{list} +{digits}");
                            add(&mut table.e164, digits, allowed, true, &name);
                        }
                    }
                }
            }
        }
        table
    }

    fn add_default(&mut self) {
        let table = &mut self.e164;
        add(table, "1", false, false, "default:+1 unassigned");
        // Premium area codes come with the ranges.
        for code in FACTS.area_codes.iter().filter(|code| code.service != "premium") {
            let known = ["US", "CA", "PR", "DO"].contains(&code.country);
            let allowed = match code.service {
                "geographic" => known,
                "toll-free" => true,
                // Personal numbers and carriers' services: their price is unknown.
                _ => false,
            };
            let what = if code.service == "geographic" { code.country } else { code.service };
            add(table, &format!("1{}", code.npa), allowed, false, &format!("default:+1{} {what}", code.npa));
        }
        add(table, "52", true, false, "default:+52 MX");
        for list in ["premium", "satellite"] {
            for digits in &FACTS.lists[list] {
                add(table, digits, false, false, &format!("{list}:+{digits}"));
            }
        }
    }

    /// Whether this number may be called: `+` and 7 to 15 digits, with +1 exactly 11. A number of another form is
    /// allowed by an own plain entry only.
    pub fn judge(&self, number: &[u8]) -> Verdict<'_> {
        let not_e164 = Verdict { allowed: false, rule: "not_e164" };
        match number.split_first() {
            Some((b'+', digits)) if is_e164(digits) => {
                longest(&self.e164, digits).unwrap_or(Verdict { allowed: false, rule: "unlisted" })
            }
            Some((b'+', _)) => not_e164,
            // A plain prefix must not let in what only begins like a number: `20;phone-context=…`.
            Some(_) if number.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'*' | b'#')) => {
                longest(&self.plain, number).unwrap_or(not_e164)
            }
            _ => not_e164,
        }
    }
}

fn longest<'t>(tree: &'t PrefixTree<Rule>, number: &[u8]) -> Option<Verdict<'t>> {
    let mut best: Option<(usize, &Rule)> = None;
    tree.matches(number, |len, rule| {
        // Two prefixes of one length match where one has an `X`.
        let better = |(longest, known): (usize, &Rule)| {
            len > longest || (len == longest && rank(rule.own, rule.allowed) > rank(known.own, known.allowed))
        };
        if best.is_none_or(better) {
            best = Some((len, rule));
        }
    });
    best.map(|(_, rule)| Verdict { allowed: rule.allowed, rule: &rule.name })
}

/// An own entry beats the base; then deny beats allow.
fn rank(own: bool, allowed: bool) -> (bool, bool) {
    (own, !allowed)
}

fn add(tree: &mut PrefixTree<Rule>, prefix: &str, allowed: bool, own: bool, name: &str) {
    let rule = || Rule { allowed, own, name: Arc::from(name) };
    let known = tree.entry(prefix.as_bytes(), rule);
    // An entry made by hand with letters in it matches nothing; one that was parsed has none.
    if let Some(known) = known
        && rank(own, allowed) > rank(known.own, known.allowed)
    {
        *known = rule();
    }
}

fn is_e164(digits: &[u8]) -> bool {
    let length = match digits.first() {
        Some(b'1') => 11..=11,
        _ => 7..=15,
    };
    length.contains(&digits.len()) && digits[0] != b'0' && digits.iter().all(u8::is_ascii_digit)
}

impl Entry {
    /// Reads an entry of a configuration.
    ///
    /// # Errors
    /// [`BadEntry`].
    pub fn parse(text: &str) -> Result<Entry, BadEntry> {
        let checked = |digits: &str, max: usize, others: &str| match digits
            .chars()
            .find(|c| !c.is_ascii_digit() && !others.contains(*c))
        {
            _ if digits.is_empty() => Err(BadEntry::Empty),
            Some(other) => Err(BadEntry::Character(other)),
            None if digits.len() > max => Err(BadEntry::Long),
            None => Ok(digits.to_owned()),
        };
        match text.as_bytes().first() {
            None => Err(BadEntry::Empty),
            Some(b'@') if text.len() == 1 => Err(BadEntry::Empty),
            Some(b'@') => {
                let name = text[1..].to_ascii_lowercase();
                if FACTS.lists.contains_key(&name) {
                    Ok(Entry::List(name))
                } else {
                    Err(BadEntry::UnknownList)
                }
            }
            Some(b'+') => checked(&text[1..], 15, "X").map(Entry::Plus),
            Some(_) => checked(text, 32, "X*#").map(Entry::Plain),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Plus(digits) => write!(f, "+{digits}"),
            Entry::Plain(text) => f.write_str(text),
            Entry::List(name) => write!(f, "@{name}"),
        }
    }
}

impl fmt::Display for BadEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadEntry::Empty => f.write_str("is empty"),
            BadEntry::Character(c) => write!(f, "holds {c:?}"),
            BadEntry::Long => f.write_str("is longer than any number"),
            BadEntry::UnknownList => f.write_str("is no list"),
        }
    }
}

impl core::error::Error for BadEntry {}

/// The names of all lists, without `@`: `premium`, `high-risk`, `satellite`, `toll-free`, `special`, and each country
/// or territory by its ISO 3166 code in lower case.
pub fn lists() -> impl Iterator<Item = &'static str> {
    FACTS.lists.keys().map(String::as_str)
}

/// The prefixes of a list, without `+`; `X` is any digit.
pub fn list(name: &str) -> Option<&'static [String]> {
    FACTS.lists.get(name).map(Vec::as_slice)
}

/// What the data files say.
struct Facts {
    area_codes: Vec<AreaCode>,
    lists: BTreeMap<String, Vec<String>>,
}

struct AreaCode {
    npa: &'static str,
    /// ISO 3166, or `-`.
    country: &'static str,
    service: &'static str,
}

static FACTS: LazyLock<Facts> = LazyLock::new(|| {
    let mut facts = Facts { area_codes: Vec::new(), lists: BTreeMap::new() };
    for [npa, country, service, _] in rows(NANP) {
        facts.area_codes.push(AreaCode { npa, country, service });
        let list = match service {
            "geographic" => country.to_ascii_lowercase(),
            // Premium ones stand in the ranges too; here they would be doubled.
            "premium" => continue,
            other => other.to_owned(),
        };
        facts.lists.entry(list).or_default().push(format!("1{npa}"));
    }
    for [prefix, country] in rows(COUNTRIES) {
        facts.lists.entry(country.to_ascii_lowercase()).or_default().push(prefix.to_owned());
    }
    for [prefix, list, _, _] in rows(RANGES) {
        facts.lists.entry(list.to_owned()).or_default().push(prefix.to_owned());
    }
    facts
});

const NANP: &str = include_str!("../data/nanp.csv");
const COUNTRIES: &str = include_str!("../data/countries.csv");
const RANGES: &str = include_str!("../data/ranges.csv");

/// The fields of each line; a test checks that every line has as many as it should.
fn rows<const N: usize>(text: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter_map(|line| {
        let mut fields = line.splitn(N, ',');
        let row: [Option<&str>; N] = core::array::from_fn(|_| fields.next());
        row.iter().all(Option::is_some).then(|| row.map(Option::unwrap_or_default))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries(texts: &[&str]) -> Vec<Entry> {
        texts.iter().map(|text| Entry::parse(text).expect("an entry")).collect()
    }

    /// `number verdict rule`, one a line.
    fn check(table: &Destinations, cases: &str) {
        for case in cases.trim().lines() {
            let mut words = case.trim().splitn(3, ' ');
            let [number, verdict, rule] = core::array::from_fn(|_| words.next().unwrap_or_default());
            let said = table.judge(number.as_bytes());
            assert_eq!((said.allowed, said.rule), (verdict == "allow", rule), "{case}");
        }
    }

    #[test]
    fn the_default_table_is_that_of_the_requirements() {
        check(
            Destinations::default_table(),
            "+18765551234 deny default:+1876 JM
            +19005551234 deny premium:+1900
            +442079460123 deny unlisted
            +5371234567 deny unlisted
            +12425551234 deny default:+1242 BS
            +14165550100 allow default:+1416 CA
            +12125550100 allow default:+1212 US
            +17875550100 allow default:+1787 PR
            +19395550100 allow default:+1939 PR
            +525512345678 allow default:+52 MX
            +18095550100 allow default:+1809 DO
            +18295550100 allow default:+1829 DO
            +18495550100 allow default:+1849 DO
            +12129761234 deny premium:+1XXX976
            +14169761234 deny premium:+1XXX976
            +18005550100 allow default:+1800 toll-free
            +18885550100 allow default:+1888 toll-free
            +13405550100 deny default:+1340 VI
            +15005550100 deny default:+1500 special
            +16005550100 deny default:+1600 special
            +12005550100 deny default:+1 unassigned
            +19115550100 deny default:+1 unassigned
            +88165550100 deny satellite:+881
            +529001234567 deny premium:+52900
            +493012345678 deny unlisted",
        );
    }

    #[test]
    fn every_other_area_code_of_the_requirements_is_denied_and_every_free_one_allowed() {
        let table = Destinations::default_table();
        let number = |npa: u32| format!("+1{npa}5550100");
        let denied = [
            242, 246, 264, 268, 284, 345, 441, 473, 649, 658, 664, 721, 758, 767, 784, 868, 869, 876, 340,
            670, 671, 684, 900, 700, 710,
        ];
        for npa in denied {
            assert!(!table.judge(number(npa).as_bytes()).allowed, "{npa}");
        }
        for npa in [800, 833, 844, 855, 866, 877, 888, 787, 939, 809, 829, 849, 867, 907, 808] {
            assert!(table.judge(number(npa).as_bytes()).allowed, "{npa}");
        }
        let allowed = (200..1000).filter(|npa| table.judge(number(*npa).as_bytes()).allowed).count();
        assert_eq!(allowed, 414 + 2 + 3 + 7, "USA and Canada, Puerto Rico, Dominican Republic, toll-free");
    }

    #[test]
    fn what_is_no_number_is_denied() {
        let table = Destinations::default_table();
        let long = "+1416".to_owned() + &"5".repeat(10_000);
        let others = [
            "",
            "+",
            "++14165550100",
            "14165550100",
            "alice",
            "+1416555010",
            "+141655501000",
            "+0416555010",
            "+3712",
            "+1 4165550100",
            "+1416555010a",
            "%2B14165550100",
            "+14165550100;isub=1",
            "+5271234567890123",
            long.as_str(),
            "+１4165550100",
            "\u{ff15}\u{ff13}",
        ];
        for number in others {
            assert_eq!(
                table.judge(number.as_bytes()),
                Verdict { allowed: false, rule: "not_e164" },
                "{number:.40}"
            );
        }
    }

    #[test]
    fn own_entries_stand_above_the_default() {
        let (allow, deny) = (["+44", "+1340", "+1876", "20", "*98"], ["+18761", "+1212", "2099"]);
        check(
            &Destinations::own(Base::Default, &entries(&allow), &entries(&deny)),
            "+442079460123 allow allow:+44
            +449012345678 deny premium:+449
            +13405550100 allow allow:+1340
            +18765550100 allow allow:+1876
            +18761550100 deny deny:+18761
            +12125550100 deny deny:+1212
            +13125550100 allow default:+1312 US
            +13129765550 deny premium:+1XXX976
            2001 allow allow:20
            *98 allow allow:*98
            2099 deny deny:2099
            20;x=1 deny not_e164
            3001 deny not_e164",
        );
    }

    #[test]
    fn without_a_base_only_what_is_allowed_is() {
        check(
            &Destinations::own(Base::None, &entries(&["+1", "+44"]), &entries(&["+1900", "+1XXX976", "+44"])),
            "+18765550100 allow allow:+1
            +19005550100 deny deny:+1900
            +12129765550 deny deny:+1XXX976
            +442079460123 deny deny:+44
            +33123456789 deny unlisted",
        );
    }

    #[test]
    fn lists_are_named() {
        check(
            &Destinations::own(
                Base::None,
                &entries(&["@US", "@ca", "@toll-free", "@GB", "@JM", "@RU"]),
                &entries(&["@premium", "@high-risk", "@satellite", "@JE"]),
            ),
            "+12125550100 allow allow:@us +1212
            +14165550100 allow allow:@ca +1416
            +18005550100 allow allow:@toll-free +1800
            +442079460123 allow allow:@gb +44
            +441534123456 deny deny:@je +441534
            +449012345678 deny deny:@premium +449
            +18765550100 deny deny:@high-risk +1876
            +78095550100 deny deny:@premium +7809
            +74951234567 allow allow:@ru +7
            +88161234567 deny deny:@satellite +881
            +17875550100 deny unlisted",
        );
        assert!(lists().any(|name| name == "premium") && lists().count() > 200);
    }

    #[test]
    fn texts_that_are_no_entries_are_named() {
        let bad = |text: &str| Entry::parse(text).expect_err("no entry");
        assert_eq!((bad(""), bad("+"), bad("@")), (BadEntry::Empty, BadEntry::Empty, BadEntry::Empty));
        assert_eq!((bad("+4a"), bad("@atlantis")), (BadEntry::Character('a'), BadEntry::UnknownList));
        assert_eq!((bad("+1234567890123456"), bad("4 4")), (BadEntry::Long, BadEntry::Character(' ')));
        for text in ["+44", "+1XXX976", "20", "*98", "@premium", "@gb"] {
            assert_eq!(Entry::parse(text).expect("an entry").to_string(), text);
        }
    }

    #[test]
    fn every_line_of_the_data_is_well_formed_and_sorted_into_one_place() {
        let lines =
            |text: &'static str| text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let digits = |text: &str, others: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || others.contains(c))
        };
        let is_country = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
        let mut seen = std::collections::BTreeSet::new();
        for line in lines(NANP) {
            let fields: Vec<_> = line.split(',').collect();
            let [npa, country, service, place] = fields[..] else { panic!("four fields: {line}") };
            assert!(npa.len() == 3 && digits(npa, "") && npa.as_bytes()[0] >= b'2', "{line}");
            assert!(npa.as_bytes()[1] != b'9', "reserved for longer numbers: {line}");
            assert!(is_country(country) || country == "-", "{line}");
            assert!(["geographic", "toll-free", "premium", "special"].contains(&service), "{line}");
            assert!(!place.is_empty() && seen.insert(npa), "{line}");
        }
        let mut seen = std::collections::BTreeSet::new();
        for line in lines(COUNTRIES) {
            let fields: Vec<_> = line.split(',').collect();
            let [prefix, country] = fields[..] else { panic!("two fields: {line}") };
            assert!(digits(prefix, "") && is_country(country) && !prefix.starts_with(['0', '1']), "{line}");
            assert!(seen.insert(prefix), "{line}");
        }
        let mut seen = std::collections::BTreeSet::new();
        for line in lines(RANGES) {
            let fields: Vec<_> = line.split(',').collect();
            let [prefix, list, what, basis] = fields[..] else { panic!("four fields: {line}") };
            assert!(digits(prefix, "X") && !prefix.starts_with('0') && seen.insert(prefix), "{line}");
            assert!(["premium", "satellite", "high-risk"].contains(&list), "{line}");
            assert!(!what.is_empty() && !basis.is_empty(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn a_table_agrees_with_a_scan_of_its_entries(
            allow in proptest::collection::vec("[+][12X]{1,6}", 0..20),
            deny in proptest::collection::vec("[+][12X]{1,6}", 0..20),
            number in "[+]2[123]{7,9}",
        ) {
            let parse = |texts: &[String]| texts.iter().map(|t| Entry::parse(t).unwrap()).collect::<Vec<_>>();
            let table = Destinations::own(Base::None, &parse(&allow), &parse(&deny));
            let fits = |entry: &str| entry.len() <= number.len()
                && entry.bytes().zip(number.bytes()).all(|(e, n)| e == n || (e == b'X' && n != b'+'));
            let best = |list: &[String]| list.iter().filter(|e| fits(e)).map(String::len).max().unwrap_or(0);
            prop_assert_eq!(table.judge(number.as_bytes()).allowed, best(&allow) > best(&deny));
        }

        #[test]
        fn any_bytes_get_an_answer(number in proptest::collection::vec(any::<u8>(), 0..200)) {
            Destinations::default_table().judge(&number);
        }
    }
}
