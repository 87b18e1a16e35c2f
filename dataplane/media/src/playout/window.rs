//! How late the packets of the last seconds were: the window that the delay is chosen from.

use crate::playout::grain::Grains;

/// What came longer ago is forgotten. Longer than handovers are apart, and short enough that a delay which was
/// needed once is gone after ten seconds.
const PASSED_MS: u32 = 7_500;
const LEN: usize = 400;
/// As many packets of the window may be later than [`Window::worst`]: one in 200, and of few one.
const SPARED: usize = 200;
const SPARED_FROM: usize = 25;
const SPARED_MAX: usize = (LEN + SPARED - SPARED_FROM) / SPARED + 1;
/// The figures are made anew after this many packets.
const STALE: u8 = 8;
/// Older ones are kept where there are fewer than this.
const FEW: usize = 10;

#[derive(Clone, Copy)]
struct Arrival {
    /// In milliseconds; wraps.
    at: u32,
    /// In grains.
    lateness: i32,
}

/// Lateness: arrival less what the sender's clock said. Only differences mean anything.
pub struct Window {
    arrivals: Box<[Arrival]>,
    next: usize,
    len: usize,
    stale: u8,
    least: Grains,
    worst: Grains,
}

impl Window {
    pub fn new() -> Self {
        Window {
            arrivals: vec![Arrival { at: 0, lateness: 0 }; LEN].into(),
            next: 0,
            len: 0,
            stale: 0,
            least: Grains::ZERO,
            worst: Grains::ZERO,
        }
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub fn heap_len(&self) -> usize {
        size_of_val(&*self.arrivals)
    }

    pub fn clear(&mut self) {
        self.len = 0;
    }

    pub fn push(&mut self, at: Grains, lateness: Grains) {
        let at = at.samples(1_000) as u32;
        // Hours of lateness are as good as any more.
        let kept = lateness.0.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
        self.arrivals[self.next] = Arrival { at, lateness: kept };
        self.next = (self.next + 1) % LEN;
        self.len = (self.len + 1).min(LEN);
        self.stale += 1;
        // What makes things worse counts at once.
        if self.stale >= STALE || self.len <= FEW || lateness > self.worst || lateness < self.least {
            self.measure(at);
        }
    }

    /// Of the fastest packet.
    pub fn least(&self) -> Grains {
        self.least
    }

    /// Of nearly the slowest packet.
    pub fn worst(&self) -> Grains {
        self.worst
    }

    fn measure(&mut self, now: u32) {
        self.stale = 0;
        self.least = Grains(i64::MAX);
        // The latest, falling.
        let mut latest = [Grains(i64::MIN); SPARED_MAX];
        let mut counted = 0;
        for back in 1..=self.len {
            let arrival = self.arrivals[(self.next + LEN - back) % LEN];
            if now.wrapping_sub(arrival.at) > PASSED_MS && counted >= FEW {
                break;
            }
            counted += 1;
            let lateness = Grains(arrival.lateness.into());
            self.least = self.least.min(lateness);
            if lateness > latest[SPARED_MAX - 1] {
                let place = latest.partition_point(|other| *other >= lateness);
                latest[place..].rotate_right(1);
                latest[place] = lateness;
            }
        }
        self.worst = latest[(counted + SPARED - SPARED_FROM) / SPARED];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(latenesses: impl IntoIterator<Item = i64>) -> Window {
        let mut window = Window::new();
        for (n, ms) in (0..).zip(latenesses) {
            window.push(Grains::from_ms(n * 20), Grains::from_ms(ms));
        }
        window
    }

    #[test]
    fn the_worst_rises_at_once_and_falls_when_the_window_has_passed() {
        let calm = [5; 100];
        assert_eq!(pushed(calm).worst(), Grains::from_ms(5));
        let mut latenesses = calm.to_vec();
        latenesses.extend([200, 180, 160]);
        assert_eq!(pushed(latenesses.clone()).worst(), Grains::from_ms(180));
        latenesses.extend([5; 380]);
        assert_eq!(pushed(latenesses.clone()).worst(), Grains::from_ms(5));
    }

    #[test]
    fn one_straggler_in_many_is_spared_and_few_packets_spare_none() {
        let mut latenesses = vec![5; 200];
        latenesses.push(150);
        assert_eq!(pushed(latenesses).worst(), Grains::from_ms(5));
        assert_eq!(pushed([5, 5, 150]).worst(), Grains::from_ms(150));
    }

    #[test]
    fn what_was_known_before_a_pause_is_kept_until_more_is_known() {
        let mut window = pushed([10; 50]);
        window.push(Grains::from_ms(60_000), Grains::from_ms(4));
        assert_eq!((window.least(), window.worst()), (Grains::from_ms(4), Grains::from_ms(10)));
    }
}
