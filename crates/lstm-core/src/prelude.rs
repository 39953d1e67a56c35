//! What most programs use: `use lstm_core::prelude::*`.
//!
//! The layers with their configs, their states, masks, and the trait that is common to all layers. Everything else has its
//! path at the root of the crate, or in [`convert`](crate::convert).

pub use crate::{
    BiGru, BiGruConfig, BiLstm, BiLstmConfig, BiRnn, BiRnnConfig, Gru, GruConfig, GruStack,
    GruStackConfig, Lstm, LstmConfig, LstmStack, LstmStackConfig, LstmState, Mask, RecurrentLayer,
    RecurrentState, Rnn, RnnConfig, RnnStack, RnnStackConfig, RnnState,
};
