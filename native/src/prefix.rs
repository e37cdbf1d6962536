//! Which endpoint has which prompt blocks in its cache; bounded by LRU per endpoint.
//!
//! The twin of `headgate.scheduling.prefix.PrefixIndex`. Per slot (endpoint) an open-addressed table from block
//! hash to an entry of a doubly linked list in a vector: 24 bytes for an entry and 4 per table place, of which at
//! most seven eighths are used. A match walks the prompt once per slot, so no global table is needed and one
//! endpoint is cleared at once.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

const NONE: u32 = u32::MAX;
const MAGIC: &[u8; 8] = b"HGPREF01";
/// Entry flag: the endpoint itself reported that it holds the block.
const REPORTED: u32 = 1;

#[derive(Clone, Copy)]
struct Entry {
    block: u64,
    older: u32,
    newer: u32,
    flags: u32,
}

/// One endpoint's blocks, from the least to the most recently used.
pub struct Lru {
    capacity: usize,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Entry numbers by hash; a power of two long.
    table: Vec<u32>,
    oldest: u32,
    newest: u32,
    used: usize,
}

impl Lru {
    fn new(capacity: usize) -> Lru {
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

    /// Makes the block the most recently used; a new one takes its place in the table.
    fn touch(&mut self, block: u64, flags: u32) {
        if let Some(place) = self.find(block) {
            let entry = self.table[place];
            self.entries[entry as usize].flags |= flags;
            self.unlink(entry);
            self.link(entry);
            return;
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
    }

    fn forget(&mut self, block: u64) -> bool {
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

    fn shrink(&mut self) {
        while self.used > self.capacity {
            let block = self.entries[self.oldest as usize].block;
            self.forget(block);
        }
    }

    fn clear(&mut self) {
        *self = Lru::new(self.capacity);
    }

    /// Remembers a prompt: its last block ages first.
    fn add(&mut self, blocks: &[u64], flags: u32) {
        for block in blocks.iter().rev() {
            self.touch(*block, flags);
        }
        self.shrink();
    }

    /// The blocks from the oldest to the newest, with their flags.
    fn in_order(&self) -> impl Iterator<Item = (u64, u32)> {
        let mut at = self.oldest;
        std::iter::from_fn(move || {
            let entry = self.entries.get(at as usize)?;
            at = entry.newer;
            Some((entry.block, entry.flags))
        })
    }

    fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + (self.free.capacity() + self.table.capacity()) * size_of::<u32>()
    }

    fn check(&self) -> Result<(), String> {
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

/// Slots of all endpoints.
#[derive(Default)]
pub struct Index {
    slots: Vec<Option<Lru>>,
}

impl Index {
    pub fn open(&mut self, slot: usize, capacity: usize) {
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        let lru = self.slots[slot].get_or_insert_with(|| Lru::new(capacity));
        lru.capacity = capacity;
        lru.shrink();
    }

    fn get(&self, slot: usize) -> Option<&Lru> {
        self.slots.get(slot)?.as_ref()
    }

    fn get_mut(&mut self, slot: usize) -> Option<&mut Lru> {
        self.slots.get_mut(slot)?.as_mut()
    }

    pub fn add(&mut self, slot: usize, blocks: &[u64]) {
        if let Some(lru) = self.get_mut(slot) {
            let room = lru.capacity.min(blocks.len());
            lru.add(&blocks[..room], 0);
        }
    }

    /// How many leading blocks each slot holds; slots that hold none are left out.
    pub fn matched(&self, blocks: &[u64]) -> Vec<(usize, usize)> {
        let depth = |lru: &Lru| {
            blocks
                .iter()
                .take_while(|block| lru.contains(**block))
                .count()
        };
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(slot, lru)| Some((slot, depth(lru.as_ref()?))))
            .filter(|(_, depth)| *depth > 0)
            .collect()
    }

    /// The whole index as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for (slot, lru) in self.slots.iter().enumerate() {
            let Some(lru) = lru else { continue };
            for number in [slot as u64, lru.capacity as u64, lru.used as u64] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            for (block, flags) in lru.in_order() {
                out.extend_from_slice(&block.to_le_bytes());
                out.push(flags as u8);
            }
        }
        out
    }

    pub fn restore(data: &[u8]) -> Result<Index, String> {
        let mut rest = data.strip_prefix(MAGIC).ok_or("not a snapshot")?;
        let mut index = Index::default();
        while !rest.is_empty() {
            let mut numbers = [0usize; 3];
            for number in &mut numbers {
                *number =
                    usize::try_from(take_u64(&mut rest)?).map_err(|_| "a number too large")?;
            }
            let [slot, capacity, used] = numbers;
            if slot > MAX_SLOT || used > capacity || used > rest.len() / 9 {
                return Err("the snapshot is cut short".to_owned());
            }
            index.open(slot, capacity);
            for _ in 0..used {
                let block = take_u64(&mut rest)?;
                let (flags, after) = rest.split_first().ok_or("the snapshot is cut short")?;
                rest = after;
                if let Some(lru) = index.get_mut(slot) {
                    lru.touch(block, u32::from(*flags) & REPORTED);
                }
            }
        }
        Ok(index)
    }
}

/// Slots are numbered densely; a number beyond this is a mistake.
const MAX_SLOT: usize = 1 << 20;

fn take_u64(rest: &mut &[u8]) -> Result<u64, String> {
    let (head, after) = rest
        .split_first_chunk::<8>()
        .ok_or("the snapshot is cut short")?;
    *rest = after;
    Ok(u64::from_le_bytes(*head))
}

/// Block hashes as Python packs them: 8 bytes each, little-endian.
fn unpack(mut packed: &[u8]) -> PyResult<Vec<u64>> {
    let mut blocks = Vec::with_capacity(packed.len() / size_of::<u64>());
    while let Some((block, rest)) = packed.split_first_chunk() {
        blocks.push(u64::from_le_bytes(*block));
        packed = rest;
    }
    if packed.is_empty() {
        Ok(blocks)
    } else {
        let text = "blocks are no whole number of 8-byte hashes";
        Err(PyValueError::new_err(text))
    }
}

/// Block hash → endpoints, behind the interface of `headgate.scheduling.prefix.PrefixIndex`.
#[pyclass]
#[derive(Default)]
pub struct PrefixIndex {
    index: Index,
}

#[pymethods]
impl PrefixIndex {
    #[new]
    fn new() -> PrefixIndex {
        PrefixIndex::default()
    }

