//! What a room sounds like, against sums made by hand.

use super::slot::Fade;
use super::*;
use base::Rng;
use proptest::prelude::*;

fn room(talkers: u8) -> Mixer {
    Mixer::new(MixerConfig { frame_ms: 20, talkers, seats_max: 1_000 })
}

fn frame(rate: u32) -> usize {
    rate as usize / 50
}

fn noise(rng: &mut Rng, rate: u32, loud: i16) -> Vec<i16> {
    (0..frame(rate)).map(|_| (rng.u32() as i16) / (i16::MAX / loud).max(1)).collect()
}

fn sine(rate: u32, hz: f64, amplitude: f64, start: usize) -> Vec<i16> {
    let turn = core::f64::consts::TAU * hz / f64::from(rate);
    (start..start + frame(rate)).map(|n| ((n as f64 * turn).sin() * amplitude).round() as i16).collect()
}

fn clip(sum: &[i32]) -> Vec<i16> {
    sum.iter().map(|sum| (*sum).clamp(i16::MIN.into(), i16::MAX.into()) as i16).collect()
}

/// One tick: what each says, then what each hears.
fn tick(mixer: &mut Mixer, says: &[(SeatKey, Vec<i16>)]) {
    mixer.begin();
    for (seat, pcm) in says {
        mixer.put(*seat, pcm, None);
    }
    mixer.mix();
}

fn taken(mixer: &Mixer, seat: SeatKey, rate: u32) -> (Heard, Vec<i16>) {
    let mut out = vec![77; frame(rate)];
    let heard = mixer.take(seat, &mut out);
    (heard, out)
}

#[test]
fn each_hears_exactly_the_sum_of_the_others() {
    for rate in [8_000, 16_000, 48_000] {
        for seats in [1, 2, 3, 5, 200] {
            let mut rng = Rng::from_seed(seats);
            let mut mixer = room(8);
            let keys: Vec<_> = (0..seats).map(|_| mixer.join(SeatConfig::at(rate)).unwrap()).collect();
            for round in 0..4 {
                // Of 200, eight speak.
                let speak = keys.iter().step_by(keys.len().div_ceil(8));
                let says: Vec<_> = speak.map(|key| (*key, noise(&mut rng, rate, 16_000))).collect();
                tick(&mut mixer, &says);
                if round == 0 {
                    continue; // all fade in
                }
                for key in &keys {
                    let mut sum = vec![0; frame(rate)];
                    for (_, pcm) in says.iter().filter(|(who, _)| who != key) {
                        sum.iter_mut().zip(pcm).for_each(|(sum, sample)| *sum += i32::from(*sample));
                    }
                    let (heard, out) = taken(&mixer, *key, rate);
                    assert!(out == clip(&sum), "{rate} Hz, {seats} seats");
                    assert_eq!(heard == Heard::Own, says.iter().any(|(who, _)| who == key));
                }
            }
        }
    }
}

#[test]
fn all_silent_listeners_of_a_rate_hear_the_same() {
    let mut rng = Rng::from_seed(1);
    let mut mixer = room(3);
    let keys: Vec<_> = (0..30)
        .map(|n| (mixer.join(SeatConfig::at([8_000, 16_000][n % 2])).unwrap(), [8_000, 16_000][n % 2]))
        .collect();
    for _ in 0..3 {
        let says: Vec<_> =
            keys[..2].iter().map(|(key, rate)| (*key, noise(&mut rng, *rate, 9_000))).collect();
        tick(&mut mixer, &says);
    }
    for (key, rate) in &keys[2..] {
        let (heard, out) = taken(&mixer, *key, *rate);
        let Heard::Common(group) = heard else { panic!("{heard:?}") };
        assert_eq!((group.rate(), mixer.common(group)), (*rate, &out[..]));
        assert!(pcm::level(&out) < 30);
    }
    assert_eq!(mixer.hears(keys[0].0), Heard::Own);
    let mut mute = SeatConfig::at(8_000);
    (mute.hears, mute.talks) = (false, false);
    let key = mixer.join(mute).unwrap();
    assert_eq!(taken(&mixer, key, 8_000), (Heard::Nothing, vec![0; 160]));
    mixer.leave(key);
    assert_eq!(taken(&mixer, key, 8_000).0, Heard::Nothing);
}

