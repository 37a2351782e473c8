//! Every target comes back from every file of its corpus, and from changed copies of them.

#![expect(clippy::unwrap_used, reason = "a test that finds something wrong says so and ends")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use heliograph_fuzz::TARGETS;

/// Changed copies of the files of a target, all together; `HELIOGRAPH_TEST_FUZZ` sets another number.
const CHANGED: usize = 3_000;
/// Longest input.
const BYTES_MAX: usize = 64 << 10;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// SplitMix64 (Steele et al., 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    /// A part of some bytes.
    fn part<'a>(&mut self, of: &'a [u8]) -> &'a [u8] {
        let from = self.below(of.len() + 1);
        &of[from..from + self.below(of.len() - from + 1)]
    }

    /// Some bytes, changed a little or more, with parts of others.
    fn change(&mut self, bytes: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(out.len() + 1);
            match self.below(7) {
                0 if at < out.len() => out[at] ^= 1 << self.below(8),
                1 if at < out.len() => {
                    out[at] = [0, b'\n', b'"', b'\\', 0x7f, 0x80, 0xff, b'('][self.below(8)];
                }
                2 => out.truncate(at),
                3 => drop(out.splice(at..at, self.part(bytes).to_vec())),
                4 => {
                    let other = self.below(others.len());
                    drop(out.splice(at..at, self.part(&others[other]).to_vec()));
                }
                5 => drop(out.splice(at..at, self.next().to_le_bytes())),
                _ => {
                    let end = at + self.below(out.len() - at + 1);
                    drop(out.drain(at..end));
                }
            }
        }
        out.truncate(BYTES_MAX);
        out
    }
}

#[test]
fn every_target_comes_back_from_its_corpus_and_from_changed_copies() {
    #[expect(clippy::disallowed_methods, reason = "as all tests with a seed do")]
    let given = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let clock = || std::time::UNIX_EPOCH.elapsed().unwrap().as_micros().try_into().unwrap();
    let seed = given("HELIOGRAPH_TEST_SEED").unwrap_or_else(clock);
    let changed = given("HELIOGRAPH_TEST_FUZZ").map_or(CHANGED, |number| usize::try_from(number).unwrap());
    eprintln!("fuzz: HELIOGRAPH_TEST_SEED={seed}");
    let run = |(name, target): &(&str, fn(&[u8]))| {
        let mut random = Random(seed ^ name.len() as u64);
        let inputs: Vec<Vec<u8>> =
            files(&corpus().join(name)).iter().map(|file| std::fs::read(file).unwrap()).collect();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        inputs.iter().for_each(|input| target(input));
        for _ in 0..changed {
            let of = random.below(inputs.len());
            let input = random.change(&inputs[of], &inputs);
            let came_back = std::panic::catch_unwind(|| target(&input));
            assert!(came_back.is_ok(), "{name} did not come back from {:?}", String::from_utf8_lossy(&input));
        }
        eprintln!("fuzz: {name}: {} files, {changed} changed copies", inputs.len());
    };
    std::thread::scope(|scope| {
        let (half, other) = TARGETS.split_at(TARGETS.len() / 2);
        scope.spawn(|| half.iter().for_each(run));
        other.iter().for_each(run);
    });
}

#[test]
fn every_folder_of_the_corpus_is_of_a_target() {
    let folders: BTreeSet<_> =
        files(&corpus()).iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(folders, targets);
}
