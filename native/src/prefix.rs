//! Which endpoint has which prompt blocks in its cache; bounded by LRU per endpoint.
//!
//! The twin of `headgate.scheduling.prefix.PrefixIndex`: one table per slot (endpoint). A match walks the prompt
//! once per slot, so no global table is needed and one endpoint is cleared at once.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::lru::{Lru, REPORTED};

const MAGIC: &[u8; 8] = b"HGPREF01";

/// Block hashes are uniform already; the multiplication guards against chosen ones.
#[derive(Default)]
struct BlockHasher(u64);

impl Hasher for BlockHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(32);
    }
}

/// What one endpoint holds, and what prompts under way will make it hold.
struct Slot {
    lru: Lru,
    /// Block → how many prompts under way expect it.
    expected: HashMap<u64, u32, BuildHasherDefault<BlockHasher>>,
    /// How many blocks are expected and not remembered.
    ahead: usize,
}

impl Slot {
    fn new(capacity: usize) -> Slot {
        Slot {
            lru: Lru::new(capacity),
            expected: HashMap::default(),
            ahead: 0,
        }
    }

    fn contains(&self, block: u64) -> bool {
        self.lru.contains(block) || (self.ahead > 0 && self.expected.contains_key(&block))
    }

    fn blocks(&self) -> usize {
        self.lru.used + self.ahead
    }

    fn clear(&mut self) {
        *self = Slot::new(self.lru.capacity);
    }

    fn resize(&mut self, capacity: usize) {
        self.lru.capacity = capacity;
        self.shrink();
    }

    fn shrink(&mut self) {
        while let Some(block) = self.lru.evict() {
            self.ahead += usize::from(self.expected.contains_key(&block));
        }
    }

    /// Remembers a prompt: its last block ages first.
    fn add(&mut self, blocks: &[u64], flags: u32) {
        for block in blocks.iter().rev() {
            if self.lru.touch(*block, flags) && self.expected.contains_key(block) {
                self.ahead -= 1;
            }
        }
        self.shrink();
    }

    fn expect(&mut self, blocks: &[u64]) {
        for block in blocks {
            let count = self.expected.entry(*block).or_insert(0);
            *count += 1;
            if *count == 1 && !self.lru.contains(*block) {
                self.ahead += 1;
            }
        }
    }

    fn withdraw(&mut self, blocks: &[u64]) {
        for block in blocks {
            match self.expected.get_mut(block) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) => {
                    self.expected.remove(block);
                    self.ahead -= usize::from(!self.lru.contains(*block));
                }
                None => {}
            }
        }
        // Memory follows the prompts under way, not the most there ever were.
        if self.expected.capacity() > 1024 && self.expected.len() < self.expected.capacity() / 8 {
            self.expected.shrink_to(2 * self.expected.len());
        }
    }

    fn forget(&mut self, block: u64) {
        if self.lru.forget(block) {
            self.ahead += usize::from(self.expected.contains_key(&block));
        }
    }

    fn check(&self) -> Result<(), String> {
        self.lru.check()?;
        let ahead = self
            .expected
            .keys()
            .filter(|block| !self.lru.contains(**block))
            .count();
        if ahead != self.ahead || self.expected.values().any(|count| *count == 0) {
            return Err(format!("{ahead} blocks are ahead, not {}", self.ahead));
        }
        Ok(())
    }
}

/// Slots of all endpoints.
#[derive(Default)]
pub struct Index {
    slots: Vec<Option<Slot>>,
}

impl Index {
    pub fn open(&mut self, slot: usize, capacity: usize) {
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.slots[slot]
            .get_or_insert_with(|| Slot::new(capacity))
            .resize(capacity);
    }

    fn get(&self, slot: usize) -> Option<&Slot> {
        self.slots.get(slot)?.as_ref()
    }

    fn get_mut(&mut self, slot: usize) -> Option<&mut Slot> {
        self.slots.get_mut(slot)?.as_mut()
    }

    pub fn add(&mut self, slot: usize, blocks: &[u64]) {
        if let Some(slot) = self.get_mut(slot) {
            let room = slot.lru.capacity.min(blocks.len());
            slot.add(&blocks[..room], 0);
        }
    }

