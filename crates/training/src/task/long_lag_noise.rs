//! Recall the first symbol after many random ones of a large alphabet.
//!
//! Rule: the alphabet has `p + 1` symbols: x, y, and `p − 1` others. A sequence is x or y, then `p − 1`
//! symbols drawn uniformly from the others, and then the first symbol once more, which must be
//! predicted: after step `p`, over the whole alphabet. `p = gap + 1`: so many random symbols as steps of
//! gap, and as many different ones. Steps are one-hot, so the network's sizes depend on the gap, and
//! a trained network can only be evaluated at its own.
//!
//! Baselines: every symbol equally likely: cross-entropy ln(p + 1), accuracy 1 / (p + 1); knowing that
//! it is x or y, which is chance: ln 2, 50 %.
//! Solved: at least 99 % of 1,000 held-out sequences right.
//!
//! Source: task 2b of Hochreiter & Schmidhuber 1997, *Long short-term memory*. They ask for the next
//! symbol at every step, of which only the last can be predicted; here only the last is scored.

use super::rule::{Defaults, Entry, Goal, HS97, Published, RTRL, Score, TEXTBOOK, Task};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use std::sync::Arc;

/// The task of this file.
pub const TASKS: &[Entry] = &[Entry {
    name: "long-lag-noise",
    help: "Recall the first symbol after GAP random ones of an alphabet as large as the sequence is long",
    with_gap: |gap| Arc::new(LongLagNoise { gap }),
    longest_gap: Some(500),
    defaults: Defaults {
        gap: 99,
        updates: 5_000,
        forget_bias: 5.0,
        ..Defaults::SGD
    },
    published: &[
        TEXTBOOK,
        RTRL,
        Published {
            network: "LSTM",
            result: "task 2b, p = 100: always solved, after 5,680 sequences; RTRL and BPTT: none at p of 10 or more",
            source: HS97,
        },
    ],
}];

/// Symbols that count: x, y.
const MARKS: usize = 2;

/// Recall the first symbol after `gap` random ones out of as many.
#[derive(Clone, Copy)]
struct LongLagNoise {
    gap: usize,
}

impl LongLagNoise {
    /// `p + 1`.
    fn symbols(&self) -> usize {
        MARKS + self.gap
    }
}

impl Task for LongLagNoise {
    fn length(&self) -> usize {
        self.gap + 1
    }

    fn d_input(&self) -> usize {
        self.symbols()
    }

    fn goal(&self) -> Goal {
        Goal::Class(self.symbols())
    }

    fn sample(&self, rng: &mut ChaCha8Rng, input: &mut [f32], target: &mut [f32]) {
        let mark = rng.random_range(0..MARKS);
        let mut steps = input.chunks_exact_mut(self.symbols());
        if let Some(first) = steps.next() {
            first[mark] = 1.0;
        }
        for step in steps {
            step[rng.random_range(MARKS..self.symbols())] = 1.0;
        }
        target[0] = mark as f32;
    }

    fn chance(&self) -> Score {
        Score::guess(MARKS)
    }

    fn held_out(&self) -> usize {
        1_000
    }

    fn criterion(&self) -> &'static str {
        "at least 99 % of 1,000 held-out sequences right"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::statistics::{assert_share, draw, one_hot};

    #[test]
    fn sequences_follow_the_rule() {
        let task = LongLagNoise { gap: 9 }; // p = 10
        assert_eq!((task.length(), task.d_input()), (10, 11));
        let draws = draw(&task, 10_000);
        let mut counts = [0; 11];
        for (input, target) in &draws {
            let symbols: Vec<usize> = input.chunks(11).map(one_hot).collect();
            assert_eq!(symbols.len(), 10);
            assert_eq!(symbols[0], *target as usize);
            for symbol in &symbols[1..] {
                counts[*symbol] += 1;
            }
        }
        assert_eq!(counts[..MARKS], [0, 0]);
        for count in &counts[MARKS..] {
            assert_share("symbol", *count, 9 * draws.len(), 1.0 / 9.0);
        }
    }

    #[test]
    fn chance_is_what_constant_answers_score() {
        let task = LongLagNoise { gap: 4 };
        let draws = draw(&task, 20_000);
        let always_x = draws.iter().filter(|(_, target)| *target == 0.0).count();
        assert_share("always x", always_x, draws.len(), task.chance().accuracy);
        assert!((task.chance().loss + 0.5f64.ln()).abs() < 1e-12);
    }
}
