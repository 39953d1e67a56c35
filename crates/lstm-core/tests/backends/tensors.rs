//! Named tensors in `f64`, how to bring them to a device and back, and how to compare them.

use burn::tensor::{DType, Device, Tensor, TensorData};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// A tensor on the host.
#[derive(Clone, Debug)]
pub struct Host {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

impl Host {
    pub fn of<const D: usize>(tensor: Tensor<D>) -> Self {
        Self {
            shape: tensor.dims().to_vec(),
            values: tensor.into_data().iter::<f64>().collect(),
        }
    }

    pub fn to<const D: usize>(&self, device: &Device, dtype: DType) -> Tensor<D> {
        let data = TensorData::new(self.values.clone(), self.shape.clone());
        Tensor::from_data(data, (device, dtype))
    }
}

/// Tensors by name: `x`, `W`, `dW`, ...
pub type Named = BTreeMap<String, Host>;

/// The largest relative error seen, per backend and data type, and where.
static LARGEST: Mutex<BTreeMap<String, (f64, String)>> = Mutex::new(BTreeMap::new());

/// Fails unless every tensor of `want` is in `got`, equal within `tolerance` relative to the largest
/// element of the wanted tensor. (Relative to each element would ask of an element that is nearly
/// zero more digits than float32 carries through a sum.)
///
/// A gradient of a single element has no other element to be measured by, and its terms may cancel:
/// in a golden case `dx` is -0.0011, from terms whose sizes add up to 0.14. It is measured by the
/// largest element of all the case's gradients, which are gradients of the same loss.
pub fn compare(
    what: &str,
    key: &str,
    want: &Named,
    got: &Named,
    tolerance: f64,
) -> Result<(), String> {
    let size = |host: &Host| host.values.iter().fold(0.0, |a: f64, v| a.max(v.abs()));
    let gradients = want.iter().filter(|(name, _)| name.starts_with('d'));
    let largest_gradient = gradients.map(|(_, host)| size(host)).fold(0.0, f64::max);
    for (name, want) in want {
        let got = got
            .get(name)
            .ok_or_else(|| format!("{what}: no {name} came out"))?;
        if want.shape != got.shape {
            return Err(format!(
                "{what}: {name} must be {:?}, got {:?}",
                want.shape, got.shape
            ));
        }
        let scale = match name.starts_with('d') && want.values.len() == 1 {
            true => largest_gradient,
            false => size(want),
        };
        // `max` would drop a NaN: it counts as infinitely wrong.
        let error = want
            .values
            .iter()
            .zip(&got.values)
            .map(|(want, got)| (want - got).abs() / scale.max(f64::MIN_POSITIVE))
            .fold(
                0.0,
                |a: f64, e| if e.is_nan() { f64::INFINITY } else { a.max(e) },
            );
        let mut largest = LARGEST.lock().unwrap();
        let seen = largest.entry(key.to_string()).or_default();
        if error > seen.0 {
            *seen = (error, format!("{name} of {what}"));
        }
        if error > tolerance {
            return Err(format!(
                "{what}: {name} is off by {error:.2e} relative, more than {tolerance:.0e}"
            ));
        }
    }
    Ok(())
}

/// Prints what `compare` has seen.
pub fn print_largest_errors() {
    for (key, (error, place)) in LARGEST.lock().unwrap().iter() {
        println!("largest relative error, {key}: {error:.1e} ({place})");
    }
}
