//! Predict the next symbol of strings from the embedded Reber grammar: the control with a short gap.
//!
//! Rule: a Reber string is B, then a walk from node 1 to node 6 of this graph with the two edges out of
//! a node equally likely, then E:
//!
//! | node | symbol and next node |
//! | --- | --- |
//! | 1 | T 2, P 3 |
//! | 2 | S 2, X 4 |
//! | 3 | T 3, V 5 |
//! | 4 | X 3, S 6 |
//! | 5 | P 4, V 6 |
//!
//! An embedded one is B, then T or P, a whole Reber string, the same T or P again, and E. The network
//! reads it symbol by symbol, one-hot over seven, and after each is asked which symbols may come next:
//! one or two. Only the second last symbol needs a long memory: it is asked for 5 steps or more after
//! the T or P was read. There is no gap to choose. Strings have 9 symbols or more; those of more than 30
//! (1 in 800) are drawn again. The last E is only predicted, never read; steps from there on are zeros
//! and not scored.
//!
//! Trained on the cross-entropy with the true distribution, whose mean over the strings drawn is that
//! with the next symbol itself. Even perfect answers keep the entropy of the choices, 0.42 nats a step.
//!
//! Baselines: every symbol equally likely: cross-entropy ln 7, no string right; who knows the grammar, but
//! forgets the second symbol and guesses, gets half of the strings right.
//! Solved: all of 1,000 held-out strings right: at every step the symbols that may come next have the
//! largest outputs. There are few short strings, so most held-out ones come in training too, as in the
//! source: it is the rule that is tested.
//!
//! Source: task 1 of Hochreiter & Schmidhuber 1997, *Long short-term memory*, after Cleeremans,
//! Servan-Schreiber & McClelland 1989; the success rule is theirs, for 256 strings. They train on a fixed
//! set of 256 strings, here every batch is fresh.

use super::rule::{Baseline, Defaults, Entry, Goal, HS97, Published, Score, Task};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use std::sync::Arc;

/// The task of this file.
pub const TASKS: &[Entry] = &[Entry {
    name: "embedded-reber",
    help: "Predict the next symbol of an embedded Reber grammar (no GAP)",
    with_gap: |_| Arc::new(EmbeddedReber),
    longest_gap: None,
    defaults: Defaults {
        hidden: 32,
        batch: 20,
        lr: 1e-2,
        ..Defaults::ADAM
    },
    published: &[Published {
        network: "LSTM",
        result: "97 to 100 % of the runs solved, after 8,000 to 40,000 sequences",
        source: HS97,
    }],
}];

/// The symbols.
const SYMBOLS: usize = 7;
const B: usize = 0;
const T: usize = 1;
const P: usize = 2;
const S: usize = 3;
const X: usize = 4;
const V: usize = 5;
const E: usize = 6;

/// The longest string.
const LONGEST: usize = 30;

/// The edges out of each node of the Reber grammar, as symbol and next node; the last node has none.
const GRAMMAR: [&[(usize, usize)]; 8] = [
    &[(B, 1)],
    &[(T, 2), (P, 3)],
    &[(S, 2), (X, 4)],
    &[(T, 3), (V, 5)],
    &[(X, 3), (S, 6)],
    &[(P, 4), (V, 6)],
    &[(E, 7)],
    &[],
];

/// Predict the next symbol of an embedded Reber string.
#[derive(Clone, Copy)]
struct EmbeddedReber;

/// A string: its symbols, each with those that may stand in its place.
type Symbols = Vec<(usize, Vec<usize>)>;

/// Draws an embedded Reber string of any length.
fn draw_string(rng: &mut ChaCha8Rng) -> Symbols {
    let outer = [T, P][rng.random_range(0..2)];
    let mut string = vec![(B, vec![B]), (outer, vec![T, P])];
    let mut edges = GRAMMAR[0];
    while !edges.is_empty() {
        let (symbol, node) = edges[rng.random_range(0..edges.len())];
        string.push((symbol, edges.iter().map(|(symbol, _)| *symbol).collect()));
        edges = GRAMMAR[node];
    }
    string.extend([(outer, vec![outer]), (E, vec![E])]);
    string
}

