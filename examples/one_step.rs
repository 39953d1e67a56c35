//! Make a cell, run one step, print it: `cargo run --release --bin one_step`

use burn::tensor::{Device, Tensor};
use lstm_core::LstmCellConfig;

fn main() {
    let device = Device::flex();
    let cell = LstmCellConfig::new(2, 3).init(&device);
    let input = Tensor::from_data([[1.0, -1.0]], &device);
    let state = cell.forward(input, None);
    println!("{cell}");
    println!("memory {}", state.cell.into_data());
    println!("hidden {}", state.hidden.into_data());
}
