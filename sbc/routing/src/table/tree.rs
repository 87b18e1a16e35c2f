//! A tree over patterns of digits: the ways down that a number can go are followed, a class beside a digit is a way of its
//! own. A pattern is one number of 125 bits, five for each place; so patterns are sorted quickly, the tree is made from
//! the sorted ones without any search, and a node is eight bytes.

use crate::number::Element;

/// A digit pattern, packed: the first place in the highest bits, an end behind the last, zeros behind that. Ordered as
/// the tree is.
pub(super) type Key = u128;

/// Places that fit; longer patterns are matched one by one.
const PLACES_MAX: usize = 24;
const BITS: usize = 5;
/// Shift of the first place.
const TOP: usize = BITS * PLACES_MAX;

/// Symbols: three ends, three classes, then literal characters as they turn up. 0 is none.
const CLOSED: u32 = 1;
const EXACT: u32 = 2;
const OPEN: u32 = 3;
const X: u32 = 4;
const Z: u32 = 5;
const N: u32 = 6;
const LITERALS: u32 = 7;
const SYMBOLS: u32 = 1 << BITS;

/// Which characters have a symbol.
#[derive(Clone, Debug)]
pub(super) struct Alphabet {
    /// 0 for those that stand in no pattern.
    symbols: [u8; 256],
    next: u32,
}

impl Alphabet {
    /// What numbers are made of has its symbols from the start; of other characters, the first twelve get one.
    pub(super) fn new() -> Alphabet {
        let mut alphabet = Alphabet { symbols: [0; 256], next: LITERALS };
        for byte in *b"0123456789+*#" {
            alphabet.symbol(byte);
        }
        alphabet
    }

    /// Packs a pattern with classes or an open end; `None` if it is too long, or made of too many other characters.
    pub(super) fn digits(&mut self, elements: &[Element], open: bool) -> Option<Key> {
        let exact = elements.iter().all(|element| matches!(element, Element::Literal(_)));
        let end = if open {
            OPEN
        } else if exact {
            EXACT
        } else {
            CLOSED
        };
        self.pack(elements.len(), end, elements.iter().copied())
    }

    /// Packs a whole number; `None` as above.
    pub(super) fn exact(&mut self, number: &[u8]) -> Option<Key> {
        self.pack(number.len(), EXACT, number.iter().map(|byte| Element::Literal(*byte)))
    }

    fn pack(&mut self, len: usize, end: u32, elements: impl Iterator<Item = Element>) -> Option<Key> {
        if len > PLACES_MAX {
            return None;
        }
        let mut key: Key = 0;
        for element in elements {
            let symbol = match element {
                Element::Literal(byte) => self.symbol(byte)?,
                Element::X => X,
                Element::Z => Z,
                Element::N => N,
            };
            key = key << BITS | Key::from(symbol);
        }
        Some((key << BITS | Key::from(end)) << (BITS * (PLACES_MAX - len)))
    }

    fn symbol(&mut self, byte: u8) -> Option<u32> {
        let symbol = &mut self.symbols[usize::from(byte)];
        if *symbol == 0 {
            if self.next == SYMBOLS {
                return None;
            }
            *symbol = self.next as u8;
            self.next += 1;
        }
        Some((*symbol).into())
    }
}

/// The tree. What it finds are indexes into the keys that it was made of.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    /// Breadth first: what every look-up passes lies together.
    nodes: Vec<Node>,
    keys: Vec<Key>,
    /// By character: the symbols that it satisfies, as bits.
    admits: Box<[u32; 256]>,
}

/// A branch, or with an empty mask a leaf.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// Symbols with a child.
    mask: u32,
    /// Index of the first child, the others follow in order of their symbols; of a leaf, index of its key.
    first: u32,
}

