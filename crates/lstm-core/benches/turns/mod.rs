//! Two ways to do the same work, in turn.
//!
//! A machine that is busy slows both: the ratio is the median of the turns' ratios, beside the least time of each.

use burn::tensor::{Device, Distribution, Tensor};
use std::time::Instant;

const WARM_UP: usize = 3;
const TURNS: usize = 31;

/// One way to do the work: an output to take a loss of.
pub type Work<'a> = &'a dyn Fn(Tensor<3>) -> Tensor<3>;

/// Prints how much longer `other` takes than `plain`.
pub fn compare(what: &str, shape: [usize; 3], plain: Work, other: Work) {
    let device = Device::flex().autodiff();
    let x = Tensor::<3>::random(shape, Distribution::Default, &device);
    let clock = |work: Work| {
        let start = Instant::now();
        let _gradients = work(x.clone()).square().mean().backward();
        start.elapsed().as_secs_f64() * 1e3
    };
    let turns: Vec<_> = (0..WARM_UP + TURNS)
        .map(|_| (clock(plain), clock(other)))
        .skip(WARM_UP)
        .collect();
    let mut ratios: Vec<f64> = turns.iter().map(|(plain, other)| other / plain).collect();
    ratios.sort_by(f64::total_cmp);
    let (plain, other): (Vec<f64>, Vec<f64>) = turns.into_iter().unzip();
    let least = |times: Vec<f64>| times.into_iter().fold(f64::INFINITY, f64::min);
    println!(
        "  {what:<32} × {:.2} ({:.2} ms, plain {:.2} ms)",
        ratios[TURNS / 2],
        least(other),
        least(plain)
    );
}
