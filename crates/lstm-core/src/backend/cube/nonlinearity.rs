//! Nonlinearities and bounds on the GPU, and their slopes.
//!
//! Of a function whose slope follows from its value, the value is saved for backward; of the others, what
//! it was applied to.

use crate::nonlinearity::{Nonlinearity, Real};
use burn_cubecl::cubecl::{self, prelude::*};

/// A function's value at some point, and what to save for backward.
#[derive(CubeType, Clone, Copy)]
pub struct Activated<N: Size> {
    pub value: Vector<f32, N>,
    pub saved: Vector<f32, N>,
}

/// A function's value at some point, and its slope there.
#[derive(CubeType, Clone, Copy)]
pub struct Sloped<N: Size> {
    pub value: Vector<f32, N>,
    pub slope: Vector<f32, N>,
}

/// A function of a sum, which may have a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OfSum {
    pub function: Nonlinearity,
    /// The bound of the sum.
    pub clip: Option<Real>,
}

impl OfSum {
    pub const fn new(function: Nonlinearity, clip: Option<Real>) -> Self {
        Self { function, clip }
    }

    /// Whether the value is what is saved for backward.
    pub const fn saves_value(self) -> bool {
        self.clip.is_none()
            && matches!(
                self.function,
                Nonlinearity::Identity
                    | Nonlinearity::Tanh
                    | Nonlinearity::Sigmoid
                    | Nonlinearity::Relu
            )
    }
}

/// The function at `x`.
#[cube]
pub fn activate<N: Size>(x: Vector<f32, N>, #[comptime] of: OfSum) -> Activated<N> {
    let bounded = clip::<N>(x, comptime!(of.clip));
    let value = with_slope::<N>(bounded, comptime!(of.function)).value;
    let saved = if comptime!(of.saves_value()) {
        value
    } else {
        x
    };
    Activated::<N> { value, saved }
}

/// The function and its slope, from what [`activate`] saved. At a corner the slope is Burn's.
#[cube]
pub fn reactivate<N: Size>(saved: Vector<f32, N>, #[comptime] of: OfSum) -> Sloped<N> {
    let one = Vector::<f32, N>::new(1.0f32);
    if comptime!(of.saves_value()) {
        let slope = match comptime!(of.function) {
            Nonlinearity::Tanh => one - saved * saved,
            Nonlinearity::Sigmoid => saved * (one - saved),
            Nonlinearity::Relu => where_positive::<N>(saved, one),
            _ => one,
        };
        Sloped::<N> {
            value: saved,
            slope,
        }
    } else {
        let bounded = clip::<N>(saved, comptime!(of.clip));
        let of_bounded = with_slope::<N>(bounded, comptime!(of.function));
        Sloped::<N> {
            value: of_bounded.value,
            slope: pass_clip::<N>(saved, of_bounded.slope, comptime!(of.clip)),
        }
    }
}

