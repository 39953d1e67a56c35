//! Every activation is what its formula says, with its gradient, and Burn's where Burn has it, as text too.

use crate::cells::{H, I, assert_close};
use crate::gradients::differences;
use burn::module::Param;
use burn::nn::activation::{
    Activation, ActivationConfig, CeluConfig, EluConfig, HardShrinkConfig, HardSigmoidConfig,
    LeakyReluConfig, PReluConfig, ShrinkConfig, SoftShrinkConfig, SoftplusConfig, SwiGluConfig,
    ThresholdedReluConfig,
};
use burn::tensor::{DType, Device, Tensor};
use lstm_core::{
    AnyActivation, AnyActivationConfig, LstmCellConfig, Nonlinearity, Pointwise, Recurrent,
    RnnCellConfig,
};

type Formula = fn(f64) -> f64;

/// Those that Burn has no configuration of, and their formulas.
fn others() -> Vec<(Nonlinearity, Formula)> {
    use Nonlinearity::*;
    let constant = |number: f64| number.into();
    vec![
        (Relu6, |x| x.clamp(0.0, 6.0)),
        (Silu, |x| x / (1.0 + (-x).exp())),
        (Mish, |x| x * x.exp().ln_1p().tanh()),
        (LogSigmoid, |x| -(-x).exp().ln_1p()),
        (Exponential, f64::exp),
        (
            HardTanh {
                min: constant(-0.5),
                max: constant(0.8),
            },
            |x| x.clamp(-0.5, 0.8),
        ),
        (
            Affine {
                alpha: constant(0.5),
                beta: constant(0.1),
            },
            |x| 0.5 * x + 0.1,
        ),
        (
            ScaledTanh {
                alpha: constant(1.7159),
                beta: constant(2.0 / 3.0),
            },
            |x| 1.7159 * (2.0 / 3.0 * x).tanh(),
        ),
    ]
}

fn burns() -> Vec<ActivationConfig> {
    use ActivationConfig::*;
    vec![
        Identity,
        Gelu,
        GeluApproximate,
        Relu,
        LeakyRelu(LeakyReluConfig::new()),
        Selu,
        Sigmoid,
        Tanh,
        HardSigmoid(HardSigmoidConfig::new().with_alpha(1.0 / 6.0)),
        HardSwish,
        Softplus(SoftplusConfig::new().with_beta(1.5)),
        Softsign,
        Elu(EluConfig::new()),
        Celu(CeluConfig::new().with_alpha(0.7)),
        ThresholdedRelu(ThresholdedReluConfig::new().with_alpha(0.3)),
        HardShrink(HardShrinkConfig::new()),
        SoftShrink(SoftShrinkConfig::new().with_lambda(0.2)),
        Shrink(ShrinkConfig::new().with_lambda(0.3).with_bias(0.2)),
    ]
}

fn points(dtype: DType) -> Tensor<2> {
    let numbers: Vec<f64> = (0..97).map(|k| f64::from(k - 48) / 8.0).collect();
    Tensor::<1>::from_data(&numbers[..], (&Device::flex(), dtype)).reshape([97, 1])
}

#[test]
fn formulas() {
    let x = points(DType::F64);
    for (function, formula) in others() {
        let values = Pointwise(function).forward(x.clone()).into_data();
        for (x, value) in x.to_data().iter::<f64>().zip(values.iter::<f64>()) {
            let want = formula(x);
            assert!(
                (value - want).abs() < 1e-8,
                "{function}({x}) is {value}, not {want}"
            );
        }
    }
}

#[test]
fn burns_activations_are_the_same_and_written_the_same() {
    let device = Device::flex();
    for config in burns() {
        let text = config.to_string();
        let read: AnyActivationConfig = serde_json::from_str(&text).unwrap();
        assert!(matches!(read, AnyActivationConfig::Pointwise(_)), "{text}");
        let ours = AnyActivationConfig::from(config.clone()).init(&device);
        assert_eq!(read.init(&device).pointwise(), ours.pointwise(), "{text}");
        let x = points(DType::F32);
        let want = config.init(&device).forward(x.clone());
        assert_close(&text, &ours.forward(x.clone()), &want, 1e-6);
        let back = Activation::try_from(ours).unwrap();
        assert_close(&text, &back.forward(x), &want, 0.0);
    }
    for (function, _) in others() {
        assert!(Activation::try_from(AnyActivation::from(function)).is_err());
    }
}

/// Numbers whose squares or multiples are infinite have the values of those before them.
#[test]
fn numbers_as_large_as_there_are() {
    let device = Device::flex();
    let softplus = Nonlinearity::Softplus {
        beta: 4.0.into(),
        threshold: 20.0.into(),
    };
    for function in [Nonlinearity::Gelu, softplus] {
        let mut cell = RnnCellConfig::new(1, 1)
            .with_bias(false)
            .with_hidden_activation(function)
            .init(&device);
        cell.input_weight = Param::from_tensor(Tensor::ones([1, 1], &device));
        let sums = [3e38f32, 1e30, 1e20, 40.0, -40.0, -1e20, -1e30, -3e38];
        let x = Tensor::<1>::from_data(sums, &device).reshape([8, 1, 1]);
        let (values, _) = Recurrent::new(cell).forward(x, None);
        let values = values.into_data();
        for (sum, value) in sums.into_iter().zip(values.iter::<f32>()) {
            let error = (value - sum.max(0.0)).abs();
            assert!(error < 1e-30, "{function} of {sum} is {value}");
        }
    }
}

#[test]
fn those_with_parameters_run_the_loop() {
    let device = Device::flex();
    for config in [
        ActivationConfig::PRelu(PReluConfig::new()),
        ActivationConfig::SwiGlu(SwiGluConfig::new(3, 3)),
    ] {
        let text = config.to_string();
        let read: AnyActivationConfig = serde_json::from_str(&text).unwrap();
        assert!(read.init(&device).pointwise().is_none(), "{text}");
    }
}

#[test]
fn configs_of_the_versions_before_load() {
    let text = r#"{"d_input":3,"d_hidden":5,"clip":null,"bias":true,"forget_bias":1.0,"chrono":null,
        "input_initializer":"Zeros","recurrent_initializer":"Zeros","input_forget":false,
        "gate_activation":{"HardSigmoid":{"alpha":0.2,"beta":0.5}},"cell_activation":"GeluApproximate",
        "hidden_activation":{"PRelu":{"num_parameters":1,"alpha":0.25}}}"#;
    let config: LstmCellConfig = serde_json::from_str(text).unwrap();
    let cell = config.init(&Device::flex());
    let (alpha, beta) = (0.2.into(), 0.5.into());
    let gate = Nonlinearity::HardSigmoid { alpha, beta };
    assert_eq!(cell.gate_activation.pointwise(), Some(gate));
    let candidate = Nonlinearity::GeluApproximate;
    assert_eq!(cell.cell_activation.pointwise(), Some(candidate));
    assert!(matches!(cell.hidden_activation, AnyActivation::PRelu(_)));
    assert_eq!(cell.clip_sums, None);
}

#[test]
fn gradients_against_central_differences() {
    let device = Device::flex().autodiff();
    let functions = others().into_iter().map(|(function, _)| function);
    let burns = burns().into_iter();
    let burns =
        burns.filter_map(|config| AnyActivationConfig::from(config).init(&device).pointwise());
    for function in functions.chain(burns) {
        // Without a bound e^x of e^x of e^x is too much.
        let rnn = RnnCellConfig::new(I, H)
            .with_hidden_activation(function)
            .with_clip_sums(Some(1.5));
        differences(&format!("rnn with {function}"), rnn.init(&device));
    }
}
