//! Constants of a model, and the evaluation of simple operators on them.

use super::proto::{DataLocation, DataType, SparseTensor, Tensor};
use burn::tensor::{bf16, f16};
use prost::bytes::Bytes;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Numbers, row-major.
#[derive(Clone)]
pub struct Array {
    pub shape: Vec<usize>,
    pub dtype: DataType,
    /// Little-endian, as in the file.
    pub bytes: Bytes,
}

/// The budget of bytes that may still be allocated: a corrupt model may ask for any number of them.
pub struct Budget(usize);

impl Default for Budget {
    /// Enough for the largest layer's zeros.
    fn default() -> Self {
        Self(4 << 20)
    }
}

impl Budget {
    /// Adds what a model of so many bytes may ask for: each of its values a few times, in larger types.
    pub fn allow(&mut self, len: usize) {
        self.0 = self.0.saturating_add(len.saturating_mul(64));
    }

    /// The bytes of values of this shape, if they may be made.
    fn spend(&mut self, shape: &[usize], size: usize) -> Result<usize, String> {
        let bytes = count(shape).and_then(|count| count.checked_mul(size));
        let left = bytes.and_then(|bytes| self.0.checked_sub(bytes.saturating_add(64)));
        match (bytes, left) {
            (Some(bytes), Some(left)) => {
                self.0 = left;
                Ok(bytes)
            }
            _ => Err(format!("it would be far larger than the model: {shape:?}")),
        }
    }

    /// One step more, which takes time even if it makes nothing.
    pub fn step(&mut self) -> Result<(), String> {
        let spent = self.spend(&[], 64);
        spent
            .map(drop)
            .map_err(|_| "it is made by too many operators".to_string())
    }
}

fn count(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1usize, |product, size| product.checked_mul(*size))
}

fn product(shape: &[usize]) -> usize {
    count(shape).unwrap_or(usize::MAX)
}

/// Bytes of a value; none if values share bytes, or aren't numbers.
pub fn size_of(dtype: DataType) -> Option<usize> {
    use DataType::*;
    match dtype {
        Uint8 | Int8 | Bool | Float8e4m3fn | Float8e4m3fnuz | Float8e5m2 | Float8e5m2fnuz
        | Float8e8m0 => Some(1),
        Uint16 | Int16 | Float16 | Bfloat16 => Some(2),
        Float | Int32 | Uint32 => Some(4),
        Double | Int64 | Uint64 | Complex64 => Some(8),
        Complex128 => Some(16),
        _ => None,
    }
}

/// The sizes of a tensor.
pub fn shape_of(dims: &[i64]) -> Result<Vec<usize>, String> {
    let size = |dim: &i64| usize::try_from(*dim).map_err(|_| format!("its shape is {dims:?}"));
    dims.iter().map(size).collect()
}

/// Where a tensor's values are.
#[derive(Clone)]
pub enum Data {
    Here(Bytes),
    /// In another file: its path, the folder it must be in, the place there, and how many bytes.
    Beside(PathBuf, Arc<Folder>, u64, usize),
}

/// Where a model is: other files may be beside it.
pub struct Folder {
    path: PathBuf,
    /// The folders that the model's path and, if it is a link, the model itself are in.
    real: Vec<PathBuf>,
}

impl Folder {
    /// The folder of a model.
    pub fn of(model: &Path) -> Arc<Self> {
        let path = model.parent().unwrap_or(Path::new("")).to_path_buf();
        let real = [
            path.join(".").canonicalize().ok(),
            model.canonicalize().ok(),
        ];
        let [folder, model] = real;
        let model = model.and_then(|model| Some(model.parent()?.to_path_buf()));
        Arc::new(Self {
            path,
            real: folder.into_iter().chain(model).collect(),
        })
    }

    /// The file that a tensor's values are in, if they are not in the model but in its folder.
    pub fn file_of(&self, tensor: &Tensor) -> Option<PathBuf> {
        let location = external(tensor, "location")?;
        let mut parts = Path::new(location).components();
        let inside = parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        (inside && !location.is_empty()).then(|| self.path.join(location))
    }
}

