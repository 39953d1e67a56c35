//! Tell in which order two or three symbols came.
//!
//! Rule: sequences of length `T`, one-hot over six symbols. Class symbols, X or Y each, stand at
//! positions drawn uniformly from fixed parts of the sequence; everything else is one of four
//! distractors. The class is the ordered pair or triple, asked for after the last step.
//!
//! | | classes | parts |
//! | --- | --- | --- |
//! | two symbols | 4 | `[.10T, .20T)`, `[.50T, .60T)` |
//! | three symbols | 8 | `[.10T, .20T)`, `[.33T, .43T)`, `[.66T, .76T)` |
//!
//! For a given gap, `T` is the shortest length at which the last class symbol is always at least `gap`
//! steps before the last step (about 2.5 times the gap for two symbols, 4 times for three).
//!
//! Baselines, cross-entropy and accuracy: chance: ln 4, 25 % (three: ln 8, 12.5 %); a network that
//! remembers only the last symbol: ln 2, 50 % (three: ln 4, 25 %).
//! Solved: fewer than 1 % of 10,000 held-out sequences wrong.
//!
//! Source: Pascanu, Mikolov & Bengio 2013, *On the difficulty of training recurrent neural networks*,
//! after task 6a of Hochreiter & Schmidhuber 1997, *Long short-term memory*. Three symbols: their task
//! 6b, whose positions in sequences of 100 to 110 steps are the parts above; they have two symbols more,
//! which start and end the sequence.

use super::rule::{Baseline, Defaults, Entry, Goal, HS97, Published, Score, Task};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use std::ops::Range;
use std::sync::Arc;

const PMB13: &str =
    "Pascanu, Mikolov & Bengio 2013, On the difficulty of training recurrent neural networks";

/// The tasks of this file.
pub const TASKS: &[Entry] = &[
    Entry {
        name: "temporal-order",
        help: "Tell the order of two symbols, the later of them at least GAP steps before the end",
        with_gap: |gap| Arc::new(TemporalOrder::new(TWO, gap)),
        longest_gap: Some(100_000),
        defaults: Defaults::SGD,
        published: &[
            Published {
                network: "tanh RNN of 50 units, weights N(0, 0.1), SGD with learning rate 0.01, batches of 20, at most 5 M updates, 5 seeds",
                result: "success rate 1 to T ≈ 35, 0.4 at 45, 0 at 50",
                source: PMB13,
            },
            Published {
                network: "the same with the gradient norm clipped to 1",
                result: "success rate 1 at T = 50, 0 at 100",
                source: PMB13,
            },
            Published {
                network: "the same with clipping and their regulariser",
                result: "success rate 1 to T = 250",
                source: PMB13,
            },
        ],
    },
    Entry {
        name: "temporal-order-8",
        help: "Tell the order of three symbols, the last of them at least GAP steps before the end",
        with_gap: |gap| Arc::new(TemporalOrder::new(THREE, gap)),
        longest_gap: Some(100_000),
        defaults: Defaults {
            updates: 10_000,
            ..Defaults::SGD
        },
        published: &[Published {
            network: "LSTM",
            result: "task 6b, 8 classes: always solved, after 571,100 sequences",
            source: HS97,
        }],
    },
];

/// Symbols that count: X, Y.
const MARKS: usize = 2;
/// Class symbols and distractors together.
const SYMBOLS: usize = 6;

/// Where the class symbols stand, in hundredths of the length.
type Parts = &'static [Range<usize>];
const TWO: Parts = &[10..20, 50..60];
const THREE: Parts = &[10..20, 33..43, 66..76];

/// Tell the order of two or three symbols.
#[derive(Clone, Copy)]
struct TemporalOrder {
    parts: Parts,
    length: usize,
}

impl TemporalOrder {
    /// The task with symbols in these parts, at a gap of at least 1 between the last one and the last step.
    fn new(parts: Parts, gap: usize) -> Self {
        // From T = 10 on, all parts hold at least one position.
        let lengths = (10..).map(|length| Self { parts, length });
        lengths
            .into_iter()
            .find(|task| task.least_gap() >= gap)
            .expect("the gap grows with the length")
    }

    /// Positions of class symbol number `k`: whole steps in its part.
    fn positions(&self, k: usize) -> Range<usize> {
        let Range { start, end } = self.parts[k];
        (start * self.length).div_ceil(100)..(end * self.length).div_ceil(100)
    }

    /// Steps from the last position of the last class symbol to the last step.
    fn least_gap(&self) -> usize {
        self.length - self.positions(self.parts.len() - 1).end
    }

