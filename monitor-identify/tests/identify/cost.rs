//! What an identification costs: `cargo xtask bench identify`.

use std::{collections::BTreeMap, hint::black_box, time::Instant};

use monitor_common::{
    flow::Protocol,
    limits::{FLIGHT_LEN, SAMPLE_LEN},
};
use monitor_identify::{Payload, identify};

use crate::{
    corpus::{Sample, legacy, others},
    noise::Noise,
};

/// Payloads of one class, timed one by one as often as this.
const ROUNDS: usize = 2001;

fn nanoseconds(payload: &Payload<'_>) -> f64 {
    const REPEAT: u32 = 16;
    let start = Instant::now();
    for _ in 0..REPEAT {
        black_box(identify(black_box(payload)));
    }
    start.elapsed().as_nanos() as f64 / f64::from(REPEAT)
}

fn quantile(sorted: &[f64], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

fn report(class: &str, payloads: &[Payload<'_>]) -> f64 {
    let rounds = ROUNDS.div_ceil(payloads.len()).max(51);
    let mut samples: Vec<f64> = Vec::new();
    for _ in 0..rounds {
        samples.extend(payloads.iter().map(nanoseconds));
    }
    samples.sort_by(f64::total_cmp);
    let [median, high, highest] = [0.5, 0.95, 0.99].map(|part| quantile(&samples, part));
    let count = payloads.len();
    println!("| {class:<22} | {count:>8} | {median:>9.0} | {high:>9.0} | {highest:>9.0} |");
    median
}

#[test]
#[ignore = "measures: cargo xtask bench identify"]
fn cost() {
    let mut samples = legacy();
    samples.extend(others());
    let mut noise = Noise::new(3);
    let random: Vec<Vec<u8>> = (0..200)
        .map(|_| {
            let mut bytes = Vec::new();
            noise.fill(&mut bytes);
            bytes
        })
        .collect();
    println!("| class                  | payloads | median ns | 95 % ns   | 99 % ns   |");
    println!("| ---------------------- | -------: | --------: | --------: | --------: |");
    let mut classes: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in &samples {
        classes.entry(&sample.verdict).or_default().push(sample);
    }
    for (class, samples) in &classes {
        let payloads: Vec<Payload<'_>> = samples.iter().map(|sample| captured(sample)).collect();
        report(class, &payloads);
    }
    let random: Vec<Payload<'_>> = random.iter().map(|bytes| Payload::of(bytes)).collect();
    report("random bytes", &random);
    let all: Vec<Payload<'_>> = samples.iter().map(captured).collect();
    report("all samples", &all);
}

/// As it is put together from what the kernel captures: the start of a flow, or of a datagram.
fn captured(sample: &Sample) -> Payload<'_> {
    let payload = sample.payload();
    let limit = if payload.transport == Some(Protocol::Tcp) { FLIGHT_LEN } else { SAMPLE_LEN };
    Payload { bytes: &payload.bytes[..payload.bytes.len().min(limit)], ..payload }
}
