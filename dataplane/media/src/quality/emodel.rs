//! What a listener would say of a stream: loss and delay to a rating R and a mean opinion score (ITU-T G.107 with its
//! defaults for everything that packets do not tell). An estimate: it hears nothing.

use base::Duration;
use codec::payload::Impairment;

/// What a listener meets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heard {
    /// What the coding costs.
    pub codec: Impairment,
    /// Packets that should have come.
    pub expected: u64,
    /// Those that did not.
    pub lost: u64,
    /// Runs of lost packets.
    pub bursts: u64,
    /// From mouth to ear.
    pub delay: Duration,
}

/// R of a narrowband connection without loss and delay, with the default values of all parameters (G.107 table 3).
const UNIMPAIRED: f64 = 93.2;

impl Heard {
    /// The rating R, 0 to 100: the least of a bad line, 93.2 for the best one that the model knows.
    pub fn rating(&self) -> f64 {
        (UNIMPAIRED - of_delay(self.delay) - self.of_equipment()).clamp(0.0, 100.0)
    }

    /// Effective equipment impairment Ie,eff: coding and loss (G.107 equation 7-29).
    fn of_equipment(&self) -> f64 {
        let (ie, bpl) = (f64::from(self.codec.ie), f64::from(self.codec.bpl));
        let loss = self.lost as f64 / self.expected.max(1) as f64;
        let percent = 100.0 * loss;
        ie + (95.0 - ie) * percent / (percent / self.burst_ratio(loss) + bpl)
    }

    /// How long runs of loss are against those of a line that loses at random (G.107 section 7.5); at least 1.
    fn burst_ratio(&self, loss: f64) -> f64 {
        let length = self.lost as f64 / self.bursts.max(1) as f64;
        (length * (1.0 - loss)).max(1.0)
    }
}

/// Delay impairment Id, as the straight lines that G.107's curve is close to up to 400 ms (Cole and Rosenbluth, "Voice
/// over IP performance monitoring", 2001).
fn of_delay(delay: Duration) -> f64 {
    let ms = delay.as_secs_f64() * 1e3;
    0.024 * ms + 0.11 * (ms - 177.3).max(0.0)
}

/// The mean opinion score of a rating, 1.0 to 4.5 (G.107 annex B).
pub fn mos(rating: f64) -> f64 {
    let r = rating.clamp(0.0, 100.0);
    // The polynomial dips below 1 for the worst ratings.
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::payload::{UNKNOWN, impairment};
    use proptest::prelude::*;

    fn heard(name: &str, (lost, bursts): (u64, u64), delay_ms: u64) -> Heard {
        let codec = impairment(name).unwrap();
        Heard { codec, expected: 1_000, lost, bursts, delay: Duration::from_millis(delay_ms) }
    }

    fn check(heard: &Heard, expected: f64) {
        let rating = heard.rating();
        assert!((rating - expected).abs() < 0.1, "{heard:?}: {rating} instead of {expected}");
    }

    /// The points that G.107 table B.1 and G.109 table 1 print, and the default of G.107 (R 93.2, MOS 4.41).
    #[test]
    fn scores_are_those_that_are_printed() {
        for (rating, printed) in
            [(93.2, 4.41), (90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58)]
        {
            let score = mos(rating);
            assert!((score - printed).abs() < 0.01, "{rating}: {score} instead of {printed}");
        }
        assert_eq!((mos(-5.0), mos(0.0), mos(3.0), mos(100.0), mos(120.0)), (1.0, 1.0, 1.0, 4.5, 4.5));
    }

    #[test]
    fn a_good_line_costs_what_its_codec_costs() {
        check(&heard("pcmu", (0, 0), 0), 93.2);
        check(&heard("g729", (0, 0), 0), 82.2);
        check(&heard("gsm", (0, 0), 0), 73.2);
    }

    /// Worked by hand from equation 7-29: 95 x 1 / (1 + Bpl) and so on.
    #[test]
    fn loss_costs_by_what_the_codec_bears() {
        check(&heard("pcma", (10, 10), 0), 93.2 - 3.64);
        check(&heard("g729", (20, 20), 0), 93.2 - 11.0 - 8.0);
        let unknown = Heard { codec: UNKNOWN, ..heard("pcmu", (10, 10), 0) };
        check(&unknown, 93.2 - 17.92);
    }

    #[test]
    fn loss_in_bursts_costs_more_than_the_same_loss_apart() {
        // 50 of 1,000 in runs of 5: 4.75 times as long as by chance; 95 x 5 / (5 / 4.75 + 25.1).
        check(&heard("pcmu", (50, 10), 0), 93.2 - 18.16);
        check(&heard("pcmu", (50, 50), 0), 93.2 - 15.78);
    }

    #[test]
    fn delay_costs_little_until_people_begin_to_interrupt_each_other() {
        check(&heard("pcmu", (0, 0), 100), 93.2 - 2.4);
        check(&heard("pcmu", (0, 0), 300), 93.2 - 7.2 - 13.5);
        check(&heard("pcmu", (0, 0), 60_000), 0.0);
    }

    proptest! {
        #[test]
        fn a_rating_is_in_its_range_and_more_loss_or_delay_is_no_better(
            ie in 0f32..50.0, bpl in 1f32..40.0, expected in 1u64..100_000, share in 0f64..1.0, bursts in 0u64..1_000, ms in 0u64..5_000,
        ) {
            let lost = (expected as f64 * share) as u64;
            let codec = Impairment { ie, bpl };
            let heard = Heard { codec, expected, lost, bursts: bursts.min(lost), delay: Duration::from_millis(ms) };
            let rating = heard.rating();
            prop_assert!((0.0..=100.0).contains(&rating));
            prop_assert!((1.0..=4.5).contains(&mos(rating)));
            let later = Heard { delay: heard.delay + Duration::from_millis(10), ..heard };
            prop_assert!(later.rating() <= rating);
            let clean = Heard { lost: 0, bursts: 0, ..heard };
            prop_assert!(clean.rating() >= rating);
        }
    }
}
