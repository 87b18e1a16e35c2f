//! Longest match over dialled characters (`0`-`9`, `*`, `#`), with `X` for any digit in a prefix. Owns the nodes, not
//! what a prefix means.

/// Prefixes and what each stands for.
#[derive(Clone, Debug)]
pub struct PrefixTree<T> {
    nodes: Vec<Node>,
    values: Vec<T>,
}

#[derive(Clone, Debug)]
struct Node {
    /// By character; the last is `X`. Zero is none: the root is nobody's child.
    next: [u32; ALPHABET],
    /// One more than the place of its value; zero is none.
    value: u32,
}

const ALPHABET: usize = 13;
const ANY_DIGIT: usize = 12;

impl<T> Default for PrefixTree<T> {
    fn default() -> Self {
        PrefixTree { nodes: vec![Node { next: [0; ALPHABET], value: 0 }], values: Vec::new() }
    }
}

impl<T> PrefixTree<T> {
    /// The value of this very prefix, made if it is new; `None` if it holds a character that nobody dials.
    pub fn entry(&mut self, prefix: &[u8], new: impl FnOnce() -> T) -> Option<&mut T> {
        let mut at = 0;
        for byte in prefix {
            let way = if *byte == b'X' { ANY_DIGIT } else { way(*byte)? };
            at = match self.nodes[at].next[way] {
                0 => {
                    let next = self.nodes.len();
                    self.nodes.push(Node { next: [0; ALPHABET], value: 0 });
                    self.nodes[at].next[way] = next as u32;
                    next
                }
                next => next as usize,
            };
        }
        if self.nodes[at].value == 0 {
            self.values.push(new());
            self.nodes[at].value = self.values.len() as u32;
        }
        self.values.get_mut(self.nodes[at].value as usize - 1)
    }

    /// Every value whose prefix begins `number`, with the length of the prefix; the ways that a tree of literal
    /// prefixes has, times the `X` on it.
    pub fn matches<'t>(&'t self, number: &[u8], mut found: impl FnMut(usize, &'t T)) {
        self.walk(0, 0, number, &mut found);
    }

    fn walk<'t>(&'t self, at: usize, depth: usize, number: &[u8], found: &mut impl FnMut(usize, &'t T)) {
        let node = &self.nodes[at];
        if node.value != 0 {
            found(depth, &self.values[node.value as usize - 1]);
        }
        let Some(way) = number.get(depth).and_then(|byte| way(*byte)) else { return };
        if node.next[way] != 0 {
            self.walk(node.next[way] as usize, depth + 1, number, found);
        }
        if way < 10 && node.next[ANY_DIGIT] != 0 {
            self.walk(node.next[ANY_DIGIT] as usize, depth + 1, number, found);
        }
    }

    /// How many prefixes there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

fn way(byte: u8) -> Option<usize> {
    match byte {
        b'0'..=b'9' => Some(usize::from(byte - b'0')),
        b'*' => Some(10),
        b'#' => Some(11),
        _ => None,
    }
}
