//! The layers of the usual cells, under `burn::nn`'s names, and their configurations.

use super::{
    Bidirectional, BidirectionalConfig, Gru, Recurrent, RecurrentConfig, RecurrentStack,
    RecurrentStackConfig,
};
use crate::cell::{GruCell, GruCellConfig, LstmCell, LstmCellConfig, RnnCell, RnnCellConfig};
use crate::config::config;
use crate::nonlinearity::{AnyActivationConfig, Nonlinearity};
use crate::recompute::Recompute;
use burn::nn::Initializer;
use burn::tensor::Device;

/// An LSTM run over sequences; drop-in for `burn::nn::Lstm`.
pub type Lstm = Recurrent<LstmCell>;
/// An LSTM for each direction; drop-in for `burn::nn::BiLstm`.
pub type BiLstm = Bidirectional<LstmCell>;
/// Stacked LSTM layers: PyTorch's `nn.LSTM` with `num_layers`.
pub type LstmStack = RecurrentStack<LstmCell>;
/// A plain RNN run over sequences; drop-in for `burn::nn::Rnn`.
pub type Rnn = Recurrent<RnnCell>;
/// A plain RNN for each direction; drop-in for `burn::nn::BiRnn`.
pub type BiRnn = Bidirectional<RnnCell>;
/// Stacked plain RNN layers: PyTorch's `nn.RNN` with `num_layers`.
pub type RnnStack = RecurrentStack<RnnCell>;
/// A GRU for each direction; drop-in for `burn::nn::BiGru`.
pub type BiGru = Bidirectional<GruCell>;
/// Stacked GRU layers: PyTorch's `nn.GRU` with `num_layers`.
pub type GruStack = RecurrentStack<GruCell>;

impl From<Lstm> for LstmCell {
    fn from(layer: Lstm) -> Self {
        layer.cell
    }
}

impl From<Rnn> for RnnCell {
    fn from(layer: Rnn) -> Self {
        layer.cell
    }
}