    fn open(&mut self, slot: usize, capacity: usize) -> PyResult<()> {
        if slot > MAX_SLOT || capacity == 0 {
            return Err(PyValueError::new_err("slot or capacity out of range"));
        }
        self.index.open(slot, capacity);
        Ok(())
    }

    fn remove(&mut self, slot: usize) {
        if let Some(lru) = self.index.slots.get_mut(slot) {
            *lru = None;
        }
    }

    fn clear(&mut self, slot: usize) {
        if let Some(lru) = self.index.get_mut(slot) {
            lru.clear();
        }
    }

    fn add(&mut self, slot: usize, blocks: &[u8]) -> PyResult<()> {
        self.index.add(slot, &unpack(blocks)?);
        Ok(())
    }

    fn r#match<'py>(&self, py: Python<'py>, blocks: &[u8]) -> PyResult<Bound<'py, PyDict>> {
        let found = PyDict::new(py);
        for (slot, depth) in self.index.matched(&unpack(blocks)?) {
            found.set_item(slot, depth)?;
        }
        Ok(found)
    }

    fn capacity(&self, slot: usize) -> usize {
        self.index.get(slot).map_or(0, |lru| lru.capacity)
    }

    fn blocks(&self, slot: usize) -> usize {
        self.index.get(slot).map_or(0, |lru| lru.used)
    }

    fn fill(&self, slot: usize) -> f64 {
        self.index
            .get(slot)
            .map_or(0.0, |lru| lru.used as f64 / lru.capacity as f64)
    }

    /// The endpoint itself says that it stored these blocks, in the order of the prompt.
    fn stored(&mut self, slot: usize, blocks: &[u8]) -> PyResult<()> {
        let blocks = unpack(blocks)?;
        if let Some(lru) = self.index.get_mut(slot) {
            lru.add(&blocks, REPORTED);
        }
        Ok(())
    }

    /// The endpoint itself says that it dropped these blocks.
    fn dropped(&mut self, slot: usize, blocks: &[u8]) -> PyResult<()> {
        let blocks = unpack(blocks)?;
        if let Some(lru) = self.index.get_mut(slot) {
            for block in blocks {
                lru.forget(block);
            }
        }
        Ok(())
    }

    /// How many of the remembered blocks the endpoint reported itself.
    fn reported(&self, slot: usize) -> usize {
        self.index.get(slot).map_or(0, |lru| {
            lru.in_order()
                .filter(|(_, flags)| flags & REPORTED != 0)
                .count()
        })
    }

    /// Bytes of memory that the index has allocated.
    fn memory(&self) -> usize {
        self.index.slots.iter().flatten().map(Lru::bytes).sum()
    }

    /// Everything remembered, as bytes.
    fn snapshot<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.index.snapshot())
    }

    /// Replaces everything by what a snapshot says; raises ValueError for bytes that are none.
    fn restore(&mut self, data: &[u8]) -> PyResult<()> {
        self.index = Index::restore(data).map_err(PyValueError::new_err)?;
        Ok(())
    }

    /// Raises AssertionError when lists, tables and bounds disagree.
    fn check(&self) -> PyResult<()> {
        for (slot, lru) in self.index.slots.iter().enumerate() {
            if let Some(Err(text)) = lru.as_ref().map(Lru::check) {
                return Err(pyo3::exceptions::PyAssertionError::new_err(format!(
                    "slot {slot}: {text}"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn eviction_shortens_prompts_from_their_end() {
        let mut index = Index::default();
        index.open(2, 3);
        index.add(2, &[1, 2]);
        index.add(2, &[7, 8]);
        assert_eq!(index.matched(&[1, 2]), [(2, 1)]);
        assert_eq!(index.matched(&[7, 8, 9]), [(2, 2)]);
        index.open(2, 1);
        assert_eq!(index.matched(&[7, 8]), [(2, 1)]);
    }

    #[test]
    fn a_snapshot_restores_contents_and_order() {
        let mut index = Index::default();
        index.open(0, 4);
        index.open(3, 10);
        index.add(0, &[1, 2, 3]);
        index.add(3, &[1, 5]);
        let mut copy = Index::restore(&index.snapshot()).unwrap();
        assert_eq!(copy.snapshot(), index.snapshot());
        copy.add(0, &[9, 8]);
        index.add(0, &[9, 8]);
        assert_eq!(copy.snapshot(), index.snapshot());
        assert!(Index::restore(&index.snapshot()[..20]).is_err());
        assert!(Index::restore(b"nonsense").is_err());
    }

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
                        lru.add(&[block], 0);
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
