//! Prices by prefix, read from CSV, and the cost of a call. Longest prefix; no currency is named here.

use base::Duration;
use core::fmt;

/// Money in billionths of the table's currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(pub u64);

/// What a minute to some prefix costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// For a minute.
    pub price: Amount,
    /// Seconds are billed in steps of this; at least 1.
    pub increment_s: u32,
    /// At least these seconds are billed once a call is answered.
    pub minimum_s: u32,
}

/// A line of a rate file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateError {
    /// From 1.
    pub line: usize,
    /// For people.
    pub reason: String,
}

/// Prefixes and their prices: 32 bytes a prefix, one binary search a look-up.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Sorted by prefix.
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    prefix: Packed,
    /// The row of the longest other prefix that begins this one; the row itself if there is none.
    parent: u32,
    rate: Rate,
}

/// Up to 15 digits from the top, one in four bits, and their number in the lowest four: orders as text does, and a
/// prefix comes right before what it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Packed(u64);

impl Rates {
    /// Reads `prefix,price a minute[,increment s][,minimum s]`; `#` begins a comment, a header line is passed over, the
    /// prefix `*` is any number. Increments default to 1 s, minimum to none.
    ///
    /// # Errors
    /// The first hundred lines that cannot be read, or whose prefix stood before.
    pub fn parse(text: &str) -> Result<Rates, Vec<RateError>> {
        let mut errors = Vec::new();
        let mut read: Vec<(Packed, Rate, usize)> = Vec::new();
        let mut may_be_header = true;
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let is_header = core::mem::take(&mut may_be_header) && is_header(line);
            match row(line) {
                Ok((prefix, rate)) => read.push((prefix, rate, at + 1)),
                Err(_) if is_header => {}
                Err(reason) => errors.push(RateError { line: at + 1, reason }),
            }
            if errors.len() == ERRORS_MAX {
                return Err(errors);
            }
        }
        read.sort_unstable_by_key(|(prefix, _, line)| (*prefix, *line));
        for pair in read.windows(2).filter(|pair| pair[0].0 == pair[1].0).take(ERRORS_MAX - errors.len()) {
            let reason = format!("the prefix {} stands in line {} too", pair[0].0, pair[0].2);
            errors.push(RateError { line: pair[1].2, reason });
        }
        if !errors.is_empty() {
            errors.sort_by_key(|error| error.line);
            return Err(errors);
        }
        let mut rates = Rates { rows: Vec::with_capacity(read.len()) };
        for (prefix, rate, _) in read {
            let at = rates.rows.len() as u32;
            // What begins this prefix is the row before it, or begins that one as well.
            let parent = at.checked_sub(1).and_then(|before| rates.longest_from(before, prefix));
            rates.rows.push(Row { prefix, parent: parent.unwrap_or(at), rate });
        }
        Ok(rates)
    }

    /// The rate of the longest prefix of this number, with or without `+`; `None` if no prefix matches.
    pub fn find(&self, number: &[u8]) -> Option<Rate> {
        let number = Packed::of(number.strip_prefix(b"+").unwrap_or(number), true)?;
        let after = self.rows.partition_point(|row| row.prefix <= number) as u32;
        let found = self.longest_from(after.checked_sub(1)?, number)?;
        Some(self.rows[found as usize].rate)
    }

    /// The longest prefix of `number` among a row and what begins it.
    fn longest_from(&self, mut at: u32, number: Packed) -> Option<u32> {
        loop {
            let row = &self.rows[at as usize];
            if row.prefix.begins(number) {
                return Some(at);
            }
            if row.parent == at {
                return None;
            }
            at = row.parent;
        }
    }

    /// How many prefixes there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// A first line with a word where the price would be.
fn is_header(line: &str) -> bool {
    line.split(',').all(|field| !field.trim().is_empty() && field.trim().bytes().all(|b| !b.is_ascii_digit()))
}

