//! Pickles read as data: nothing in them is run.
//!
//! A pickle is a program for a stack machine, whose calls make Python's objects. This machine builds a tree of the calls
//! and executes none: what a name such as `torch._utils._rebuild_tensor_v2` means is up to the reader of
//! the tree. Values that occur several times are shared nodes, so that memory is proportional to the pickle's length,
//! and text and bytes are references into the file.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Most bytes that the values of one pickle may take, which is twice as much while vectors grow: an instruction of one byte
/// may make a list, or remember one.
pub(super) const MAX_MEMORY: usize = 400 << 20;

/// The bytes of an entry in the memo, and of what lies on the heap for a short list and for a call.
const REMEMBERED: usize = 64;
const LIST: usize = 80;
const CALL: usize = size_of::<Call>() + 16;

/// A value: small ones inline, others by their index among a pickle's nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float,
    Node(usize),
}

/// Text or bytes: a range of the file, or decoded.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    At(Range<usize>),
    Owned(Arc<Vec<u8>>),
}

#[derive(Debug)]
pub(super) enum Node {
    /// UTF-8, if the file is right.
    Text(Piece),
    Bytes(Piece),
    /// What protocols before 3 have for both.
    Text2(Piece),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Set(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// A class or a function: module and name.
    Global(Piece, Piece),
    /// Something outside the pickle.
    Persistent(Value),
    Call(Box<Call>),
    /// A number that `i64` doesn't hold, or something that there are no tensors in.
    Other,
}

/// A call or a new object, and what is put into it afterwards.
#[derive(Debug)]
pub(super) struct Call {
    pub function: Value,
    pub arguments: Value,
    pub state: Option<Value>,
    pub entries: Vec<(Value, Value)>,
    pub items: Vec<Value>,
}

/// A pickle that has been read.
#[derive(Debug)]
pub(super) struct Pickle {
    pub file: Arc<Vec<u8>>,
    pub nodes: Vec<Node>,
    pub root: Value,
    /// Where in the file it begins, and the next one does.
    pub start: usize,
    pub end: usize,
    /// Text that stands for bytes, decoded once.
    latin: RefCell<HashMap<usize, Arc<Vec<u8>>>>,
}

type Result<T> = std::result::Result<T, String>;

impl Pickle {
    /// Reads the pickle that begins at `start`.
    pub fn read(file: &Arc<Vec<u8>>, start: usize) -> Result<Self> {
        Self::read_within(file, start, MAX_MEMORY)
    }

    /// Reads a pickle whose values take at most so many bytes.
    pub fn read_within(file: &Arc<Vec<u8>>, start: usize, most: usize) -> Result<Self> {
        let mut machine = Machine {
            most,
            file,
            at: start,
            nodes: vec![],
            stack: vec![],
            marks: vec![],
            memo: HashMap::new(),
            heap: 0,
        };
        let root = machine.run()?;
        let (nodes, end) = (machine.nodes, machine.at);
        let file = file.clone();
        Ok(Self {
            file,
            nodes,
            root,
            start,
            end,
            latin: RefCell::default(),
        })
    }

