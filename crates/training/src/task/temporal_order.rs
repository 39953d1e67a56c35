//! Tell in which order two symbols came.
//!
//! Rule: sequences of length `T`, one-hot over six symbols. Two class symbols, X or Y each, stand at
//! positions drawn uniformly from `[T/10, 2T/10)` and `[5T/10, 6T/10)`; everything else is one of four
//! distractors. The class, one of the four ordered pairs, is asked for after the last step. For a
//! given gap, `T` is the shortest length at which the second symbol is always at least `gap` steps
//! before the last step (about 2.5 times the gap).
//!
//! Baselines: chance: cross-entropy ln 4, accuracy 25 %; a network that remembers only the second
//! symbol: ln 2, 50 %.
//! Solved: fewer than 1 % of 10,000 held-out sequences wrong.
//!
//! Source: Pascanu, Mikolov & Bengio 2013, *On the difficulty of training recurrent neural networks*,
//! after task 6a of Hochreiter & Schmidhuber 1997, *Long short-term memory*.

use super::{Goal, Score, Task};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use std::ops::Range;

/// Symbols that count: X, Y.
const MARKS: usize = 2;
/// Class symbols and distractors together.
const SYMBOLS: usize = 6;
/// Ordered pairs of class symbols.
const CLASSES: usize = MARKS * MARKS;

/// Tell the order of two symbols.
#[derive(Clone, Copy, Debug)]
pub struct TemporalOrder {
    length: usize,
}

impl TemporalOrder {
    /// The task at a gap of at least 1 between the second symbol and the last step.
    pub fn new(gap: usize) -> Self {
        // From T = 10 on, both ranges hold at least one position.
        let length = (10..)
            .find(|length| {
                let last_mark = Self { length: *length }.second().end - 1;
                length - 1 - last_mark >= gap
            })
            .expect("the gap grows with the length");
        Self { length }
    }

    /// Positions of the first class symbol: whole steps in `[.1T, .2T)`.
    fn first(&self) -> Range<usize> {
        self.length.div_ceil(10)..(2 * self.length).div_ceil(10)
    }

    /// Positions of the second class symbol: whole steps in `[.5T, .6T)`.
    fn second(&self) -> Range<usize> {
        (5 * self.length).div_ceil(10)..(6 * self.length).div_ceil(10)
    }
}

impl Task for TemporalOrder {
    fn length(&self) -> usize {
        self.length
    }

    fn d_input(&self) -> usize {
        SYMBOLS
    }

    fn goal(&self) -> Goal {
        Goal::Class { count: CLASSES }
    }

    fn sample(&self, rng: &mut ChaCha8Rng, input: &mut [f32]) -> f32 {
        let positions = [
            rng.random_range(self.first()),
            rng.random_range(self.second()),
        ];
        let mut class = 0;
        for (t, step) in input.chunks_exact_mut(SYMBOLS).enumerate() {
            let symbol = if positions.contains(&t) {
                let mark = rng.random_range(0..MARKS);
                class = MARKS * class + mark;
                mark
            } else {
                rng.random_range(MARKS..SYMBOLS)
            };
            step[symbol] = 1.0;
        }
        class as f32
    }

    fn chance(&self) -> Score {
        Score {
            loss: (CLASSES as f64).ln(),
            accuracy: 1.0 / CLASSES as f64,
        }
    }

    fn held_out(&self) -> usize {
        10_000
    }

    fn solved(&self, score: Score) -> bool {
        score.accuracy > 0.99
    }

    fn criterion(&self) -> &'static str {
        "fewer than 1 % of 10,000 held-out sequences wrong"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::statistics::{assert_share, draw, one_hot};

    fn marks(input: &[f32]) -> Vec<(usize, usize)> {
        let symbols = input.chunks(SYMBOLS).map(one_hot).enumerate();
        symbols.filter(|(_, symbol)| *symbol < MARKS).collect()
    }

    #[test]
    fn the_gap_is_the_least_distance_and_the_length_the_shortest() {
        for gap in [1, 4, 10, 20, 50, 100] {
            let task = TemporalOrder::new(gap);
            let least = task.length() - task.second().end;
            assert!(least >= gap, "gap {gap}: T = {}", task.length());
            if task.length() > 10 {
                let shorter = TemporalOrder {
                    length: task.length() - 1,
                };
                assert!(shorter.length - shorter.second().end < gap);
            }
        }
    }

    #[test]
    fn marks_stand_in_their_ranges_and_reach_both_ends() {
        let task = TemporalOrder { length: 47 };
        let (mut first, mut second) = (vec![], vec![]);
        for (input, _) in draw(&task, 5_000) {
            let marks = marks(&input);
            assert_eq!(marks.len(), 2);
            first.push(marks[0].0);
            second.push(marks[1].0);
        }
        // [4.7, 9.4) and [23.5, 28.2)
        assert_eq!(
            (first.iter().min(), first.iter().max()),
            (Some(&5), Some(&9))
        );
        assert_eq!(
            (second.iter().min(), second.iter().max()),
            (Some(&24), Some(&28))
        );
        for position in 5..=9 {
            let hits = first.iter().filter(|p| **p == position).count();
            assert_share("position", hits, first.len(), 0.2);
        }
    }

    #[test]
    fn the_class_is_the_ordered_pair_and_balanced() {
        let task = TemporalOrder::new(10);
        let draws = draw(&task, 20_000);
        let mut counts = [0; CLASSES];
        for (input, target) in &draws {
            let marks = marks(input);
            assert_eq!(*target as usize, MARKS * marks[0].1 + marks[1].1);
            counts[*target as usize] += 1;
        }
        for count in counts {
            assert_share("class", count, draws.len(), 0.25);
        }
    }

    #[test]
    fn baselines_come_out_as_computed() {
        let task = TemporalOrder::new(10);
        let draws = draw(&task, 20_000);
        let constant = draws.iter().filter(|(_, target)| *target == 0.0).count();
        assert_share("always XX", constant, draws.len(), task.chance().accuracy);
        // Who knows the second symbol only, and says X for the first, is right half the time.
        let second_only = draws
            .iter()
            .filter(|(input, target)| marks(input)[1].1 == *target as usize)
            .count();
        assert_share("second symbol only", second_only, draws.len(), 0.5);
        assert!(!task.solved(Score {
            loss: 0.0,
            accuracy: 0.99
        }));
        assert!(task.solved(Score {
            loss: 0.0,
            accuracy: 0.9901
        }));
    }
}
