#![doc = include_str!("../README.md")]
//!
//! # The mathematics
//!
//! RNN cell: `h_t = tanh(x_t W + h_{t-1} R + b)`.
//!
//! LSTM cell (Hochreiter & Schmidhuber 1997, with the forget gate of Gers, Schmidhuber & Cummins 2000):
//!
//! ```text
//! i = σ(x_t W_i + h_{t-1} R_i + b_i)      f = σ(x_t W_f + h_{t-1} R_f + b_f)
//! g = tanh(x_t W_g + h_{t-1} R_g + b_g)   o = σ(x_t W_o + h_{t-1} R_o + b_o)
//! c_t = f ⊙ c_{t-1} + i ⊙ g               h_t = o ⊙ tanh(c_t)
//! ```
//!
//! # Words
//!
//! | symbol | meaning |
//! | --- | --- |
//! | `B`, `T`, `I`, `H` | batch, time steps, input features (`d_input`), hidden units (`d_hidden`) |
//! | `h`, `c` | hidden state and cell state (the memory) |
//! | `i`, `f`, `g`, `o` | input gate, forget gate, candidate ("cell gate"), output gate |
//! | `W`, `R`, `b` | input weights `[I, 4H]`, recurrent weights `[H, 4H]`, bias `[4H]` |
//!
//! The packed gate order is `i, f, g, o`, that of PyTorch, cuDNN and Keras; see [`Gate`].
//!
//! # Other cells
//!
//! [`Recurrent`] runs any [`Cell`] over sequences, also one of your own: in either direction, with a [`Mask`], with
//! resets inside a sequence, with truncated backpropagation through time, with a learned initial state, or as a
//! stream of single steps. [`RecurrentStack`] stacks layers. The cells beside the two above:
//!
//! | cell | source |
//! | --- | --- |
//! | [`GruCell`] | Cho et al. 2014; the forms of PyTorch and Keras |
//! | [`LstmpCell`], a projected hidden state | Sak et al. 2014; PyTorch's `proj_size` |
//! | [`PeepholeLstmCell`] | Gers & Schmidhuber 2000; ONNX' `P` |
//! | [`LayerNormLstmCell`] | Ba et al. 2016 |
//! | [`SLstmCell`], exponential gates | Beck et al. 2024, xLSTM |
//! | [`LstmCell`] with `input_forget`, coupled gates | Greff et al. 2015 |
//! | [`LstmWithoutGate`], one gate always open | Greff et al. 2015 |
//! | [`Zoneout`] of any cell | Krueger et al. 2017 |
//! | [`RecurrentDropout`] of a cell with a [`RecurrentProduct`] | Gal & Ghahramani 2016; Keras |
//!
//! # Running a layer
//!
//! Layers take sequences `[B, T, I]`, or `[T, B, I]` with `batch_first` off.
//!
//! | to run a layer over | call |
//! | --- | --- |
//! | whole sequences | [`forward`](Recurrent::forward) |
//! | padded rows, by lengths or by a mask | [`forward_with_lengths`](Recurrent::forward_with_lengths), [`forward_with_mask`](Recurrent::forward_with_mask) |
//! | rows that hold several sequences | [`forward_with_resets`](Recurrent::forward_with_resets) |
//! | several of these at once, or in code for any layer | [`RecurrentLayer::forward_with`] |
//! | a stream, a step at a time | [`step`](Recurrent::step) |
//! | a long stream in windows, training on each | [`Windows`] |
//!
//! Each returns the outputs of all steps (`step`: of the one) and the state after the last, which the next call can begin with;
//! [`Gru::forward`] alone returns no state, as `burn::nn`'s. Lengths are PyTorch's packed sequences, and masks Keras'.
//!
//! [`StateRecord`] saves and restores the state of any layer through serde. Layers of any cell have configs as well, to be
//! fields of a model's config: [`RecurrentConfig`], [`BidirectionalConfig`] and [`RecurrentStackConfig`].
//!
//! # Beside `burn::nn`
//!
//! A program for `burn::nn`'s layers compiles as it is once the `use` line is changed, and does the same but for
//!
//! | `burn::nn` | here |
//! | --- | --- |
//! | each gate has weights of its own, and two biases | gates are packed, and the biases are one; parameters have other paths |
//! | input weights are normal, recurrent ones too, biases drawn | input weights of an LSTM and a GRU are uniform, recurrent ones orthogonal, biases 0, and the forget gate's 1 |
//! | `config.initializer` | two fields; `with_initializer` sets both |
//! | an activation's field of a config is an `ActivationConfig` | it is made of one by `.into()`; `with_…_activation` takes one, or a [`Nonlinearity`], as it is |
//! | `Lstm::forward_iter`, `GateController` | [`step`](Recurrent::step), [`LstmCell::gate`] |
//! | a state of one row is repeated for a batch of many | a panic, as for any other shape: `tensor.expand([rows, units])` |
//! | what looks at each tensor by itself looks at one gate: adapters, Muon, LAMB, Adafactor, `GradientClippingConfig::Norm` | it looks at all gates together. A LoRA adapter of four times the rank has the capacity of four; Muon's `MatchRmsAdamW` makes steps of the same size; `clip_global_norm` clips by what all parameters have |
//!
//! # Bad shapes
//!
//! A tensor of the wrong shape is a programming error: the call panics and names operation, expected
//! and got, as in `lstm: hidden state must be [B, H] = [8, 16], got [8, 15]`. `I` and `H` must be
//! at least 1. An empty batch or sequence gives empty outputs and the state unchanged.
//!
//! # Data types
//!
//! A layer computes in the type of its weights: float64, float32, float16 or bfloat16, if the backend has it.
//! Input and state must be of that type; outputs, gradients and zero states are. (For a cell that has kernels on any
//! backend, a tensor of another type is a panic that names it.)
//! New weights are of the device's type, float32 unless
//! [`Device::configure`](burn::tensor::Device::configure) says otherwise; [`cast`] changes it. They are drawn
//! when they are first used ([`init`]), so that weights which are loaded cost no drawing.
//!
//! Quantised weights are dequantised to the input's type whenever a layer runs. With one scale per tensor, all packed
//! gates share it, where `burn::nn` has one per gate. The error of an LSTM's output (Q8, 64 units) is then
//! 1.1 times that of `burn::nn`'s for new weights, whose gates are alike, and 3.4 or 6.5 times if one gate
//! has weights 4 or 8 times as large as the others. With a scale per block whose size divides `H`
//! (`scheme.per_block([16], ScaleDtype::F32)`) both errors are the same, and half as large or less.
//!
//! # Speed
//!
//! In the types below every layer runs a whole sequence as one operation with handwritten backpropagation through
//! time.
//!
//! | backend | types with kernels |
//! | --- | --- |
//! | Flex | float64, float32, float16, bfloat16 |
//! | NdArray | float64, float32 (it has no float16 and no bfloat16) |
//! | wgpu, Vulkan, Metal, CUDA, ROCm | float32, and float16 and bfloat16 where a GPU has them |
//!
//! On the CPU, kernels for float64 take two to three times as long as those for float32. Kernels for float16 and
//! bfloat16 compute in float32 at the speed of float32, and round each result once: pre-activations, the states between
//! steps and what is saved for backward are float32. Their results differ from those of float64 by at
//! most one unit in the last place of the largest number of their tensor (`tests/dtypes.rs`). On processors with AVX-512
//! BF16, bfloat16 is 1.4 to 1.9 times as fast as float32: there, what is multiplied by weights is rounded to bfloat16,
//! and sums are float32. Flex computes a loss in
//! float16 element by element, which may take longer than the layer: `output.cast(DType::F32)` before the loss avoids it.
//!
//! | cell | on these kernels |
//! | --- | --- |
//! | [`LstmCell`], [`RnnCell`] | with `clip`, `clip_sums`, coupled gates and any [`Nonlinearity`] |
//! | [`GruCell`] | with the reset gate after the product or before, `clip`, `clip_sums` and any [`Nonlinearity`] |
//! | [`SLstmCell`] | always |
//! | [`PeepholeLstmCell`], [`LstmWithoutGate`] | with the options of their LSTM |
//! | [`LstmpCell`] | the same, where rows times steps are at least as many as the projection's features |
//! | [`Zoneout`] | of any of these but [`LstmpCell`], in training too |
//! | [`RecurrentDropout`] | of an [`LstmCell`], [`RnnCell`], [`SLstmCell`], or a [`GruCell`] with the reset gate after the product |
//!
//! Everything else runs the fallback, the step-by-step loop of the module [`mod@reference`], several times slower: other
//! types and backends, cells of your own without a [`kernel`](Cell::kernel), and
//!
//! | on the fallback | why | times as long |
//! | --- | --- | --- |
//! | [`LstmpCell`] with few rows and steps, or with [`Zoneout`] | kernels multiply the projection into `R` first, which must pay off | 13 · 9 · 7 |
//! | [`RecurrentDropout`] of a GRU with the reset gate first; with a mask for each gate also on GPUs | the products of a step read different operands | 10 · 8 · 8 |
//! | [`LayerNormLstmCell`] | it needs a row's mean and variance twice a step, so that threads would meet three times in place of once, forward and backward | 21 · 15 · 11 |
//! | PReLU and SwiGLU as activations | they have parameters of their own | 11 · 9 · 8 |
//!
//! The last column is the time of forward and backward, as a multiple of the plain layer's on kernels, on two CPU cores at
//! `B,T,I,H` = 32,50,2,64 · 64,100,2,128 · 32,100,128,256 (`cargo bench --bench options`).
//!
//! [`RecurrentLayer::runs_on_kernels`] tells which of the two a layer uses on a device. (It doesn't see the sizes of a call.
//! A projection with few rows and steps, and on a GPU a sequence larger than its largest buffer, still run the fallback.)
//!
//! On a GPU, up to 256 hidden units, one kernel launch computes many time steps; above that, each step is one
//! matrix product and one launch (two of each for a [`GruCell`] with the reset gate first). In half precision,
//! pre-activations and states are float32 within a launch. These kernels are tested through wgpu on a software adapter;
//! for Vulkan, CUDA and ROCm by themselves they are checked by the compiler, and have not been run.
//!
//! [Masks](Mask) and [stacks](LstmStack) of layers run on the same kernels. On the CPU, sorting rows by length,
//! longest first, skips part of the padded work; a batch of rows of about the same length has little of it.
//!
//! The CPU kernels use the widest vectors of the processor: AVX-512, AVX2, or what every processor of the
//! target has. `LSTM_CORE_SIMD=avx512bf16`, `avx512` (no rounded products in bfloat16), `avx2` or `portable` in the
//! environment chooses by hand; a set that the processor lacks is a panic. Where the work is worth it, they use threads of
//! their own: at most as many as the rayon pool has that they are called from (`RAYON_NUM_THREADS`, or
//! `rayon::ThreadPool::install`), and as cores are free. The same input on as many threads gives the
//! same bits; another number of threads, or another instruction set, the same up to float32 rounding.
//!
//! For the backward pass an LSTM saves 20 bytes per row, step and unit (`i, f, g, o` and `c`; units are
//! counted in blocks of 16) beside its output, a plain RNN 4, and in float64 twice as many. With [`Recompute`] a layer
//! saves less and computes more.
//!
//! # Features
//!
//! The library's modules name no backend; the caller's [`Device`](burn::tensor::Device) chooses it. The
//! features `flex`, `ndarray`, `wgpu`, `vulkan`, `metal`, `cuda` and `rocm` bring the kernels of these backends and switch
//! the backend of that name on in `burn`, those of GPUs together with Burn's fusion. None is on by default. A program that
//! uses a backend without the feature of its name here gets the fallback. (`cube` is what the features of GPUs
//! have in common.)
//!
//! `optim` brings `clip_global_norm`; `store` brings `load_burn_nn`, `load_pytorch`, `store_pytorch` and `half_precision` of
//! [`convert`]; files of weights have features of their own, which are listed there.

