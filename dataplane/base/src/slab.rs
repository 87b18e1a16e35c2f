//! Dense storage whose keys carry a generation: a key of something that has gone finds nothing, never its successor.

/// Names one value of one [`Slab`]. Fits 64 bits, so that it can ride in epoll or io_uring user data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key {
    /// Place in the slab.
    pub index: u32,
    /// How often the place had been taken; odd while it is taken.
    pub generation: u32,
}

impl Key {
    /// Both halves in one word.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The reverse of [`Key::to_bits`].
    pub fn from_bits(bits: u64) -> Key {
        Key { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// A slab of bounded size. Insertion and removal are O(1); iteration is by index, so it replays.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    max: u32,
    len: u32,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    /// Holds at most `max` values; memory grows with use, not at once.
    pub fn with_max(max: u32) -> Self {
        Slab { places: Vec::new(), free: Vec::new(), max, len: 0 }
    }

    /// As [`Slab::with_max`], but takes all memory now, so that nothing allocates later.
    pub fn preallocated(max: u32) -> Self {
        Slab { places: Vec::with_capacity(max as usize), free: Vec::with_capacity(max as usize), max, len: 0 }
    }

    /// Stores a value.
    ///
    /// # Errors
    /// Gives the value back when the slab is full.
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        if self.len == self.max {
            return Err(value);
        }
        self.len += 1;
        if let Some(index) = self.free.pop() {
            let place = &mut self.places[index as usize];
            place.generation = place.generation.wrapping_add(1);
            place.value = Some(value);
            return Ok(Key { index, generation: place.generation });
        }
        let index = self.places.len() as u32;
        self.places.push(Place { generation: 1, value: Some(value) });
        Ok(Key { index, generation: 1 })
    }

    /// The key that the next value will get; `None` when the slab is full.
    pub fn next_key(&self) -> Option<Key> {
        if self.len == self.max {
            return None;
        }
        Some(match self.free.last() {
            Some(index) => {
                Key { index: *index, generation: self.places[*index as usize].generation.wrapping_add(1) }
            }
            None => Key { index: self.places.len() as u32, generation: 1 },
        })
    }

    /// Takes a value out; `None` if the key is stale.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index as usize).filter(|p| p.generation == key.generation)?;
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.index);
        self.len -= 1;
        Some(value)
    }

    /// The value of a key; `None` if the key is stale.
    pub fn get(&self, key: Key) -> Option<&T> {
        self.places.get(key.index as usize).filter(|p| p.generation == key.generation)?.value.as_ref()
    }

    /// The value of a key; `None` if the key is stale.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.places.get_mut(key.index as usize).filter(|p| p.generation == key.generation)?.value.as_mut()
    }

    /// Whether this was the key of something that has gone.
    pub fn has_had(&self, key: Key) -> bool {
        // Keys of values are odd; a place that is free has an even generation.
        let place = self.places.get(key.index as usize);
        key.generation % 2 == 1
            && place.is_some_and(|p| (1..1 << 31).contains(&p.generation.wrapping_sub(key.generation)))
    }

    /// The value at a place, whatever its generation.
    pub fn at(&self, index: u32) -> Option<(Key, &T)> {
        let place = self.places.get(index as usize)?;
        let key = Key { index, generation: place.generation };
        place.value.as_ref().map(|value| (key, value))
    }

    /// The value at a place, whatever its generation.
    pub fn at_mut(&mut self, index: u32) -> Option<(Key, &mut T)> {
        let place = self.places.get_mut(index as usize)?;
        let key = Key { index, generation: place.generation };
        place.value.as_mut().map(|value| (key, value))
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All values, by place.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            let key = Key { index: index as u32, generation: place.generation };
            place.value.as_ref().map(|value| (key, value))
        })
    }

    /// All values, by place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.places.iter_mut().enumerate().filter_map(|(index, place)| {
            let key = Key { index: index as u32, generation: place.generation };
            place.value.as_mut().map(|value| (key, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing_and_a_full_slab_gives_back() {
        let mut slab = Slab::with_max(2);
        let a = slab.insert('a').unwrap();
        let b = slab.insert('b').unwrap();
        assert_eq!(slab.insert('c'), Err('c'));
        assert_eq!(slab.remove(a), Some('a'));
        assert_eq!(slab.remove(a), None);
        let promised = slab.next_key();
        let c = slab.insert('c').unwrap();
        assert_eq!((promised, slab.next_key()), (Some(c), None));
        assert_eq!((c.index, slab.get(a)), (a.index, None));
        assert_eq!((slab.get(b), slab.get(c), slab.len()), (Some(&'b'), Some(&'c'), 2));
        assert_eq!(Key::from_bits(c.to_bits()), c);
    }
}
