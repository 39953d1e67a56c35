//! Reader of files of `torch.save` and `torch.jit.save`, and of pickles of NumPy arrays.
//!
//! The pickle is read as a tree of calls, none of which is executed (`pickle.rs`). This module interprets those that make
//! tensors, arrays, dictionaries and modules. Anything else, such as an optimizer or a vocabulary, is an object of an unknown
//! class, of which only the name and the tensors in its attributes are read. (burn's `pytorch-reader` rejects files in which
//! an unknown object holds a tensor. It is used for the oldest container, tar.)

use super::archive::Archive;
use super::frozen;
use super::numpy::{self, Array, NAMELESS};
use super::pickle::{Call, MAX_MEMORY, Node, Pickle, Value};
use super::strided::{Stored, View};
use super::{Container, Kind, WeightError, Weights, check_kind, format_error, io_error, kind};
use crate::convert::found::{Activations, Stated};
use crate::convert::weights::{Element, Entry};
use crate::nonlinearity::Nonlinearity;
use pytorch_reader::{PytorchError, PytorchReader};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// As the errors name it.
const FORMAT: &str = "PyTorch";

/// Most bytes of the pickle in an archive.
const MAX_PICKLE: usize = 1 << 30;

/// Most pickles one after another.
const MAX_PICKLES: usize = 1000;

/// Deepest nesting that is followed.
const MAX_DEPTH: usize = 100;

/// Most characters of all names and entries that are visited: a small pickle may name one value any number of times.
const MAX_NAMES: usize = 256 << 20;

/// Most tensors of a file.
const MAX_TENSORS: usize = 1 << 20;

impl Weights {
    /// Reads a file of `torch.save`, of any version: a state dict, or a dictionary, an object or a module that
    /// holds some; a file of `torch.jit.save`; or another pickle of tensors or of NumPy arrays. The keys of nested
    /// dictionaries and the indices of lists are joined by dots, as in `model.rnn.weight_ih_l0`.
    ///
    /// Nothing in a pickle is run. Objects that aren't tensors are [skipped](Self::skipped), but tensors in their attributes
    /// are read, under the attributes' names.
    ///
    /// # Errors
    ///
    /// If the file can't be read, is corrupt, holds no tensors, or is from a big-endian machine.
    pub fn read_pytorch(path: impl AsRef<Path>) -> Result<Self, WeightError> {
        let path = path.as_ref();
        let fits = |kind| matches!(kind, Kind::PyTorch(_) | Kind::TorchScript | Kind::Pickle);
        check_kind(path, FORMAT, fits)?;
        let garbled = |message: String| format_error(path, FORMAT, message);
        let mut weights = Self::from_file(path);
        let what = match kind(path).map_err(|error| io_error(path, error))? {
            Some(Kind::PyTorch(Container::Tar)) => return Self::read_tar(path),
            Some(kind @ (Kind::PyTorch(Container::Zip) | Kind::TorchScript)) => {
                read_zip(&mut weights, path).map_err(garbled)?;
                kind.about().0
            }
            Some(kind) => {
                let file = std::fs::read(path).map_err(|error| io_error(path, error))?;
                let file = Arc::new(file);
                let (pickle, storages) = match kind {
                    Kind::Pickle => (Pickle::read(&file, 0), Storages::Nowhere),
                    _ => {
                        let (pickle, storages) = legacy(&file, 0).map_err(garbled)?;
                        (Ok(pickle), storages)
                    }
                };
                let pickle = pickle.map_err(|message| {
                    // Whose arrays are between the instructions of the pickle.
                    let joblib = b"joblib.numpy_pickle";
                    garbled(
                        match file.windows(joblib.len()).any(|part| part == joblib) {
                            true => "it is joblib's: load it there and save it with `numpy.savez`"
                                .into(),
                            false => format!("no pickle: {message}"),
                        },
                    )
                })?;
                collect(&mut weights, "", &pickle, storages);
                // One `pickle.dump` after another.
                let (mut at, mut k) = (pickle.end, 1);
                drop(pickle);
                while kind == Kind::Pickle && file.get(at) == Some(&0x80) && k < MAX_PICKLES {
                    match Pickle::read(&file, at) {
                        Ok(next) => {
                            collect(&mut weights, &k.to_string(), &next, Storages::Nowhere);
                            (at, k) = (next.end, k + 1);
                        }
                        Err(message) => {
                            weights
                                .skipped
                                .push(format!("pickle {k} of the file ({message})"));
                            break;
                        }
                    }
                }
                kind.about().0
            }
            None => return Err(garbled("it begins like none of its formats".to_string())),
        };
        match weights.tensors.is_empty() {
            true => Err(garbled(weights.without_tensors(what))),
            false => Ok(weights),
        }
    }

