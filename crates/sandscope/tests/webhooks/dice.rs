//! Choices that a printed seed replays.

/// A small generator of our own.
pub(crate) struct Dice(u64);

impl Dice {
    /// The choices number `n` of those that begin with `seed`.
    pub(crate) fn of(seed: u64, n: u64) -> Self {
        let mut dice = Self(seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // The first draws of neighbouring numbers are neighbours, too.
        for _ in 0..4 {
            dice.below(2);
        }
        dice
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // Knuth's MMIX constants; the high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A number from the environment.
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}
