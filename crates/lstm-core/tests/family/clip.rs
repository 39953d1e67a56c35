//! Clipping by the global norm, whatever the type of the gradients.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor};
use lstm_core::{clip_global_norm, global_norm};

#[derive(Module, Debug)]
struct Two {
    first: Param<Tensor<1>>,
    second: Param<Tensor<2>>,
}

/// Two parameters whose gradients are 3 and 4 times `scale`.
fn gradients(scale: f64, dtypes: [DType; 2]) -> (Two, GradientsParams) {
    let device = Device::flex().autodiff();
    let ones = |dtype| Tensor::<1>::ones([1], &device).cast(dtype);
    let two = Two {
        first: Param::from_tensor(ones(dtypes[0])),
        second: Param::from_tensor(ones(dtypes[1]).unsqueeze()),
    };
    let of = |tensor: Tensor<1>, factor: f64| (tensor * (factor * scale)).cast(DType::F64).sum();
    let loss = of(two.first.val(), 3.0) + of(two.second.val().flatten(0, 1), 4.0);
    let gradients = GradientsParams::from_grads(loss.backward(), &two);
    (two, gradients)
}

/// In float16 the square of 300 overflows, and that of 1e-4 is zero.
#[test]
fn half_precision_gradients_keep_their_direction() {
    let (half, single, double) = (DType::F16, DType::F32, DType::F64);
    for dtypes in [
        [single; 2],
        [double; 2],
        [half; 2],
        [half, single],
        [double, half],
        [half, DType::BF16],
    ] {
        for scale in [1.0, 300.0, 1e-4] {
            let (two, gradients) = gradients(scale, dtypes);
            let norm = global_norm(&two, &gradients).unwrap();
            let norm = norm.try_into_scalar::<f64>().unwrap();
            assert!(
                (norm / (5.0 * scale) - 1.0).abs() < 0.01,
                "{dtypes:?}: {norm}, not 5 × {scale}"
            );
            let clipped = clip_global_norm(&two, gradients, 0.5 * scale);
            let first = clipped.get::<1>(two.first.id).unwrap();
            let second = clipped.get::<2>(two.second.id).unwrap();
            assert_eq!([first.dtype(), second.dtype()], dtypes);
            for (got, want) in [(first.into_data(), 0.3), (second.into_data(), 0.4)] {
                let got = got.iter::<f64>().next().unwrap();
                assert!(
                    (got / (want * scale) - 1.0).abs() < 0.01,
                    "{dtypes:?}: {got}, not {want} × {scale}"
                );
            }
        }
    }
}

/// Nothing is left of any gradient, of none either.
#[test]
fn a_bound_of_zero_clips_all() {
    for scale in [0.0, 1.0] {
        let (two, gradients) = gradients(scale, [DType::F32; 2]);
        let clipped = clip_global_norm(&two, gradients, 0.0);
        let first = clipped.get::<1>(two.first.id).unwrap();
        assert_eq!(first.into_data().iter::<f32>().next(), Some(0.0));
    }
}

/// In float16 the factor itself would be zero.
#[test]
fn a_factor_may_be_smaller_than_the_gradients_type_has() {
    let (two, gradients) = gradients(12_000.0, [DType::F16; 2]);
    let clipped = clip_global_norm(&two, gradients, 1e-3);
    let second = clipped.get::<2>(two.second.id).unwrap().into_data();
    let second = second.iter::<f64>().next().unwrap();
    assert!((second / 0.8e-3 - 1.0).abs() < 0.01, "{second}");
}

#[test]
#[should_panic = "bound must be 0 or a positive number, got -1"]
fn a_negative_bound_is_refused() {
    let (two, gradients) = gradients(1.0, [DType::F32; 2]);
    clip_global_norm(&two, gradients, -1.0);
}