/// The mean over all strings of a cross-entropy: ln 2 for so many steps of each, given how many of its
/// steps have a choice of two symbols, and 0 for the others.
fn mean_over_strings(doubtful: impl Fn(f64) -> f64) -> f64 {
    let (mut sum, mut total) = (0.0, 0.0);
    let mut at = [0.0; GRAMMAR.len()];
    at[1] = 1.0;
    // A walk of so many edges from node 1 to node 6 makes a string of 6 symbols more, with a choice at
    // each edge and at the second symbol.
    for edges in 1..=LONGEST - 6 {
        let mut next = [0.0; GRAMMAR.len()];
        for (from, share) in at.iter().enumerate() {
            for (_, to) in GRAMMAR[from] {
                next[*to] += share / GRAMMAR[from].len() as f64;
            }
        }
        let ended = std::mem::take(&mut next[6]);
        let (choices, steps) = ((edges + 1) as f64, (edges + 5) as f64);
        sum += ended * std::f64::consts::LN_2 * doubtful(choices) / steps;
        total += ended;
        at = next;
    }
    sum / total
}

impl Task for EmbeddedReber {
    fn length(&self) -> usize {
        LONGEST - 1
    }

    fn d_input(&self) -> usize {
        SYMBOLS
    }

    fn goal(&self) -> Goal {
        Goal::Steps(SYMBOLS)
    }

    fn scored_after(&self) -> usize {
        1
    }

    fn sample(&self, rng: &mut ChaCha8Rng, input: &mut [f32], target: &mut [f32]) {
        let mut string = draw_string(rng);
        while string.len() > LONGEST {
            string = draw_string(rng);
        }
        let steps = input.chunks_exact_mut(SYMBOLS);
        let rows = target.chunks_exact_mut(SYMBOLS);
        for ((step, row), pair) in steps.zip(rows).zip(string.windows(2)) {
            step[pair[0].0] = 1.0;
            let next = &pair[1].1;
            for symbol in next {
                row[*symbol] = 1.0 / next.len() as f32;
            }
        }
    }

    fn is_about_the_future(&self) -> bool {
        true
    }

    /// The second symbol.
    fn relevant(&self, _input: &[f32]) -> Vec<usize> {
        vec![1]
    }

    fn chance(&self) -> Score {
        Score::new((SYMBOLS as f64).ln(), 0.0)
    }

    fn better_than_chance(&self) -> Option<Baseline> {
        Some(Baseline::new(
            "second symbol forgotten",
            Score::new(mean_over_strings(|choices| choices + 1.0), 0.5),
        ))
    }

    fn held_out(&self) -> usize {
        1_000
    }

    fn solved(&self, score: Score) -> bool {
        score.accuracy >= 1.0
    }

    fn criterion(&self) -> &'static str {
        "all of 1,000 held-out strings right at every step"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::statistics::{assert_share, draw_all, one_hot};
    use rand::SeedableRng;

    /// The symbols read, and for each those that may come next.
    fn read(input: &[f32], target: &[f32]) -> (Vec<usize>, Vec<Vec<usize>>) {
        let nexts = target.chunks(SYMBOLS).map(|row| {
            let next = row.iter().enumerate().filter(|(_, share)| **share > 0.0);
            next.map(|(symbol, _)| symbol).collect::<Vec<_>>()
        });
        let nexts: Vec<_> = nexts.take_while(|next| !next.is_empty()).collect();
        let symbols = input.chunks(SYMBOLS).take(nexts.len()).map(one_hot);
        (symbols.collect(), nexts)
    }

