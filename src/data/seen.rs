//! Which ids came already, in some 9 bytes an id however long it is.

/// A sorted list for every value of 12 bits of the hash; what it holds are 64 others. Two different ids among ten million are taken for
/// one with a chance below 1 in 10^9.
pub struct Seen(Vec<Vec<u64>>);

const LISTS: usize = 1 << 12;

impl Default for Seen {
    fn default() -> Seen {
        Seen(vec![vec![]; LISTS])
    }
}

impl Seen {
    /// False where it was there before.
    pub fn insert(&mut self, id: &str) -> bool {
        let hash = blake3::hash(id.as_bytes());
        let (short, more) = (hash.as_bytes()[..8].try_into(), &hash.as_bytes()[8..10]);
        let short = u64::from_le_bytes(short.expect("a hash has 32 bytes"));
        let list = &mut self.0[usize::from(u16::from_le_bytes([more[0], more[1]])) % LISTS];
        let Err(place) = list.binary_search(&short) else {
            return false;
        };
        // Twice as much would be half empty, and there are many lists.
        if list.len() == list.capacity() {
            list.reserve_exact(list.len() / 8 + 4);
        }
        list.insert(place, short);
        true
    }
}
