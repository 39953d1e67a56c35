//! What zoneout draws for a whole sequence.

use super::tensor::side_by_side;
use burn::nn::Dropout;
use burn::tensor::{Distribution, Tensor};

/// The share of each step's change that the states take under zoneout, `[B, T, (1 + M)·H]`: 0 or 1 in
/// training, otherwise the same at all steps.
pub(super) fn change(zoneout: &[Dropout], input: &Tensor<3>, units: usize) -> Option<Tensor<3>> {
    let [batch, time, _] = input.dims();
    let device = input.device();
    let shape = [batch, time, zoneout.len() * units];
    let options = (&device, input.dtype());
    let draws = |keep: &Dropout| keep.training.is_enabled() && device.is_autodiff();
    #[cfg(any(feature = "flex", feature = "ndarray"))]
    if !zoneout.is_empty() && zoneout.iter().all(draws) && here::lies(&device) {
        let shares: Vec<_> = zoneout.iter().map(|keep| 1.0 - keep.prob).collect();
        let numbers = here::draw(&shares, shape, &device);
        return Some(Tensor::from_data(numbers, options));
    }
    let of_a_state = match device.is_autodiff() {
        true => [batch, time, units],
        false => [1, 1, units],
    };
    let each = zoneout.iter().map(|keep| match 1.0 - keep.prob {
        // (By hand: dropout's own scaling, and undoing it, take as long as drawing.)
        share if share < 1.0 && draws(keep) => {
            Tensor::<3>::random(of_a_state, Distribution::Bernoulli(share), options)
        }
        share => Tensor::full(of_a_state, share, options),
    });
    Some(side_by_side(each.collect())?.expand(shape))
}

/// In this machine's memory, where Burn's generator would take as long as the kernels: it draws a number at a time.
#[cfg(any(feature = "flex", feature = "ndarray"))]
mod here {
    use crate::init::generator;
    use burn::backend::DispatchDevice;
    use burn::tensor::{Device, TensorData};
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    /// Whether a device's tensors lie there.
    pub fn lies(device: &Device) -> bool {
        match device.clone().without_autodiff().as_dispatch() {
            #[cfg(feature = "flex")]
            DispatchDevice::Flex(_) => true,
            #[cfg(feature = "ndarray")]
            DispatchDevice::NdArray(_) => true,
            #[allow(unreachable_patterns)] // If there are no others.
            _ => false,
        }
    }

    /// Ones with the probability of each state, and zeros, `[B, T, (1 + M)·H]`.
    ///
    /// (On one thread, half a nanosecond a number. Threads that are woken for it take more from the kernels that
    /// follow.)
    pub fn draw(shares: &[f64], shape: [usize; 3], device: &Device) -> TensorData {
        let [_, _, width] = shape;
        let units = width / shares.len();
        let mut generator = Xoshiro256PlusPlus::from_rng(&mut generator(device));
        let mut numbers = vec![0f32; shape.iter().product()];
        let mut words = vec![0u32; width];
        for step in numbers.chunks_exact_mut(width) {
            generator.fill(&mut words[..]);
            let states = step.chunks_exact_mut(units).zip(words.chunks_exact(units));
            for ((numbers, words), share) in states.zip(shares) {
                // Of 2³² words as many as the share has.
                let last = (share * 2f64.powi(32) - 1.0) as u32;
                let drawn = words.iter().map(|word| f32::from(u8::from(*word <= last)));
                numbers.iter_mut().zip(drawn).for_each(|(n, one)| *n = one);
            }
        }
        TensorData::new(numbers, shape)
    }
}