    /// As PyTorch wrote before 0.1.10.
    fn read_tar(path: &Path) -> Result<Self, WeightError> {
        let reader = PytorchReader::new(path).map_err(|error| match error {
            PytorchError::Io(error) if !is_content(&error) => io_error(path, error),
            error => format_error(path, FORMAT, error),
        })?;
        let mut weights = Self::from_file(path);
        for (name, tensor) in reader.into_tensors() {
            let (_, dtype, shape, read) = tensor.into_parts();
            let element = Element::named(&format!("{dtype:?}").to_uppercase());
            weights
                .tensors
                .insert(name, Entry::new(shape, element, read));
        }
        Ok(weights)
    }
}

/// Whether an error is about what is in the file rather than about reaching it.
fn is_content(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput
    )
}

/// An archive's pickles, and the storages beside them.
fn read_zip(weights: &mut Weights, path: &Path) -> Result<(), String> {
    let archive = Archive::open(path).map_err(|error| error.to_string())?;
    let names = archive.names().map_err(|error| error.to_string())?;
    let roots = names
        .iter()
        .filter_map(|name| name.strip_suffix("data.pkl"));
    let roots = roots.filter(|root| root.is_empty() || root.ends_with('/'));
    let root = roots.min_by_key(|root| root.len());
    let root =
        root.ok_or("it is TorchScript of before PyTorch 1.1: load it there and save it again")?;
    let archive = Arc::new(archive);
    let read = |name: &str, most| {
        let bytes = archive.read_all(&format!("{root}{name}"), most);
        bytes.map_err(|error| error.to_string())
    };
    let has = |name: &str| archive.size(&format!("{root}{name}")).is_some();
    if has("byteorder") && read("byteorder", 64)?.trim_ascii() == b"big" {
        return Err(BIG_ENDIAN.to_string());
    }
    for (name, prefix, folder) in [
        ("data.pkl", "", "data/"),
        ("constants.pkl", CONSTANTS, "constants/"),
    ] {
        if name == "constants.pkl" && !has(name) {
            continue;
        }
        let file = Arc::new(read(name, MAX_PICKLE)?);
        let pickle = Pickle::read(&file, 0)?;
        let storages = Storages::Archive(archive.clone(), format!("{root}{folder}"));
        let code = Some((archive.clone(), format!("{root}code/")));
        Walk::new(weights, &pickle, storages, code).walk(prefix);
    }
    let mut left = 16 * MAX_CODE;
    for name in names.iter().filter(|name| name.ends_with(".py")) {
        if let Ok(code) = archive.read_all(name, MAX_CODE.min(left)) {
            left -= code.len();
            frozen::name_constants(weights, &String::from_utf8_lossy(&code));
        }
    }
    Ok(())
}

/// The path of TorchScript's constants.
const CONSTANTS: &str = "constants";

const BIG_ENDIAN: &str =
    "it is from a big-endian machine: load it there and save it as safetensors";

/// Where the storages are that a pickle refers to.
#[derive(Clone)]
pub(super) enum Storages {
    /// In an archive, under a folder.
    Archive(Arc<Archive>, String),
    /// Behind the pickle, by their keys.
    Behind(Arc<Vec<u8>>, Arc<HashMap<String, Range<usize>>>),
    Nowhere,
}

impl Storages {
    /// The bytes of one, and how to read some of them.
    fn open(&self, key: &str) -> Option<Storage> {
        match self {
            Self::Archive(archive, folder) => {
                let name = format!("{folder}{key}");
                let (archive, size) = (archive.clone(), archive.size(&name)?);
                let read = move |start, count| archive.read(&name, start, count);
                Some(Storage::new(size, read))
            }
            Self::Behind(file, places) => {
                let (file, place) = (file.clone(), places.get(key)?.clone());
                let read = move |start: usize, count: usize| {
                    let start = place.start + start;
                    Ok(file.get(start..start + count).unwrap_or_default().to_vec())
                };
                Some(Storage::new(places.get(key)?.len(), read))
            }
            Self::Nowhere => None,
        }
    }
}

type ReadPart = Arc<dyn Fn(usize, usize) -> io::Result<Vec<u8>> + Send + Sync>;

/// The bytes of several tensors.
#[derive(Clone)]
struct Storage {
    key: String,
    /// The type of its values, unless it is untyped.
    stored: Option<Stored>,
    /// Where what can be reached of it begins, and how many bytes that is.
    start: usize,
    size: usize,
    read: ReadPart,
}

impl Storage {
    fn new(
        size: usize,
        read: impl Fn(usize, usize) -> io::Result<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            key: String::new(),
            stored: None,
            start: 0,
            size,
            read: Arc::new(read),
        }
    }
}