#[test]
fn wide_voices_stay_wide_for_those_who_can_hear_them() {
    let mut mixer = room(3);
    let (a, b) = (mixer.join(SeatConfig::at(48_000)).unwrap(), mixer.join(SeatConfig::at(16_000)).unwrap());
    let c = mixer.join(SeatConfig::at(8_000)).unwrap();
    let mut heard = [(a, 48_000, Vec::new()), (b, 16_000, Vec::new()), (c, 8_000, Vec::new())];
    for n in 0..20 {
        tick(&mut mixer, &[(a, sine(48_000, 6_000.0, 9_000.0, n * 960))]);
        for (key, rate, all) in &mut heard {
            all.extend(taken(&mixer, *key, *rate).1);
        }
    }
    assert_eq!(pcm::level(&heard[0].2), 127, "nobody hears itself");
    assert!(pcm::level(&heard[1].2[3_200..]).abs_diff(14) <= 1);
    assert!(pcm::level(&heard[2].2[1_600..]) > 70, "nothing folds back");
    // The other way round.
    let mut all = Vec::new();
    for n in 0..30 {
        tick(&mut mixer, &[(b, sine(16_000, 6_000.0, 9_000.0, n * 320))]);
        all.extend(taken(&mixer, a, 48_000).1);
    }
    assert!(pcm::level(&all[9_600..]).abs_diff(14) <= 1);
}

#[test]
fn the_loudest_are_heard_and_a_little_louder_is_not_enough() {
    let mut mixer = room(2);
    let keys: Vec<_> = (0..5).map(|_| mixer.join(SeatConfig::at(8_000)).unwrap()).collect();
    let speak = |mixer: &mut Mixer, amplitudes: [f64; 5], ticks: usize| {
        for n in 0..ticks {
            let says = keys.iter().zip(amplitudes).filter(|(_, amplitude)| *amplitude > 0.0);
            let says: Vec<_> =
                says.map(|(key, amplitude)| (*key, sine(8_000, 300.0, amplitude, n * 160))).collect();
            tick(mixer, &says);
        }
        let heard = keys.iter().enumerate().filter(|(_, key)| mixer.hears(**key) == Heard::Own);
        heard.map(|(n, _)| n).collect::<Vec<_>>()
    };
    assert_eq!(speak(&mut mixer, [100.0, 1_000.0, 200.0, 5_000.0, 300.0], 3), [1, 3]);
    assert_eq!(
        speak(&mut mixer, [1_500.0, 1_000.0, 1_200.0, 5_000.0, 300.0], 50),
        [1, 3],
        "less than 6 dB louder"
    );
    assert_eq!(speak(&mut mixer, [4_000.0, 1_000.0, 1_200.0, 5_000.0, 300.0], 2), [0, 3]);
    // A pause of less than 300 ms loses nothing, a longer one does.
    assert_eq!(
        speak(&mut mixer, [0.0, 1_000.0, 0.0, 5_000.0, 0.0], 10),
        [3],
        "silent, but it keeps its place"
    );
    assert_eq!(speak(&mut mixer, [4_000.0, 1_000.0, 0.0, 5_000.0, 0.0], 1), [0, 3]);
    assert_eq!(speak(&mut mixer, [0.0, 1_000.0, 0.0, 5_000.0, 0.0], 50), [1, 3]);
}

