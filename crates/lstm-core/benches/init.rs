//! How long an LSTM takes to be made and to have all its weights drawn, and how long if they are loaded instead.
//!
//! ```text
//! cargo bench -p lstm-core -p training -p examples --bench init [-- H …]
//! ```

use burn::module::Module;
use burn::tensor::Device;
use lstm_core::{Lstm, LstmConfig};
use std::time::Instant;

const TURNS: usize = 11;

fn main() {
    let given: Vec<usize> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let units = match given.is_empty() {
        true => vec![64, 256, 512, 1024],
        false => given,
    };
    let device = Device::flex();
    println!("LSTM, I = H, on Flex: milliseconds, median of {TURNS}");
    for h in units {
        let config = LstmConfig::new(h, h, true);
        let record = config.init(&device).into_record();
        let burns = burn::nn::LstmConfig::new(h, h, true);
        let drawn = median(|| drop(config.init(&device).into_record()));
        let loaded = median(|| drop::<Lstm>(config.init(&device).load_record(record.clone())));
        let of_burn = median(|| drop(burns.init(&device).into_record()));
        println!("H = {h}: drawn {drawn:.2}, loaded {loaded:.2}; burn::nn, drawn {of_burn:.2}");
    }
}

/// Of the times in milliseconds. (A record needs all the weights.)
fn median(mut make: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..TURNS)
        .map(|_| {
            let start = Instant::now();
            make();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[TURNS / 2]
}
