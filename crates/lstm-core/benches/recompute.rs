//! What recomputing in segments costs and saves: the same layer with and without, in turn, and the ratios of
//! times and bytes.
//!
//! ```text
//! cargo bench -p lstm-core -p training -p examples --bench recompute [-- B,T,I,H …]
//! ```
//!
//! Times are compared as in `lengths`. Bytes are what the process's allocator is asked for: what is alive
//! between forward and backward, the output counted, which the loss keeps as well, and the most at a time.
//!
//! How long the layer without takes hangs on the allocator. glibc's gives large pieces back to the system and
//! asks for them anew; to have it reuse them, as others do, run with
//! `MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=8000000000 MALLOC_TOP_PAD_=500000000`.

#[path = "../tests/allocations/mod.rs"]
mod allocations;
mod shapes;

use allocations::{Bytes, count};
use burn::tensor::{Device, Distribution, Tensor};
use lstm_core::{Lstm, LstmConfig, Recompute};
use std::time::Instant;

const SHAPES: [[usize; 4]; 4] = [
    [32, 1000, 16, 128],
    [64, 400, 2, 128],
    [8, 100, 4, 32],
    [32, 10_000, 2, 32],
];
const WARM_UP: usize = 3;
const TURNS: usize = 21;

fn main() {
    println!("LSTM, forward and backward on Flex; ratio to the layer that keeps everything");
    for shape in shapes::given_or(&SHAPES) {
        let [b, t, i, h] = shape;
        println!("B,T,I,H = {b},{t},{i},{h}");
        for how in [
            Recompute::SquareRoot,
            Recompute::Every(10),
            Recompute::Every(t),
        ] {
            compare(shape, how);
        }
    }
}

/// A figure of a pass.
type Figure = dyn Fn(&Pass) -> f64;

/// One forward and backward pass.
#[derive(Clone, Copy)]
struct Pass {
    milliseconds: f64,
    bytes: Bytes,
}

impl Pass {
    fn of(layer: &Lstm, input: &Tensor<3>) -> Self {
        let start = Instant::now();
        let bytes = count(
            || layer.forward(input.clone(), None).0.square().mean(),
            |loss| loss.backward(),
        );
        Self {
            milliseconds: start.elapsed().as_secs_f64() * 1e3,
            bytes,
        }
    }
}

fn compare([b, t, i, h]: [usize; 4], how: Recompute) {
    let device = Device::flex().autodiff();
    let input = Tensor::<3>::random([b, t, i], Distribution::Default, &device);
    let plain = LstmConfig::new(i, h, true).init(&device);
    let mut recomputing = plain.clone();
    recomputing.recompute = Some(how);
    let turns: Vec<[Pass; 2]> = (0..WARM_UP + TURNS)
        .map(|_| [&plain, &recomputing].map(|layer| Pass::of(layer, &input)))
        .skip(WARM_UP)
        .collect();
    let median = |of: &Figure| {
        let ratios = turns.iter().map(|[plain, other]| of(other) / of(plain));
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_by(f64::total_cmp);
        ratios[TURNS / 2]
    };
    let least = |which: usize, of: &Figure| {
        let passes = turns.iter().map(|turn| of(&turn[which]));
        passes.fold(f64::INFINITY, f64::min)
    };
    print!("  {:<12}", format!("{how:?}"));
    let figures: [(&str, &str, &Figure); 3] = [
        ("time", "ms", &|pass| pass.milliseconds),
        ("kept", "MB", &|pass| pass.bytes.kept as f64 / 1e6),
        ("peak", "MB", &|pass| pass.bytes.peak as f64 / 1e6),
    ];
    for (name, unit, of) in figures {
        let (ratio, [plain, other]) = (median(of), [0, 1].map(|which| least(which, of)));
        print!("  {name} × {ratio:.2} ({other:.2} {unit}, plain {plain:.2})");
    }
    println!();
}
