//! Weight files with errors in them: a reader returns tensors or an error. It doesn't panic, and doesn't
//! use much more memory than the file is large.
//!
//! `LSTM_CORE_WEIGHT_CASES=1000000` runs so many cases for each file.

use super::{bilstm, birnn, file, lstm, lstm_stack, names, rnn, rnn_stack};
use lstm_core::convert::{Keras, Onnx, PyTorch, WeightError, Weights};
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};
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

/// One thing that happens to a file. Places are taken modulo the file's length.
#[derive(Clone, Debug)]
enum Edit {
    FlipBit(usize, u8),
    /// Eight bytes are set: sizes and offsets.
    SetWord(usize, u64),
    /// Digits in a header are replaced.
    SetByte(usize, u8),
    Cut(usize),
    Remove(usize, usize),
    /// A piece is copied to elsewhere.
    Copy(usize, usize, usize),
    Append(Vec<u8>),
}

/// Most headers are at the file's start.
fn place() -> impl Strategy<Value = usize> {
    prop_oneof![0..16usize, 0..1024usize, any::<usize>()]
}

fn edit() -> impl Strategy<Value = Edit> {
    let word = prop_oneof![
        any::<u64>(),
        0..4096u64,
        Just(u64::MAX),
        Just(1 << 62),
        Just(1 << 40)
    ];
    prop_oneof![
        (place(), 0..8u8).prop_map(|(at, bit)| Edit::FlipBit(at, bit)),
        (place(), word).prop_map(|(at, word)| Edit::SetWord(at, word)),
        (place(), prop_oneof![b'0'..=b'9', any::<u8>()]).prop_map(|(at, b)| Edit::SetByte(at, b)),
        place().prop_map(Edit::Cut),
        (place(), 1..64usize).prop_map(|(at, count)| Edit::Remove(at, count)),
        (place(), place(), 1..64usize).prop_map(|(from, to, n)| Edit::Copy(from, to, n)),
        prop::collection::vec(any::<u8>(), 1..32).prop_map(Edit::Append),
    ]
}

fn apply(bytes: &mut Vec<u8>, edit: &Edit) {
    if bytes.is_empty() {
        return;
    }
    let (len, at) = (bytes.len(), |place: usize| place % bytes.len());
    match *edit {
        Edit::FlipBit(place, bit) => {
            let at = at(place);
            bytes[at] ^= 1 << bit;
        }
        Edit::SetWord(place, word) => {
            let at = at(place);
            for (byte, new) in bytes[at..].iter_mut().zip(word.to_le_bytes()) {
                *byte = new;
            }
        }
        Edit::SetByte(place, new) => {
            let at = at(place);
            bytes[at] = new;
        }
        Edit::Cut(place) => {
            let at = at(place);
            bytes.truncate(at);
        }
        Edit::Remove(place, count) => {
            let at = at(place);
            bytes.drain(at..len.min(at + count));
        }
        Edit::Copy(from, to, count) => {
            let (from, to) = (at(from), at(to));
            let count = count.min(len - from).min(len - to);
            bytes.copy_within(from..from + count, to);
        }
        Edit::Append(ref more) => bytes.extend(more),
    }
}

fn mutate(name: &str, read: impl Fn(&Path) -> Result<Weights, WeightError>) {
    let whole = std::fs::read(file(name)).unwrap();
    let cases = std::env::var("LSTM_CORE_WEIGHT_CASES").ok();
    let config = ProptestConfig {
        cases: cases.map_or(300, |cases| cases.parse().expect("a number of cases")),
        failure_persistence: Some(Box::new(FileFailurePersistence::SourceParallel(
            "regressions",
        ))),
        source_file: Some(file!()),
        ..ProptestConfig::default()
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weights");
    let edits = prop::collection::vec(edit(), 1..4);
    let (opened, refused) = (Cell::new(0), Cell::new(0));
    let result = TestRunner::new(config).run(&edits, |edits| {
        let mut bytes = whole.clone();
        edits.iter().for_each(|edit| apply(&mut bytes, edit));
        std::fs::write(&path, &bytes).unwrap();
        LARGEST.set(0);
        match read(&path) {
            Ok(weights) => {
                opened.set(opened.get() + 1);
                load_all(&weights);
            }
            Err(_) => refused.set(refused.get() + 1),
        }
        let largest = LARGEST.get();
        prop_assert!(largest <= LARGEST_ALLOCATION, "{largest} bytes at once");
        Ok(())
    });
    println!("{name}: {} opened, {} refused", opened.get(), refused.get());
    result.unwrap();
    assert!(refused.get() > 0, "no edit of {name} was noticed");
}

/// Every layer that one of the files is for; what comes of it is up to the edits.
fn load_all(weights: &Weights) {
    for path in ["", "rnn", "model"] {
        let _ = lstm().with_pytorch(weights, &names(path));
        let _ = bilstm().with_pytorch(weights, &names(path));
        let _ = rnn().with_pytorch(weights, &names(path));
        let _ = birnn(false).with_pytorch(weights, &names(path));
        let _ = lstm_stack(3, true).with_pytorch(weights, &names(path));
        let _ = rnn_stack(2).with_pytorch(weights, &names(path));
    }
    let _ = lstm().with_keras(weights, "layers/lstm");
    let _ = birnn(false).with_keras(weights, "layers/bidirectional_1");
    let _ = lstm_stack(2, true).with_keras(weights, "layers/bidirectional");
    let _ = bilstm().with_onnx(weights, &super::onnx_names("onnx_lstm_bidirectional"));
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