impl Tree {
    /// Makes the tree of sorted and different keys.
    pub(super) fn new(keys: Vec<Key>, alphabet: &Alphabet) -> Tree {
        assert!(keys.len() < 1 << 30, "indexes have 32 bits");
        debug_assert!(keys.is_sorted_by(|a, b| a < b), "keys are sorted and different");
        let mut admits = Box::new([0; 256]);
        for (byte, admits) in admits.iter_mut().enumerate() {
            let symbol = u32::from(alphabet.symbols[byte]);
            let digit = (byte as u8).wrapping_sub(b'0');
            *admits = 1 << OPEN
                | if symbol > 0 { 1 << symbol } else { 0 }
                | if digit < 10 { 1 << X } else { 0 }
                | if (1..10).contains(&digit) { 1 << Z } else { 0 }
                | if (2..10).contains(&digit) { 1 << N } else { 0 };
        }
        let mut nodes = Vec::with_capacity(keys.len() + keys.len() / 2);
        // The keys of each node, in the order of nodes; a node is finished when its turn comes.
        let mut level = Vec::new();
        if !keys.is_empty() {
            nodes.push(Node { mask: 0, first: 0 });
            level.push(0..keys.len() as u32);
        }
        let (mut at, mut depth) = (0, 0);
        while !level.is_empty() {
            let mut next = Vec::new();
            for range in level {
                let here = &keys[range.start as usize..range.end as usize];
                nodes[at] = if here.len() == 1 {
                    Node { mask: 0, first: range.start }
                } else {
                    let mut node = Node { mask: 0, first: nodes.len() as u32 };
                    let mut start = range.start;
                    for part in here.chunk_by(|a, b| symbol(*a, depth) == symbol(*b, depth)) {
                        node.mask |= 1 << symbol(part[0], depth);
                        nodes.push(Node { mask: 0, first: 0 });
                        next.push(start..start + part.len() as u32);
                        start += part.len() as u32;
                    }
                    node
                };
                at += 1;
            }
            level = next;
            depth += 1;
        }
        nodes.shrink_to_fit();
        Tree { nodes, keys, admits }
    }

    /// Finds the keys that match a number, with the count of places that each fixes; longer ones come first on each way.
    pub(super) fn find(&self, number: &[u8], found: &mut impl FnMut(u32, usize)) {
        if let Some(root) = self.nodes.first() {
            self.walk(*root, 0, number, found);
        }
    }

    /// Goes no deeper than the longest key has places.
    fn walk(&self, node: Node, depth: usize, number: &[u8], found: &mut impl FnMut(u32, usize)) {
        if node.mask == 0 {
            if let Some(fixed) = self.ends(self.keys[node.first as usize], depth, number) {
                found(node.first, fixed);
            }
            return;
        }
        let mut ways = node.mask & self.admits(number.get(depth));
        while ways != 0 {
            let symbol = ways.ilog2();
            ways ^= 1 << symbol;
            let child = node.first + (node.mask & ((1 << symbol) - 1)).count_ones();
            let child = self.nodes[child as usize];
            match symbol {
                // An end is a leaf, all of whose places were walked: its key need not be read.
                CLOSED | OPEN => found(child.first, depth),
                EXACT => found(child.first, depth + 1),
                _ => self.walk(child, depth + 1, number, found),
            }
        }
    }

    /// Whether the rest of a key, from a place on, is the rest of the number.
    fn ends(&self, key: Key, mut depth: usize, number: &[u8]) -> Option<usize> {
        loop {
            let symbol = symbol(key, depth);
            if self.admits(number.get(depth)) & (1 << symbol) == 0 {
                return None;
            }
            match symbol {
                CLOSED | OPEN => return Some(depth),
                EXACT => return Some(depth + 1),
                _ => depth += 1,
            }
        }
    }

    /// What the next character of a number satisfies, or its end.
    fn admits(&self, byte: Option<&u8>) -> u32 {
        byte.map_or(1 << CLOSED | 1 << EXACT, |byte| self.admits[usize::from(*byte)])
    }

    /// Bytes in use.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.nodes) + size_of_val(&*self.keys) + size_of_val(&*self.admits)
    }
}

fn symbol(key: Key, depth: usize) -> u32 {
    (key >> (TOP - BITS * depth)) as u32 % SYMBOLS
}

const _: () = assert!(TOP + BITS <= 125, "three bits stay free for what is no digit pattern");
