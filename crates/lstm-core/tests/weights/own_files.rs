//! The files that PyTorch and Keras write themselves (see own_files.py).

use super::{
    TRAINED_BY_KERAS, assert_close, assert_same_module, bilstm, check_bilstm, check_lstm_stack,
    expected, file, lengths, lstm_stack, message, names, open, rnn_stack,
};
use lstm_core::convert::{Keras, PyTorch, Weights};

/// A trained model with three bidirectional layers, its rows of different lengths.
#[test]
fn outputs_of_a_state_dict_are_pytorchs() {
    let case = "torch_trained_lstm";
    let weights = Weights::read_pytorch(file("torch_trained_lstm.pt")).unwrap();
    let stack = lstm_stack(3, true).with_pytorch(&weights, &names("rnn"));
    check_lstm_stack(case, &stack.unwrap(), Some(lengths(case)));
}

/// The format of PyTorch before 1.6, and a dictionary around the state dict.
#[test]
fn outputs_of_an_old_checkpoint_are_pytorchs() {
    let case = "torch_trained_rnn";
    let weights = Weights::read_pytorch(file("torch_trained_rnn.pth")).unwrap();
    let stack = rnn_stack(2).with_pytorch(&weights, &names("model.rnn"));
    let (y, state) = stack
        .unwrap()
        .forward_with_lengths(expected(case, "x"), None, lengths(case));
    assert_close(case, "y", y);
    assert_close(case, "h", state.hidden);
}

#[test]
fn outputs_of_a_saved_module_are_pytorchs() {
    let weights = Weights::read_pytorch(file("torch_bilstm.pt")).unwrap();
    let layer = bilstm().with_pytorch(&weights, &names(""));
    check_bilstm("torch_bilstm", layer.unwrap());
}

/// Trained models with two layers, one bidirectional, their rows of different lengths; and the same
/// weights as through `scripts/keras_to_safetensors.py`.
#[test]
fn outputs_of_weight_files_are_keras() {
    for (case, path, bidirectional, padding) in TRAINED_BY_KERAS {
        let weights = Weights::read_keras(file(&format!("{case}.weights.h5"))).unwrap();
        let stack = lstm_stack(2, bidirectional);
        let through = open(&format!("{case}.safetensors"));
        let through = stack.clone().with_keras(&through, path).unwrap();
        let stack = stack.with_keras(&weights, path).unwrap();
        check_lstm_stack(case, &stack, Some(lengths(case).with_padding(padding)));
        assert_same_module(stack, through);
    }
}

/// Nothing, half a file, another format, a folder, no file.
#[test]
fn errors_name_file_and_format() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weights");
    let half = |name| {
        let whole = std::fs::read(file(name)).unwrap();
        whole[..whole.len() / 2].to_vec()
    };
    let text = b"[weights]".to_vec();
    for bytes in [vec![], half("torch_trained_lstm.pt"), text.clone()] {
        std::fs::write(&path, bytes).unwrap();
        let text = message(Weights::read_pytorch(&path));
        let start = format!("{} is not a PyTorch file: ", path.display());
        assert!(text.starts_with(&start), "{text}");
    }
    for bytes in [vec![], half("keras_trained_lstm.weights.h5"), text] {
        std::fs::write(&path, bytes).unwrap();
        let text = message(Weights::read_keras(&path));
        let start = format!("{} is not an HDF5 file: ", path.display());
        assert!(text.starts_with(&start), "{text}");
    }
    let none = directory.path().join("none");
    for path in [directory.path(), &none] {
        for text in [
            message(Weights::read_pytorch(path)),
            message(Weights::read_keras(path)),
        ] {
            assert!(text.starts_with(&format!("{}: ", path.display())), "{text}");
        }
    }
}
