//! Paths of keys, and where in the text each key and list entry stands. What was read is remembered in the order of
//! reading; a path is only written out, and a line only counted, where somebody is told.

use crate::error::Place;
use crate::read::push_key;
use core::cell::Cell;
use core::fmt;
use core::fmt::Write as _;

/// One step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// A key of a table.
    Key(&'a str),
    /// An entry of a list, from 0.
    Index(usize),
}

/// The way to a key, as a chain on the stack. Prints as `trunk.acme.to[0].weight`.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    above: Option<&'a Path<'a>>,
    last: Segment<'a>,
}

impl Path<'static> {
    /// The whole file.
    pub const ROOT: Path<'static> = Path { above: None, last: Segment::Key("") };
}

impl<'a> Path<'a> {
    /// A key of this table.
    pub fn key(&'a self, key: &'a str) -> Path<'a> {
        Path { above: Some(self), last: Segment::Key(key) }
    }

    /// An entry of this list, from 0.
    pub fn entry(&'a self, index: usize) -> Path<'a> {
        Path { above: Some(self), last: Segment::Index(index) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&written(self))
    }
}

fn written(path: &Path<'_>) -> String {
    let Some(above) = path.above else { return String::new() };
    let mut text = written(above);
    push_segment(&mut text, path.last);
    text
}

/// Appends one step; keys are quoted where TOML wants quotes.
pub(crate) fn push_segment(path: &mut String, segment: Segment<'_>) {
    match segment {
        Segment::Index(index) => {
            let _ = write!(path, "[{index}]");
        }
        Segment::Key(key) => {
            if !path.is_empty() {
                path.push('.');
            }
            push_key(path, key);
        }
    }
}

/// Where every key and list entry stands.
#[derive(Clone, Debug)]
pub struct Places {
    /// In the order of reading: what stands below a node follows it. The first is the file.
    pub(crate) nodes: Vec<Node>,
    /// All keys, one behind the other.
    keys: String,
    line_starts: Vec<u32>,
    /// What was found last among many: who asks for all of them asks in their order.
    last_found: Cell<u32>,
}

/// One key or entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    above: u32,
    /// The first node that is not below this one; 0 while it is read.
    end: u32,
    /// Byte of the text.
    pub(crate) offset: u32,
    /// Where its key begins in `keys`; of an entry of a list, its number.
    start: u32,
    /// Length of the key.
    len: u32,
}

/// So many steps are quickly done.
const MANY: u32 = 32;
/// Marks an entry of a list.
const ENTRY: u32 = u32::MAX;

impl Places {
    /// Of a text of which nothing was read yet.
    pub(crate) fn new(text: &str) -> Places {
        let lines = text.bytes().zip(1..).filter(|(byte, _)| *byte == b'\n').map(|(_, next)| next);
        Places {
            nodes: vec![Node { above: 0, end: 0, offset: 0, start: 0, len: 0 }],
            keys: String::new(),
            line_starts: core::iter::once(0).chain(lines).collect(),
            last_found: Cell::new(0),
        }
    }

    /// How many keys and entries there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Forgets all but the first so many.
    pub(crate) fn cut(&mut self, len: usize) {
        self.nodes.truncate(len);
    }

    /// Something begins to be read.
    pub(crate) fn open(&mut self, above: u32, segment: Segment<'_>, offset: usize) -> u32 {
        let (start, len) = match segment {
            Segment::Key(key) => {
                let start = self.keys.len();
                self.keys.push_str(key);
                (small(start), small(key.len()))
            }
            Segment::Index(index) => (small(index), ENTRY),
        };
        let node = small(self.nodes.len());
        self.nodes.push(Node { above, end: 0, offset: small(offset), start, len });
        node
    }

    /// It has been read.
    pub(crate) fn close(&mut self, node: u32) {
        self.nodes[node as usize].end = small(self.nodes.len());
    }