/// A type by the name of its storage's class, or by that of the type.
fn stored(name: &str) -> Option<Stored> {
    let (name, size) = match name {
        "DoubleStorage" | "float64" | "double" => ("F64", 8),
        "FloatStorage" | "float32" | "float" => ("F32", 4),
        "HalfStorage" | "float16" | "half" => ("F16", 2),
        "BFloat16Storage" | "bfloat16" => ("BF16", 2),
        "LongStorage" | "int64" | "long" => ("I64", 8),
        "IntStorage" | "int32" | "int" => ("I32", 4),
        "ShortStorage" | "int16" | "short" => ("I16", 2),
        "CharStorage" | "int8" => ("I8", 1),
        "ByteStorage" | "uint8" => ("U8", 1),
        "uint16" => ("U16", 2),
        "uint32" => ("U32", 4),
        "uint64" => ("U64", 8),
        "BoolStorage" | "bool" => ("BOOL", 1),
        "ComplexFloatStorage" | "complex64" => ("C64", 8),
        "ComplexDoubleStorage" | "complex128" => ("C128", 16),
        "float8_e4m3fn" => ("F8_E4M3", 1),
        "float8_e5m2" => ("F8_E5M2", 1),
        _ => return None,
    };
    Some(Stored::new(name, size))
}

/// The object of a file of before PyTorch 1.6, and the storages behind it: five pickles, then each storage after the number
/// of its values.
fn legacy(file: &Arc<Vec<u8>>, start: usize) -> Result<(Pickle, Storages), String> {
    // (What isn't the model's is small, and may only take so much beside it.)
    let read = |at| Pickle::read_within(file, at, MAX_MEMORY / 4);
    let version = read(start)?.end;
    let system = read(read(version)?.end)?;
    if let Some(Node::Dict(about)) = system.node(system.root)
        && system.get(about, "little_endian") == Some(Value::Bool(false))
    {
        return Err(BIG_ENDIAN.to_string());
    }
    let end = system.end;
    drop(system);
    let pickle = Pickle::read(file, end)?;
    let keys = read(pickle.end)?;
    // The types of the storages are where they are referred to.
    let mut sizes = HashMap::new();
    for node in &pickle.nodes {
        if let Node::Persistent(id) = node
            && let Some((key, class, _, _)) = storage_id(&pickle, *id)
        {
            sizes.insert(key, stored(&class).map_or(1, |stored| stored.size));
        }
    }
    let mut at = keys.end;
    let mut places = HashMap::new();
    for key in keys.items(keys.root).ok_or("no list of storages")? {
        let key = name_of(&keys, *key).ok_or("a storage without a name")?;
        let size = *sizes.get(&key).ok_or("a storage of an unknown type")?;
        let count = file.get(at..).and_then(|rest| rest.first_chunk());
        let count = count.map(|count| u64::from_le_bytes(*count));
        let bytes = count.and_then(|count| usize::try_from(count).ok()?.checked_mul(size));
        let end = bytes.and_then(|bytes| (at + 8).checked_add(bytes));
        let end = end.filter(|end| *end <= file.len());
        let end = end.ok_or("a storage that is cut off")?;
        places.insert(key, at + 8..end);
        at = end;
    }
    Ok((pickle, Storages::Behind(file.clone(), Arc::new(places))))
}

/// A key that is text or a number.
fn name_of(pickle: &Pickle, value: Value) -> Option<String> {
    match value {
        Value::Int(number) => Some(number.to_string()),
        value => pickle.text(value).map(str::to_string),
    }
}

/// Key, class, number of values and view of a storage.
fn storage_id(pickle: &Pickle, id: Value) -> Option<(String, String, usize, Option<Value>)> {
    let parts = pickle.items(id)?;
    let [tag, class, key, _, count, rest @ ..] = parts else {
        return None;
    };
    if pickle.text(*tag) != Some("storage") {
        return None;
    }
    let class = match pickle.global(*class) {
        Some((_, name)) => name,
        None => pickle.text(*class)?,
    };
    let view = rest.first().copied().filter(|view| *view != Value::None);
    Some((
        name_of(pickle, *key)?,
        class.to_string(),
        pickle.size(*count)?,
        view,
    ))
}

/// Adds the tensors of a pickle under a path.
pub(super) fn collect(weights: &mut Weights, path: &str, pickle: &Pickle, storages: Storages) {
    Walk::new(weights, pickle, storages, None).walk(path);
}

