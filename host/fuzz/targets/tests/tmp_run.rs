use std::time::{Duration, Instant};
#[test]
fn run() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    let mut state = 88172645463325252u64;
    let mut rnd = move || { state ^= state << 13; state ^= state >> 7; state ^= state << 17; state };
    for name in ["standing", "log_entry", "network_documents", "network_messages"] {
        let target = adit_fuzz_targets::TARGETS.iter().find(|(n, _)| *n == name).unwrap().1;
        let seeds: Vec<Vec<u8>> = std::fs::read_dir(root.join(name)).unwrap().map(|e| std::fs::read(e.unwrap().path()).unwrap()).collect();
        let begun = Instant::now();
        let mut n = 0u64;
        while begun.elapsed() < Duration::from_secs(40) {
            let mut bytes = seeds[rnd() as usize % seeds.len()].clone();
            for _ in 0..rnd() % 6 {
                let len = bytes.len().max(1);
                let at = rnd() as usize % len;
                match rnd() % 4 {
                    0 => if let Some(b) = bytes.get_mut(at) { *b = rnd() as u8 },
                    1 => bytes.insert(at.min(bytes.len()), rnd() as u8 % 16),
                    2 => if at < bytes.len() { bytes.remove(at); },
                    _ => bytes.extend((0..rnd() % 60).map(|_| rnd() as u8 % 14)),
                }
            }
            let copy = bytes.clone();
            if std::panic::catch_unwind(|| target(&copy)).is_err() {
                panic!("{name}: {bytes:?}");
            }
            n += 1;
        }
        println!("{name} {n}");
    }
}