#[test]
fn a_level_that_the_peer_tells_chooses_too_and_announcements_come_first() {
    let mut mixer = room(1);
    let a = mixer.join(SeatConfig::at(8_000)).unwrap();
    let b = mixer.join(SeatConfig::at(8_000)).unwrap();
    mixer.begin();
    mixer.put(a, &[5_000; 160], Some(60));
    mixer.put(b, &[100; 160], Some(20));
    mixer.mix();
    assert_eq!((mixer.hears(a), mixer.hears(b)), (Heard::Common(Group(0)), Heard::Own));
    let c = mixer.join(SeatConfig { announces: true, hears: false, ..SeatConfig::at(16_000) }).unwrap();
    for _ in 0..3 {
        tick(&mut mixer, &[(c, vec![10; 320]), (b, vec![9_000; 160])]);
    }
    let (heard, out) = taken(&mixer, b, 8_000);
    assert_eq!(heard, Heard::Common(Group(0)));
    assert!(out[100..].iter().all(|sample| (9..=11).contains(sample)), "{out:?}");
}

#[test]
fn a_whisper_is_heard_by_one_alone() {
    let mut mixer = room(3);
    let customer = mixer.join(SeatConfig::at(8_000)).unwrap();
    let agent = mixer.join(SeatConfig::at(16_000)).unwrap();
    let coach = mixer.join(SeatConfig { coaches: Some(agent), ..SeatConfig::at(48_000) }).unwrap();
    let mut rng = Rng::from_seed(2);
    let mut resampler = Resampler::new(48_000, 16_000);
    for n in 0..10 {
        let whisper = if n == 0 { vec![0; 960] } else { noise(&mut rng, 48_000, 3_000) };
        let mut expected = vec![0; 320];
        resampler.process(&whisper, &mut expected);
        tick(&mut mixer, &[(coach, whisper)]);
        assert_eq!(taken(&mixer, customer, 8_000), (Heard::Common(Group(0)), vec![0; 160]));
        assert_eq!(taken(&mixer, coach, 48_000), (Heard::Common(Group(5)), vec![0; 960]));
        assert_eq!(taken(&mixer, agent, 16_000), (Heard::Own, expected));
    }
    // The coach hears everybody, the agent hears the customer and the coach but not itself.
    let mut says = Vec::new();
    for _ in 0..3 {
        says = vec![(customer, noise(&mut rng, 8_000, 3_000)), (agent, noise(&mut rng, 16_000, 3_000))];
        tick(&mut mixer, &says);
    }
    assert!(pcm::level(&taken(&mixer, coach, 48_000).1) < 30);
    assert!(pcm::level(&taken(&mixer, customer, 8_000).1) < 30);
    // Let go, the coach talks to all; what it whispered before does not leak.
    mixer.configure(coach, SeatConfig::at(48_000)).unwrap();
    says.push((coach, noise(&mut rng, 48_000, 3_000)));
    tick(&mut mixer, &says[2..]);
    assert_eq!(mixer.hears(coach), Heard::Own);
    // A new rate of the agent, and the agent gone.
    mixer.configure(coach, SeatConfig { coaches: Some(agent), ..SeatConfig::at(48_000) }).unwrap();
    mixer.configure(agent, SeatConfig::at(8_000)).unwrap();
    (0..3).for_each(|_| tick(&mut mixer, &says[2..]));
    assert!(pcm::level(&taken(&mixer, agent, 8_000).1) < 40);
    assert_eq!(pcm::level(&taken(&mixer, customer, 8_000).1), 127);
    mixer.leave(agent);
    (0..3).for_each(|_| tick(&mut mixer, &says[2..]));
    assert_eq!(pcm::level(&taken(&mixer, customer, 8_000).1), 127);
}

#[test]
fn two_coaches_follow_the_one_they_coach_to_another_rate() {
    let mut mixer = room(3);
    let agent = mixer.join(SeatConfig::at(16_000)).unwrap();
    let coaching = SeatConfig { coaches: Some(agent), ..SeatConfig::at(8_000) };
    let coaches = [mixer.join(coaching).unwrap(), mixer.join(coaching).unwrap()];
    mixer.configure(agent, SeatConfig::at(8_000)).unwrap();
    for coach in coaches {
        (0..2).for_each(|_| tick(&mut mixer, &[(coach, vec![1_000; 160])]));
        assert_eq!(taken(&mixer, agent, 8_000), (Heard::Own, vec![1_000; 160]));
        (0..2).for_each(|_| tick(&mut mixer, &[]));
    }
}