    /// How many leading blocks each slot holds; slots that hold none are left out.
    pub fn matched(&self, blocks: &[u64]) -> Vec<(usize, usize)> {
        let depth = |slot: &Slot| {
            blocks
                .iter()
                .take_while(|block| slot.contains(**block))
                .count()
        };
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(number, slot)| Some((number, depth(slot.as_ref()?))))
            .filter(|(_, depth)| *depth > 0)
            .collect()
    }

    /// Everything remembered as bytes; what is merely expected is left out.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for (slot, held) in self.slots.iter().enumerate() {
            let Some(Slot { lru, .. }) = held else {
                continue;
            };
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
                if let Some(slot) = index.get_mut(slot) {
                    slot.lru.touch(block, u32::from(*flags) & REPORTED);
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
        if let Some(slot) = self.index.slots.get_mut(slot) {
            *slot = None;
        }
    }

    fn clear(&mut self, slot: usize) {
        if let Some(slot) = self.index.get_mut(slot) {
            slot.clear();
        }
    }

    fn add(&mut self, slot: usize, blocks: &[u8]) -> PyResult<()> {
        self.index.add(slot, &unpack(blocks)?);
        Ok(())
    }

    /// A prompt of these blocks was sent to the endpoint.
    fn expect(&mut self, slot: usize, blocks: &[u8]) -> PyResult<()> {
        let blocks = unpack(blocks)?;
        if let Some(slot) = self.index.get_mut(slot) {
            slot.expect(&blocks);
        }
        Ok(())
    }

    /// An expected prompt was computed.
    fn confirm(&mut self, slot: usize, blocks: &[u8]) -> PyResult<()> {
        let blocks = unpack(blocks)?;
        self.index.add(slot, &blocks);
        if let Some(slot) = self.index.get_mut(slot) {
            slot.withdraw(&blocks);
        }
        Ok(())
    }

    /// An expected prompt was not computed.
    fn withdraw(&mut self, slot: usize, blocks: &[u8]) -> PyResult<()> {
        let blocks = unpack(blocks)?;
        if let Some(slot) = self.index.get_mut(slot) {
            slot.withdraw(&blocks);
        }
        Ok(())
    }

    /// How many blocks prompts under way expect, each as often as it is expected.
    fn expected(&self, slot: usize) -> usize {
        self.index.get(slot).map_or(0, |slot| {
            slot.expected.values().map(|count| *count as usize).sum()
        })
    }

    fn r#match<'py>(&self, py: Python<'py>, blocks: &[u8]) -> PyResult<Bound<'py, PyDict>> {
        let found = PyDict::new(py);
        for (slot, depth) in self.index.matched(&unpack(blocks)?) {
            found.set_item(slot, depth)?;
        }
        Ok(found)
    }

    fn capacity(&self, slot: usize) -> usize {
        self.index.get(slot).map_or(0, |slot| slot.lru.capacity)
    }

    fn blocks(&self, slot: usize) -> usize {
        self.index.get(slot).map_or(0, Slot::blocks)
    }

    fn fill(&self, slot: usize) -> f64 {
        self.index
            .get(slot)
            .map_or(0.0, |slot| slot.blocks() as f64 / slot.lru.capacity as f64)
            .min(1.0)
    }

    /// The endpoint itself says that it stored these blocks, in the order of the prompt.
    fn stored(&mut self, slot: usize, blocks: &[u8]) -> PyResult<()> {
        let blocks = unpack(blocks)?;
        if let Some(slot) = self.index.get_mut(slot) {
            slot.add(&blocks, REPORTED);
        }
        Ok(())
    }

    /// The endpoint itself says that it dropped these blocks.
    fn dropped(&mut self, slot: usize, blocks: &[u8]) -> PyResult<()> {
        let blocks = unpack(blocks)?;
        if let Some(slot) = self.index.get_mut(slot) {
            for block in blocks {
                slot.forget(block);
            }
        }
        Ok(())
    }

    /// How many of the remembered blocks the endpoint reported itself.
    fn reported(&self, slot: usize) -> usize {
        self.index.get(slot).map_or(0, |slot| {
            slot.lru
                .in_order()
                .filter(|(_, flags)| flags & REPORTED != 0)
                .count()
        })
    }

    /// Bytes of memory that the index has allocated.
    fn memory(&self) -> usize {
        let expected = |slot: &Slot| slot.expected.capacity() * (size_of::<(u64, u32)>() + 1);
        let slots = self.index.slots.iter().flatten();
        slots.map(|slot| slot.lru.bytes() + expected(slot)).sum()
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
        for (number, slot) in self.index.slots.iter().enumerate() {
            if let Some(Err(text)) = slot.as_ref().map(Slot::check) {
                return Err(pyo3::exceptions::PyAssertionError::new_err(format!(
                    "slot {number}: {text}"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
