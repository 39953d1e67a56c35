//! Repeat ten symbols after many blanks.
//!
//! Rule: ten symbols drawn uniformly from eight, then `T − 1` blanks, a marker, and ten blanks more, during
//! which the ten symbols must be repeated in order; before that the answer is blank. `T + 20` steps,
//! one-hot over ten symbols (eight, blank, marker), all scored; the answer is one of nine. `--gap` is
//! `T`: every symbol is asked for `T + 10` steps after it was read.
//!
//! Baseline: who knows the rule but not the symbols says blank at `T + 10` steps and guesses at ten:
//! cross-entropy 10 ln 8 / (T + 20) per step, and one sequence in 8^10 right as a whole.
//! Solved: cross-entropy below 10 % of the baseline *and* all of the steps right in at least 99 % of
//! 1,000 held-out sequences.
//!
//! Source: Arjovsky, Shah & Bengio 2016, *Unitary evolution recurrent neural networks*, after task 2 of
//! Hochreiter & Schmidhuber 1997. It shows the LSTM's limits: theirs did not beat the baseline at long
//! `T`; with chrono initialisation Tallec & Ollivier 2018, *Can recurrent neural networks warp time?*, do.

use super::rule::{Defaults, Entry, Goal, Metric, Published, Score, Task};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use std::sync::Arc;

/// The task of this file.
pub const TASKS: &[Entry] = &[Entry {
    name: "copy",
    help: "Repeat ten symbols GAP blanks later",
    with_gap: |gap| Arc::new(CopySymbols { gap }),
    longest_gap: Some(10_000),
    defaults: Defaults {
        gap: 10,
        hidden: 128,
        updates: 12_000,
        batch: 32,
        lr: 5e-3,
        forget_bias: 3.0,
        ..Defaults::ADAM
    },
    published: &[
        Published {
            network: "LSTM",
            result: "does not beat the baseline at long T",
            source: "Arjovsky, Shah & Bengio 2016, Unitary evolution recurrent neural networks",
        },
        Published {
            network: "LSTM with chrono initialisation",
            result: "beats the baseline at T = 500 and 2000",
            source: "Tallec & Ollivier 2018, Can recurrent neural networks warp time?",
        },
    ],
}];

/// Symbols to be repeated, in all.
const MARKS: usize = 8;
/// The blank, in the input and in the answer.
const BLANK: usize = MARKS;
/// The marker that asks for the answer.
const MARKER: usize = MARKS + 1;
/// Symbols of the input.
const SYMBOLS: usize = MARKS + 2;
/// Symbols of the answer.
const ANSWERS: usize = MARKS + 1;
/// Symbols to be repeated, in one sequence.
const COPIED: usize = 10;

/// Repeat ten symbols, each `gap` + 10 steps after it was read.
#[derive(Clone, Copy)]
struct CopySymbols {
    gap: usize,
}

impl Task for CopySymbols {
    fn length(&self) -> usize {
        self.gap + 2 * COPIED
    }

    fn d_input(&self) -> usize {
        SYMBOLS
    }

    fn goal(&self) -> Goal {
        Goal::Steps(ANSWERS)
    }

    fn sample(&self, rng: &mut ChaCha8Rng, input: &mut [f32], target: &mut [f32]) {
        let marks: [usize; COPIED] = std::array::from_fn(|_| rng.random_range(0..MARKS));
        let answer = self.gap + COPIED;
        let steps = input.chunks_exact_mut(SYMBOLS);
        for (t, (step, row)) in steps.zip(target.chunks_exact_mut(ANSWERS)).enumerate() {
            let symbol = match t {
                t if t < COPIED => marks[t],
                t if t == answer - 1 => MARKER,
                _ => BLANK,
            };
            step[symbol] = 1.0;
            let asked = match t.checked_sub(answer) {
                Some(k) => marks[k],
                None => BLANK,
            };
            row[asked] = 1.0;
        }
    }

    fn relevant(&self, _input: &[f32]) -> Vec<usize> {
        (0..COPIED).collect()
    }

    fn chance(&self) -> Score {
        let guesses = COPIED as f64;
        Score::new(
            guesses * (MARKS as f64).ln() / self.length() as f64,
            (MARKS as f64).powf(-guesses),
        )
    }

    fn metric(&self) -> Metric {
        Metric::CrossEntropy
    }

    fn held_out(&self) -> usize {
        1_000
    }

    fn solved(&self, score: Score) -> bool {
        score.loss < 0.1 * self.chance().loss && score.accuracy >= 0.99
    }

    fn criterion(&self) -> &'static str {
        "cross-entropy below 10 % of chance and 99 % of 1,000 held-out sequences right at every step"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::statistics::{assert_share, draw_all, one_hot};

    #[test]
    fn the_answer_repeats_the_symbols_at_the_end() {
        let task = CopySymbols { gap: 5 };
        assert_eq!(task.length(), 25);
        let draws = draw_all(&task, 5_000);
        let mut counts = [0; MARKS];
        for (input, target) in &draws {
            let input: Vec<usize> = input.chunks(SYMBOLS).map(one_hot).collect();
            let target: Vec<usize> = target.chunks(ANSWERS).map(one_hot).collect();
            assert_eq!(input[10..14], [BLANK; 4]); // T - 1
            assert_eq!(input[14], MARKER);
            assert_eq!(input[15..], [BLANK; 10]);
            assert_eq!(target[..15], [BLANK; 15]);
            assert_eq!(target[15..], input[..10]);
            for mark in &input[..10] {
                counts[*mark] += 1;
            }
        }
        for count in counts {
            assert_share("symbol", count, 10 * draws.len(), 1.0 / 8.0);
        }
    }

    #[test]
    fn a_gap_of_one_has_no_blanks_before_the_marker() {
        let (input, _) = draw_all(&CopySymbols { gap: 1 }, 1).remove(0);
        let input: Vec<usize> = input.chunks(SYMBOLS).map(one_hot).collect();
        assert_eq!((input.len(), input[10], input[11]), (21, MARKER, BLANK));
    }

    #[test]
    fn the_baseline_is_what_who_forgets_the_symbols_scores() {
        let task = CopySymbols { gap: 5 };
        let draws = draw_all(&task, 2_000);
        let (mut loss, mut hits) = (0.0, 0);
        for (_, target) in &draws {
            for (t, row) in target.chunks(ANSWERS).enumerate() {
                // Blank for sure up to the marker, one in eight after it.
                let asked = one_hot(row);
                loss -= match (t < 15, asked) {
                    (true, BLANK) => 0.0,
                    (true, _) | (false, BLANK) => f64::NEG_INFINITY,
                    (false, _) => 0.125f64.ln(),
                };
                hits += usize::from(t >= 15 && asked == 0);
            }
        }
        let mean = loss / (25 * draws.len()) as f64;
        assert!((task.chance().loss - mean).abs() < 1e-9, "{mean}");
        assert!((task.chance().loss - 10.0 * 8f64.ln() / 25.0).abs() < 1e-12);
        assert_share("guesses", hits, 10 * draws.len(), 0.125);
        let score = |share: f64, accuracy| Score::new(share * task.chance().loss, accuracy);
        assert!(task.solved(score(0.09, 0.99)));
        assert!(!task.solved(score(0.11, 0.99)) && !task.solved(score(0.09, 0.98)));
    }
}
