//! Weight files with errors in them: a reader returns tensors or an error. It doesn't panic, and doesn't
//! use much more memory than the file is large.
//!
//! `MUTATED_CASES=1000000` runs so many cases for each file.

use super::{bilstm, birnn, device, file, lstm, lstm_stack, names, rnn, rnn_stack};
use super::{edits, family};
use lstm_core::convert::{Keras, Onnx, PyTorch, WeightError, Weights};
use lstm_core::{
    BiGru, BiLstm, BiRnn, GruCell, GruStack, Lstm, LstmStack, LstmpCell, PeepholeLstmCell,
    Recurrent, RecurrentStack, Rnn, RnnStack,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

/// Small files are mutated; what they may lead to is far below what a garbled size would ask for.
const LARGEST_ALLOCATION: usize = 32 << 20;

/// The system's allocator, which keeps the largest request of each thread.
struct Watched;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

fn mutate(name: &str, read: impl Fn(&Path) -> Result<Weights, WeightError>) {
    let whole = std::fs::read(file(name)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weights");
    let layers = Layers::default();
    edits::mutate(name, file!(), &whole, |bytes| {
        std::fs::write(&path, bytes).unwrap();
        LARGEST.set(0);
        let weights = read(&path);
        if let Ok(weights) = &weights {
            layers.load_all(weights);
        }
        let largest = LARGEST.get();
        assert!(largest <= LARGEST_ALLOCATION, "{largest} bytes at once");
        weights
    });
}

/// A layer of every kind that one of the files is for.
struct Layers {
    lstm: Lstm,
    bilstm: BiLstm,
    rnn: Rnn,
    birnn: BiRnn,
    lstm_stacks: [LstmStack; 2],
    rnn_stack: RnnStack,
    gru: Recurrent<GruCell>,
    gru_stack: RecurrentStack<GruCell>,
    lstmp_stack: RecurrentStack<LstmpCell>,
    peephole: Recurrent<PeepholeLstmCell>,
}

impl Default for Layers {
    fn default() -> Self {
        Self {
            lstm: lstm(),
            bilstm: bilstm(),
            rnn: rnn(),
            birnn: birnn(false),
            lstm_stacks: [lstm_stack(2, false), lstm_stack(3, true)],
            rnn_stack: rnn_stack(2),
            gru: Recurrent::new(family::gru()),
            gru_stack: family::gru_stack(2, true, true),
            lstmp_stack: family::lstmp_stack(2, true),
            peephole: Recurrent::new(family::peephole()),
        }
    }
}

impl Layers {
    /// What comes of it is up to the edits.
    fn load_all(&self, weights: &Weights) {
        for found in weights.recurrent_layers() {
            let _ = found.load::<Lstm>(weights, &device());
            let _ = found.load::<Recurrent<GruCell>>(weights, &device());
            let _ = found.load::<BiLstm>(weights, &device());
            let _ = found.load::<BiGru>(weights, &device());
            let _ = found.load::<LstmStack>(weights, &device());
            let _ = found.load::<RnnStack>(weights, &device());
            let _ = found.load::<GruStack>(weights, &device());
            let _ = found.load::<RecurrentStack<LstmpCell>>(weights, &device());
            let _ = found.load::<Recurrent<PeepholeLstmCell>>(weights, &device());
        }
        for path in ["", "rnn", "model", "model.rnn"] {
            let names = names(path);
            let _ = self.lstm.clone().with_pytorch(weights, &names);
            let _ = self.bilstm.clone().with_pytorch(weights, &names);
            let _ = self.rnn.clone().with_pytorch(weights, &names);
            let _ = self.birnn.clone().with_pytorch(weights, &names);
            for stack in &self.lstm_stacks {
                let _ = stack.clone().with_pytorch(weights, &names);
            }
            let _ = self.rnn_stack.clone().with_pytorch(weights, &names);
            let _ = self.gru_stack.clone().with_pytorch(weights, &names);
            let _ = self.lstmp_stack.clone().with_pytorch(weights, &names);
        }
        let [stack, _] = &self.lstm_stacks;
        let _ = stack.clone().with_keras(weights, "layers/lstm");
        let _ = self.lstm.clone().with_keras(weights, "layers/lstm");
        let path = "layers/bidirectional_1";
        let _ = self.birnn.clone().with_keras(weights, path);
        let _ = self.gru.clone().with_keras(weights, "layers/gru");
        let path = "layers/bidirectional";
        let _ = self.gru_stack.clone().with_keras(weights, path);
        let names = super::onnx_names("onnx_lstm_bidirectional");
        let _ = self.bilstm.clone().with_onnx(weights, &names);
        let names = family::onnx_names("onnx_gru_after_forward");
        let _ = self.gru.clone().with_onnx(weights, &names);
        let names = family::onnx_names("onnx_peephole_forward");
        let _ = self.peephole.clone().with_onnx(weights, &names);
    }
}

#[test]
fn safetensors_of_pytorch() {
    mutate("torch_lstm.safetensors", |path| {
        Weights::read_safetensors(path)
    });
}

#[test]
fn safetensors_of_pytorchs_stack() {
    mutate("torch_trained_lstm.safetensors", |path| {
        Weights::read_safetensors(path)
    });
}

#[test]
fn safetensors_of_keras() {
    mutate("keras.safetensors", |path| Weights::read_safetensors(path));
}

#[test]
fn safetensors_of_onnx() {
    mutate("onnx.safetensors", |path| Weights::read_safetensors(path));
}

#[test]
fn safetensors_of_pytorchs_gru() {
    mutate("torch_gru.safetensors", |path| {
        Weights::read_safetensors(path)
    });
}

#[test]
fn safetensors_of_pytorchs_projection() {
    mutate("torch_lstmp.safetensors", |path| {
        Weights::read_safetensors(path)
    });
}

#[test]
fn safetensors_of_keras_gru() {
    mutate("keras_gru.safetensors", |path| {
        Weights::read_safetensors(path)
    });
}

#[test]
fn safetensors_of_onnx_family() {
    mutate("onnx_family.safetensors", |path| {
        Weights::read_safetensors(path)
    });
}

#[test]
fn state_dict_of_pytorch() {
    mutate("torch_trained_lstm.pt", |path| Weights::read_pytorch(path));
}

#[test]
fn old_checkpoint_of_pytorch() {
    mutate("torch_trained_rnn.pth", |path| Weights::read_pytorch(path));
}

#[test]
fn module_of_pytorch() {
    mutate("torch_bilstm.pt", |path| Weights::read_pytorch(path));
}

#[test]
fn weight_file_of_keras() {
    mutate("keras_trained_lstm.weights.h5", |path| {
        Weights::read_keras(path)
    });
}

/// One model for each way in which weights are found.
#[test]
fn models_of_onnx() {
    for name in [
        "typed",
        "external",
        "sparse",
        "reordered",
        "rearranged",
        "quantised",
        "expanded",
        "branch",
        "loop",
        "function",
        "function_attributes",
        "activations_both",
        "coupled_peephole",
        "torch_lstm",
        "torch_gru",
    ] {
        mutate(&format!("wild/onnx/{name}.onnx"), |path| {
            Weights::read_onnx(path)
        });
    }
}

#[test]
fn checkpoint_with_objects() {
    mutate("wild/dataclass.pt", |path| Weights::read(path));
}

#[test]
fn old_views_of_one_storage() {
    mutate("wild/shared_storage_legacy.pt", |path| Weights::read(path));
}

#[test]
fn torchscript() {
    mutate("wild/relu_scripted.pt", |path| Weights::read(path));
}

#[test]
fn frozen_torchscript() {
    mutate("wild/frozen.pt", |path| Weights::read(path));
}

#[test]
fn weight_normalisation() {
    mutate("wild/weight_norm_old.pt", |path| Weights::read(path));
}

#[test]
fn pickle_of_tensors() {
    mutate("wild/tensors_2.pkl", |path| Weights::read(path));
}

#[test]
fn pickle_of_arrays() {
    mutate("wild/arrays_5.pkl", |path| Weights::read(path));
}

#[test]
fn pickle_of_arrays_as_text() {
    mutate("wild/arrays_0.pkl", |path| Weights::read(path));
}

#[test]
fn archive_of_arrays() {
    mutate("wild/compressed.npz", |path| Weights::read(path));
}

#[test]
fn array_of_a_dictionary() {
    mutate("wild/dictionary.npy", |path| Weights::read(path));
}

#[test]
fn archive_of_keras() {
    mutate("wild/keras3_bf16.keras", |path| Weights::read_keras(path));
}

#[test]
fn compressed_archive_of_keras() {
    mutate("wild/keras3_zipped_again.keras", |path| Weights::read(path));
}

#[test]
fn model_of_keras_1() {
    mutate("wild/keras1.h5", |path| Weights::read_keras(path));
}

#[test]
fn model_of_keras_2() {
    mutate("wild/keras2.h5", |path| Weights::read_keras(path));
}

#[test]
fn floats_of_hdf5() {
    mutate("wild/keras_floats.h5", |path| Weights::read_keras(path));
}