    fn segment(&self, node: Node) -> Segment<'_> {
        if node.len == ENTRY {
            return Segment::Index(node.start as usize);
        }
        let start = node.start as usize;
        Segment::Key(&self.keys[start..start + node.len as usize])
    }

    /// The path of a node, written out.
    pub(crate) fn path_of(&self, node: u32) -> String {
        if node == 0 {
            return String::new();
        }
        let found = self.nodes[node as usize];
        let mut path = self.path_of(found.above);
        push_segment(&mut path, self.segment(found));
        path
    }

    /// The node of a path, if it is given.
    pub(crate) fn find(&self, path: &Path<'_>) -> Option<u32> {
        let above = match path.above {
            None => return Some(0),
            Some(above) => self.find(above)?,
        };
        let end = match self.nodes[above as usize].end {
            0 => small(self.nodes.len()),
            end => end,
        };
        let last = self.last_found.get();
        if (above + 1..end).contains(&last) && self.nodes[last as usize].above == above {
            for near in [last, self.nodes[last as usize].end] {
                if (last..end).contains(&near) && self.segment(self.nodes[near as usize]) == path.last {
                    self.last_found.set(near);
                    return Some(near);
                }
            }
        }
        let mut next = above + 1;
        let mut steps = 0;
        while next < end {
            steps += 1;
            let node = self.nodes[next as usize];
            if self.segment(node) == path.last {
                if steps > MANY {
                    self.last_found.set(next);
                }
                return Some(next);
            }
            if node.end == 0 {
                return None; // it is read now, and what was read of it is no whole node
            }
            next = node.end;
        }
        None
    }

    /// The node of a path, or of the nearest key above it.
    pub(crate) fn nearest(&self, path: &Path<'_>) -> u32 {
        match path.above {
            None => 0,
            Some(above) => self.find(path).unwrap_or_else(|| self.nearest(above)),
        }
    }

    /// The first node after what stands below this one.
    pub(crate) fn end(&self, node: u32) -> u32 {
        self.nodes[node as usize].end
    }

    /// The line of a node, from 1.
    pub(crate) fn line(&self, node: u32) -> u32 {
        small(self.line_index(self.nodes[node as usize].offset as usize) + 1)
    }

    fn line_index(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start as usize <= offset).saturating_sub(1)
    }

    /// Line and column of a byte of the text.
    pub(crate) fn place(&self, offset: usize, text: &str) -> Place {
        let offset = offset.min(text.len());
        let index = self.line_index(offset);
        let before = &text.as_bytes()[self.line_starts[index] as usize..offset];
        // Characters, as an editor counts; in an absurdly long line bytes do, so that this stays cheap.
        let column = if before.len() > 4096 {
            before.len()
        } else {
            before.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
        };
        Place { line: small(index + 1), column: small(column + 1) }
    }
}

/// Texts are at most [`TEXT_MAX`](crate::TEXT_MAX) bytes long.
fn small(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let text = "é = 1\nab = 2";
        let places = Places::new(text);
        assert_eq!(places.place(0, text), Place { line: 1, column: 1 });
        assert_eq!(places.place(3, text), Place { line: 1, column: 3 });
        assert_eq!(places.place(7, text), Place { line: 2, column: 1 });
        assert_eq!(places.place(999, text), Place { line: 2, column: 7 });
    }

    #[test]
    fn a_path_is_found_where_it_was_read_and_else_the_nearest_above() {
        let mut places = Places::new("a\nb\nc\nd\ne");
        let trunk = places.open(0, Segment::Key("trunk"), 0);
        let pbx = places.open(trunk, Segment::Key("p b"), 2);
        let from = places.open(pbx, Segment::Key("from"), 4);
        let entry = places.open(from, Segment::Index(0), 6);
        let root = Path::ROOT;
        let (a, z) = (root.key("trunk"), root.key("zebra"));
        let b = a.key("p b");
        let c = b.key("from");
        let d = c.entry(0);
        assert_eq!(places.find(&d), Some(entry));
        for node in [entry, from, pbx, trunk] {
            places.close(node);
        }
        let engine = places.open(0, Segment::Key("engine"), 8);
        places.close(engine);
        assert_eq!((d.to_string().as_str(), places.path_of(entry)), ("trunk.\"p b\".from[0]", d.to_string()));
        assert_eq!((places.find(&d), places.line(entry)), (Some(entry), 4));
        assert_eq!((places.find(&c.entry(1)), places.nearest(&c.entry(1))), (None, from));
        assert_eq!((places.find(&root.key("engine")), places.nearest(&z)), (Some(engine), 0));
    }
}
