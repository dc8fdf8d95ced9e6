use super::*;

/// A generator for tests: SplitMix64, whose numbers are well distributed and repeatable.
struct Seeded(u64);

impl rand_core::RngCore for Seeded {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        rand_core::impls::fill_bytes_via_next(self, dest);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl rand_core::CryptoRng for Seeded {}

struct Job(u64, Requirements);

impl Queued for Job {
    fn id(&self) -> Hash {
        Hash::of(&self.0.to_le_bytes())
    }

    fn requirements(&self) -> &Requirements {
        &self.1
    }
}

fn job(number: u64, device: DeviceClass) -> Job {
    let requirements = Requirements {
        device,
        device_memory_bytes: 0,
        environments: Vec::new(),
    };
    Job(number, requirements)
}

fn devices() -> Arc<[Device]> {
    let device = |name: &str, gpu| Device {
        name: name.to_owned(),
        environment: Vec::new(),
        environment_hash: Hash::of(name.as_bytes()),
        backend: name.to_owned(),
        gpu,
        memory_bytes: 1 << 30,
        slots: 1,
        engine: Hash::ZERO,
    };
    [device("cpu", false), device("gpu", true)].into()
}

/// The value of chi-square for one sample of draws.
fn chi_square(seed: u64, stakes: &[u128], draws: u64) -> f64 {
    let rng = SharedRng::new(Seeded(seed));
    let mut counts = vec![0u64; stakes.len()];
    for _ in 0..draws {
        counts[draw(&rng, stakes).unwrap()] += 1;
    }
    let total: u128 = stakes.iter().sum();
    let expected = |stake: u128| draws as f64 * stake as f64 / total as f64;
    counts
        .iter()
        .zip(stakes)
        .map(|(count, stake)| (*count as f64 - expected(*stake)).powi(2) / expected(*stake))
        .sum()
}

#[test]
fn shares_follow_stakes() {
    // 2,000,000 token and more, in 10^-12 token.
    let token = 1_000_000_000_000u128;
    let stakes = [2, 3, 5, 10, 40].map(|millions| millions * 1_000_000 * token);
    // Four degrees of freedom: 13.28 is exceeded by chance once in 100 samples, 18.47 once in 1000.
    let samples: Vec<f64> = (0..40).map(|s| chi_square(s, &stakes, 20_000)).collect();
    let above = samples.iter().filter(|sample| **sample > 13.28).count();
    assert!(above <= 3, "{samples:?}");
    assert!(samples.iter().all(|sample| *sample < 30.0), "{samples:?}");
    // The test can fail: of draws for other stakes it does.
    let other = [3, 2, 5, 10, 40].map(|millions| millions * 1_000_000 * token);
    let rng = SharedRng::new(Seeded(1));
    let mut counts = [0u64; 5];
    for _ in 0..20_000 {
        counts[draw(&rng, &other).unwrap()] += 1;
    }
    let expected = [2.0, 3.0, 5.0, 10.0, 40.0].map(|part| 20_000.0 * part / 60.0);
    let value: f64 = counts
        .iter()
        .zip(expected)
        .map(|(count, expected)| (*count as f64 - expected).powi(2) / expected)
        .sum();
    assert!(value > 100.0, "{value}");
}

#[test]
fn draws_take_any_weights() {
    let rng = SharedRng::new(Seeded(7));
    assert_eq!(draw(&rng, &[]), None);
    for _ in 0..100 {
        assert_eq!(draw(&rng, &[0, 5, 0]), Some(1));
        assert!(draw(&rng, &[u128::MAX, u128::MAX, 1]).unwrap() < 2);
        assert!(draw(&rng, &[0, 0]).unwrap() < 2);
    }
}

#[test]
fn slots_take_runs_by_stake_when_all_wait() {
    let scheduler = Scheduler::new(devices(), SharedRng::new(Seeded(3)));
    let (large, small) = ([1; 32], [2; 32]);
    scheduler.set_stake(large, 9);
    scheduler.set_stake(small, 1);
    for number in 0..2000 {
        scheduler.push(large, job(number, DeviceClass::Any));
        scheduler.push(small, job(10_000 + number, DeviceClass::Any));
    }
    let mut of_large = Vec::new();
    for _ in 0..1000 {
        let Job(number, _) = scheduler.take(0).unwrap();
        if number < 10_000 {
            of_large.push(number);
        }
    }
    // Mean 900, standard deviation 9.5.
    assert!((860..=940).contains(&of_large.len()), "{}", of_large.len());
    assert!(of_large.is_sorted(), "the oldest goes first");
}

#[test]
fn a_device_takes_what_it_can_run_and_nothing_while_it_is_held() {
    let scheduler = Arc::new(Scheduler::new(devices(), SharedRng::new(Seeded(3))));
    let key = [1; 32];
    scheduler.push(key, job(1, DeviceClass::Gpu));
    scheduler.push(key, job(2, DeviceClass::Cpu));
    assert_eq!(scheduler.take(0).unwrap().0, 2);
    assert_eq!(scheduler.take(1).unwrap().0, 1);
    assert_eq!(scheduler.state(), [(None, 1), (None, 1)]);
    scheduler.freed(0);

    assert!(scheduler.pause(Some(0), true) && !scheduler.pause(Some(2), true));
    scheduler.push(key, job(3, DeviceClass::Cpu));
    let waiter = std::thread::spawn({
        let scheduler = scheduler.clone();
        move || scheduler.take(0).map(|job| job.0)
    });
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(!waiter.is_finished() && scheduler.waiting(&key) == 1);
    scheduler.pause(None, false);
    assert_eq!(waiter.join().unwrap(), Some(3));

    scheduler.push(key, job(4, DeviceClass::Gpu));
    assert!(
        scheduler
            .remove(&key, &Hash::of(&4u64.to_le_bytes()))
            .is_some()
    );
    assert_eq!(scheduler.waiting(&key), 0);
    scheduler.close();
    assert!(scheduler.take(1).is_none());
}
