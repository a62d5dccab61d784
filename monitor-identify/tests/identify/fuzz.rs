//! Mutation without end: identification must say something of everything, and say the same twice.

use std::{
    env,
    time::{Duration, Instant},
};

use monitor_identify::{Payload, identify};

use crate::{
    corpus::{legacy, others},
    noise::Noise,
};

/// Variables by which `cargo xtask fuzz` says how long, and where to begin.
const SECONDS: &str = "GHOSTPORT_FUZZ_SECONDS";
const SEED: &str = "GHOSTPORT_FUZZ_SEED";

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

#[test]
#[ignore = "runs as long as it is told to: cargo xtask fuzz"]
fn fuzz() {
    let lasting = Duration::from_secs(number(SECONDS).unwrap_or(10));
    let seed = number(SEED).unwrap_or(0);
    let mut samples = legacy();
    samples.extend(others());
    let mut noise = Noise::new(seed);
    let (mut bytes, mut longer) = (Vec::new(), Vec::new());
    let (start, mut rounds) = (Instant::now(), 0_u64);
    while start.elapsed() < lasting {
        for _ in 0..10_000 {
            let (sample, other) = (noise.below(samples.len()), noise.below(samples.len()));
            noise.mutate(&samples[sample].bytes, &samples[other].bytes, &mut bytes);
            let payload = noise.payload(&bytes);
            let missing = if noise.below(4) == 0 { noise.below(2000) } else { 0 };
            let payload = Payload { wire_len: bytes.len() + missing, ..payload };
            let found = identify(&payload);
            // What lies behind the payload in memory must not matter.
            longer.clear();
            longer.extend_from_slice(&bytes);
            longer.extend([0xa5; 64]);
            let again = identify(&Payload { bytes: &longer[..bytes.len()], ..payload });
            assert_eq!(found, again, "{payload:02x?}");
            assert!(serde_json::to_string(&found).is_ok());
            rounds += 1;
        }
    }
    println!("fuzz: {rounds} payloads in {:?} from seed {seed}, no failure", start.elapsed());
}