/// On the way through a pickle for tensors.
struct Walk<'a> {
    weights: &'a mut Weights,
    pickle: &'a Pickle,
    storages: Storages,
    /// TorchScript's code, by the module of a class.
    code: Option<(Arc<Archive>, String)>,
    /// Storages by their nodes.
    opened: HashMap<usize, Result<Storage, String>>,
    /// Characters of names that may still be made.
    left: usize,
    /// Tensors that have a name already: storage, place in it, and shape.
    named: HashSet<(String, usize, Vec<usize>)>,
    /// The one that was looked at last.
    last: Option<(String, usize, Vec<usize>)>,
    /// Objects of unknown classes, by where they are first.
    unknown: Vec<(String, usize)>,
    seen: HashSet<usize>,
    /// Whether it is these that are visited.
    in_unknown: bool,
}

/// The cost of an entry that is copied: many may be, one in another.
const ENTRY: usize = size_of::<(Value, Value)>();

/// What every module has: where its tensors are.
const TABLES: [&str; 3] = ["_parameters", "_buffers", "_modules"];

/// Most bytes of a file of TorchScript's code.
const MAX_CODE: usize = 4 << 20;

fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_string(),
        path => format!("{path}.{name}"),
    }
}

impl<'a> Walk<'a> {
    fn new(
        weights: &'a mut Weights,
        pickle: &'a Pickle,
        storages: Storages,
        code: Option<(Arc<Archive>, String)>,
    ) -> Self {
        Self {
            weights,
            pickle,
            storages,
            code,
            opened: HashMap::new(),
            left: MAX_NAMES,
            named: HashSet::new(),
            last: None,
            unknown: vec![],
            seen: HashSet::new(),
            in_unknown: false,
        }
    }

    fn walk(mut self, path: &str) {
        self.visit(path, self.pickle.root, None, 0);
        // Objects after all else: what they share with the model has the model's name.
        let mut classes: BTreeMap<String, (String, usize)> = BTreeMap::new();
        self.in_unknown = true;
        let mut k = 0;
        while self.left > 0
            && let Some((path, node)) = self.unknown.get(k).cloned()
        {
            k += 1;
            let pickle = self.pickle;
            let Some(call) = pickle.call(Value::Node(node)) else {
                continue;
            };
            match pickle.global(call.function) {
                // Bytes, shapes and the like.
                Some(
                    ("_codecs" | "builtins" | "__builtin__", _) | ("torch", "Size" | "device"),
                ) => (),
                class => {
                    let class = class.map(|(module, name)| format!("{module}.{name}"));
                    let class = class.unwrap_or_else(|| "an object".to_string());
                    self.spend(class.len());
                    let class = class.chars().take(200).collect();
                    classes.entry(class).or_insert_with(|| (path.clone(), 0)).1 += 1;
                }
            }
            self.visit_object(&path, call);
        }
        for (class, (path, count)) in classes {
            let more = match count {
                1 => String::new(),
                n => format!(" and {} more of its class", n - 1),
            };
            let path = if path.is_empty() { "the file" } else { &path };
            self.weights.skipped.push(format!("{path} ({class}){more}"));
        }
        let quantised = |k| {
            let (module, name) = self.pickle.global(Value::Node(k))?;
            let packed = matches!(name, "_rebuild_qtensor" | "ScriptObject");
            (packed || module.contains(".quantized.")).then(|| {
                format!(
                    "a quantised model ({module}.{name}): save the one of floats that it was made of"
                )
            })
        };
        let instead = (0..self.pickle.nodes.len()).find_map(quantised);
        self.weights.instead = self.weights.instead.take().or(instead);
        if self.left == 0 {
            let message = "more that nests too deep, or is there too often";
            self.weights.skipped.push(message.to_string());
        }
    }

