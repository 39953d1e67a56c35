//! What a task is made of: its rule, what is scored, its baselines, when it is solved, and how it is listed.

use crate::names::{Optimizer, names};
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Deserializer, Serialize};
use std::sync::Arc;

/// A task as it is listed: what its file tells the rest of the program.
pub struct Entry {
    /// As on the command line and in files.
    pub name: &'static str,
    /// What it asks for, for `--help`.
    pub help: &'static str,
    /// The task whose relevant input lies so many steps before the scored one; without a gap the number
    /// doesn't matter.
    pub with_gap: fn(usize) -> Arc<dyn Task>,
    /// The longest gap that is accepted; `None` for a task without a gap.
    pub longest_gap: Option<usize>,
    /// What a run starts from.
    pub defaults: Defaults,
    /// What others report of it.
    pub published: &'static [Published],
}

/// What a run of a task starts from.
#[derive(Clone, Copy)]
pub struct Defaults {
    /// Steps that the relevant input must be remembered for; 0 where the task has no gap.
    pub gap: usize,
    /// Hidden units.
    pub hidden: usize,
    /// Updates at most.
    pub updates: usize,
    /// Sequences per update.
    pub batch: usize,
    /// The learning rate of the optimizer.
    pub lr: f64,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// How the LSTM's forget gate starts.
    pub forget_bias: f64,
}

impl Defaults {
    /// Plain gradient descent, which the textbook's claim is about.
    pub const SGD: Self = Self {
        gap: 16,
        hidden: 50,
        updates: 6_000,
        batch: 20,
        lr: 0.1,
        optimizer: Optimizer::Sgd,
        forget_bias: 1.0,
    };
    /// Adam, which hides vanishing gradients on most tasks of symbols, but not on the others.
    pub const ADAM: Self = Self {
        gap: 0,
        hidden: 64,
        updates: 4_000,
        batch: 64,
        lr: 3e-3,
        optimizer: Optimizer::Adam,
        forget_bias: 1.0,
    };
}

/// A published result, for the report's table.
pub struct Published {
    /// The network and how it was trained.
    pub network: &'static str,
    /// What came out.
    pub result: &'static str,
    /// Who says so.
    pub source: &'static str,
}

/// Hochreiter & Schmidhuber, the LSTM's paper.
pub const HS97: &str = "Hochreiter & Schmidhuber 1997, Long short-term memory";

/// The textbook's claim.
pub const TEXTBOOK: Published = Published {
    network: "traditional RNN, SGD",
    result: "the probability of success rapidly reaches 0 for sequences of length 10 or 20",
    source: "Goodfellow, Bengio & Courville, Deep Learning, §10.7, on Bengio, Simard & Frasconi 1994",
};

/// What the LSTM's paper says of another network.
pub const RTRL: Published = Published {
    network: "fully recurrent network, RTRL",
    result: "7 of 9 runs solved at lag 4, none at lag 10 (task 2a, §5.2)",
    source: HS97,
};

/// JSON has no word for what is not a number, which the loss of a diverged run is; it is written as null.
pub fn number_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// What the network must say, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// After the last step, one of so many classes; scored by cross-entropy, right if the class is the
    /// target's.
    Class(usize),
    /// After the last step, a number; scored by squared error, right if the absolute error is below
    /// the tolerance that is given.
    Value(f64),
    /// At every scored step, which of so many classes may come: each sequence says which of its steps
    /// are scored. A sequence's loss is the mean cross-entropy over them; it is right if at all of them
    /// every class that may come is ranked above every one that may not.
    Steps(usize),
}

impl Goal {
    /// Outputs of the network.
    pub fn d_output(self) -> usize {
        match self {
            Goal::Class(count) | Goal::Steps(count) => count,
            Goal::Value(_) => 1,
        }
    }

    /// Numbers that a sequence's target is made of: the class' index; the value; or a row for each step
    /// with the probabilities of the classes, all zero where the step isn't scored.
    pub fn d_target(self, length: usize) -> usize {
        match self {
            Goal::Class(_) | Goal::Value(_) => 1,
            Goal::Steps(count) => length * count,
        }
    }
}

names! {
    /// The number by which people judge a task.
    Metric {
        /// Share of sequences answered right.
        Accuracy = "accuracy", "accuracy";
        /// Mean squared error.
        MeanSquaredError = "mse", "mean squared error";
        /// Mean cross-entropy, in nats.
        CrossEntropy = "cross-entropy", "cross-entropy";
    }
}