/// The sharpest bend of a waveform.
fn bend(pcm: &[i16]) -> i32 {
    let bends = pcm.windows(3).map(|w| i32::from(w[0]) - 2 * i32::from(w[1]) + i32::from(w[2]));
    bends.map(i32::abs).max().unwrap_or(0)
}

#[test]
fn no_change_of_who_is_heard_clicks() {
    for rate in [8_000, 16_000, 48_000] {
        let mut mixer = room(1);
        let a = mixer.join(SeatConfig::at(rate)).unwrap();
        let b = mixer.join(SeatConfig::at(rate)).unwrap();
        let ear = mixer.join(SeatConfig { talks: false, ..SeatConfig::at(rate) }).unwrap();
        let mut all = Vec::new();
        let mut changes = Vec::new();
        for n in 0..120 {
            let seat = |hz: f64, loud: f64| sine(rate, hz, loud, n * frame(rate));
            let mut says = Vec::new();
            if n < 10 || (30..80).contains(&n) {
                // Begins in full swing, stops in full swing.
                says.push((a, seat(250.0, 8_000.0)));
            }
            if (40..100).contains(&n) {
                says.push((b, seat(330.0, if n < 50 { 3_000.0 } else { 20_000.0 })));
            }
            match n {
                60 => mixer.configure(b, SeatConfig { gain_centibel: -600, ..SeatConfig::at(rate) }).unwrap(),
                65 => mixer.configure(b, SeatConfig { talks: false, ..SeatConfig::at(rate) }).unwrap(),
                70 => mixer.configure(b, SeatConfig::at(rate)).unwrap(),
                90 => mixer.leave(b),
                _ => {}
            }
            tick(&mut mixer, &says);
            changes.push(mixer.poll_talking());
            all.extend(taken(&mixer, ear, rate).1);
        }
        // A sine of 330 Hz and the corners of the ramps over 5 ms: a step would be twice 20,000.
        let turn = core::f64::consts::TAU * 330.0 / f64::from(rate);
        let bound = 20_000.0 * turn * turn + 2.5 * 20_000.0 / (f64::from(rate) * 0.005) + 20_000.0 * turn;
        assert!(f64::from(bend(&all)) < bound, "{rate}: {} of {bound}", bend(&all));
        assert!(pcm::level(&all[frame(rate) * 55..frame(rate) * 60]) < 10, "b is heard");
        assert!(changes.contains(&Some((b, true))) && changes.contains(&Some((b, false))));
    }
}

#[test]
fn who_talks_is_told_once_and_pauses_are_not() {
    let mut mixer = room(3);
    let a = mixer.join(SeatConfig::at(8_000)).unwrap();
    let b = mixer.join(SeatConfig::at(8_000)).unwrap();
    let mut told = Vec::new();
    for n in 0..100 {
        let mut says = vec![(b, sine(8_000, 300.0, 30.0, 0))];
        if n < 60 && n % 10 < 6 {
            says.push((a, sine(8_000, 300.0, 9_000.0, 0)));
        }
        tick(&mut mixer, &says);
        while let Some(change) = mixer.poll_talking() {
            told.push((n, change));
        }
    }
    // Speaks for the last time in tick 55; 300 ms later it is over. What b sends is noise.
    assert_eq!(told, [(0, (a, true)), (70, (a, false))]);
    tick(&mut mixer, &[(a, vec![9_000; 160])]);
    assert_eq!(mixer.poll_talking(), Some((a, true)));
    mixer.leave(a);
    assert_eq!((mixer.poll_talking(), mixer.poll_talking()), (Some((a, false)), None));
}