fn row(line: &str) -> Result<(Packed, Rate), String> {
    let fields: Vec<_> = line.split(',').map(str::trim).collect();
    let [prefix, price, rest @ ..] = &fields[..] else {
        return Err("has no price: wanted is prefix,price[,increment][,minimum]".to_owned());
    };
    if rest.len() > 2 {
        return Err(format!("has {} fields; at most 4 are known", fields.len()));
    }
    let seconds = |at: usize, default: u32, least: u32| match rest.get(at) {
        None | Some(&"") => Ok(default),
        Some(text) => text
            .parse::<u32>()
            .ok()
            .filter(|seconds| (least..=86_400).contains(seconds))
            .ok_or_else(|| format!("{text:?} is no number of seconds from {least} to 86400")),
    };
    let digits = if *prefix == "*" { "" } else { prefix.strip_prefix('+').unwrap_or(prefix) };
    let packed = match Packed::of(digits.as_bytes(), false) {
        Some(packed) if *prefix == "*" || !digits.is_empty() => packed,
        _ => return Err(format!("{prefix:?} is no prefix of 1 to 15 digits")),
    };
    let price = Amount::parse(price).ok_or_else(|| format!("{price:?} is no price such as 0.0125"))?;
    Ok((packed, Rate { price, increment_s: seconds(0, 1, 1)?, minimum_s: seconds(1, 0, 0)? }))
}

impl Packed {
    /// The digits that the text begins with, at most 15, if `numbers` may hold more; otherwise it must be digits only.
    fn of(text: &[u8], may_hold_more: bool) -> Option<Packed> {
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !may_hold_more && (digits < text.len() || digits > 15) {
            return None;
        }
        let digits = digits.min(15);
        let value = text[..digits].iter().fold(0, |value, byte| value << 4 | u64::from(byte - b'0'));
        // The shift by 64 of an empty prefix would be undefined.
        let value = if digits == 0 { 0 } else { value << (64 - 4 * digits) };
        Some(Packed(value | digits as u64))
    }

    fn digits(self) -> u32 {
        (self.0 & 15) as u32
    }

    fn begins(self, other: Packed) -> bool {
        let len = self.digits();
        let same = |a: u64, b: u64| len == 0 || (a ^ b) >> (64 - 4 * len) == 0;
        len <= other.digits() && same(self.0, other.0)
    }
}

impl fmt::Display for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.digits() {
            0 => f.write_str("*"),
            len => write!(f, "{:0width$x}", self.0 >> (64 - 4 * len), width = len as usize),
        }
    }
}

impl Rate {
    /// What an answered call of this length costs: started increments, at least the minimum.
    pub fn cost(&self, answered: Duration) -> Amount {
        let step = u64::from(self.increment_s.max(1));
        let seconds = answered.as_secs().saturating_add(u64::from(answered.subsec_nanos() > 0));
        let billed = seconds.max(u64::from(self.minimum_s)).div_ceil(step).saturating_mul(step);
        Amount(u64::try_from(u128::from(self.price.0) * u128::from(billed) / 60).unwrap_or(u64::MAX))
    }
}

impl Amount {
    /// Reads `12`, `0.0125`; at most nine places after the point count.
    pub fn parse(text: &str) -> Option<Amount> {
        let (units, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(units) || !digits(part) || part.len() > 9 || units.len() + part.len() == 0 {
            return None;
        }
        let units: u64 = if units.is_empty() { 0 } else { units.parse().ok()? };
        let part: u64 = format!("{part:0<9}").parse().ok()?;
        units.checked_mul(UNIT)?.checked_add(part).map(Amount)
    }

    /// In whole units; for comparison with thresholds and for display, not for sums.
    pub fn units(self) -> f64 {
        self.0 as f64 / UNIT as f64
    }
}

impl fmt::Display for Amount {
    /// Without trailing zeros: `0.105`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, part) = (self.0 / UNIT, self.0 % UNIT);
        if part == 0 {
            return write!(f, "{units}");
        }
        let text = format!("{part:09}");
        write!(f, "{units}.{}", text.trim_end_matches('0'))
    }
}