#[cfg(all(
    feature = "cube",
    not(any(feature = "wgpu", feature = "cuda", feature = "rocm"))
))]
compile_error!(
    "lstm-core's feature `cube` is what the features of GPUs have in common: choose `wgpu`, `vulkan`, `metal`, `cuda` or `rocm`"
);

/// The project's README, so that its example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}

/// The page about files of weights, likewise.
#[cfg(all(doctest, feature = "store", feature = "safetensors", feature = "onnx"))]
#[doc = include_str!("../../../docs/weights.md")]
mod weights {}

/// The recipes, likewise.
#[cfg(all(doctest, feature = "store", feature = "safetensors", feature = "optim"))]
#[doc = include_str!("../../../docs/recipes.md")]
mod recipes {}

#[cfg(doctest)]
mod misuse;

mod backend;
mod cell;
#[cfg(feature = "optim")]
mod clip;
mod config;
pub mod convert;
mod display;
mod gates;
pub mod init;
mod layer;
mod mask;
mod module;
mod nonlinearity;
mod ops;
pub mod prelude;
mod recompute;
pub mod reference;
mod shape;
mod state;
mod windows;

pub use burn::nn::{LstmState, OptionalInitialLstmState, RnnState};
pub use cell::{
    Cell, CellConfig, GruCell, GruCellConfig, Kernel, LayerNormLstmCell, LayerNormLstmCellConfig,
    LstmCell, LstmCellConfig, LstmGates, LstmWithoutGate, LstmWithoutGateConfig, LstmpCell,
    LstmpCellConfig, LstmpState, PeepholeLstmCell, PeepholeLstmCellConfig, RecurrentDropout,
    RecurrentDropoutConfig, RecurrentProduct, RnnCell, RnnCellConfig, SLstmCell, SLstmCellConfig,
    SLstmState, WithMask, Zoneout, ZoneoutConfig,
};
#[cfg(feature = "optim")]
pub use clip::{clip_global_norm, global_norm};
pub use gates::{Gate, GateWeights};
pub use layer::{
    BiGru, BiGruConfig, BiLstm, BiLstmConfig, BiRnn, BiRnnConfig, Bidirectional,
    BidirectionalConfig, Gru, GruConfig, GruStack, GruStackConfig, Lstm, LstmConfig, LstmStack,
    LstmStackConfig, Recurrent, RecurrentConfig, RecurrentLayer, RecurrentStack,
    RecurrentStackConfig, Rnn, RnnConfig, RnnStack, RnnStackConfig,
};
pub use mask::{Mask, Padding, Steps};

/// The name that [`Mask`] had when it was for lengths alone.
#[deprecated(note = "a `Mask` now, made of lengths as before")]
pub type Lengths = Mask;
pub use module::cast;
pub use nonlinearity::{AnyActivation, AnyActivationConfig, Nonlinearity, Pointwise, Real};
pub use recompute::Recompute;
pub use state::{RecurrentState, StackedState, StateError, StateRecord, TensorRecord};
pub use windows::Windows;