#[test]
fn chimes_sound_for_everybody_and_end() {
    let mut mixer = room(3);
    let keys: Vec<_> = RATES.map(|rate| (mixer.join(SeatConfig::at(rate)).unwrap(), rate)).into();
    mixer.chime(Chime::Joined);
    mixer.chime(Chime::Left);
    for n in 0..25 {
        tick(&mut mixer, &[]);
        for (key, rate) in &keys {
            let level = pcm::level(&taken(&mixer, *key, *rate).1);
            assert!(if n < 20 { (20..35).contains(&level) } else { level == 127 }, "{n}: {level}");
        }
    }
    (0..10).for_each(|_| mixer.chime(Chime::Left));
    assert_eq!(mixer.seats(), keys.len());
}

#[test]
fn a_full_room_and_unknown_rates_are_refused() {
    let mut mixer = Mixer::new(MixerConfig { frame_ms: 10, talkers: 0, seats_max: 1 });
    assert_eq!(mixer.join(SeatConfig::at(44_100)), Err(Refused::Rate));
    let a = mixer.join(SeatConfig::at(8_000)).unwrap();
    assert_eq!(mixer.join(SeatConfig::at(8_000)), Err(Refused::Full));
    assert_eq!(mixer.configure(a, SeatConfig::at(1)), Err(Refused::Rate));
    mixer.leave(a);
    mixer.leave(a);
    mixer.put(a, &[1; 80], None);
    assert!(mixer.join(SeatConfig::at(8_000)).is_ok());
}

/// What a seat is to the model.
struct Member {
    key: SeatKey,
    config: SeatConfig,
    fade: Fade,
    /// What it says at each rate.
    to: Vec<Resampler>,
    /// Must not be heard any more: its last sample fades in the next tick.
    cut: Option<(Fade, Vec<Resampler>, u32)>,
}

fn to_all(rate: u32) -> Vec<Resampler> {
    RATES.map(|to| Resampler::new(rate, to)).into()
}

