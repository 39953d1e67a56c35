//! Weight files with errors in them: a reader returns tensors or an error. It doesn't panic, and doesn't
//! use much more memory than the file is large.
//!
//! `MUTATED_CASES=1000000` runs so many cases for each file.

use super::wild_onnx::field;
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

/// What a file that was made to take memory may take, whatever is in it.
const MOST_MEMORY: usize = 1 << 30;

/// Small files are mutated; what they may lead to is far below what a garbled size would ask for.
const LARGEST_ALLOCATION: usize = 32 << 20;

/// The system's allocator, which keeps the largest request of each thread, and what it holds and has held at most.
struct Watched;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST_HELD: Cell<isize> = const { Cell::new(0) };
}

fn watch(size: usize, freed: usize) {
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
    let held = HELD.try_with(|held| {
        held.set(held.get() + size as isize - freed as isize);
        held.get()
    });
    let _ = MOST_HELD.try_with(|most| most.set(most.get().max(held.unwrap_or(0))));
}

unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        watch(layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        watch(layout.size(), 0);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        watch(size, layout.size());
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        watch(0, layout.size());
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

fn mutate(name: &str, read: impl Fn(&Path) -> Result<Weights, WeightError>) {
    let directory = tempfile::tempdir().unwrap();
    mutate_beside(directory.path(), name, read);
}

/// As [`mutate`], with the file in a folder where others are that it names.
fn mutate_beside(folder: &Path, name: &str, read: impl Fn(&Path) -> Result<Weights, WeightError>) {
    let whole = std::fs::read(file(name)).unwrap();
    let path = folder.join("weights");
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

/// An index of two files, one in each format.
#[test]
fn index_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let shards = [
        (
            "torch_lstm.safetensors",
            Weights::read_safetensors(file("torch_lstm.safetensors")),
        ),
        (
            "torch_trained_lstm.pt",
            Weights::read_pytorch(file("torch_trained_lstm.pt")),
        ),
    ];
    let mut map = serde_json::Map::new();
    for (name, weights) in shards {
        std::fs::copy(file(name), folder.path().join(name)).unwrap();
        let weights = weights.unwrap();
        map.extend(
            weights
                .names()
                .map(|tensor| (tensor.to_string(), name.into())),
        );
    }
    let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map});
    let path = folder.path().join("index.json");
    std::fs::write(&path, index.to_string()).unwrap();
    mutate_beside(folder.path(), path.to_str().unwrap(), |path| {
        Weights::read(path)
    });
}

#[test]
fn index_of_keras() {
    let folder = tempfile::tempdir().unwrap();
    for k in 0..6 {
        let name = format!("keras3_0000{k}.weights.h5");
        std::fs::copy(file(&format!("wild/{name}")), folder.path().join(name)).unwrap();
    }
    mutate_beside(folder.path(), "wild/keras3.weights.json", |path| {
        Weights::read(path)
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

/// Messages of two bytes each that would take gigabytes, wherever a model may have many of them.
#[test]
fn empty_messages_of_onnx() {
    const COUNT: usize = 6 << 20;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.onnx");
    for tags in [
        &[7, 1][..],
        &[7, 1, 5],
        &[7, 1, 5, 11],
        &[7, 1, 5, 6, 1],
        &[7, 5],
        &[7, 5, 13],
        &[7, 11],
        &[7, 12],
        &[7, 13],
        &[7, 13, 2, 1, 2, 1],
        &[7, 15],
        &[8],
        &[14],
        &[25],
        &[25, 7],
        &[25, 9],
        &[25, 11],
    ] {
        let (last, around) = tags.split_last().unwrap();
        let mut content = field(*last, &[]).repeat(COUNT);
        for tag in around.iter().rev() {
            content = field(*tag, &content);
        }
        // A version, and a producer's name.
        std::fs::write(&path, [&[8, 8, 0x12, 0][..], &content].concat()).unwrap();
        LARGEST.set(0);
        let error = Weights::read(&path).unwrap_err().to_string();
        assert!(error.contains("so small and so many"), "{tags:?}: {error}");
        assert!(LARGEST.get() <= LARGEST_ALLOCATION, "{tags:?}");
    }
}

/// Pickles of many values that are of one or two bytes each.
#[test]
fn many_small_values_in_a_pickle() {
    const COUNT: usize = 24 << 20;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weights.pkl");
    let chain = [b"]".repeat(COUNT / 2), b"a".repeat(COUNT / 2 - 1)].concat();
    // A list of one object or of one tensor, and an object that holds itself in a copy of its many entries.
    let again = |value: &[u8]| [value, b"q\0(", &b"h\0".repeat(COUNT / 2), b"l"].concat();
    let tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(ctorch\nload\nNK\0)))t\x85R";
    let pairs = b"ccollections\nOrderedDict\n]q\0\x85Rq\x01h\0(U\x01ah\x01\x86q\x02";
    // Classes of one module, whose name is long.
    let module = [b"X\0\0\x40\0", &b"m".repeat(4 << 20)[..], b"q\0("].concat();
    let class = |k: usize| format!("h\0X\x05\0\0\0{k:05}\u{93})R");
    let classes: String = (0..10_000).map(class).collect();
    let classes: Vec<u8> = classes.chars().map(|c| c as u8).collect();
    let classes = [module, classes, b"l".to_vec()].concat();
    let copies = [&pairs[..], &b"h\x02".repeat(COUNT / 4), b"e0"].concat();
    for (what, instructions) in [
        ("lists in tuples", b"(l".repeat(COUNT / 2)),
        ("lists in lists", chain),
        ("remembered", b"N\x94".repeat(COUNT / 2)),
        ("marks", b"(".repeat(COUNT)),
        ("lists of one", b"]Na".repeat(COUNT / 3)),
        ("tuples", b"N\x85".repeat(COUNT / 2)),
        ("dictionaries of one", b"}NNs".repeat(COUNT / 4)),
        ("calls", b"NNR".repeat(COUNT / 3)),
        ("texts", b"S''\n".repeat(COUNT / 4)),
        ("one object", again(b"cmain\nThing\n)R")),
        ("one tensor", again(tensor)),
        ("copies", copies),
        ("classes", classes),
    ] {
        std::fs::write(&path, [b"\x80\x02", &instructions[..], b"."].concat()).unwrap();
        drop(instructions);
        let before = HELD.get();
        MOST_HELD.set(before);
        let read = Weights::read(&path);
        let most = (MOST_HELD.get() - before) as usize;
        println!(
            "{what}: {most} bytes, {:?}",
            read.err().map(|e| e.to_string())
        );
        assert!(most <= MOST_MEMORY, "{what}: {most} bytes");
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
fn checkpoint_in_tar() {
    mutate("wild/objects_legacy.pth.tar", |path| Weights::read(path));
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
fn model_of_keras_3_in_hdf5() {
    mutate("wild/keras3.h5", |path| Weights::read_keras(path));
}

#[test]
fn floats_of_hdf5() {
    mutate("wild/keras_floats.h5", |path| Weights::read_keras(path));
}
