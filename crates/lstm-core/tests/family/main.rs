//! Cells on the trait `Cell`, run over sequences by `Recurrent`: against PyTorch, Keras, ONNX Runtime and
//! central differences, against the layers, and against themselves in other ways to run them.

mod cells;
mod dropout;
mod golden;
mod gradients;
mod sequences;
mod state;

#[path = "../backends/golden_file.rs"]
mod golden_file;
#[path = "../backends/tensors.rs"]
#[allow(dead_code)] // the corpus prints more
mod tensors;