    /// Adds the tensors of a value. Those of a module have what it states of its layer.
    fn visit(&mut self, path: &str, value: Value, stated: Option<&Arc<Stated>>, depth: usize) {
        let pickle = self.pickle;
        let value = self.unwrapped(value);
        let (Some(node), Value::Node(k)) = (pickle.node(value), value) else {
            return;
        };
        let within = match node {
            Node::Dict(entries) => entries.len(),
            Node::List(items) | Node::Tuple(items) | Node::Set(items) => items.len(),
            Node::Call(call) => match call.state.and_then(|state| pickle.node(state)) {
                Some(Node::Dict(attributes)) => attributes.len() + call.entries.len(),
                _ => call.entries.len(),
            },
            _ => 0,
        };
        if depth > MAX_DEPTH || !self.spend(path.len() + 16 + within) {
            self.left = 0;
            return;
        }
        match node {
            Node::Dict(entries) => self.visit_entries(path, entries, stated, depth),
            Node::List(items) | Node::Tuple(items) | Node::Set(items) => {
                self.visit_items(path, items, depth);
            }
            Node::Call(call) => {
                if let Some(entry) = self.tensor(value, 0) {
                    self.add(path, entry, stated);
                } else if let Some(array) = numpy::array(pickle, value) {
                    match array {
                        Array::Numbers(entry) => self.add(path, entry, stated),
                        Array::Objects(shape, items) => match pickle.items(items) {
                            Some([only]) if shape.is_empty() => {
                                self.visit(path, *only, stated, depth + 1);
                            }
                            items => self.visit_items(path, items.unwrap_or_default(), depth),
                        },
                    }
                } else if let Some(attributes) = self.module(call) {
                    self.visit_module(path, attributes, stated, depth);
                } else if let Some(pairs) = self.dictionary(call) {
                    self.spend(ENTRY * pairs.len());
                    self.visit_entries(path, &pairs, stated, depth);
                } else if let Some(attributes) = self.script(call) {
                    let stated = self.script_states(call);
                    // Parameters, buffers and modules are its attributes; what it has lists of are these once more.
                    let is_list = |value| matches!(pickle.node(value), Some(Node::List(_)));
                    let own = attributes.iter().copied();
                    let own: Vec<_> = own
                        .filter(|(_, value)| !is_list(self.unwrapped(*value)))
                        .collect();
                    self.spend(ENTRY * own.len());
                    self.visit_entries(path, &own, stated.as_ref(), depth);
                } else if self.seen.insert(k) {
                    self.unknown.push((path.to_string(), k));
                }
            }
            _ => (),
        }
    }

    /// Fails where too much has been visited.
    fn spend(&mut self, cost: usize) -> bool {
        let left = self.left.checked_sub(cost);
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    fn visit_entries(
        &mut self,
        path: &str,
        entries: &[(Value, Value)],
        stated: Option<&Arc<Stated>>,
        depth: usize,
    ) {
        for (key, value) in entries {
            // Of all else there are no tensors.
            if !matches!(value, Value::Node(_)) || self.left == 0 {
                continue;
            }
            if let Some(key) = name_of(self.pickle, *key) {
                self.visit(&join(path, &key), *value, stated, depth + 1);
            }
        }
    }

    fn visit_items(&mut self, path: &str, items: &[Value], depth: usize) {
        for (k, item) in items.iter().enumerate() {
            let node = self.pickle.node(*item);
            let leaf = matches!(
                node,
                None | Some(Node::Text(_) | Node::Text2(_) | Node::Bytes(_))
            );
            if !leaf && self.left > 0 {
                self.visit(&join(path, &k.to_string()), *item, None, depth + 1);
            }
        }
    }

    /// The attributes, entries and items of an object whose class isn't known.
    fn visit_object(&mut self, path: &str, call: &Call) {
        let pickle = self.pickle;
        let state = call.state.and_then(|state| pickle.node(state));
        let tables = match state {
            Some(Node::Tuple(tables)) => tables.clone(),
            _ => call.state.into_iter().collect(),
        };
        for table in tables {
            match pickle.node(table) {
                Some(Node::Dict(entries)) => self.visit_entries(path, entries, None, 0),
                Some(Node::List(items) | Node::Tuple(items)) => self.visit_items(path, items, 0),
                _ => (),
            }
        }
        self.visit_entries(path, &call.entries, None, 0);
        self.visit_items(path, &call.items, 0);
        self.visit_items(path, pickle.items(call.arguments).unwrap_or_default(), 0);
    }

    fn add(&mut self, path: &str, entry: Result<Entry, String>, stated: Option<&Arc<Stated>>) {
        let last = self.last.take();
        let own = match &entry {
            Ok(entry) => ENTRY * entry.shape.len(),
            Err(message) => message.len(),
        };
        // (All tensors may share one text of any length as the key of their storage.)
        let key = last.as_ref().map_or(0, |(key, ..)| key.len());
        let found = self.weights.tensors.len() + self.weights.skipped.len();
        if !self.spend(own + key) || found >= MAX_TENSORS {
            self.left = 0;
            return;
        }
        // An optimizer's parameters are the model's.
        if let Some(tensor) = last
            && !self.named.insert(tensor)
            && self.in_unknown
        {
            return;
        }
        let path = if path.is_empty() { NAMELESS } else { path };
        let entry = entry.map(|entry| Entry {
            stated: stated.cloned(),
            ..entry
        });
        self.weights.add(path, entry);
    }

    /// The value itself, of one that TorchScript has put a type on.
    fn unwrapped(&self, mut value: Value) -> Value {
        for _ in 0..MAX_DEPTH {
            let Some(call) = self.pickle.call(value) else {
                break;
            };
            let Some(("torch.jit._pickle", _)) = self.pickle.global(call.function) else {
                break;
            };
            let arguments = self.pickle.items(call.arguments);
            let Some(first) = arguments.and_then(|arguments| arguments.first()) else {
                break;
            };
            value = *first;
        }
        value
    }

    /// What a dictionary of the standard library holds that is an object in pickles.
    fn dictionary(&self, call: &'a Call) -> Option<Cow<'a, [(Value, Value)]>> {
        let pickle = self.pickle;
        let ("collections", "OrderedDict" | "defaultdict" | "Counter") =
            pickle.global(call.function)?
        else {
            return None;
        };
        // Python 2 gave an ordered one its pairs at once.
        let pairs = pickle
            .items(call.arguments)
            .and_then(|arguments| pickle.items(*arguments.first()?));
        let pairs = pairs.unwrap_or_default().iter();
        let pairs = pairs.filter_map(|pair| match pickle.items(*pair)? {
            [key, value] => Some((*key, *value)),
            _ => None,
        });
        let given: Vec<_> = pairs.collect();
        Some(match given.is_empty() {
            true => Cow::Borrowed(&call.entries[..]),
            false => Cow::Owned([&given[..], &call.entries].concat()),
        })
    }

    fn table(&self, value: Value) -> Option<Cow<'a, [(Value, Value)]>> {
        match self.pickle.node(value)? {
            Node::Dict(entries) => Some(Cow::Borrowed(entries)),
            Node::Call(call) => self.dictionary(call),
            _ => None,
        }
    }

    /// The attributes of an object, if it is a module.
    fn module(&self, call: &Call) -> Option<&'a [(Value, Value)]> {
        let Node::Dict(attributes) = self.pickle.node(call.state?)? else {
            return None;
        };
        let has = |table| self.table(self.pickle.get(attributes, table)?);
        TABLES
            .into_iter()
            .all(|table| has(table).is_some())
            .then_some(attributes)
    }