/// Says a tick's speech at all rates.
fn say(fade: &mut Fade, to: &mut [Resampler], rate: u32, pcm: Option<(&[i16], Gain)>) -> Vec<Vec<i16>> {
    let mut work = vec![0; frame(rate)];
    if !fade.speak(pcm, rate, &mut work) {
        return RATES.map(|to| vec![0; frame(to)]).into();
    }
    let mut parts: Vec<_> = RATES.map(|to| vec![0; frame(to)]).into();
    for (resampler, part) in to.iter_mut().zip(&mut parts) {
        resampler.process(&work, part);
    }
    parts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever is joined, left, muted, made louder or coached: each hears the others.
    #[test]
    fn a_room_is_the_sum_of_its_parts(
        story in proptest::collection::vec((0u8..8, 0usize..8, 0usize..8, 0usize..3, any::<u8>()), 1..60),
        seed in any::<u64>(),
    ) {
        const THREE: [u32; 3] = [8_000, 16_000, 48_000];
        let mut rng = Rng::from_seed(seed);
        let mut mixer = room(8);
        let mut members: Vec<Member> = Vec::new();
        // All rates are listened to from the start, so that the model need not know when they are.
        for rate in THREE {
            mixer.join(SeatConfig { talks: false, ..SeatConfig::at(rate) }).unwrap();
        }
        // Those who were there: they fade for one tick.
        let mut gone: Vec<(Fade, Vec<Resampler>, u32)> = Vec::new();
        for (what, who, whom, rate, mask) in story {
            let place = if members.is_empty() { 0 } else { who % members.len() };
            if members.is_empty() || (what == 0 && members.len() < 7) {
                let config = SeatConfig::at(THREE[rate]);
                let key = mixer.join(config).unwrap();
                members.push(Member { key, config, fade: Fade::default(), to: to_all(config.rate), cut: None });
            } else if what == 1 {
                let member = members.remove(place);
                mixer.leave(member.key);
                let whispered = member.config.coaches.is_some();
                let last = (!whispered).then_some((member.fade, member.to, member.config.rate));
                gone.extend(member.cut.or(last));
            } else {
                let whom = members[whom % members.len()].key;
                let member = &mut members[place];
                let slot = mixer.seats.get(member.key.0).and_then(|seat| seat.slot);
                let sat = slot.is_some_and(|slot| !mixer.slots[usize::from(slot)].is_leaving());
                let before = member.config;
                match what {
                    2 => member.config.talks = !before.talks,
                    3 => member.config.hears = !before.hears,
                    4 => member.config.gain_centibel = [-600, 0, 450][rate],
                    5 => member.config.coaches = if before.coaches.is_some() { None } else { Some(whom) },
                    6 => member.config.rate = THREE[rate],
                    _ => {}
                }
                mixer.configure(member.key, member.config).unwrap();
                let (now, then) = (member.config, before);
                let other_way = now.rate != then.rate || now.coaches != then.coaches;
                let silenced = now.rate != then.rate || !now.talks || now.coaches.is_some();
                if silenced && then.coaches.is_none() {
                    let to = core::mem::replace(&mut member.to, to_all(now.rate));
                    let fade = core::mem::take(&mut member.fade);
                    // Who had a place must leave it before it gets another.
                    if sat {
                        member.cut = Some((fade, to, then.rate));
                    }
                }
                if other_way {
                    member.fade = Fade::default();
                    member.to = to_all(now.rate);
                }
                // Whispers to one whose rate changes begin anew.
                if now.rate != then.rate {
                    let key = member.key;
                    for coach in members.iter_mut().filter(|m| m.config.coaches == Some(key) && m.key != key) {
                        coach.fade = Fade::default();
                        coach.to = to_all(coach.config.rate);
                    }
                }
            }
            mixer.begin();
            let mut parts = Vec::new();
            for (n, member) in members.iter_mut().enumerate() {
                let Member { key, config, .. } = *member;
                let pcm = (mask >> n & 1 == 1).then(|| noise(&mut rng, config.rate, 9_000));
                if let Some(pcm) = &pcm {
                    mixer.put(key, pcm, None);
                }
                let speaks = pcm.as_deref().filter(|_| config.talks).map(|pcm| (pcm, Gain::from_centibel(config.gain_centibel)));
                let (coached, part) = match member.cut.take() {
                    // One tick passes before it can be heard again; a whisper needs no place.
                    Some((mut fade, mut to, rate)) if config.coaches.is_none() => {
                        (None, say(&mut fade, &mut to, rate, None))
                    }
                    Some((mut fade, mut to, rate)) => {
                        parts.push((key, None, say(&mut fade, &mut to, rate, None)));
                        (config.coaches, say(&mut member.fade, &mut member.to, config.rate, speaks))
                    }
                    None => (config.coaches, say(&mut member.fade, &mut member.to, config.rate, speaks)),
                };
                parts.push((key, coached, part));
            }
            for (mut fade, mut to, rate) in gone.drain(..) {
                parts.push((SeatKey(Key::default()), None, say(&mut fade, &mut to, rate, None)));
            }
            mixer.mix();
            for member in &members {
                let rate = member.config.rate;
                let (heard, out) = taken(&mixer, member.key, rate);
                if !member.config.hears {
                    prop_assert_eq!((heard, out), (Heard::Nothing, vec![0; frame(rate)]));
                    continue;
                }
                let place = RATES.iter().position(|known| *known == rate).unwrap();
                let mut sum = vec![0; frame(rate)];
                for (who, coached, part) in &parts {
                    if *who != member.key && coached.is_none_or(|to| to == member.key) {
                        sum.iter_mut().zip(&part[place]).for_each(|(sum, sample)| *sum += i32::from(*sample));
                    }
                }
                prop_assert!(out == clip(&sum), "seat {:?}", member.key);
                if let Heard::Common(group) = heard {
                    prop_assert_eq!(mixer.common(group), &out[..]);
                }
            }
        }
    }
}
