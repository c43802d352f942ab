//! A bounded, repeatable run of every fuzz target: seeds, mutated by a generator with a fixed seed.
//!
//! `SANDSCOPE_FUZZ_CASES` sets another number of cases per target. For runs with coverage feedback see `fuzz/`.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use sandscope_agent_protocol::fuzz::{TARGETS, Target};

const CASES: u64 = 20_000;
const MAX_INPUT_BYTES: usize = 4096;

/// What parsers stumble over, inserted now and then.
const TOKENS: [&[u8]; 24] = [
    b"\0",
    b"\xff",
    b"\r\n",
    b"\r\n\r\n",
    b"\r\n--B",
    b"--B--",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"null",
    b"%2",
    b"%00",
    b"..",
    b"~",
    b"/",
    b";q=",
    b"-1",
    b"9223372036854775808",
    b"1e999",
    b"\\ud800",
    b"\xc3\x28",
    b"=",
];

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap()
    }
}

fn mutate(chance: &mut Chance, input: &mut Vec<u8>, seeds: &[&[u8]]) {
    let at = chance.below(input.len() + 1);
    let length = chance.below(16).min(input.len() - at);
    match chance.below(7) {
        0 if at < input.len() => input[at] ^= 1 << chance.below(8),
        1 if at < input.len() => input[at] = chance.next().to_le_bytes()[0],
        2 => drop(input.drain(at..at + length)),
        3 => {
            let piece = input[at..at + length].to_vec();
            let to = chance.below(input.len() + 1);
            input.splice(to..to, piece);
        }
        4 => {
            let other = seeds[chance.below(seeds.len())];
            let tail = &other[chance.below(other.len() + 1)..];
            input.truncate(at);
            input.extend_from_slice(tail);
        }
        _ => {
            let token = TOKENS[chance.below(TOKENS.len())];
            input.splice(at..at, token.iter().copied());
        }
    }
    input.truncate(MAX_INPUT_BYTES);
}

fn drive(name: &str) {
    let target: &Target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let cases = std::env::var("SANDSCOPE_FUZZ_CASES").map_or(CASES, |text| text.parse().unwrap());
    let mut chance = Chance(20_260_724);
    for seed in target.seeds {
        (target.check)(seed);
    }
    let mut input = Vec::new();
    for case in 0..cases {
        if case % 8 == 0 {
            input = target.seeds[chance.below(target.seeds.len())].to_vec();
        }
        for _ in 0..=chance.below(3) {
            mutate(&mut chance, &mut input, target.seeds);
        }
        let tried = input.clone();
        let outcome = std::panic::catch_unwind(|| (target.check)(&tried));
        assert!(outcome.is_ok(), "{name}, case {case}: {:?}", String::from_utf8_lossy(&tried).into_owned());
    }
}

#[test]
fn frames() {
    drive("frames");
}

#[test]
fn process_messages() {
    drive("process_messages");
}

#[test]
fn filesystem_messages() {
    drive("filesystem_messages");
}

#[test]
fn rest_messages() {
    drive("rest_messages");
}

#[test]
fn multipart() {
    drive("multipart");
}

#[test]
fn queries() {
    drive("queries");
}

#[test]
fn resolved_paths() {
    drive("resolved_paths");
}

#[test]
fn content() {
    drive("content");
}

#[test]
fn every_target_is_driven() {
    let source = include_str!("fuzz.rs");
    let manifest = include_str!("../../../fuzz/Cargo.toml");
    for target in TARGETS {
        assert!(source.contains(&format!("drive(\"{}\")", target.name)), "{}", target.name);
        assert!(manifest.contains(&format!("fuzz_targets/{}.rs", target.name)), "{}", target.name);
    }
}