    /// As the module's `state_dict()`: parameters, persistent buffers, and those of the modules in it.
    fn visit_module(
        &mut self,
        path: &str,
        attributes: &'a [(Value, Value)],
        stated: Option<&Arc<Stated>>,
        depth: usize,
    ) {
        let pickle = self.pickle;
        let own = self.states(attributes).map(Arc::new);
        let passing = pickle.get(attributes, "_non_persistent_buffers_set");
        let passing = passing.map_or(vec![], |set| match pickle.call(set) {
            // Protocol 2 makes a set of a list.
            Some(call) => pickle.items(call.arguments).unwrap_or_default().to_vec(),
            None => vec![set],
        });
        let passing = passing
            .iter()
            .filter_map(|set| pickle.items(*set))
            .flatten();
        let passing: HashSet<_> = passing.filter_map(|name| pickle.text(*name)).collect();
        for table in TABLES {
            let entries = pickle
                .get(attributes, table)
                .and_then(|table| self.table(table));
            let entries = entries.unwrap_or_default();
            let persistent = |key| {
                table != "_buffers" || !pickle.text(key).is_some_and(|key| passing.contains(key))
            };
            let kept: Vec<_> = entries
                .iter()
                .copied()
                .filter(|(key, _)| persistent(*key))
                .collect();
            self.spend(ENTRY * (kept.len() + passing.len()));
            self.visit_entries(path, &kept, own.as_ref().or(stated), depth);
        }
    }

    /// What a recurrent module's attributes state.
    fn states(&self, attributes: &[(Value, Value)]) -> Option<Stated> {
        let pickle = self.pickle;
        pickle.get(attributes, "hidden_size")?;
        let text = |name| {
            pickle
                .get(attributes, name)
                .and_then(|value| pickle.text(value))
        };
        let hidden = match (text("mode"), text("nonlinearity")) {
            (Some("RNN_RELU"), _) | (_, Some("relu")) => Some(Nonlinearity::Relu),
            (Some("RNN_TANH"), _) | (_, Some("tanh")) => Some(Nonlinearity::Tanh),
            _ => None,
        };
        Some(Stated {
            activations: activations(hidden),
            batch_first: match pickle.get(attributes, "batch_first") {
                Some(Value::Bool(first)) => Some(first),
                _ => None,
            },
            ..Stated::default()
        })
    }