impl Data {
    /// Those of a tensor of this shape; `folder` is the model's.
    pub fn of(tensor: &Tensor, shape: &[usize], folder: &Arc<Folder>) -> Result<Self, String> {
        let dtype = DataType::try_from(tensor.data_type).unwrap_or(DataType::Undefined);
        let Some(size) = size_of(dtype) else {
            return Err(format!(
                "its values are of type {}",
                name_of(tensor.data_type)
            ));
        };
        let bytes = count(shape).and_then(|count| count.checked_mul(size));
        let bytes = bytes.ok_or_else(|| format!("no file holds {shape:?} values"))?;
        if tensor.data_location == DataLocation::External as i32 {
            return beside(tensor, bytes, folder);
        }
        let data = match tensor.raw_data.is_empty() {
            false => tensor.raw_data.clone(),
            true => typed(tensor, dtype),
        };
        match data.len() == bytes {
            true => Ok(Self::Here(data)),
            false => Err(format!("it has {} bytes instead of {bytes}", data.len())),
        }
    }

    pub fn read(&self) -> io::Result<Bytes> {
        let (path, folder, offset, len) = match self {
            Self::Here(bytes) => return Ok(bytes.clone()),
            Self::Beside(path, folder, offset, len) => (path, folder, *offset, *len),
        };
        let named = |error| io::Error::other(format!("{}: {error}", path.display()));
        let read = || {
            // A link may lead elsewhere.
            let real = path.canonicalize()?;
            if !folder.real.iter().any(|folder| real.starts_with(folder)) {
                return Err(io::Error::other("it is not in the model's folder"));
            }
            let mut file = File::open(real)?;
            let about = file.metadata()?;
            let end = offset.checked_add(len as u64);
            if !about.is_file() || end.is_none_or(|end| end > about.len()) {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = vec![0; len];
            file.read_exact(&mut bytes)?;
            Ok(Bytes::from(bytes))
        };
        read().map_err(named)
    }
}

/// A type's name in ONNX, as in `FLOAT8E4M3FN`.
pub fn name_of(dtype: i32) -> String {
    match DataType::try_from(dtype) {
        Ok(dtype) => format!("{dtype:?}").to_uppercase(),
        Err(_) => format!("number {dtype}, which ONNX 1.23 doesn't have"),
    }
}

/// What is said of a tensor's values in another file.
fn external<'a>(tensor: &'a Tensor, key: &str) -> Option<&'a str> {
    let mut of_key = tensor
        .external_data
        .iter()
        .rev()
        .filter(|property| property.key == key);
    of_key.next().map(|property| property.value.as_str())
}

/// Values in a file beside the model. It must be in the model's folder: a model from elsewhere must not name any other
/// file of the machine.
fn beside(tensor: &Tensor, bytes: usize, folder: &Arc<Folder>) -> Result<Data, String> {
    let number = |key| match external(tensor, key).map(str::parse::<u64>) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(format!("the {key} of its external data is no number")),
    };
    let location = external(tensor, "location").unwrap_or_default();
    let file = folder.file_of(tensor);
    let file =
        file.ok_or_else(|| format!("its external data, {location}, is not in the model's folder"))?;
    if let Some(length) = number("length")?
        && length != bytes as u64
    {
        return Err(format!(
            "its external data has {length} bytes instead of {bytes}"
        ));
    }
    let offset = number("offset")?.unwrap_or(0);
    Ok(Data::Beside(file, folder.clone(), offset, bytes))
}

/// Values in the field of their type, as raw data.
fn typed(tensor: &Tensor, dtype: DataType) -> Bytes {
    fn bytes<T: Copy, const N: usize>(values: &[T], bytes: fn(T) -> [u8; N]) -> Bytes {
        values.iter().flat_map(|value| bytes(*value)).collect()
    }
    // Narrow types are in 32 bits each, of floats the bits.
    let narrow = &tensor.int32_data;
    match dtype {
        DataType::Float | DataType::Complex64 => bytes(&tensor.float_data, f32::to_le_bytes),
        DataType::Double | DataType::Complex128 => bytes(&tensor.double_data, f64::to_le_bytes),
        DataType::Int64 => bytes(&tensor.int64_data, i64::to_le_bytes),
        DataType::Uint64 => bytes(&tensor.uint64_data, u64::to_le_bytes),
        DataType::Uint32 => bytes(&tensor.uint64_data, |value| (value as u32).to_le_bytes()),
        DataType::Int32 => bytes(narrow, i32::to_le_bytes),
        _ => match size_of(dtype) {
            Some(2) => bytes(narrow, |value| (value as u16).to_le_bytes()),
            _ => bytes(narrow, |value| [value as u8]),
        },
    }
}