/// The function and its slope at `x`. (Where only one of them is read, the driver drops the other.)
#[cube]
fn with_slope<N: Size>(x: Vector<f32, N>, #[comptime] function: Nonlinearity) -> Sloped<N> {
    let zero = Vector::<f32, N>::new(0.0f32);
    let one = Vector::<f32, N>::new(1.0f32);
    match comptime!(function) {
        Nonlinearity::Identity => Sloped::<N> {
            value: x,
            slope: one,
        },
        Nonlinearity::Tanh => {
            let value = tanh::<N>(x);
            Sloped::<N> {
                value,
                slope: one - value * value,
            }
        }
        Nonlinearity::Sigmoid => {
            let value = sigmoid::<N>(x);
            Sloped::<N> {
                value,
                slope: value * (one - value),
            }
        }
        Nonlinearity::Relu => Sloped::<N> {
            value: x.max(zero),
            slope: where_positive::<N>(x, one),
        },
        Nonlinearity::Relu6 => between::<N>(zero, Vector::new(6.0f32), x),
        Nonlinearity::LeakyRelu {
            negative_slope: alpha,
        } => {
            let slope = select_many(x.greater_than(&zero), one, number::<N>(alpha));
            Sloped::<N> {
                value: slope * x,
                slope,
            }
        }
        Nonlinearity::ThresholdedRelu { alpha } => {
            let above = x - number::<N>(alpha);
            Sloped::<N> {
                value: where_positive::<N>(above, x),
                slope: where_positive::<N>(above, one),
            }
        }
        Nonlinearity::Elu { alpha } => elu::<N>(number::<N>(alpha), one, x),
        Nonlinearity::Celu { alpha } => {
            let alpha = number::<N>(alpha);
            elu::<N>(alpha, one / alpha, x)
        }
        Nonlinearity::Selu => {
            let factor = Vector::<f32, N>::new(1.050_701f32);
            let of = elu::<N>(Vector::new(1.673_263_2f32), one, x);
            Sloped::<N> {
                value: factor * of.value,
                slope: factor * of.slope,
            }
        }
        Nonlinearity::Gelu => {
            let half = Vector::<f32, N>::new(0.5f32);
            let below = half + half * (x * Vector::new(0.707_106_77f32)).erf();
            let density = (zero - half * x * x).exp() * Vector::new(0.398_942_3f32);
            Sloped::<N> {
                value: x * below,
                slope: below + x * density,
            }
        }
        Nonlinearity::GeluApproximate => {
            // (1 + tanh u) / 2 = σ(2u), of 2 √(2/π) (x + 0.044715 x³).
            let scale = Vector::<f32, N>::new(1.595_769_f32);
            let square = Vector::<f32, N>::new(0.071_354_814f32) * x * x;
            let y = sigmoid::<N>(x * (square + scale));
            let inner = Vector::<f32, N>::new(3.0f32) * square + scale;
            Sloped::<N> {
                value: x * y,
                slope: y + x * inner * y * (one - y),
            }
        }
        Nonlinearity::Silu => {
            let y = sigmoid::<N>(x);
            Sloped::<N> {
                value: x * y,
                slope: y + x * y * (one - y),
            }
        }
        Nonlinearity::HardSwish => {
            let y = hard_sigmoid::<N>(Vector::new(0.166_666_67f32), Vector::new(0.5f32), x);
            Sloped::<N> {
                value: x * y.value,
                slope: y.value + x * y.slope,
            }
        }
        Nonlinearity::Mish => {
            // With n = e^x (e^x + 2), tanh(ln(1 + e^x)) = n / (n + 2).
            let two = Vector::<f32, N>::new(2.0f32);
            let e = x.min(Vector::new(20.0f32)).exp();
            let n = e * (e + two);
            let y = n / (n + two);
            let rest = two / (n + two);
            Sloped::<N> {
                value: x * y,
                slope: y + x * rest * (one + y) * sigmoid::<N>(x),
            }
        }
        Nonlinearity::Softplus { beta, threshold } => {
            let scaled = number::<N>(beta) * x;
            let above = scaled.greater_than(&number::<N>(threshold));
            Sloped::<N> {
                value: select_many(above, x, softplus::<N>(scaled) / number::<N>(beta)),
                slope: select_many(above, one, sigmoid::<N>(scaled)),
            }
        }
        Nonlinearity::LogSigmoid => Sloped::<N> {
            value: zero - softplus::<N>(zero - x),
            slope: sigmoid::<N>(zero - x),
        },
        Nonlinearity::Softsign => {
            let scale = one / (one + x.max(zero - x));
            Sloped::<N> {
                value: x * scale,
                slope: scale * scale,
            }
        }
        Nonlinearity::Exponential => {
            let value = x.exp();
            Sloped::<N> {
                value,
                slope: value,
            }
        }
        Nonlinearity::HardSigmoid { alpha, beta } => {
            hard_sigmoid::<N>(number::<N>(alpha), number::<N>(beta), x)
        }
        Nonlinearity::HardTanh { min, max } => between::<N>(number::<N>(min), number::<N>(max), x),
        Nonlinearity::Affine { alpha, beta } => Sloped::<N> {
            value: number::<N>(alpha) * x + number::<N>(beta),
            slope: number::<N>(alpha),
        },
        Nonlinearity::ScaledTanh { alpha, beta } => {
            let y = tanh::<N>(number::<N>(beta) * x);
            Sloped::<N> {
                value: number::<N>(alpha) * y,
                slope: number::<N>(alpha) * number::<N>(beta) * (one - y * y),
            }
        }
        Nonlinearity::HardShrink { lambda } => shrink::<N>(number::<N>(lambda), zero, x),
        Nonlinearity::SoftShrink { lambda } => {
            shrink::<N>(number::<N>(lambda), number::<N>(lambda), x)
        }
        Nonlinearity::Shrink { lambda, bias } => {
            shrink::<N>(number::<N>(lambda), number::<N>(bias), x)
        }
    }
}

/// `tanh(x)`, which in float32 is ±1 from 9.02 on. Some drivers divide exponentials by each other, and have no number where
/// both are infinite. (`x` that is not a number stays so.)
#[cube]
pub fn tanh<N: Size>(x: Vector<f32, N>) -> Vector<f32, N> {
    let most = Vector::<f32, N>::new(10.0f32);
    let least = Vector::<f32, N>::new(-10.0f32);
    let x = select_many(x.greater_than(&most), most, x);
    let x = select_many(least.greater_than(&x), least, x);
    x.tanh()
}

/// `1 / (1 + e^-x)`, in a form in which no driver makes an infinity on the way.
#[cube]
pub fn sigmoid<N: Size>(x: Vector<f32, N>) -> Vector<f32, N> {
    let half = Vector::<f32, N>::new(0.5f32);
    half + half * tanh::<N>(half * x)
}