    /// The attributes of one of TorchScript's objects.
    fn script(&self, call: &Call) -> Option<&'a [(Value, Value)]> {
        let (module, _) = self.pickle.global(call.function)?;
        match self.pickle.node(call.state?)? {
            Node::Dict(attributes) if module.starts_with("__torch__") => Some(attributes),
            _ => None,
        }
    }

    /// What TorchScript's code states of an object: the function that a plain RNN calls, and whether the batch comes first.
    fn script_states(&mut self, call: &Call) -> Option<Arc<Stated>> {
        let (module, class) = self.pickle.global(call.function)?;
        let (archive, folder) = self.code.as_ref()?;
        let attributes = self.script(call)?;
        let mut names = attributes
            .iter()
            .filter_map(|(name, _)| self.pickle.text(*name));
        let is_layer = names.find(|name| name.starts_with("weight_ih"))? != "weight_ih";
        let file = format!("{folder}{}.py", module.replace('.', "/"));
        let code = archive.read_all(&file, MAX_CODE).ok()?;
        if !self.spend(code.len()) {
            return None;
        }
        let code = std::str::from_utf8(&code).ok()?;
        let (_, code) = code.split_once(&format!("class {class}("))?;
        let code = code.split("\nclass ").next()?;
        let calls = |function: &str| code.contains(function);
        // A cell that was traced has its operations one by one.
        let gated = calls("torch.sigmoid");
        let relu = calls("rnn_relu") || calls("torch.relu") && !gated;
        let tanh = calls("rnn_tanh") || calls("torch.tanh") && !gated;
        let hidden = match (relu, tanh) {
            (true, false) => Some(Nonlinearity::Relu),
            (false, true) => Some(Nonlinearity::Tanh),
            _ => None,
        };
        let batch_first = frozen::batch_first(code);
        let unstated = (is_layer && batch_first.is_none()).then(|| "batch_first not stated".into());
        Some(Arc::new(Stated {
            activations: activations(hidden),
            batch_first,
            unstated,
            ..Stated::default()
        }))
    }

    /// The tensor that a value is, or why it can't be had; `None` if it is none.
    fn tensor(&mut self, value: Value, depth: usize) -> Option<Result<Entry, String>> {
        let call = self.pickle.call(value)?;
        self.rebuilt(call.function, call.arguments, depth)
    }

    fn rebuilt(
        &mut self,
        function: Value,
        arguments: Value,
        depth: usize,
    ) -> Option<Result<Entry, String>> {
        let pickle = self.pickle;
        let (module, name) = pickle.global(function)?;
        let arguments = pickle.items(arguments).unwrap_or_default();
        if depth > MAX_DEPTH {
            return Some(Err("a tensor in itself".to_string()));
        }
        let lacking = || Err(format!("{name} without what it is made of"));
        // What PyTorch has yet to do to the values when it reads them.
        let pending = |metadata: Option<&Value>| match pickle.node(*metadata?)? {
            Node::Dict(entries) => ["conj", "neg"]
                .into_iter()
                .find(|bit| pickle.get(entries, bit) == Some(Value::Bool(true))),
            _ => None,
        };
        let after = match name {
            "_rebuild_tensor_v3" => 7,
            _ => 6,
        };
        if module == "torch._utils"
            && name.starts_with("_rebuild_tensor")
            && let Some(bit) = pending(arguments.get(after))
        {
            let message = format!(
                "a tensor whose `{bit}` is pending: save what `resolve_{bit}()` makes of it"
            );
            return Some(Err(message));
        }
        Some(match (module, name, arguments) {
            (
                "torch._utils",
                "_rebuild_tensor" | "_rebuild_tensor_v2",
                [storage, offset, shape, strides, ..],
            ) => self.view(*storage, *offset, *shape, *strides, None),
            (
                "torch._utils",
                "_rebuild_tensor_v3",
                [storage, offset, shape, strides, _, _, dtype, ..],
            ) => self.view(*storage, *offset, *shape, *strides, Some(*dtype)),
            (
                "torch._utils",
                "_rebuild_parameter"
                | "_rebuild_parameter_with_state"
                | "_rebuild_device_tensor_from_cpu_tensor",
                [tensor, ..],
            )
            | (
                "torch.nn.parameter",
                "Parameter" | "Buffer" | "UninitializedParameter",
                [tensor, ..],
            ) => self.tensor(*tensor, depth + 1).unwrap_or_else(lacking),
            ("torch._utils", "_rebuild_device_tensor_from_numpy", [array, ..]) => {
                match numpy::array(pickle, *array) {
                    Some(Array::Numbers(entry)) => entry,
                    _ => lacking(),
                }
            }
            (
                "torch._tensor",
                "_rebuild_from_type_v2" | "_rebuild_from_type",
                [function, _, arguments, ..],
            ) => self
                .rebuilt(*function, *arguments, depth + 1)
                .unwrap_or_else(lacking),
            ("torch._utils", "_rebuild_qtensor", _) => {
                Err("a quantised tensor: save what `dequantize()` makes of it".to_string())
            }
            ("torch._utils", "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor", _) => {
                Err("a sparse tensor: save what `to_dense()` makes of it".to_string())
            }
            ("torch._utils", name, _) if name.starts_with("_rebuild_") => {
                Err(format!("a tensor of `{name}`: save it as a plain one"))
            }
            _ => return None,
        })
    }

    fn view(
        &mut self,
        storage: Value,
        offset: Value,
        shape: Value,
        strides: Value,
        dtype: Option<Value>,
    ) -> Result<Entry, String> {
        let pickle = self.pickle;
        let storage = self.storage(storage)?;
        let named = dtype.and_then(|dtype| pickle.global(dtype));
        let stored = match named {
            Some((_, name)) => stored(name)
                .ok_or_else(|| format!("a tensor of torch.{name}: save it as float32"))?,
            None => storage.stored.ok_or("a tensor of an unknown type")?,
        };
        // A shape is a tuple, or a `torch.Size` of one.
        let sizes = |value| {
            let of = pickle
                .call(value)
                .and_then(|call| pickle.items(call.arguments)?.first());
            pickle.sizes(of.copied().unwrap_or(value))
        };
        let parts = pickle.size(offset).zip(sizes(shape)).zip(sizes(strides));
        let ((offset, shape), strides) = parts.ok_or("a tensor without sizes")?;
        self.last = Some((storage.key, offset, shape.clone()));
        let view = View {
            stored,
            offset,
            shape,
            strides,
            big_endian: false,
        };
        let (start, read) = (storage.start, storage.read);
        view.entry(storage.size, move |from, count| read(start + from, count))
    }

    fn storage(&mut self, value: Value) -> Result<Storage, String> {
        let Value::Node(k) = value else {
            return Err("a tensor without a storage".to_string());
        };
        if let Some(opened) = self.opened.get(&k) {
            return opened.clone();
        }
        if self.left == 0 {
            return Err("it is beyond what is read of one file".to_string());
        }
        // Whether or not it can be read, reading it takes time.
        let length = own_bytes(self.pickle, value).map_or(0, |(_, place)| place.len());
        self.spend(length / 64);
        let opened = match own_file(self.pickle, value) {
            // A plain pickle has each storage as a file of its own.
            Some(own) => own.and_then(|(pickle, storages)| {
                self.spend(pickle.nodes.len() + pickle.end.saturating_sub(pickle.start));
                referred(&pickle, &storages, pickle.root)
            }),
            None => referred(self.pickle, &self.storages, value),
        };
        self.opened.insert(k, opened.clone());
        opened
    }
}