impl Metric {
    /// A value in words.
    pub fn text(self, value: f64) -> String {
        match self {
            Metric::Accuracy => format!("{:.1} %", 100.0 * value),
            Metric::MeanSquaredError | Metric::CrossEntropy => format!("{value:.4}"),
        }
    }

    /// Its value in a score.
    pub fn of(self, score: Score) -> f64 {
        match self {
            Metric::Accuracy => score.accuracy,
            Metric::MeanSquaredError | Metric::CrossEntropy => score.loss,
        }
    }
}

/// How well a network does on sequences it has not been trained on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Mean cross-entropy in nats, or mean squared error.
    #[serde(deserialize_with = "number_or_null")]
    pub loss: f64,
    /// Share of sequences answered right: the accuracy, or the share within the tolerance.
    pub accuracy: f64,
}

impl Score {
    /// Of a mean loss, and a share of sequences answered right.
    pub fn new(loss: f64, accuracy: f64) -> Self {
        Self { loss, accuracy }
    }

    /// Of guessing among so many classes that are equally likely.
    pub fn guess(classes: usize) -> Self {
        Self::new((classes as f64).ln(), 1.0 / classes as f64)
    }
}

/// What somebody scores who does without some of the input, or with a simpler model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Baseline {
    /// Who, in a few words.
    pub name: &'static str,
    /// The score.
    pub score: Score,
}

impl Baseline {
    /// Who scores what.
    pub fn new(name: &'static str, score: Score) -> Self {
        Self { name, score }
    }
}

/// A long-range task of a fixed length.
pub trait Task: Send + Sync {
    /// Steps of a sequence, `T`; of the longest one, where lengths differ.
    fn length(&self) -> usize;

    /// Features of a step, `I`.
    fn d_input(&self) -> usize;

    /// What the network must say.
    fn goal(&self) -> Goal;

    /// Writes one sequence to train on, `[T, I]` row by row, over the zeros in `input`, and its target,
    /// [`Goal::d_target`] numbers, over the zeros in `target`.
    fn sample(&self, rng: &mut ChaCha8Rng, input: &mut [f32], target: &mut [f32]);

    /// Writes held-out sequence number `index` in the same way: one more by the rule, unless the task
    /// is a data set with sequences of its own for this.
    fn held_out_sample(
        &self,
        _index: usize,
        rng: &mut ChaCha8Rng,
        input: &mut [f32],
        target: &mut [f32],
    ) {
        self.sample(rng, input, target);
    }

    /// The steps of a sequence whose input must be remembered over the gap, in order; none where the
    /// rule doesn't single any out. The first, unless a task says otherwise.
    fn relevant(&self, _input: &[f32]) -> Vec<usize> {
        vec![0]
    }

    /// The score of an answer that ignores the input: the best one, or one as plain.
    fn chance(&self) -> Score;

    /// The score of who remembers only a part or uses a simpler model, with a name.
    fn better_than_chance(&self) -> Option<Baseline> {
        None
    }

    /// Chance, and what is better than it.
    fn baselines(&self) -> Vec<Baseline> {
        let chance = Baseline::new("chance", self.chance());
        [chance]
            .into_iter()
            .chain(self.better_than_chance())
            .collect()
    }

    /// The number by which people judge the task.
    fn metric(&self) -> Metric {
        match self.goal() {
            Goal::Class(_) | Goal::Steps(_) => Metric::Accuracy,
            Goal::Value(_) => Metric::MeanSquaredError,
        }
    }

    /// The number of held-out sequences that the success criterion is stated for.
    fn held_out(&self) -> usize {
        2_000
    }

    /// The success criterion.
    fn solved(&self, score: Score) -> bool {
        score.accuracy >= 0.99
    }

    /// The criterion in words.
    fn criterion(&self) -> &'static str {
        "at least 99 % of 2,000 held-out sequences right"
    }

    /// Whether later steps give an answer away, so that a network must not read them first.
    fn is_about_the_future(&self) -> bool {
        false
    }

    /// How many steps that are scored come after the one whose answer needs the memory.
    fn scored_after(&self) -> usize {
        0
    }

    /// Whether training ends once the task is solved. It must not where the held-out sequences are
    /// a small fixed set: to wait for a lucky evaluation would flatter the result.
    fn stops_when_solved(&self) -> bool {
        true
    }
}