    /// What may follow in the textbook's Reber grammar, written out anew: by what came so far.
    fn legal(string: &str) -> &'static str {
        let mut node = 0;
        for symbol in string.chars() {
            node = match (node, symbol) {
                (0, 'B') => 1,
                (1, 'T') | (2, 'S') => 2,
                (1, 'P') | (3, 'T') | (4, 'X') => 3,
                (2, 'X') | (5, 'P') => 4,
                (3, 'V') => 5,
                (4, 'S') | (5, 'V') => 6,
                (6, 'E') => 7,
                _ => panic!("{string} is not from the grammar"),
            };
        }
        ["B", "TP", "SX", "TV", "XS", "PV", "E", ""][node]
    }

    fn letters(symbols: &[usize]) -> String {
        let all = ["B", "T", "P", "S", "X", "V", "E"];
        symbols.iter().map(|symbol| all[*symbol]).collect()
    }

    #[test]
    fn strings_follow_the_grammar_and_targets_name_what_may_come() {
        for (input, target) in draw_all(&EmbeddedReber, 5_000) {
            let (symbols, nexts) = read(&input, &target);
            let text = letters(&symbols);
            // Without the last E, which is never read.
            let (outer, inner) = (&text[1..2], &text[2..text.len() - 1]);
            assert_eq!(legal(inner), "");
            assert_eq!(&text[..1], "B");
            assert!(
                text.ends_with(outer) && (8..LONGEST).contains(&text.len()),
                "{text}"
            );
            for (t, next) in nexts.iter().enumerate() {
                let expected = match t {
                    0 => "TP",
                    t if t + 1 == text.len() => "E",
                    t if t + 2 == text.len() => outer,
                    t => legal(&text[2..=t]),
                };
                let mut next: Vec<char> = letters(next).chars().collect();
                let mut expected: Vec<char> = expected.chars().collect();
                next.sort_unstable();
                expected.sort_unstable();
                assert_eq!(next, expected, "after {}", &text[..=t]);
            }
            let end = symbols.len() * SYMBOLS;
            assert!(input[end..].iter().chain(&target[end..]).all(|v| *v == 0.0));
            assert_eq!(EmbeddedReber.relevant(&input), [1]);
        }
    }

    #[test]
    fn choices_are_even_and_long_strings_rare() {
        let draws = draw_all(&EmbeddedReber, 20_000);
        let (mut t, mut first, mut shortest) = (0, 0, 0);
        for (input, target) in &draws {
            let (symbols, _) = read(input, target);
            t += usize::from(symbols[1] == T);
            first += usize::from(symbols[3] == T);
            shortest += usize::from(symbols.len() == 8);
        }
        assert_share("outer T", t, draws.len(), 0.5);
        assert_share("inner T", first, draws.len(), 0.5);
        // B T X S E and B P V V E, each with three even choices, of strings of up to 30.
        assert_share("shortest", shortest, draws.len(), 0.25 / 0.99873);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let longer = (0..100_000).filter(|_| draw_string(&mut rng).len() > LONGEST);
        assert_share("longer", longer.count(), 100_000, 0.00127);
    }

    #[test]
    fn baselines_come_out_as_computed() {
        let draws = draw_all(&EmbeddedReber, 20_000);
        let (mut perfect, mut forgetful) = (0.0, 0.0);
        for (input, target) in &draws {
            let (symbols, nexts) = read(input, target);
            let steps = symbols.len() as f64;
            let entropy: f64 = nexts.iter().map(|next| (next.len() as f64).ln()).sum();
            perfect += entropy / steps;
            forgetful += (entropy + 2f64.ln()) / steps;
        }
        let count = draws.len() as f64;
        let exact = mean_over_strings(|choices| choices);
        assert!((perfect / count - exact).abs() < 2e-3, "{perfect} {exact}");
        assert!((exact - 0.42).abs() < 0.005, "{exact}");
        let baseline = EmbeddedReber.baselines()[1].score;
        assert!(
            (forgetful / count - baseline.loss).abs() < 2e-3,
            "{baseline:?}"
        );
        let score = |accuracy| Score::new(0.43, accuracy);
        assert!(EmbeddedReber.solved(score(1.0)) && !EmbeddedReber.solved(score(0.999)));
    }
}
