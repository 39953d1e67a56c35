//! `use lstm_core::…` in place of `use burn::nn::…`: one source, compiled against both.

use burn::tensor::Device;

mod burns {
    mod layers {
        pub use burn::nn::gru::{BiGru, BiGruConfig, Gru, GruConfig};
        pub use burn::nn::{
            BiLstm, BiLstmConfig, BiRnn, BiRnnConfig, Lstm, LstmConfig, Rnn, RnnConfig,
        };
    }
    pub mod program {
        include!("drop_in/program.rs");
    }
}

mod ours {
    mod layers {
        pub use lstm_core::{
            BiGru, BiGruConfig, BiLstm, BiLstmConfig, BiRnn, BiRnnConfig, Gru, GruConfig, Lstm,
            LstmConfig, Rnn, RnnConfig,
        };
    }
    pub mod program {
        include!("drop_in/program.rs");
    }
}

#[test]
fn one_source_runs_with_both() {
    let device = Device::flex();
    let shapes = ours::program::main(&device);
    assert_eq!(shapes, burns::program::main(&device));
    assert_eq!(shapes[0], [2, 6, 7]);
}