    /// Ordered pairs or triples of class symbols.
    fn classes(&self) -> usize {
        MARKS.pow(self.parts.len() as u32)
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
        Goal::Class(self.classes())
    }

    fn sample(&self, rng: &mut ChaCha8Rng, input: &mut [f32], target: &mut [f32]) {
        let parts = 0..self.parts.len();
        let positions: Vec<_> = parts.map(|k| rng.random_range(self.positions(k))).collect();
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
        target[0] = class as f32;
    }

    fn relevant(&self, input: &[f32]) -> Vec<usize> {
        let steps = input.chunks_exact(SYMBOLS).enumerate();
        steps
            .filter(|(_, step)| step[..MARKS].contains(&1.0))
            .map(|(t, _)| t)
            .collect()
    }

    fn chance(&self) -> Score {
        Score::guess(self.classes())
    }

    fn better_than_chance(&self) -> Option<Baseline> {
        let score = Score::guess(self.classes() / MARKS);
        Some(Baseline::new("last symbol only", score))
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
        for parts in [TWO, THREE] {
            for gap in [1, 4, 10, 20, 50, 100] {
                let task = TemporalOrder::new(parts, gap);
                assert!(task.least_gap() >= gap, "gap {gap}: T = {}", task.length());
                if task.length() > 10 {
                    let shorter = TemporalOrder {
                        length: task.length() - 1,
                        ..task
                    };
                    assert!(shorter.least_gap() < gap);
                }
            }
        }
    }

    #[test]
    fn every_part_holds_a_position_and_they_do_not_overlap() {
        for parts in [TWO, THREE] {
            for length in 10..300 {
                let task = TemporalOrder { parts, length };
                let mut end = 0;
                for k in 0..parts.len() {
                    let positions = task.positions(k);
                    assert!(positions.start >= end && !positions.is_empty());
                    end = positions.end;
                }
            }
        }
    }

    #[test]
    fn marks_stand_in_their_parts_and_reach_both_ends() {
        // Of 47 steps: [4.7, 9.4), [23.5, 28.2); and [4.7, 9.4), [15.51, 20.21), [31.02, 35.72).
        for (parts, expected) in [
            (TWO, &[(5, 9), (24, 28)][..]),
            (THREE, &[(5, 9), (16, 20), (32, 35)]),
        ] {
            let task = TemporalOrder { parts, length: 47 };
            let draws = draw(&task, 5_000);
            for (k, (low, high)) in expected.iter().enumerate() {
                let at = draws.iter().map(|(input, _)| {
                    let marks = marks(input);
                    assert_eq!(marks.len(), parts.len());
                    marks[k].0
                });
                let at: Vec<usize> = at.collect();
                assert_eq!((at.iter().min(), at.iter().max()), (Some(low), Some(high)));
                for position in *low..=*high {
                    let hits = at.iter().filter(|p| **p == position).count();
                    assert_share("position", hits, at.len(), 1.0 / (high - low + 1) as f64);
                }
            }
        }
    }

    #[test]
    fn the_class_is_the_order_of_the_relevant_steps_and_balanced() {
        for task in [TemporalOrder::new(TWO, 10), TemporalOrder::new(THREE, 10)] {
            let draws = draw(&task, 20_000);
            let mut counts = vec![0; task.classes()];
            for (input, target) in &draws {
                let marks = marks(input);
                let class = marks.iter().fold(0, |class, (_, mark)| 2 * class + mark);
                assert_eq!(*target as usize, class);
                counts[class] += 1;
                let steps: Vec<_> = marks.iter().map(|(t, _)| *t).collect();
                assert_eq!(task.relevant(input), steps);
            }
            for count in counts {
                assert_share("class", count, draws.len(), 1.0 / task.classes() as f64);
            }
        }
    }

    #[test]
    fn baselines_come_out_as_computed() {
        for task in [TemporalOrder::new(TWO, 10), TemporalOrder::new(THREE, 10)] {
            let draws = draw(&task, 20_000);
            let constant = draws.iter().filter(|(_, target)| *target == 0.0).count();
            assert_share("always X", constant, draws.len(), task.chance().accuracy);
            // Who knows the last symbol only, and says X for those before, is right so often:
            let last_only = draws
                .iter()
                .filter(|(input, target)| marks(input).last().unwrap().1 == *target as usize)
                .count();
            let expected = task.baselines()[1].score.accuracy;
            assert_share("last symbol only", last_only, draws.len(), expected);
            assert!(!task.solved(Score::new(0.0, 0.99)));
            assert!(task.solved(Score::new(0.0, 0.9901)));
        }
    }
}