/// The file that a plain pickle has of a storage.
fn own_file(pickle: &Pickle, value: Value) -> Option<Result<(Pickle, Storages), String>> {
    let call = pickle.call(value)?;
    if pickle.global(call.function) != Some(("torch.storage", "_load_from_bytes")) {
        return None;
    }
    Some(match own_bytes(pickle, value) {
        Some((file, place)) => legacy(&file, place.start),
        None => Err("a storage without bytes".to_string()),
    })
}

/// The bytes that a storage of such a pickle is called with, and where they are in the file.
fn own_bytes(pickle: &Pickle, value: Value) -> Option<(Arc<Vec<u8>>, Range<usize>)> {
    let arguments = pickle.items(pickle.call(value)?.arguments)?;
    numpy::bytes(pickle, *arguments.first()?)
}

/// The storage that is referred to.
fn referred(pickle: &Pickle, storages: &Storages, value: Value) -> Result<Storage, String> {
    let id = match pickle.node(value) {
        Some(Node::Persistent(id)) => storage_id(pickle, *id),
        _ => None,
    };
    let (key, class, count, view) = id.ok_or("a tensor without a storage")?;
    let storage = storages
        .open(&key)
        .ok_or_else(|| format!("there is no storage {key}"))?;
    let stored = stored(&class);
    if stored.is_none() && class != "UntypedStorage" {
        return Err(format!("a tensor in a torch.{class}"));
    }
    let value = stored.as_ref().map_or(1, |stored| stored.size);
    let (first, count) = match view.map(|view| pickle.items(view)) {
        None => (0, count),
        Some(Some([_, first, count])) => match pickle.size(*first).zip(pickle.size(*count)) {
            Some(part) => part,
            None => return Err("a part of a storage without its place".to_string()),
        },
        Some(_) => return Err("a part of a storage without its place".to_string()),
    };
    let (start, size) = (first.checked_mul(value), count.checked_mul(value));
    let part = start.zip(size).filter(|(start, size)| {
        start
            .checked_add(*size)
            .is_some_and(|end| end <= storage.size)
    });
    let (start, size) = part.ok_or_else(|| format!("storage {key} is cut off"))?;
    Ok(Storage {
        key,
        stored,
        start,
        size,
        ..storage
    })
}

/// What a plain RNN's one activation states; of other cells there is nothing to state.
fn activations(hidden: Option<Nonlinearity>) -> Vec<Activations> {
    let of = |function| Activations {
        hidden: Some(function),
        ..Activations::default()
    };
    hidden.map(of).into_iter().collect()
}