impl Array {
    pub fn read(
        tensor: &Tensor,
        folder: &Arc<Folder>,
        budget: &mut Budget,
    ) -> Result<Self, String> {
        let shape = shape_of(&tensor.dims)?;
        let data = Data::of(tensor, &shape, folder)?;
        if let Data::Beside(..) = data {
            budget.spend(&shape, 16)?;
        }
        Ok(Self {
            shape,
            dtype: DataType::try_from(tensor.data_type).unwrap_or(DataType::Undefined),
            bytes: data.read().map_err(|error| error.to_string())?,
        })
    }

    /// A tensor of which only some values are given, the others being zero.
    pub fn dense(
        sparse: &SparseTensor,
        folder: &Arc<Folder>,
        budget: &mut Budget,
    ) -> Result<Self, String> {
        let (Some(values), Some(indices)) = (&sparse.values, &sparse.indices) else {
            return Err("it is sparse, without values or indices".to_string());
        };
        let values = Self::read(values, folder, budget)?;
        let indices = Self::read(indices, folder, budget)?;
        let shape = shape_of(&sparse.dims)?;
        let size = values.size();
        let mut bytes = vec![0; budget.spend(&shape, size)?];
        let given = values.bytes.len() / size;
        // Linear indices, or one for each dimension.
        let rank = match indices.shape.len() {
            2 => shape.len(),
            _ => 1,
        };
        let indices = indices.ints()?;
        if rank == 0 || indices.len() != given * rank {
            return Err("it is sparse, with other numbers of values and indices".to_string());
        }
        let sizes = match rank {
            1 => &[product(&shape)][..],
            _ => &shape[..],
        };
        for (value, index) in values.bytes.chunks(size).zip(indices.chunks(rank)) {
            let place = index.iter().zip(sizes).try_fold(0, |place, (index, size)| {
                let index = usize::try_from(*index).ok().filter(|index| index < size)?;
                Some(place * size + index)
            });
            let place = place.ok_or_else(|| format!("it is sparse, with a value at {index:?}"))?;
            bytes[place * size..][..size].copy_from_slice(value);
        }
        Ok(Self {
            shape,
            dtype: values.dtype,
            bytes: bytes.into(),
        })
    }

