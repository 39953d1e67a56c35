//! Everything that has a name on the command line and in files.

mod cells;
mod device;

pub use cells::Cells;
pub use device::{DeviceName, Runtime};

use burn::tensor::FloatDType;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An enumeration whose variants have a name on the command line and in files, and a title in tables and pictures.
macro_rules! names {
    ($(#[$doc:meta])* $enum:ident { $($(#[$of:meta])* $variant:ident = $name:literal, $title:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
        pub enum $enum {
            $($(#[$of])* #[value(name = $name)] #[serde(rename = $name)] $variant,)*
        }

        impl $enum {
            /// As on the command line and in files.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// As in tables and pictures.
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$variant => $title,)*
                }
            }
        }
    };
}

pub(crate) use names;

names! {
    /// The cell under test.
    CellName {
        /// The LSTM
        Lstm = "lstm", "LSTM";
        /// The plain recurrent cell
        Rnn = "rnn", "RNN";
        /// The GRU of PyTorch, with the reset gate after the recurrent product
        Gru = "gru", "GRU";
        /// The GRU with the reset gate before the recurrent product
        GruResetFirst = "gru-reset-first", "GRU, reset first";
        /// The LSTM with exponential gates, of xLSTM
        Slstm = "slstm", "sLSTM";
        /// The LSTM with peepholes
        PeepholeLstm = "peephole-lstm", "peephole LSTM";
        /// The LSTM with input and forget gate coupled
        CoupledLstm = "coupled-lstm", "coupled LSTM";
        /// The LSTM whose input gate is always open
        LstmWithoutInputGate = "lstm-without-input-gate", "LSTM without input gate";
        /// The LSTM whose forget gate is always open
        LstmWithoutForgetGate = "lstm-without-forget-gate", "LSTM without forget gate";
        /// The LSTM whose output gate is always open
        LstmWithoutOutputGate = "lstm-without-output-gate", "LSTM without output gate";
        /// The LSTM with a hidden state projected to half its size
        Lstmp = "lstmp", "LSTM with projection";
        /// The LSTM with layer normalisation
        LayerNormLstm = "layer-norm-lstm", "layer-norm LSTM";
        /// The LSTM with zoneout, in training
        ZoneoutLstm = "zoneout-lstm", "zoneout LSTM";
        /// The LSTM with recurrent dropout, in training
        RecurrentDropoutLstm = "recurrent-dropout-lstm", "recurrent-dropout LSTM";
    }
}

names! {
    /// The optimizer.
    Optimizer {
        /// Plain gradient descent, without momentum
        Sgd = "sgd", "SGD";
        /// Adam
        Adam = "adam", "Adam";
        /// Adam with decoupled weight decay
        Adamw = "adamw", "AdamW";
        /// RMSprop
        Rmsprop = "rmsprop", "RMSprop";
    }
}

impl Optimizer {
    /// The learning rate for a task that was set up with another optimizer: Adam and RMSprop make steps of
    /// about the learning rate itself, however small the gradient is.
    pub fn usual_lr(self) -> f64 {
        match self {
            Self::Sgd => 0.1,
            Self::Adam | Self::Adamw | Self::Rmsprop => 3e-3,
        }
    }
}

names! {
    /// How the learning rate changes over the updates.
    Schedule {
        /// It stays as it is
        Constant = "constant", "constant";
        /// It falls to 0 along a straight line
        Linear = "linear", "linear";
        /// It falls to 0 along half a cosine
        Cosine = "cosine", "cosine";
    }
}

names! {
    /// How weights start.
    Init {
        /// Input weights Glorot, recurrent weights orthogonal (already a helped RNN)
        Orthogonal = "orthogonal", "Glorot input and orthogonal recurrent weights";
        /// All weights Glorot
        Glorot = "glorot", "Glorot weights";
        /// All weights normal with standard deviation 0.1 (the textbook's RNN)
        Gaussian = "gaussian", "weights N(0, 0.1²)";
    }
}

names! {
    /// The type that layers compute in.
    Dtype {
        /// Float32
        F32 = "f32", "float32";
        /// Float64, weights and losses too
        F64 = "f64", "float64";
        /// Float16; weights and losses are float32
        F16 = "f16", "float16";
        /// Bfloat16; weights and losses are float32
        Bf16 = "bf16", "bfloat16";
    }
}

impl Dtype {
    /// As Burn has it.
    pub fn float(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::F64 => FloatDType::F64,
            Self::F16 => FloatDType::F16,
            Self::Bf16 => FloatDType::BF16,
        }
    }
}

/// How an LSTM's forget gate starts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ForgetBiasText", into = "ForgetBiasText")]
pub enum ForgetBias {
    /// All forget biases at this value.
    Value(f64),
    /// Chrono initialisation over the length of the sequence.
    Chrono,
}

/// As written in files.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum ForgetBiasText {
    Value(f64),
    Name(String),
}

impl From<ForgetBias> for ForgetBiasText {
    fn from(bias: ForgetBias) -> Self {
        match bias {
            ForgetBias::Value(value) => Self::Value(value),
            ForgetBias::Chrono => Self::Name("chrono".to_string()),
        }
    }
}

impl TryFrom<ForgetBiasText> for ForgetBias {
    type Error = String;

    fn try_from(text: ForgetBiasText) -> Result<Self, String> {
        match text {
            ForgetBiasText::Value(value) => Ok(Self::Value(value)),
            ForgetBiasText::Name(name) => name.parse(),
        }
    }
}

impl FromStr for ForgetBias {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "chrono" => Ok(ForgetBias::Chrono),
            Ok(value) => Ok(ForgetBias::Value(value)),
            Err(_) => Err(format!("expected a number or chrono, got {text}")),
        }
    }
}

/// In words, after "forget bias" or alone.
impl fmt::Display for ForgetBias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForgetBias::Value(value) => write!(f, "forget bias {value}"),
            ForgetBias::Chrono => write!(f, "chrono"),
        }
    }
}