const UNIT: u64 = 1_000_000_000;
const ERRORS_MAX: usize = 100;
const _: () = assert!(size_of::<Row>() == 32);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_longest_prefix_prices_a_number() {
        let rates =
            Rates::parse("prefix,price\n# ours\n+1,0.01\n44,0.02,60,60 # UK\n4479,0.05,1,30\n\n447911,1.5\n")
                .expect("a good file");
        let price = |number: &str| rates.find(number.as_bytes()).map(|rate| rate.price.to_string());
        assert_eq!(rates.len(), 4);
        assert_eq!(price("+12125550100").as_deref(), Some("0.01"));
        assert_eq!(price("442079460123").as_deref(), Some("0.02"));
        assert_eq!(price("+447911123456").as_deref(), Some("1.5"));
        assert_eq!(price("+447912123456").as_deref(), Some("0.05"));
        assert_eq!((price("+49301234"), price("alice"), price("")), (None, None, None));
        let rates = Rates::parse("*,9\n1,1").expect("a good file");
        assert_eq!(rates.find(b"alice").map(|rate| rate.price.units()), Some(9.0));
        assert_eq!(rates.find(b"+1").map(|rate| rate.price.units()), Some(1.0));
    }

    #[test]
    fn a_bad_file_is_refused_with_line_and_reason() {
        let errors =
            Rates::parse("prefix,price\n1,0.1\nx,1\n2,-1\n3\n+1,0.2\n4,1,0\n5,1,1,1,1\n6,1e3\n7,1,a\n")
                .expect_err("a bad file");
        let said: Vec<_> = errors.iter().map(|error| format!("{}: {}", error.line, error.reason)).collect();
        assert_eq!(
            said,
            [
                "3: \"x\" is no prefix of 1 to 15 digits",
                "4: \"-1\" is no price such as 0.0125",
                "5: has no price: wanted is prefix,price[,increment][,minimum]",
                "6: the prefix 1 stands in line 2 too",
                "7: \"0\" is no number of seconds from 1 to 86400",
                "8: has 5 fields; at most 4 are known",
                "9: \"1e3\" is no price such as 0.0125",
                "10: \"a\" is no number of seconds from 1 to 86400",
            ]
        );
        assert_eq!(Rates::parse(&"x,y1\n".repeat(1000)).expect_err("a bad file").len(), 100);
    }

    #[test]
    fn a_call_costs_started_increments_and_at_least_the_minimum() {
        let rate = |price: &str, increment_s, minimum_s| Rate {
            price: Amount::parse(price).expect("a price"),
            increment_s,
            minimum_s,
        };
        let cost = |rate: Rate, ms: u64| rate.cost(Duration::from_millis(ms)).to_string();
        assert_eq!(cost(rate("0.6", 1, 0), 10_000), "0.1");
        assert_eq!(cost(rate("0.6", 1, 0), 10_001), "0.11");
        assert_eq!(cost(rate("0.6", 60, 0), 61_000), "1.2");
        assert_eq!(cost(rate("0.6", 6, 30), 1), "0.3");
        assert_eq!(cost(rate("0.6", 6, 30), 31_000), "0.36");
        assert_eq!(cost(rate("0.6", 1, 0), 0), "0");
        assert_eq!(rate("18000000000", 60, 86_400).cost(Duration::MAX), Amount(u64::MAX));
    }

    proptest! {
        #[test]
        fn look_up_equals_a_scan(
            prefixes in proptest::collection::btree_set("[12]{1,7}", 1..60),
            numbers in proptest::collection::vec("[123]{0,18}", 1..30),
        ) {
            let text: String = prefixes.iter().enumerate().map(|(n, p)| format!("{p},{n}\n")).collect();
            let rates = Rates::parse(&text).unwrap();
            for number in numbers {
                let by_scan = prefixes.iter().enumerate().filter(|(_, p)| number.starts_with(*p))
                    .max_by_key(|(_, p)| p.len()).map(|(n, _)| n as u64 * UNIT);
                prop_assert_eq!(rates.find(number.as_bytes()).map(|rate| rate.price.0), by_scan);
            }
        }

        #[test]
        fn an_amount_reads_what_it_writes(amount in any::<u64>()) {
            prop_assert_eq!(Amount::parse(&Amount(amount).to_string()), Some(Amount(amount)));
        }

        #[test]
        fn any_text_gets_an_answer(text in "[0-9,.#\\n a+*-]{0,200}") {
            let _ = Rates::parse(&text);
        }
    }
}