    pub fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(k) => self.nodes.get(k),
            _ => None,
        }
    }

    pub fn bytes<'a>(&'a self, piece: &'a Piece) -> &'a [u8] {
        match piece {
            Piece::At(range) => &self.file[range.clone()],
            Piece::Owned(bytes) => bytes,
        }
    }

    pub fn text(&self, value: Value) -> Option<&str> {
        match self.node(value)? {
            Node::Text(piece) | Node::Text2(piece) => std::str::from_utf8(self.bytes(piece)).ok(),
            _ => None,
        }
    }

    /// The bytes that text stands for in Latin-1.
    pub fn latin(&self, value: Value) -> Option<Arc<Vec<u8>>> {
        let Value::Node(k) = value else { return None };
        if let Some(bytes) = self.latin.borrow().get(&k) {
            return Some(bytes.clone());
        }
        let bytes = self
            .text(value)?
            .chars()
            .map(|character| u8::try_from(character).ok());
        let bytes = Arc::new(bytes.collect::<Option<Vec<_>>>()?);
        self.latin.borrow_mut().insert(k, bytes.clone());
        Some(bytes)
    }

    pub fn size(&self, value: Value) -> Option<usize> {
        match value {
            Value::Int(size) => size.try_into().ok(),
            _ => None,
        }
    }

    /// Module and name of a class or a function. PyTorch before 1.6 referred to classes of modules with their source.
    pub fn global(&self, value: Value) -> Option<(&str, &str)> {
        let value = match self.node(value)? {
            Node::Persistent(id) => match self.items(*id)? {
                [tag, class, ..] if self.text(*tag) == Some("module") => *class,
                _ => return None,
            },
            _ => value,
        };
        match self.node(value)? {
            Node::Global(module, name) => {
                let text = |piece| std::str::from_utf8(self.bytes(piece)).ok();
                Some((text(module)?, text(name)?))
            }
            _ => None,
        }
    }

    pub fn call(&self, value: Value) -> Option<&Call> {
        match self.node(value)? {
            Node::Call(call) => Some(call),
            _ => None,
        }
    }

    /// The items of a list, a tuple or a set.
    pub fn items(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::List(items) | Node::Tuple(items) | Node::Set(items) => Some(items),
            _ => None,
        }
    }

    /// The sizes that a list or a tuple of them holds.
    pub fn sizes(&self, value: Value) -> Option<Vec<usize>> {
        let sizes = self.items(value)?.iter().map(|size| self.size(*size));
        sizes.collect()
    }

    /// What a dictionary or an object has under this name.
    pub fn get(&self, entries: &[(Value, Value)], name: &str) -> Option<Value> {
        let mut entries = entries.iter();
        let entry = entries.find(|(key, _)| self.text(*key) == Some(name));
        entry.map(|(_, value)| *value)
    }
}

struct Machine<'a> {
    /// Most bytes that the values may take.
    most: usize,
    file: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<Value>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    memo: HashMap<u64, Value>,
    /// Bytes of what the nodes hold on the heap.
    heap: usize,
}

/// The bytes that items take in a list.
fn held(items: &[Value]) -> usize {
    match items.len() {
        0 => 0,
        _ => LIST.max(size_of_val(items)),
    }
}

