//! The tensors of a model, by names that no two of them share.

use super::array::{Array, Data, Folder, name_of, shape_of};
use super::graph::{Origin, Scopes};
use super::proto::{DataType, Tensor};
use crate::convert::weights::{Element, Entry};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

pub struct Tensors<'a> {
    pub entries: BTreeMap<String, Entry>,
    /// What can't be read as a tensor, and why.
    pub skipped: Vec<String>,
    /// The entries of values.
    names: HashMap<(usize, &'a str), String>,
    /// The last number after each name that several tensors have.
    numbers: HashMap<String, usize>,
    folder: Arc<Folder>,
}

impl<'a> Tensors<'a> {
    /// All initialisers and constants. Those of graphs in others have the names of these before their own only if
    /// another tensor has the name already.
    pub fn new(scopes: &mut Scopes<'a>, folder: Arc<Folder>) -> Self {
        let mut tensors = Self {
            entries: BTreeMap::new(),
            skipped: vec![],
            names: HashMap::new(),
            numbers: HashMap::new(),
            folder,
        };
        for scope in 0..scopes.all.len() {
            for (name, origin) in scopes.tensors(scope) {
                let entry = match origin {
                    Origin::Tensor(_, tensor) => tensors.entry(tensor),
                    _ => scopes.value(scope, name, 0).and_then(Self::computed),
                };
                match entry {
                    Ok(entry) => tensors.insert(scopes, scope, name, entry),
                    Err(why) => {
                        let path = &scopes.all[scope].path;
                        tensors.skipped.push(format!("{path}{name} ({why})"));
                    }
                }
            }
        }
        tensors
    }

    /// The name and shape of the tensor that a value is, which is computed if it has to be.
    pub fn of(
        &mut self,
        scopes: &mut Scopes<'a>,
        scope: usize,
        name: &'a str,
    ) -> Result<(String, Vec<usize>), String> {
        let (scope, origin) = scopes.source(scope, name)?;
        let (Origin::Tensor(name, _) | Origin::Sparse(name, _) | Origin::Node(name, ..)) = origin;
        if !self.names.contains_key(&(scope, name)) {
            let computed = scopes.value(scope, name, 0).and_then(Self::computed);
            self.insert(scopes, scope, name, computed?);
        }
        let name = &self.names[&(scope, name)];
        Ok((name.clone(), self.entries[name].shape.clone()))
    }

    /// The type of a tensor's values.
    pub fn element(&self, name: &str) -> Element {
        self.entries[name].element.clone()
    }

    fn insert(&mut self, scopes: &Scopes<'a>, scope: usize, name: &'a str, entry: Entry) {
        let path = &scopes.all[scope].path;
        let mut own = name.to_string();
        if self.entries.contains_key(&own) {
            own = format!("{path}{name}");
        }
        while self.entries.contains_key(&own) {
            let number = self.numbers.entry(format!("{path}{name}")).or_insert(1);
            *number += 1;
            own = format!("{path}{name} ({number})");
        }
        self.entries.insert(own.clone(), entry);
        self.names.insert((scope, name), own);
    }

    fn entry(&self, tensor: &Tensor) -> Result<Entry, String> {
        let shape = shape_of(&tensor.dims)?;
        let element = element(tensor.data_type)?;
        // What is wrong with its values matters only if they are read.
        let data = Data::of(tensor, &shape, &self.folder);
        Ok(Entry::new(shape, element, move || match &data {
            Ok(data) => data.read().map(|bytes| bytes.to_vec()),
            Err(why) => Err(io::Error::new(io::ErrorKind::InvalidData, why.clone())),
        }))
    }

    fn computed(array: Array) -> Result<Entry, String> {
        let bytes = array.bytes;
        let element = element(array.dtype as i32)?;
        Ok(Entry::new(array.shape, element, move || Ok(bytes.to_vec())))
    }
}

/// A type of ONNX as one of weights.
fn element(dtype: i32) -> Result<Element, String> {
    let name = match DataType::try_from(dtype) {
        Ok(DataType::Float) => "F32",
        Ok(DataType::Double) => "F64",
        Ok(DataType::Float16) => "F16",
        Ok(DataType::Bfloat16) => "BF16",
        Ok(DataType::Int64) => "I64",
        Ok(DataType::Int32) => "I32",
        Ok(DataType::Int16) => "I16",
        Ok(DataType::Int8) => "I8",
        Ok(DataType::Uint64) => "U64",
        Ok(DataType::Uint32) => "U32",
        Ok(DataType::Uint16) => "U16",
        Ok(DataType::Uint8) => "U8",
        Ok(DataType::Bool) => "BOOL",
        Ok(DataType::Complex64) => "C64",
        Ok(DataType::Float8e4m3fn) => "F8_E4M3",
        Ok(DataType::Float8e5m2) => "F8_E5M2",
        _ => return Err(format!("of type {}", name_of(dtype))),
    };
    Ok(Element::named(name))
}