/// A configuration with some fields, and those of all layers of a cell.
macro_rules! layer_config {
    (
        $(#[$about:meta])* $config:ident { $($required:tt)* } { $($fields:tt)* } { $($options:tt)* }
    ) => {
        config! {
            $(#[$about])*
            pub struct $config {
                /// Input features, `I`.
                pub d_input: usize,
                /// Hidden units of each cell, `H`.
                pub d_hidden: usize,
                $($required)*
                /// Whether the cells have biases.
                pub bias: bool,
                ..
                /// Whether sequences are `[B, T, I]` rather than `[T, B, I]`.
                pub batch_first: bool = true,
                /// If given, less is saved for backward, and recomputed there; see [`Recompute`].
                pub recompute: Option<Recompute> = None,
                $($fields)*
                $($options)*
            }
        }
    };
}

/// The configurations of a cell's layer, of its bidirectional layer and of its stack; the options are the cell's.
macro_rules! configs {
    (
        $cell_config:ident;
        $(#[$about:meta])* $config:ident -> $layer:ident;
        $(#[$both_about:meta])* $both_config:ident -> $both:ident;
        $(#[$stack_about:meta])* $stack_config:ident -> $stack:ident;
        $options:tt
    ) => {
        layer_config! { $(#[$about])* $config {} {
            /// Whether the sequence is read from its last step to its first.
            pub reverse: bool = false,
        } $options }
        layer_config! { $(#[$both_about])* $both_config {} {} $options }
        layer_config! { $(#[$stack_about])* $stack_config {
            /// Layers, `L`.
            pub num_layers: usize,
        } {
            /// Whether each layer reads in both directions.
            pub bidirectional: bool = false,
            /// Probability of dropout between two layers, in training.
            pub dropout: f64 = 0.0,
        } $options }

        impl $config {
            /// Makes the layer, with weights drawn on `device`.
            ///
            /// # Panics
            ///
            #[doc = concat!("As [`", stringify!($cell_config), "::init`].")]
            #[allow(clippy::useless_conversion)] // Only a GRU is converted.
            pub fn init(&self, device: &Device) -> $layer {
                let layer = RecurrentConfig {
                    batch_first: self.batch_first,
                    reverse: self.reverse,
                    recompute: self.recompute,
                    ..RecurrentConfig::new(cell!($cell_config, self, $options))
                };
                layer.init(device).into()
            }
        }

        impl $both_config {
            /// Makes the layer, with weights drawn on `device`, the forward direction's first.
            ///
            /// # Panics
            ///
            #[doc = concat!("As [`", stringify!($cell_config), "::init`].")]
            pub fn init(&self, device: &Device) -> $both {
                let layer = BidirectionalConfig {
                    batch_first: self.batch_first,
                    recompute: self.recompute,
                    ..BidirectionalConfig::new(cell!($cell_config, self, $options))
                };
                layer.init(device)
            }
        }

        impl $stack_config {
            /// Makes the stack, with weights drawn on `device`, layer by layer.
            ///
            /// # Panics
            ///
            #[doc = concat!("As [`", stringify!($cell_config), "::init`]; if `num_layers` is 0, or `dropout` is not")]
            /// from 0 to below 1.
            pub fn init(&self, device: &Device) -> $stack {
                let cell = cell!($cell_config, self, $options);
                let stack = RecurrentStackConfig {
                    batch_first: self.batch_first,
                    bidirectional: self.bidirectional,
                    dropout: self.dropout,
                    recompute: self.recompute,
                    ..RecurrentStackConfig::new(cell, self.num_layers)
                };
                stack.init(device)
            }
        }
    };
}

/// The configuration of a layer's cell.
macro_rules! cell {
    (
        $cell_config:ident, $layer:ident,
        { $($(#[$about:meta])* pub $option:ident: $type:ty = $default:expr,)* }
    ) => {
        $cell_config {
            bias: $layer.bias,
            $($option: $layer.$option.clone(),)*
            ..$cell_config::new($layer.d_input, $layer.d_hidden)
        }
    };
}

configs! {
    LstmCellConfig;
    /// Configuration of an [`Lstm`] layer: `burn::nn::LstmConfig`'s options and those of [`LstmCellConfig`].
    ///
    /// ```
    /// # use burn::tensor::{Device, Tensor};
    /// use lstm_core::LstmConfig;
    ///
    /// let device = Device::flex();
    /// let lstm = LstmConfig::new(3, 5, true).init(&device);
    /// let (output, state) = lstm.forward(Tensor::ones([2, 7, 3], &device), None);
    /// assert_eq!(output.dims(), [2, 7, 5]);
    /// assert_eq!(state.cell.dims(), [2, 5]);
    /// ```
    LstmConfig -> Lstm;
    /// Configuration of a [`BiLstm`] layer; the options are [`LstmConfig`]'s.
    ///
    /// ```
    /// # use burn::tensor::{Device, Tensor};
    /// use lstm_core::BiLstmConfig;
    ///
    /// let device = Device::flex();
    /// let lstm = BiLstmConfig::new(3, 5, true).init(&device);
    /// let (output, state) = lstm.forward(Tensor::ones([2, 7, 3], &device), None);
    /// assert_eq!(output.dims(), [2, 7, 10]);
    /// assert_eq!(state.cell.dims(), [2, 2, 5]);
    /// ```
    BiLstmConfig -> BiLstm;
    /// Configuration of an [`LstmStack`]; the options of its layers are [`LstmConfig`]'s. For a learned initial state or
    /// truncation use the config that is generic over the cell, [`RecurrentStackConfig`](super::RecurrentStackConfig), which
    /// makes the same layer.
    ///
    /// ```
    /// # use burn::tensor::{Device, Tensor};
    /// use lstm_core::LstmStackConfig;
    ///
    /// let device = Device::flex();
    /// let stack = LstmStackConfig::new(3, 5, 2, true)
    ///     .with_bidirectional(true)
    ///     .with_dropout(0.1)
    ///     .init(&device);
    /// let input = Tensor::<3>::ones([4, 7, 3], &device);
    /// let (output, state) = stack.forward_with_lengths(input, None, &[7, 4, 1, 6]);
    /// assert_eq!(output.dims(), [4, 7, 10]);
    /// assert_eq!(state.hidden.dims(), [4, 4, 5]);
    /// ```
    LstmStackConfig -> LstmStack;
    {
        /// Initial value of the forget gate's bias, see [`LstmCellConfig`]. (In `burn::nn` it is about 0.)
        pub forget_bias: f64 = 1.0,
        /// Longest time span for chrono initialisation, see [`LstmCellConfig`].
        pub chrono: Option<usize> = None,
        /// Initialiser of the input weights, see [`LstmCellConfig`].
        pub input_initializer: Initializer = Initializer::XavierUniform { gain: 1.0 },
        /// Initialiser of the recurrent weights, see [`LstmCellConfig`].
        pub recurrent_initializer: Initializer = Initializer::Orthogonal { gain: 1.0 },
        /// If given, the cell state is clamped to `[-clip, clip]` after each step.
        pub clip: Option<f64> = None,
        /// If given, gate pre-activations are clamped to `[-clip_sums, clip_sums]`, as by ONNX' `clip`.
        pub clip_sums: Option<f64> = None,
        /// Whether input and forget gate are coupled, `f = 1 - i`.
        pub input_forget: bool = false,
        /// The nonlinearity of the input, forget and output gates.
        pub gate_activation: AnyActivationConfig = Nonlinearity::Sigmoid.into(),
        /// The nonlinearity of the candidate.
        pub cell_activation: AnyActivationConfig = Nonlinearity::Tanh.into(),
        /// The nonlinearity between the cell state and the hidden state.
        pub hidden_activation: AnyActivationConfig = Nonlinearity::Tanh.into(),
    }
}

configs! {
    RnnCellConfig;
    /// Configuration of an [`Rnn`] layer: `burn::nn::RnnConfig`'s options and those of [`RnnCellConfig`].
    ///
    /// ```
    /// # use burn::tensor::{Device, Tensor};
    /// use lstm_core::RnnConfig;
    ///
    /// let device = Device::flex();
    /// let rnn = RnnConfig::new(3, 5, true).init(&device);
    /// let (output, state) = rnn.forward(Tensor::ones([2, 7, 3], &device), None);
    /// assert_eq!(output.dims(), [2, 7, 5]);
    /// assert_eq!(state.hidden.dims(), [2, 5]);
    /// ```
    RnnConfig -> Rnn;
    /// Configuration of a [`BiRnn`] layer; the options are [`RnnConfig`]'s.
    BiRnnConfig -> BiRnn;
    /// Configuration of an [`RnnStack`]; the options of its layers are [`RnnConfig`]'s.
    RnnStackConfig -> RnnStack;
    {
        /// Initialiser of the input weights, see [`RnnCellConfig`].
        pub input_initializer: Initializer = Initializer::XavierNormal { gain: 1.0 },
        /// Initialiser of the recurrent weights, see [`RnnCellConfig`].
        pub recurrent_initializer: Initializer = Initializer::Orthogonal { gain: 1.0 },
        /// If given, the hidden state is clamped to `[-clip, clip]` after each step.
        pub clip: Option<f64> = None,
        /// If given, gate pre-activations are clamped to `[-clip_sums, clip_sums]`, as by ONNX' `clip`.
        pub clip_sums: Option<f64> = None,
        /// The nonlinearity of the step.
        pub hidden_activation: AnyActivationConfig = Nonlinearity::Tanh.into(),
    }
}

configs! {
    GruCellConfig;
    /// Configuration of a [`Gru`] layer: `burn::nn::GruConfig`'s options and those of [`GruCellConfig`].
    ///
    /// ```
    /// # use burn::tensor::{Device, Tensor};
    /// use lstm_core::GruConfig;
    ///
    /// let device = Device::flex();
    /// let gru = GruConfig::new(3, 5, true).init(&device);
    /// let output = gru.forward(Tensor::ones([2, 7, 3], &device), None);
    /// assert_eq!(output.dims(), [2, 7, 5]);
    /// ```
    GruConfig -> Gru;
    /// Configuration of a [`BiGru`] layer; the options are [`GruConfig`]'s.
    BiGruConfig -> BiGru;
    /// Configuration of a [`GruStack`]; the options of its layers are [`GruConfig`]'s.
    GruStackConfig -> GruStack;
    {
        /// Whether the reset gate is applied after the recurrent product, see [`GruCellConfig`].
        pub reset_after: bool = true,
        /// Initialiser of the input weights, applied to each gate's `[I, H]` separately.
        pub input_initializer: Initializer = Initializer::XavierUniform { gain: 1.0 },
        /// Initialiser of the recurrent weights, applied to each gate's `[H, H]` separately.
        pub recurrent_initializer: Initializer = Initializer::Orthogonal { gain: 1.0 },
        /// If given, the hidden state is clamped to `[-clip, clip]` after each step.
        pub clip: Option<f64> = None,
        /// If given, gate pre-activations are clamped to `[-clip_sums, clip_sums]`, as by ONNX' `clip`.
        pub clip_sums: Option<f64> = None,
        /// The nonlinearity of the reset and update gates.
        pub gate_activation: AnyActivationConfig = Nonlinearity::Sigmoid.into(),
        /// The nonlinearity of the candidate.
        pub hidden_activation: AnyActivationConfig = Nonlinearity::Tanh.into(),
    }
}
