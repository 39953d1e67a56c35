//! Cells on the trait `Cell`, run over sequences by `Recurrent`: against central differences, against the
//! layers, and against themselves in other ways to run them. (PyTorch, Keras and ONNX Runtime are in the
//! corpus of `tests/backends`.)

mod activations;
mod cells;
mod clip;
mod configs;
mod dropout;
mod gradients;
mod masks;
#[path = "../random/mod.rs"]
mod random;
mod sequences;
mod slstm;
mod state;
mod weights;
