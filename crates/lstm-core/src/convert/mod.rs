//! Weights from and for Keras, PyTorch, ONNX and `burn::nn`, and the names that differ between them.
//!
//! Files of models that were made with this library need none of this: its layers are saved and loaded with the rest of a model
//! by Burn's records and burn-store. A file of another library does, since a layer there has other tensors: several where there is one
//! here, transposed, with the gates in another order.
//!
//! # Weights
//!
//! [`Weights`] are named tensors, from a file or from memory. [`Weights::read`] reads a file of any kind,
//! [`Weights::recurrent_layers`] lists the recurrent layers in it, at any path, and each of them
//! [loads](FoundLayer::load) as a layer of this library:
//!
//! ```no_run
//! # fn main() -> Result<(), lstm_core::convert::WeightError> {
//! # use burn::tensor::Device;
//! use lstm_core::convert::Weights;
//! use lstm_core::BiLstm;
//!
//! let weights = Weights::read("checkpoint.pt")?;
//! println!("{}", weights.recurrent_layers());
//! let layer: BiLstm = weights.recurrent_layers().only()?.load(&weights, &Device::flex())?;
//! # Ok(())
//! # }
//! ```
//!
//! | file | feature | what to expect |
//! | --- | --- | --- |
//! | `.safetensors`, and the index of several | `safetensors` | all types go through; [written](Weights::write_safetensors), too |
//! | `torch.save` of any version: state dicts, checkpoints, whole modules | `pytorch` | keys are joined by dots; what isn't a tensor is [skipped](Weights::skipped) |
//! | `torch.jit.save`, frozen modules too | `pytorch` | parameters and buffers |
//! | pickles of tensors or NumPy arrays, `.npy`, `.npz` | `pytorch` | nothing in a pickle is run |
//! | Keras 3's `.keras`, zipped or as a folder; models as `.h5`, `.hdf5`, of Keras 1, 2 and 3 | `keras` | activations and directions come from the model's configuration; an unsupported option is an error that names it |
//! | Keras' weights alone: `.weights.h5`, `.weights.json` of shards, `save_weights` of Keras 1 and 2 | `keras` | names are paths in the file; no activations: see [`Keras`]. `.safetensors` of `scripts/keras_to_safetensors.py` have the same names, and its `--back` makes `.weights.h5` |
//! | `.onnx`, with files beside it | `onnx` | the nodes' attributes are read with their weights; an unsupported one is an error. `write_onnx` writes models |
//! | all that burn-store reads | `store` | a model with `burn::nn`'s layers: `load_burn_nn`, not `Weights::read` |
//!
//! These features are off by default. Some options aren't in every file: the nonlinearity of an `nn.RNN` is in a saved
//! module but not in a state dict, and Keras' activations are in a model but not in a file of weights. PyTorch's weight
//! normalisation, pruning and weight drop are folded into the weights. A whole PyTorch model, with layers that aren't
//! recurrent, is loaded into a Burn module and saved again by `load_pytorch` and `store_pytorch` (feature `store`).
//!
//! An existing layer of the right sizes can also load its weights by name, and store them under the other's names:
//!
//! | from and to | trait |
//! | --- | --- |
//! | PyTorch | [`PyTorch`] |
//! | Keras 1, 2 and 3 | [`Keras`] |
//! | ONNX `LSTM`, `GRU`, `RNN` | [`Onnx`] |
//! | `burn::nn` | `From`, both ways |
//!
//! ```no_run
//! # #[cfg(feature = "safetensors")]
//! # fn main() -> Result<(), lstm_core::convert::WeightError> {
//! # use burn::tensor::Device;
//! use lstm_core::convert::{PyTorch, PyTorchNames, Weights};
//! use lstm_core::BiLstmConfig;
//!
//! // Python: safetensors.torch.save_file(model.state_dict(), "model.safetensors"), where
//! // model.rnn = torch.nn.LSTM(8, 32, batch_first=True, bidirectional=True).
//! let weights = Weights::read_safetensors("model.safetensors")?;
//! let lstm = BiLstmConfig::new(8, 32, true).init(&Device::flex());
//! let lstm = lstm.with_pytorch(&weights, &PyTorchNames::new("rnn"))?;
//!
//! let mut weights = Weights::new();
//! lstm.to_pytorch(&mut weights, &PyTorchNames::new("rnn"))?;
//! weights.write_safetensors("trained.safetensors")?;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "safetensors"))]
//! # fn main() {}
//! ```
//!
//! Values are copied, never rounded: a tensor must be of the layer's float type, or of one whose values
//! that type holds exactly (float16 and bfloat16 in float32, all in float64). The one exception is the
//! **second bias**, which PyTorch, ONNX and `burn::nn` have and Keras and this library haven't: since
//! the two are only ever added, importing sums them, and exporting writes the sum as the first and zeros as the
//! second. Only the candidate of a GRU with `reset_after` has two biases here and in Keras as well, since they are not
//! added. A tensor that is missing, superfluous, or of a wrong shape or type is
//! a [`WeightError`] that names it. ([`Weights::cast`] rounds explicitly.) Options (`batch_first`,
//! activations, `clip`) are not in tensors: they come from the layer's config or, for a layer that was found in a file, from
//! what the file states.
//!
//! # Names
//!
//! | here | Keras | PyTorch | ONNX | `burn::nn` |
//! | --- | --- | --- | --- | --- |
//! | [`Lstm`](crate::Lstm) | `LSTM(return_sequences=True, return_state=True)` | `LSTM` | `LSTM` | `Lstm` |
//! | [`Rnn`](crate::Rnn) | `SimpleRNN` | `RNN` | `RNN` | `Rnn` |
//! | [`BiLstm`](crate::BiLstm), [`BiRnn`](crate::BiRnn) | `Bidirectional` | `bidirectional=True` | `direction="bidirectional"` | `BiLstm`, `BiRnn` |
//! | [`LstmStack`](crate::LstmStack), [`RnnStack`](crate::RnnStack) | several layers | `num_layers`, `bidirectional`, `dropout` | several nodes | |
//! | [`LstmCell`](crate::LstmCell), [`RnnCell`](crate::RnnCell) | `LSTMCell`, `SimpleRNNCell` | `LSTMCell`, `RNNCell` | | |
//! | `d_input`, `d_hidden` | (from the input), `units` | `input_size`, `hidden_size` | (from `W`), `hidden_size` | `d_input`, `d_hidden` |
//! | `input_weight` `[I, 4H]` | `kernel` `[I, 4H]` | `weight_ih_l0` `[4H, I]` | `W` `[D, 4H, I]` | `input_transform` of each gate `[I, H]` |
//! | `recurrent_weight` `[H, 4H]` | `recurrent_kernel` `[H, 4H]` | `weight_hh_l0` `[4H, H]` | `R` `[D, 4H, H]` | `hidden_transform` `[H, H]` |
//! | `bias` `[4H]` | `bias` `[4H]` | `bias_ih_l0` + `bias_hh_l0` | `B` `[D, 8H]` | both transforms' |
//! | gates `i, f, g, o` | `i, f, c, o` | `i, f, g, o` | `i, o, f, c` | by name |
//!
//! Cells in a [`Recurrent`](crate::Recurrent), or several in a [`RecurrentStack`](crate::RecurrentStack),
//! whose weights are otherwise called as above:
//!
//! | here | Keras | PyTorch | ONNX | `burn::nn` |
//! | --- | --- | --- | --- | --- |
//! | [`GruCell`](crate::GruCell) | `GRU` | `GRU` | `GRU` | `Gru`, `BiGru` |
//! | its gates `r, z, n` | `z, r, h` | `r, z, n` | `z, r, h` | by name |
//! | `reset_after` | `reset_after` | always on | `linear_before_reset = 1` | `reset_after` |
//! | with it: `bias` `[3H]` and `candidate_bias` `[H]` | `bias` `[2, 3H]` | `bias_ih_l0`, `bias_hh_l0` | `B` `[D, 6H]` | both transforms' |
//! | without: `bias` `[3H]` | `bias` `[3H]` | | `B` `[D, 6H]`, added | both transforms', added |
//! | [`LstmpCell`](crate::LstmpCell) | | `LSTM(proj_size=P)` | none of its own; `write_onnx` makes a function | |
//! | its `projection` `[H, P]` | | `weight_hr_l0` `[P, H]` | | |
//! | [`PeepholeLstmCell`](crate::PeepholeLstmCell) | | | `LSTM` with `P` | |
//! | its peepholes `i`, `f`, `o`, `[H]` each | | | `P` `[D, 3H]`: `i, o, f` | |
//! | [`LayerNormLstmCell`](crate::LayerNormLstmCell), [`LstmWithoutGate`](crate::LstmWithoutGate) | none | none | none | none |
//!
//! Of a GRU's two biases the sum is `bias`, except for the candidate, which is the last gate everywhere: its second one is
//! `candidate_bias`.
//!
//! # Semantics
//!
//! | | here | Keras | PyTorch | ONNX | `burn::nn` |
//! | --- | --- | --- | --- | --- | --- |
//! | layout | `[B, T, I]`, `batch_first` | `[B, T, I]` | `[T, B, I]` unless `batch_first` | `[T, B, I]` | `[B, T, I]`, `batch_first` |
//! | state | `LstmState { cell, hidden }` | `h, c` | `(h, c)` | `Y_h, Y_c` | `LstmState { cell, hidden }` |
//! | states of a stack | `[L·D, B, H]` | each layer's | `[L·D, B, H]` | each node's | |
//! | rows of different lengths | `forward_with_lengths` | a mask | a packed sequence | `sequence_lens` | |
//! | output of padded steps | zero, or repeated: [`Padding`](crate::Padding) | repeated; zero with `zero_output_for_mask` and in `Bidirectional` | zero | zero | |
//! | outputs of a reverse layer | aligned with the input | reversed (`go_backwards`); aligned in `Bidirectional` | aligned | aligned | aligned |
//! | forget bias at the start | 1 (`forget_bias`) | 1 (`unit_forget_bias`) | about 0, uniform | | about 0 |
//! | Glorot's fans | of each gate | of the packed `[I, 4H]` | (uniform by `H`) | | of each gate |
//! | orthogonal | each gate's `[H, H]` | the packed `[H, 4H]` | | | |
//! | `clip` | of the carried cell state | | | of the gate pre-activations (`clip_sums` here) | of the carried cell state |
//! | hard sigmoid | [`Nonlinearity::HardSigmoid`](crate::Nonlinearity::HardSigmoid) | `0.2 x + 0.5` up to 2.x, where it is the default of the gates before 2.3; `x / 6 + 0.5` in 3 | | `0.2 x + 0.5` | `0.2 x + 0.5` |
//! | RNN's activation | `hidden_activation`, tanh | `activation`, tanh | `nonlinearity`, tanh | `activations`, tanh | `hidden_activation`, tanh |
//!
//! In the last output of a bidirectional layer, `output[:, -1]`, the reverse half has read only one
//! step: use the final states.

mod burn_nn;
mod error;
// Without the readers' features, some helpers are unused.
#[cfg_attr(
    not(all(feature = "safetensors", feature = "pytorch", feature = "keras")),
    allow(dead_code)
)]
mod files;
mod found;
mod keras;
mod layers;
#[cfg(feature = "store")]
mod models;
mod native;
mod onnx;
#[cfg(feature = "onnx")]
mod onnx_model;
mod packed;
mod pytorch;
#[cfg(feature = "store")]
mod store;
#[cfg_attr(
    not(any(feature = "safetensors", feature = "pytorch")),
    allow(dead_code)
)]
mod weights;

pub use error::WeightError;
pub use found::{
    Activations, Direction, FoundCell, FoundLayer, LoadFound, RecurrentLayers, Source, Stated,
};
pub use keras::Keras;
#[cfg(feature = "store")]
pub use models::{load_pytorch, store_pytorch};
pub use onnx::{Onnx, OnnxNames};
#[cfg(feature = "onnx")]
pub use onnx_model::{OnnxLayer, write_onnx};
pub use pytorch::{PyTorch, PyTorchNames};
#[cfg(feature = "store")]
pub use store::{half_precision, load_burn_nn};
pub use weights::Weights;