/// `ln(1 + e^x)`
#[cube]
pub fn softplus<N: Size>(x: Vector<f32, N>) -> Vector<f32, N> {
    // max(0, x) + ln(1 + u) with u = e^-|x|, and ln(1 + u) = 2 artanh(u / (2 + u)), as on the CPU.
    let zero = Vector::<f32, N>::new(0.0f32);
    let u = x.min(zero - x).exp();
    let s = u / (Vector::<f32, N>::new(2.0f32) + u);
    let square = s * s;
    let mut sum = Vector::<f32, N>::new(0.281_783_26f32);
    sum = sum * square + Vector::new(0.279_606_05f32);
    sum = sum * square + Vector::new(0.400_249_1f32);
    sum = sum * square + Vector::new(0.666_663_1f32);
    sum = sum * square + Vector::new(2.0f32);
    s * sum + x.max(zero)
}

/// `x` where `of` is above zero, else zero.
#[cube]
pub fn where_positive<N: Size>(of: Vector<f32, N>, x: Vector<f32, N>) -> Vector<f32, N> {
    let zero = Vector::<f32, N>::new(0.0f32);
    select_many(of.greater_than(&zero), x, zero)
}

/// `x` above zero, `alpha (e^(scale x) - 1)` below.
#[cube]
fn elu<N: Size>(alpha: Vector<f32, N>, scale: Vector<f32, N>, x: Vector<f32, N>) -> Sloped<N> {
    let zero = Vector::<f32, N>::new(0.0f32);
    let above = x.greater_than(&zero);
    let below = alpha * (scale * x.min(zero)).exp();
    Sloped::<N> {
        value: select_many(above, x, below - alpha),
        slope: select_many(above, Vector::new(1.0f32), scale * below),
    }
}

/// `x` within `[min, max]`.
#[cube]
fn between<N: Size>(min: Vector<f32, N>, max: Vector<f32, N>, x: Vector<f32, N>) -> Sloped<N> {
    let zero = Vector::<f32, N>::new(0.0f32);
    let slope = select_many(x.greater_than(&max), zero, Vector::new(1.0f32));
    Sloped::<N> {
        value: x.max(min).min(max),
        slope: select_many(x.less_than(&min), zero, slope),
    }
}

/// `alpha x + beta` within `[0, 1]`.
#[cube]
fn hard_sigmoid<N: Size>(
    alpha: Vector<f32, N>,
    beta: Vector<f32, N>,
    x: Vector<f32, N>,
) -> Sloped<N> {
    let zero = Vector::<f32, N>::new(0.0f32);
    let y = between::<N>(zero, Vector::new(1.0f32), alpha * x + beta);
    Sloped::<N> {
        value: y.value,
        slope: alpha * y.slope,
    }
}

/// `x - bias` above `lambda`, `x + bias` below `-lambda`, else zero.
#[cube]
fn shrink<N: Size>(lambda: Vector<f32, N>, bias: Vector<f32, N>, x: Vector<f32, N>) -> Sloped<N> {
    let one = Vector::<f32, N>::new(1.0f32);
    let zero = Vector::<f32, N>::new(0.0f32);
    let (above, below) = (x - lambda, zero - lambda - x);
    Sloped::<N> {
        value: where_positive::<N>(above, x - bias) + where_positive::<N>(below, x + bias),
        slope: where_positive::<N>(above, one) + where_positive::<N>(below, one),
    }
}

/// `x` within `[-bound, bound]`, if there is a bound.
#[cube]
pub fn clip<N: Size>(x: Vector<f32, N>, #[comptime] bound: Option<Real>) -> Vector<f32, N> {
    match comptime!(bound) {
        Option::Some(bound) => {
            let bound = number::<N>(bound);
            x.max(Vector::<f32, N>::new(0.0f32) - bound).min(bound)
        }
        Option::None => x,
    }
}

/// The gradient with respect to `x` from that with respect to [`clip`]'s result: zero outside the bound.
#[cube]
pub fn pass_clip<N: Size>(
    x: Vector<f32, N>,
    grad: Vector<f32, N>,
    #[comptime] bound: Option<Real>,
) -> Vector<f32, N> {
    match comptime!(bound) {
        Option::Some(bound) => {
            let zero = Vector::<f32, N>::new(0.0f32);
            let outside = x.max(zero - x).greater_than(&number::<N>(bound));
            select_many(outside, zero, grad)
        }
        Option::None => grad,
    }
}

#[cube]
fn number<N: Size>(#[comptime] real: Real) -> Vector<f32, N> {
    // (The shading language of browsers has no infinity, and no sum lies between it and the largest number.)
    let number = comptime!((real.get() as f32).clamp(f32::MIN, f32::MAX));
    Vector::new(number.runtime())
}
