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
    /// (On one thread, a third of a nanosecond a number. Threads that are woken for it take more from the kernels that
    /// follow.)
    pub fn draw(shares: &[f64], shape: [usize; 3], device: &Device) -> TensorData {
        let [batch, time, width] = shape;
        let units = width / shares.len();
        let mut generator = Xoshiro256PlusPlus::from_rng(&mut generator(device));
        let mut numbers = Vec::with_capacity(batch * time * width);
        let mut words = vec![0u16; width];
        // Of 2³² words as many as the share has.
        let counts: Vec<_> = (shares.iter().map(|share| (share * 2f64.powi(32)) as u64)).collect();
        for _ in 0..batch * time {
            generator.fill(&mut words[..]);
            for (words, count) in words.chunks_exact(units).zip(&counts) {
                let start = numbers.len();
                if count >> 32 > 0 {
                    numbers.resize(start + units, 1.0);
                    continue;
                }
                // The upper half says which a word is, but for one in 65,536, where the lower half is drawn too.
                let (upper, lower) = ((count >> 16) as u16, *count as u16);
                numbers.extend(words.iter().map(|word| f32::from(u8::from(*word < upper))));
                if words.contains(&upper) {
                    let ties = numbers[start..].iter_mut().zip(words);
                    for (number, _) in ties.filter(|(_, word)| **word == upper) {
                        *number = f32::from(u8::from(generator.random::<u16>() < lower));
                    }
                }
            }
        }
        TensorData::new(numbers, shape)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// Shares that no word's upper half tells from others, and none and all.
        #[test]
        fn the_share_is_drawn_to_the_last_bit() {
            let shares = [0.0, 2f64.powi(-17), 0.1, 1.0 - 2f64.powi(-17), 1.0];
            let width = 1 << 20;
            let mut ones = [0u64; 5];
            const TIMES: u64 = 16;
            for _ in 0..TIMES {
                let numbers = draw(&shares, [1, 1, 5 * width], &Device::default());
                let numbers: &[f32] = numbers.as_slice().expect("float32");
                for (ones, of) in ones.iter_mut().zip(numbers.chunks_exact(width)) {
                    *ones += of.iter().map(|number| *number as u64).sum::<u64>();
                }
            }
            let all = TIMES * width as u64;
            assert_eq!([ones[0], ones[4]], [0, all]);
            for (ones, share) in ones.into_iter().zip(shares) {
                let (want, all) = (share * all as f64, all as f64);
                let deviation = (all * share * (1.0 - share)).sqrt();
                assert!(
                    (ones as f64 - want).abs() <= 5.0 * deviation,
                    "{share}: {ones}"
                );
            }
        }
    }
}