    pub fn of_ints(ints: &[i64], shape: Vec<usize>) -> Self {
        Self {
            shape,
            dtype: DataType::Int64,
            bytes: ints.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }

    pub fn of_floats(floats: &[f32], shape: Vec<usize>) -> Self {
        Self {
            shape,
            dtype: DataType::Float,
            bytes: floats
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        }
    }

    fn size(&self) -> usize {
        size_of(self.dtype).expect("arrays are only made of types with a size")
    }

    fn len(&self) -> usize {
        self.bytes.len() / self.size()
    }

    /// All values in float64, if they are real numbers of a usual type.
    pub fn numbers(&self) -> Result<Vec<f64>, String> {
        fn map<const N: usize>(bytes: &[u8], value: fn([u8; N]) -> f64) -> Vec<f64> {
            let (chunks, _) = bytes.as_chunks::<N>();
            chunks.iter().map(|chunk| value(*chunk)).collect()
        }
        let bytes = &self.bytes;
        Ok(match self.dtype {
            DataType::Double => map(bytes, f64::from_le_bytes),
            DataType::Float => map(bytes, |value| f32::from_le_bytes(value).into()),
            DataType::Float16 => map(bytes, |value| f16::from_le_bytes(value).into()),
            DataType::Bfloat16 => map(bytes, |value| bf16::from_le_bytes(value).into()),
            DataType::Int64 => map(bytes, |value| i64::from_le_bytes(value) as f64),
            DataType::Int32 => map(bytes, |value| i32::from_le_bytes(value).into()),
            DataType::Int16 => map(bytes, |value| i16::from_le_bytes(value).into()),
            DataType::Int8 => map(bytes, |value| i8::from_le_bytes(value).into()),
            DataType::Uint64 => map(bytes, |value| u64::from_le_bytes(value) as f64),
            DataType::Uint32 => map(bytes, |value| u32::from_le_bytes(value).into()),
            DataType::Uint16 => map(bytes, |value| u16::from_le_bytes(value).into()),
            DataType::Uint8 | DataType::Bool => map(bytes, |[value]| value.into()),
            _ => {
                return Err(format!(
                    "its values are of type {}",
                    name_of(self.dtype as i32)
                ));
            }
        })
    }

    /// All values, if they are the integers that shapes and axes are of.
    pub fn ints(&self) -> Result<Vec<i64>, String> {
        let (longs, _) = self.bytes.as_chunks();
        let (words, _) = self.bytes.as_chunks();
        match self.dtype {
            DataType::Int64 => Ok(longs
                .iter()
                .map(|value| i64::from_le_bytes(*value))
                .collect()),
            DataType::Int32 => Ok(words
                .iter()
                .map(|value| i32::from_le_bytes(*value).into())
                .collect()),
            _ => Err(format!(
                "integers are of type {}",
                name_of(self.dtype as i32)
            )),
        }
    }

    /// The values in another type, as `Cast` gives them.
    pub fn cast(&self, to: DataType, budget: &mut Budget) -> Result<Self, String> {
        if to == self.dtype {
            return Ok(self.clone());
        }
        // (Values in float64 on the way.)
        budget.spend(&self.shape, 16)?;
        Self::of_numbers(self.numbers()?, self.shape.clone(), to)
    }

    fn of_numbers(numbers: Vec<f64>, shape: Vec<usize>, dtype: DataType) -> Result<Self, String> {
        fn bytes<const N: usize>(numbers: Vec<f64>, bytes: fn(f64) -> [u8; N]) -> Bytes {
            numbers.into_iter().flat_map(bytes).collect()
        }
        let bytes = match dtype {
            DataType::Double => bytes(numbers, f64::to_le_bytes),
            DataType::Float => bytes(numbers, |value| (value as f32).to_le_bytes()),
            DataType::Float16 => bytes(numbers, |value| f16::from_f64(value).to_le_bytes()),
            DataType::Bfloat16 => bytes(numbers, |value| bf16::from_f64(value).to_le_bytes()),
            DataType::Int64 => bytes(numbers, |value| (value as i64).to_le_bytes()),
            DataType::Int32 => bytes(numbers, |value| (value as i32).to_le_bytes()),
            DataType::Bool => bytes(numbers, |value| [(value != 0.0).into()]),
            _ => return Err(format!("values of type {}", name_of(dtype as i32))),
        };
        Ok(Self {
            shape,
            dtype,
            bytes,
        })
    }

    /// `(x - zero) scale`, with numbers for the whole array or for each place on an axis.
    pub fn dequantize(
        &self,
        scale: &Self,
        zero: Option<&Self>,
        axis: i64,
        budget: &mut Budget,
    ) -> Result<Self, String> {
        budget.spend(&self.shape, 16)?;
        let (scales, zeros) = (scale.numbers()?, zero.map(Self::numbers).transpose()?);
        let (size, inner) = match scales.len() {
            1 => (1, usize::MAX),
            n => {
                let axis = self.axis(axis)?;
                (n, product(&self.shape[axis + 1..]).max(1))
            }
        };
        let fits = size == 1 || self.shape[self.axis(axis)?] == size;
        if !fits || zeros.as_ref().is_some_and(|zeros| zeros.len() != size) {
            return Err("scales for other sizes than the values'".to_string());
        }
        let mut numbers = self.numbers()?;
        for (k, number) in numbers.iter_mut().enumerate() {
            let k = k / inner % size;
            let zero = zeros.as_ref().map_or(0.0, |zeros| zeros[k]);
            *number = (*number - zero) * scales[k];
        }
        Self::of_numbers(numbers, self.shape.clone(), scale.dtype)
    }

    /// An axis, counted from the end if it is negative.
    pub fn axis(&self, axis: i64) -> Result<usize, String> {
        wrap(axis, self.shape.len()).ok_or_else(|| format!("axis {axis} of {:?}", self.shape))
    }

    pub fn reshape(&self, shape: Vec<usize>) -> Result<Self, String> {
        match count(&shape) == count(&self.shape) {
            true => Ok(Self {
                shape,
                ..self.clone()
            }),
            false => Err(format!("{:?} reshaped to {shape:?}", self.shape)),
        }
    }

    fn strides(&self) -> Vec<isize> {
        let mut strides = vec![1isize; self.shape.len()];
        for k in (1..strides.len()).rev() {
            strides[k - 1] = strides[k].saturating_mul(self.shape[k] as isize);
        }
        strides
    }

    /// The values at `start` and so many strides further, all of which must be there.
    fn pick(
        &self,
        shape: Vec<usize>,
        strides: &[isize],
        start: isize,
        budget: &mut Budget,
    ) -> Result<Self, String> {
        let size = self.size();
        let len = budget.spend(&shape, size)?;
        let mut bytes = Vec::with_capacity(len);
        let (mut index, mut at) = (vec![0; shape.len()], start);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.bytes[at as usize * size..][..size]);
            for k in (0..shape.len()).rev() {
                index[k] += 1;
                at += strides[k];
                if index[k] < shape[k] {
                    break;
                }
                at -= strides[k] * shape[k] as isize;
                index[k] = 0;
            }
        }
        Ok(Self {
            shape,
            dtype: self.dtype,
            bytes: bytes.into(),
        })
    }

    pub fn transpose(&self, perm: &[usize], budget: &mut Budget) -> Result<Self, String> {
        let mut sorted = perm.to_vec();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..self.shape.len()) {
            return Err(format!("{:?} transposed by {perm:?}", self.shape));
        }
        let strides = self.strides();
        let strides = perm.iter().map(|k| strides[*k]).collect::<Vec<_>>();
        let shape = perm.iter().map(|k| self.shape[*k]).collect();
        self.pick(shape, &strides, 0, budget)
    }

    /// From `start` towards `end` on an axis, as `Slice` counts.
    pub fn slice(
        &self,
        axis: usize,
        [start, end, step]: [i64; 3],
        budget: &mut Budget,
    ) -> Result<Self, String> {
        let size = self.shape[axis] as i64;
        let from_end = |place: i64| match place < 0 {
            true => place.saturating_add(size),
            false => place,
        };
        let (start, end) = (from_end(start), from_end(end));
        let (start, len) = match step {
            _ if size == 0 => (0, 0),
            0 => return Err("a slice of step 0".to_string()),
            1.. => {
                let (start, end) = (start.clamp(0, size), end.clamp(0, size));
                (
                    start,
                    (end - start)
                        .max(0)
                        .unsigned_abs()
                        .div_ceil(step.unsigned_abs()),
                )
            }
            _ => {
                let (start, end) = (start.clamp(0, size - 1), end.clamp(-1, size - 1));
                (
                    start,
                    (start - end)
                        .max(0)
                        .unsigned_abs()
                        .div_ceil(step.unsigned_abs()),
                )
            }
        };
        let (mut shape, mut strides) = (self.shape.clone(), self.strides());
        let first = strides[axis].saturating_mul(start as isize);
        // (With one value at most, the stride has no meaning.)
        strides[axis] = strides[axis].saturating_mul(match len {
            0 | 1 => 0,
            _ => step as isize,
        });
        shape[axis] = len as usize;
        self.pick(shape, &strides, first, budget)
    }

    /// As `Expand`: to a shape with which this one's sizes agree, or are 1.
    pub fn expand(&self, to: &[usize], budget: &mut Budget) -> Result<Self, String> {
        let rank = to.len().max(self.shape.len());
        let padded = |shape: &[usize]| {
            let ones = vec![1; rank - shape.len()];
            [ones, shape.to_vec()].concat()
        };
        let (from, to) = (padded(&self.shape), padded(to));
        let strides = [vec![0; rank - self.shape.len()], self.strides()].concat();
        let (mut shape, mut steps) = (vec![], vec![]);
        for ((from, to), stride) in from.iter().zip(&to).zip(strides) {
            let (size, step) = match (*from, *to) {
                (1, to) => (to, 0),
                (from, 1) => (from, stride),
                (from, to) if from == to => (from, stride),
                _ => return Err(format!("{:?} expanded to {to:?}", self.shape)),
            };
            shape.push(size);
            steps.push(step);
        }
        self.pick(shape, &steps, 0, budget)
    }

    /// As `Add`, `Sub`, `Mul` and `Div`, each expanded to the other's shape.
    pub fn combine(
        &self,
        operator: &str,
        other: &Self,
        budget: &mut Budget,
    ) -> Result<Self, String> {
        if self.dtype != other.dtype {
            return Err(format!("{operator} of different types"));
        }
        // (Values in float64 on the way: to the nearest of the type, as if computed in it.)
        let (a, b) = (
            self.expand(&other.shape, budget)?,
            other.expand(&self.shape, budget)?,
        );
        budget.spend(&a.shape, 32)?;
        let pairs = a.numbers()?.into_iter().zip(b.numbers()?);
        let numbers = pairs.map(|(a, b)| match operator {
            "Add" => a + b,
            "Sub" => a - b,
            "Mul" => a * b,
            _ => a / b,
        });
        Self::of_numbers(numbers.collect(), a.shape, self.dtype)
    }

    /// The slices at some places of an axis, which the shape of the places replaces.
    pub fn gather(&self, axis: usize, places: &Self, budget: &mut Budget) -> Result<Self, String> {
        let size = self.shape[axis];
        let slices = places.ints()?.into_iter().map(|place| {
            let place = wrap(place, size).ok_or_else(|| format!("place {place} of {size}"))? as i64;
            self.slice(axis, [place, place + 1, 1], budget)
        });
        let slices = slices.collect::<Result<Vec<_>, _>>()?;
        let joined = match slices.is_empty() {
            true => self.slice(axis, [0, 0, 1], budget)?,
            false => Self::concat(&slices, axis, budget)?,
        };
        let (before, after) = (&self.shape[..axis], &self.shape[axis + 1..]);
        joined.reshape([before, &places.shape, after].concat())
    }

    pub fn concat(arrays: &[Self], axis: usize, budget: &mut Budget) -> Result<Self, String> {
        let first = arrays.first().ok_or("a Concat of nothing")?;
        let rest = |shape: &[usize]| [&shape[..axis], &shape[axis + 1..]].concat();
        let fits = |array: &Self| {
            array.dtype == first.dtype
                && array.shape.len() == first.shape.len()
                && rest(&array.shape) == rest(&first.shape)
        };
        if !arrays.iter().all(fits) {
            let shapes = arrays.iter().map(|array| &array.shape).collect::<Vec<_>>();
            return Err(format!("a Concat of {shapes:?}"));
        }
        let mut shape = first.shape.clone();
        let sizes = arrays.iter().map(|array| array.shape[axis]);
        let sum = sizes.fold(0usize, usize::saturating_add);
        shape[axis] = sum;
        let len = budget.spend(&shape, first.size())?;
        let mut bytes = Vec::with_capacity(len);
        let inner = product(&first.shape[axis + 1..]).saturating_mul(first.size());
        for row in 0..product(&first.shape[..axis]) {
            if bytes.len() == len {
                break;
            }
            for array in arrays {
                let block = array.shape[axis] * inner;
                bytes.extend_from_slice(&array.bytes[row * block..][..block]);
            }
        }
        Ok(Self {
            shape,
            dtype: first.dtype,
            bytes: bytes.into(),
        })
    }

    /// So many times the one value that there is.
    pub fn repeat(&self, shape: &[usize], budget: &mut Budget) -> Result<Self, String> {
        match self.len() {
            1 => self.reshape(vec![])?.expand(shape, budget),
            n => Err(format!("a ConstantOfShape of {n} values")),
        }
    }
}

/// A place, counted from the end if it is negative, if it is within `size`.
fn wrap(place: i64, size: usize) -> Option<usize> {
    let place = match place < 0 {
        true => usize::try_from(place.checked_add(i64::try_from(size).ok()?)?).ok()?,
        false => usize::try_from(place).ok()?,
    };
    (place < size).then_some(place)
}
