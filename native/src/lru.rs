//! One endpoint's blocks: an open-addressed table from block hash to an entry of a doubly linked list in a vector.
//! 24 bytes for an entry and 4 per table place, of which at most seven eighths are used.

const NONE: u32 = u32::MAX;
/// Entry flag: the endpoint itself reported that it holds the block.
pub const REPORTED: u32 = 1;

#[derive(Clone, Copy)]
struct Entry {
    block: u64,
    older: u32,
    newer: u32,
    flags: u32,
}

/// One endpoint's blocks, from the least to the most recently used.
pub struct Lru {
    pub capacity: usize,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Entry numbers by hash; a power of two long.
    table: Vec<u32>,
    oldest: u32,
    newest: u32,
    pub used: usize,
}

impl Lru {
    pub fn new(capacity: usize) -> Lru {
        Lru {
            capacity,
            entries: Vec::new(),
            free: Vec::new(),
            table: Vec::new(),
            oldest: NONE,
            newest: NONE,
            used: 0,
        }
    }

    fn place(&self, block: u64) -> usize {
        // Block hashes are uniform already; the multiplication guards against chosen ones.
        (block.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20) as usize & (self.table.len() - 1)
    }

    fn find(&self, block: u64) -> Option<usize> {
        if self.table.is_empty() {
            return None;
        }
        let mut at = self.place(block);
        loop {
            match self.table[at] {
                NONE => return None,
                entry if self.entries[entry as usize].block == block => return Some(at),
                _ => at = (at + 1) & (self.table.len() - 1),
            }
        }
    }

    pub fn contains(&self, block: u64) -> bool {
        self.find(block).is_some()
    }

    fn grow(&mut self) {
        let size = (self.table.len() * 2).max(16);
        self.table = vec![NONE; size];
        let mut at = self.oldest;
        while at != NONE {
            self.put(at);
            at = self.entries[at as usize].newer;
        }
    }

    fn put(&mut self, entry: u32) {
        let mut at = self.place(self.entries[entry as usize].block);
        while self.table[at] != NONE {
            at = (at + 1) & (self.table.len() - 1);
        }
        self.table[at] = entry;
    }

    fn unlink(&mut self, entry: u32) {
        let Entry { older, newer, .. } = self.entries[entry as usize];
        match older {
            NONE => self.oldest = newer,
            _ => self.entries[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            _ => self.entries[newer as usize].older = older,
        }
    }

    fn link(&mut self, entry: u32) {
        let newest = self.newest;
        let links = &mut self.entries[entry as usize];
        (links.older, links.newer) = (newest, NONE);
        match newest {
            NONE => self.oldest = entry,
            _ => self.entries[newest as usize].newer = entry,
        }
        self.newest = entry;
    }

    /// Makes the block the most recently used; true for a new one, which takes its place in the table.
    pub fn touch(&mut self, block: u64, flags: u32) -> bool {
        if let Some(place) = self.find(block) {
            let entry = self.table[place];
            self.entries[entry as usize].flags |= flags;
            self.unlink(entry);
            self.link(entry);
            return false;
        }
        if (self.used + 1) * 8 > self.table.len() * 7 {
            self.grow();
        }
        let new = Entry {
            block,
            older: NONE,
            newer: NONE,
            flags,
        };
        let entry = match self.free.pop() {
            Some(entry) => {
                self.entries[entry as usize] = new;
                entry
            }
            None => {
                if self.entries.len() == self.entries.capacity() {
                    // An eighth more, not twice as much: memory stays near what is used.
                    let more = (self.entries.len() / 8).max(64);
                    self.entries.reserve_exact(more);
                }
                self.entries.push(new);
                (self.entries.len() - 1) as u32
            }
        };
        self.used += 1;
        self.link(entry);
        self.put(entry);
        true
    }

    pub fn forget(&mut self, block: u64) -> bool {
        let Some(place) = self.find(block) else {
            return false;
        };
        let entry = self.table[place];
        self.unlink(entry);
        self.free.push(entry);
        self.used -= 1;
        self.close_gap(place);
        true
    }

    /// Moves the places behind an emptied one up, so that every search still ends at the first gap.
    fn close_gap(&mut self, mut gap: usize) {
        let mask = self.table.len() - 1;
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let entry = self.table[at];
            if entry == NONE {
                break;
            }
            let home = self.place(self.entries[entry as usize].block);
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(gap) & mask) {
                self.table[gap] = entry;
                gap = at;
            }
        }
        self.table[gap] = NONE;
    }

    /// Drops the least recently used block while there are more than the capacity.
    pub fn evict(&mut self) -> Option<u64> {
        if self.used <= self.capacity {
            return None;
        }
        let block = self.entries[self.oldest as usize].block;
        self.forget(block);
        Some(block)
    }

    pub fn clear(&mut self) {
        *self = Lru::new(self.capacity);
    }

    /// The blocks from the oldest to the newest, with their flags.
    pub fn in_order(&self) -> impl Iterator<Item = (u64, u32)> {
        let mut at = self.oldest;
        std::iter::from_fn(move || {
            let entry = self.entries.get(at as usize)?;
            at = entry.newer;
            Some((entry.block, entry.flags))
        })
    }

    pub fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + (self.free.capacity() + self.table.capacity()) * size_of::<u32>()
    }

    pub fn check(&self) -> Result<(), String> {
        let mut count = 0;
        let mut before = NONE;
        let mut at = self.oldest;
        while at != NONE {
            let entry = self.entries[at as usize];
            if entry.older != before {
                return Err(format!("entry {at} does not know the one before it"));
            }
            if self.find(entry.block).map(|place| self.table[place]) != Some(at) {
                return Err(format!("block {} is not in the table", entry.block));
            }
            (before, at, count) = (at, entry.newer, count + 1);
        }
        let placed = self.table.iter().filter(|entry| **entry != NONE).count();
        if count != self.used || placed != self.used || self.used > self.capacity.max(1) {
            return Err(format!(
                "{count} listed, {placed} placed, {} used of {}",
                self.used, self.capacity
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        #[test]
        fn the_table_and_the_list_agree(steps in prop::collection::vec((0u64..60, 0u8..4), 1..300), capacity in 1usize..40) {
            let mut lru = Lru::new(capacity);
            let mut model: Vec<u64> = Vec::new();
            for (block, step) in steps {
                // Few distinct homes, so that searches collide.
                let block = block.wrapping_mul(0xF1DE_83E1_9937_0000);
                match step {
                    0 => {
                        prop_assert_eq!(lru.forget(block), model.contains(&block));
                        model.retain(|known| *known != block);
                    }
                    _ => {
                        lru.touch(block, 0);
                        while lru.evict().is_some() {}
                        model.retain(|known| *known != block);
                        model.push(block);
                        if model.len() > capacity { model.remove(0); }
                    }
                }
                prop_assert_eq!(lru.check(), Ok(()));
                let order: Vec<u64> = lru.in_order().map(|(block, _)| block).collect();
                prop_assert_eq!(&order, &model);
            }
        }
    }
}
