//! The options of a run: each is written once, with its help, its type and its default.

use crate::names::{Cells, DeviceName, Dtype, ForgetBias, Init, Optimizer, Schedule};
use crate::task::TaskName;
use clap::Args;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// The heading in `--help` of options that are seldom needed.
pub const FURTHER: &str = "Further options";

/// Makes of a list of options the [`Overrides`], some of which are given, and the [`Settings`], complete but for
/// the open ones.
macro_rules! options {
    (
        given $given:ident;
        $($(#[doc = $doc:literal])* [$($arg:tt)*] $name:ident: $type:ty = $default:expr;)*
        open;
        $($(#[doc = $open_doc:literal])* [$($open_arg:tt)*] $open:ident: $open_type:ty;)*
    ) => {
        /// Settings that were given, on the command line or in a file.
        #[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
        pub struct Overrides {
            /// Version of the file that the settings are from.
            #[arg(skip)]
            #[serde(skip_serializing_if = "Option::is_none")]
            pub version: Option<u32>,
            $(
                $(#[doc = $doc])*
                #[arg(long, $($arg)*)]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $name: Option<$type>,
            )*
            $(
                $(#[doc = $open_doc])*
                #[arg(long, $($open_arg)*)]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $open: Option<$open_type>,
            )*
            /// In files of earlier versions: how several devices share the work, for which there is one way now.
            #[arg(skip)]
            #[serde(skip_serializing)]
            pub strategy: Option<IgnoredAny>,
        }

        /// The settings of a run, complete.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub struct Settings {
            /// Version of this list, [`VERSION`](super::VERSION).
            pub version: u32,
            $($(#[doc = $doc])* pub $name: $type,)*
            $(
                $(#[doc = $open_doc])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $open: Option<$open_type>,
            )*
        }

        impl Overrides {
            /// These settings where given, the others' elsewhere.
            pub fn or(self, mut other: Self) -> Self {
                // One device and several are one setting.
                if self.device.is_some() || self.devices.is_some() {
                    (other.device, other.devices) = (None, None);
                }
                Self {
                    version: self.version.or(other.version),
                    $($name: self.$name.or(other.$name),)*
                    $($open: self.$open.or(other.$open),)*
                    strategy: None,
                }
            }
        }

        impl Settings {
            /// Fills in the defaults.
            pub(super) fn fill_in($given: Overrides) -> Self {
                $(let $name = $given.$name.clone().unwrap_or_else(|| $default);)*
                Self {
                    version: super::VERSION,
                    $($name,)*
                    $($open: $given.$open,)*
                }
            }
        }
    };
}

options! {
    given given;

    /// The task to learn [default: adding]
    [value_enum] task: TaskName = TaskName::default();

    /// Which cells to train, one after the other: some of lstm, rnn, gru, gru-reset-first, slstm, peephole-lstm,
    /// coupled-lstm, lstm-without-input-gate, lstm-without-forget-gate, lstm-without-output-gate, lstmp,
    /// layer-norm-lstm, zoneout-lstm, recurrent-dropout-lstm, separated by commas, or both, which is lstm,rnn
    /// [default: both; for `train`: lstm]
    [value_name = "CELL,…"] cell: Cells = Cells::both();

    /// Steps that the relevant input must be remembered for, where the task has a gap [default: by task]
    [] gap: usize = task.entry().defaults.gap;

    /// Hidden units [default: by task]
    [] hidden: usize = task.entry().defaults.hidden;

    /// Updates of the weights at most; training stops earlier once the task is solved [default: by task]
    [] updates: usize = task.entry().defaults.updates;

    /// Optimizer [default: by task]
    [value_enum] optimizer: Optimizer = task.entry().defaults.optimizer;

    /// Learning rate [default: by task; with another optimizer than the task's, 0.1 for sgd and 0.003 for the others]
    [] lr: f64 = match task.entry().defaults {
        defaults if defaults.optimizer == optimizer => defaults.lr,
        _ => optimizer.usual_lr(),
    };

    /// Seed of weights and data [default: 1]
    [] seed: u64 = 1;

    /// Where to compute: auto; flex, ndarray, wgpu, vulkan, metal, cuda or rocm, if built in (of several the one with a
    /// number, wgpu:1, as `training devices` counts them); or remote:ADDRESS of what `training serve` serves [default: auto]
    [value_name = "DEVICE"] device: DeviceName = match &given.devices {
        Some(devices) if !devices.is_empty() => devices[0].clone(),
        _ => DeviceName::Auto,
    };

    /// Recurrent layers on top of each other [default: 1]
    [help_heading = FURTHER] layers: usize = 1;

    /// Read each sequence in both directions, side by side
    [help_heading = FURTHER, num_args = 0..=1, default_missing_value = "true", value_name = "true|false"]
    bidirectional: bool = false;

    /// Drop outputs of each layer in training with this probability [default: 0]
    [help_heading = FURTHER, value_name = "PROBABILITY"] dropout: f64 = 0.0;

    /// Give the other cells as many units as bring their number of parameters closest to the LSTM's, the RNN
    /// about twice as many; --hidden is the LSTM's
    [help_heading = FURTHER, num_args = 0..=1, default_missing_value = "true", value_name = "true|false"]
    match_parameters: bool = false;

    /// Updates between two evaluations on the held-out data [default: 100]
    [help_heading = FURTHER, value_name = "UPDATES"] eval_every: usize = 100;

    /// Updates between two checkpoints; each evaluation is followed by one, too [default: as --eval-every]
    [help_heading = FURTHER, value_name = "UPDATES"] checkpoint_every: usize = eval_every;

    /// Sequences per update [default: by task]
    [help_heading = FURTHER] batch: usize = task.entry().defaults.batch;

    /// How the learning rate changes over the updates [default: constant]
    [help_heading = FURTHER, value_enum] schedule: Schedule = Schedule::Constant;

    /// Gradient clipping by global norm: the largest norm, 0 for none [default: 1]
    [help_heading = FURTHER, value_name = "NORM"] clip: f64 = 1.0;

    /// How much of each weight an update takes away, times the learning rate [default: 0.01 for adamw, else 0]
    [help_heading = FURTHER, value_name = "SHARE"] weight_decay: f64 = match optimizer {
        Optimizer::Adamw => 0.01,
        _ => 0.0,
    };

    /// The type that layers compute in, if the device has it [default: f32]
    [help_heading = FURTHER, value_enum] dtype: Dtype = Dtype::F32;

    /// How weights start [default: orthogonal]
    [help_heading = FURTHER, value_enum] init: Init = Init::Orthogonal;

    /// How an LSTM's forget gate starts: its bias, or `chrono` [default: 1, or by task]
    [help_heading = FURTHER, value_name = "BIAS", allow_hyphen_values = true]
    forget_bias: ForgetBias = ForgetBias::Value(task.entry().defaults.forget_bias);

    open;

    /// Truncate backpropagation through time: gradients flow back within windows of STEPS steps, the
    /// last of which ends with the sequence; the state is carried from window to window
    /// [default: the whole sequence]
    [help_heading = FURTHER, value_name = "STEPS"] truncate: usize;

    /// Stop after so many evaluations in a row without a lower loss on the held-out data than before [default: never]
    [help_heading = FURTHER, value_name = "EVALUATIONS"] patience: usize;

    /// Compute on several devices: each gets an equal part of the sequences of every update. The same device
    /// may be named more than once
    [help_heading = FURTHER, value_name = "DEVICE,…", value_delimiter = ',', conflicts_with = "device"]
    devices: Vec<DeviceName>;
}
