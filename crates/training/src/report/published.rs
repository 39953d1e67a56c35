//! Published results for the report's table, each with its source.

use crate::task::TaskName;

/// A published result.
pub struct Published {
    /// The tasks it is about.
    pub tasks: &'static [TaskName],
    /// The network and how it was trained.
    pub network: &'static str,
    /// What came out.
    pub result: &'static str,
    /// Who says so.
    pub source: &'static str,
}

const HS97: &str = "Hochreiter & Schmidhuber 1997, Long short-term memory";
const PMB13: &str =
    "Pascanu, Mikolov & Bengio 2013, On the difficulty of training recurrent neural networks";
const ASB16: &str = "Arjovsky, Shah & Bengio 2016, Unitary evolution recurrent neural networks";
const TO18: &str = "Tallec & Ollivier 2018, Can recurrent neural networks warp time?";
const DL: &str =
    "Goodfellow, Bengio & Courville, Deep Learning, §10.7, on Bengio, Simard & Frasconi 1994";

/// All of them.
pub const ALL: &[Published] = &[
    Published {
        tasks: &[
            TaskName::FirstSymbol,
            TaskName::TwoSequence,
            TaskName::LongLagNoise,
        ],
        network: "traditional RNN, SGD",
        result: "the probability of success rapidly reaches 0 for sequences of length 10 or 20",
        source: DL,
    },
    Published {
        tasks: &[TaskName::FirstSymbol, TaskName::LongLagNoise],
        network: "fully recurrent network, RTRL",
        result: "7 of 9 runs solved at lag 4, none at lag 10 (task 2a, §5.2)",
        source: HS97,
    },
    Published {
        tasks: &[TaskName::LongLagNoise],
        network: "LSTM",
        result: "task 2b, p = 100: always solved, after 5,680 sequences; RTRL and BPTT: none at p of 10 or more",
        source: HS97,
    },
    Published {
        tasks: &[TaskName::TemporalOrder],
        network: "tanh RNN of 50 units, weights N(0, 0.1), SGD with learning rate 0.01, batches of 20, at most 5 M updates, 5 seeds",
        result: "success rate 1 to T ≈ 35, 0.4 at 45, 0 at 50",
        source: PMB13,
    },
    Published {
        tasks: &[TaskName::TemporalOrder],
        network: "the same with the gradient norm clipped to 1",
        result: "success rate 1 at T = 50, 0 at 100",
        source: PMB13,
    },
    Published {
        tasks: &[TaskName::TemporalOrder],
        network: "the same with clipping and their regulariser",
        result: "success rate 1 to T = 250",
        source: PMB13,
    },
    Published {
        tasks: &[TaskName::TemporalOrder8],
        network: "LSTM",
        result: "task 6b, 8 classes: always solved, after 571,100 sequences",
        source: HS97,
    },
    Published {
        tasks: &[TaskName::Adding],
        network: "LSTM, the task in their own form",
        result: "T = 100, 500, 1000 solved after 74,000, 209,000, 853,000 sequences",
        source: HS97,
    },
    Published {
        tasks: &[TaskName::TwoSequence],
        network: "LSTM",
        result: "task 3a, T = 100, N = 1: solved after 58,000 to 64,000 sequences; T = 1000, N = 3: 447,000 to 452,000",
        source: HS97,
    },
    Published {
        tasks: &[TaskName::EmbeddedReber],
        network: "LSTM",
        result: "97 to 100 % of the runs solved, after 8,000 to 40,000 sequences",
        source: HS97,
    },
    Published {
        tasks: &[TaskName::Copy],
        network: "LSTM",
        result: "does not beat the baseline at long T",
        source: ASB16,
    },
    Published {
        tasks: &[TaskName::Copy],
        network: "LSTM with chrono initialisation",
        result: "beats the baseline at T = 500 and 2000",
        source: TO18,
    },
];
