//! Weights of any cell as Burn's module API may leave them: quantised, of another type, on another device.

use crate::cell::Cell;
use crate::shape;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, FloatDType, Tensor};
use std::borrow::Cow;

/// Casts a module's weights to another float type, in which it computes from then on.
///
/// Weights stay trainable or frozen as they were, with their adapters, which are cast as well.
/// Quantised weights stay quantised; layers dequantise them to the type of the input.
///
/// ```
/// use burn::tensor::{DType, Device, FloatDType, Tensor};
/// use lstm_core::LstmConfig;
///
/// let device = Device::flex();
/// let lstm = lstm_core::cast(LstmConfig::new(3, 5, true).init(&device), FloatDType::F16);
/// let (output, _) = lstm.forward(Tensor::ones([2, 7, 3], (&device, DType::F16)), None);
/// assert_eq!(output.dtype(), DType::F16);
/// ```
pub fn cast<M: Module>(module: M, dtype: FloatDType) -> M {
    struct Cast(FloatDType);

    impl ModuleMapper for Cast {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|weight| {
                if is_quantized(weight.dtype()) {
                    return weight;
                }
                // Without `detach`, the cast weight would be part of the graph of the one it was cast from.
                let trained = weight.is_require_grad();
                let weight = weight.cast(self.0).detach();
                match trained {
                    true => weight.require_grad(),
                    false => weight,
                }
            })
        }
    }

    module.map(&mut Cast(dtype))
}

/// The cell, ready to run: quantised weights are dequantised to the input's type.
///
/// # Panics
///
/// If the input is not on the weights' device.
#[track_caller]
pub(crate) fn ready<'a, C: Cell, const D: usize>(
    operation: &str,
    cell: &'a C,
    input: &Tensor<D>,
) -> Cow<'a, C> {
    struct Look {
        quantized: bool,
        device: Device,
        elsewhere: Option<Device>,
    }

    impl ModuleVisitor for Look {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.quantized |= is_quantized(param.dtype());
            let device = param.device();
            if device != self.device {
                self.elsewhere = Some(device);
            }
        }
    }

    struct Dense(DType);

    impl ModuleMapper for Dense {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            match is_quantized(param.dtype()) {
                true => param.map(|weight| dense(weight).cast(self.0)),
                false => param,
            }
        }
    }

    let mut look = Look {
        quantized: false,
        device: input.device(),
        elsewhere: None,
    };
    cell.visit(&mut look);
    if let Some(weights) = &look.elsewhere {
        shape::check_device(operation, "input", "weights are", weights, &look.device);
    }
    match look.quantized {
        true => Cow::Owned(cell.clone().map(&mut Dense(input.dtype()))),
        false => Cow::Borrowed(cell),
    }
}

/// A parameter's sizes, without drawing it.
pub(crate) fn dims<const D: usize>(param: &Param<Tensor<D>>) -> [usize; D] {
    param.lazy_shape().dims()
}

/// A parameter's type or, if it is quantised, that of its values, without drawing it.
pub(crate) fn dtype<const D: usize>(param: &Param<Tensor<D>>) -> DType {
    match param.is_initialized() {
        true => dense(param.val()).dtype(),
        false => param.lazy_device().settings().float_dtype.into(),
    }
}

/// The tensor, dequantised if necessary.
pub(crate) fn dense<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    match is_quantized(tensor.dtype()) {
        true => tensor.dequantize(),
        false => tensor,
    }
}

pub(crate) fn is_quantized(dtype: DType) -> bool {
    matches!(dtype, DType::QFloat(_))
}
