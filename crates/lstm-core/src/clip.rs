//! Gradient clipping by global norm.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor};

/// The global norm of a module's gradients, `[1]`, on the device; `None` if there are no gradients.
///
/// It is float32, or float64 where a gradient is: the squares of half-precision gradients would overflow, or vanish.
pub fn global_norm(module: &impl Module, gradients: &GradientsParams) -> Option<Tensor<1>> {
    struct SumOfSquares<'a> {
        gradients: &'a GradientsParams,
        sum: Option<Tensor<1>>,
    }

    impl ModuleVisitor for SumOfSquares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.get::<D>(param.id) {
                let sum = self.sum.take();
                let wide = match (gradient.dtype(), sum.as_ref().map(Tensor::dtype)) {
                    (DType::F64, _) | (_, Some(DType::F64)) => DType::F64,
                    _ => DType::F32,
                };
                let square = gradient.cast(wide).square().sum();
                self.sum = Some(match sum {
                    Some(sum) => sum.cast(wide) + square,
                    None => square,
                });
            }
        }
    }

    let mut squares = SumOfSquares {
        gradients,
        sum: None,
    };
    module.visit(&mut squares);
    squares.sum.map(Tensor::sqrt)
}

/// Gradient clipping by [global norm](global_norm): scales all gradients of a module by one factor so that their norm is
/// at most `bound` (Pascanu, Mikolov & Bengio 2013, *On the difficulty of training recurrent neural networks*). Burn's
/// own clipping bounds the norm of each tensor separately, which changes the gradient's direction.
///
/// Nothing is read back from the device.
///
/// # Panics
///
/// If `bound` is negative or NaN.
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// use burn::optim::{GradientsParams, SgdConfig};
/// use lstm_core::{LstmConfig, clip_global_norm};
///
/// let device = Device::flex().autodiff();
/// let lstm = LstmConfig::new(3, 5, true).init(&device);
/// let mut optimizer = SgdConfig::new().init();
/// let (output, _) = lstm.forward(Tensor::ones([2, 7, 3], &device), None);
/// let gradients = GradientsParams::from_grads(output.sum().backward(), &lstm);
/// let gradients = clip_global_norm(&lstm, gradients, 1.0);
/// # let norm = lstm_core::global_norm(&lstm, &gradients).unwrap().into_scalar::<f32>();
/// # assert!((norm - 1.0).abs() < 1e-5);
/// let lstm = optimizer.step(0.1, lstm, gradients);
/// ```
pub fn clip_global_norm(
    module: &impl Module,
    gradients: GradientsParams,
    bound: f64,
) -> GradientsParams {
    struct Scale {
        gradients: GradientsParams,
        factor: Tensor<1>,
    }

    impl ModuleVisitor for Scale {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.remove::<D>(param.id) {
                // (A factor as small as float16 doesn't have may be the right one.)
                let (dtype, factor) = (gradient.dtype(), self.factor.clone().reshape([1; D]));
                let scaled = gradient.cast(factor.dtype()) * factor;
                self.gradients.register(param.id, scaled.cast(dtype));
            }
        }
    }

    assert!(
        bound >= 0.0,
        "clip_global_norm: bound must be 0 or a positive number, got {bound}"
    );
    let Some(norm) = global_norm(module, &gradients) else {
        return gradients;
    };
    let factor = match bound > 0.0 {
        true => (norm.recip() * bound).clamp_max(1.0),
        false => norm.zeros_like(), // of no gradient at all, (1 / 0) · 0 would be NaN
    };
    let mut scale = Scale { gradients, factor };
    module.visit(&mut scale);
    scale.gradients
}