impl Machine<'_> {
    fn error<T>(&self, what: &str) -> Result<T> {
        Err(format!("{what} at byte {}", self.at))
    }

    fn take(&mut self, count: usize) -> Result<Range<usize>> {
        let end = self
            .at
            .checked_add(count)
            .filter(|end| *end <= self.file.len());
        let Some(end) = end else {
            return self.error("the pickle ends too early");
        };
        let range = self.at..end;
        self.at = end;
        Ok(range)
    }

    /// A number of `N` bytes, little-endian.
    fn number<const N: usize>(&mut self) -> Result<u64> {
        let range = self.take(N)?;
        let mut bytes = [0; 8];
        bytes[..N].copy_from_slice(&self.file[range]);
        Ok(u64::from_le_bytes(bytes))
    }

    /// Text or bytes after their length of `N` bytes.
    fn counted<const N: usize>(&mut self) -> Result<Piece> {
        let count = self.number::<N>()?;
        self.take(count.try_into().unwrap_or(usize::MAX))
            .map(Piece::At)
    }

    fn line(&mut self) -> Result<Range<usize>> {
        let rest = &self.file[self.at..];
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            return self.error("a line without an end");
        };
        let line = self.take(length)?;
        self.at += 1;
        // Python 2 on Windows wrote such ends.
        let end = line.end - usize::from(self.file[line.clone()].ends_with(b"\r"));
        Ok(line.start..end)
    }

    fn line_number<T: std::str::FromStr>(&mut self) -> Result<Option<T>> {
        let line = self.line()?;
        let text = std::str::from_utf8(&self.file[line]).unwrap_or_default();
        Ok(text.trim_end_matches('L').parse().ok())
    }

    fn add(&mut self, node: Node) -> Result<Value> {
        self.heap += match &node {
            Node::List(items) | Node::Tuple(items) | Node::Set(items) => held(items),
            Node::Text(Piece::Owned(bytes)) | Node::Text2(Piece::Owned(bytes)) => {
                LIST + bytes.len()
            }
            Node::Call(_) => CALL,
            _ => 0,
        };
        self.nodes.push(node);
        Ok(Value::Node(self.nodes.len() - 1))
    }

    fn push_node(&mut self, node: Node) -> Result<()> {
        let value = self.add(node)?;
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.pop() {
            Some(value) if self.stack.len() >= floor => Ok(value),
            _ => self.error("nothing on the stack"),
        }
    }

    fn top(&self) -> Result<Value> {
        match self.stack.last() {
            Some(value) => Ok(*value),
            None => self.error("nothing on the stack"),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => self.error("no mark on the stack"),
        }
    }

    fn global(&mut self) -> Result<Value> {
        let (module, name) = (self.line()?, self.line()?);
        self.add(Node::Global(Piece::At(module), Piece::At(name)))
    }

    fn push_call(&mut self, function: Value, arguments: Value) -> Result<()> {
        self.push_node(Node::Call(Box::new(Call {
            function,
            arguments,
            state: None,
            entries: vec![],
            items: vec![],
        })))
    }

    fn remember(&mut self, key: u64) -> Result<()> {
        let value = self.top()?;
        self.memo.insert(key, value);
        Ok(())
    }

    fn recall(&mut self, key: Option<u64>) -> Result<()> {
        match key.and_then(|key| self.memo.get(&key)) {
            Some(value) => self.stack.push(*value),
            None => return self.error("a reference to nothing"),
        }
        Ok(())
    }

    /// Adds to the list, the set or the object on top.
    fn append(&mut self, more: Vec<Value>) -> Result<()> {
        let Value::Node(k) = self.top()? else {
            return self.error("items for a number");
        };
        self.heap += held(&more);
        match &mut self.nodes[k] {
            Node::List(items) | Node::Set(items) => items.extend(more),
            Node::Call(call) => call.items.extend(more),
            _ => return self.error("items for what is no list"),
        }
        Ok(())
    }

    /// Adds to the dictionary or the object on top.
    fn set(&mut self, more: Vec<Value>) -> Result<()> {
        let Value::Node(k) = self.top()? else {
            return self.error("entries for a number");
        };
        self.heap += held(&more);
        let (more, rest) = more.as_chunks();
        let more = more.iter().map(|[key, value]| (*key, *value));
        match &mut self.nodes[k] {
            Node::Dict(entries) if rest.is_empty() => entries.extend(more),
            Node::Call(call) if rest.is_empty() => call.entries.extend(more),
            _ => return self.error("entries for what is no dictionary"),
        }
        Ok(())
    }

    fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        let Value::Node(k) = self.top()? else {
            return self.error("a state for a number");
        };
        match &mut self.nodes[k] {
            Node::Call(call) => call.state = Some(state),
            _ => return self.error("a state for what is no object"),
        }
        Ok(())
    }

    /// Text as Python 2 prints it, with quotes and escapes.
    fn printed(&mut self) -> Result<Piece> {
        let line = self.line()?;
        let text = &self.file[line];
        let quoted = matches!(text, [b'\'', .., b'\''] | [b'"', .., b'"']);
        if !quoted {
            return self.error("text without quotes");
        }
        let mut bytes = vec![];
        let mut rest = &text[1..text.len() - 1];
        while let [first, after @ ..] = rest {
            rest = after;
            let hex = |digits: &[u8]| {
                let digits = std::str::from_utf8(digits).ok()?;
                u8::from_str_radix(digits, 16).ok()
            };
            match (first, rest) {
                (b'\\', [b'x', high, low, after @ ..]) => {
                    let Some(byte) = hex(&[*high, *low]) else {
                        return self.error("an escape that is none");
                    };
                    bytes.push(byte);
                    rest = after;
                }
                (b'\\', [escaped, after @ ..]) => {
                    bytes.push(match escaped {
                        b'n' => b'\n',
                        b't' => b'\t',
                        b'r' => b'\r',
                        other => *other,
                    });
                    rest = after;
                }
                (byte, _) => bytes.push(*byte),
            }
        }
        Ok(Piece::Owned(Arc::new(bytes)))
    }

    /// A line of text in which characters may be escaped by their number.
    fn unicode_line(&mut self) -> Result<Piece> {
        let line = self.line()?;
        let bytes = &self.file[line.clone()];
        if bytes.is_ascii() && !bytes.contains(&b'\\') {
            return Ok(Piece::At(line));
        }
        let mut text = String::new();
        let mut rest = bytes;
        while let [first, after @ ..] = rest {
            rest = after;
            let digits = match (first, rest.first()) {
                (b'\\', Some(b'u')) => 4,
                (b'\\', Some(b'U')) => 8,
                _ => {
                    // The others stand for themselves, as in Latin-1.
                    text.push(char::from(*first));
                    continue;
                }
            };
            let number = rest.get(1..1 + digits);
            let number = number.and_then(|digits| std::str::from_utf8(digits).ok());
            let number = number.and_then(|digits| u32::from_str_radix(digits, 16).ok());
            let Some(number) = number else {
                return self.error("an escape that is none");
            };
            text.push(char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER));
            rest = &rest[1 + digits..];
        }
        Ok(Piece::Owned(Arc::new(text.into_bytes())))
    }

    fn int(&mut self, count: usize) -> Result<()> {
        let range = self.take(count)?;
        let bytes = &self.file[range];
        if count > 8 {
            return self.push_node(Node::Other);
        }
        let negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
        let mut all = [if negative { 0xff } else { 0 }; 8];
        all[..count].copy_from_slice(bytes);
        self.stack.push(Value::Int(i64::from_le_bytes(all)));
        Ok(())
    }

    fn run(&mut self) -> Result<Value> {
        loop {
            // (What is on the stack is copied into lists.)
            let stack = 2 * size_of::<Value>() * (self.stack.len() + self.marks.len());
            let nodes = size_of::<Node>() * self.nodes.len();
            if self.heap + stack + nodes + REMEMBERED * self.memo.len() > self.most {
                return self.error("too many values");
            }
            let range = self.take(1)?;
            match self.file[range.start] {
                b'(' => self.marks.push(self.stack.len()),
                b'.' => return self.pop(),
                b'0' => match self.marks.last() == Some(&self.stack.len()) {
                    true => drop(self.marks.pop()),
                    false => drop(self.pop()?),
                },
                b'1' => drop(self.pop_to_mark()?),
                b'2' => {
                    let top = self.top()?;
                    self.stack.push(top);
                }
                b'N' => self.stack.push(Value::None),
                0x88 => self.stack.push(Value::Bool(true)),
                0x89 => self.stack.push(Value::Bool(false)),
                b'F' => {
                    self.line()?;
                    self.stack.push(Value::Float);
                }
                b'G' => {
                    self.take(8)?;
                    self.stack.push(Value::Float);
                }
                b'I' => {
                    let line = self.line()?;
                    match &self.file[line] {
                        b"00" => self.stack.push(Value::Bool(false)),
                        b"01" => self.stack.push(Value::Bool(true)),
                        number => match std::str::from_utf8(number).map(str::parse) {
                            Ok(Ok(number)) => self.stack.push(Value::Int(number)),
                            _ => self.push_node(Node::Other)?,
                        },
                    }
                }
                b'L' => match self.line_number()? {
                    Some(number) => self.stack.push(Value::Int(number)),
                    None => self.push_node(Node::Other)?,
                },
                b'J' => self.int(4)?,
                b'K' => {
                    let number = self.number::<1>()?;
                    self.stack.push(Value::Int(number as i64));
                }
                b'M' => {
                    let number = self.number::<2>()?;
                    self.stack.push(Value::Int(number as i64));
                }
                0x8a => {
                    let count = self.number::<1>()?;
                    self.int(count as usize)?;
                }
                0x8b => {
                    let count = self.number::<4>()?;
                    self.int(count.try_into().unwrap_or(usize::MAX))?;
                }
                b'S' => {
                    let text = self.printed()?;
                    self.push_node(Node::Text2(text))?;
                }
                b'T' => {
                    let text = self.counted::<4>()?;
                    self.push_node(Node::Text2(text))?;
                }
                b'U' => {
                    let text = self.counted::<1>()?;
                    self.push_node(Node::Text2(text))?;
                }
                b'V' => {
                    let text = self.unicode_line()?;
                    self.push_node(Node::Text(text))?;
                }
                b'X' => {
                    let text = self.counted::<4>()?;
                    self.push_node(Node::Text(text))?;
                }
                0x8c => {
                    let text = self.counted::<1>()?;
                    self.push_node(Node::Text(text))?;
                }
                0x8d => {
                    let text = self.counted::<8>()?;
                    self.push_node(Node::Text(text))?;
                }
                b'B' => {
                    let bytes = self.counted::<4>()?;
                    self.push_node(Node::Bytes(bytes))?;
                }
                b'C' => {
                    let bytes = self.counted::<1>()?;
                    self.push_node(Node::Bytes(bytes))?;
                }
                0x8e | 0x96 => {
                    let bytes = self.counted::<8>()?;
                    self.push_node(Node::Bytes(bytes))?;
                }
                b']' => self.push_node(Node::List(vec![]))?,
                b')' => self.push_node(Node::Tuple(vec![]))?,
                b'}' => self.push_node(Node::Dict(vec![]))?,
                0x8f => self.push_node(Node::Set(vec![]))?,
                b'l' => {
                    let items = self.pop_to_mark()?;
                    self.push_node(Node::List(items))?;
                }
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push_node(Node::Tuple(items))?;
                }
                0x91 => {
                    let items = self.pop_to_mark()?;
                    self.push_node(Node::Set(items))?;
                }
                b'd' => {
                    let entries = self.pop_to_mark()?;
                    self.push_node(Node::Dict(vec![]))?;
                    self.set(entries)?;
                }
                count @ 0x85..=0x87 => {
                    let mut items = vec![];
                    for _ in 0x84..count {
                        items.insert(0, self.pop()?);
                    }
                    self.push_node(Node::Tuple(items))?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                b'e' | 0x90 => {
                    let items = self.pop_to_mark()?;
                    self.append(items)?;
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.set(vec![key, value])?;
                }
                b'u' => {
                    let entries = self.pop_to_mark()?;
                    self.set(entries)?;
                }
                b'c' => {
                    let global = self.global()?;
                    self.stack.push(global);
                }
                0x93 => {
                    let name = self.pop()?;
                    let module = self.pop()?;
                    let piece = |value| match value {
                        Value::Node(k) => match &self.nodes[k] {
                            Node::Text(piece) | Node::Text2(piece) => Some(piece.clone()),
                            _ => None,
                        },
                        _ => None,
                    };
                    let Some((module, name)) = piece(module).zip(piece(name)) else {
                        return self.error("a class without a name");
                    };
                    self.push_node(Node::Global(module, name))?;
                }
                b'R' | 0x81 => {
                    let arguments = self.pop()?;
                    let function = self.pop()?;
                    self.push_call(function, arguments)?;
                }
                0x92 => {
                    self.pop()?; // Named arguments.
                    let arguments = self.pop()?;
                    let class = self.pop()?;
                    self.push_call(class, arguments)?;
                }
                b'i' => {
                    let class = self.global()?;
                    let arguments = self.pop_to_mark()?;
                    let arguments = self.add(Node::Tuple(arguments))?;
                    self.push_call(class, arguments)?;
                }
                b'o' => {
                    let mut arguments = self.pop_to_mark()?;
                    if arguments.is_empty() {
                        return self.error("an object without a class");
                    }
                    let class = arguments.remove(0);
                    let arguments = self.add(Node::Tuple(arguments))?;
                    self.push_call(class, arguments)?;
                }
                b'b' => self.build()?,
                b'P' => {
                    let id = self.line()?;
                    let id = self.add(Node::Text(Piece::At(id)))?;
                    self.push_node(Node::Persistent(id))?;
                }
                b'Q' => {
                    let id = self.pop()?;
                    self.push_node(Node::Persistent(id))?;
                }
                b'p' => match self.line_number()? {
                    Some(key) => self.remember(key)?,
                    None => return self.error("a number that is none"),
                },
                b'q' => {
                    let key = self.number::<1>()?;
                    self.remember(key)?;
                }
                b'r' => {
                    let key = self.number::<4>()?;
                    self.remember(key)?;
                }
                0x94 => self.remember(self.memo.len() as u64)?,
                b'g' => {
                    let key = self.line_number()?;
                    self.recall(key)?;
                }
                b'h' => {
                    let key = self.number::<1>()?;
                    self.recall(Some(key))?;
                }
                b'j' => {
                    let key = self.number::<4>()?;
                    self.recall(Some(key))?;
                }
                0x80 => {
                    let protocol = self.number::<1>()?;
                    if protocol > 5 {
                        return self.error("a protocol above 5");
                    }
                }
                0x95 => {
                    self.take(8)?;
                }
                // Extensions by number, and out-of-band buffers.
                0x82 => {
                    self.take(1)?;
                    self.push_node(Node::Other)?;
                }
                0x83 => {
                    self.take(2)?;
                    self.push_node(Node::Other)?;
                }
                0x84 => {
                    self.take(4)?;
                    self.push_node(Node::Other)?;
                }
                0x97 => self.push_node(Node::Other)?,
                0x98 => (),
                other => return self.error(&format!("{other:#04x} is no instruction of a pickle")),
            }
        }
    }
}
