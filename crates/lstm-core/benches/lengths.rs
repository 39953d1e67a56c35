//! What lengths and stacks cost: the same work with and without, in turn, and the ratio of the times.
//!
//! ```text
//! cargo bench -p lstm-core -p training -p examples --bench lengths [-- B,T,I,H …]
//! ```
//!
mod shapes;
mod turns;

use burn::tensor::Device;
use lstm_core::{BiLstm, Lstm, LstmConfig, LstmStack, LstmStackConfig, Mask};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use turns::compare;

const SHAPES: [[usize; 4]; 4] = [
    [32, 50, 2, 64],
    [32, 100, 64, 128],
    [64, 200, 32, 64],
    [8, 100, 16, 256],
];
fn main() {
    println!("forward and backward on Flex; ratio to the plain layer or stack");
    for shape in shapes::given_or(&SHAPES) {
        let [b, t, i, h] = shape;
        println!("B,T,I,H = {b},{t},{i},{h}");
        layer(shape);
        stack(shape);
    }
}

fn layer([b, t, i, h]: [usize; 4]) {
    let device = Device::flex().autodiff();
    let layer = LstmConfig::new(i, h, true).init(&device);
    let plain = |x| layer.forward(x, None).0;
    let with = |lengths: &Mask, x| layer.forward_with_lengths(x, None, lengths).0;
    let shape = [b, t, i];
    compare("all of T", shape, &plain, &|x| {
        with(&Mask::from(&vec![t; b]), x)
    });
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut of_rows: Vec<usize> = (0..b).map(|_| rng.random_range(t / 2..=t)).collect();
    for what in ["from T/2 to T", "the same, sorted"] {
        let lengths = Mask::from(&of_rows);
        let valid = of_rows.iter().sum::<usize>() as f64 / (b * t) as f64;
        let what = format!("{what} ({:.0} % valid)", 100.0 * valid);
        compare(&what, shape, &plain, &|x| with(&lengths, x));
        of_rows.sort_by(|a, b| b.cmp(a));
    }
}

fn stack([b, t, i, h]: [usize; 4]) {
    let device = Device::flex().autodiff();
    let config = LstmStackConfig::new(i, h, 2, true).with_bidirectional(true);
    let stack: LstmStack = config.init(&device);
    let layers: Vec<BiLstm> = stack.layers.chunks(2).map(both).collect();
    let by_hand = |x| layers.iter().fold(x, |x, layer| layer.forward(x, None).0);
    let stacked = |x| stack.forward(x, None).0;
    compare(
        "a stack, 2 layers, both ways",
        [b, t, i],
        &by_hand,
        &stacked,
    );
}

fn both(directions: &[Lstm]) -> BiLstm {
    BiLstm {
        forward: directions[0].clone(),
        reverse: directions[1].clone(),
        d_hidden: directions[0].d_hidden,
        batch_first: true,
    }
}
